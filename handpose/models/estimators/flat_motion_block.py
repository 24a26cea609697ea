"""G-HTT without its hierarchy (Wen et al., section 4.4): one transformer VAE from poses to the action and to poses.

Legend: B clips, T observed and F future frames, D = 147 features of a frame, C channels, A actions, E text channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.estimators.ghtt_blocks import (
    CONTEXTS,
    PoseCode,
    coasting_frames,
    correction_head,
    frame_inputs,
    num_inputs,
    unit_variance,
)
from handpose.models.layers.checks import check_features, check_option
from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.mlp import MLP
from handpose.models.layers.position import sine_position_1d
from handpose.models.layers.two_hand_motion import NUM_FEATURES, TwoHandFeatures, TwoHandMotion
from handpose.models.necks.motion_vae import MotionVAEDecoder, MotionVAEEncoder
from handpose.registry import MODELS


class FlatInputs(NamedTuple):
    """What the encoder sees."""

    features: TwoHandFeatures  # of T frames
    frame: Tensor  # (B, T) int, number of frames since the action began
    objects: Tensor  # (B, E), comparable to the text feature of the object's name
    object_valid: Tensor  # (B,) bool, whether the object is known


@MODELS.register_module()
class FlatMotionBlock(nn.Module):
    """All observed frames and the object to one latent, the action; and from it all future frames at once.

    It is made of the components of `GHTTPoseBlock` and `GHTTActionBlock`. With the layers of both in one encoder and
    one decoder it lacks three linear layers of theirs, 3 C^2 weights; with 3 C / (4 num_layers) more
    feedforward_channels it is as large as both together.

    Args:
        channels: C, of the latent too.
        num_layers: of the encoder and of the decoder (paper: as large as P and A, so 9 + 9).
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of the transformers.
        text_channels: E.
        max_frames: frames, observed and predicted together, that the position encodings cover.
        skip: the decoder attends to the features of observed frames too.
        motion_frame: see `TwoHandMotion`.
        context: see `GHTTPoseBlock`.
        difference_gain: see `GHTTPoseBlock`.
        residual: see `GHTTPoseBlock`.
        normalizer_batches: training batches that the mean and deviation of the features are taken from.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 18,
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        text_channels: int = 512,
        max_frames: int = 1024,
        skip: bool = True,
        motion_frame: str = 'world',
        context: str = 'none',
        difference_gain: float = 0.0,
        residual: bool = False,
        normalizer_batches: int = 100,
    ) -> None:
        super().__init__()
        check_option('context', context, tuple(CONTEXTS))
        self.channels, self.text_channels, self.max_frames = channels, text_channels, max_frames
        self.skip, self.context, self.difference_gain = skip, context, difference_gain
        sizes = (channels, num_layers, num_heads, feedforward_channels, dropout)
        self.motion = TwoHandMotion(motion_frame)
        self.normalizer = FeatureNormalizer(NUM_FEATURES, normalizer_batches)
        self.embedding = nn.Linear(num_inputs(context, difference_gain), channels)
        self.object_embedding = nn.Identity() if text_channels == channels else nn.Linear(text_channels, channels)
        self.encoder = MotionVAEEncoder(*sizes)
        self.decoder = MotionVAEDecoder(*sizes)
        self.head = MLP(channels, [channels, NUM_FEATURES])  # of observed and of predicted frames
        self.correction = correction_head(channels) if residual else None
        self.action_embedding = nn.Linear(text_channels, channels)

    def encode(self, inputs: FlatInputs) -> PoseCode:
        """Encodes observed frames.

        Args:
            inputs: of B clips; what is not valid is hidden from the network.

        Returns:
            The distribution of the latent, which is the action feature too, and the refined frames.

        Raises:
            ValueError: shapes that do not fit.
        """
        features = inputs.features
        check_features('features', features.values, 'B T D', NUM_FEATURES)
        check_features('objects', inputs.objects, 'B E', self.text_channels)
        values = torch.where(features.valid, self.normalizer(features.values), 0)
        tokens = self.embedding(frame_inputs(features, values, self.context, self.difference_gain))
        tokens = tokens + self._positions(inputs.frame).to(tokens.dtype)
        thing = self.object_embedding(unit_variance(inputs.objects).to(tokens.dtype))[:, None]
        visible = features.palm_valid.any(-1)
        valid = torch.cat([visible, inputs.object_valid[:, None]], 1)
        latent = self.encoder(torch.cat([tokens, thing], 1), valid)
        latent = latent._replace(features=latent.features[:, :-1])
        if self.correction is None:
            return PoseCode(latent, self.head(latent.features), visible)
        return PoseCode(latent, values + self.correction(latent.features), visible)

    def decode(self, latent: Tensor, frame: Tensor, code: PoseCode, frame_valid: Tensor | None = None) -> Tensor:
        """Predicts future frames.

        Args:
            latent: (B, C).
            frame: (B, F) int, number of frames since the action began.
            code: of the observed frames, the last of which is the frame before the future.
            frame_valid: (B, F) bool, False for padding; None means all.

        Returns:
            (B, F, D), normalized.
        """
        queries = self._positions(frame).to(latent.dtype)
        memory, memory_valid = (code.latent.features, code.memory_valid) if self.skip else (None, None)
        future = self.head(self.decoder(latent, queries, frame_valid, memory, memory_valid))
        if self.correction is None:
            return future
        return future + coasting_frames(code.refined[:, -1], torch.arange(frame.shape[1], device=frame.device))

    def embed_actions(self, text: Tensor) -> Tensor:
        """The embeddings of action labels: (A, E) -> (A, C)."""
        return self.action_embedding(unit_variance(text))

    def _positions(self, frame: Tensor) -> Tensor:
        """Sine codes (B, T, C) of frames (B, T); those beyond the last one get its code."""
        return sine_position_1d(self.max_frames, self.channels, frame.device)[frame.clamp(0, self.max_frames - 1)]
