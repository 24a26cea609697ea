"""Estimators that are ready for use, built from the model zoo or from published weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from handpose.models.estimators.base import Estimator
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS, check_untrusted
from handpose.zoo.find import find_weights
from handpose.zoo.index import ZooIndex
from handpose.zoo.load import is_published, load_weights, read_header


def load_estimator(
    name_or_path: str | Path,
    device: torch.device | str = 'cpu',
    hand_model: Mapping[str, Any] | None = None,
    index: ZooIndex | None = None,
) -> Estimator:
    """Builds an estimator and loads its weights, after their sha256 was checked.

    Args:
        name_or_path: a name of the model zoo, whose file is downloaded if it is missing, or the path of a
            `.safetensors` file that `handpose publish` wrote.
        device: of the estimator.
        hand_model: config of the hand model, for weights whose hand model needs files of the user's:
            dict(type='MANO', model_path=...).
        index: the model zoo; default the one that ships with the package.

    Returns:
        The estimator, in float32 and in evaluation mode. `prepare_for_prediction` makes those with batch normalization
        faster, if they are neither trained nor saved.

    Raises:
        ValueError: an unknown name, a file that is no estimator, cannot be had or is damaged, or one that describes no
            model that can be built.
    """
    path = find_weights(name_or_path, index)
    if not is_published(path):
        raise ValueError(
            f'{path} does not describe the model of its weights, as .safetensors files of this library do: publish the '
            'checkpoint with `handpose publish`'
        )
    estimator = MODELS.build(published_model(path, hand_model))
    load_weights(estimator, path)
    return prepare_for_prediction(estimator.to(device), fold=False)


def published_model(path: str | Path, hand_model: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Reads the model that a published file describes; only the user names files that it is built from.

    Args:
        path: of the `.safetensors` file.
        hand_model: config of the hand model to use instead of the one described there.

    Returns:
        The config of the model, checked.

    Raises:
        ValueError: the file cannot be read, describes no model, or needs a hand model of the user's.
        UntrustedDescriptionError: the model refers to something that a file may not refer to.
    """
    model = read_header(path)['model']
    if not isinstance(model, dict):
        raise ValueError(f'the header of {path} describes no model; publish the weights again')
    described = model.get('hand_model')
    if hand_model is None and isinstance(described, dict) and 'model_path' in described:
        raise ValueError(
            f'{path} was trained with the hand model {described.get("type")!r}, whose files are not distributed with '
            f"weights: give hand_model=dict(type='MANO', model_path=FOLDER), or --hand-model FOLDER"
        )
    model = {key: value for key, value in model.items() if hand_model is None or key != 'hand_model'}
    if isinstance(model.get('backbone'), dict) and model['backbone'].get('pretrained') is not None:
        # Training started from other weights; they are replaced by those of this file.
        model['backbone'] = {**model['backbone'], 'pretrained': 'replaced by the weights of this file'}
    check_untrusted(model, path)
    return model if hand_model is None else {**model, 'hand_model': hand_model}
