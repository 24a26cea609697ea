"""Images in OpenCV's layout, height x width x 3, without a copy."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.structures import HandSequence


def to_arrays(images: Tensor) -> NDArray:
    """Views a tensor of images as an array.

    Args:
        images: (T, K, 3, h, w) uint8.

    Returns:
        (T, K, h, w, 3), sharing memory.
    """
    return images.permute(0, 1, 3, 4, 2).numpy()


def to_images(arrays: NDArray) -> Tensor:
    """The inverse of `to_arrays`.

    Args:
        arrays: (T, K, h, w, 3) uint8.

    Returns:
        (T, K, 3, h, w), sharing memory.
    """
    return torch.from_numpy(arrays).permute(0, 1, 4, 2, 3)


def map_images(sample: HandSequence, function: Callable[[NDArray, int, int], NDArray]) -> HandSequence:
    """Applies a function to each image of a clip.

    Args:
        sample: the clip; without images it is returned as it is.
        function: called with an image (h, w, 3), its frame t and its view k; returns an image of the same shape.

    Returns:
        The clip with other images.
    """
    if sample.images is None:
        return sample
    arrays = to_arrays(sample.images)
    changed = arrays.copy()
    for t, k in np.ndindex(changed.shape[:2]):
        changed[t, k] = function(arrays[t, k], t, k)
    return sample.replace(images=to_images(changed))
