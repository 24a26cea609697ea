"""Loss on predicted motions: a pose moved by one step must meet the neighbouring frame (Deformer, section 3.2)."""

from typing import Any

from torch import Tensor, nn

from handpose.models.losses.masking import check_leading_axes
from handpose.registry import MODELS


@MODELS.register_module()
class MotionLoss(nn.Module):
    """Compares frame t moved one step later with frame t + 1, and moved one step earlier with frame t - 1.

    It works on anything with the frames on axis 1 (vertices, joints, rotation matrices), by the loss it is
    given. The last forward and the first backward step have no target.

    Args:
        base: a loss, or its config, called as `base(prediction, target, valid)`.
        loss_weight: factor of the sum of the two directions.
    """

    def __init__(self, base: dict[str, Any] | nn.Module, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.base = MODELS.build(base) if isinstance(base, dict) else base
        self.loss_weight = loss_weight

    def forward(
        self, forward_step: Tensor, backward_step: Tensor, target: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Loss of both directions.

        Args:
            forward_step: (B, T, ...), frame t moved to t + 1.
            backward_step: (B, T, ...), frame t moved to t - 1.
            target: (B, T, ...).
            valid: (B, T) bool, or more of the leading axes; None means all. Both ends of a step must be valid: across a
                gap, a step is not one step.

        Returns:
            A scalar; 0 for clips of one frame.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_leading_axes(valid, target.shape)
        if target.shape[1] < 2:
            return (forward_step.sum() + backward_step.sum()) * 0.0
        both_valid = None if valid is None else valid[:, :-1] & valid[:, 1:]
        forward = self.base(forward_step[:, :-1], target[:, 1:], both_valid)
        backward = self.base(backward_step[:, 1:], target[:, :-1], both_valid)
        return self.loss_weight * (forward + backward)
