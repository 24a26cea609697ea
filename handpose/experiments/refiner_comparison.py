"""Whether refiners help on the predictions of given estimators, whose truth is known.

    comparison = compare_refiners({'a': load_predictions('a.npz')}, load_predictions('truth.npz'), refiners)

`refiners` may hold a `MotionRefiner` that is being trained. `handpose compare-refiners` is the command;
docs/guides/compare_refiners.md explains the numbers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from handpose.evaluation.bootstrap import paired_change
from handpose.experiments.refiner_tracks import (
    METRICS,
    ComparisonError,
    TrackErrors,
    TrueTrack,
    every_nth,
    match_truth,
    measure,
    refined_joints,
)
from handpose.inference import Refiner
from handpose.models.estimators.motion_refiner import MotionRefiner
from handpose.structures import Predictions, PredictionsError

INPUT, MEAN, PERFECT = 'input', 'mean', 'perfect input'
BLOCK_SECONDS = 2.0
ROUNDING = 1e-5  # relative change of an error that a refiner which changes nothing may have


@dataclass(frozen=True)
class ErrorChange:
    """A mean error and how it changed against the input.

    Attributes:
        value: mm, or mm/frame^2 of an acceleration.
        change: percent; below 0 is better. None in rows of the input, and where the input is perfect.
        low: lower end of the 95 % interval of `change`; None where there is none.
        high: upper end.
    """

    value: float
    change: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """One refiner on one file, or the mean over the files, at one frame rate.

    Attributes:
        refiner: its name; 'input' for the predictions themselves.
        file: name of the predictions, 'mean', or 'perfect input' for the truth as input.
        fps: frames per second.
        errors: {'mpjpe', 'scaled_mpjpe', 'acceleration'}; empty where the refiner refused the predictions.
        joints: how many joints were compared, over all frames.
        seconds: that refining took.
        better_on: in the mean row, on how many files the wrist-aligned MPJPE is below the input's.
        files: in the mean row, the number of files.
        error: why there is no number, or None.
    """

    refiner: str
    file: str
    fps: float
    errors: dict[str, ErrorChange] = field(default_factory=dict)
    joints: int = 0
    seconds: float = 0.0
    better_on: int | None = None
    files: int | None = None
    error: str | None = None

    @property
    def better_everywhere(self) -> bool:
        """Whether a mean row is better than the input on every file, by wrist-aligned MPJPE."""
        return self.better_on is not None and self.better_on == self.files


@dataclass
class RefinerComparison:
    """What was measured.

    Attributes:
        rows: of each frame rate and refiner the files, then their mean.
        tracks: {file: predictions with their truth}.
        errors: {(refiner, file): errors of every joint} at the first frame rate, for figures.
        notes: what could not be compared, and what a refiner says of the frame rate.
    """

    rows: list[ComparisonRow] = field(default_factory=list)
    tracks: dict[str, TrueTrack] = field(default_factory=dict)
    errors: dict[tuple[str, str], TrackErrors] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def row(self, refiner: str, file: str = MEAN, fps: float | None = None) -> ComparisonRow:
        """Looks up a row.

        Args:
            refiner: its name.
            file: name of the predictions, 'mean' or 'perfect input'.
            fps: frames per second; None means the first rate.

        Returns:
            The row.

        Raises:
            KeyError: there is none.
        """
        for row in self.rows:
            if (row.refiner, row.file) == (refiner, file) and fps in (None, row.fps):
                return row
        raise KeyError(f'there is no row of {refiner!r} on {file!r} at {fps} frames per second')

    def as_dict(self) -> dict[str, Any]:
        """The numbers in the form of a JSON file.

        Returns:
            {'rows': a list, 'notes': a list}.
        """
        return {'rows': [asdict(row) for row in self.rows], 'notes': self.notes}


Report = Callable[[RefinerComparison, int, int], None]  # what is there so far, tracks that are done, all tracks


def compare_refiners(
    predictions: Mapping[str, Predictions],
    truth: Predictions,
    refiners: Mapping[str, Refiner | MotionRefiner],
    fps: Sequence[float | None] = (None,),
    perfect: bool = False,
    seed: int = 0,
    report: Report | None = None,
) -> RefinerComparison:
    """Refines predictions and measures how their errors change.

    Joints are compared relative to the wrist, and the wrist itself is not counted: its error would be 0. The joints and
    frames that count are those that both the predictions and the truth give; what a refiner adds does not count. A
    mean is over all these joints, the mean row is the mean of the files. Intervals are those of `paired_change`, over
    blocks of 2 s.

    Args:
        predictions: {name: output of an estimator}; with fewer joints too.
        truth: the true joints, with fewer joints too. Hands are matched by their side and frames by their time.
        refiners: {name: refiner}; a module in training mode is put back into it.
        fps: frame rates at which to compare, of which the rate of the predictions must be a multiple: every Nth frame
            is refined, from each of the first N frames on. None means all frames.
        perfect: refine the truth too.
        seed: of the bootstrap.
        report: is told the progress after each track.

    Returns:
        The comparison. A refiner that refuses predictions has a row with its error.

    Raises:
        ComparisonError: nothing to compare, a name that is used for rows, or a frame rate that does not fit.
    """
    reserved = {INPUT, MEAN, PERFECT} & {*predictions, *refiners}
    if not predictions or reserved:
        raise ComparisonError(f'compare_refiners needs predictions, and other names than {sorted(reserved)}')
    result = RefinerComparison()
    tracks = {name: match_truth(name, given, truth) for name, given in predictions.items()}
    result.tracks = dict(tracks)
    result.notes += [note for track in tracks.values() for note in track.notes]
    if perfect:
        tracks[PERFECT] = match_truth(PERFECT, truth, truth)
    steps = {rate: {name: every_nth(rate, track.predictions, name) for name, track in tracks.items()} for rate in fps}
    with _evaluation_mode(refiners):
        ready = {name: one if isinstance(one, Refiner) else Refiner(one, name=name) for name, one in refiners.items()}
        work = [(rate, name) for rate in fps for name in (None, *ready)]
        for number, (rate, name) in enumerate(work):

            def tell(done: int, before: int = number * len(tracks)) -> None:
                if report is not None:
                    report(result, before + done, len(work) * len(tracks))

            refiner = None if name is None else ready[name]
            _compare(result, name or INPUT, refiner, tracks, steps[rate], rate == fps[0], seed, tell)
            tell(len(tracks))
    return result


def _compare(
    result: RefinerComparison,
    name: str,
    refiner: Refiner | None,
    tracks: Mapping[str, TrueTrack],
    steps: Mapping[str, int],
    keep: bool,
    seed: int,
    tell: Callable[[int], None],
) -> None:
    """Adds the rows of a refiner at one frame rate, and its errors if they are to be kept."""
    rows: dict[str, ComparisonRow] = {}
    found: dict[str, tuple[TrackErrors, TrackErrors]] = {}
    for done, (file, track) in enumerate(tracks.items()):
        tell(done)
        if refiner is None and file == PERFECT:
            continue
        before = measure(track, track.predictions.joints, steps[file])
        rows[file], after = _row(name, refiner, track, steps[file], before, seed)
        if after is not None:
            found[file] = before, after
            if keep and file != PERFECT:
                result.errors[name, file] = after
        if refiner is not None:
            _add_notes(result.notes, name, refiner, track, steps[file])
    files = [row for file, row in rows.items() if file != PERFECT]
    result.rows += [*files, _mean_row(files, tracks, found, seed), *(rows[file] for file in rows if file == PERFECT)]


@contextmanager
def _evaluation_mode(refiners: Mapping[str, Refiner | MotionRefiner]) -> Iterator[None]:
    """Puts modules that are being trained back into their mode, since a `Refiner` sets that of evaluation."""
    models = [one for one in refiners.values() if isinstance(one, MotionRefiner)]
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _row(
    name: str, refiner: Refiner | None, track: TrueTrack, step: int, before: TrackErrors, seed: int
) -> tuple[ComparisonRow, TrackErrors | None]:
    """The row of one track and its errors, which are None where the refiner refused the track."""
    rate = 1 / (track.predictions.period or 1.0) / step
    row = ComparisonRow(name, track.name, _rounded(rate), joints=int(track.counted.sum()))
    if refiner is None:
        return replace(row, errors={key: ErrorChange(before.mean(key)) for key in METRICS}), before
    start = time.perf_counter()
    try:
        joints = refined_joints(refiner, track.predictions, step)
        after = measure(track, joints, step, time.perf_counter() - start)
    except (PredictionsError, ComparisonError) as error:
        return replace(row, error=str(error)), None
    values = [(track, before, after)]
    return replace(row, errors=_changes(values, seed, track.name == PERFECT), seconds=after.seconds), after


def _mean_row(
    rows: Sequence[ComparisonRow],
    tracks: Mapping[str, TrueTrack],
    found: Mapping[str, tuple[TrackErrors, TrackErrors]],
    seed: int,
) -> ComparisonRow:
    """The mean over the files; without numbers where one of them has none."""
    first = rows[0]
    refused = [row for row in rows if row.error is not None]
    mean = replace(first, file=MEAN, errors={}, joints=sum(row.joints for row in rows), files=len(rows), error=None)
    mean = replace(mean, seconds=sum(row.seconds for row in rows))
    if refused:
        return replace(mean, error=f'no number on {len(refused)} of {len(rows)} files: {refused[0].error}')
    if first.refiner == INPUT:
        values = {key: ErrorChange(float(np.mean([row.errors[key].value for row in rows]))) for key in METRICS}
        return replace(mean, errors=values)
    pairs = [(tracks[row.file], *found[row.file]) for row in rows]
    smaller = 1 - ROUNDING
    better = sum(after.mean('mpjpe') < smaller * before.mean('mpjpe') for _, before, after in pairs)
    return replace(mean, errors=_changes(pairs, seed), better_on=better)


def _changes(
    pairs: Sequence[tuple[TrueTrack, TrackErrors, TrackErrors]], seed: int, perfect: bool = False
) -> dict[str, ErrorChange]:
    """{metric: the mean over tracks after refining, and its change}."""
    result = {}
    blocks = [track.blocks(BLOCK_SECONDS) for track, _, _ in pairs]
    versions = [(before, after) for _, before, after in pairs]
    for key in METRICS:
        value = float(np.mean([after.mean(key) for _, _, after in pairs]))
        first, second = ([pair[i].errors[key] for pair in versions] for i in (0, 1))
        counted = all((~np.isnan(values)).any() for values in first)
        if perfect or not counted:  # no change of an error of 0; a track of two frames has no acceleration
            result[key] = ErrorChange(value)
            continue
        change = paired_change(first, second, blocks, seed=seed)
        numbers = (change.percent, change.low, change.high)
        result[key] = ErrorChange(value, *(number if np.isfinite(number) else None for number in numbers))
    return result


def _add_notes(notes: list[str], name: str, refiner: Refiner, track: TrueTrack, step: int) -> None:
    """Adds what the refiner says of the frame rate, once."""
    frames = np.flatnonzero(track.predictions.frame_numbers() % step == 0)
    for note in refiner.notes(track.predictions.select(frames)):
        if f'{name}: {note}' not in notes:
            notes.append(f'{name}: {note}')


def _rounded(rate: float) -> float:
    """Frames per second without the rounding of timestamps."""
    return float(f'{rate:.4g}')
