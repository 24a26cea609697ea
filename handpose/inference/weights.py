"""What model the weights of a file belong to."""

from pathlib import Path

from handpose.engine import load_config, read_header


def model_config(path, config=None, options=None):
    """The config of the model that the weights in `path` belong to: a dict.

    Args:
        path: a published `.safetensors` file, which knows its own model, or a checkpoint of training.
        config: path of the config that the checkpoint was trained with. options: {key: value} overrides of it.

    Raises:
        ValueError: a checkpoint without its config, or a file that cannot be read.
    """
    if config is not None:
        return load_config(config, options).model.to_dict()
    if Path(path).suffix == '.safetensors':
        return read_header(path)['model']
    raise ValueError(
        f'{path} does not say what model its weights belong to: give the config it was trained with, or publish it '
        f'with tools/publish_model.py'
    )
