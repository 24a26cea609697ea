"""Changes of colour and sharpness: one random draw per clip, so that a video is still a video."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets.transforms.images import map_images
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence

MIN_RADIUS = 0.2  # pixels; below it the weight of the neighbours is less than a grey level
LEVELS = np.arange(256, dtype=np.float32)


@TRANSFORMS.register_module()
class ColorJitter:
    """Changes brightness, contrast, saturation and hue.

    Args:
        brightness: x samples a factor between 1 - x and 1 + x.
        contrast: the same; about the mean of the clip, in each view.
        saturation: the same.
        hue: x rotates the colour circle by -x to x, as a fraction of a full turn.
    """

    def __init__(
        self, brightness: float = 0.5, contrast: float = 0.5, saturation: float = 0.5, hue: float = 0.15
    ) -> None:
        self.ranges = (brightness, contrast, saturation, hue)

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Changes the colours of a clip.

        Args:
            sample: without images it is not changed.
            rng: source of the random draws.

        Returns:
            The clip.
        """
        brightness, contrast, saturation, hue = (rng.uniform(-x, x) for x in self.ranges)
        if sample.images is None:
            return sample
        views = sample.images[..., ::8, ::8].split(1, dim=1)
        levels = [_levels(float(view.float().mean()), brightness, contrast) for view in views]
        hues = ((LEVELS + 256 * hue) % 256).astype(np.uint8)
        saturations = (LEVELS * (1 + saturation)).clip(0, 255).astype(np.uint8)
        table = np.stack([hues, saturations, LEVELS.astype(np.uint8)], -1)[None]

        def recolour(image: NDArray, t: int, k: int) -> NDArray:
            image = cv2.cvtColor(cv2.LUT(image, levels[k]), cv2.COLOR_RGB2HSV_FULL)
            return cv2.cvtColor(cv2.LUT(image, table), cv2.COLOR_HSV2RGB_FULL)

        return map_images(sample, recolour)


def _levels(mean: float, brightness: float, contrast: float) -> NDArray:
    """(256,) what each level becomes."""
    return ((1 + brightness) * (mean + (1 + contrast) * (LEVELS - mean))).clip(0, 255).astype(np.uint8)


@TRANSFORMS.register_module()
class GaussianBlur:
    """Blurs with a radius (standard deviation) sampled between 0 and `max_radius`.

    Args:
        max_radius: pixels.
        per_frame: sample it for every frame, as published with HTT, instead of once per clip.
    """

    def __init__(self, max_radius: float = 0.5, per_frame: bool = False) -> None:
        self.max_radius = max_radius
        self.per_frame = per_frame

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Blurs a clip.

        Args:
            sample: without images it is not changed.
            rng: source of the random draws.

        Returns:
            The clip.
        """
        if sample.images is None:
            return sample
        num_frames = len(sample.images)
        sampled = rng.uniform(0, self.max_radius, num_frames if self.per_frame else 1)
        if sampled.max() < MIN_RADIUS:
            return sample
        radii = np.broadcast_to(sampled, num_frames)

        def blur(image: NDArray, t: int, k: int) -> NDArray:
            return image if radii[t] < MIN_RADIUS else cv2.GaussianBlur(image, (0, 0), radii[t])

        return map_images(sample, blur)


@TRANSFORMS.register_module()
class MotionBlur:
    """Blurs the images along one line, as a moving camera does.

    Args:
        length: pixels, the longest blur; sampled between 1 and `length`.
        probability: that a clip is blurred.
    """

    def __init__(self, length: float = 9, probability: float = 0.3) -> None:
        self.length = length
        self.probability = probability

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Blurs a clip, or returns it as it is.

        Args:
            sample: without images it is not changed.
            rng: source of the random draws.

        Returns:
            The clip.
        """
        chance, length, angle = rng.uniform(), rng.uniform(1, max(1, self.length)), rng.uniform(0, np.pi)
        if chance >= self.probability:
            return sample
        half = int(np.ceil(length / 2))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        for step in np.linspace(-length / 2, length / 2, 4 * half + 1):
            kernel[round(half + step * np.sin(angle)), round(half + step * np.cos(angle))] += 1
        kernel /= kernel.sum()
        return map_images(sample, lambda image, t, k: cv2.filter2D(image, -1, kernel))
