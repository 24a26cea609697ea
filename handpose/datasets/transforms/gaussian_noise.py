"""Plain Gaussian noise on the ground-truth joints, as the input of a refiner or a forecaster."""

import numpy as np
import torch

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.transforms.estimator_noise import fill_gaps, present_hands
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence


@TRANSFORMS.register_module()
class GaussianJointNoise:
    """Fills `input_joints_3d`, `input_valid` and `input_confidence` by independent Gaussian noise on every coordinate.

    G-HTT (arXiv 2311.17366, section 3.2) adds random noise to the observed motion in training and does not state which;
    this is the simplest one. `EstimatorNoise` has the errors of an estimator. Any coordinate frame. Frames without a
    hand, and padding, have no input; single joints that are not annotated are filled from the nearest frames, or by the
    wrist where they never are, with a confidence of 0.

    Args:
        std: standard deviation of each coordinate, metres.

    Raises:
        DatasetError: a negative standard deviation.
    """

    def __init__(self, std: float = 0.005) -> None:
        if not 0 <= std < np.inf:
            raise DatasetError(f'GaussianJointNoise: std must be a number of metres from 0, got {std!r}')
        self.std = std

    def __call__(self, sample: HandSequence, rng: np.random.Generator) -> HandSequence:
        """Draws the input of a clip.

        Args:
            sample: with joints.
            rng: source of the noise.

        Returns:
            The clip with its input.

        Raises:
            DatasetError: a clip without joints.
        """
        if sample.joints_3d is None or sample.joints_valid is None:
            raise DatasetError('GaussianJointNoise needs joints_3d and joints_valid, which this clip lacks')
        present = present_hands(sample)
        joints = sample.joints_3d.double().numpy()
        annotated = sample.joints_valid.numpy() & present[..., None]
        noise = self.std * rng.standard_normal(joints.shape)
        noisy = np.zeros(joints.shape)
        for hand in np.flatnonzero(present.any(0)):
            noisy[:, hand] = fill_gaps(joints[:, hand], annotated[:, hand]) + noise[:, hand]
        noisy[~present] = 0
        return sample.replace(
            input_joints_3d=torch.from_numpy(noisy.astype(np.float32)),
            input_valid=torch.from_numpy(present),
            input_confidence=torch.from_numpy(annotated.astype(np.float32)),
        )
