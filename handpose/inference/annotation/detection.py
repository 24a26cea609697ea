"""The hands in the images of every camera, before they are matched.

Legend: K cameras, T frames of the recording, F images of one camera, N hands in one image at most.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import remove_unfinished
from handpose.inference.annotation.recording_source import RecordingSource
from handpose.inference.journal import Journal, source_settings
from handpose.inference.session import Session
from handpose.inference.sources import open_source
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.tracker import MIN_PRESENCE, HandTracker, next_region
from handpose.inference.video_hands import track_hands
from handpose.video import VideoFrame

Progress = Callable[[str, float, float | None], None]
"""Called with (step, seconds done, seconds in all or None)."""


@dataclass(frozen=True, eq=False)
class CameraHands:
    """The hands in the images of one camera.

    Args:
        records: of all images.
        notes: what was unusual in the images, one message each.
        processed: images in which hands were looked for now, not in an earlier run.
        seconds: of looking for hands.
    """

    records: TrackRecords
    notes: Sequence[str]
    processed: int
    seconds: float


def detect_hands(
    source: RecordingSource, session: Session, networks: str, folder: Path, progress: Progress | None = None
) -> list[CameraHands]:
    """Finds and follows the hands in the images of each camera.

    What was found is kept in `folder`, so that an interrupted run goes on, and other runs with the same videos do not
    look for hands again.

    Args:
        source: the recording.
        session: finds the hands.
        networks: the name of its networks.
        folder: where the hands are kept, a folder for each camera.
        progress: is told about it.

    Returns:
        The hands of each camera.

    Raises:
        VideoError: a video cannot be read.
        JournalError: `folder` has the hands of other videos, or cannot be written.
        KeyboardInterrupt: Ctrl-C; the hands so far are kept.
    """
    found = []
    for name, path in zip(source.names, source.videos, strict=True):
        journal = Journal(folder / path.name, source_settings(path, source.fps, networks))
        records = journal.load()
        start = time.perf_counter()
        if journal.finished is None:
            tracked = track_hands(path, session, source.fps, journal=journal, progress=_of_camera(progress, name))
            journal.finish(dict(notes=tracked.notes))
            seconds = time.perf_counter() - start
            records, resumed = tracked.records, tracked.resumed
            session.reset()
            found.append(CameraHands(records, tracked.notes, len(records) - resumed, seconds))
        else:
            found.append(CameraHands(records, [str(note) for note in journal.finished.get('notes', [])], 0, 0.0))
    return found


def detect_again(
    source: RecordingSource,
    camera: int,
    images: NDArray[np.int64],
    records: TrackRecords,
    session: Session,
    folder: Path,
    progress: Progress | None = None,
) -> TrackRecords:
    """Finds the hands of some images by the detector alone, without following them from image to image.

    A hand that is followed wrongly stays wrong in the images after; the detector begins anew in each image. Its region
    is refined once by the joints that were estimated in it, as following does it.

    Args:
        source: the recording.
        camera: its number.
        images: (M,) numbers of the images, increasing.
        records: the hands of all images of the camera so far.
        session: finds the hands.
        folder: where the hands are kept, as for `detect_hands`.
        progress: is told about it.

    Returns:
        The hands of all images; those of `images` are new, each with a track id of its own.

    Raises:
        VideoError: the video cannot be read.
    """
    path = source.videos[camera]
    kept = folder / path.name / f'again_{zlib.crc32(images.astype(np.int64).tobytes()):08x}.npz'
    remove_unfinished(kept.parent)
    if kept.exists():
        found = TrackRecords.load(kept)
    else:
        wanted = set(images.tolist())
        tell = _of_camera(progress, f'{source.names[camera]} again')
        parts = []
        for frame in frames_of(path, source.fps, wanted):
            parts.append(_detect(frame, session))
            if tell is not None:
                tell(float(len(parts)), float(len(images)))
        found = TrackRecords.concatenate(parts)
        found.save(kept)
    return replace_images(records, images[: len(found)], found)


def replace_images(records: TrackRecords, images: NDArray[np.int64], new: TrackRecords) -> TrackRecords:
    """Replaces the hands of some images.

    Args:
        records: of F images.
        images: (M,) numbers of the images, increasing.
        new: of these M images; each hand becomes a track of its own.

    Returns:
        The records of all F images.
    """
    first_id = int(records.track_id.max(initial=-1)) + 1
    keep = ~np.isin(records.frame, images)
    frame = np.concatenate([records.frame[keep], images[new.frame]])
    order = np.argsort(frame, kind='stable')
    ids = np.concatenate([records.track_id[keep], first_id + np.arange(len(new.frame))])
    columns = {
        name: np.concatenate([vars(records)[name][keep], vars(new)[name]])[order]
        for name in ('tracked_2d', 'joints_2d', 'joints_3d', 'joints_valid', 'presence', 'right')
    }
    detected = records.detected.copy()
    detected[images] = True
    return TrackRecords(records.times, detected, frame[order], ids[order], **columns)


def frames_of(path: Path, fps: float | None, wanted: set[int]) -> Iterator[VideoFrame]:
    """Iterates over some images of a video.

    Args:
        path: the video or folder of images.
        fps: images per second of a folder of images.
        wanted: numbers of the images.

    Yields:
        The images, in their order; those that a damaged video does not have are left out.

    Raises:
        VideoError: the video cannot be read.
    """
    last = max(wanted)
    for frame in open_source(path, fps):
        if frame.index in wanted:
            yield frame
        if frame.index >= last:
            return


def _detect(frame: VideoFrame, session: Session) -> TrackRecords:
    """The hands of one image, each detected for itself."""
    rough = session.tracking_estimator.estimate(frame, session.detector.detect(frame.image))
    regions = [next_region(hand.joints_2d) for hand in rough if hand.presence >= MIN_PRESENCE]
    hands = HandTracker().update(frame.time, [], session.tracking_estimator.estimate(frame, regions), True)
    return TrackRecords.of_frames([frame.time], [True], [hands])


def _of_camera(progress: Progress | None, name: str) -> Callable[[float, float | None], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(f'finding hands of {name}', done, total)
