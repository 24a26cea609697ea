"""Self-attention within windows of neighbouring frames: HTT's pose block P (section 3.2).

Legend: B clips, T frames, t frames of a window, m windows of a clip, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.geometry.tracing import is_exporting
from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.pre_norm_transformer import AttendedTokens, PreNormEncoder
from handpose.registry import MODELS


@MODELS.register_module()
class WindowedTransformer(nn.Module):
    """A pre-norm encoder over each run of t consecutive frames, all runs at once; its cost grows with T, not with T^2.

    The first window starts with the first frame.

    Args:
        channels: C, even and a multiple of num_heads.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        window: t, or None: one window over all frames.
        dropout: dropout of attention weights, residuals and the feed-forward layer.
        position: 'per_layer' adds the sine encoding of a frame's position in its window to queries and keys at every
            layer (the published code), 'input' adds it once to the input.
        final_norm: normalises the output.

    Raises:
        ValueError: window below 1, an unknown position, or channels that are odd or not a multiple of num_heads.
    """

    def __init__(
        self,
        channels: int = 512,
        num_layers: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        window: int | None = 16,
        dropout: float = 0.0,
        position: str = 'per_layer',
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        if window is not None and window < 1:
            raise ValueError(f'window must be at least 1 frame, or None for one window over all, got {window}')
        self.channels = channels
        self.window = window
        self.encoder = PreNormEncoder(
            channels, num_layers, num_heads, feedforward_channels, dropout, position, final_norm
        )

    def forward(
        self, features: Tensor, frame_valid: Tensor | None = None, return_attention: bool = False
    ) -> AttendedTokens:
        """Runs the encoder in every window.

        Args:
            features: (B, T, C), T of any length.
            frame_valid: (B, T) bool, False where a frame is padding or missing: it is not attended to, and its output
                is finite and meaningless. None means all.
            return_attention: also returns the weights of the last layer, for which its scores are computed a second
                time.

        Returns:
            features (B, T, C) and attention (B, m, heads, t, t) or None; the last of the m windows may reach beyond T.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'B T C', self.channels)
        check_mask('frame_valid', frame_valid, features.shape[:2], 'B T')
        clips, num_frames, _ = features.shape
        # An exported network takes clips of any length: its graph may not depend on T, so it always pads.
        any_length = is_exporting() and self.window is not None
        window = num_frames if self.window is None else self.window
        window = window if any_length else min(window, num_frames)
        missing = (window - num_frames % window) % window
        if any_length or missing:
            if frame_valid is None:
                frame_valid = torch.ones(clips, num_frames, dtype=torch.bool, device=features.device)
            features, frame_valid = F.pad(features, (0, 0, 0, missing)), F.pad(frame_valid, (0, missing))
        tokens = features.reshape(-1, window, features.shape[-1])  # (B*m, t, C)
        valid = None if frame_valid is None else frame_valid.reshape(-1, window)
        attended, attention = self.encoder(tokens, valid, return_attention)
        attended = attended.reshape(features.shape)[:, :num_frames]
        return AttendedTokens(attended, None if attention is None else attention.unflatten(0, (clips, -1)))
