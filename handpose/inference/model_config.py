"""The config of the model that the weights in a file belong to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handpose.engine import load_config
from handpose.zoo.estimators import published_model


def model_config(
    path: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    hand_model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Finds the config of a model.

    Args:
        path: a published `.safetensors` file, which describes its model, or a checkpoint of training.
        config: path of the config that the checkpoint was trained with.
        options: {key: value} that override the config.
        hand_model: config of the hand model to use instead of the one described there.

    Returns:
        The config of the model.

    Raises:
        ValueError: a checkpoint without its config, or a file that cannot be read.
        UntrustedDescriptionError: the model of a published file refers to something that a file may not refer to.
    """
    if config is not None:
        model = load_config(config, options).model.to_dict()
        return model if hand_model is None else {**model, 'hand_model': hand_model}
    if Path(path).suffix == '.safetensors':
        return published_model(path, hand_model)
    raise ValueError(
        f'{path} does not describe the model of its weights: give the config it was trained with, or publish it '
        f'with `handpose publish`'
    )
