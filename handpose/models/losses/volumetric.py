"""The loss of volumes of logits (learnable triangulation, Iskakov et al., ICCV 2019, Eq. 10).

Legend: N hands, J joints, X Y Z voxels of a cube along its own axes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.models.losses.masking import check_leading_axes, masked_mean
from handpose.registry import MODELS


@MODELS.register_module()
class VolumetricCrossEntropyLoss(nn.Module):
    """Negative log-probability of the voxel whose cell holds the joint, under the softmax over all voxels.

    It is computed from log-probabilities. The published code adds 1e-6 to the probability instead, which leaves a
    joint without a gradient where the network is most wrong. A joint outside of the cube has no voxel and does not
    count.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, positions: Tensor, valid: Tensor | None = None) -> Tensor:
        """Compares volumes with joints.

        Args:
            logits: (N, J, X, Y, Z).
            positions: (N, J, 3) of the joints, in [0, 1] along the axes of the cube.
            valid: (N, J) bool; None means all.

        Returns:
            A scalar: the mean over the valid joints inside the cube, times loss_weight; 0 if there is none.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        if logits.ndim != 5 or positions.shape != (*logits.shape[:2], 3):
            raise ValueError(
                'expected logits (N, J, X, Y, Z) and positions (N, J, 3), got '
                f'{tuple(logits.shape)} and {tuple(positions.shape)}'
            )
        check_leading_axes(valid, positions.shape)
        inside = ((positions >= 0) & (positions < 1)).all(-1)  # False for NaN
        valid = inside if valid is None else inside & valid
        shape = positions.new_tensor(logits.shape[2:])
        voxel = (torch.where(valid[..., None], positions, 0.0) * shape).long()  # (N, J, 3)
        # A position a rounding error below 1 may round up to the number of voxels.
        voxel = torch.minimum(voxel, shape.long() - 1)
        x, y, z = voxel.unbind(-1)
        index = (x * logits.shape[3] + y) * logits.shape[4] + z
        with without_autocast(logits):
            error = F.cross_entropy(
                at_least_float32(logits.flatten(2).flatten(0, 1)), index.flatten(), reduction='none'
            )
        error = error.unflatten(0, index.shape)
        return self.loss_weight * masked_mean(torch.where(valid, error, torch.zeros_like(error)), valid)
