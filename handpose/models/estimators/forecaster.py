"""`Forecaster`: the interface of systems that continue hand motion, and what they share.

Legend: B clips, S samples of each, T frames, F future frames, H hands, J = 21 joints.
"""

import zlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from handpose.hands.sides import Side
from handpose.models.estimators.base import Estimator
from handpose.structures import HandSequence, fill_masked_values, sample_name


class Forecaster(Estimator, abstract=True):
    """An estimator that predicts the frames after a clip; a subclass defines `forecast`, and `observed` if it refines.

    `predict` forecasts where the batch has a `future`, as many frames as that one, so that a test needs no other call.

    Args:
        test_samples: futures that `predict` draws where its num_samples is None; None means the one without sampling.
        seed: of those draws.

    Attributes:
        action_names: names of the actions that `forecast` takes the labels of; empty for forecasters without actions.
        object_names: names of the objects that a batch may hold the labels of; empty for forecasters without objects.
        tested_with_action: `predict` tells `forecast` the true action of each clip, as published for models that
            generate motion of a prescribed action.
    """

    action_names: Sequence[str] = ()
    object_names: Sequence[str] = ()
    tested_with_action: ClassVar[bool] = False

    def __init__(self, test_samples: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.test_samples, self.seed = test_samples, seed

    @abstractmethod
    def forecast(
        self,
        batch: HandSequence,
        num_frames: int,
        *,
        num_samples: int | None = None,
        generator: torch.Generator | None = None,
        action: Tensor | None = None,
    ) -> HandSequence:
        """Predicts the frames after each clip, without gradients.

        Args:
            batch: B clips of observed frames, with `input_joints_3d` or else `joints_3d`, and their masks.
            num_frames: F, at least 1.
            num_samples: S random futures of each clip; None means one, the most likely, which draws nothing.
            generator: source of all random numbers; None means torch's global one.
            action: (B,) labels of what the hands do, -1 unknown; None means that nothing is known. Unused by
                forecasters without actions.

        Returns:
            Batch of B * S clips of F frames, those of the first clip first, in the frame of the input: joints, masks,
            and timestamps that go on from the last observed frame.

        Raises:
            ValueError: numbers below 1, or clips that are too short.
        """

    def observed(self, batch: HandSequence) -> HandSequence:
        """What the forecaster says of the observed frames: here the input itself.

        Args:
            batch: as in `forecast`.

        Returns:
            Batch of B clips with joints_3d.
        """
        joints, valid = input_joints(batch)
        return HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=batch.frame_valid,
            timestamps=batch.timestamps,
            hand_side=batch.hand_side,
            hand_valid=valid.any(-1),
            joints_3d=joints,
            joints_valid=valid,
        )

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """See `Estimator.predict`: the observed frames, and `future` where the batch has one."""
        batch = fill_masked_values(batch)
        prediction = self.observed(batch)
        if batch.future is None:
            if num_samples is not None:
                raise ValueError(
                    f'{type(self).__name__}.predict samples futures as long as those of the batch, which has none: '
                    f'call forecast(batch, num_frames, num_samples={num_samples})'
                )
            return prediction
        count = self.test_samples if num_samples is None else num_samples
        if generator is None and count is not None:
            generator = self._test_generator(batch)
        num_frames = batch.future.require('joints_3d').shape[1]
        action = batch.action_label if self.tested_with_action else None
        future = self.forecast(batch, num_frames, num_samples=count, generator=generator, action=action)
        return prediction.replace(future=future)

    def _test_generator(self, batch: HandSequence) -> torch.Generator:
        """A generator that depends on the seed and the first clip, not on the order of tests."""
        name = sample_name(batch.meta[0])
        device = batch.require('hand_side').device
        return torch.Generator(device).manual_seed(zlib.crc32(f'{self.seed} {name}'.encode()))


def check_forecast(num_frames: int, num_samples: int | None) -> None:
    """Checks what `Forecaster.forecast` is asked for.

    Args:
        num_frames: future frames.
        num_samples: futures of each clip.

    Raises:
        ValueError: a number below 1.
    """
    if num_frames < 1:
        raise ValueError(f'num_frames must be at least 1, got {num_frames}')
    if num_samples is not None and num_samples < 1:
        raise ValueError(f'num_samples must be at least 1, or None for the most likely future, got {num_samples}')


def input_joints(batch: HandSequence) -> tuple[Tensor, Tensor]:
    """The joints that a forecaster sees: those of another estimator where the batch has them, else the true ones.

    Args:
        batch: B clips.

    Returns:
        Joints (B, T, H, J, 3) and which are valid (B, T, H, J). A joint that the dataset never annotates in a clip is
        not valid in the input either.

    Raises:
        SequenceError: the batch has neither.
    """
    if batch.input_joints_3d is None:
        joints, valid = batch.require('joints_3d'), batch.require('joints_valid')
    else:
        joints = batch.input_joints_3d
        valid = batch.require('input_valid')[..., None].expand(joints.shape[:-1])
        if batch.joints_valid is not None:
            valid = valid & batch.joints_valid.any(1, keepdim=True)
    if batch.frame_valid is not None:
        valid = valid & batch.frame_valid[..., None, None]
    return joints, valid


