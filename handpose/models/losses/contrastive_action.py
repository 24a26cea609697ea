"""L_action of G-HTT (Wen et al., Eq. 4 and 5): a latent against the embeddings of all action labels.

Legend: B clips, A actions, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

_NORM_EPS = 1e-8


@MODELS.register_module()
class ContrastiveActionLoss(nn.Module):
    """|alpha - a|_1 - log softmax(cos(alpha, a_j) / tau) of the true action, the mean over clips with a known action.

    Args:
        tau: temperature (paper: 0.07).
        distance_weight: factor of the L1 distance, which the paper sums over C (factor 1).
        loss_weight: factor of the loss.
    """

    def __init__(self, tau: float = 0.07, distance_weight: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not tau > 0:
            raise ValueError(f'tau must be above 0, got {tau}')
        self.tau, self.distance_weight, self.loss_weight = tau, distance_weight, loss_weight

    def forward(self, latent: Tensor, embeddings: Tensor, label: Tensor) -> Tensor:
        """The loss, in float32.

        Args:
            latent: (B, C), alpha.
            embeddings: (A, C), a of every action.
            label: (B,) int, -1 where the action is unknown; such clips do not count.

        Returns:
            A scalar; 0 where no action is known.
        """
        known = label >= 0
        safe = label.clamp_min(0)
        with without_autocast(latent):
            latent, embeddings = latent.float(), embeddings.float()
            logits = cosine_logits(latent, embeddings, self.tau)
            likelihood = F.cross_entropy(logits, safe, reduction='none')
            distance = (latent - embeddings[safe]).abs().sum(-1)
            loss = torch.where(known, likelihood + self.distance_weight * distance, 0)
        return self.loss_weight * loss.sum() / known.sum().clamp_min(1)


def cosine_logits(latent: Tensor, embeddings: Tensor, tau: float) -> Tensor:
    """Cosine similarities over the temperature (Eq. 5), in float32.

    Args:
        latent: (B, C).
        embeddings: (A, C).
        tau: temperature.

    Returns:
        (B, A).
    """
    with without_autocast(latent):
        latent, embeddings = latent.float(), embeddings.float()
        return F.normalize(latent, dim=-1, eps=_NORM_EPS) @ F.normalize(embeddings, dim=-1, eps=_NORM_EPS).T / tau
