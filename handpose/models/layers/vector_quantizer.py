"""Product quantization of features with codebooks that follow them (van den Oord et al., NeurIPS 2017, appendix A.1).

Legend: B batch, L tokens, C channels, G codebooks, E entries of a codebook, D = C / G, N valid tokens.
"""

from typing import NamedTuple

import torch
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.registry import MODELS

TRIAL_USE = 1.2  # what an entry that starts anew counts, in units of the use below which it would be dead


class QuantizedFeatures(NamedTuple):
    """Features replaced by entries of the codebooks."""

    features: Tensor  # (B, L, C); backward they pass gradients on to the input as if nothing had been replaced
    codes: Tensor  # (B, L, G) int64, which entries
    commitment: Tensor  # scalar, mean squared distance that pulls the input towards the entries
    perplexity: Tensor  # (G,), how many entries of each codebook the valid tokens use: exp of the entropy


@MODELS.register_module()
class VectorQuantizer(nn.Module):
    """Cuts features into G parts and replaces each by the nearest entry of its codebook.

    The codebooks are buffers. In training, an entry is the running mean of the features it replaced; an entry that is
    used too rarely starts anew at a feature of the batch. Which one is not random: they are taken at regular intervals
    from the batch, whose order is random in training.

    Args:
        channels: C, a multiple of num_codebooks.
        num_codebooks: G.
        num_codes: E.
        decay: of the running means, in [0, 1).
        dead_below: an entry starts anew when its use falls below this share of the mean use.

    Raises:
        ValueError: sizes that do not fit, or a decay outside [0, 1).
    """

    codebooks: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        channels: int = 256,
        num_codebooks: int = 2,
        num_codes: int = 512,
        decay: float = 0.99,
        dead_below: float = 0.1,
    ) -> None:
        super().__init__()
        if min(channels, num_codebooks, num_codes) < 1 or channels % num_codebooks:
            raise ValueError(
                f'channels must be a multiple of num_codebooks, and num_codes at least 1, got channels={channels}, '
                f'num_codebooks={num_codebooks}, num_codes={num_codes}'
            )
        if not 0 <= decay < 1:
            raise ValueError(f'decay must be at least 0 and below 1, got {decay}')
        self.channels, self.num_codebooks, self.num_codes = channels, num_codebooks, num_codes
        self.decay, self.dead_below = decay, dead_below
        size = (num_codebooks, num_codes, channels // num_codebooks)
        self.register_buffer('codebooks', torch.randn(size))  # (G, E, D)
        self.register_buffer('counts', torch.zeros(size[:2]))  # (G, E), running number of uses in a batch
        self.register_buffer('sums', torch.zeros(size))  # (G, E, D), running sum of what was replaced

    def forward(self, features: Tensor, valid: Tensor | None = None) -> QuantizedFeatures:
        """Quantizes features; in training mode the codebooks follow them.

        Args:
            features: (B, L, C).
            valid: (B, L) bool, tokens that count in the losses and in the codebooks; None means all.

        Returns:
            `QuantizedFeatures`.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_mask('valid', valid, features.shape[:2], 'B L')
        codes = self.encode(features)
        used = torch.ones_like(codes[..., 0], dtype=torch.bool) if valid is None else valid
        parts = at_least_float32(features).unflatten(-1, (self.num_codebooks, -1))  # (B, L, G, D)
        nearest = self.decode(codes)
        distance = (parts.flatten(2) - nearest.to(parts.dtype)).square().mean(-1)
        commitment = (distance * used).sum() / used.sum().clamp_min(1)
        uses = self._uses(codes[used])
        if self.training:
            self._follow(parts[used].detach(), codes[used], uses)
        share = uses / uses.sum(1, keepdim=True).clamp_min(1)
        perplexity = torch.special.entr(share).sum(1).exp()
        return QuantizedFeatures(
            features + (nearest.to(features.dtype) - features).detach(), codes, commitment, perplexity
        )

    @torch.no_grad()
    def encode(self, features: Tensor) -> Tensor:
        """The nearest entries, without gradients: features (B, L, C) -> codes (B, L, G) int64."""
        check_features('features', features, 'B L C', self.channels)
        with without_autocast(features):
            parts = features.to(self.codebooks.dtype).unflatten(-1, (self.num_codebooks, -1))
            points = parts.flatten(0, 1).transpose(0, 1)  # (G, B L, D)
            squared = self.codebooks.square().sum(-1)[:, None] - 2 * points @ self.codebooks.transpose(1, 2)
        return squared.argmin(-1).T.unflatten(0, features.shape[:2])

    def decode(self, codes: Tensor) -> Tensor:
        """The entries that codes stand for: (B, L, G) int64 -> (B, L, C)."""
        books = torch.arange(self.num_codebooks, device=codes.device)
        return self.codebooks[books, codes].flatten(-2)

    def _uses(self, codes: Tensor) -> Tensor:
        """How often codes (N, G) name each entry: (G, E)."""
        uses = self.counts.new_zeros(self.counts.shape)
        return uses.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=uses.dtype))

    @torch.no_grad()
    def _follow(self, points: Tensor, codes: Tensor, uses: Tensor) -> None:
        """Moves the codebooks towards points (N, G, D); the same in all processes of a distributed training run."""
        points = points.to(self.sums.dtype)
        sums = torch.zeros_like(self.sums)
        sums.scatter_add_(1, codes.T[..., None].expand(-1, -1, sums.shape[2]), points.transpose(0, 1))
        uses = uses.clone()
        all_reduce(uses)
        all_reduce(sums)
        self.counts.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        followed = self.sums / self.counts.clamp_min(1e-12)[..., None]
        self.codebooks.copy_(torch.where(self.counts[..., None] > 0, followed, self.codebooks))
        mean_use = uses.sum(1) / self.num_codes
        for g, limit in enumerate(self.dead_below * mean_use):
            dead = (self.counts[g] < limit).nonzero()[:, 0]
            count = min(len(dead), len(points))
            if count:
                rows = torch.linspace(0, len(points) - 1, count, device=points.device).round().long()
                self.codebooks[g, dead[:count]] = points[rows, g]
                # Little weight: it soon follows what it is used for, or starts anew.
                weight = TRIAL_USE * limit
                self.counts[g, dead[:count]] = weight
                self.sums[g, dead[:count]] = points[rows, g] * weight
        for state in (self.codebooks, self.counts, self.sums):
            broadcast(state)
