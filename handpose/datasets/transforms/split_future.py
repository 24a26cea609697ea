"""Which frames of a clip a model observes: the first of them, the others being its future or left out."""

import math

import numpy as np

from handpose.datasets.io.errors import DatasetError
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

OBSERVED = 16  # frames of a segment of G-HTT
# What a ground-truth future does not need, and what would be the input of a model.
_NOT_IN_FUTURE = (
    'images',
    'features',
    'input_joints_3d',
    'input_confidence',
    'input_valid',
    'input_joints_valid',
)


@TRANSFORMS.register_module()
class SplitFuture:
    """Separates the observed frames of a clip from those that follow, which become its ground-truth `future`.

    Use it with the sampling `ForecastSegments`, or with `ClipSampling` of observed and future frames to train. The
    future is a batch of one clip with the labels of its frames, its own `frame_valid` and timestamps. It never has a
    model's input (`input_joints_3d`, images, features), so noise cannot enter it.

    Place it after transforms that change the labels of all frames (`MotionAugmentation`, rotations of `HandCrop`),
    which refuse a clip with a future, and before those that make the input: `LoadImages` then reads the observed images
    only, and the errors that `EstimatorNoise` simulates depend on observed frames only.

    Args:
        num_observed: frames that stay in the clip.

    Raises:
        DatasetError: `num_observed` is no whole number of at least 1.
    """

    def __init__(self, num_observed: int = OBSERVED) -> None:
        _check_frames('SplitFuture: num_observed', num_observed)
        self.num_observed = num_observed

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Splits a clip.

        Args:
            sample: more than `num_observed` frames, padding included.
            rng: not used.

        Returns:
            The observed frames, with `future`, and with `meta['phase']`: how many segments of `num_observed` frames
            of the track come before the clip, counted from `meta['track_start']` (0 for a clip without it).

        Raises:
            DatasetError: there is no frame after the observed ones, or the clip has a future already.
        """
        if sample.future is not None:
            raise DatasetError('SplitFuture got a clip that has a future already; split a clip once')
        num_frames = len(sample.require('timestamps'))
        if num_frames <= self.num_observed:
            raise DatasetError(
                f'SplitFuture needs more than num_observed = {self.num_observed} frames, got {num_frames} of '
                f"{sample.meta.get('sequence', 'a clip')}; sample with dict(type='ForecastSegments', "
                f'num_observed={self.num_observed}), which leaves out segments that nothing follows'
            )
        future = sample.select_frames(range(self.num_observed, num_frames))
        future = future.replace(**dict.fromkeys(_NOT_IN_FUTURE))
        observed = sample.select_frames(range(self.num_observed))
        meta = {**dict(observed.meta), 'phase': self._phase(observed)}
        return observed.replace(meta=meta, future=HandSequence.stack([future]))

    def _phase(self, observed: HandSequence) -> int:
        numbers = np.asarray(observed.meta.get('frame_indices', [0]))
        steps = np.diff(numbers)
        step = int(steps[steps > 0].min()) if (steps > 0).any() else 1  # padding repeats frames
        first = int(numbers[0])
        return (first - int(observed.meta.get('track_start', first))) // (self.num_observed * step)


@TRANSFORMS.register_module()
class ObserveFraction:
    """Keeps the first part of a track, to measure how early an action is recognised.

    Test with `sampling=dict(type='Tracks')` at fractions such as 0.25, 0.5, 0.75 and 1. Place it before `LoadImages`,
    which then reads no image that is left out.

    Args:
        fraction: share of the track's frames that is kept, rounded up.
        min_frames: fewest frames that are kept; a track that is not longer stays whole.

    Raises:
        DatasetError: a fraction that is not above 0 and at most 1, or `min_frames` below 1.
    """

    def __init__(self, fraction: float, min_frames: int = OBSERVED) -> None:
        if not 0 < fraction <= 1:
            raise DatasetError(f'ObserveFraction: fraction must be above 0 and at most 1, got {fraction!r}')
        _check_frames('ObserveFraction: min_frames', min_frames)
        self.fraction, self.min_frames = fraction, min_frames

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Shortens a track.

        Args:
            sample: a track; padding at its end does not count.
            rng: not used.

        Returns:
            Its first frames.
        """
        num_frames = len(sample.require('timestamps'))
        if sample.frame_valid is not None and sample.frame_valid.any():
            num_frames = int(sample.frame_valid.nonzero().max()) + 1
        # Rounding errors must not add a frame: 0.1 * 30 is above 3.
        kept = max(math.ceil(self.fraction * num_frames - 1e-9), self.min_frames)
        return sample.select_frames(range(min(kept, num_frames)))


def _check_frames(name: str, value: int) -> None:
    if type(value) is not int or value < 1:
        raise DatasetError(f'{name} must be a whole number of at least 1, got {value!r}')
