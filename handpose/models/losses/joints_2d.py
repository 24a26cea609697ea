"""Loss on the joints' image positions (Deformer, Eq. 10). Legend: J joints; leading axes are written `...`."""

from torch import Tensor, nn

from handpose.models.layers.checks import check_mask, check_option
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS

BASES = ('mse', 'l1')


@MODELS.register_module()
class Joints2DLoss(nn.Module):
    """Error of 2D joints in coordinates of the hand's region, over the joints that lie inside it.

    Args:
        base: 'mse' (Deformer) or 'l1', the mean absolute difference.
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown base.
    """

    def __init__(self, base: str = 'mse', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_option('base', base, BASES)
        self.base = base
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares 2D joints.

        A target outside [0, 1] counts as invalid: no heatmap of the region can reach it.

        Args:
            prediction: (..., J, 2), without unit, with the region as [0, 1].
            target: (..., J, 2), likewise.
            valid: (..., J) bool; None means all.

        Returns:
            A scalar, without unit.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_mask('valid', valid, target.shape[:-1], '... J')
        inside = ((target >= 0) & (target <= 1)).all(-1)
        valid = inside if valid is None else inside & valid
        difference = masked_difference(prediction, target, valid)
        error = difference.square() if self.base == 'mse' else difference.abs()
        return self.loss_weight * masked_mean(error, valid)
