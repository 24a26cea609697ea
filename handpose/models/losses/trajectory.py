"""L_trj of G-HTT (Wen et al., Eq. 2 and 3): accumulated palm motions against the true ones.

Legend: B clips, T frames, H hands.
"""

import torch
from torch import Tensor, nn

from handpose.geometry.rigid import rigid_to_9d
from handpose.models.losses.masking import check_leading_axes
from handpose.registry import MODELS


@MODELS.register_module()
class TrajectoryLoss(nn.Module):
    """L1 distance of accumulated palm motions: the sum over hands and nine numbers, the mean over frames and clips.

    Args:
        translation_scale: numbers of a translation are multiplied by it, which balances metres against rotations; the
            paper states no unit.
        loss_weight: factor of the loss.
    """

    def __init__(self, translation_scale: float = 10.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.translation_scale, self.loss_weight = translation_scale, loss_weight

    def forward(self, prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The loss, in float32 at least.

        Args:
            prediction: (B, T, H, 4, 4), accumulated motions s_i.
            target: (B, T, H, 4, 4), the true ones.
            valid: (B, T, H) bool; None means all.

        Returns:
            A scalar; 0 where nothing is valid.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_leading_axes(valid, prediction.shape)
        dtype = torch.promote_types(prediction.dtype, torch.float32)
        difference = (rigid_to_9d(prediction.to(dtype)) - rigid_to_9d(target.to(dtype))).abs()
        scale = difference.new_tensor([1.0] * 6 + [self.translation_scale] * 3)
        distance = (difference * scale).sum(-1)
        if valid is not None:
            distance = torch.where(valid, distance, 0)
        return self.loss_weight * distance.sum(-1).mean()
