"""What MVExoNet sees of the views of a hand: boxes, crops, and the random changes of them in training.

Legend: F frames, K cameras, H hands, N hands of all frames, J = 21 joints, h w size of the images, s side of a crop.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.geometry import (
    boxes_from_points,
    clip_boxes,
    crop_affine,
    crop_squares,
    project_points,
    projection_matrices,
    rotvec_to_rotmat,
    scale_boxes,
    transform_intrinsics,
    transform_points,
    triangulate,
)
from handpose.models.layers.roi_align import roi_align
from handpose.structures import HandSequence

_NEAREST = 0.01  # metres; a joint that is nearer to the camera's plane, or behind it, has no place in the image
_LEAST_SIDE = 1.0  # pixels of a box that shows anything


class ViewedFrames(NamedTuple):
    """Frames that calibrated cameras saw at the same time."""

    images: Tensor  # (F, K, 3, h, w), RGB in [0, 255]
    intrinsics: Tensor  # (F, K, 3, 3)
    extrinsics: Tensor  # (F, K, 4, 4), from the frame of the joints to each camera

    def select(self, index: Tensor | slice) -> 'ViewedFrames':
        """Some of the frames: a slice, a mask or numbers."""
        return ViewedFrames(self.images[index], self.intrinsics[index], self.extrinsics[index])

    def select_cameras(self, index: Tensor) -> 'ViewedFrames':
        """Some of the cameras, by their numbers."""
        return ViewedFrames(self.images[:, index], self.intrinsics[:, index], self.extrinsics[:, index])

    def image_size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.images.shape[-1], self.images.shape[-2]


class HandCrops(NamedTuple):
    """Crops of N hands. Those of views that do not see the hand hold anything."""

    images: Tensor  # (N, K, 3, s, s), in [0, 255]
    projections: Tensor  # (N, K, 3, 4), from the frame of the joints to pixels of the crops
    seen: Tensor  # (N, K) bool


def boxes_with_area(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Tells which boxes show something: what lies inside the image is at least a pixel wide and high.

    Args:
        boxes: (..., 4), pixels.
        image_size: (w, h), pixels.

    Returns:
        (...) bool.
    """
    clipped = clip_boxes(boxes, *image_size)
    return (clipped[..., 2:] - clipped[..., :2] >= _LEAST_SIDE).all(-1)


def boxes_to_crop(boxes: Tensor, scale: float, image_size: tuple[int, int]) -> Tensor:
    """Enlarges boxes to squares, moved into the image, so that a crop has no border without pixels.

    A square that is larger than the image is cut at the image's borders.

    Args:
        boxes: (..., 4), pixels.
        scale: factor of their sides.
        image_size: (w, h), pixels.

    Returns:
        (..., 4).
    """
    squares = crop_squares(scale_boxes(clip_boxes(boxes, *image_size), scale))
    extent = boxes.new_tensor(image_size)
    side = squares[..., 2:] - squares[..., :2]
    start = torch.minimum(squares[..., :2].clamp_min(-0.5), extent - 0.5 - side)
    return clip_boxes(torch.cat([start, start + side], -1), *image_size)


def crop_hands(frames: ViewedFrames, boxes: Tensor, hands: Tensor, scale: float, crop_size: int) -> HandCrops:
    """Cuts hands out of all views.

    Args:
        frames: F of them.
        boxes: (F, K, H, 4) around the hands, pixels.
        hands: (F, H) bool, the N hands that are wanted; N is their order.
        scale: factor of the sides of the boxes.
        crop_size: s, pixels.

    Returns:
        N hands.
    """
    size = frames.image_size()
    seen = boxes_with_area(boxes, size)  # (F, K, H)
    regions = boxes_to_crop(torch.where(seen[..., None], boxes, boxes.new_tensor([0.0, 0, 1, 1])), scale, size)
    # Two samples along each side of a pixel of the crop: enough for hands of up to four times its size.
    images = frames.images.flatten(0, 1).to(boxes.dtype)
    crops = roi_align(images, regions.flatten(0, 1) + 0.5, crop_size, 1.0, 2, aligned=True)  # (F K, H, 3, s, s)
    cameras = transform_intrinsics(
        frames.intrinsics[:, :, None], crop_affine(regions, (crop_size, crop_size))
    )  # (F, K, H, 3, 3)
    projections = projection_matrices(cameras, frames.extrinsics[:, :, None])
    return HandCrops(
        images=crops.unflatten(0, boxes.shape[:2]).transpose(1, 2)[hands],
        projections=projections.transpose(1, 2)[hands],
        seen=seen.transpose(1, 2)[hands],
    )


