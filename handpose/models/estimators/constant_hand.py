"""Constant hands: what a method must beat. Each predicts one fixed pose for every frame.

Legend: B clips, T frames, H hands; leading axes are written `...`.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from handpose.geometry import procrustes_align
from handpose.hands.sides import Side
from handpose.models.estimators.base import Estimator, Gives, Reads, TrainingStep
from handpose.registry import MODELS
from handpose.structures import HandSequence


@MODELS.register_module()
class ConstantHand(Estimator):
    """Predicts the same 21 joints per side in every frame, relative to the wrist.

    Args:
        joints: (2, 21, 3) metres, wrist at the origin, in camera axes; left first. Fit them with `fit_constant_hands`.
            None means zeros.

    Raises:
        ValueError: joints of another shape.
    """

    joints: Tensor

    def __init__(self, joints: Tensor | Sequence[Sequence[Sequence[float]]] | None = None) -> None:
        super().__init__()
        joints = torch.zeros(2, 21, 3) if joints is None else torch.as_tensor(joints, dtype=torch.float32)
        if joints.shape != (2, 21, 3):
            raise ValueError(f'joints must have shape (2, 21, 3), left hand first, got {tuple(joints.shape)}')
        self.register_buffer('joints', joints)

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        return Reads(fields=('frame_valid', 'hand_side', 'hand_valid'))

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame='wrist')

    def forward(self, hand_side: Tensor) -> Tensor:
        """Looks up the hand of each side.

        Args:
            hand_side: (..., H) int, 0 left and 1 right.

        Returns:
            Joints (..., H, 21, 3), metres, wrist at the origin, in camera axes.
        """
        return self.joints[hand_side]

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Raises NotImplementedError: there is nothing to train."""
        raise NotImplementedError('ConstantHand has nothing to train; fit it with fit_constant_hands')

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts joints_3d (B, T, H, 21, 3) in the 'wrist' frame; see `Estimator.predict`."""
        self._refuse_samples(num_samples)
        hand_valid, num_frames = batch.require('hand_valid'), batch.require('frame_valid').shape[1]
        joints = self(batch.hand_side)[:, None].expand(-1, num_frames, -1, -1, -1)
        return HandSequence(
            meta=batch.meta,
            frame='wrist',
            batched=True,
            frame_valid=batch.frame_valid,
            hand_side=batch.hand_side,
            hand_valid=hand_valid,
            joints_3d=joints.contiguous(),
            joints_valid=hand_valid[..., None].expand(-1, -1, -1, 21).contiguous(),
        )


def fit_constant_hands(clips: Iterable[HandSequence], iterations: int = 10) -> dict[str, ConstantHand]:
    """Fits the arithmetic mean and the Procrustes mean of the true hands of each side.

    The Procrustes mean is the shape left when every pose is aligned by rotation and scale; it is rotated to lie as the
    arithmetic mean does, so that its wrist-aligned error is as small as a constant orientation allows.

    Args:
        clips: iterable of `HandSequence` clips with joints_3d (T, H, 21, 3), metres.
        iterations: of generalised Procrustes analysis.

    Returns:
        {'mean_hand': ConstantHand, 'procrustes_mean_hand': ConstantHand}.

    Raises:
        ValueError: the clips hold no complete hand.
    """
    found: dict[int, list[Tensor]] = {Side.LEFT: [], Side.RIGHT: []}
    for clip in clips:
        complete = clip.require('joints_valid').all(-1) & clip.require('frame_valid')[:, None]
        for hand, side in enumerate(clip.require('hand_side').tolist()):
            joints = clip.require('joints_3d')[:, hand][complete[:, hand]]
            found[side].append(joints - joints[:, :1])
    poses = {side: torch.cat(parts).double() for side, parts in found.items() if sum(map(len, parts))}
    if not poses:
        raise ValueError('no complete hand in the clips, so no constant hand can be fitted; is the train split empty?')
    mean, shape = torch.zeros(2, 21, 3), torch.zeros(2, 21, 3)
    for side, joints in poses.items():
        mean[side] = joints.mean(0)
        shape[side] = _procrustes_mean(joints, iterations)
    return {'mean_hand': ConstantHand(mean), 'procrustes_mean_hand': ConstantHand(shape)}


def _procrustes_mean(joints: Tensor, iterations: int) -> Tensor:
    """The generalised Procrustes mean (21, 3) of joints (N, 21, 3), wrist at the origin, true mean size."""
    size = (joints - joints.mean(1, keepdim=True)).norm(dim=(1, 2)).mean()
    shape = joints[0]
    for _ in range(iterations):
        shape = procrustes_align(joints, shape.expand_as(joints)).mean(0)
        shape = shape - shape.mean(0)
        shape = shape * size / shape.norm()
    shape = procrustes_align(shape, joints.mean(0), scale=False)
    return shape - shape[0]
