"""Changes of whole frames, for systems that see the picture as it is and not a crop around the hand."""

import cv2
import numpy as np
import torch

from handpose.datasets.transforms.crop import moved_labels
from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.registry import TRANSFORMS
from handpose.structures import SequenceError


@TRANSFORMS.register_module()
class ResizeFrames:
    """Resizes whole frames to `size` (w, h) pixels; intrinsics, 2D joints and boxes follow."""

    def __init__(self, size):
        self.size = (int(size[0]), int(size[1]))

    def __call__(self, sample, rng):
        """Returns the resized sample; `rng` is not used.

        Raises:
            SequenceError: the sample says nowhere how large its images are.
        """
        old = image_size(sample)
        if old == self.size:
            return sample
        sample = _move(sample, resize_affine(old, self.size), self.size)
        if sample.images is None:
            return sample
        smaller = self.size[0] < old[0] or self.size[1] < old[1]
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        arrays, (width, height) = to_arrays(sample.images), self.size
        resized = np.empty((*arrays.shape[:2], height, width, 3), np.uint8)
        for place in np.ndindex(arrays.shape[:2]):
            cv2.resize(arrays[place], self.size, dst=resized[place], interpolation=method)
        return sample.replace(images=to_images(resized))


@TRANSFORMS.register_module()
class ShiftFrames:
    """Moves whole frames by one random number of pixels for all frames of a clip; what enters is black.

    This is HTT's change of the crop's centre (Wen et al., CVPR 2023, published code). Intrinsics, 2D joints and boxes
    follow.

    Args:
        max_shift: the largest shift along x and along y, uniform, both as a share of the picture's width.
    """

    def __init__(self, max_shift=0.1):
        self.max_shift = max_shift

    def __call__(self, sample, rng):
        """Returns the moved sample.

        Raises:
            SequenceError: the sample says nowhere how large its images are.
        """
        width, height = image_size(sample)
        # Whole pixels need no interpolation.
        across, down = (round(x) for x in rng.uniform(-self.max_shift, self.max_shift, 2) * width)
        affine = torch.tensor([[1.0, 0.0, across], [0.0, 1.0, down]])
        sample = _move(sample, affine, (width, height))
        if sample.images is None:
            return sample
        moved = torch.zeros_like(sample.images)
        (to_y, from_y), (to_x, from_x) = _overlap(down, height), _overlap(across, width)
        moved[..., to_y, to_x] = sample.images[..., from_y, from_x]
        return sample.replace(images=moved)


def image_size(sample):
    """The size (w, h) of a sample's images.

    Raises:
        SequenceError: it has neither images nor `meta['image_size']`.
    """
    if sample.images is not None:
        return sample.images.shape[-1], sample.images.shape[-2]
    if sample.meta.get('image_size') is None:
        raise SequenceError(
            "the sample has neither images nor meta['image_size']; put LoadImages before this transform"
        )
    return tuple(sample.meta['image_size'])


def _move(sample, affine, size):
    """The sample without its images moved: intrinsics and 2D labels by one pixel affine (2, 3) for all frames."""
    if sample.intrinsics is None:
        raise SequenceError("the sample lacks 'intrinsics', which must follow its frames; the reader must give them")
    changes = moved_labels(sample, affine.expand(*sample.intrinsics.shape[:2], 2, 3))
    intrinsics = transform_intrinsics(sample.intrinsics, affine)
    return sample.replace(intrinsics=intrinsics, meta={**sample.meta, 'image_size': size}, **changes)


def _overlap(shift, length):
    """Where a row of pixels lands that moves by `shift` (a slice), and where what stays inside comes from."""
    shift = max(-length, min(length, shift))
    return slice(max(shift, 0), length + min(shift, 0)), slice(max(-shift, 0), length - max(shift, 0))
