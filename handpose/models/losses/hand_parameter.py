"""Losses on the parameters of the hand model (Deformer, section 3.2)."""

import torch
from torch import nn

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.models.losses.max_mse import MaxMSELoss
from handpose.registry import MODELS


class _ParameterLoss(nn.Module):
    """Error of a set of parameter vectors, by mean square or by maxMSE.

    Args:
        base: 'mse' (the published code) or 'max_mse' (the paper: "also applies to all predicted MANO parameters").
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def __init__(self, base: str = 'mse', loss_weight: float = 1.0):
        super().__init__()
        if base not in ('mse', 'max_mse'):
            raise ValueError(f"base must be 'mse' or 'max_mse', got {base!r}")
        self.max_mse = MaxMSELoss() if base == 'max_mse' else None
        self.loss_weight = loss_weight

    def _loss(self, prediction, target, valid):
        """(..., K, D), (..., K, D), (...) bool or None -> scalar."""
        if self.max_mse is not None:
            return self.loss_weight * self.max_mse(prediction, target, valid)
        return self.loss_weight * masked_mean(masked_difference(prediction, target, valid).square(), valid)


@MODELS.register_module()
class HandPoseLoss(_ParameterLoss):
    """Squared error of rotation matrices; with 'max_mse' each joint's rotation is one point of 9 numbers."""

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Rotation matrices (..., 16, 3, 3), the same, (...) bool -> scalar."""
        return self._loss(prediction.flatten(-2), target.flatten(-2), valid)


@MODELS.register_module()
class HandShapeLoss(_ParameterLoss):
    """Squared error of shape coefficients; with 'max_mse' each coefficient is one point."""

    def forward(
        self, prediction: torch.Tensor, target: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Shape coefficients (..., 10), the same, (...) bool -> scalar."""
        return self._loss(prediction[..., None], target[..., None], valid)
