"""Estimators that are ready for use, built from the model zoo or from published weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from handpose.models.estimators.base import Estimator
from handpose.registry import MODELS, check_untrusted
from handpose.text import did_you_mean
from handpose.zoo.errors import ZooError
from handpose.zoo.fetch import get
from handpose.zoo.index import NAME, ZooIndex, default_index
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
        The estimator, in float32 and in evaluation mode.

    Raises:
        ZooError: an unknown name, or a file that is no estimator or cannot be had.
        ValueError: the file is damaged, or describes no model that can be built.
    """
    index = default_index() if index is None else index
    path = _path_of(name_or_path, index)
    estimator = MODELS.build(published_model(path, hand_model))
    load_weights(estimator, path)
    return estimator.to(device).eval()


def _path_of(name_or_path: str | Path, index: ZooIndex) -> Path:
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or not NAME.fullmatch(name):
        if not is_published(name):
            raise ZooError(
                f'{name} is neither a name of the model zoo nor a .safetensors file, which describes the model of its '
                f'weights: publish a checkpoint with `handpose publish`'
            )
        return Path(name)
    estimators = [entry.name for entry in index.values() if entry.kind == 'estimator']
    known = ', '.join(estimators) or 'none yet'
    if name not in index:
        raise ZooError(
            f'the model zoo has no {name!r}.{did_you_mean(name, index)} Its estimators: {known}; weights of your own '
            'are given as the path of a .safetensors file'
        )
    if index[name].kind != 'estimator':
        raise ZooError(
            f'{name!r} is a network file, not an estimator: `handpose.zoo.fetch.get({name!r})` gives its path, and '
            f'`handpose infer` runs it. Estimators of the model zoo: {known}'
        )
    return get(name, index)


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
