"""Changes of whole frames, for systems that process the whole image and not a crop around the hand."""

import numpy as np
import torch
from torch import Tensor

from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.datasets.transforms.labels import warp_labels
from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.geometry.warp import resize_image
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, SequenceError


@TRANSFORMS.register_module()
class ResizeFrames:
    """Resizes whole frames; intrinsics, 2D joints and boxes follow.

    Views of different resolution share one image size once they are loaded, and are resized by the same factors:
    `LoadImages(size=...)` resizes each of them to the full size instead.

    Args:
        size: (width, height), pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = (int(size[0]), int(size[1]))

    def __call__(self, sample: HandSequence, rng: np.random.Generator | None) -> HandSequence:
        """Resizes a clip.

        Args:
            sample: with `intrinsics`.
            rng: not used.

        Returns:
            The resized clip.

        Raises:
            SequenceError: the clip lacks intrinsics, or the size of its images.
        """
        old = image_size(sample)
        if old == self.size:
            return sample
        sample = warp_frames(sample, resize_affine(old, self.size), self.size)
        if sample.images is None:
            return sample
        arrays, (width, height) = to_arrays(sample.images), self.size
        resized = np.empty((*arrays.shape[:2], height, width, 3), np.uint8)
        for index in np.ndindex(arrays.shape[:2]):
            resize_image(arrays[index], self.size, out=resized[index])
        return sample.replace(images=to_images(resized))


@TRANSFORMS.register_module()
class ShiftFrames:
    """Shifts whole frames by one random number of pixels for all frames and views of a clip; what enters is black.

    This is HTT's change of the crop's centre (Wen et al., CVPR 2023, published code). Intrinsics, 2D joints and boxes
    follow.

    Args:
        max_shift: the largest shift along x and along y, uniform, both as a fraction of the image's width.
    """

    def __init__(self, max_shift: float = 0.1) -> None:
        self.max_shift = max_shift

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Shifts a clip.

        Args:
            sample: with `intrinsics`.
            rng: source of the random draws.

        Returns:
            The shifted clip.

        Raises:
            SequenceError: the clip lacks intrinsics, or the size of its images.
        """
        width, height = image_size(sample)
        # Whole pixels need no interpolation.
        across, down = (round(x) for x in rng.uniform(-self.max_shift, self.max_shift, 2) * width)
        affine = torch.tensor([[1.0, 0.0, across], [0.0, 1.0, down]])
        sample = warp_frames(sample, affine, (width, height))
        if sample.images is None:
            return sample
        shifted = torch.zeros_like(sample.images)
        (to_y, from_y), (to_x, from_x) = _overlap(down, height), _overlap(across, width)
        shifted[..., to_y, to_x] = sample.images[..., from_y, from_x]
        return sample.replace(images=shifted)


def image_size(sample: HandSequence) -> tuple[int, int]:
    """Finds the size of a clip's images.

    Args:
        sample: with `images`, or with `meta['image_size']` or `meta['image_sizes']`.

    Returns:
        (width, height), pixels.

    Raises:
        SequenceError: the clip has none of them.
    """
    if sample.images is not None:
        return sample.images.shape[-1], sample.images.shape[-2]
    if sample.meta.get('image_size') is not None:
        width, height = sample.meta['image_size']
        return width, height
    if sample.meta.get('image_sizes') is not None:
        return common_size(sample.meta['image_sizes'])
    raise SequenceError(
        "the sample has neither images nor meta['image_size']; add LoadImages to the pipeline before this transform"
    )


def common_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Computes the size of the smallest image that contains those of all views.

    Args:
        sizes: K (width, height), pixels.

    Returns:
        (width, height), pixels.
    """
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def warp_frames(sample: HandSequence, affine: Tensor, size: tuple[int, int]) -> HandSequence:
    """Maps the intrinsics and 2D labels of a clip; its images are not changed.

    Args:
        sample: the clip.
        affine: (2, 3) of all images, or (K, 2, 3) of each view: pixels of the image to pixels of the new one.
        size: (width, height) of the new images, pixels.

    Returns:
        The clip with `meta['image_size']` = size.

    Raises:
        SequenceError: the clip lacks intrinsics.
    """
    if sample.intrinsics is None:
        raise SequenceError("the sample lacks 'intrinsics', which must follow its images; the reader must provide them")
    changes = warp_labels(sample, affine.expand(*sample.intrinsics.shape[:2], 2, 3))
    intrinsics = transform_intrinsics(sample.intrinsics, affine)
    return sample.replace(intrinsics=intrinsics, meta={**sample.meta, 'image_size': size}, **changes)


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """Where the pixels of a row are after a shift, and where those that stay inside come from."""
    shift = max(-length, min(length, shift))
    return slice(max(shift, 0), length + min(shift, 0)), slice(max(-shift, 0), length - max(shift, 0))
