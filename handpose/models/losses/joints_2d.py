"""Loss on the joints' image positions (Deformer, Eq. 10)."""

import torch
from torch import nn

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class Joints2DLoss(nn.Module):
    """Error of 2D joints in coordinates of the hand's region, over the joints that lie inside it.

    Args:
        base: 'mse' (Deformer) or 'l1', the mean absolute difference.
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def __init__(self, base: str = 'mse', loss_weight: float = 1.0):
        super().__init__()
        if base not in ('mse', 'l1'):
            raise ValueError(f"base must be 'mse' or 'l1', got {base!r}")
        self.base = base
        self.loss_weight = loss_weight

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Joints (..., J, 2) with the region as [0, 1], the same, (..., J) bool -> scalar.

        A target outside [0, 1] counts as invalid: no heatmap of the region can reach it.
        """
        inside = ((target >= 0) & (target <= 1)).all(-1)
        valid = inside if valid is None else inside & valid
        difference = masked_difference(prediction, target, valid)
        error = difference.square() if self.base == 'mse' else difference.abs()
        return self.loss_weight * masked_mean(error, valid)
