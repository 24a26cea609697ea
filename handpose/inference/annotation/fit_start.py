"""Where the fit of a hand model starts: passages of a recording with a hand, and its pose from triangulated joints.

Legend: T frames of the recording, N of a part of it, 21 joints in the common order.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from handpose.geometry.rotations import rotvec_to_rotmat
from handpose.hands.fit import SkeletonPose, fit_hand
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import Side
from handpose.inference.annotation.fit_skeleton import NUM_SHAPES, FitSkeleton

MIN_ANCHOR_JOINTS = 8
"""Triangulated joints that a frame needs for the fit to start in it."""
_MEDIAN_FRAMES = 5  # of finger angles at the start
_CHUNK = 500  # frames that are started at a time
_STEPS = 12


def find_segments(times: NDArray[np.float64], seen: NDArray[np.bool_], longest_gap: float) -> list[slice]:
    """Finds passages in which a hand is never gone for long.

    Args:
        times: (T,) seconds.
        seen: (T,) frames with the hand.
        longest_gap: seconds from one of these frames to the next, beyond which another passage begins.

    Returns:
        Slices of frames, each from the first to the last one with the hand.
    """
    frames = np.flatnonzero(seen)
    if not len(frames):
        return []
    parts = np.split(frames, np.flatnonzero(np.diff(times[frames]) > longest_gap) + 1)
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def start_pose(
    skeleton: FitSkeleton,
    joints: Tensor,
    known: Tensor,
    shared: Tensor | None,
    times: NDArray[np.float64] | None,
) -> SkeletonPose:
    """Poses a skeleton by triangulated joints.

    Args:
        skeleton: of the hand.
        joints: (N, 21, 3) metres, mirrored if it is a left hand.
        known: (N, 21) bool.
        shared: (S,) shared parameters; None fits the shape too.
        times: (N,) seconds, of consecutive frames; frames with too few joints are interpolated. None means that there
            is no such frame.

    Returns:
        Rotation, position and angles in all N frames, and (S,) shared parameters.
    """
    model, right = ProceduralHand(), Side.RIGHT
    anchors = np.flatnonzero((known.sum(1) >= MIN_ANCHOR_JOINTS).numpy())
    shape = None if shared is None else shared[:NUM_SHAPES]
    fits = [
        fit_hand(model, joints[part], known[part], right, max_steps=_STEPS, hand_shape=shape)
        for part in np.array_split(anchors, -(-len(anchors) // _CHUNK))
    ]
    poses = torch.cat([fit.hand_pose for fit in fits])
    rotation, position = rotvec_to_rotmat(poses[:, 0]), torch.cat([fit.joints[:, 0] for fit in fits])
    reader = FitSkeleton(model, right, own_joints=False)
    angles = reader.angles(poses)
    if shared is None:
        shared = torch.zeros(skeleton.num_shared, dtype=torch.float64)
        shared[:NUM_SHAPES] = fits[0].hand_shape if isinstance(skeleton.model, ProceduralHand) else 0.0
    if times is None:
        return SkeletonPose(rotation, position, angles, shared)
    smooth = median_filter(angles.numpy(), size=(_MEDIAN_FRAMES, 1, 1, 1), mode='nearest')
    return _interpolated(times, anchors, rotation, position, smooth, shared)


def _interpolated(
    times: NDArray[np.float64],
    anchors: NDArray[np.int64],
    rotation: Tensor,
    position: Tensor,
    angles: NDArray[np.float64],
    shared: Tensor,
) -> SkeletonPose:
    """The pose in all frames, between those of the anchors and as in the nearest one before and after them."""
    known = times[anchors]
    at = np.clip(times, known[0], known[-1])
    if len(anchors) == 1:
        matrices = np.repeat(rotation.numpy(), len(times), 0)
    else:
        matrices = Slerp(known, Rotation.from_matrix(rotation.numpy()))(at).as_matrix()
    flat = np.concatenate([position.numpy(), angles.reshape(len(angles), -1)], 1)
    values = torch.from_numpy(np.stack([np.interp(at, known, column) for column in flat.T], 1))
    return SkeletonPose(
        torch.from_numpy(matrices), values[:, :3].contiguous(), values[:, 3:].unflatten(1, (5, 3, 3)), shared
    )
