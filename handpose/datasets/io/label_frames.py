"""Changes that readers make to the labels of a clip: padding, coordinate frames, frames without a label.

Legend: T frames, H hands, K cameras.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from handpose.geometry.rigid import transform_points
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.structures import HandSequence

MASKS = ('hand_valid', 'joints_valid', 'joints_2d_valid', 'hand_pose_valid')


def nearest_valid(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each of T frames the nearest valid one; the earlier of two equally near.

    Args:
        valid: (T,), True at least once.

    Returns:
        (T,) frame numbers.
    """
    frames = np.flatnonzero(valid)
    return frames[np.abs(np.arange(len(valid))[:, None] - frames).argmin(1)]


def mark_padding(sample: HandSequence, valid: Tensor) -> HandSequence:
    """Makes frames invalid in every mask.

    Args:
        sample: a clip.
        valid: (T,) bool, False for padding.

    Returns:
        the clip; frames that were invalid stay so.
    """
    if sample.frame_valid is not None:
        valid = valid & sample.frame_valid
    masks = {name: value for name, value in sample.present().items() if name in MASKS}
    masks = {name: value & valid.reshape(-1, *[1] * (value.ndim - 1)) for name, value in masks.items()}
    return sample.replace(frame_valid=valid, **masks)


def to_world(sample: HandSequence, camera_to_world: ArrayLike, rest_wrist: Tensor | None = None) -> HandSequence:
    """Moves the 3D labels of a clip from the frame of camera 0 to the world.

    Args:
        sample: a clip with `frame='camera'` and `extrinsics`.
        camera_to_world: (4, 4) of camera 0.
        rest_wrist: (1, 3) float64, the hand model's wrist at rest; None takes it from the labels, for data whose joints
            are the model's own.

    Returns:
        the clip with `frame='world'`; `extrinsics` map the world to each camera.
    """
    matrix = torch.as_tensor(camera_to_world, dtype=torch.float64)
    assert sample.joints_3d is not None and sample.extrinsics is not None
    joints = sample.joints_3d.double()
    changes = {'joints_3d': transform_points(joints, matrix).float()}
    if sample.hand_pose is not None and sample.hand_transl is not None:
        pose = sample.hand_pose.clone()
        pose[:, :, 0] = rotmat_to_rotvec(matrix[:3, :3] @ rotvec_to_rotmat(pose[:, :, 0].double())).float()
        # The model turns about its own wrist, so its translation follows the wrist, not the origin.
        transl = sample.hand_transl.double()
        offset = joints[:, :, 0] - transl if rest_wrist is None else rest_wrist
        changes |= {'hand_pose': pose, 'hand_transl': (transform_points(transl + offset, matrix) - offset).float()}
    inverse = torch.linalg.inv(matrix)
    extrinsics = inverse.float().expand_as(sample.extrinsics).clone()
    extrinsics[:, 1:] = (sample.extrinsics[:, 1:].double() @ inverse).float()
    return sample.replace(frame='world', extrinsics=extrinsics, **changes)
