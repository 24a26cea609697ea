"""`VideoJob`: everything that `handpose infer` does for one video, from its images to files."""

import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from handpose.files.hashes import file_sha256
from handpose.inference.journal import Journal, source_settings
from handpose.inference.refiner import METHODS, Refiner, load_refiner
from handpose.inference.runtimes import use_runtime
from handpose.inference.session import FrameHands, Session, make_session
from handpose.inference.sources import is_camera, open_source
from handpose.inference.tracking.interfaces import FrameEstimator
from handpose.inference.video_hands import find_hands
from handpose.models.estimators.base import IN_TORCH
from handpose.structures import Predictions, save_predictions
from handpose.video import VideoError, VideoWriter, frame_period
from handpose.visualization.hand_overlay import draw_hands, draw_predictions

_UNKNOWN_FPS = 30  # of a video whose frames have times, which is all that counts
Progress = Callable[[str, float, float | None], None]
"""Called with (step, seconds done, seconds in all or None)."""


class NoHandError(ValueError):
    """A video in which no hand was found."""


class DrawingError(ValueError):
    """A video that could not be drawn after its hands were written; the message says where they are."""


@dataclass(frozen=True)
class VideoJob:
    """What is to be done.

    Attributes:
        source: see `open_source`.
        out: the predictions file, .npz.
        draw: the video with the hands drawn, or None.
        refine: a filter (a key of `METHODS`) or the weights of a refiner (a file or a name of the model zoo), or None.
        camera: a camera file, see `read_camera`, or None.
        fps: images per second of a folder of images, or None.
        seconds: of a live camera, or None.
        networks: 'full' or 'lite'.
        licence: what may be done with the result; default that of the estimator's weights or results.
        estimator: weights or results whose joints replace those of the landmark network, see `open_estimator`, or None.
        hand_model: folder of MANO files, for weights of an estimator or refiner that was trained with MANO, or None.
        runtime: what computes the networks of such weights, see `use_runtime`; None means the fastest.
        precision: in which they compute.
    """

    source: str
    out: Path
    draw: Path | None = None
    refine: str | None = None
    camera: Path | None = None
    fps: float | None = None
    seconds: float | None = None
    networks: str = 'full'
    licence: str = ''
    estimator: str | None = None
    hand_model: Path | None = None
    runtime: str | None = None
    precision: str = 'float32'

    @property
    def unrefined(self) -> Path:
        """The predictions file without refining, which is written beside the refined one."""
        return self.out.with_name(f'{self.out.stem}_unrefined.npz')


@dataclass
class JobReport:
    """What was done.

    Attributes:
        job: what was asked for.
        predictions: what was written, refined if that was asked for.
        unrefined: what was found; the same without refining.
        seconds: of finding hands.
        processed: images in which hands were looked for now, not before an interruption.
        notes: what was unusual, one message each.
        files: that were written.
    """

    job: VideoJob
    predictions: Predictions
    unrefined: Predictions
    seconds: float
    processed: int
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def run_job(job: VideoJob, progress: Progress | None = None, session: Session | None = None) -> JobReport:
    """Finds, refines, writes and draws the hands of one video.

    Hands are written before anything is drawn. An interrupted job goes on where it was when it is run again.

    Args:
        job: what is to be done.
        progress: is told about it.
        session: default one with the networks of the job.

    Returns:
        What was done.

    Raises:
        NoHandError: no image has a hand; nothing is written.
        DrawingError: the hands are written, but the video with them could not be.
        ValueError: a source, camera file, refiner or file name that cannot be used; said before the work, if possible.
        OSError: a full disk; what was written before is complete.
    """
    _check_outputs(job)
    refiner = None if job.refine is None else _refiner(job)
    writer = None if job.draw is None else VideoWriter(job.draw, _UNKNOWN_FPS)
    if session is None:
        session = make_session(job.networks, _estimator(job), licence=job.licence)
    if is_camera(job.source):
        return _run_live(job, session, refiner, writer, progress)
    journal = Journal(Path(f'{job.out}.partial'), _settings(job))
    report = _find_and_save(job, session, refiner, progress, journal=journal)
    if writer is not None:
        try:
            _draw(job, report.predictions, writer, progress)
        except (VideoError, OSError) as error:
            advice = 'the same command draws them without looking for them again'
            raise DrawingError(f'{error}; the hands are in {job.out}, and {advice}') from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f'the hands are in {job.out}; the same command draws them') from None
        report.files.append(writer.path)
    journal.remove()
    return report


def _check_outputs(job: VideoJob) -> None:
    """Refuses before the work what could not be written after it, and what would overwrite the video."""
    if job.out.suffix != '.npz':
        raise ValueError(f'{job.out}: a predictions file must end in .npz')
    if job.out.is_dir():
        raise ValueError(f'{job.out} is a folder; give the name of a predictions file')
    if job.draw is not None and job.draw.resolve() == Path(job.source).resolve():
        raise ValueError(f'{job.draw} is the video itself; give another name for the drawn one')
    try:
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=job.out.parent):
            pass
    except OSError as error:
        raise ValueError(f'{job.out} cannot be written: {error.strerror}; choose another folder') from error


