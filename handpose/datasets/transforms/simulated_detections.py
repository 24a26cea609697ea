"""Simulates what a 2D hand detector finds in the views of a multi-view clip.

Legend: T frames, K cameras, H hands, J = 21 joints.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.transforms.detections import DetectedHands, check_views, with_detections
from handpose.datasets.transforms.estimator_noise import present_hands
from handpose.datasets.transforms.noise_processes import heavy_tailed
from handpose.geometry import boxes_from_points
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence, fill_masked_values

Array = NDArray[np.float64]
_LARGEST = 6.0  # standard deviations of a joint's error
# Errors of fingertips are larger than those of knuckles: the wrist, then each finger from its base to its tip.
_JOINT_FACTORS = np.array([1.0] + 5 * [0.75, 0.9, 1.1, 1.35])
_LEAST_SHARE = 0.5  # of a hand's box inside the image, below which it is not detected


@TRANSFORMS.register_module()
@dataclass(kw_only=True)
class SimulatedDetections:
    """Fills `boxes` and the input of a multi-view estimator from true joints with the errors of a detector.

    Each view of each frame has its own errors, in sides of the box of the hand in this view: the hand is displaced, and
    each joint with heavy tails; both errors are larger in hard views and of hidden hands, the second of fingertips too.
    Hands are lost, the more the less of them is seen, and now and then the other hand is taken for the one looked for.
    The defaults were fitted to MediaPipe's networks on rendered images (docs/systems/assemblyhands.md). See
    `with_detections` for what the sample has afterwards.

    Attributes:
        joint_error: of a joint of a hand that nothing hides, median distance.
        hand_error: of the whole hand, standard deviation along each axis.
        difficulty: of the logarithm of a factor of both errors, standard deviation, drawn for each view of each hand.
        occlusion_gain: errors of a hidden hand are 1 + so many times as large.
        freedom: degrees of freedom of Student's t, of joints.
        lost: probability that a hand is not detected.
        lost_hidden: added to it for a hidden hand; in between, in proportion to `occlusion`.
        swapped: probability that the detection is of the other hand of the clip.
        threshold: see `with_detections`.

    Raises:
        DatasetError: a number below zero, a probability above 1, freedom of at most 2, or threshold 0.
    """

    joint_error: float = 0.05
    hand_error: float = 0.035
    difficulty: float = 0.6
    occlusion_gain: float = 4.0
    freedom: float = 4.0
    lost: float = 0.33
    lost_hidden: float = 1.0
    swapped: float = 0.03
    threshold: float = 0.15

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            most = 1.0 if option.name in ('lost', 'lost_hidden', 'swapped') else np.inf
            if not 0 <= value <= most:
                raise DatasetError(f'SimulatedDetections: {option.name} must be from 0 to {most}, got {value!r}')
        if self.freedom <= 2 or self.threshold == 0:
            raise DatasetError(
                f'SimulatedDetections: freedom must be above 2 and threshold above 0, got {self.freedom!r} and '
                f'{self.threshold!r}'
            )

    def __call__(self, sample: HandSequence, rng: Generator) -> HandSequence:
        """Simulates the detections of a clip.

        Args:
            sample: with `joints_2d`, `intrinsics`, `extrinsics` and `joints_valid`.
            rng: source of the errors.

        Returns:
            The clip with its input.

        Raises:
            DatasetError: a clip of one camera, without a calibration or without joints.
        """
        check_views(sample, 'SimulatedDetections')
        if sample.joints_2d is None or sample.joints_valid is None or sample.joints_2d_valid is None:
            raise DatasetError('SimulatedDetections needs joints_2d and joints_valid, which this clip lacks')
        sample = fill_masked_values(sample)
        joints = sample.require('joints_2d').double().numpy()
        known = sample.require('joints_2d_valid').numpy().all(-1) & present_hands(sample)[:, None]  # (T, K, H)
        hidden = np.zeros(known.shape)
        if sample.occlusion is not None:
            hidden = np.nan_to_num(sample.occlusion.double().numpy())
        detected = self._joints(rng, joints, known, hidden)
        seen = known & _in_image(sample, joints)
        found = seen & (rng.random(seen.shape) >= self.lost + self.lost_hidden * hidden)
        return with_detections(
            sample, DetectedHands(torch.from_numpy(detected).float(), torch.from_numpy(found)), self.threshold
        )

    def _joints(self, rng: Generator, joints: Array, known: NDArray[np.bool_], hidden: Array) -> Array:
        """Detected joints (T, K, H, J, 2) of true ones."""
        side = np.ptp(joints, axis=-2).max(-1)[..., None, None]
        # A vector of two normal coordinates is longer than 1.177 in half of all cases.
        jitter = heavy_tailed(rng, joints.shape, self.freedom, _LARGEST) * self.joint_error / 1.177
        shift = self.hand_error * rng.standard_normal((*joints.shape[:-2], 1, 2))
        factor = np.exp(self.difficulty * rng.standard_normal(hidden.shape)) * (1 + self.occlusion_gain * hidden)
        detected = joints + side * factor[..., None, None] * (_JOINT_FACTORS[:, None] * jitter + shift)
        swapped = (rng.random(known.shape) < self.swapped) & known[..., ::-1] & (known.shape[-1] == 2)
        return np.where(swapped[..., None, None], detected[..., ::-1, :, :], detected)


def _in_image(sample: HandSequence, joints: Array) -> NDArray[np.bool_]:
    """(T, K, H): enough of a hand's box lies inside the image, whose size `meta` states before it is loaded."""
    boxes = boxes_from_points(torch.from_numpy(joints)).numpy()
    if sample.images is not None:
        sizes = [sample.images.shape[:-3:-1]] * joints.shape[1]
    else:
        sizes = sample.meta.get('image_sizes') or [sample.meta['image_size']] * joints.shape[1]
    extent = np.array(sizes, np.float64)[:, None]  # (K, 1, 2)
    inside = np.minimum(boxes[..., 2:], extent - 0.5) - np.maximum(boxes[..., :2], -0.5)
    area = inside.clip(0).prod(-1)
    return area >= _LEAST_SHARE * (boxes[..., 2:] - boxes[..., :2]).clip(1e-6).prod(-1)
