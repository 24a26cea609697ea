"""Artificial occluders."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, fill_masked_values


@TRANSFORMS.register_module()
class RandomOcclusion:
    """Draws one rectangle of noise over a part of each hand's box, in each view of some consecutive frames.

    `occlusion` becomes unknown (NaN) in those frames.

    Args:
        probability: that a clip is changed.
        side: (smallest, largest) side of the rectangle, as a fraction of the side of the hand's box.
    """

    def __init__(self, probability: float = 0.3, side: tuple[float, float] = (0.2, 0.6)) -> None:
        self.probability = probability
        self.side = side

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Occludes the hands of a clip, or returns it as it is.

        Args:
            sample: with `images` and `boxes`; without images it is not changed.
            rng: source of the random draws.

        Returns:
            The clip.
        """
        chance, first, last = rng.uniform(), rng.uniform(), rng.uniform()
        sides, position = rng.uniform(*self.side, 2), rng.uniform(0, 1, 2)
        noise = rng.integers(0, 256, (8, 8, 3), dtype='uint8')
        if chance >= self.probability or sample.images is None:
            return sample
        sample = fill_masked_values(sample)
        num_frames = len(sample.images)
        start, stop = sorted((int(first * num_frames), int(last * num_frames)))
        frames = range(start, stop + 1)
        arrays = to_arrays(sample.images).copy()
        for t in frames:
            for k in range(arrays.shape[1]):
                for box in sample.boxes[t, k].numpy():
                    _draw_rectangle(arrays[t, k], box, sides, position, noise)
        occlusion = sample.occlusion
        if occlusion is not None:
            occlusion = occlusion.clone()
            occlusion[start : stop + 1] = torch.nan
        return sample.replace(images=to_images(arrays), occlusion=occlusion)


def _draw_rectangle(image: NDArray, box: NDArray, sides: NDArray, position: NDArray, noise: NDArray) -> None:
    """Draws into the image; `sides` and `position` are (x, y) as fractions of the box."""
    size = (box[2:] - box[:2]) * sides
    low = box[:2] + (box[2:] - box[:2] - size) * position
    (x1, y1), (x2, y2) = ((int(max(0, round(float(x)))), int(max(0, round(float(y))))) for x, y in (low, low + size))
    patch = image[y1:y2, x1:x2]
    if patch.size:
        patch[:] = cv2.resize(noise, patch.shape[1::-1], interpolation=cv2.INTER_LINEAR)
