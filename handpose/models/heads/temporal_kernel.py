"""From joint features to weighted means of the input over time: refinement that cannot leave the input's positions.

Legend: N hands, T frames, J joints, C channels.
"""

import math

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.registry import MODELS


@MODELS.register_module()
class TemporalKernel(nn.Module):
    """Attention over the frames of a window, for each joint, whose values are the joint's own input positions.

    The weights are not negative and sum to one, so a refined joint lies among the joint's positions in the window, and
    a joint at rest stays where it is. An untrained kernel is a Gaussian filter.

    Args:
        channels: C.
        sigma: frames, of that Gaussian filter.
    """

    def __init__(self, channels: int, sigma: float = 1.5) -> None:
        super().__init__()
        self.channels = channels
        self.query, self.key = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.narrowness = nn.Linear(channels, 1)  # logarithm of 1 / (2 sigma^2)
        for layer in (self.query, self.narrowness):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.narrowness.bias, -math.log(2 * sigma**2))

    def forward(self, features: Tensor, motion: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Averages the input over time.

        Args:
            features: (N, T, J, C).
            motion: (N, T, J, 3) metres, the input.
            frame_valid: (N, T) bool, frames to average over; None means all.

        Returns:
            (N, T, J, 3) metres.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('features', features, 'N T J C', self.channels)
        check_mask('frame_valid', frame_valid, motion.shape[:2], 'N T')
        with without_autocast(motion):
            x = at_least_float32(features).transpose(1, 2)  # (N, J, T, C)
            frame = torch.arange(x.shape[2], device=x.device)
            distance = (frame - frame[:, None]) ** 2  # (T, T)
            logits = self.query(x) @ self.key(x).transpose(-1, -2) * self.channels**-0.5  # (N, J, T, T)
            logits = logits - self.narrowness(x).exp() * distance
            if frame_valid is not None:
                logits = logits.masked_fill(~frame_valid[:, None, None], torch.finfo(logits.dtype).min)
            return (logits.softmax(-1) @ motion.transpose(1, 2)).transpose(1, 2)
