"""Tells real hand motion from predicted motion (Deformer, section 3.2; the layout of VIBE's discriminator).

Legend: B clips, T frames, C numbers per frame.
"""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.registry import MODELS


@MODELS.register_module()
class MotionDiscriminator(nn.Module):
    """A recurrent network over the frames, pooled by learned attention to one score per clip.

    Args:
        in_channels: C, such as the hand's side and 45 finger angles (46, the published code) or
            15 finger rotations as 6D vectors (91).
        hidden_channels: size of the recurrent state and of the attention layers.
        num_layers: layers of the recurrent network.
        dropout: dropout in the attention layers.
        bounded_attention: applies tanh and dropout to the attention logit of each frame too, as the published code
            does: no frame then has more than e^2 = 7.4 times the weight of another.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 1024,
        num_layers: int = 2,
        dropout: float = 0.2,
        bounded_attention: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.recurrent = nn.GRU(in_channels, hidden_channels, num_layers, batch_first=True)
        self.attention = nn.Sequential(
            nn.Linear(hidden_channels, hidden_channels),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(hidden_channels, hidden_channels),
            nn.Tanh(),
            nn.Dropout(dropout),
            # Without tanh, a bias would add the same number to every frame's logit, which softmax ignores.
            nn.Linear(hidden_channels, 1, bias=bounded_attention),
            *((nn.Tanh(), nn.Dropout(dropout)) if bounded_attention else ()),
        )
        self.score = nn.Linear(hidden_channels, 1)

    def forward(self, motion: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Scores clips.

        Padding, wherever it is, does not change the score. A clip without any valid frame gets a finite, meaningless
        score.

        Args:
            motion: (B, T, C).
            frame_valid: (B, T) bool; None means all.

        Returns:
            (B,), towards 1 for real motion, 0 for fake.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('motion', motion, 'B T C', self.in_channels)
        check_mask('frame_valid', frame_valid, motion.shape[:2], 'B T')
        if frame_valid is not None:
            # Valid frames move to the front, so that no padding comes before them in the recurrent network.
            frame_valid, order = frame_valid.sort(dim=1, descending=True, stable=True)
            motion = motion.gather(1, order[..., None].expand_as(motion))
        states, _ = self.recurrent(motion)  # (B, T, hidden)
        logits = self.attention(states).squeeze(-1)  # (B, T)
        if frame_valid is not None:
            logits = logits.masked_fill(~frame_valid & frame_valid.any(dim=1, keepdim=True), -torch.inf)
        pooled = (logits.softmax(dim=1)[..., None] * states).sum(dim=1)
        return self.score(pooled).squeeze(-1)
