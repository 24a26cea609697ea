"""Joint sequences as tokens of a transformer: one for each joint of each frame (PDTM, section 3.1; MotionBERT).

Legend: N sequences, T frames, J joints, D coordinates, C channels.
"""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

MOTION_UNIT = 0.1  # metres: the length that the network sees as 1


@MODELS.register_module()
class MotionEmbedding(nn.Module):
    """A linear layer to C channels, plus a learned embedding of the joint and one of the frame.

    It works for any skeleton, in 2D or 3D, with or without confidences. Coordinates are embedded in float32, under
    autocast too.

    Args:
        channels: C.
        max_frames: the longest sequence.
        num_joints: J.
        num_coordinates: D, 3, or 2 for positions in an image.
        with_confidence: also embeds a confidence of each joint.
        unit: the length that the network sees as 1, in the unit of the coordinates.
    """

    def __init__(
        self,
        channels: int,
        max_frames: int,
        num_joints: int = 21,
        num_coordinates: int = 3,
        with_confidence: bool = False,
        unit: float = MOTION_UNIT,
    ) -> None:
        super().__init__()
        self.num_coordinates, self.with_confidence, self.unit = num_coordinates, with_confidence, unit
        self.projection = nn.Linear(num_coordinates + with_confidence, channels)
        self.joint_code = nn.Parameter(0.02 * torch.randn(num_joints, channels))
        self.frame_code = nn.Parameter(0.02 * torch.randn(max_frames, 1, channels))

    def forward(self, joints: Tensor, joints_valid: Tensor | None = None, confidence: Tensor | None = None) -> Tensor:
        """Turns joints into tokens.

        Args:
            joints: (N, T, J, D), 3D joints in metres unless `unit` says otherwise. Joints relative to the wrist keep
                the network from having to learn where the hand is.
            joints_valid: (N, T, J) bool; None means all. Where it is False, joints may hold anything, NaN included, and
                the token holds the embeddings of joint and frame alone.
            confidence: (N, T, J), from 0 to 1, if the component was built `with_confidence`.

        Returns:
            (N, T, J, C).

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit, more frames than `max_frames`, or a confidence that is missing or
                was not asked for.
        """
        self._check(joints, joints_valid, confidence)
        num_frames = joints.shape[1]
        with without_autocast(joints):
            values = joints.to(self.projection.weight.dtype) / self.unit
            if confidence is not None:
                values = torch.cat([values, confidence[..., None].to(values.dtype)], dim=-1)
            if joints_valid is None:
                tokens = self.projection(values)
            else:
                missing = ~joints_valid[..., None]
                tokens = self.projection(values.masked_fill(missing, 0)).masked_fill(missing, 0)
        return tokens + self.joint_code + self.frame_code[:num_frames]

    def _check(self, joints: Tensor, joints_valid: Tensor | None, confidence: Tensor | None) -> None:
        check_features('joints', joints, 'N T J D', self.num_coordinates)
        num_joints, max_frames = len(self.joint_code), len(self.frame_code)
        if joints.shape[2] != num_joints:
            raise ValueError(f'expected {num_joints} joints (num_joints), got {joints.shape[2]}')
        if joints.shape[1] > max_frames:
            raise ValueError(f'sequences may have at most {max_frames} frames, got {joints.shape[1]}: raise max_frames')
        check_mask('joints_valid', joints_valid, joints.shape[:3], 'N T J')
        if (confidence is not None) != self.with_confidence:
            raise ValueError(
                f'with_confidence={self.with_confidence}, but confidence (N, T, J) is '
                f'{"missing" if confidence is None else "given"}'
            )
        if confidence is not None and confidence.shape != joints.shape[:3]:
            expected = tuple(joints.shape[:3])
            raise ValueError(f'confidence must have the shape (N, T, J) = {expected}, got {tuple(confidence.shape)}')
