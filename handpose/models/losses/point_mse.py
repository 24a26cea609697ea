"""The plain squared error of points, the baseline of maxMSE.

Legend: N points of a set; leading axes, those of the sets, are written `...`.
"""

from torch import Tensor, nn

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class PointMSELoss(nn.Module):
    """Mean squared distance of points, on the scale of `MaxMSELoss` (no division by the three coordinates).

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares points.

        Args:
            prediction: (..., N, 3), metres.
            target: (..., N, 3), metres.
            valid: bool, (...) for whole sets or (..., N) for points; None means all.

        Returns:
            A scalar, m^2 times loss_weight.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        squared = masked_difference(prediction, target, valid).square().sum(-1)
        return self.loss_weight * masked_mean(squared, valid)
