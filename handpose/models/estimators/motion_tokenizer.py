"""The tokenizer of PoseGPT: two-hand motion to codes and back. `PoseVQVAE` trains it, `PoseGPT` stands on it.

Legend: B clips, T frames, L = T / t codes, t frames of a code, G codebooks, D = 147 numbers of a frame.
"""

from typing import Any

import torch
from torch import Tensor, nn

from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.two_hand_motion import NUM_FEATURES, TwoHandFeatures, TwoHandMotion
from handpose.models.necks.motion_vqvae import MotionVQVAE, ReconstructedMotion
from handpose.registry import MODELS


@MODELS.register_module()
class MotionTokenizer(nn.Module):
    """A clip VQ-VAE over normalized features of two-hand motion.

    Args:
        vqvae: config of `MotionVQVAE`.
        motion_frame: see `TwoHandMotion`.
        normalizer_batches: training batches that the mean and deviation of the features are taken from.
    """

    def __init__(self, vqvae: dict[str, Any], motion_frame: str = 'world', normalizer_batches: int = 100) -> None:
        super().__init__()
        self.motion = TwoHandMotion(motion_frame)
        self.normalizer = FeatureNormalizer(NUM_FEATURES, normalizer_batches)
        self.vqvae: MotionVQVAE = MODELS.build({'type': 'MotionVQVAE', **vqvae})

    @property
    def frames_per_code(self) -> int:
        """t."""
        return self.vqvae.frames_per_code

    def forward(self, features: TwoHandFeatures) -> ReconstructedMotion:
        """Encodes and decodes motion; in training mode the normalization and the codebooks follow it.

        Args:
            features: of T frames, a multiple of t.

        Returns:
            Normalized features (B, T, D), and their codes.
        """
        if self.training:
            self.normalizer.update(features.values, features.valid)
        return self.vqvae(self.normalizer(features.values), features.valid)

    @torch.no_grad()
    def encode(self, features: TwoHandFeatures) -> Tensor:
        """The codes (B, L, G) of T frames, a multiple of t; nothing follows them."""
        return self.vqvae.encode(self.normalizer(features.values), features.valid)

    def decode(self, codes: Tensor) -> Tensor:
        """The features (B, T, D), in metres, that codes (B, L, G) stand for."""
        return self.normalizer.denormalize(self.vqvae.decode(codes))
