"""What a recording of several cameras consists of: a video or folder of images for each camera of the calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handpose.files.reading import visible_paths
from handpose.inference.sources import close_source, open_source, sources_in
from handpose.structures import Calibration, CameraCalibration, read_calibration

MIN_CAMERAS = 2
_HINT = 'a video or a folder of images must be named after its camera, or have the name of one camera in its own'


class AnnotationError(ValueError):
    """A recording that cannot be annotated; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True, eq=False)
class RecordingSource:
    """The cameras of a recording and where their images are.

    Args:
        folder: of the recording.
        calibration: of the K cameras that have images, in the order of the calibration file, at the size of the images.
        videos: (K,) the video or folder of images of each camera.
        fps: images per second of folders of images, or None.
        notes: what is missing or assumed, one message each.
    """

    folder: Path
    calibration: Calibration
    videos: Sequence[Path]
    fps: float | None
    notes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """The names of the cameras."""
        return self.calibration.names


def recordings_in(folder: str | Path) -> list[Path]:
    """Finds recordings: the folder itself if it holds videos or folders of images, otherwise such folders in it.

    Args:
        folder: of a recording, or of several.

    Returns:
        The folders of the recordings, sorted by name.

    Raises:
        AnnotationError: there is none.
    """
    path = Path(folder)
    if not path.is_dir():
        what = 'is a file' if path.exists() else 'does not exist'
        raise AnnotationError(f'{path} {what}; give the folder with the videos of all cameras of a recording')
    if sources_in(path):
        return [path]
    found = [inner for inner in visible_paths(path) if inner.is_dir() and sources_in(inner)]
    if not found:
        raise AnnotationError(
            f'{path} holds no videos and no folders of images, and none of its folders does; give the folder with the '
            f'videos of all cameras of a recording, or a folder of such folders'
        )
    return found


def open_recording(
    folder: str | Path, calibration: str | Path, *, unit: str | float | None = None, fps: float | None = None
) -> RecordingSource:
    """Finds the videos of a recording and the camera of each, and checks that they can be read and fit each other.

    Cameras of a moving rig are left out, because where they are in the world is not known. A calibration that was made
    at another resolution of the same aspect ratio is scaled to the images.

    Args:
        folder: of the recording.
        calibration: a file that `read_calibration` reads, or the name of such a file in the folder of the recording.
        unit: of the calibration, see `read_calibration`.
        fps: images per second of folders of images.

    Returns:
        The recording.

    Raises:
        AnnotationError: fewer than two cameras with images, or two videos of one camera.
        CalibrationError: the calibration cannot be read, or is for images of another aspect ratio.
        VideoError: a video cannot be read.
    """
    sources = sources_in(folder)
    if not sources:
        raise AnnotationError(f'{folder} holds no videos and no folders of images; {_HINT}')
    sizes = {path: _image_size(path, fps) for path in sources}
    file = _calibration_file(Path(folder), Path(calibration))
    common = set(sizes.values())
    found = read_calibration(file, unit=unit, image_size=common.pop() if len(common) == 1 else None)
    if len(found) < MIN_CAMERAS:
        raise AnnotationError(
            f'{file} has one camera, {found.names[0]}; positions are triangulated from {MIN_CAMERAS} or more cameras '
            f'that were calibrated together, as handpose calibrate does it. For one camera: handpose infer'
        )
    videos = match_cameras(sources, found.names)
    fixed = [camera for camera in found if camera.rig is None]
    used = [camera for camera in fixed if camera.name in videos]
    notes = _unused_notes(found, used, videos, sources)
    if len(used) < MIN_CAMERAS:
        raise AnnotationError(
            f'{folder}: expected images of at least {MIN_CAMERAS} cameras that are fixed in the world, found '
            f'{len(used)}: the calibration {file} has the cameras {", ".join(c.name for c in fixed) or "none"}, and '
            f'the folder has {", ".join(path.name for path in sources)}; {_HINT}'
            + ''.join(f'. Not used: {note}' for note in notes)
        )
    for camera in used:
        size = sizes[videos[camera.name]]
        if size != camera.image_size:
            notes.append(
                f'{camera.name} was calibrated at {camera.image_size[0]}x{camera.image_size[1]} pixels and its images '
                f'have {size[0]}x{size[1]}: the calibration was scaled'
            )
    resized = [camera.resized(sizes[videos[camera.name]]) for camera in used]
    return RecordingSource(Path(folder), Calibration(resized), [videos[camera.name] for camera in used], fps, notes)


def match_cameras(sources: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Finds the camera of each video by its name.

    Args:
        sources: videos and folders of images.
        names: of the cameras.

    Returns:
        {name of a camera: its video}, without cameras and videos that have no partner. A video belongs to the camera
        of the same name without suffix; otherwise to the one whose name occurs in its own, the longest if one of them
        holds the others ('cam10_test' is of cam10 and not of cam1). Case does not matter.

    Raises:
        AnnotationError: a video whose name has those of several cameras, or a camera with several videos.
    """
    found: dict[str, Path] = {}
    for path in sources:
        stem = (path.name if path.is_dir() else path.stem).lower()
        exact = [name for name in names if name.lower() == stem]
        held = sorted((name for name in names if name.lower() in stem), key=len)
        if not exact and any(name.lower() not in held[-1].lower() for name in held):
            raise AnnotationError(f'{path} has the names of several cameras, {", ".join(held)}: rename it; {_HINT}')
        for name in (exact or held)[-1:]:
            if name in found:
                raise AnnotationError(
                    f'{found[name].name} and {path.name} in {path.parent} are both of camera {name}, by their names: '
                    f'leave one there, or rename it; {_HINT}'
                )
            found[name] = path
    return found


def _image_size(path: Path, fps: float | None) -> tuple[int, int]:
    """(width, height) of the first image."""
    reader = open_source(path, fps)
    frames = iter(reader)
    try:
        image = next(frames).image
    finally:
        close_source(reader)
    return int(image.shape[1]), int(image.shape[0])


def _calibration_file(folder: Path, path: Path) -> Path:
    inside = folder / path
    if path.exists() or not inside.exists():
        return path
    return inside


def _unused_notes(
    calibration: Calibration, used: Sequence[CameraCalibration], videos: Mapping[str, Path], sources: Sequence[Path]
) -> list[str]:
    moving = [camera.name for camera in calibration if camera.rig is not None]
    blind = [camera.name for camera in calibration if camera.rig is None and camera.name not in videos]
    spare = [path.name for path in sources if path not in videos.values()]
    notes = []
    if moving:
        notes.append(f'cameras on a moving rig, whose place in the world is not known: {", ".join(moving)}')
    if blind:
        notes.append(f'cameras of the calibration without a video: {", ".join(blind)}')
    if spare:
        notes.append(f'videos without a camera in the calibration: {", ".join(spare)}')
    return notes
