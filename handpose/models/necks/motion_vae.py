"""The transformer VAE of G-HTT's two blocks (Wen et al., section 3.2): encoder with learned tokens, parallel decoder.

Legend: B batch, S tokens, L queries, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.models.layers.transformer import MultiHeadAttention
from handpose.registry import MODELS

INITIAL_LOG_VARIANCE = -5.0
MAX_LOG_VARIANCE = 10.0  # either way, so that exp stays finite in half precision


class LatentDistribution(NamedTuple):
    """What `MotionVAEEncoder` gives: N(mean, exp(log_variance)) of the latent, and the tokens in context."""

    mean: Tensor  # (B, C)
    log_variance: Tensor  # (B, C)
    features: Tensor  # (B, S, C)

    def sample(self, std_scale: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draws a latent by reparameterization.

        Args:
            std_scale: factor of the standard deviation; 0 gives the mean.
            generator: source of the noise; None means torch's global one.

        Returns:
            (B, C).
        """
        std = (0.5 * self.log_variance.float()).exp()
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=torch.float32)
        return self.mean + (std_scale * std * noise).to(self.mean.dtype)


@MODELS.register_module()
class MotionVAEEncoder(nn.Module):
    """Self-attention over tokens and two learned ones, which become mean and log-variance of the latent (mu and Sigma).

    Args:
        channels: C, even.
        num_layers: layers (paper: 9).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of attention weights, residuals and the feed-forward layers.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 9,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.distribution_tokens = nn.Parameter(torch.randn(2, channels) * 0.02)
        self.encoder = PreNormEncoder(channels, num_layers, num_heads, feedforward_channels, dropout, position='none')
        self.log_variance = nn.Linear(channels, channels)
        # At a deviation of 1, noise would hide the small means of an untrained encoder.
        nn.init.constant_(self.log_variance.bias, INITIAL_LOG_VARIANCE)
        self.mean = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> LatentDistribution:
        """Encodes a sequence.

        Args:
            tokens: (B, S, C), position encodings included.
            valid: (B, S) bool; others are not attended to. None means all.

        Returns:
            The distribution of the latent, and features of the S tokens.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('tokens', tokens, 'B S C', self.channels)
        check_mask('valid', valid, tokens.shape[:2], 'B S')
        first = self.distribution_tokens.to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        if valid is not None:
            valid = torch.cat([valid.new_ones(valid.shape[0], 2), valid], 1)
        features = self.encoder(torch.cat([first, tokens], 1), valid).features
        log_variance = self.log_variance(features[:, 1]).clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        return LatentDistribution(self.mean(features[:, 0]), log_variance, features[:, 2:])


class _PreNormDecoderLayer(nn.Module):
    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, channels: int, num_heads: int, feedforward_channels: int, dropout: float) -> None:
        super().__init__()
        self.self_norm, self.cross_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.self_attention = MultiHeadAttention(channels, num_heads, dropout)
        self.cross_attention = MultiHeadAttention(channels, num_heads, dropout)
        first, second = nn.Linear(channels, feedforward_channels), nn.Linear(feedforward_channels, channels)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(channels), first, nn.ReLU(), nn.Dropout(dropout), second, nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, valid: Tensor | None, memory: Tensor, memory_valid: Tensor | None) -> Tensor:
        """(B, L, C), (B, L) bool, (B, S, C), (B, S) bool -> (B, L, C)."""
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, normed, normed, valid))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory, memory, memory_valid))
        return x + self.feedforward(x)


@MODELS.register_module()
class MotionVAEDecoder(nn.Module):
    """A parallel decoder: position codes are the queries, which attend to the latent and, optionally, to a skip memory.

    Args:
        channels: C, even.
        num_layers: layers (paper: 9).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of attention weights, residuals and the feed-forward layers.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 9,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.ModuleList(
            _PreNormDecoderLayer(channels, num_heads, feedforward_channels, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        latent: Tensor,
        queries: Tensor,
        queries_valid: Tensor | None = None,
        memory: Tensor | None = None,
        memory_valid: Tensor | None = None,
    ) -> Tensor:
        """Decodes all queries at once.

        Args:
            latent: (B, C).
            queries: (B, L, C) position codes.
            queries_valid: (B, L) bool; others are not attended to. None means all.
            memory: (B, S, C), features of the encoder that the queries attend to beside the latent; None means the
                latent alone.
            memory_valid: (B, S) bool; None means all.

        Returns:
            (B, L, C).

        Raises:
            TypeError: a mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('latent', latent, 'B C', self.channels)
        check_features('queries', queries, 'B L C', self.channels)
        tokens, valid = latent[:, None], None
        if memory is not None:
            check_features('memory', memory, 'B S C', self.channels)
            tokens = torch.cat([tokens, memory.to(latent.dtype)], 1)
            if memory_valid is not None:
                check_mask('memory_valid', memory_valid, memory.shape[:2], 'B S')
                valid = torch.cat([memory_valid.new_ones(memory_valid.shape[0], 1), memory_valid], 1)
        x = queries
        for layer in self.layers:
            x = layer(x, queries_valid, tokens, valid)
        return self.norm(x)
