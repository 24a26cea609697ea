"""FID of sampled motions: the Frechet distance of their features to those of the motions that followed.

Legend: S sampled futures of a clip, N motions, T frames, H hands, D features.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.evaluation.base import Metric
from handpose.evaluation.future_metric import checked_durations, subset_suffix, subset_title
from handpose.evaluation.future_pairs import TIME_TOLERANCE, FuturePair, future_pair
from handpose.evaluation.motion_distance import FRECHET_METHODS, feature_statistics, frechet_distance
from handpose.evaluation.spec import MetricSpec
from handpose.registry import FEATURE_NETWORKS, METRICS
from handpose.structures import HandSequence, SequenceError

# Of one clip: 'key' (sequence, camera, number of the last observed frame), 'seconds' its future lasts, and the features
# of its 'sampled' futures (S, D) and its 'true' one (1, D), both without rows where it does not count.
FeatureRow: TypeAlias = dict[str, Any]


@runtime_checkable
class FeatureNetwork(Protocol):
    """What turns motions into features, as a class registered in `FEATURE_NETWORKS` does."""

    def __call__(self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Computes one feature vector of each motion.

        Args:
            joints: (N, T, 2, 21, 3) metres, left and right hand.
            joints_valid: (N, T, 2, 21) bool; all False for a hand that is missing.
            frame_valid: (N, T) bool, False for padding.

        Returns:
            (N, D).
        """


