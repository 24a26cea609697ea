"""Loss on predicted motions: a pose moved by one step must meet the neighbouring frame (Deformer, section 3.2)."""

import torch
from torch import nn

from handpose.registry import MODELS


@MODELS.register_module()
class MotionLoss(nn.Module):
    """Compares what frame t becomes one step later with frame t + 1, and one step earlier with frame t - 1.

    It works on anything that has the frames on axis 1 (vertices, joints, rotation matrices), by the loss it is
    given. The last forward and the first backward step have no target.

    Args:
        base: a loss, or its config, called as `base(prediction, target, valid)`.
        loss_weight: factor of the sum of the two directions.
    """

    def __init__(self, base: dict | nn.Module, loss_weight: float = 1.0):
        super().__init__()
        self.base = MODELS.build(base) if isinstance(base, dict) else base
        self.loss_weight = loss_weight

    def forward(
        self,
        forward_step: torch.Tensor,
        backward_step: torch.Tensor,
        target: torch.Tensor,
        valid: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of both directions.

        Args:
            forward_step, backward_step: (B, T, ...), frame t moved to t + 1 and to t - 1.
            target: (B, T, ...).
            valid: (B, T) bool. Frames on both ends of a step must be valid: across a gap, a step is not one step.

        Returns:
            A scalar; 0 for clips of one frame.
        """
        if target.shape[1] < 2:
            return (forward_step.sum() + backward_step.sum()) * 0.0
        both = None if valid is None else valid[:, :-1] & valid[:, 1:]
        ahead = self.base(forward_step[:, :-1], target[:, 1:], both)
        behind = self.base(backward_step[:, 1:], target[:, :-1], both)
        return self.loss_weight * (ahead + behind)
