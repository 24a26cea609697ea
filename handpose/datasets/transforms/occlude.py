"""Artificial occluders."""

import cv2
import torch

from handpose.datasets.transforms.images import to_arrays, to_images
from handpose.registry import TRANSFORMS
from handpose.structures import fill_masked_values


@TRANSFORMS.register_module()
class RandomOcclusion:
    """Paints one rectangle of noise over part of each hand's box, in some frames that follow each other.

    `occlusion` becomes unknown (NaN) in those frames.

    Args:
        probability: how often a clip is touched.
        share: (smallest, largest) side of the rectangle, in sides of the hand's box.
    """

    def __init__(self, probability=0.3, share=(0.2, 0.6)):
        self.probability = probability
        self.share = share

    def __call__(self, sample, rng):
        """Returns the sample, occluded or not."""
        chance, first, last = rng.uniform(), rng.uniform(), rng.uniform()
        sides, place = rng.uniform(*self.share, 2), rng.uniform(0, 1, 2)
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
                    _paint(arrays[t, k], box, sides, place, noise)
        occlusion = sample.occlusion
        if occlusion is not None:
            occlusion = occlusion.clone()
            occlusion[start : stop + 1] = torch.nan
        return sample.replace(images=to_images(arrays), occlusion=occlusion)


def _paint(image, box, sides, place, noise):
    """Paints in place; `sides` and `place` are (x, y) in sides of the box."""
    size = (box[2:] - box[:2]) * sides
    low = box[:2] + (box[2:] - box[:2] - size) * place
    (x1, y1), (x2, y2) = ((int(max(0, round(float(x)))), int(max(0, round(float(y))))) for x, y in (low, low + size))
    patch = image[y1:y2, x1:x2]
    if patch.size:
        patch[:] = cv2.resize(noise, patch.shape[1::-1], interpolation=cv2.INTER_LINEAR)
