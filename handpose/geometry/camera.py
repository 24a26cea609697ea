"""Pinhole cameras: projection, crops that keep the intrinsics true, and viewpoints.

Batched over leading dims `...` (they broadcast), differentiable. Metres, pixels, radians. Camera axes are OpenCV's:
x right, y down, z forward. Pixel centres lie at integer coordinates, so an image w pixels wide spans -0.5 to w - 0.5;
points and box edges are numbers on that axis.
Intrinsics (..., 3, 3) end in the row (0, 0, 1); their upper left 2x2 block may be any invertible one (skew, a turned
crop).
"""

import torch

from handpose.geometry.rigid import make_rigid, transform_points
from handpose.geometry.rotations import small_matmul

# Metres. A point in the camera's own plane has no image; this keeps its numbers finite (padding is often all zeros).
_NEAREST_DEPTH = 1e-6


def project_points(points, intrinsics, extrinsics=None):
    """Projects points (..., N, 3), metres, to pixels (..., N, 2).

    Args:
        points: in the camera frame, or in the frame that `extrinsics` maps from.
        intrinsics: (..., 3, 3).
        extrinsics: (..., 4, 4) to the camera frame, or None.

    Points behind the camera give pixels too (mirrored ones): mask them by their depth.
    """
    if extrinsics is not None:
        points = transform_points(points, extrinsics)
    depth = points[..., 2:]
    depth = torch.where(depth.abs() < _NEAREST_DEPTH, torch.full_like(depth, _NEAREST_DEPTH), depth)
    return apply_affine(points[..., :2] / depth, intrinsics[..., :2, :])


def unproject_points(uv, depth, intrinsics):
    """Lifts pixels (..., N, 2) with depths z (..., N), metres, to camera-frame points (..., N, 3)."""
    (a, b), (c, d) = (row.unbind(-1) for row in intrinsics[..., :2, :2].unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse = adjugate / (a * d - b * c)[..., None, None]
    xy = small_matmul(uv - intrinsics[..., None, :2, 2], inverse.transpose(-1, -2))
    xy, depth = torch.broadcast_tensors(xy, depth.unsqueeze(-1))
    return torch.cat([xy * depth, depth[..., :1]], -1)


def apply_affine(points, affine):
    """Maps 2D points (..., N, 2) by affine matrices (..., 2, 3)."""
    return small_matmul(points, affine[..., :2].transpose(-1, -2)) + affine[..., None, :, 2]


def crop_affine(boxes, size, angle=0.0):
    """Returns the pixel affine (..., 2, 3) from an image to the crop of a box, turned about the box's centre.

    The edges of the turned box become the edges of the crop: with angle 0, x1 goes to -0.5 and x2 to w - 0.5. The
    box (-0.5, -0.5, w - 0.5, h - 0.5) and size (w, h) give the identity. A box whose aspect is not that of `size` is
    stretched; `square_boxes` avoids it.

    Args:
        boxes: (..., 4) xyxy pixels, with an area (an empty box has no finite affine).
        size: (w, h) of the crop.
        angle: radians, a number or (...); the box turns from x towards y (clockwise on screen), what is in the crop
            turns the other way.
    """
    size = boxes.new_tensor([size[0], size[1]])
    angle = torch.as_tensor(angle, dtype=boxes.dtype, device=boxes.device)
    scale = size / (boxes[..., 2:] - boxes[..., :2])
    linear = scale.unsqueeze(-1) * rotate_about_optical_axis(-angle)[..., :2, :2]
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    offset = (size - 1) / 2 - small_matmul(linear, centre.unsqueeze(-1)).squeeze(-1)
    return torch.cat([linear, offset.unsqueeze(-1)], -1)


def resize_affine(size, new_size):
    """Returns the pixel affine (2, 3) of resizing a whole image of `size` (w, h) pixels to `new_size` (w, h)."""
    width, height = size
    return crop_affine(torch.tensor([-0.5, -0.5, width - 0.5, height - 0.5]), new_size)


def transform_intrinsics(intrinsics, affine):
    """Returns the intrinsics (..., 3, 3) of an image warped by a pixel affine (..., 2, 3)."""
    last = affine.new_tensor([0.0, 0.0, 1.0]).expand(*affine.shape[:-2], 1, 3)
    return small_matmul(torch.cat([affine, last], -2), intrinsics)


def rotate_about_optical_axis(angle):
    """Returns the rotations (..., 3, 3) by a tensor of angles (...), radians, about z: from x towards y."""
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = ((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, zero + 1))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def crop_camera(intrinsics, affine, angle):
    """Returns the camera of a turned crop: intrinsics (..., 3, 3) and the rotation (..., 3, 3) of the 3D labels.

    Turning a crop turns what is seen in it, so the 3D labels turn along (the extrinsics, if the labels are in the
    world), and the intrinsics stay free of a rotation: project(new intrinsics, rotation @ X) equals
    apply_affine(project(intrinsics, X), affine) for every X.

    Args:
        intrinsics: (..., 3, 3) of the image before the crop.
        affine: (..., 2, 3) from `crop_affine`.
        angle: radians, a number or (...), as given to `crop_affine`.
    """
    angle = torch.as_tensor(angle, dtype=intrinsics.dtype, device=intrinsics.device)
    rotation = rotate_about_optical_axis(-angle)
    return small_matmul(transform_intrinsics(intrinsics, affine), rotation.transpose(-1, -2)), rotation


def look_at(eye, target, up):
    """Returns the extrinsics (..., 4, 4), world to camera, of a camera at `eye` that has `target` in its centre.

    Args:
        eye, target: (..., 3) metres, world.
        up: (..., 3) the world direction that is up in the image; its length does not matter.

    Raises:
        ValueError: eye and target coincide, or up is parallel to the line of sight.
    """
    forward = target - eye
    right = torch.linalg.cross(*torch.broadcast_tensors(forward, up), dim=-1)
    scale = torch.linalg.vector_norm(forward, dim=-1) * torch.linalg.vector_norm(up, dim=-1)
    if not (torch.linalg.vector_norm(right, dim=-1) > 1e-6 * scale).all():
        raise ValueError('look_at needs a target away from the eye and an up direction not along the line of sight')
    forward = forward / torch.linalg.vector_norm(forward, dim=-1, keepdim=True)
    right = right / torch.linalg.vector_norm(right, dim=-1, keepdim=True)
    forward, right = torch.broadcast_tensors(forward, right)
    rotmat = torch.stack([right, torch.linalg.cross(forward, right, dim=-1), forward], -2)
    return make_rigid(rotmat, -small_matmul(rotmat, eye.unsqueeze(-1)).squeeze(-1))
