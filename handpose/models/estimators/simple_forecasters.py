"""Forecasters without parameters: what any forecaster must beat.

Each joint moves on by its own velocity, in the frame of the input ('world', or 'camera' of a camera that stands still).
So fingers that close keep closing, which the velocity of the palm alone would not give. The defaults are the best of 2
to 8 frames and 0.1 to 0.4 s for the next 16 frames of DexYCB's training split (s0, true joints).
Legend: T observed frames, F future frames, H hands, J = 21 joints.
"""

import math

import torch
from torch import Tensor

from handpose.models.estimators.base import Gives, Reads, TrainingStep
from handpose.models.estimators.forecaster import Forecaster, check_forecast, future_batch, input_joints
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


class Extrapolation(Forecaster, abstract=True):
    """Each joint goes on from where it was last seen with a velocity v that decays: x + v tau (1 - exp(-time / tau)).

    The velocity is the slope of the line through the joint's last positions, in the least-squares sense, so that noise
    counts less the more frames are used. A joint that is never seen stays missing.

    Args:
        num_frames: of a line: those up to the last one that shows the joint. With fewer than two that do, it rests.
        time_constant: tau, seconds; infinity keeps the velocity, 0 the place.

    Raises:
        ValueError: num_frames below 2, or a negative time_constant.
    """

    def __init__(self, num_frames: int, time_constant: float) -> None:
        super().__init__()
        if num_frames < 2 or not time_constant >= 0:
            raise ValueError(
                f'num_frames must be at least 2 and time_constant at least 0, got {num_frames} and {time_constant}'
            )
        self.num_frames, self.time_constant = num_frames, time_constant

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        return Reads(fields=('joints_3d', 'joints_valid', 'hand_side', 'frame_valid', 'timestamps'))

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """There is none: raises NotImplementedError."""
        raise NotImplementedError(f'{type(self).__name__} has nothing to train; test it with `handpose test`')

    @torch.no_grad()
    def forecast(
        self,
        batch: HandSequence,
        num_frames: int,
        *,
        num_samples: int | None = None,
        generator: torch.Generator | None = None,
        action: Tensor | None = None,
    ) -> HandSequence:
        """Continues each clip at the rate of its frames; see `Forecaster.forecast`. Takes num_samples None or 1."""
        check_forecast(num_frames, num_samples)
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        joints, valid = input_joints(batch)
        batch.require('timestamps')
        future = future_batch(batch, joints.new_zeros(len(joints), num_frames, *joints.shape[2:]), valid.any(1), None)
        given = zip(joints, valid, batch.require('timestamps'), future.require('timestamps'), strict=True)
        moved = torch.stack([self.extrapolate(*clip) for clip in given])
        known = future.require('joints_valid')
        return future.replace(joints_3d=torch.where(known[..., None], moved, 0))

    def extrapolate(self, joints: Tensor, valid: Tensor, times: Tensor, future_times: Tensor) -> Tensor:
        """Continues one clip.

        Args:
            joints: (T, H, J, 3), metres.
            valid: (T, H, J) bool.
            times: (T,) seconds.
            future_times: (F,) seconds.

        Returns:
            (F, H, J, 3), metres; meaningless for a joint that is never valid.
        """
        number = torch.arange(len(joints), device=joints.device)[:, None, None]
        last = torch.where(valid, number, 0).amax(0)  # (H, J)
        place = joints.gather(0, last[None, ..., None].expand(1, -1, -1, 3))[0]
        elapsed = future_times[:, None, None] - times[last]  # (F, H, J)
        if self.time_constant == math.inf:
            reach = elapsed
        else:
            tau = max(self.time_constant, 1e-9)
            reach = tau * -torch.expm1(-elapsed / tau)
        weight = (valid & (number > last - self.num_frames)).to(times.dtype)
        count = weight.sum(0).clamp_min(1)
        offset = times[:, None, None] - (weight * times[:, None, None]).sum(0) / count
        mean = (weight[..., None] * joints).sum(0) / count[..., None]
        spread = (weight * offset.square()).sum(0)
        slope = ((weight * offset)[..., None] * (joints - mean)).sum(0) / spread.clamp_min(1e-12)[..., None]
        return (place + slope * reach[..., None]).to(joints.dtype)


@MODELS.register_module()
class LastPose(Extrapolation):
    """Repeats the last pose; of each joint, where it was seen last."""

    def __init__(self) -> None:
        super().__init__(num_frames=2, time_constant=0.0)


@MODELS.register_module()
class ConstantVelocity(Extrapolation):
    """Every joint keeps its last velocity.

    Args:
        num_frames: last frames that the velocity is fitted to, see `Extrapolation`.
    """

    def __init__(self, num_frames: int = 3) -> None:
        super().__init__(num_frames, time_constant=math.inf)


@MODELS.register_module()
class DampedVelocity(Extrapolation):
    """Every joint slows down exponentially.

    Args:
        num_frames: last frames that the velocity is fitted to, see `Extrapolation`.
        time_constant: tau, seconds, see `Extrapolation`.
    """

    def __init__(self, num_frames: int = 3, time_constant: float = 0.2) -> None:
        super().__init__(num_frames, time_constant)
