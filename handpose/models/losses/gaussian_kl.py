"""The Kullback-Leibler divergence of a diagonal normal distribution from the standard one."""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_option
from handpose.registry import MODELS

REDUCTIONS = ('mean', 'batch_mean', 'sum')


@MODELS.register_module()
class GaussianKLLoss(nn.Module):
    """KL(N(mu, sigma^2) || N(0, 1)) = 1/2 sum_d (mu_d^2 + sigma_d^2 - 1 - log sigma_d^2).

    The reduction decides what a weight means: G-HTT's 1e-5 (Wen et al., section 3.4) equals that of TEMOS, which takes
    the mean over batch and dimensions.

    Args:
        reduction: 'mean' over batch and dimensions, 'batch_mean' (the sum over dimensions, the mean over the batch) or
            'sum' over both.
        loss_weight: factor of the loss.

    Raises:
        ValueError: an unknown reduction.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        check_option('reduction', reduction, REDUCTIONS)
        self.reduction, self.loss_weight = reduction, loss_weight

    def forward(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """The loss, in float32 at least.

        Args:
            mean: (B, C).
            log_variance: (B, C).

        Returns:
            A scalar.
        """
        dtype = torch.promote_types(mean.dtype, torch.float32)
        mean, log_variance = mean.to(dtype), log_variance.to(dtype)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        if self.reduction == 'mean':
            return self.loss_weight * divergence.mean()
        total = divergence.sum()
        return self.loss_weight * (total / len(mean) if self.reduction == 'batch_mean' else total)
