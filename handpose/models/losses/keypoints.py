"""Losses of points over time (PDTM, section 3.4).

Legend: N hands, T frames, P points.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class SmoothL1KeypointLoss(nn.Module):
    """Smooth L1 of coordinates: quadratic below `beta`, linear above.

    Args:
        beta: metres. The paper gives none.
        loss_weight: factor of the result.
    """

    def __init__(self, beta: float = 0.01, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.beta, self.loss_weight = beta, loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares points.

        Args:
            prediction: (N, T, P, 3), or with other leading axes; metres.
            target: the shape of `prediction`, metres.
            valid: bool, (N, T) for all points of a frame or (N, T, P) for points; None means all.

        Returns:
            A scalar, metres times loss_weight.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        difference = masked_difference(prediction, target, valid)
        error = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction='none', beta=self.beta)
        return self.loss_weight * masked_mean(error, valid)


@MODELS.register_module()
class AccelerationLoss(nn.Module):
    """L1 of the difference between predicted and true second differences over time, as SmoothNet's.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares accelerations; one counts if the point is valid in all three frames.

        Args:
            prediction: (N, T, P, 3), metres.
            target: (N, T, P, 3), metres.
            valid: (N, T, P) bool; None means all.

        Returns:
            A scalar, metres per frame^2 times loss_weight; 0 for fewer than three frames.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('prediction', prediction, 'N T P D')
        check_mask('valid', valid, prediction.shape[:3], 'N T P')
        if valid is None:
            valid = torch.ones(prediction.shape[:3], dtype=torch.bool, device=prediction.device)
        difference = masked_difference(prediction, target, valid)
        second = difference[:, :-2] - 2 * difference[:, 1:-1] + difference[:, 2:]
        all_valid = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
        if not second.numel():
            return self.loss_weight * difference.sum() * 0.0  # too short, but still in the graph
        return self.loss_weight * masked_mean(second.abs() * all_valid[..., None], all_valid)
