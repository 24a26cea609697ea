"""Losses of points over time (PDTM, section 3.4)."""

import torch
from torch import nn
from torch.nn import functional as F

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class SmoothL1KeypointLoss(nn.Module):
    """Smooth L1 of coordinates: quadratic below `beta`, linear above.

    Args:
        beta: metres. The paper gives none.
        loss_weight: factor of the result.
    """

    def __init__(self, beta: float = 0.01, loss_weight: float = 1.0):
        super().__init__()
        self.beta, self.loss_weight = beta, loss_weight

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Points (..., P, 3) metres, the same, bool (...) or (..., P) -> scalar, metres times loss_weight."""
        difference = masked_difference(prediction, target, valid)
        error = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction='none', beta=self.beta)
        return self.loss_weight * masked_mean(error, valid)


@MODELS.register_module()
class AccelerationLoss(nn.Module):
    """L1 of the difference between predicted and true second differences over time, as SmoothNet's.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Points (N, T, P, 3) metres, the same, bool (N, T, P) -> scalar, metres per frame^2 times loss_weight.

        A second difference counts if the point is valid in all three frames.
        """
        if valid is None:
            valid = torch.ones(prediction.shape[:3], dtype=torch.bool, device=prediction.device)
        difference = masked_difference(prediction, target, valid)
        second = difference[:, :-2] - 2 * difference[:, 1:-1] + difference[:, 2:]
        known = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
        if not second.numel():
            return self.loss_weight * difference.sum() * 0.0  # too short, but still in the graph
        return self.loss_weight * masked_mean(second.abs() * known[..., None], known)
