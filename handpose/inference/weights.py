"""What model the weights of a file belong to."""

from pathlib import Path

from handpose.engine import load_config, read_header
from handpose.registry import check_untrusted


def model_config(path, config=None, options=None, hand_model=None):
    """The config of the model that the weights in `path` belong to: a dict.

    Args:
        path: a published `.safetensors` file, which knows its own model, or a checkpoint of training.
        config: path of the config that the checkpoint was trained with. options: {key: value} overrides of it.
        hand_model: config of the hand model to use in place of the one that is described there.

    Raises:
        ValueError: a checkpoint without its config, or a file that cannot be read.
        UntrustedDescriptionError: a published file describes its model by what a file may not name.
    """
    if config is not None:
        model = load_config(config, options).model.to_dict()
        return model if hand_model is None else {**model, 'hand_model': hand_model}
    if Path(path).suffix == '.safetensors':
        return _published_model(path, hand_model)
    raise ValueError(
        f'{path} does not say what model its weights belong to: give the config it was trained with, or publish it '
        f'with `handpose publish`'
    )


def _published_model(path, hand_model):
    """The model that a published file describes, checked; files that it would be made from come from the user alone."""
    model = read_header(path)['model']
    if not isinstance(model, dict):
        raise ValueError(f'the header of {path} describes no model; publish the weights again')
    own = model.get('hand_model')
    if hand_model is None and isinstance(own, dict) and 'model_path' in own:
        raise ValueError(
            f'{path} was trained with the hand model {own.get("type")!r}, whose files do not come with weights: give '
            f"hand_model=dict(type='MANO', model_path=FOLDER), or --hand-model FOLDER"
        )
    model = {key: value for key, value in model.items() if hand_model is None or key != 'hand_model'}
    if isinstance(model.get('backbone'), dict) and model['backbone'].get('pretrained') is not None:
        # It started from other weights once; now it starts from those of this file.
        model['backbone'] = {**model['backbone'], 'pretrained': 'replaced by the weights of this file'}
    check_untrusted(model, path)
    return model if hand_model is None else {**model, 'hand_model': hand_model}
