"""How labels follow a change of the images: an affine map of the pixels, or a rotation of the cameras."""

import torch
from torch import Tensor

from handpose.geometry.camera import apply_affine
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.geometry.warp import transform_boxes
from handpose.structures import HandSequence, SequenceError


def warp_labels(sample: HandSequence, affine: Tensor) -> dict[str, Tensor]:
    """Maps the 2D labels of a clip.

    Args:
        sample: the clip.
        affine: (T, K, 2, 3), pixels of each image to pixels of the new one.

    Returns:
        {name: value} of the new 2D joints and boxes of hands and object, those that the clip has.
    """
    changes = {}
    if sample.boxes is not None:
        changes['boxes'] = transform_boxes(sample.boxes, affine[:, :, None])
    if sample.joints_2d is not None:
        changes['joints_2d'] = apply_affine(sample.joints_2d, affine[:, :, None])
    if sample.object_boxes is not None:
        changes['object_boxes'] = transform_boxes(sample.object_boxes, affine)
    return changes


def rotate_cameras(sample: HandSequence, rotation: Tensor) -> HandSequence:
    """Rotates every camera of a clip by the same rotation, for example about its optical axis.

    A point X of camera k is `rotation @ X` afterwards. In the 'world' frame the extrinsics E follow, `rotation E`. In
    the frame of camera 0, 3D labels and hand parameters rotate, and E, from camera 0 to camera k, is
    `rotation E rotation^-1`.

    Args:
        sample: the clip.
        rotation: (3, 3).

    Returns:
        The clip with other 3D labels or extrinsics; its images and 2D labels are not changed.

    Raises:
        SequenceError: the clip has a future, which would not be rotated with it.
    """
    if sample.future is not None:
        raise SequenceError(
            'cameras were to be rotated under a clip whose future is split off already; place SplitFuture after the '
            'transform that rotates'
        )
    rigid = torch.eye(4)
    rigid[:3, :3] = rotation
    if sample.frame == 'world':
        return sample.replace(extrinsics=rigid @ sample.extrinsics)
    changes = {}
    if sample.extrinsics is not None:
        changes['extrinsics'] = rigid @ sample.extrinsics @ rigid.T
    for name, points in (('joints_3d', sample.joints_3d), ('input_joints_3d', sample.input_joints_3d)):
        if points is not None:
            changes[name] = points @ rotation.T
    if sample.hand_pose is not None:
        pose = sample.hand_pose.clone()
        pose[:, :, 0] = rotmat_to_rotvec(rotation @ rotvec_to_rotmat(pose[:, :, 0]))
        changes['hand_pose'] = pose
    if sample.hand_transl is not None:
        # A hand model rotates about its wrist at rest: the translation is the wrist minus that unchanged point.
        wrist = sample.joints_3d[:, :, 0]
        changes['hand_transl'] = wrist @ rotation.T - (wrist - sample.hand_transl)
    return sample.replace(**changes)
