"""Clips of recorded motion at other frame rates, for models that are to work at any."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

_KEPT = ('frame_valid', 'timestamps', 'hand_side', 'hand_valid', 'joints_3d', 'joints_valid')
_RARELY = 1e-6  # of a frame


@TRANSFORMS.register_module()
class ChangeFrameRate:
    """Draws a frame rate for a clip of joints and a random part of the clip at that rate.

    Joints between the clip's frames are those of a cubic spline, of the frames at integer ratios those of the clip. A
    joint is valid where it is valid in the frames before and after. Only joints are kept: no hand-model parameters, and
    no images. Place it first, before the noise.

    Args:
        rates: frames per second, of which one is drawn with equal probability.
        num_frames: of the result; a part that is shorter is padded with its last frame.
        speeds: the slowest and the fastest motion, relative to the recorded one; drawn log-uniformly.

    Raises:
        DatasetError: no rate, a rate or speed that is not positive, speeds out of order, or no frame.
    """

    def __init__(
        self,
        rates: Sequence[float] = (10.0, 15.0, 30.0, 60.0),
        num_frames: int = 64,
        speeds: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        if not rates or not all(0 < rate < np.inf for rate in rates) or num_frames < 1:
            raise DatasetError(
                f'ChangeFrameRate: expected positive rates and num_frames, got rates={rates!r} and '
                f'num_frames={num_frames!r}'
            )
        if len(speeds) != 2 or not 0 < speeds[0] <= speeds[1] < np.inf:
            raise DatasetError(
                f'ChangeFrameRate: speeds must be the slowest and the fastest, both positive, got {speeds!r}'
            )
        self.speeds = float(speeds[0]), float(speeds[1])
        self.rates, self.num_frames = tuple(float(rate) for rate in rates), num_frames

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Resamples a clip.

        Args:
            sample: with joints and meta['fps'].
            rng: source of the draws.

        Returns:
            A clip of `num_frames` frames.

        Raises:
            DatasetError: a clip without joints or frame rate, with images, or with an input already.
        """
        if sample.joints_3d is None or sample.joints_valid is None or not sample.meta.get('fps'):
            raise DatasetError("ChangeFrameRate needs joints_3d, joints_valid and meta['fps']")
        if sample.images is not None or sample.input_joints_3d is not None:
            raise DatasetError(
                'ChangeFrameRate resamples joints alone: place it before the transform that fills inputs'
            )
        rate = self.rates[int(rng.integers(len(self.rates)))]
        slowest, fastest = self.speeds
        speed = 1.0 if slowest == fastest == 1 else float(np.exp(rng.uniform(np.log(slowest), np.log(fastest))))
        fps = float(sample.meta['fps']) * speed  # as if the recorded frames had come at another rate
        length = len(sample.joints_3d) if sample.frame_valid is None else int(sample.frame_valid.sum())
        count = int((length - 1) * rate / fps + _RARELY) + 1
        phase = rng.uniform(0, (length - 1) - (count - 1) * fps / rate) if count > 1 else 0.0
        if fps / rate == round(fps / rate):
            phase = float(round(phase))  # frames of the clip as they are
        first = int(rng.integers(max(0, count - self.num_frames) + 1))
        number = np.minimum(np.arange(self.num_frames), min(count, self.num_frames) - 1)
        position = np.clip(phase + (first + number) * fps / rate, 0, length - 1)
        joints, valid = _joints_at(sample, length, position)
        dropped = {name: None for name in vars(sample) if name not in (*_KEPT, 'meta', 'frame', 'batched', 'future')}
        meta = {**dict(sample.meta), 'fps': rate, 'frame_indices': [int(p) for p in position.round()]}
        return sample.replace(
            **dropped,
            meta=meta,
            frame_valid=torch.arange(self.num_frames) < count - first,
            timestamps=torch.from_numpy(np.arange(self.num_frames) / rate),
            hand_valid=None if sample.hand_valid is None else torch.from_numpy(valid.any(-1)),
            joints_3d=torch.from_numpy(joints),
            joints_valid=torch.from_numpy(valid),
        )


def _joints_at(
    sample: HandSequence, length: int, position: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Joints (S, H, 21, 3) and which are valid (S, H, 21) at positions (S,) between the first `length` frames."""
    joints = sample.require('joints_3d')[:length].double().numpy()
    known = sample.require('joints_valid')[:length].numpy()
    before = np.floor(position + _RARELY).astype(int)
    after = np.minimum(np.ceil(position - _RARELY).astype(int), length - 1)
    valid = known[before] & known[after]
    result = joints[before]
    if (before != after).any():
        from scipy.interpolate import CubicSpline  # slow to import

        for hand, joint in np.argwhere(known.sum(0) > 1):
            frames = np.flatnonzero(known[:, hand, joint])
            result[:, hand, joint] = CubicSpline(frames, joints[frames, hand, joint])(position)
    return np.where(valid[..., None], result, 0).astype(np.float32), valid
