"""From the numbers of future (or reconstructed) frames to joints, each hand going on from a frame that shows it.

Legend: B clips, T frames, T' decoded frames, J = 21 joints, D = 147 numbers of a frame.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry.rigid import invert_rigid, rigid_to_9d, transform_points
from handpose.models.estimators.forecaster import TwoHands
from handpose.models.layers.two_hand_motion import THUMB_BASE, TwoHandFeatures, TwoHandMotion

_JOINTS = slice(0, 120)  # of the features: joints in the frames of the palms
_MOTIONS = slice(120, 138)  # palm motions


class HandAnchors(NamedTuple):
    """A frame of each hand in which it is seen; of a hand that is never seen, frame 0."""

    frame: Tensor  # (B, 2) int64
    palms: Tensor  # (B, 2, 4, 4), of that frame
    local: Tensor  # (B, 120), the joints in the palms' frames in that frame
    thumb_base: Tensor  # (B, 2, 3), in the frame of the palm, the mean over the clip
    known: Tensor  # (B, 2, J) bool, joints that a frame shows, of hands whose palm one shows
    origin: Tensor  # (B, 2, 3), see `TwoHandFeatures`

    def repeat(self, count: int) -> 'HandAnchors':
        """Those of each clip `count` times, one after the other."""
        return HandAnchors(*(x.repeat_interleave(count, 0) for x in self))


def anchor_hands(features: TwoHandFeatures, joints: Tensor, valid: Tensor, last: bool) -> HandAnchors:
    """Finds the first or last frame that shows each hand.

    Args:
        features: of the clips.
        joints: (B, T, 2, J, 3), metres, from which the features were made.
        valid: (B, T, 2, J) bool.
        last: takes the last frame instead of the first.

    Returns:
        The anchors.
    """
    seen = features.palm_valid
    number = torch.arange(seen.shape[1], device=seen.device)[None, :, None]
    if last:
        frame = torch.where(seen, number, 0).amax(1)
    else:
        frame = torch.where(seen, number, seen.shape[1]).amin(1) * seen.any(1)
    palms = features.palms.gather(1, frame[:, None, :, None, None].expand(-1, 1, -1, 4, 4))[:, 0]
    local = features.values[..., _JOINTS].unflatten(-1, (2, -1))
    local = local.gather(1, frame[:, None, :, None].expand(-1, 1, -1, local.shape[-1]))[:, 0]
    base = joints[..., THUMB_BASE : THUMB_BASE + 1, :]
    base = transform_points(base, invert_rigid(features.palms))[..., 0, :]  # (B, T, 2, 3)
    known = valid[..., THUMB_BASE] & seen
    mean = torch.where(known[..., None], base, 0).sum(1) / known.sum(1).clamp_min(1)[..., None]
    visible = valid.any(1) & seen.any(1)[..., None]
    return HandAnchors(frame, palms, local.flatten(1), mean, visible, features.origin)


def decode_joints(
    motion: TwoHandMotion, values: Tensor, anchors: HandAnchors, join_frames: float | None = None
) -> Tensor:
    """Turns features into joints; each palm goes on from its anchor, and stays there in the frames before.

    Args:
        motion: of the features.
        values: (B, T', 147), the features of frames 0 to T' - 1, in metres.
        anchors: of the hands.
        join_frames: what the decoded joints in the palm differ from those of the anchor is taken from all later
            frames too, less and less: by the factor exp(-frames since / join_frames). So the motion goes on without a
            jump. None changes nothing.

    Returns:
        (B, T', 2, J, 3), metres.
    """
    after = torch.arange(values.shape[1], device=values.device)[None, :, None] - anchors.frame[:, None]  # (B, T', 2)
    still = rigid_to_9d(torch.eye(4, dtype=values.dtype, device=values.device))
    motions = values[..., _MOTIONS].unflatten(-1, (2, 9))
    motions = torch.where(after[..., None] > 0, motions, still).flatten(2)
    local = values[..., _JOINTS].unflatten(-1, (2, -1))
    if join_frames is not None:
        decoded = local.gather(1, anchors.frame[:, None, :, None].expand(-1, 1, -1, local.shape[-1]))
        jump = anchors.local.unflatten(-1, (2, -1))[:, None] - decoded
        local = local + jump * torch.exp(-after.abs().to(values.dtype) / join_frames)[..., None]
    values = torch.cat([local.flatten(2), motions, values[..., _MOTIONS.stop :]], -1)
    return motion.to_joints(values, motion.move_palms(values, anchors.palms, anchors.origin), anchors.thumb_base)


def joint_distance(
    motion: TwoHandMotion, values: Tensor, start: Tensor, origin: Tensor, joints: Tensor, valid: Tensor
) -> Tensor:
    """L1 distance of decoded joints from the true ones, the sum over coordinates and the mean over valid joints.

    Args:
        motion: of the features.
        values: (B, T', 147), features in metres.
        start: (B, 2, 4, 4), the palms in the frame before the first.
        origin: (B, 2, 3), see `TwoHandFeatures`.
        joints: (B, T', 2, J, 3), the true ones, metres.
        valid: (B, T', 2, J) bool.

    Returns:
        A scalar, metres; the base of the thumb, of which the features say nothing, does not count.
    """
    decoded = motion.to_joints(values, motion.move_palms(values, start, origin))
    valid = valid & (torch.arange(valid.shape[-1], device=valid.device) != THUMB_BASE)
    error = torch.where(valid[..., None], decoded - joints, 0).abs().sum(-1)
    return error.sum() / valid.sum().clamp_min(1)


def restore_joint_flags(hands: TwoHands, flags: Tensor) -> Tensor:
    """Puts flags of joints back into the input's hands: (B, 2, J) -> (B, H, J)."""
    return hands.restore_hands(flags.transpose(1, 2)).transpose(1, 2)
