"""The plain squared error of points: what maxMSE is compared with."""

import torch
from torch import nn

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class PointMSELoss(nn.Module):
    """Mean squared distance of points, on the scale of `MaxMSELoss` (no division by the three coordinates).

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Points (..., N, 3) metres, the same, bool (...) or (..., N) -> scalar, m^2 times loss_weight."""
        squared = masked_difference(prediction, target, valid).square().sum(-1)
        return self.loss_weight * masked_mean(squared, valid)