class TwoHands(NamedTuple):
    """Joints of clips with one or two hands in two slots, left 0 and right 1, and how to get back."""

    joints: Tensor  # (B, T, 2, J, 3)
    valid: Tensor  # (B, T, 2, J)
    slots: Tensor  # (B, H), the slot of each hand of the input
    mirrored: Tensor  # (B,) bool, x is negated

    def restore(self, joints: Tensor) -> Tensor:
        """Puts joints back into the input's hands.

        Args:
            joints: (B, T', 2, J, 3), T' of any size.

        Returns:
            (B, T', H, J, 3).
        """
        signs = torch.where(self.mirrored, -1.0, 1.0).to(joints.dtype)[:, None, None, None]
        joints = torch.cat([joints[..., :1] * signs[..., None], joints[..., 1:]], -1)
        return joints.gather(2, self.slots[:, None, :, None, None].expand(-1, joints.shape[1], -1, *joints.shape[3:]))

    def restore_hands(self, flags: Tensor) -> Tensor:
        """Puts flags of hands back into the input's hands: (B, ..., 2) -> (B, ..., H)."""
        slots = self.slots.reshape(len(self.slots), *[1] * (flags.ndim - 2), -1)
        return flags.gather(-1, slots.expand(*flags.shape[:-1], -1))


def two_hands(joints: Tensor, valid: Tensor, hand_side: Tensor, mirror_single: bool) -> TwoHands:
    """Puts the hands of clips into two slots.

    Args:
        joints: (B, T, H, J, 3), H of 1 or 2.
        valid: (B, T, H, J) bool.
        hand_side: (B, H), 0 left and 1 right.
        mirror_single: shows single left hands (H = 1) in a mirror, as right ones.

    Returns:
        The two slots; that of a missing hand is not valid.
    """
    if joints.shape[2] == 2:
        return TwoHands(joints, valid, hand_side, joints.new_zeros(len(joints), dtype=torch.bool))
    mirrored = (hand_side[:, 0] == int(Side.LEFT)) & mirror_single
    slots = torch.where(mirrored[:, None], int(Side.RIGHT), hand_side)
    signs = torch.where(mirrored, -1.0, 1.0).to(joints.dtype)[:, None, None, None]
    joints = torch.cat([joints[..., :1] * signs[..., None], joints[..., 1:]], -1)
    here = torch.arange(2, device=joints.device) == slots  # (B, 2)
    valid = valid & here[:, None, :, None]
    return TwoHands(joints.expand(-1, -1, 2, -1, -1), valid, slots, mirrored)


def last_frames(joints: Tensor, valid: Tensor, frame_valid: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    """The last frames of each clip before its padding.

    Args:
        joints: (B, T, ...).
        valid: (B, T, ...) bool.
        frame_valid: (B, T) bool, False in padding; None means none.
        count: number of frames.

    Returns:
        Joints and masks (B, count, ...); of a clip with fewer frames, the first one repeated and not valid.
    """
    length = torch.full((len(joints),), joints.shape[1], device=joints.device)
    if frame_valid is not None:
        numbers = torch.arange(1, joints.shape[1] + 1, device=joints.device)
        length = torch.where(frame_valid, numbers, 0).amax(1)
    index = length[:, None] - count + torch.arange(count, device=joints.device)  # (B, count)
    inside, rows = index >= 0, torch.arange(len(joints), device=joints.device)[:, None]
    index = index.clamp_min(0)
    inside = inside.reshape(*inside.shape, *[1] * (valid.ndim - 2))
    return joints[rows, index], valid[rows, index] & inside


def future_batch(batch: HandSequence, joints: Tensor, valid: Tensor, frame_rate: float | None) -> HandSequence:
    """The batch of B * S futures that `Forecaster.forecast` returns.

    Args:
        batch: the B observed clips.
        joints: (B * S, F, H, J, 3), in the frame of the input.
        valid: (B * S, H, J) bool, which joints are predicted.
        frame_rate: of the future, frames per second; None means that of each clip.

    Returns:
        The futures, those of the first clip first.
    """
    samples, num_frames = len(joints) // len(batch.meta), joints.shape[1]
    meta = [{key: value for key, value in meta.items() if key not in _PER_FRAME} for meta in batch.meta]
    every = valid[:, None].expand(-1, num_frames, -1, -1).contiguous()
    side = batch.require('hand_side')
    return HandSequence(
        meta=[dict(clip) for clip in meta for _ in range(samples)],
        frame=batch.frame,
        batched=True,
        frame_valid=torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device),
        timestamps=None if batch.timestamps is None else _times(batch, num_frames, frame_rate, samples),
        hand_side=side.repeat_interleave(samples, 0),
        hand_valid=every.any(-1),
        joints_3d=torch.where(every[..., None], joints, 0),
        joints_valid=every,
    )


_PER_FRAME = ('frame_indices', 'official_indices', 'hand_types', 'paths')


def _times(batch: HandSequence, num_frames: int, frame_rate: float | None, samples: int) -> Tensor:
    """(B * S, F) seconds that go on from the last frame of each clip that is no padding."""
    rows = []
    for b, times in enumerate(batch.require('timestamps')):
        times = times if batch.frame_valid is None else times[batch.frame_valid[b]]
        step = float(times.diff().median()) if frame_rate is None and len(times) > 1 else 1 / (frame_rate or 30.0)
        rows.append(times[-1] + step * torch.arange(1, num_frames + 1, device=times.device, dtype=times.dtype))
    return torch.stack(rows).repeat_interleave(samples, 0)
