"""Normalizes features by the mean and standard deviation of the first training batches, which the weights carry.

Legend: C features; leading axes are written `...`.
"""

import torch
from torch import Tensor, distributed, nn

from handpose.registry import MODELS


@MODELS.register_module()
class FeatureNormalizer(nn.Module):
    """Zero mean and unit variance of each feature.

    The statistics are gathered over the first calls of `update`, then they stay as they are. Before the first one the
    features pass unchanged.

    Args:
        num_features: C.
        num_batches: calls of `update` that count.
        min_std: the least standard deviation, so that a feature that hardly varies is not blown up.
    """

    mean: Tensor
    std: Tensor
    sums: Tensor
    batches: Tensor

    def __init__(self, num_features: int, num_batches: int = 100, min_std: float = 1e-3) -> None:
        super().__init__()
        self.num_batches, self.min_std = num_batches, min_std
        self.register_buffer('mean', torch.zeros(num_features))
        self.register_buffer('std', torch.ones(num_features))
        self.register_buffer('sums', torch.zeros(3, num_features, dtype=torch.float64))  # count, sum, sum of squares
        self.register_buffer('batches', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, values: Tensor, valid: Tensor) -> None:
        """Adds a training batch to the statistics, on all processes.

        Args:
            values: (..., C).
            valid: (..., C) bool.
        """
        if int(self.batches) >= self.num_batches:
            return
        values = torch.where(valid, values, 0).double().flatten(0, -2)
        sums = torch.stack([valid.flatten(0, -2).double().sum(0), values.sum(0), values.square().sum(0)])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        self.sums += sums
        self.batches += 1
        count = self.sums[0].clamp_min(1)
        mean = self.sums[1] / count
        variance = (self.sums[2] / count - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(self.sums[0] > 1, variance.sqrt().clamp_min(self.min_std), 1))

    def forward(self, values: Tensor) -> Tensor:
        """Normalizes.

        Args:
            values: (..., C), each feature in its own unit.

        Returns:
            (..., C), without unit.
        """
        return (values - self.mean) / self.std

    def denormalize(self, values: Tensor) -> Tensor:
        """Inverts `forward`, in float32 at least.

        Args:
            values: (..., C), without unit.

        Returns:
            (..., C), each feature in its own unit.
        """
        return values.to(torch.promote_types(values.dtype, torch.float32)) * self.std + self.mean
