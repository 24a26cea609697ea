"""What SVEgoNet is trained with. Legend: N crops, H = 2 hands (left, right), J = 21 joints."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.svegonet_components import Joint25DLoss
from handpose.models.estimators.svegonet_crops import CropTarget
from handpose.models.heads import Joints25D
from handpose.models.losses.joints_25d import HandIdentityLoss, inside_unit_cube
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


class SVEgoNetOutput(NamedTuple):
    """What one forward pass says of N crops."""

    joints: Joints25D  # positions (N, H, J, 3), and what they are read from
    identity: Tensor  # (N, 3) logits of left, right and both, or (N, 2) of left and right
    wrist_depth: Tensor | None  # (N, H), metres; None without a head of it


@MODELS.register_module()
class SVEgoNetLoss(nn.Module):
    """Error of the 2.5D joints, cross entropy of the hand identity, and error of the wrists' depth.

    The paper names no losses or weights. Those of the dataset's toolkit are all 1; its depth branch is that of the left
    wrist relative to the right one, see docs/systems/assemblyhands.md.

    Args:
        joint_loss: config of `GaussianHeatmapLoss` or `CoordinateDistributionLoss`, as the head needs it; None means
            no such loss, for volumes that are trained by positions alone.
        position_weight: of the L1 distance of positions, the mean over coordinates in [0, 1]; only for heads whose
            positions have a gradient.
        identity_weight: of the cross entropy.
        wrist_weight: of the L1 distance of the logarithms of depths, which is the relative error.

    Raises:
        ValueError: neither joint_loss nor position_weight, so that nothing trains the joints.
    """

    def __init__(
        self,
        joint_loss: dict | None,
        position_weight: float = 0.0,
        identity_weight: float = 1.0,
        wrist_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if joint_loss is None and not position_weight:
            raise ValueError('SVEgoNetLoss has nothing that trains joints: give it a joint_loss or a position_weight')
        self.joint_loss: Joint25DLoss | None = None if joint_loss is None else MODELS.build(joint_loss)
        self.identity_loss = HandIdentityLoss()
        self.position_weight, self.identity_weight = position_weight, identity_weight
        self.wrist_weight = wrist_weight

    def names(self, with_wrist_depth: bool) -> tuple[str, ...]:
        """The names of what `forward` returns.

        Args:
            with_wrist_depth: whether the network has a head of it.
        """
        counts = {
            'loss_joints': self.joint_loss is not None,
            'loss_positions': bool(self.position_weight),
            'loss_identity': True,
            'loss_wrist_depth': with_wrist_depth,
        }
        return tuple(name for name, used in counts.items() if used)

    def forward(self, output: SVEgoNetOutput, target: CropTarget, step: TrainingStep) -> dict[str, Tensor]:
        """Compares N crops with their targets.

        Args:
            output: of N crops: positions (N, H, J, 3), identity (N, 2 or 3) and depths of wrists (N, H).
            target: of the same crops: positions (N, H, J, 3).
            step: unused; every loss of a system takes it.

        Returns:
            Scalars by name.
        """
        joints, losses = output.joints, {}
        if self.joint_loss is not None:
            losses['loss_joints'] = self.joint_loss(joints.maps, target.positions, target.valid)
        if self.position_weight:
            counts = inside_unit_cube(target.positions, target.valid)
            distance = masked_difference(joints.positions, target.positions, counts).abs()
            losses['loss_positions'] = self.position_weight * masked_mean(distance, counts)
        losses['loss_identity'] = self.identity_weight * self.identity_loss(output.identity, target.shown)
        if output.wrist_depth is not None:
            true_depth = torch.where(target.wrist_valid, target.wrist_depth, 1.0)
            error = masked_difference(output.wrist_depth.log(), true_depth.log(), target.wrist_valid).abs()
            losses['loss_wrist_depth'] = self.wrist_weight * masked_mean(error, target.wrist_valid)
        return losses
