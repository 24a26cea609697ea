"""Loss on the velocity and the acceleration of a prediction (Deformer, section 3.2, L_smooth)."""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_mask
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class SmoothnessLoss(nn.Module):
    """Mean squared first and second difference over time.

    Args:
        first_order_weight: factor of the squared difference of neighbouring frames.
        second_order_weight: factor of the squared second difference.
        loss_weight: factor of the result.
    """

    def __init__(
        self, first_order_weight: float = 1.0, second_order_weight: float = 1.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.first_order_weight = first_order_weight
        self.second_order_weight = second_order_weight
        self.loss_weight = loss_weight

    def forward(self, sequence: Tensor, valid: Tensor | None = None) -> Tensor:
        """Penalises differences over time; one counts if all its frames are valid.

        Args:
            sequence: (B, T, ...).
            valid: (B, T) bool; None means all.

        Returns:
            A scalar; 0 for clips of one frame.

        Raises:
            TypeError: the mask is not bool.
            ValueError: its shape does not fit.
        """
        check_mask('valid', valid, sequence.shape[:2], 'B T')
        if valid is None:
            valid = torch.ones(sequence.shape[:2], dtype=torch.bool, device=sequence.device)
        first, first_valid = _difference(sequence, valid)
        second, second_valid = _difference(first, first_valid)
        loss = self.first_order_weight * masked_mean(first.square(), first_valid)
        return self.loss_weight * (loss + self.second_order_weight * masked_mean(second.square(), second_valid))


def _difference(sequence: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    both_valid = valid[:, 1:] & valid[:, :-1]
    return masked_difference(sequence[:, 1:], sequence[:, :-1], both_valid), both_valid
