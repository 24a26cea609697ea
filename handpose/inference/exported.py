"""Estimators with a record of where their weights come from, for exports.

`load_with_source` reads published files and checkpoints of training alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handpose.export.network import WeightsSource
from handpose.inference.model_config import model_config
from handpose.models.estimators.base import Estimator
from handpose.registry import MODELS
from handpose.zoo.find import find_weights
from handpose.zoo.load import load_weights


def load_with_source(
    weights: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    hand_model: Mapping[str, Any] | None = None,
) -> tuple[Estimator, WeightsSource]:
    """Builds an estimator with its weights.

    Args:
        weights: a name of the model zoo, a `.safetensors` file, or a checkpoint of training.
        config: of a checkpoint of training.
        options: {key: value} that override the config.
        hand_model: config of the hand model, for weights whose hand model needs files of the user's.

    Returns:
        The estimator, in evaluation mode on the CPU, and the source of its weights.

    Raises:
        ValueError: the weights cannot be found or loaded, or do not describe their model.
    """
    path = find_weights(weights)
    described = model_config(path, config, options, hand_model)
    estimator: Estimator = MODELS.build(described)
    header = load_weights(estimator, path, described)
    return estimator.eval(), WeightsSource(path, header)