def _find_and_save(
    job: VideoJob,
    session: Session,
    refiner: Refiner | None,
    progress: Progress | None,
    journal: Journal | None = None,
    on_frame: Callable[[FrameHands], None] | None = None,
) -> JobReport:
    start = time.perf_counter()
    found = find_hands(
        job.source,
        session,
        fps=job.fps,
        camera=job.camera,
        seconds=job.seconds,
        journal=journal,
        progress=None if progress is None else lambda done, total: progress('finding hands', done, total),
        on_frame=on_frame,
    )
    seconds = time.perf_counter() - start
    predictions = unrefined = found.predictions
    report = JobReport(job, predictions, unrefined, seconds, len(predictions) - found.resumed, found.notes)
    if not unrefined.valid.any():
        if journal is not None:
            journal.remove()
        notes = ''.join(f' ({note})' for note in found.notes)
        if job.estimator is not None:
            raise NoHandError(
                f'{job.source}: no hand has joints of {job.estimator} in {len(unrefined)} images, so {job.out} was not '
                f'written{notes}'
            )
        raise NoHandError(
            f'{job.source}: {"; ".join(found.notes)}, so {job.out} was not written; hands that are small in the image, '
            f'gloved or interlocked are not found: crop the video to the hands'
        )
    if refiner is not None:
        save_predictions(job.unrefined, unrefined)
        report.notes += refiner.notes(unrefined)
        if refiner.estimator.computed_by != IN_TORCH:
            report.notes.append(f'the network that refines is computed by {refiner.estimator.computed_by}')
        report.predictions = predictions = refiner.refine(unrefined)
        report.files.append(job.unrefined)
    save_predictions(job.out, predictions)
    report.files.insert(0, job.out)
    return report


def _run_live(
    job: VideoJob, session: Session, refiner: Refiner | None, writer: VideoWriter | None, progress: Progress | None
) -> JobReport:
    """A camera cannot be read twice: its images are drawn on while they arrive, and there is nothing to resume."""
    if writer is None:
        return _find_and_save(job, session, refiner, progress)
    drawing, report = _LiveDrawing(writer), None
    try:
        with writer:
            report = _find_and_save(job, session, refiner, progress, on_frame=drawing.add)
            if drawing.error is not None:
                raise drawing.error
    except (VideoError, OSError) as error:
        if report is None:
            raise
        raise DrawingError(f'{error}; the hands are in {job.out}') from error
    report.files.append(writer.path)
    return report


@dataclass
class _LiveDrawing:
    """Draws images while they arrive; an error does not end the recording of hands.

    Attributes:
        writer: of the drawn video.
        error: why nothing is drawn any more, or None.
    """

    writer: VideoWriter
    error: VideoError | OSError | None = None

    def add(self, found: FrameHands) -> None:
        """Draws the hands of one image."""
        if self.error is not None:
            return
        image = found.frame.image
        if found.hands:
            points = np.stack([hand.estimate.joints_2d for hand in found])
            labels = [f'{hand.side.name.lower()} #{hand.track_id}' for hand in found]
            image = draw_hands(image, points, np.array([hand.side for hand in found]), labels=labels)
        try:
            self.writer.write(image, found.frame.time)
        except (VideoError, OSError) as error:
            self.error = error


def _estimator(job: VideoJob) -> FrameEstimator | None:
    if job.estimator is None:
        return None
    # It imports the datasets, which take a second to import.
    from handpose.inference.tracking.open_estimator import open_estimator

    return open_estimator(job.estimator, _hand_model(job), job.runtime, job.precision)


def _refiner(job: VideoJob) -> Refiner:
    if job.refine in METHODS:
        return load_refiner(method=job.refine)
    refiner = load_refiner(job.refine, hand_model=_hand_model(job))
    use_runtime(refiner.estimator, job.runtime, job.precision)
    return refiner


def _hand_model(job: VideoJob) -> dict[str, str] | None:
    return None if job.hand_model is None else dict(type='MANO', model_path=str(job.hand_model))


def _settings(job: VideoJob) -> dict[str, str | float | None]:
    """What the hands of a file depend on."""
    settings = source_settings(job.source, job.fps, job.networks)
    return settings | ({} if job.estimator is None else _estimator_settings(job, job.estimator))


def _estimator_settings(job: VideoJob, estimator: str) -> dict[str, str | None]:
    from handpose.inference.tracking.open_estimator import estimator_file

    path = estimator_file(estimator)
    # Joints depend on the camera, if the estimator reads it; those of the landmark network do not.
    camera = None if job.camera is None or not job.camera.is_file() else file_sha256(job.camera)
    computed = f'{job.runtime or "fastest"} {job.precision}'
    return dict(estimator=f'{path.name}, sha256 {file_sha256(path)}', camera=camera, computed=computed)


def _draw(job: VideoJob, predictions: Predictions, writer: VideoWriter, progress: Progress | None) -> None:
    writer.fps = 1 / (frame_period(predictions.timestamps) or 1 / _UNKNOWN_FPS)
    times = predictions.timestamps
    with writer:
        for frame in itertools.islice(open_source(job.source, job.fps), len(predictions)):
            writer.write(draw_predictions(frame.image, predictions, frame.index, labels=True), frame.time)
            if progress is not None:
                progress('drawing', float(times[frame.index]), float(times[-1]))
