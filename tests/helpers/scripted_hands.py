"""A detector and an estimator that find scripted hands in numbered images: the video route without networks.

An image shows its number as 14 black and white blocks along its upper edge, which every codec keeps. The stand-ins
read it and look up in the script where the hands are.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate
from handpose.inference.tracking.tracker import next_region
from handpose.video import VideoWriter

BITS = 14
# Joints of an upright right hand in units of its size: wrist, then thumb to little finger from base to tip.
ROOTS = np.array([(-0.22, 0.18), (-0.14, -0.02), (-0.02, -0.05), (0.1, -0.02), (0.2, 0.05)])
TIPS = np.array([(-0.42, -0.12), (-0.2, -0.42), (-0.02, -0.5), (0.14, -0.42), (0.3, -0.26)])


@dataclass(frozen=True)
class Hand:
    """Where a hand is: pixels of the image, and what an estimator says of it."""

    x: float
    y: float
    size: float = 20.0
    right: float = 0.95
    presence: float = 0.98
    detectable: bool = True


def template():
    """(21, 3) joints of a right hand in units of its size, from its centre; y points down."""
    steps = np.linspace(0, 1, 4)[:, None]
    fingers = [root + steps * (tip - root) for root, tip in zip(ROOTS, TIPS, strict=True)]
    points = np.concatenate([[(0.0, 0.5)], *fingers])
    return np.column_stack([points, 0.1 * np.sin(7 * points[:, 0])])


def joints_of(hand):
    """(21, 2) float32 pixels of a hand; a left one is mirrored."""
    points = template()[:, :2] * [1 if hand.right > 0.5 else -1, 1]
    return (hand.size * points + [hand.x, hand.y]).astype(np.float32)


def estimate_of(hand):
    joints = template() * [1 if hand.right > 0.5 else -1, 1, 1]
    length = 0.17 * (1 + 0.05 * np.sin(hand.x))  # metres; it changes, so that filters have something to do
    joints_3d = (length * (joints - joints[:1])).astype(np.float32)
    return HandEstimate(joints_of(hand), joints_3d, hand.presence, hand.right)


def numbered_image(number, size=(112, 64)):
    """(height, width, 3) uint8."""
    width, height = size
    image = np.full((height, width, 3), 90, np.uint8)
    block = width // BITS
    for bit in range(BITS):
        image[: max(block, 8), bit * block : (bit + 1) * block] = 255 * (number >> bit & 1)
    return image


def number_of(image):
    block = image.shape[1] // BITS
    middle = image[max(block, 8) // 2]
    return sum(int(middle[bit * block + block // 2].mean() > 127) << bit for bit in range(BITS))


@dataclass
class ScriptedDetector:
    """`script(number)` returns the hands of an image."""

    script: object
    calls: int = 0

    def detect(self, image):
        self.calls += 1
        return [next_region(joints_of(hand)) for hand in self.script(number_of(image)) if hand.detectable]


@dataclass
class ScriptedEstimator:
    """Finds in a region the hand nearest to its centre, if there is one in it."""

    script: object
    resets: int = 0
    info = EstimatorInfo('a scripted estimator', licence='CC0')

    def estimate(self, frame, regions):
        hands = self.script(number_of(frame.image))
        return [self._estimate(hands, region) for region in regions]

    def reset(self, intrinsics=None):
        self.resets += 1

    def context_start(self, times):
        return len(times)

    def _estimate(self, hands, region):
        def distance(hand):
            return float(np.hypot(hand.x - region.x, hand.y - region.y))

        near = [hand for hand in hands if distance(hand) < region.size / 2]
        if near:
            return estimate_of(min(near, key=distance))
        return estimate_of(Hand(region.x, region.y, region.size / 2, presence=0.01))


def session_of(script, **options):
    """A `Session` of hands that move as a function of the image's number."""
    cached = cache(script)
    return Session(ScriptedDetector(cached), ScriptedEstimator(cached), name='a script', **options)


def moving_right_hand(number):
    return [Hand(50 + 15 * np.sin(0.1 * number), 40 + 6 * np.cos(0.07 * number))]


def low_hand(number):
    """A right hand low enough in images of 112x128 pixels for a drawn label above it not to cover the number."""
    return [Hand(50 + 15 * np.sin(0.1 * number), 95 + 6 * np.cos(0.07 * number))]


def two_hands(number):
    """A right hand at the left edge of the image, and a left one."""
    return [Hand(30 + 5 * np.sin(0.1 * number), 40), Hand(85, 38 + 5 * np.sin(0.2 * number), right=0.05)]


def write_video(path, count, size=(112, 64), fps=30.0, times=None):
    """A video of numbered images; returns its path."""
    with VideoWriter(path, fps) as writer:
        for number in range(count):
            writer.write(numbered_image(number, size), None if times is None else times[number])
    return path
