"""Dynamic fusion of hand poses: the prediction of every frame is carried to every other frame and averaged there.

Deformer, section 3.1, Eq. 2 and 3. The printed backward sum of Eq. 2 is off by one: it starts at the motion
that leaves the target and misses the one that leaves the source. The sums below are the corrected ones, and
ground-truth motions reproduce every frame.

A pose is a vector of D numbers: 16 rotations, as 6D vectors (D = 96) or rotation vectors (D = 48). What a motion
is depends on the rotation space:

- 'rot6d_add': a difference of 6D vectors, added (the published code);
- 'rotvec_add': a difference of rotation vectors, added (the paper's theta);
- 'so3_compose': a rotation, as 6D, multiplied from the right: `R(t+1) = R(t) M(t)`. A motion is then expressed in
  the joint's own axes, so that rotating the camera leaves it unchanged.

Legend: B batch, T frames, i source frame, j target frame, D numbers of a pose.
"""

import torch
from torch import Tensor

from handpose.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d, rotmat_to_rotvec, rotvec_to_rotmat
from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.precision import at_least_float32, without_autocast

ROTATION_SPACES = ('rot6d_add', 'rotvec_add', 'so3_compose')
"""How a motion moves a rotation: sums of 6D vectors or of rotation vectors, or products of rotations."""


def pose_to_rotmat(pose: Tensor, rotation_space: str = 'rot6d_add') -> Tensor:
    """Converts a pose to rotation matrices.

    Args:
        pose: (..., D).
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (..., 16, 3, 3), float32 at least.
    """
    check_rotation_space(rotation_space)
    pose = at_least_float32(pose)
    if rotation_space == 'rotvec_add':
        return rotvec_to_rotmat(pose.unflatten(-1, (-1, 3)))
    return rot6d_to_rotmat(pose.unflatten(-1, (-1, 6)))


def rotmat_to_pose(rotmat: Tensor, rotation_space: str = 'rot6d_add') -> Tensor:
    """Converts rotation matrices to a pose.

    Args:
        rotmat: (..., 16, 3, 3).
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (..., D).
    """
    check_rotation_space(rotation_space)
    rotation = rotmat_to_rotvec(rotmat) if rotation_space == 'rotvec_add' else rotmat_to_rot6d(rotmat)
    return rotation.flatten(-2)


def apply_motion(pose: Tensor, motion: Tensor, rotation_space: str = 'rot6d_add') -> Tensor:
    """The pose one step later, or earlier.

    Args:
        pose: (..., D).
        motion: (..., D), to the next or to the previous frame.
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (..., D), float32 at least.
    """
    check_rotation_space(rotation_space)
    pose, motion = at_least_float32(pose), at_least_float32(motion)
    if rotation_space != 'so3_compose':
        return pose + motion
    with without_autocast(pose):
        rotmat = pose_to_rotmat(pose, rotation_space) @ pose_to_rotmat(motion, rotation_space)
    return rotmat_to_pose(rotmat, rotation_space)


