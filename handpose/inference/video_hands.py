"""From a video to hands: `find_hands`, and `stream` for loops over live images."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.inference.camera_file import place_in_camera, read_camera
from handpose.inference.journal import Journal
from handpose.inference.session import FrameHands, Session
from handpose.inference.sources import close_source, is_camera, open_source
from handpose.inference.tracking.records import TrackRecords
from handpose.structures import Predictions
from handpose.video import VideoError, VideoFrame
from handpose.video.prefetch import prefetch

STREAM_FPS = 30.0  # of a folder of images whose times are unknown
JOURNAL_IMAGES = 100  # images after which the hands so far are written


@dataclass
class VideoHands:
    """The hands of a video.

    Attributes:
        predictions: of all images, at most one left and one right hand in each.
        notes: what was unusual: dropped tracks, damaged frames; one message each.
        backend: the library that read the images.
        resumed: images whose hands were there already.
    """

    predictions: Predictions
    notes: list[str] = field(default_factory=list)
    backend: str = ''
    resumed: int = 0


@dataclass
class TrackedVideo:
    """All hands of a video, as they were tracked.

    Attributes:
        records: of all images.
        image_size: (width, height), pixels.
        intrinsics: (3, 3) of the camera file, pixels, or None.
        notes: what was unusual in the images, one message each.
        backend: the library that read the images.
        resumed: images whose hands were there already.
    """

    records: TrackRecords
    image_size: tuple[int, int]
    intrinsics: NDArray[np.float64] | None
    notes: list[str]
    backend: str
    resumed: int


def find_hands(
    source: str | Path | int,
    session: Session | None = None,
    fps: float | None = None,
    camera: str | Path | None = None,
    seconds: float | None = None,
    journal: Journal | None = None,
    progress: Callable[[float, float | None], None] | None = None,
    on_frame: Callable[[FrameHands], None] | None = None,
) -> VideoHands:
    """Finds the hands of a whole video.

    The scale of the hands is that of the estimator: 'relative' for networks, with a camera too, because the size of a
    hand is the one that they assume.

    Args:
        source: see `open_source`.
        session: default `Session()`.
        fps: images per second of a folder of images.
        camera: a JSON file with the camera of the video, see `read_camera`; the hands are then placed in front of it.
        seconds: of a live camera: how long to record; None until Ctrl-C.
        journal: where hands are written while a long video is processed, and read if it was interrupted.
        progress: called with (seconds so far, seconds in all or None).
        on_frame: called with the hands of each image that is processed now.

    Returns:
        The hands. A source that breaks off (a damaged file, a camera that is unplugged) gives those of the images
        before, with a note.

    Raises:
        VideoError: the source cannot be opened or has no image.
        CameraFileError: the camera file cannot be used.
        JournalError: the journal cannot be read or written; the hands that it has are complete.
        KeyboardInterrupt: Ctrl-C, for a file; its hands so far are in the journal.
    """
    session = Session() if session is None else session
    tracked = track_hands(source, session, fps, camera, seconds, journal, progress, on_frame)
    predictions = session.finish(source=f'{_name(source)}, by {session.name}', licence=session.licence)
    if tracked.intrinsics is not None:
        predictions = place_in_camera(predictions, tracked.intrinsics)
    return VideoHands(predictions, tracked.notes + session.notes, tracked.backend, tracked.resumed)


def track_hands(
    source: str | Path | int,
    session: Session,
    fps: float | None = None,
    camera: str | Path | None = None,
    seconds: float | None = None,
    journal: Journal | None = None,
    progress: Callable[[float, float | None], None] | None = None,
    on_frame: Callable[[FrameHands], None] | None = None,
) -> TrackedVideo:
    """Follows all hands of a whole video; the session keeps them until it is finished or reset.

    Args:
        source: as for `find_hands`.
        session: keeps the hands.
        fps: as for `find_hands`.
        camera: as for `find_hands`; the estimator of the session is told its intrinsics.
        seconds: as for `find_hands`.
        journal: as for `find_hands`.
        progress: as for `find_hands`.
        on_frame: as for `find_hands`.

    Returns:
        The hands of all images, also those that `find_hands` would drop.

    Raises:
        VideoError: as for `find_hands`.
        CameraFileError: as for `find_hands`.
        JournalError: as for `find_hands`.
        KeyboardInterrupt: as for `find_hands`.
    """
    session.reset()  # before anything can fail or be interrupted
    live, reader = is_camera(source), open_source(source, fps)
    frames = prefetch(reader)
    notes: list[str] = []
    try:
        first = next(frames)
        size = first.image.shape[1], first.image.shape[0]
        intrinsics = None if camera is None else read_camera(camera, size)
        session.reset(intrinsics)
        resumed, context = _restore(session, journal, size)
        for frame in _until_it_breaks_off(itertools.chain([first], frames), notes):
            if frame.index >= resumed:
                hands = session.push(frame)
                if on_frame is not None:
                    on_frame(hands)
            elif frame.index >= context:
                session.revisit(frame)
            if progress is not None:
                progress(frame.time, reader.duration)
            if journal is not None and frame.index + 1 >= journal.count + JOURNAL_IMAGES:
                _save_rest(session, journal)
            if seconds is not None and frame.time >= seconds:
                break
        # Whatever fails from now on, such as a refiner or a full disk, no image is processed again.
        _save_rest(session, journal)
    except KeyboardInterrupt:
        if not live:
            raise KeyboardInterrupt(_save_rest(session, journal)) from None
        if not len(session.records()):
            raise
    finally:
        frames.close()
        close_source(reader)
    return TrackedVideo(session.records(), size, intrinsics, notes + reader.notes, reader.backend, resumed)


def stream(source: str | Path | int, session: Session | None = None, fps: float = STREAM_FPS) -> Iterator[FrameHands]:
    """Iterates over the hands of each image of a video or a live camera; `handpose.stream` is the same.

        for found in handpose.stream(0):
            for hand in found:
                print(hand.track_id, hand.side, hand.estimate.joints_2d)

    Args:
        source: see `open_source`.
        session: default one that keeps no images.
        fps: images per second of a folder of images.

    Yields:
        The hands of each image.

    Raises:
        VideoError: the source cannot be opened, or breaks off.
    """
    session = Session(keep=False) if session is None else session
    session.reset()
    reader = open_source(source, fps)
    try:
        for frame in reader:
            yield session.push(frame)
    finally:
        close_source(reader)


def _until_it_breaks_off(frames: Iterable[VideoFrame], notes: list[str]) -> Iterator[VideoFrame]:
    """The frames before the source breaks off, which becomes a note."""
    count = 0
    try:
        for frame in frames:
            count += 1
            yield frame
    except VideoError as error:
        notes.append(f'the images end after {count}: {error}')


def _restore(session: Session, journal: Journal | None, size: tuple[int, int]) -> tuple[int, int]:
    """Continues from the journal; returns the number of images in it, and the first one that is to be seen again."""
    if journal is None:
        return 0, 0
    records = journal.load()
    session.restore(records, size)
    return len(records), session.context_start(records)


def _save_rest(session: Session, journal: Journal | None) -> str:
    """Writes what the journal does not have yet; returns the message for the user."""
    if journal is None:
        return 'nothing was written'
    rest = session.records().after(journal.count)
    if len(rest):
        journal.append(rest)
    return f'the hands of {journal.count} images are in {journal.folder}; the same command goes on from there'


def _name(source: str | Path | int) -> str:
    return f'camera {source}' if is_camera(source) else Path(str(source)).name
