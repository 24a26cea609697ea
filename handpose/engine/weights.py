"""Putting the weights of a file into an estimator, or refusing them with a sentence."""

from pathlib import Path

from handpose.engine.compat import load_checkpoint_file

ADAPTER_PREFIX = 'estimator.'


def load_weights(estimator, filename):
    """Loads `filename` into `estimator`, strictly, and returns the checkpoint's meta dict.

    Args:
        estimator: the module that the weights belong to.
        filename: a checkpoint that training wrote, or a published file without the adapter prefix.

    Raises:
        ValueError: the file is missing or damaged, is of another model, or was made with another hand model.
    """
    checkpoint = load_checkpoint_file(filename)
    meta = checkpoint.get('meta', {})
    state = checkpoint.get('state_dict', checkpoint)
    state = {key.removeprefix(ADAPTER_PREFIX): value for key, value in state.items()}
    _check_hand_model(estimator, meta, filename)
    own = estimator.state_dict()
    missing, extra = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if missing or extra:
        example = missing[0] if missing else extra[0]
        raise ValueError(
            f'{filename} holds weights of another model than {type(estimator).__name__}: {len(missing)} of its tensors '
            f'are missing and {len(extra)} are unknown, e.g. {example!r}; use the config that the file was trained with'
        )
    for key, value in own.items():
        if value.shape != state[key].shape:
            raise ValueError(
                f'{filename}: tensor {key!r} has shape {tuple(state[key].shape)}, this model needs '
                f'{tuple(value.shape)}; use the config that the file was trained with'
            )
    estimator.load_state_dict(state)
    return meta


def _check_hand_model(estimator, meta, filename):
    hand_model = getattr(estimator, 'hand_model', None)
    trained_with = meta.get('hand_model')
    if hand_model is not None and trained_with and trained_with != hand_model.name:
        raise ValueError(
            f'{filename} was trained with hand model {trained_with!r}, this config uses {hand_model.name!r}; '
            f'set hand_model in the config to the one of the file'
        )


def newest_checkpoint(work_dir):
    """The checkpoint that training wrote last in `work_dir`, or None."""
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    # The pointer holds an absolute path; a work directory that was moved is still good.
    path = Path(work_dir) / Path(pointer.read_text().strip()).name
    return str(path) if path.is_file() else None
