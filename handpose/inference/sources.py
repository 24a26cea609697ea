"""What hands can be found in: video files, image files, folders of images, cameras."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from handpose.files.reading import visible_paths
from handpose.video import CameraReader, VideoError, VideoFrame, VideoReader
from handpose.video.images import SUFFIXES as IMAGE_SUFFIXES
from handpose.video.images import ImageReader

VIDEO_SUFFIXES = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv')


class CameraSourcesError(ValueError):
    """Videos that do not make up a recording; the message says what was expected and found."""


class FrameReader(Protocol):
    """What reads frames; `VideoReader`, `ImageReader` and `CameraReader` have this interface."""

    backend: str

    @property
    def duration(self) -> float | None:
        """Seconds, or None if unknown."""

    @property
    def notes(self) -> list[str]:
        """What was unusual so far."""

    def __iter__(self) -> Iterator[VideoFrame]: ...


def is_camera(source: str | Path | int) -> bool:
    """Whether a source is a camera: its number, or a device such as '/dev/video0'."""
    return str(source).isdigit() or str(source).startswith('/dev/video')


def open_source(source: str | Path | int, fps: float | None = None) -> FrameReader:
    """Opens whatever hands can be found in.

    Args:
        source: the path of a video, an image or a folder with the images of one video (in the order of their names), or
            a camera, see `is_camera`.
        fps: images per second of a folder of images.

    Returns:
        A reader, which yields `VideoFrame`s.

    Raises:
        VideoError: it cannot be opened.
    """
    name = str(source)
    if is_camera(name):
        return CameraReader(int(name) if name.isdigit() else name)
    path = Path(name)
    if path.is_dir():
        return ImageReader(_images_in(path), fps)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageReader([path])
    return VideoReader(path)


def close_source(reader: FrameReader) -> None:
    """Lets other programs use a camera again; files are closed by their readers."""
    if isinstance(reader, CameraReader):
        reader.close()


def videos_in(folder: str | Path) -> list[Path]:
    """Lists the videos of a folder, by their suffixes; empty if it holds none."""
    return [path for path in visible_paths(folder) if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()]


def camera_sources(sources: Sequence[str | Path]) -> dict[str, Path]:
    """Names the cameras of a recording.

    Args:
        sources: videos and folders of images, one for each camera, or one folder that holds them.

    Returns:
        {name of a camera, that of its video or folder: path}.

    Raises:
        CameraSourcesError: fewer than two cameras, two with one name, or a live camera.
    """
    paths = [Path(source) for source in sources]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sources_in(paths[0])
    names = [path.name if path.is_dir() else path.stem for path in paths]
    if len(paths) < 2 or len(set(names)) < len(names) or any(map(is_camera, paths)):
        raise CameraSourcesError(
            f'expected videos or folders of images of two or more cameras, each with its own name, or a folder that '
            f'holds them, found {", ".join(names) or "none"}'
        )
    return dict(zip(names, paths, strict=True))


def sources_in(folder: str | Path) -> list[Path]:
    """Lists what a folder holds for the cameras of one recording: videos, and folders of images.

    Args:
        folder: the folder of the recording.

    Returns:
        Their paths; empty if it holds none.
    """
    folders = [path for path in visible_paths(folder) if path.is_dir() and _image_paths(path)]
    return videos_in(folder) + folders


def _image_paths(folder: Path) -> list[Path]:
    return [path for path in visible_paths(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def _images_in(folder: Path) -> list[Path]:
    found = _image_paths(folder)
    if not found:
        raise VideoError(
            f'{folder} contains no images ({", ".join(IMAGE_SUFFIXES)}); a folder must hold videos '
            f'({", ".join(VIDEO_SUFFIXES)}), or the images of one video'
        )
    return found
