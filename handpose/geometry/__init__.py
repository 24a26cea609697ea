"""Rotations, rigid motions, pinhole cameras, alignment and boxes: batched, differentiable functions on tensors."""

from handpose.geometry.alignment import procrustes_align
from handpose.geometry.boxes import (
    box_iou,
    boxes_from_points,
    boxes_intersect,
    clip_boxes,
    scale_boxes,
    square_boxes,
    union_boxes,
)
from handpose.geometry.camera import (
    apply_affine,
    crop_affine,
    crop_camera,
    look_at,
    project_points,
    rotate_about_optical_axis,
    transform_intrinsics,
    unproject_points,
)
from handpose.geometry.rigid import compose_rigid, invert_rigid, make_rigid, transform_points
from handpose.geometry.rotations import (
    geodesic_distance,
    quat_to_rotmat,
    quat_to_rotvec,
    rot6d_to_rotmat,
    rotmat_to_quat,
    rotmat_to_rot6d,
    rotmat_to_rotvec,
    rotvec_to_quat,
    rotvec_to_rotmat,
    small_matmul,
)

__all__ = [
    'apply_affine',
    'box_iou',
    'boxes_from_points',
    'boxes_intersect',
    'clip_boxes',
    'compose_rigid',
    'crop_affine',
    'crop_camera',
    'geodesic_distance',
    'invert_rigid',
    'look_at',
    'make_rigid',
    'procrustes_align',
    'project_points',
    'quat_to_rotmat',
    'quat_to_rotvec',
    'rot6d_to_rotmat',
    'rotate_about_optical_axis',
    'rotmat_to_quat',
    'rotmat_to_rot6d',
    'rotmat_to_rotvec',
    'rotvec_to_quat',
    'rotvec_to_rotmat',
    'scale_boxes',
    'small_matmul',
    'square_boxes',
    'transform_intrinsics',
    'transform_points',
    'union_boxes',
    'unproject_points',
]
