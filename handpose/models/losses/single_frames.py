"""Errors of each frame of a clip: of 2.5D joints, and of labels.

Legend: B clips, T frames, H hands, J = 21 joints.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.geometry import project_points
from handpose.models.layers.precision import without_autocast
from handpose.models.losses.masking import masked_difference
from handpose.models.losses.targets import ActionTarget

NEAREST = 0.01  # metres; a joint that is nearer to the camera's plane, or behind it, has no place in the image


def joints_25d_error(uv: Tensor, depth: Tensor, target: ActionTarget, depth_weight: float) -> tuple[Tensor, Tensor]:
    """L1 of image positions and depths (HTT, Eq. 2), the mean over the annotated joints of a frame.

    Args:
        uv: (B, T, H, J, 2), pixels.
        depth: (B, T, H, J), metres.
        target: of the same clips.
        depth_weight: of depth in metres against image position in pixels.

    Returns:
        The error (B, T), and whether any joint is annotated (B, T) bool.
    """
    if target.joints is None or target.joints_valid is None:
        return 0.0 * (uv.sum((2, 3, 4)) + depth.sum((2, 3))), torch.zeros_like(target.frame_valid)
    valid, true_depth = target.joints_valid, target.joints[..., 2]  # (B, T, H, J)
    with without_autocast(uv):
        true_uv = project_points(target.joints, target.intrinsics[:, :, None])
        error = masked_difference(uv, true_uv, valid & (true_depth > NEAREST)).abs().sum(-1)
        depth_error = masked_difference(depth, true_depth, valid).abs()
        error = (error + depth_weight * depth_error).sum((2, 3)) / valid.sum((2, 3)).clamp_min(1)
    return error, valid.any(-1).any(-1)


def label_error(logits: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross entropy where there is a label.

    Args:
        logits: (..., N).
        labels: (...) int, below N; -1 where unknown; None means nowhere known.

    Returns:
        The cross entropy (...), zero where no label is known, and where one is, bool.
    """
    if labels is None:
        labels = torch.full(logits.shape[:-1], -1, device=logits.device)
    known = labels >= 0
    error = F.cross_entropy(logits.float().flatten(0, -2), labels.clamp_min(0).flatten(), reduction='none')
    error = error.reshape(labels.shape)
    return torch.where(known, error, torch.zeros_like(error)), known
