"""Pinhole cameras: projection, crops that keep the intrinsics true, and viewpoints.

Batched over leading dims `...` (they broadcast), differentiable. Metres, pixels, radians. Camera axes are OpenCV's:
x right, y down, z forward. Pixel centres lie at integer coordinates, so an image w pixels wide spans -0.5 to w - 0.5;
points and box edges are numbers on that axis.
Intrinsics (..., 3, 3) end in the row (0, 0, 1); their upper left 2x2 block may be any invertible one (skew, a rotated
crop).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from handpose.geometry.rigid import make_rigid, transform_points
from handpose.geometry.rotations import small_matmul

# Metres. A point in the camera's own plane has no image; this keeps its numbers finite (padding is often all zeros).
_NEAREST_DEPTH = 1e-6


def project_points(points: Tensor, intrinsics: Tensor, extrinsics: Tensor | None = None) -> Tensor:
    """Projects 3D points to pixels.

    Points behind the camera get pixels too (mirrored ones): mask them by their depth.

    Args:
        points: (..., N, 3) metres in the camera frame, or in the frame that `extrinsics` maps from.
        intrinsics: (..., 3, 3).
        extrinsics: (..., 4, 4) to the camera frame, or None.

    Returns:
        (..., N, 2) pixels.
    """
    if extrinsics is not None:
        points = transform_points(points, extrinsics)
    depth = points[..., 2:]
    depth = torch.where(depth.abs() < _NEAREST_DEPTH, torch.full_like(depth, _NEAREST_DEPTH), depth)
    return apply_affine(points[..., :2] / depth, intrinsics[..., :2, :])


def unproject_points(uv: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Lifts pixels to 3D points.

    Args:
        uv: (..., N, 2) pixels.
        depth: (..., N) z in metres.
        intrinsics: (..., 3, 3).

    Returns:
        (..., N, 3) metres in the camera frame.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in intrinsics[..., :2, :2].unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    inverse = adjugate / (a * d - b * c)[..., None, None]
    xy = small_matmul(uv - intrinsics[..., None, :2, 2], inverse.transpose(-1, -2))
    xy, depth = torch.broadcast_tensors(xy, depth.unsqueeze(-1))
    return torch.cat([xy * depth, depth[..., :1]], -1)


def apply_affine(points: Tensor, affine: Tensor) -> Tensor:
    """Transforms 2D points.

    Args:
        points: (..., N, 2).
        affine: (..., 2, 3).

    Returns:
        (..., N, 2) points.
    """
    return small_matmul(points, affine[..., :2].transpose(-1, -2)) + affine[..., None, :, 2]


def crop_affine(boxes: Tensor, size: Sequence[int], angle: float | Tensor = 0.0) -> Tensor:
    """Computes the pixel affine from an image to the crop of a box rotated about the box's centre.

    The edges of the rotated box become the edges of the crop: with angle 0, x1 maps to -0.5 and x2 to w - 0.5. The
    box (-0.5, -0.5, w - 0.5, h - 0.5) and size (w, h) give the identity. A box whose aspect is not that of `size` is
    stretched; `square_boxes` avoids it.

    Args:
        boxes: (..., 4) xyxy pixels, with an area (an empty box has no finite affine).
        size: (w, h) of the crop.
        angle: radians, a number or (...); the box rotates from x towards y (clockwise on screen), the contents of the
            crop the other way.

    Returns:
        (..., 2, 3) affine.
    """
    extent = boxes.new_tensor([size[0], size[1]])
    angle = torch.as_tensor(angle, dtype=boxes.dtype, device=boxes.device)
    scale = extent / (boxes[..., 2:] - boxes[..., :2])
    linear = scale.unsqueeze(-1) * rotate_about_optical_axis(-angle)[..., :2, :2]
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    offset = (extent - 1) / 2 - small_matmul(linear, centre.unsqueeze(-1)).squeeze(-1)
    return torch.cat([linear, offset.unsqueeze(-1)], -1)


def resize_affine(size: Sequence[int], new_size: Sequence[int]) -> Tensor:
    """Computes the pixel affine of resizing a whole image.

    Args:
        size: (w, h) of the image, pixels.
        new_size: (w, h) after resizing.

    Returns:
        (2, 3) affine.
    """
    width, height = size
    return crop_affine(torch.tensor([-0.5, -0.5, width - 0.5, height - 0.5]), new_size)


def transform_intrinsics(intrinsics: Tensor, affine: Tensor) -> Tensor:
    """Computes the intrinsics of an image warped by a pixel affine.

    Args:
        intrinsics: (..., 3, 3).
        affine: (..., 2, 3).

    Returns:
        (..., 3, 3) intrinsics.
    """
    last = affine.new_tensor([0.0, 0.0, 1.0]).expand(*affine.shape[:-2], 1, 3)
    return small_matmul(torch.cat([affine, last], -2), intrinsics)


def rotate_about_optical_axis(angle: Tensor) -> Tensor:
    """Computes rotations about z.

    Args:
        angle: (...) radians, from x towards y.

    Returns:
        (..., 3, 3) rotation matrices.
    """
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = ((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, zero + 1))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def crop_camera(intrinsics: Tensor, affine: Tensor, angle: float | Tensor) -> tuple[Tensor, Tensor]:
    """Computes the camera of a rotated crop, and the rotation of the 3D labels.

    Rotating a crop rotates the scene in it, so the 3D labels rotate along (the extrinsics, if the labels are in the
    world), and the intrinsics stay free of a rotation: project(new intrinsics, rotation @ X) equals
    apply_affine(project(intrinsics, X), affine) for every X.

    Args:
        intrinsics: (..., 3, 3) of the image before the crop.
        affine: (..., 2, 3) from `crop_affine`.
        angle: radians, a number or (...), as given to `crop_affine`.

    Returns:
        Intrinsics (..., 3, 3) and the rotation (..., 3, 3) of the 3D labels.
    """
    angle = torch.as_tensor(angle, dtype=intrinsics.dtype, device=intrinsics.device)
    rotation = rotate_about_optical_axis(-angle)
    return small_matmul(transform_intrinsics(intrinsics, affine), rotation.transpose(-1, -2)), rotation


def field_of_view_intrinsics(size: Sequence[int], field_of_view: float) -> Tensor:
    """Computes the intrinsics of a camera that looks through the centre of its image.

    Args:
        size: (width, height) of the image, pixels.
        field_of_view: degrees from the left edge to the right one.

    Returns:
        (3, 3) float32, pixels.

    Raises:
        ValueError: a field of view below 5 or above 170 degrees.
    """
    if not 5 <= field_of_view <= 170:
        raise ValueError(f'a field of view must be between 5 and 170 degrees, got {field_of_view:g}')
    focal = size[0] / 2 / math.tan(math.radians(field_of_view) / 2)
    x, y = ((length - 1) / 2 for length in size)
    return torch.tensor([[focal, 0, x], [0, focal, y], [0, 0, 1]], dtype=torch.float32)


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """Computes the extrinsics of a camera at `eye` that has `target` in its centre.

    Args:
        eye: (..., 3) metres, world.
        target: (..., 3) metres, world.
        up: (..., 3) the world direction that is up in the image; its length does not matter.

    Returns:
        (..., 4, 4) world to camera.

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
