"""The motion of two hands as 147 numbers a frame (Wen et al., G-HTT, section 3.1), and back to joints.

H = (p_L, p_R, v_L, v_R, r): N = 20 joints of each hand in the frame of its palm, the motion of each palm since the
frame before, and the pose of the left palm relative to the right one; rigid transforms are 6D rotation and translation.
The paper leaves the details to its supplement. Here the palm of a hand is the rigid transform X that takes a template
of its wrist and four finger bases onto the observed ones, in the least-squares sense and without scale; p = X^-1
joints, so that no joint is approximated and the way back is exact. The base of the thumb, which Assembly101 lacks, is
left out.

Legend: B clips, T frames, H = 2 hands (left 0, right 1), J = 21 joints, N = 20 joints.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry.alignment import fit_rigid
from handpose.geometry.rigid import (
    MOTION_FRAMES,
    accumulate_motions,
    apply_motions,
    compose_rigid,
    invert_rigid,
    relative_motions,
    rigid_from_9d,
    rigid_to_9d,
    transform_points,
)
from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.precision import at_least_float32
from handpose.registry import MODELS

NUM_FEATURES = 147
THUMB_BASE = 1
KEPT_JOINTS = (0, *range(2, 21))  # N of the common order
PALM_JOINTS = (0, 5, 9, 13, 17)  # wrist and finger bases, of the common order
# The palm of a right hand at rest (that of `ProceduralHand`), millimetres about its centre.
_PALM_TEMPLATE = (
    (66.9, -2.1, 3.2),
    (-21.1, 0.9, 30.2),
    (-23.1, 3.4, 8.7),
    (-16.1, 1.4, -11.8),
    (-6.6, -3.6, -30.3),
)
_JOINTS = slice(0, 120)
_MOTIONS = slice(120, 138)
_BETWEEN = slice(138, 147)
_LEAST_PALM_JOINTS = 3


class TwoHandFeatures(NamedTuple):
    """Clips of two hands as numbers; what is not valid is zero (identity in palms)."""

    values: Tensor  # (B, T, 147), metres and rotation numbers
    valid: Tensor  # (B, T, 147) bool
    palms: Tensor  # (B, T, 2, 4, 4), X, from each palm to the frame of the joints
    palm_valid: Tensor  # (B, T, 2) bool
    origin: Tensor  # (B, 2, 3), metres: the point about which palms turn where motions are in the world's frame

    def first(self, count: int) -> 'TwoHandFeatures':
        """Those of the first frames.

        Args:
            count: number of frames.
        """
        values, valid, palms, palm_valid = (x[:, :count] for x in self[:4])
        return TwoHandFeatures(values, valid, palms, palm_valid, self.origin)


@MODELS.register_module()
class TwoHandMotion(nn.Module):
    """Converts joints of two hands to 147 numbers a frame, and back.

    Args:
        motion_frame: where palm motions v are expressed: 'world' (Eq. 3 with the newest on the left), as motions about
            the place of the palm in the first frame of the clip; or 'local', in the palm's own frame, which does not
            change when the camera moves or turns.

    Raises:
        ValueError: an unknown motion_frame.
    """

    template: Tensor

    def __init__(self, motion_frame: str = 'world') -> None:
        super().__init__()
        check_option('motion_frame', motion_frame, MOTION_FRAMES)
        self.motion_frame = motion_frame
        right = torch.tensor(_PALM_TEMPLATE) / 1000
        right = right - right.mean(0)
        self.register_buffer('template', torch.stack([right * right.new_tensor([-1.0, 1.0, 1.0]), right]))  # (2, 5, 3)

    def forward(self, joints: Tensor, joints_valid: Tensor, origin: Tensor | None = None) -> TwoHandFeatures:
        """Converts joints to features.

        A hand needs three joints of its palm in a frame; in others it counts as missing. A palm motion needs the hand
        in the frame before too, so the first frame of a clip has none.

        Args:
            joints: (B, T, 2, J, 3), metres, in a frame that stands still.
            joints_valid: (B, T, 2, J) bool.
            origin: (B, 2, 3), that of the clip which these frames continue; None takes the first place of each palm.

        Returns:
            The features of T frames.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('joints', joints, 'B T H J 3', 3)
        check_mask('joints_valid', joints_valid, joints.shape[:-1], 'B T H J')
        palms, palm_valid = self.fit_palms(joints, joints_valid)
        if origin is None:
            origin = _first_place(palms, palm_valid)
        local = transform_points(torch.where(joints_valid[..., None], joints, 0), invert_rigid(palms))
        local_valid = (joints_valid & palm_valid[..., None])[..., KEPT_JOINTS]
        local = torch.where(local_valid[..., None], local[..., KEPT_JOINTS, :], 0)
        motions, motion_valid = self._motions(palms, palm_valid, origin)
        both = palm_valid.all(-1)
        between = rigid_to_9d(compose_rigid(invert_rigid(palms[:, :, 1]), palms[:, :, 0]))
        values = [local.flatten(2), motions.flatten(2), torch.where(both[..., None], between, 0)]
        valid = [
            local_valid[..., None].expand_as(local).flatten(2),
            motion_valid[..., None].expand_as(motions).flatten(2),
            both[..., None].expand_as(between),
        ]
        return TwoHandFeatures(torch.cat(values, -1), torch.cat(valid, -1), palms, palm_valid, origin)

    def fit_palms(self, joints: Tensor, joints_valid: Tensor) -> tuple[Tensor, Tensor]:
        """Fits the palm of each hand.

        Args:
            joints: (B, T, 2, J, 3), metres.
            joints_valid: (B, T, 2, J) bool.

        Returns:
            Palms (B, T, 2, 4, 4), the identity where there are too few joints, and where there are enough (B, T, 2).
        """
        points, weights = joints[..., PALM_JOINTS, :], joints_valid[..., PALM_JOINTS]
        valid = weights.sum(-1) >= _LEAST_PALM_JOINTS
        # Points of missing hands are replaced, since a singular value decomposition refuses NaN.
        template = self.template.to(points.dtype).expand_as(points)
        palms = fit_rigid(template, torch.where(weights[..., None], points, 0), weights)
        identity = torch.eye(4, dtype=palms.dtype, device=palms.device)
        return torch.where(valid[..., None, None], palms, identity), valid

    def local_joints(self, values: Tensor) -> Tensor:
        """The joints in the frames of the palms.

        Args:
            values: (B, T, 147).

        Returns:
            (B, T, 2, N, 3), metres.
        """
        return values[..., _JOINTS].unflatten(-1, (2, len(KEPT_JOINTS), 3))

    def accumulate(self, values: Tensor) -> Tensor:
        """Composes palm motions (Eq. 3), in float32 at least.

        Args:
            values: (B, T, 147).

        Returns:
            (B, T, 2, 4, 4): the motion of each palm from the frame before the first up to each frame.
        """
        motions = rigid_from_9d(at_least_float32(values[..., _MOTIONS]).unflatten(-1, (2, 9)))
        return accumulate_motions(motions.transpose(1, 2), self.motion_frame).transpose(1, 2)

    def between_palms(self, palms: Tensor, start: Tensor, origin: Tensor) -> Tensor:
        """The motion of each palm from a start pose to every frame: what `accumulate` gives for true motions.

        Args:
            palms: (B, T, 2, 4, 4).
            start: (B, 2, 4, 4).
            origin: (B, 2, 3).

        Returns:
            (B, T, 2, 4, 4).
        """
        palms, start = self._about(palms, origin[:, None]), self._about(start, origin)[:, None]
        if self.motion_frame == 'world':
            return compose_rigid(palms, invert_rigid(start))
        return compose_rigid(invert_rigid(start), palms)

    def move_palms(self, values: Tensor, start: Tensor, origin: Tensor) -> Tensor:
        """Moves palms by the motions of a clip.

        Args:
            values: (B, T, 147).
            start: (B, 2, 4, 4), the palms in the frame before the first.
            origin: (B, 2, 3), that of the features.

        Returns:
            (B, T, 2, 4, 4).
        """
        motions = self.accumulate(values).transpose(1, 2).to(start.dtype)
        moved = apply_motions(motions, self._about(start, origin), self.motion_frame).transpose(1, 2)
        return self._about(moved, -origin[:, None])

    def to_joints(self, values: Tensor, palms: Tensor, thumb_base: Tensor | None = None) -> Tensor:
        """Converts features to joints.

        Args:
            values: (B, T, 147).
            palms: (B, T, 2, 4, 4), as `move_palms` gives.
            thumb_base: (B, 2, 3), the base of the thumb in the frame of each palm; None leaves it at the palm's centre.

        Returns:
            (B, T, 2, J, 3), metres.
        """
        local = self.local_joints(values)
        base = local.new_zeros(local.shape[0], 1, 2, 1, 3) if thumb_base is None else thumb_base[:, None, :, None]
        base = base.to(local.dtype).expand(-1, local.shape[1], -1, -1, -1)
        every = torch.cat([local[..., :THUMB_BASE, :], base, local[..., THUMB_BASE:, :]], -2)
        return transform_points(every, palms)

    def _about(self, palms: Tensor, origin: Tensor) -> Tensor:
        """Palms in axes whose origin is `origin`; motions in the palm's own frame need no such shift."""
        if self.motion_frame == 'local':
            return palms
        shift = torch.zeros_like(palms)
        shift[..., :3, 3] = origin
        return palms - shift

    def _motions(self, palms: Tensor, palm_valid: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
        """Palm motions (B, T, 2, 9), zero where unknown, and where they are known (B, T, 2)."""
        poses = self._about(palms, origin[:, None]).transpose(1, 2)  # (B, 2, T, 4, 4)
        steps = rigid_to_9d(relative_motions(poses, self.motion_frame)).transpose(1, 2)
        known = palm_valid[:, 1:] & palm_valid[:, :-1]
        steps = torch.where(known[..., None], steps, 0)
        first = steps.new_zeros(steps.shape[0], 1, *palm_valid.shape[2:], 9)
        return torch.cat([first, steps], 1), torch.cat([torch.zeros_like(palm_valid[:, :1]), known], 1)


def _first_place(palms: Tensor, palm_valid: Tensor) -> Tensor:
    """Where each palm is in the first frame that has it (B, 2, 3); zero for a hand that no frame has."""
    first = palm_valid.int().argmax(1)  # (B, 2)
    places = palms[..., :3, 3].gather(1, first[:, None, :, None].expand(-1, 1, -1, 3))[:, 0]
    return torch.where(palm_valid.any(1)[..., None], places, 0)
