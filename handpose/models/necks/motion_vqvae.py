"""The clip VQ-VAE of PoseGPT (Lucas et al., ECCV 2022, section 3.1): motion as a sequence of discrete codes.

Legend: B clips, T frames, F numbers of a frame, L = T / t codes, t frames of a code, G codebooks, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.models.layers.vector_quantizer import QuantizedFeatures, VectorQuantizer
from handpose.registry import MODELS


class ReconstructedMotion(NamedTuple):
    """What a motion becomes on its way through the codebooks."""

    motion: Tensor  # (B, T, F)
    quantized: QuantizedFeatures  # of the L tokens


@MODELS.register_module()
class MotionVQVAE(nn.Module):
    """A causal encoder, codebooks, and a causal decoder: a code says nothing of later frames, nor do later codes
    change earlier frames. So the codes of the observed frames are the prompt of those to come.

    Args:
        in_channels: F, numbers of a frame.
        frames_per_code: t.
        channels: of the transformers.
        num_layers: of the encoder, and of the decoder.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        code_channels: size of a code's feature, over all codebooks together.
        num_codebooks: G.
        num_codes: entries of each codebook.
        decay: see `VectorQuantizer`.
        dropout: of the transformers.

    Raises:
        ValueError: sizes that do not fit.
    """  # fmt: skip

    def __init__(
        self,
        in_channels: int = 147,
        frames_per_code: int = 4,
        channels: int = 384,
        num_layers: int = 6,
        num_heads: int = 4,
        feedforward_channels: int = 1536,
        code_channels: int = 256,
        num_codebooks: int = 2,
        num_codes: int = 512,
        decay: float = 0.99,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if frames_per_code < 1:
            raise ValueError(f'frames_per_code must be at least 1, got {frames_per_code}')
        self.in_channels, self.frames_per_code = in_channels, frames_per_code
        sizes = (channels, num_layers, num_heads, feedforward_channels, dropout, 'input')
        # The mask goes in beside the numbers: zero is a value that a number may have.
        self.embed = nn.Linear(2 * in_channels * frames_per_code, channels)
        self.encoder = PreNormEncoder(*sizes, causal=True)
        self.to_code = nn.Linear(channels, code_channels)
        self.quantizer = VectorQuantizer(code_channels, num_codebooks, num_codes, decay)
        self.from_code = nn.Linear(code_channels, channels)
        self.decoder = PreNormEncoder(*sizes, causal=True)
        self.out = nn.Linear(channels, in_channels * frames_per_code)

    def forward(self, motion: Tensor, valid: Tensor | None = None) -> ReconstructedMotion:
        """Encodes and decodes motions; in training mode the codebooks follow them.

        Args:
            motion: (B, T, F), T a multiple of frames_per_code.
            valid: (B, T, F) bool, which numbers are known; padding at the end is not. None means all.

        Returns:
            `ReconstructedMotion`.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        latent = self._latent(motion, valid)
        known = None if valid is None else valid.flatten(2).any(2).unflatten(1, (-1, self.frames_per_code)).any(2)
        quantized = self.quantizer(latent, known)
        return ReconstructedMotion(self._reconstruct(quantized.features), quantized)

    @torch.no_grad()
    def encode(self, motion: Tensor, valid: Tensor | None = None) -> Tensor:
        """The codes of motions, without gradients: (B, T, F) with `valid` as in `forward` -> (B, L, G) int64."""
        return self.quantizer.encode(self._latent(motion, valid))

    def decode(self, codes: Tensor) -> Tensor:
        """The motion that codes stand for: (B, L, G) int64 -> (B, T, F)."""
        return self._reconstruct(self.quantizer.decode(codes))

    def _latent(self, motion: Tensor, valid: Tensor | None) -> Tensor:
        """(B, T, F) -> (B, L, code_channels)."""
        check_features('motion', motion, 'B T F', self.in_channels)
        check_mask('valid', valid, motion.shape, 'B T F')
        if motion.shape[1] % self.frames_per_code or not motion.shape[1]:
            raise ValueError(
                f'motion must have a multiple of {self.frames_per_code} frames, those of a code, got {motion.shape[1]}'
            )
        known = torch.ones_like(motion, dtype=torch.bool) if valid is None else valid
        frames = torch.cat([torch.where(known, motion, 0.0), known.to(motion.dtype)], -1)
        tokens = frames.unflatten(1, (-1, self.frames_per_code)).flatten(2)  # (B, L, t 2F)
        return self.to_code(self.encoder(self.embed(tokens)).features)

    def _reconstruct(self, latent: Tensor) -> Tensor:
        """(B, L, code_channels) -> (B, T, F)."""
        frames = self.out(self.decoder(self.from_code(latent)).features)  # (B, L, t F)
        return frames.unflatten(-1, (self.frames_per_code, -1)).flatten(1, 2)
