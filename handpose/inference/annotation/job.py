"""`annotate_recording`: everything that `handpose annotate` does for one recording, from its videos to files."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.inference.annotation.consistency import Consistency, check_consistency
from handpose.inference.annotation.detection import CameraHands, Progress, detect_again, detect_hands
from handpose.inference.annotation.hand_fit import FitOptions, fit_recording
from handpose.inference.annotation.hand_size import check_hand_size
from handpose.inference.annotation.lens_errors import describe_lens_errors
from handpose.inference.annotation.matching import match_hands
from handpose.inference.annotation.offsets import estimate_offsets, given_offsets
from handpose.inference.annotation.outputs import OUTPUTS, OutputNames, check_outputs
from handpose.inference.annotation.reconstruction import ReconstructionOptions, reconstruct
from handpose.inference.annotation.recording_source import AnnotationError, RecordingSource, open_recording
from handpose.inference.annotation.second_look import look_again
from handpose.inference.annotation.temporal import open_refiner, refine_recording
from handpose.inference.annotation.timeline import Timeline, make_timeline
from handpose.inference.annotation.view_hands import ViewHands
from handpose.inference.session import Session, make_session
from handpose.inference.tracking.records import TrackRecords
from handpose.registry import HAND_MODELS
from handpose.structures import AnnotatedRecording
from handpose.structures.recording_file import save_annotated_recording
from handpose.structures.recording_marks import RecordingMarks, load_recording_marks, marks_path
from handpose.visualization.recording_report import write_recording_report

REPORT = 'report'
MAX_GAP = 0.5  # seconds over which joints are interpolated to look there again
ALL_OUTPUTS = (*OUTPUTS, REPORT)


@dataclass(frozen=True)
class AnnotateJob:
    """What is to be done.

    Attributes:
        recording: the folder with a video or folder of images for each camera.
        calibration: the calibration file, or its name in the folder of the recording.
        out: the recording file, .npz; everything else is written beside it.
        unit: of the calibration, see `read_calibration`, or None.
        fps: images per second of folders of images, or None.
        networks: 'full' or 'lite'.
        offsets: {name of a camera: seconds}, see `make_timeline`; or None for cameras that began together.
        estimate_offsets: estimate the offsets from the motion of the hands instead.
        second_look: run the landmark network where a hand must be that was missed.
        model: weights of an `MVExoNet` (a file or a name of the model zoo), or None.
        rounds: of this model; None as its weights state.
        fit: fit a hand model to all views and frames.
        refine: a filter or the weights of a refiner, or None.
        hand_model: folder of MANO files, for `fit` and for refiners that were trained with MANO; None takes the
            procedural hand.
        outputs: some of `ALL_OUTPUTS`.
        subject: whose hands they are, for the motion file.
        licence: text about what may be done with the result.
    """

    recording: Path
    calibration: Path
    out: Path
    unit: str | float | None = None
    fps: float | None = None
    networks: str = 'full'
    offsets: Mapping[str, float] | None = None
    estimate_offsets: bool = False
    second_look: bool = True
    model: str | None = None
    rounds: int | None = None
    fit: bool = False
    refine: str | None = None
    hand_model: Path | None = None
    outputs: Sequence[str] = ALL_OUTPUTS
    subject: str = 'subject'
    licence: str = ''

    @property
    def detections(self) -> Path:
        """The folder in which the hands of each camera are kept."""
        return self.out.with_name(f'{self.out.stem}_detections')


@dataclass
class AnnotationReport:
    """What was done.

    Attributes:
        job: what was asked for.
        recording: the result.
        cameras: the hands of each camera, as they were detected.
        seconds: of each step.
        files: that were written, the recording first.
        notes: about these files, one message each; those about the recording are its own.
    """

    job: AnnotateJob
    recording: AnnotatedRecording
    cameras: Sequence[CameraHands]
    seconds: Mapping[str, float]
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def annotate_recording(
    job: AnnotateJob, progress: Progress | None = None, session: Session | None = None
) -> AnnotationReport:
    """Annotates the hands of one recording.

    The hands that were detected are kept beside the result, so an interrupted job goes on where it was, and a job with
    other options or with marks (`RecordingMarks`) looks for hands only where it has to.

    Args:
        job: what is to be done.
        progress: is told about it.
        session: finds hands; default one with the networks of the job.

    Returns:
        What was done.

    Raises:
        AnnotationError: a recording, option or file name that cannot be used, or no hand that two cameras see.
        ValueError: a video, calibration, model or refiner that cannot be used.
        OSError: a full disk; what was written before is complete.
        KeyboardInterrupt: Ctrl-C; the hands so far are kept.
    """
    _check(job)
    source = open_recording(job.recording, job.calibration, unit=job.unit, fps=job.fps)
    session = make_session(job.networks) if session is None else session
    clock = _Clock()
    try:
        cameras = detect_hands(source, session, job.networks, job.detections, progress)
        clock.stop('finding hands')
        timeline = _timeline(job, source, cameras)
        marks = load_recording_marks(marks_path(job.out))
        hands = _marked_hands(job, source, timeline, [hands.records for hands in cameras], marks, session, progress)
        consistency = check_consistency(hands, source.calibration)
        recording = _reconstruct(job, source, timeline, hands, session, progress)
        _check_result(recording, hands, consistency)
        clock.stop('matching and triangulating')
        notes = [f'{name}: {note}' for name, found in zip(source.names, cameras, strict=True) for note in found.notes]
        notes = [*source.notes, *notes, *timeline.notes, *recording.notes, *_consistency_notes(consistency)]
        notes += describe_lens_errors(recording)
        recording = _improve(job, replace(recording, notes=notes), progress)
        clock.stop('models')
    except KeyboardInterrupt as interrupt:
        kept = f'the hands found so far are in {job.detections}; the same command goes on from there'
        raise KeyboardInterrupt(str(interrupt) or kept) from None
    report = AnnotationReport(job, recording, cameras, clock.seconds)
    _write(report, marks, progress)
    clock.stop('writing')
    return report


class _Clock:
    """Measures the time of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, step: str) -> None:
        """Ends a step."""
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now


