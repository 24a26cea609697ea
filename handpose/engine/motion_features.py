"""Features of motions from a trained action classifier, for the FID of forecasts."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from handpose.models.prediction import prepare_for_prediction
from handpose.registry import FEATURE_NETWORKS
from handpose.zoo.estimators import load_estimator


@runtime_checkable
class MotionClassifier(Protocol):
    """An estimator whose last features before the classification can be read."""

    def features(self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Computes the features of motions.

        Args:
            joints: (N, T, 2, 21, 3) metres, left and right hand.
            joints_valid: (N, T, 2, 21) bool.
            frame_valid: (N, T) bool, False for padding.

        Returns:
            (N, D).
        """


@FEATURE_NETWORKS.register_module()
class TrainedMotionFeatures:
    """The features of a trained motion classifier such as `MotionActionTransformer`.

    Args:
        weights: a name of the model zoo, or the path of a `.safetensors` file that `handpose publish` wrote.
        device: where features are computed.
        batch_size: motions that are computed at the same time.

    Raises:
        ValueError: `batch_size` is below 1, the file cannot be loaded, or its estimator has no features of motions.
    """

    def __init__(self, weights: str | Path, device: str = 'cpu', batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ValueError(f'TrainedMotionFeatures: batch_size must be at least 1, got {batch_size}')
        estimator = prepare_for_prediction(load_estimator(weights, device))
        if not isinstance(estimator, MotionClassifier):
            raise ValueError(
                f'{weights} holds the weights of {type(estimator).__name__}, which has no method features(joints, '
                f'joints_valid, frame_valid); expected a motion classifier such as MotionActionTransformer'
            )
        self.classifier: MotionClassifier = estimator
        self.device, self.batch_size = torch.device(device), batch_size

    @torch.no_grad()
    def __call__(self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Computes the features of motions.

        Args:
            joints: (N, T, 2, 21, 3) metres, left and right hand.
            joints_valid: (N, T, 2, 21) bool.
            frame_valid: (N, T) bool, False for padding.

        Returns:
            (N, D) on the CPU.
        """
        parts = zip(*(x.split(self.batch_size) for x in (joints, joints_valid, frame_valid)), strict=True)
        return torch.cat([self.classifier.features(*(x.to(self.device) for x in part)).cpu() for part in parts])
