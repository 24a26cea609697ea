"""Changes of colour and sharpness: one draw a clip, so that a video stays a video."""

import cv2
import numpy as np

from handpose.datasets.transforms.images import map_images
from handpose.registry import TRANSFORMS

LEAST_RADIUS = 0.2  # pixels; below it the neighbours' weight is less than a grey level
LEVELS = np.arange(256, dtype=np.float32)


@TRANSFORMS.register_module()
class ColorJitter:
    """Changes brightness, contrast, saturation and hue.

    Args:
        brightness, contrast, saturation: x draws a factor between 1 - x and 1 + x. Contrast is about the clip's mean.
        hue: x turns the colour circle by -x to x, as a share of a full turn.
    """

    def __init__(self, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.15):
        self.ranges = (brightness, contrast, saturation, hue)

    def __call__(self, sample, rng):
        """Returns the sample with other colours."""
        brightness, contrast, saturation, hue = (rng.uniform(-x, x) for x in self.ranges)
        if sample.images is None:
            return sample
        mean = float(sample.images[..., ::8, ::8].float().mean())
        levels = ((1 + brightness) * (mean + (1 + contrast) * (LEVELS - mean))).clip(0, 255).astype(np.uint8)
        hues = ((LEVELS + 256 * hue) % 256).astype(np.uint8)
        saturations = (LEVELS * (1 + saturation)).clip(0, 255).astype(np.uint8)
        table = np.stack([hues, saturations, LEVELS.astype(np.uint8)], -1)[None]

        def recolour(image):
            image = cv2.cvtColor(cv2.LUT(image, levels), cv2.COLOR_RGB2HSV_FULL)
            return cv2.cvtColor(cv2.LUT(image, table), cv2.COLOR_HSV2RGB_FULL)

        return map_images(sample, recolour)


@TRANSFORMS.register_module()
class GaussianBlur:
    """Blurs with a radius (standard deviation) drawn between 0 and `max_radius` pixels.

    Args:
        max_radius: pixels.
        per_frame: draw it for every frame anew, as published with HTT, not once for the clip.
    """

    def __init__(self, max_radius=0.5, per_frame=False):
        self.max_radius = max_radius
        self.per_frame = per_frame

    def __call__(self, sample, rng):
        """Returns the blurred sample."""
        if sample.images is None:
            return sample
        frames, cameras = sample.images.shape[:2]
        drawn = rng.uniform(0, self.max_radius, frames if self.per_frame else 1)
        if drawn.max() < LEAST_RADIUS:
            return sample
        radii = iter(np.repeat(np.broadcast_to(drawn, frames), cameras))

        def blur(image):
            radius = next(radii)
            return image if radius < LEAST_RADIUS else cv2.GaussianBlur(image, (0, 0), radius)

        return map_images(sample, blur)


@TRANSFORMS.register_module()
class MotionBlur:
    """Smears the images along one line, as a moving camera would.

    Args:
        length: pixels, the longest smear; drawn between 1 and `length`.
        probability: how often.
    """

    def __init__(self, length=9, probability=0.3):
        self.length = length
        self.probability = probability

    def __call__(self, sample, rng):
        """Returns the sample, smeared or not."""
        chance, length, angle = rng.uniform(), rng.uniform(1, max(1, self.length)), rng.uniform(0, np.pi)
        if chance >= self.probability:
            return sample
        half = int(np.ceil(length / 2))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        for step in np.linspace(-length / 2, length / 2, 4 * half + 1):
            kernel[round(half + step * np.sin(angle)), round(half + step * np.cos(angle))] += 1
        kernel /= kernel.sum()
        return map_images(sample, lambda image: cv2.filter2D(image, -1, kernel))