def mirror_poses(pose: Tensor, rotation_space: str = 'rot6d_add') -> Tensor:
    """The poses, or the motions, of the mirrored hand (x negated).

    A rotation R becomes M R M with M = diag(-1, 1, 1), which in every rotation space only changes signs.

    Args:
        pose: (..., D).
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (..., D).
    """
    check_rotation_space(rotation_space)
    signs = (1, -1, -1) if rotation_space == 'rotvec_add' else (1, -1, -1, -1, 1, 1)
    return pose * pose.new_tensor(signs).repeat(pose.shape[-1] // len(signs))


def deform_poses(
    pose: Tensor,
    forward_motion: Tensor,
    backward_motion: Tensor,
    rotation_space: str = 'rot6d_add',
) -> Tensor:
    """Carries the pose of every source frame to every target frame (Deformer Eq. 2, corrected).

    `forward_motion[:, t]` leads from t to t + 1 and `backward_motion[:, t]` from t to t - 1; the last forward
    and the first backward motion are never used. Runs in float32 at least, under autocast too.

    Args:
        pose: (B, T, D).
        forward_motion: (B, T, D).
        backward_motion: (B, T, D).
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
    pose, forward_motion, backward_motion = (at_least_float32(x) for x in (pose, forward_motion, backward_motion))
    with without_autocast(pose):
        if rotation_space == 'so3_compose':
            return _deform_by_rotation(pose, forward_motion, backward_motion)
        return _deform_by_sum(pose, forward_motion, backward_motion)


def _deform_by_sum(pose: Tensor, forward_motion: Tensor, backward_motion: Tensor) -> Tensor:
    # ahead[j] sums the forward motions before j, behind[i] the backward motions from 1 to i.
    ahead = torch.cat([torch.zeros_like(pose[:, :1]), forward_motion[:, :-1].cumsum(1)], dim=1)
    behind = torch.cat([torch.zeros_like(pose[:, :1]), backward_motion[:, 1:].cumsum(1)], dim=1)
    forward = ahead[:, None] - ahead[:, :, None]
    backward = behind[:, :, None] - behind[:, None]
    return pose[:, :, None] + torch.where(_is_not_before(pose.shape[1], pose.device)[..., None], forward, backward)


def _deform_by_rotation(pose: Tensor, forward_motion: Tensor, backward_motion: Tensor) -> Tensor:
    rotation, forward, backward = (
        pose_to_rotmat(x, 'so3_compose') for x in (pose, forward_motion, backward_motion)
    )  # (B, T, 16, 3, 3)
    identity = torch.eye(3, dtype=pose.dtype, device=pose.device).expand_as(rotation[:, 0])
    products_ahead, products_behind = [identity], [identity]
    for t in range(1, pose.shape[1]):
        products_ahead.append(products_ahead[-1] @ forward[:, t - 1])
        products_behind.append(backward[:, t] @ products_behind[-1])
    ahead, behind = torch.stack(products_ahead, dim=1), torch.stack(products_behind, dim=1)
    # Products from i to j: what leads from 0 to i is undone, then what leads from 0 to j is done.
    later = ahead.transpose(-1, -2)[:, :, None] @ ahead[:, None]
    earlier = behind[:, :, None] @ behind.transpose(-1, -2)[:, None]
    step = torch.where(_is_not_before(pose.shape[1], pose.device)[..., None, None, None], later, earlier)
    return rotmat_to_pose(rotation[:, :, None] @ step, 'so3_compose')


def fusion_weights(
    confidence: Tensor,
    frame_valid: Tensor | None = None,
    distance_discount: Tensor | float | None = None,
) -> Tensor:
    """The weight of each source frame in each target frame: softmax of the confidences (Deformer Eq. 3).

    Args:
        confidence: (B, T), any real number.
        frame_valid: (B, T) bool; padding has weight 0. In a clip without valid frames all frames count.
        distance_discount: subtracted from the confidence for each frame of distance between source and target.

    Returns:
        (B, T, T), `[:, i, j]` the weight of source i in target j; sums to 1 over i; float32 at least.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes that do not fit.
    """
    check_features('confidence', confidence, 'B T')
    check_mask('frame_valid', frame_valid, confidence.shape, 'B T')
    logits = at_least_float32(confidence)[:, :, None].expand(-1, -1, confidence.shape[1])
    if distance_discount is not None:
        frame = torch.arange(confidence.shape[1], device=confidence.device)
        logits = logits - distance_discount * (frame[:, None] - frame).abs()
    if frame_valid is not None:
        counted = frame_valid | ~frame_valid.any(dim=1, keepdim=True)
        logits = logits.masked_fill(~counted[:, :, None], -torch.inf)
    return logits.softmax(dim=1)


def fuse_deformed_poses(
    pose: Tensor,
    forward_motion: Tensor,
    backward_motion: Tensor,
    confidence: Tensor,
    frame_valid: Tensor | None = None,
    rotation_space: str = 'rot6d_add',
    distance_discount: Tensor | float | None = None,
) -> Tensor:
    """The fused pose of every frame: all frames carried there, weighted by confidence (Deformer Eq. 3).

    In 'so3_compose' the weighted mean is taken of the first two matrix columns and made a rotation by
    Gram-Schmidt. It agrees with the chordal mean to first order in the spread of the poses, and its gradient stays
    finite when all poses agree, where that of a singular value decomposition does not.

    Args:
        pose: (B, T, D).
        forward_motion: (B, T, D), see `deform_poses`.
        backward_motion: (B, T, D).
        confidence: (B, T).
        frame_valid: (B, T) bool; padding has weight 0, but as a target it gets a pose too.
        rotation_space: one of `ROTATION_SPACES`.
        distance_discount: see `fusion_weights`.

    Returns:
        (B, T, D); float32 at least.

    Raises:
        TypeError: the mask is not bool.
        ValueError: shapes that do not fit, or an unknown rotation space.
    """
    deformed = deform_poses(pose, forward_motion, backward_motion, rotation_space)
    return average_poses(deformed, fusion_weights(confidence, frame_valid, distance_discount), rotation_space)


def average_poses(deformed: Tensor, weights: Tensor, rotation_space: str = 'rot6d_add') -> Tensor:
    """Weighted mean over source frames, see `fuse_deformed_poses`.

    Args:
        deformed: (B, T, T, D), from `deform_poses`.
        weights: (B, T, T), from `fusion_weights`.
        rotation_space: one of `ROTATION_SPACES`.

    Returns:
        (B, T, D).
    """
    fused = (weights[..., None] * deformed).sum(dim=1)
    if rotation_space != 'so3_compose':
        return fused
    return rotmat_to_pose(pose_to_rotmat(fused, rotation_space), rotation_space)


def identity_pose(rotation_space: str = 'rot6d_add', num_rotations: int = 16) -> Tensor:
    """The pose whose rotations are all the identity.

    Args:
        rotation_space: one of `ROTATION_SPACES`.
        num_rotations: number of rotations in the pose.

    Returns:
        (D,).
    """
    check_rotation_space(rotation_space)
    if rotation_space == 'rotvec_add':
        return torch.zeros(3 * num_rotations)
    return torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(num_rotations)


def check_rotation_space(rotation_space: str) -> None:
    """Raises ValueError unless `rotation_space` is one of `ROTATION_SPACES`."""
    check_option('rotation_space', rotation_space, ROTATION_SPACES)


def _is_not_before(num_frames: int, device: torch.device) -> Tensor:
    """(T, T) bool: target j is not before source i."""
    frame = torch.arange(num_frames, device=device)
    return frame >= frame[:, None]
