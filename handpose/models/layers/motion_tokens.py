"""Motions as tokens of a transformer: one for each joint of each frame (PDTM, section 3.1; MotionBERT).

Legend: N hands, T frames, J joints, C channels.
"""

import torch
from torch import nn

MOTION_UNIT = 0.1  # metres: what the network sees as one


class MotionEmbedding(nn.Module):
    """A linear layer to C channels, plus a learned code of the joint and one of the frame.

    Args:
        channels: C. max_frames: the longest window. num_joints: J.
    """

    def __init__(self, channels: int, max_frames: int, num_joints: int = 21):
        super().__init__()
        self.projection = nn.Linear(3, channels)
        self.joint_code = nn.Parameter(0.02 * torch.randn(num_joints, channels))
        self.frame_code = nn.Parameter(0.02 * torch.randn(max_frames, 1, channels))

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        """Motion (N, T, J, 3), metres -> (N, T, J, C).

        Raises:
            ValueError: more frames than there are codes.
        """
        if motion.shape[1] > len(self.frame_code):
            raise ValueError(f'windows have at most {len(self.frame_code)} frames, got {motion.shape[1]}')
        return self.projection(motion / MOTION_UNIT) + self.joint_code + self.frame_code[: motion.shape[1]]