@METRICS.register_module()
class MotionFID(Metric):
    """Frechet distance between the features of all sampled futures and those of the true futures of the split.

    Reports `fid` (smaller is more realistic), and the numbers of motions, `fid_sampled` and
    `fid_true`. As in G-HTT (arXiv 2311.17366, section 4.2) features come from a trained action classifier, and
    the reference is the ground truth of the evaluation split. Values depend on that network, on the durations and on
    the number of clips: compare only what was measured together.

    A sampled future is compared over the frames of the true one, and a joint that is not valid in one of them is valid
    in neither: gaps in the annotation, or a thumb base that a model does not give, are no difference of motion. Each
    set needs more motions than there are features.

    Args:
        features: config of a class in `FEATURE_NETWORKS`, dict(type='TrainedMotionFeatures', weights=FILE), or a
            callable like `FeatureNetwork`. It is built when the first clip is tested.
        min_seconds: only true futures of at least this duration count; with a value above 0 all names say so. Several
            durations, such as (0, 1, 2), give the numbers of each.
        max_frames: longer futures are cut to their first frames; None means all.
        all_samples: True takes all S samples of each clip, False only the first one.
        method: of `frechet_distance`.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        TypeError: `features` is neither a config nor callable.
        ValueError: options out of range; after testing, fewer clips than features.
        SequenceError: while testing, futures that cannot be compared, or features of a wrong shape.
    """

    def __init__(
        self,
        features: Mapping[str, Any] | FeatureNetwork,
        min_seconds: float | Sequence[float] = 0.0,
        max_frames: int | None = None,
        all_samples: bool = True,
        method: str = 'eigenvalues',
        collect_device: str = 'cpu',
    ) -> None:
        super().__init__(collect_device=collect_device)
        if not isinstance(features, Mapping) and not callable(features):
            raise TypeError(
                f"MotionFID: features must be dict(type='TrainedMotionFeatures', weights=FILE) or a callable, got "
                f'{features!r}'
            )
        if (max_frames is not None and max_frames < 1) or method not in FRECHET_METHODS:
            raise ValueError(
                f'MotionFID: max_frames must be None or at least 1, and method one of {FRECHET_METHODS}; got '
                f'{max_frames} and {method!r}'
            )
        self.features = features
        self.min_seconds, self.max_frames = checked_durations(min_seconds, 'MotionFID'), max_frames
        self.all_samples, self.method = all_samples, method

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """See `Metric.specs`."""
        return tuple(spec for seconds in self.min_seconds for spec in _subset_specs(seconds))

    @cached_property
    def network(self) -> FeatureNetwork:
        """The feature network."""
        if not isinstance(self.features, Mapping):
            return self.features
        network: FeatureNetwork = FEATURE_NETWORKS.build(dict(self.features))
        return network

    def process_clip(self, prediction: HandSequence, target: HandSequence) -> FeatureRow:
        """See `Metric.process_clip`.

        Args:
            prediction: a clip with sampled futures of absolute positions.
            target: the same clip with its true future.

        Raises:
            SequenceError: see `MotionFID`.
        """
        pair = future_pair(prediction, target)
        if not pair.absolute:
            raise SequenceError(
                f'{pair.name}: MotionFID compares the motion of whole hands, but these forecasts are relative to the '
                f'wrist; forecast in the frame of the camera or the world'
            )
        row: FeatureRow = {'key': (pair.sequence, pair.camera, pair.frame), 'seconds': pair.duration}
        counted = pair.lasts(self.min_seconds[0]) and (pair.truth_valid & pair.sampled_valid.all(0)).any()
        row['sampled'], row['true'] = self._features(pair) if counted else 2 * (np.zeros((0, 0), np.float32),)
        return row

    def reduce(self, results: list[FeatureRow]) -> dict[str, float]:
        """See `Metric.reduce`.

        Args:
            results: rows of all clips.

        Raises:
            ValueError: no clip counts, or fewer than there are features.
        """
        rows = {tuple(row['key']): row for row in reversed(results) if len(row['true'])}  # samplers repeat clips
        numbers: dict[str, float] = {}
        for seconds in self.min_seconds:
            found = [rows[key] for key in sorted(rows) if rows[key]['seconds'] >= seconds - TIME_TOLERANCE]
            if not found:
                longest = max((row['seconds'] for row in results), default=0.0)
                raise ValueError(
                    f'MotionFID: none of {len(results)} forecasts counts; expected true futures of at least '
                    f'{seconds:g} s with annotated hands, and the longest is {longest:.2f} s: lower min_seconds or '
                    f'raise max_future of ForecastSegments'
                )
            sampled, truth = (np.concatenate([row[name] for row in found]) for name in ('sampled', 'true'))
            first = feature_statistics(sampled, f'MotionFID, sampled futures{subset_title(seconds)}')
            second = feature_statistics(truth, f'MotionFID, true futures{subset_title(seconds)}')
            distance = frechet_distance(*first, *second, method=self.method)
            values = (distance, float(len(sampled)), float(len(truth)))
            numbers |= {spec.name: value for spec, value in zip(_subset_specs(seconds), values, strict=True)}
        return numbers

    def _features(self, pair: FuturePair) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        frames = slice(self.max_frames)
        samples = slice(None if self.all_samples else 1)
        truth, truth_valid = pair.truth[None, frames], pair.truth_valid[None, frames]
        sampled, sampled_valid = pair.sampled[samples, frames], pair.sampled_valid[samples, frames]
        in_all = sampled_valid.all(0, keepdims=True)
        joints = np.concatenate([sampled, truth]) / 1000
        valid = np.concatenate([sampled_valid & truth_valid, truth_valid & in_all])
        joints, valid = _two_hands(joints, valid, pair.hand_side)
        frame_valid = np.broadcast_to(pair.present[frames], joints.shape[:2])
        with torch.no_grad():
            features = self.network(
                torch.from_numpy(joints.astype(np.float32)),
                torch.from_numpy(valid),
                torch.from_numpy(frame_valid.copy()),
            )
        if features.ndim != 2 or len(features) != len(joints) or not bool(features.isfinite().all()):
            raise SequenceError(
                f'{pair.name}: the feature network must give finite features ({len(joints)}, D) of {len(joints)} '
                f'motions, got {tuple(features.shape)}{" with NaN" * bool(features.isnan().any())}'
            )
        array = features.detach().cpu().float().numpy()
        return array[:-1], array[-1:]


def _subset_specs(seconds: float) -> tuple[MetricSpec, ...]:
    """Specs of the numbers over futures of at least a duration."""
    suffix = subset_suffix(seconds)
    return (
        MetricSpec(
            f'fid{suffix}',
            f'FID of motions{subset_title(seconds)}',
            lower_is_better=True,
            headline=not seconds,
            count=f'fid_sampled{suffix}',
        ),
        MetricSpec.counting(f'fid_sampled{suffix}', 'sampled futures'),
        MetricSpec.counting(f'fid_true{suffix}', 'true futures'),
    )


def _two_hands(
    joints: NDArray[np.float64], valid: NDArray[np.bool_], hand_side: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Motions (N, T, H, 21, 3) and masks of both hands; one that a dataset lacks is not valid."""
    if len(hand_side) == 2:
        return joints, valid
    both, both_valid = (np.zeros((*x.shape[:2], 2, *x.shape[3:]), x.dtype) for x in (joints, valid))
    both[:, :, hand_side], both_valid[:, :, hand_side] = joints, valid
    return both, both_valid
