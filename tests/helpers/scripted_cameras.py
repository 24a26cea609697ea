"""Recordings of several cameras with scripted hands: numbered images, and stand-ins for the networks that read them.

The image that camera k has of moment m bears the number 1000 k + m; the stand-ins know where the hands are then.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from annotated_recordings import camera_ring
from predicted_hands import hand_motion
from scripted_hands import number_of, numbered_image

from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate
from handpose.inference.tracking.tracker import next_region
from handpose.structures import write_calibration
from handpose.video import VideoWriter

STRIDE = 1000  # from one camera's numbers to the next one's
SIZE = (640, 480)


def moving_hands(frames, sides=(0, 1)):
    """(T, H, 21, 3) metres: hands side by side that wave and bend their fingers."""
    hands = [hand_motion(frames, ('left', 'right')[side], seed) for seed, side in enumerate(sides)]
    return np.stack(hands, 1).astype(np.float64) + [[[side * 0.24 - 0.12, 0, 0]] for side in sides]


@dataclass
class ScriptedCameras:
    """What the cameras of a recording see, and what networks would say of it.

    `missed(camera, moment, hand)` tells whether the detector and the tracker miss a hand; `mirrored` cameras show
    their images mirrored; `noise` in pixels is the same in every run.
    """

    calibration: object
    joints: np.ndarray
    sides: tuple = (0, 1)
    noise: float = 0.0
    missed: object = staticmethod(lambda camera, moment, hand: False)
    mirrored: tuple = ()
    detections: int = 0
    estimates: int = 0
    blind: set = field(default_factory=set)
    info = EstimatorInfo('scripted cameras')

    def __post_init__(self):
        points = torch.from_numpy(self.joints)
        pixels = torch.stack([camera.project(points) for camera in self.calibration]).numpy()
        self.pixels = pixels + self.noise * np.random.default_rng(0).normal(size=pixels.shape)

    def hands(self, image):
        """(number of the hand, its pixels, side) for each hand that is not missed."""
        camera, moment = divmod(number_of(image), STRIDE)
        for hand, side in enumerate(self.sides):
            points, is_right = self.pixels[camera, moment, hand], side == 1
            if camera in self.mirrored:
                points, is_right = [SIZE[0] - 1, 0] + points * [-1, 1], not is_right
            if not self.missed(camera, moment, hand):
                yield hand, points, is_right

    def detect(self, image):
        self.detections += 1
        return [next_region(points) for _, points, _ in self.hands(image)]

    def estimate(self, frame, regions):
        self.estimates += len(regions)
        return [self._estimate(list(self.hands(frame.image)), region) for region in regions]

    def _estimate(self, hands, region):
        def distance(hand):
            return float(np.linalg.norm(hand[1].mean(0) - [region.x, region.y]))

        near = [hand for hand in hands if distance(hand) < region.size / 2]
        if not near:
            return HandEstimate(np.full((21, 2), region.x, np.float32), np.zeros((21, 3), np.float32), 0.01, 0.5)
        _, points, is_right = min(near, key=distance)
        right = 0.95 if is_right else 0.05
        return HandEstimate(points.astype(np.float32), np.zeros((21, 3), np.float32), 0.98, right)

    def reset(self, intrinsics=None):
        pass

    def context_start(self, times):
        return len(times)

    def session(self):
        return Session(self, self, name='scripted cameras', licence='CC0')


def write_moments(path, camera, moments, fps=30.0, size=SIZE):
    """A video, or a folder of images if the path has no suffix, of some moments as one camera shows them."""
    if not path.suffix:
        path.mkdir(parents=True)
        for index, moment in enumerate(moments):
            cv2.imwrite(str(path / f'{index:05}.png'), numbered_image(camera * STRIDE + moment, size))
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps) as writer:
        for moment in moments:
            writer.write(numbered_image(camera * STRIDE + moment, size), None)
    return path


def scripted_recording(folder, frames=24, cameras=3, moments=None, rates=None, **options):
    """Writes videos and calibration; returns what plays the networks.

    `moments` has the numbers of cameras that differ, `rates` their images per second.
    """
    calibration = options.pop('calibration', None) or camera_ring(cameras, distortion=options.pop('distortion', ()))
    sides = options.get('sides', (0, 1))
    scene = ScriptedCameras(calibration, moving_hands(frames, sides), **options)
    for k, name in enumerate(calibration.names):
        shown = (moments or {}).get(k, range(frames))
        write_moments(folder / f'{name}.avi', k, shown, (rates or {}).get(k, 30.0))
    write_calibration(folder / 'calibration.json', calibration)
    return scene