def _check(job: AnnotateJob) -> None:
    """Refuses before the work what could not be written after it."""
    check_outputs(job.outputs, ALL_OUTPUTS)
    if job.out.suffix != '.npz' or job.out.is_dir():
        raise AnnotationError(f'{job.out}: the result must be a file whose name ends in .npz')
    if not job.subject or '/' in job.subject:
        raise AnnotationError(f'the subject must be a name without "/", got {job.subject!r}')
    if job.offsets is not None and job.estimate_offsets:
        raise AnnotationError('give the offsets of the cameras or have them estimated, not both')
    try:
        job.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=job.out.parent):
            pass
    except OSError as error:
        raise AnnotationError(f'{job.out} cannot be written: {error.strerror}; choose another folder') from error


def _timeline(job: AnnotateJob, source: RecordingSource, cameras: Sequence[CameraHands]) -> Timeline:
    records = [hands.records for hands in cameras]
    notes: list[str] = []
    offsets = None
    if job.estimate_offsets:
        offsets, notes = estimate_offsets(source.names, records)
    elif job.offsets is not None:
        offsets = given_offsets(source.names, job.offsets)
    found = make_timeline(source.names, [one.times for one in records], offsets)
    return replace(found, notes=notes + found.notes)


def _marked_hands(
    job: AnnotateJob,
    source: RecordingSource,
    timeline: Timeline,
    records: list[TrackRecords],
    marks: RecordingMarks,
    session: Session,
    progress: Progress | None,
) -> ViewHands:
    """The detections, with those of marked images detected again or left out."""
    redo = marks.mask('redo', len(timeline), source.names)
    for k in range(len(records)):
        images = np.unique(timeline.frame_indices[redo[:, k], k])
        images = images[images >= 0]
        if len(images):
            records[k] = detect_again(source, k, images, records[k], session, job.detections, progress)
    return ViewHands.from_track_records(records, _used_images(timeline, marks, source))


def _used_images(timeline: Timeline, marks: RecordingMarks, source: RecordingSource) -> NDArray[np.int64]:
    """(T, K) images, -1 also for those that are to be left out."""
    return np.where(marks.mask('exclude', len(timeline), source.names), -1, timeline.frame_indices)


