"""maxMSE: a squared error that weights each point by its own share of the error (Deformer, Eq. 5).

Legend: N points of a set; leading axes, those of the sets, are written `...`.
"""

from torch import Tensor, nn

from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class MaxMSELoss(nn.Module):
    """sum_i e_i^4 / sum_i e_i^2 over the points of a set, averaged over the sets; e_i is a point's distance in metres.

    It lies between the mean and the largest squared distance. With attached weights (the equation and the
    published code) the gradient of a point with e_i^2 below half the loss points away from its target; detached
    weights never do that.

    Args:
        detach_weights: no gradient through the weights.
        eps: lower bound of the denominator in m^2; a set without error has loss 0 and gradient 0.
        loss_weight: factor of the result.
    """

    def __init__(self, detach_weights: bool = False, eps: float = 1e-12, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.detach_weights = detach_weights
        self.eps = eps
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares point sets; fourth powers need float32, which is used under autocast and for half inputs too.

        Args:
            prediction: (..., N, 3), metres.
            target: (..., N, 3), metres.
            valid: bool, (...) for whole sets or (..., N) for points; None means all. An invalid point has no weight,
                and a set without valid points is left out of the mean.

        Returns:
            A scalar, m^2 times loss_weight.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        difference = masked_difference(prediction, target, valid)
        squared = difference.square().sum(-1)  # (..., N)
        total = squared.sum(-1).clamp_min(self.eps)
        weights = squared / total[..., None]
        loss = ((weights.detach() if self.detach_weights else weights) * squared).sum(-1)
        if valid is not None and valid.ndim == prediction.ndim - 1:
            valid = valid.any(-1)
        return self.loss_weight * masked_mean(loss, valid)
