"""Hand pose in video: parts, systems, data and metrics behind one data contract."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from handpose.models import Estimator

__version__ = '0.1.0'


def load(name_or_path: 'str | Path', device: 'torch.device | str' = 'cpu') -> 'Estimator':
    """Builds an estimator with its weights: `handpose.load('deformer_synthetic')`.

    Args:
        name_or_path: a name that `handpose zoo list` shows, whose file is downloaded if it is missing, or the path of a
            `.safetensors` file that `handpose publish` wrote.
        device: of the estimator.

    Returns:
        The estimator, in float32 and in evaluation mode.

    Raises:
        ValueError: an unknown name, a file that is no estimator, or one that cannot be had or is damaged.
    """
    from handpose.zoo.estimators import load_estimator

    return load_estimator(name_or_path, device)
