"""The config of the model that the weights in a file belong to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handpose.engine import load_config, read_header
from handpose.registry import check_untrusted


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
        return _published_model(path, hand_model)
    raise ValueError(
        f'{path} does not describe the model of its weights: give the config it was trained with, or publish it '
        f'with `handpose publish`'
    )


def _published_model(path: str | Path, hand_model: Mapping[str, Any] | None) -> dict[str, Any]:
    """The model that a published file describes, checked; only the user names files that it is built from."""
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
