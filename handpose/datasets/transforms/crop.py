"""The crop around the hand, with every label moved along."""

import cv2
import numpy as np
import torch

from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.geometry.boxes import boxes_from_points, boxes_intersect, scale_boxes, square_boxes, union_boxes
from handpose.geometry.camera import apply_affine, crop_affine, crop_camera
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.registry import TRANSFORMS
from handpose.structures import SequenceError, fill_masked_values


@TRANSFORMS.register_module()
class HandCrop:
    """Cuts a square around the hand (both hands, if there are two) in every frame and resizes it.

    The square holds the hand's box enlarged by `scale`, joined with the object's box where the two intersect
    (Deformer, Fu et al. 2023, its crop for DexYCB and HO3D). Each frame has its own square; the random draws are the
    same in all. Intrinsics, boxes, 2D labels and images are moved by the crop. A turned crop is a camera turned about
    its axis: in `frame='camera'` the 3D labels and the hands' parameters turn along, in the world the extrinsics do.
    After a turn, `boxes` are again tight around the 2D joints, or, where a hand has none, around the turned old box.

    Args:
        size: pixels, the side of the crop.
        scale: enlarges the hand's box about its centre.
        union_object: join with the object's box.
        centre_jitter: largest shift of the square, in its sides, along x and y, uniform.
        scale_jitter: standard deviation, and also the largest size, of the relative change of the side.
        rotation: radians, largest turn, uniform on both sides of 0.
    """

    def __init__(self, size=256, scale=1.5, union_object=True, centre_jitter=0.0, scale_jitter=0.0, rotation=0.0):
        self.size = size
        self.scale = scale
        self.union_object = union_object
        self.centre_jitter = centre_jitter
        self.scale_jitter = scale_jitter
        self.rotation = rotation

    def __call__(self, sample, rng):
        """Returns the cropped sample.

        Raises:
            SequenceError: `boxes` or `intrinsics` are missing, or not finite in a frame with a hand.
        """
        for name in ('boxes', 'intrinsics'):
            if getattr(sample, name) is None:
                raise SequenceError(f'HandCrop needs {name!r}, which the sample lacks; the reader must give it')
        sample = fill_masked_values(sample)
        shift = torch.from_numpy(rng.uniform(-self.centre_jitter, self.centre_jitter, 2)).float()
        zoom = float(
            np.clip(1 + self.scale_jitter * rng.standard_normal(), 1 - self.scale_jitter, 1 + self.scale_jitter)
        )
        angle = float(rng.uniform(-self.rotation, self.rotation))
        squares = self._squares(sample)
        side = squares[..., 2:3] - squares[..., 0:1]
        squares = scale_boxes(squares + side * shift.repeat(2), zoom)
        affine = crop_affine(squares, (self.size, self.size), angle)
        intrinsics, rotation = crop_camera(sample.intrinsics, affine, angle)
        sample = _move_pixels(sample, affine, angle, self.size).replace(intrinsics=intrinsics)
        return _turn_labels(sample, rotation) if angle else sample

    def _squares(self, sample):
        """The squares (T, K, 4) to cut, before the random draws."""
        boxes = scale_boxes(sample.boxes, self.scale)
        hands = boxes.new_ones(boxes.shape[:-1], dtype=torch.bool)
        if sample.hand_valid is not None:
            hands = sample.hand_valid[:, None].expand_as(hands)
            hands = hands | ~hands.any(-1, keepdim=True)  # with no hand marked, all boxes say where to look
        corners = boxes.unflatten(-1, (2, 2)).flatten(-3, -2)
        boxes = boxes_from_points(corners, hands.repeat_interleave(2, -1))
        if self.union_object and sample.object_boxes is not None:
            joined = union_boxes(boxes, sample.object_boxes)
            boxes = torch.where(boxes_intersect(boxes, sample.object_boxes)[..., None], joined, boxes)
        centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
        # A box of less than a pixel (a hand seen end-on, far away) still gives a crop.
        half = half.clamp_min(0.5)
        return square_boxes(torch.cat([centre - half, centre + half], -1))


def _move_pixels(sample, affine, angle, size):
    """Moves images (T, K, ...), boxes and 2D joints by `affine` (T, K, 2, 3)."""
    changes = moved_labels(sample, affine)
    if angle and sample.joints_2d is not None:
        known = sample.joints_2d_valid.any(-1, keepdim=True)
        tight = boxes_from_points(changes['joints_2d'], sample.joints_2d_valid)
        changes['boxes'] = torch.where(known, tight, changes['boxes'])
    if sample.images is not None:
        changes['images'] = _warp(sample.images, affine, size)
    return sample.replace(meta={**sample.meta, 'image_size': (size, size)}, **changes)


def moved_labels(sample, affine):
    """The sample's 2D joints, hands' and object's boxes, those that it has, moved by `affine` (T, K, 2, 3)."""
    moves = {
        'boxes': lambda boxes: _move_boxes(boxes, affine[:, :, None]),
        'joints_2d': lambda joints: apply_affine(joints, affine[:, :, None]),
        'object_boxes': lambda boxes: _move_boxes(boxes, affine),
    }
    present = {name: getattr(sample, name) for name in moves if getattr(sample, name) is not None}
    return {name: moves[name](value) for name, value in present.items()}


def _move_boxes(boxes, affine):
    """The upright boxes around boxes (..., 4) moved by affine (..., 2, 3)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1).unflatten(-1, (4, 2))
    return boxes_from_points(apply_affine(corners, affine))


def _warp(images, affine, size):
    arrays, matrices = to_arrays(images), affine.numpy()
    cut = np.empty((*arrays.shape[:2], size, size, 3), np.uint8)
    for t in range(arrays.shape[0]):
        for k in range(arrays.shape[1]):
            cv2.warpAffine(arrays[t, k], matrices[t, k], (size, size), dst=cut[t, k], flags=cv2.INTER_LINEAR)
    return to_images(cut)


def _turn_labels(sample, rotation):
    """Turns what is 3D by `rotation` (3, 3), a turn of every camera about its axis."""
    turn = torch.eye(4)
    turn[:3, :3] = rotation
    if sample.frame == 'world':
        return sample.replace(extrinsics=turn @ sample.extrinsics)
    changes = {}
    if sample.extrinsics is not None:
        changes['extrinsics'] = turn @ sample.extrinsics @ turn.T
    for name in ('joints_3d', 'input_joints_3d'):
        if getattr(sample, name) is not None:
            changes[name] = getattr(sample, name) @ rotation.T
    if sample.hand_pose is not None:
        pose = sample.hand_pose.clone()
        pose[:, :, 0] = rotmat_to_rotvec(rotation @ rotvec_to_rotmat(pose[:, :, 0]))
        changes['hand_pose'] = pose
    if sample.hand_transl is not None:
        # A hand model turns about its wrist at rest: the translation is the wrist minus that unchanged point.
        wrist = sample.joints_3d[:, :, 0]
        changes['hand_transl'] = wrist @ rotation.T - (wrist - sample.hand_transl)
    return sample.replace(**changes)
