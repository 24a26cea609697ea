"""The crop around the hand; every label follows."""

import numpy as np
import torch
from torch import Tensor

from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.datasets.transforms.labels import rotate_cameras, warp_labels
from handpose.geometry.boxes import boxes_from_points, boxes_intersect, scale_boxes, union_boxes
from handpose.geometry.camera import crop_affine, crop_camera
from handpose.geometry.warp import crop_squares, warp_image
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, SequenceError, fill_masked_values


@TRANSFORMS.register_module()
class HandCrop:
    """Crops a square around the hand (both hands, if there are two) in every frame and view, and resizes it.

    The square contains the hand's box enlarged by `scale`, joined with the object's box if the two intersect (Deformer,
    Fu et al. 2023, its crop for DexYCB and HO3D). Each frame of each camera has its own square, so cameras of different
    resolution have images of one size afterwards; the random draws are the same in all. Intrinsics, boxes, 2D labels
    and images follow the crop.

    A rotated crop is a camera rotated about its optical axis: all cameras rotate by the same angle, and the 3D labels
    and extrinsics follow (`rotate_cameras`). After a rotation, `boxes` are again tight around the 2D joints, or, where
    a hand has none, around the rotated old box.

    Args:
        size: side of the crop, pixels.
        scale: enlarges the hand's box about its centre.
        union_object: join with the object's box.
        centre_jitter: largest shift of the square along x and along y, in sides of the square, uniform.
        scale_jitter: standard deviation, and also the largest size, of the relative change of the side.
        rotation: radians, the largest rotation, uniform in both directions.
    """

    def __init__(
        self,
        size: int = 256,
        scale: float = 1.5,
        union_object: bool = True,
        centre_jitter: float = 0.0,
        scale_jitter: float = 0.0,
        rotation: float = 0.0,
    ) -> None:
        self.size = size
        self.scale = scale
        self.union_object = union_object
        self.centre_jitter = centre_jitter
        self.scale_jitter = scale_jitter
        self.rotation = rotation

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Crops a clip.

        Args:
            sample: with `boxes` and `intrinsics`.
            rng: source of the random draws.

        Returns:
            The cropped clip; `images` are (T, K, 3, size, size).

        Raises:
            SequenceError: `boxes` or `intrinsics` are missing, or not finite in a frame with a hand.
        """
        for name, value in (('boxes', sample.boxes), ('intrinsics', sample.intrinsics)):
            if value is None:
                raise SequenceError(f'HandCrop needs {name!r}, which the sample lacks; the reader must provide it')
        sample = fill_masked_values(sample)
        shift = torch.from_numpy(rng.uniform(-self.centre_jitter, self.centre_jitter, 2)).float()
        zoom = float(
            np.clip(1 + self.scale_jitter * rng.standard_normal(), 1 - self.scale_jitter, 1 + self.scale_jitter)
        )
        angle = float(rng.uniform(-self.rotation, self.rotation))
        squares = self.squares(sample)
        side = squares[..., 2:3] - squares[..., 0:1]
        squares = scale_boxes(squares + side * shift.repeat(2), zoom)
        affine = crop_affine(squares, (self.size, self.size), angle)
        intrinsics, rotation = crop_camera(sample.intrinsics, affine, angle)
        sample = self._warp(sample, affine, rotated=angle != 0).replace(intrinsics=intrinsics)
        return rotate_cameras(sample, rotation) if angle else sample

    def squares(self, sample: HandSequence) -> Tensor:
        """Computes the squares to crop, before the random draws.

        Args:
            sample: a clip without NaN.

        Returns:
            (T, K, 4) xyxy pixels.
        """
        boxes = scale_boxes(sample.boxes, self.scale)
        hands = boxes.new_ones(boxes.shape[:-1], dtype=torch.bool)
        if sample.hand_valid is not None:
            hands = sample.hand_valid[:, None].expand_as(hands)
            hands = hands | ~hands.any(-1, keepdim=True)  # without any valid hand, all boxes count
        corners = boxes.unflatten(-1, (2, 2)).flatten(-3, -2)
        boxes = boxes_from_points(corners, hands.repeat_interleave(2, -1))
        if self.union_object and sample.object_boxes is not None:
            joined = union_boxes(boxes, sample.object_boxes)
            boxes = torch.where(boxes_intersect(boxes, sample.object_boxes)[..., None], joined, boxes)
        return crop_squares(boxes)

    def _warp(self, sample: HandSequence, affine: Tensor, rotated: bool) -> HandSequence:
        """Maps images, boxes and 2D joints by `affine` (T, K, 2, 3)."""
        changes = warp_labels(sample, affine)
        if rotated and sample.joints_2d is not None:
            has_joints = sample.joints_2d_valid.any(-1, keepdim=True)
            tight = boxes_from_points(changes['joints_2d'], sample.joints_2d_valid)
            changes['boxes'] = torch.where(has_joints, tight, changes['boxes'])
        if sample.images is not None:
            changes['images'] = self._warp_images(sample.images, affine)
        return sample.replace(meta={**sample.meta, 'image_size': (self.size, self.size)}, **changes)

    def _warp_images(self, images: Tensor, affine: Tensor) -> Tensor:
        arrays, matrices, size = to_arrays(images), affine.numpy(), (self.size, self.size)
        crops = np.empty((*arrays.shape[:2], *size, 3), np.uint8)
        for index in np.ndindex(arrays.shape[:2]):
            warp_image(arrays[index], matrices[index], size, out=crops[index])
        return to_images(crops)