def project_hands(frames: ViewedFrames, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Projects joints into all views.

    Args:
        frames: F of them.
        joints: (F, H, J, 3), metres.

    Returns:
        (F, K, H, J, 2) pixels, and (F, K, H, J) bool, joints in front of the camera.
    """
    extrinsics, points = frames.extrinsics[:, :, None], joints[:, None]
    uv = project_points(points, frames.intrinsics[:, :, None], extrinsics)
    return uv, transform_points(points, extrinsics)[..., 2] > _NEAREST


def boxes_of_joints(frames: ViewedFrames, joints: Tensor) -> Tensor:
    """Computes the boxes around projected joints, cut at the borders of the images.

    Args:
        frames: F of them.
        joints: (F, H, J, 3), metres.

    Returns:
        (F, K, H, 4); all zeros in views that do not see the hand.
    """
    uv, in_front = project_hands(frames, joints)
    boxes, size = boxes_from_points(uv), frames.image_size()
    sees = in_front.all(-1) & boxes_with_area(boxes, size)
    return torch.where(sees[..., None], clip_boxes(boxes, *size), 0.0)


def box_centres_in_space(frames: ViewedFrames, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Triangulates the centres of boxes.

    Args:
        frames: F of them, of at least two cameras.
        boxes: (F, K, H, 4), without an area in views that do not see the hand.

    Returns:
        (F, H, 3) metres, and (F, H) bool, hands that two views or more see.
    """
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2  # (F, K, H, 2)
    seen = boxes_with_area(boxes, frames.image_size())
    found = triangulate(centres, projection_matrices(frames.intrinsics, frames.extrinsics), seen)
    return found.points, found.valid


def least_and_most(count: int | Sequence[int] | None) -> tuple[float, float]:
    """The least and the largest number of views that `count` allows; None: all, however many there are."""
    if count is None:
        return math.inf, math.inf
    least, most = (count, count) if isinstance(count, int) else count
    return least, most


def choose_views(
    frames: ViewedFrames, boxes: Tensor, limits: tuple[float, float], generator: torch.Generator
) -> tuple[ViewedFrames, Tensor]:
    """Draws some of the cameras of a training batch.

    Args:
        frames: F of them.
        boxes: (F, K, H, 4).
        limits: the least and the largest number of cameras, see `least_and_most`.
        generator: on the CPU.

    Returns:
        The frames and boxes of these cameras.
    """
    count = boxes.shape[1]
    least, most = (int(min(number, count)) for number in limits)
    wanted = least if least == most else int(torch.randint(least, most + 1, (), generator=generator))
    if wanted == count:
        return frames, boxes
    chosen = torch.randperm(count, generator=generator)[:wanted].to(boxes.device)
    return frames.select_cameras(chosen), boxes[:, chosen]


def jitter_boxes(boxes: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Moves and scales boxes at random, as a detector does.

    Args:
        boxes: (..., 4).
        noise: standard deviation of the shift along each axis, in sides of the box, and of the logarithm of the scale.
        generator: on the CPU.

    Returns:
        (..., 4).
    """
    drawn = noise * torch.randn((*boxes.shape[:-1], 3), generator=generator).to(boxes)
    side = boxes[..., 2:] - boxes[..., :2]
    shift = side * drawn[..., :2]
    return scale_boxes(boxes + torch.cat([shift, shift], -1), drawn[..., 2].exp())


def random_rotations(count: int, max_angle: float, generator: torch.Generator) -> Tensor:
    """Draws rotations about random axes.

    Args:
        count: N.
        max_angle: radians; angles are uniform up to it.
        generator: on the CPU.

    Returns:
        (N, 3, 3) on the CPU.
    """
    axes = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    angles = torch.rand(count, 1, generator=generator) * min(max_angle, math.pi)
    return rotvec_to_rotmat(axes * angles)


class HandRegions(NamedTuple):
    """Where the hands of F frames are taken to be before a round."""

    boxes: Tensor  # (F, K, H, 4), pixels
    centres: Tensor  # (F, H, 3), metres
    known: Tensor  # (F, H) bool, hands that are estimated


def sides_of(batch: HandSequence) -> Tensor:
    """The sides of hands; without `hand_side`, a single hand is a right one.

    Args:
        batch: (B, T, K, H, ...).

    Returns:
        (B, H) int, 0 left and 1 right.
    """
    if batch.hand_side is not None:
        return batch.hand_side
    boxes = batch.require('boxes')
    return torch.arange(2 - boxes.shape[3], 2, device=boxes.device).expand(len(boxes), -1).contiguous()


def flip(values: Tensor, which: Tensor | None, axis: int) -> Tensor:
    """Reverses an axis of some entries.

    Args:
        values: (N, ...).
        which: (N,) bool; None means none.
        axis: of `values`.

    Returns:
        (N, ...).
    """
    if which is None:
        return values
    return torch.where(which.reshape(-1, *(1,) * (values.ndim - 1)), values.flip(axis), values)
