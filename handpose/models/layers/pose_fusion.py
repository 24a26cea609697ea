"""Dynamic fusion of hand poses: every frame's prediction is carried to every other frame, then they vote.

Deformer, section 3.1, Eq. 2 and 3. The printed backward sum of Eq. 2 is off by one: it starts at the motion
that leaves the target and misses the one that leaves the source. The sums below are the corrected ones, and
ground-truth motions reproduce every frame.

A pose is a vector of D numbers: 16 rotations, as 6D vectors (D = 96) or rotation vectors (D = 48). What a motion
is depends on the rotation space:

- 'rot6d_add': a difference of 6D vectors, added (the published code);
- 'rotvec_add': a difference of rotation vectors, added (the paper's theta);
- 'so3_compose': a rotation, as 6D, multiplied from the right: `R(t+1) = R(t) M(t)`. A motion is then written in
  the joint's own axes, so that turning the camera leaves it unchanged.

Legend: B batch, T frames, i source frame, j target frame, D numbers of a pose.
"""

import torch

from handpose.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d, rotmat_to_rotvec, rotvec_to_rotmat
from handpose.models.layers.precision import without_autocast

ROTATION_SPACES = ('rot6d_add', 'rotvec_add', 'so3_compose')


def pose_to_rotmat(pose: torch.Tensor, rotation_space: str = 'rot6d_add') -> torch.Tensor:
    """(..., D) -> (..., 16, 3, 3); float32 at least."""
    check_rotation_space(rotation_space)
    pose = _full(pose)
    if rotation_space == 'rotvec_add':
        return rotvec_to_rotmat(pose.unflatten(-1, (-1, 3)))
    return rot6d_to_rotmat(pose.unflatten(-1, (-1, 6)))


def rotmat_to_pose(rotmat: torch.Tensor, rotation_space: str = 'rot6d_add') -> torch.Tensor:
    """(..., 16, 3, 3) -> (..., D)."""
    check_rotation_space(rotation_space)
    rotation = rotmat_to_rotvec(rotmat) if rotation_space == 'rotvec_add' else rotmat_to_rot6d(rotmat)
    return rotation.flatten(-2)


def apply_motion(pose: torch.Tensor, motion: torch.Tensor, rotation_space: str = 'rot6d_add') -> torch.Tensor:
    """The pose one step later (or earlier): (..., D), (..., D) -> (..., D); float32 at least."""
    check_rotation_space(rotation_space)
    pose, motion = _full(pose), _full(motion)
    if rotation_space != 'so3_compose':
        return pose + motion
    with without_autocast(pose):
        rotmat = pose_to_rotmat(pose, rotation_space) @ pose_to_rotmat(motion, rotation_space)
    return rotmat_to_pose(rotmat, rotation_space)


def mirror_poses(pose: torch.Tensor, rotation_space: str = 'rot6d_add') -> torch.Tensor:
    """The poses, or the motions, of the hand seen in a mirror (x negated): (..., D) -> (..., D).

    A rotation R becomes M R M with M = diag(-1, 1, 1), which in every rotation space only changes signs.
    """
    check_rotation_space(rotation_space)
    signs = (1, -1, -1) if rotation_space == 'rotvec_add' else (1, -1, -1, -1, 1, 1)
    return pose * pose.new_tensor(signs).repeat(pose.shape[-1] // len(signs))


def deform_poses(
    pose: torch.Tensor,
    forward_motion: torch.Tensor,
    backward_motion: torch.Tensor,
    rotation_space: str = 'rot6d_add',
) -> torch.Tensor:
    """Carries the pose of every source frame to every target frame (Deformer Eq. 2, corrected).

    `forward_motion[:, t]` leads from t to t + 1 and `backward_motion[:, t]` from t to t - 1; the last forward
    and the first backward motion are never used. Runs in float32 at least, under autocast too.

    Args:
        pose, forward_motion, backward_motion: (B, T, D).
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (B, T, T, D); `[:, i, j]` is frame i's pose carried to frame j, and `[:, i, i]` is its own (in
        'so3_compose' with its 6D vectors made orthonormal).

    Raises:
        ValueError: shapes that differ, or an unknown rotation space.
    """
    check_rotation_space(rotation_space)
    if not pose.shape == forward_motion.shape == backward_motion.shape or pose.ndim != 3:
        shapes = ', '.join(str(tuple(x.shape)) for x in (pose, forward_motion, backward_motion))
        raise ValueError(f'pose, forward and backward motion must share one shape (B, T, D), got {shapes}')
    pose, forward_motion, backward_motion = _full(pose), _full(forward_motion), _full(backward_motion)
    with without_autocast(pose):
        if rotation_space == 'so3_compose':
            return _deform_by_rotation(pose, forward_motion, backward_motion)
        return _deform_by_sum(pose, forward_motion, backward_motion)


def _deform_by_sum(pose, forward_motion, backward_motion):
    # ahead[j] sums the forward motions before j, behind[i] the backward motions from 1 to i.
    ahead = torch.cat([torch.zeros_like(pose[:, :1]), forward_motion[:, :-1].cumsum(1)], dim=1)
    behind = torch.cat([torch.zeros_like(pose[:, :1]), backward_motion[:, 1:].cumsum(1)], dim=1)
    forward = ahead[:, None] - ahead[:, :, None]
    backward = behind[:, :, None] - behind[:, None]
    return pose[:, :, None] + torch.where(_is_later(pose.shape[1], pose.device)[..., None], forward, backward)


def _deform_by_rotation(pose, forward_motion, backward_motion):
    rotation, forward, backward = (
        pose_to_rotmat(x, 'so3_compose') for x in (pose, forward_motion, backward_motion)
    )  # (B, T, 16, 3, 3)
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device).expand_as(rotation[:, 0])
    ahead, behind = [identity], [identity]
    for t in range(1, pose.shape[1]):
        ahead.append(ahead[-1] @ forward[:, t - 1])
        behind.append(backward[:, t] @ behind[-1])
    ahead, behind = torch.stack(ahead, dim=1), torch.stack(behind, dim=1)
    # Products from i to j: what leads from 0 to i is undone, then what leads from 0 to j is done.
    later = ahead.transpose(-1, -2)[:, :, None] @ ahead[:, None]
    earlier = behind[:, :, None] @ behind.transpose(-1, -2)[:, None]
    step = torch.where(_is_later(pose.shape[1], pose.device)[..., None, None, None], later, earlier)
    return rotmat_to_pose(rotation[:, :, None] @ step, 'so3_compose')