def _reconstruct(
    job: AnnotateJob,
    source: RecordingSource,
    timeline: Timeline,
    hands: ViewHands,
    session: Session,
    progress: Progress | None,
) -> AnnotatedRecording:
    """Matches and triangulates the hands, twice if the second look finds some that were missed."""
    matched = match_hands(hands, source.calibration)
    if job.second_look:
        options = ReconstructionOptions(hold_bone_lengths=False, interpolate=MAX_GAP)
        rough = reconstruct(matched, source.calibration, timeline.timestamps, options)
        images = np.where(hands.image_valid, timeline.frame_indices, -1)
        found = look_again(source, images, rough.joints_3d, matched, session, progress)
        added = (found.valid & ~matched.valid).sum((0, 2)).tolist()
        listed = ', '.join(f'{name} {count}' for name, count in zip(source.names, added, strict=True) if count)
        notes = [f'hands that were missed at first and found by a second look: {listed}'] if listed else []
        matched = replace(found, notes=[*matched.notes, *notes])
    result = reconstruct(matched, source.calibration, timeline.timestamps)
    return AnnotatedRecording(
        calibration=source.calibration,
        videos=[_video_path(video, job.out.parent) for video in source.videos],
        timestamps=timeline.timestamps,
        hand_side=matched.hand_side,
        frame_indices=timeline.frame_indices,
        joints_2d=matched.joints_2d,
        joints_2d_valid=matched.valid,
        detection_confidence=matched.confidence,
        views_used=result.views_used,
        triangulated=result.triangulated,
        triangulated_valid=result.valid,
        joints_3d=result.joints_3d,
        joints_valid=result.valid,
        method=f'{session.name}, triangulated, bone lengths held',
        notes=[*matched.notes, *result.notes],
    )


def _check_result(recording: AnnotatedRecording, hands: ViewHands, consistency: Consistency) -> None:
    """Refuses a recording without any position in 3D, and one in another unit."""
    if recording.triangulated_valid.any():
        check_hand_size(recording)
        return
    names = recording.calibration.names
    seen = ', '.join(f'{name} {int(hands.valid[:, k].any(-1).sum())}' for k, name in enumerate(names))
    reasons = [*recording.notes, *_consistency_notes(consistency)]
    raise AnnotationError(
        f'no hand could be triangulated: two cameras must see it at once. Frames with a hand, of {len(hands)}: {seen}'
        + ''.join(f'; {reason}' for reason in reasons)
    )


def _consistency_notes(consistency: Consistency) -> list[str]:
    notes = [*consistency.messages, *consistency.notes]
    if consistency.messages:
        notes.append('if the videos do not begin together: annotate with --estimate-offsets, or give --offsets')
    return notes


def _improve(job: AnnotateJob, recording: AnnotatedRecording, progress: Progress | None) -> AnnotatedRecording:
    """The steps that were asked for: rounds of a model, refinement, and the fit to what these found."""
    hand_model = None if job.hand_model is None else dict(type='MANO', model_path=str(job.hand_model))
    if job.model is not None:
        # It imports the estimators, which take a second to import.
        from handpose.inference.annotation.volume_rounds import estimate_rounds, load_volume_model

        model, name = load_volume_model(job.model, job.rounds)
        tell = _frames_of(progress, f'rounds of {name}')
        recording = estimate_rounds(recording, model, name, folder=job.out.parent, progress=tell).recordings[-1]
    if job.refine is not None:
        recording = refine_recording(recording, open_refiner(job.refine, hand_model))
    if job.fit:
        fitted = None if hand_model is None else HAND_MODELS.build(hand_model)
        changed = job.model is not None or job.refine is not None
        options = FitOptions(target='joints' if changed else 'detections')
        recording = fit_recording(recording, fitted, options, progress=_frames_of(progress, 'fitting the hand model'))
    return recording


def _frames_of(progress: Progress | None, step: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(step, float(done), float(total))


def _write(report: AnnotationReport, marks: RecordingMarks, progress: Progress | None) -> None:
    """Writes the recording and then what was asked for."""
    job, recording = report.job, report.recording
    save_annotated_recording(job.out, recording)
    report.files.append(job.out)
    names = OutputNames(job.out, job.subject, job.out.stem, job.licence)
    for name, write in OUTPUTS.items():
        if name in job.outputs:
            if progress is not None:
                progress(f'writing {name}', 0.0, None)
            files, notes = write(recording, names)
            report.files += files
            report.notes += notes
    if REPORT in job.outputs:
        path = names.beside('_report.html')
        report.notes += write_recording_report(
            path, recording, title=job.recording.name, folder=job.out.parent, marks=marks
        )
        report.files.append(path)


def _video_path(video: Path, folder: Path) -> str:
    """Relative to the folder of the result where the video is in it, so that both can be moved together."""
    video, folder = video.resolve(), folder.resolve()
    return os.path.relpath(video, folder) if video.is_relative_to(folder) else str(video)
