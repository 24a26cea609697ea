"""Tells real hand motion from predicted motion (Deformer, section 3.2; the layout of VIBE's discriminator)."""

import torch
from torch import nn

from handpose.registry import MODELS


@MODELS.register_module()
class MotionDiscriminator(nn.Module):
    """A recurrent network over the frames, pooled by learned attention to one score per clip.

    Args:
        in_channels: numbers per frame, such as the hand's side and 45 finger angles (46, the published code) or
            15 finger rotations as 6D vectors (91).
        hidden_channels: size of the recurrent state and of the attention layers.
        num_layers: layers of the recurrent network.
        dropout: dropout in the attention layers.
        bounded_attention: puts the attention logit of each frame through tanh and dropout too, as the published code
            does: no frame then weighs more than e^2 = 7.4 times as much as another.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 1024,
        num_layers: int = 2,
        dropout: float = 0.2,
        bounded_attention: bool = False,
    ):
        super().__init__()
        self.recurrent = nn.GRU(in_channels, hidden_channels, num_layers, batch_first=True)
        self.attention = nn.Sequential(
            nn.Linear(hidden_channels, hidden_channels),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(hidden_channels, hidden_channels),
            nn.Tanh(),
            nn.Dropout(dropout),
            # Without tanh, a bias would add the same number to every frame's logit, which softmax does not see.
            nn.Linear(hidden_channels, 1, bias=bounded_attention),
            *((nn.Tanh(), nn.Dropout(dropout)) if bounded_attention else ()),
        )
        self.score = nn.Linear(hidden_channels, 1)

    def forward(self, motion: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
        """Clips (B, T, in_channels) and frame_valid (B, T) bool -> scores (B,), towards 1 for real, 0 for fake.

        Padding, wherever it lies, does not change the score. A clip of padding alone gets a finite score that
        means nothing.
        """
        if frame_valid is not None:
            # Valid frames move to the front, so that no recurrent state has seen padding before them.
            frame_valid, order = frame_valid.sort(dim=1, descending=True, stable=True)
            motion = motion.gather(1, order[..., None].expand_as(motion))
        states, _ = self.recurrent(motion)  # (B, T, hidden)
        logits = self.attention(states).squeeze(-1)  # (B, T)
        if frame_valid is not None:
            logits = logits.masked_fill(~frame_valid & frame_valid.any(dim=1, keepdim=True), -torch.inf)
        pooled = (logits.softmax(dim=1)[..., None] * states).sum(dim=1)
        return self.score(pooled).squeeze(-1)
