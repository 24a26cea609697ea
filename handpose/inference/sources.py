"""What hands can be found in: video files, image files, folders of images, cameras."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from handpose.files.reading import visible_paths
from handpose.video import CameraReader, VideoError, VideoFrame, VideoReader
from handpose.video.images import SUFFIXES as IMAGE_SUFFIXES
from handpose.video.images import ImageReader

VIDEO_SUFFIXES = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv')


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


def _images_in(folder: Path) -> list[Path]:
    found = [path for path in visible_paths(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise VideoError(
            f'{folder} contains no images ({", ".join(IMAGE_SUFFIXES)}); a folder must hold videos '
            f'({", ".join(VIDEO_SUFFIXES)}), or the images of one video'
        )
    return found
