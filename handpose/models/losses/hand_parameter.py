"""Losses on the parameters of the hand model (Deformer, section 3.2; PDTM, section 3.4).

Legend: leading axes, those of the hands, are written `...`.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_option
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.models.losses.max_mse import MaxMSELoss
from handpose.registry import MODELS

BASES = ('mse', 'max_mse', 'smooth_l1')


class _ParameterLoss(nn.Module):
    """Error of a set of parameter vectors.

    Args:
        base: 'mse' (Deformer's published code), 'max_mse' (its paper: "also applies to all predicted MANO parameters")
            or 'smooth_l1' (PDTM).
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def __init__(self, base: str = 'mse', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_option('base', base, BASES)
        self.base = base
        self.max_mse = MaxMSELoss() if base == 'max_mse' else None
        self.loss_weight = loss_weight

    def _loss(self, prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
        """(..., K, D), (..., K, D), (...) bool or None -> scalar."""
        if self.max_mse is not None:
            return self.loss_weight * self.max_mse(prediction, target, valid)
        difference = masked_difference(prediction, target, valid)
        if self.base == 'smooth_l1':
            return self.loss_weight * masked_mean(F.smooth_l1_loss(difference, 0 * difference, reduction='none'), valid)
        return self.loss_weight * masked_mean(difference.square(), valid)


@MODELS.register_module()
class HandPoseLoss(_ParameterLoss):
    """Error of rotation matrices; with 'max_mse' each joint's rotation is one point of 9 numbers.

    Args:
        base: 'mse' (Deformer's published code), 'max_mse' (its paper) or 'smooth_l1' (PDTM).
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares rotation matrices.

        Args:
            prediction: (..., 16, 3, 3).
            target: (..., 16, 3, 3).
            valid: (...) bool; None means all.

        Returns:
            A scalar, without unit.
        """
        return self._loss(prediction.flatten(-2), target.flatten(-2), valid)


@MODELS.register_module()
class HandShapeLoss(_ParameterLoss):
    """Error of shape coefficients; with 'max_mse' each coefficient is one point.

    Args:
        base: 'mse' (Deformer's published code), 'max_mse' (its paper) or 'smooth_l1' (PDTM).
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares shape coefficients.

        Args:
            prediction: (..., 10).
            target: (..., 10).
            valid: (...) bool; None means all.

        Returns:
            A scalar, without unit.
        """
        return self._loss(prediction[..., None], target[..., None], valid)
