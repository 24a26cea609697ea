"""The checkpoint that a subcommand loads when none is given."""

from mmengine.config import Config

from handpose.cli.errors import UserError
from handpose.engine import run_settings
from handpose.engine.checkpoints import choose_checkpoint
from handpose.zoo.find import find_weights


def require_checkpoint(config: Config, name: str, checkpoint: str | None = None) -> str:
    """Chooses the checkpoint of a trained config.

    Args:
        config: the loaded config; its work directory is set.
        name: the config as the user named it, for the error message.
        checkpoint: path of weights, or their name in the zoo; None for the newest of the work directory.

    Returns:
        The path of a file.

    Raises:
        UserError: the work directory holds none.
        ValueError: there are no such weights.
    """
    if checkpoint is not None:
        return str(find_weights(checkpoint))
    work_dir = run_settings(config).work_dir
    found = choose_checkpoint('auto', work_dir)
    if found is None:
        raise UserError(f'no checkpoint in {work_dir}; train first with: handpose train {name}')
    return found