def fusion_weights(
    confidence: torch.Tensor,
    frame_valid: torch.Tensor | None = None,
    distance_discount: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """How much each source frame counts in each target frame: softmax of the confidences (Deformer Eq. 3).

    Args:
        confidence: (B, T), any real number.
        frame_valid: (B, T) bool; padding has no vote. A clip without valid frames lets all of them vote.
        distance_discount: takes this much confidence off per frame of distance between source and target.

    Returns:
        (B, T, T), `[:, i, j]` the vote of source i in target j; sums to 1 over i; float32 at least.
    """
    logits = _full(confidence)[:, :, None].expand(-1, -1, confidence.shape[1])
    if distance_discount is not None:
        frame = torch.arange(confidence.shape[1], device=confidence.device)
        logits = logits - distance_discount * (frame[:, None] - frame).abs()
    if frame_valid is not None:
        votes = frame_valid | ~frame_valid.any(dim=1, keepdim=True)
        logits = logits.masked_fill(~votes[:, :, None], -torch.inf)
    return logits.softmax(dim=1)


def fuse_deformed_poses(
    pose: torch.Tensor,
    forward_motion: torch.Tensor,
    backward_motion: torch.Tensor,
    confidence: torch.Tensor,
    frame_valid: torch.Tensor | None = None,
    rotation_space: str = 'rot6d_add',
    distance_discount: torch.Tensor | float | None = None,
) -> torch.Tensor:
    """The fused pose of every frame: all frames carried there, weighted by confidence (Deformer Eq. 3).

    In 'so3_compose' the weighted mean is taken of the first two matrix columns and made a rotation by
    Gram-Schmidt. It agrees with the chordal mean to first order in the spread of the votes, and its gradient stays
    finite when all votes agree, where that of a singular value decomposition does not.

    Args:
        pose, forward_motion, backward_motion: (B, T, D).
        confidence: (B, T).
        frame_valid: (B, T) bool; padding has no vote, but as a target it gets a pose too.
        rotation_space: one of `ROTATION_SPACES`.
        distance_discount: see `fusion_weights`.

    Returns:
        (B, T, D); float32 at least.
    """
    deformed = deform_poses(pose, forward_motion, backward_motion, rotation_space)
    return average_poses(deformed, fusion_weights(confidence, frame_valid, distance_discount), rotation_space)


def average_poses(deformed: torch.Tensor, weights: torch.Tensor, rotation_space: str = 'rot6d_add') -> torch.Tensor:
    """Weighted mean over source frames: (B, T, T, D), (B, T, T) -> (B, T, D). See `fuse_deformed_poses`."""
    fused = (weights[..., None] * deformed).sum(dim=1)
    if rotation_space != 'so3_compose':
        return fused
    return rotmat_to_pose(pose_to_rotmat(fused, rotation_space), rotation_space)


def identity_pose(rotation_space: str = 'rot6d_add', num_rotations: int = 16) -> torch.Tensor:
    """The pose without any rotation: (D,)."""
    check_rotation_space(rotation_space)
    if rotation_space == 'rotvec_add':
        return torch.zeros(3 * num_rotations)
    return torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(num_rotations)


def check_rotation_space(rotation_space: str) -> None:
    """Raises ValueError unless `rotation_space` is one of `ROTATION_SPACES`."""
    if rotation_space not in ROTATION_SPACES:
        raise ValueError(f'rotation_space must be one of {", ".join(ROTATION_SPACES)}, got {rotation_space!r}')


def _full(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _is_later(num_frames, device):
    """(T, T) bool: target j is not before source i."""
    frame = torch.arange(num_frames, device=device)
    return frame >= frame[:, None]
