"""Loading the weights of a file into an estimator, or refusing them with an error message."""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from safetensors import SafetensorError, safe_open
from torch import Tensor

from handpose.hands import COMMON_JOINTS, MANO_JOINTS
from handpose.models.backbones.pretrained import check_sha256
from handpose.models.estimators.base import Estimator
from handpose.zoo.checkpoint_file import load_checkpoint_file

ADAPTER_PREFIX = 'estimator.'
# What only training needs (a discriminator, say) lives in this part of every estimator and is not published.
LOSS_PREFIX = 'loss_function.'

FORMAT = 'handpose-weights'
FORMAT_VERSION = 1  # of published files; raised when older code can no longer read them
HEADER_KEY = 'handpose'  # the entry of the safetensors metadata that holds the header as JSON
HEADER_FIELDS = ('estimator', 'model', 'config', 'hand_model', 'image_mean', 'image_std', 'joint_order', 'licence')
# Options of a model that change neither what its tensors are nor what they mean.
NOT_COMPARED = ('loss', 'pretrained', 'model_path', 'test_mode', 'vote')


def load_weights(
    estimator: Estimator, filename: str | Path, model_config: Mapping[str, Any] | None = None, training: bool = False
) -> dict[str, Any]:
    """Loads `filename` into `estimator` and returns what the file says about itself.

    Mean and standard deviation of the images come with the weights and replace the estimator's own.

    Args:
        estimator: the module that the weights belong to.
        filename: a checkpoint that training wrote, or a `.safetensors` file that `handpose publish` wrote.
        model_config: the config that `estimator` was built from; where a published file was made with other options,
            a warning names them.
        training: True when training starts from the weights. Published files lack what only the losses need; a
            warning then names what stays as it is.

    Returns:
        The checkpoint's `meta` dict, or the published file's header.

    Raises:
        ValueError: the file is missing, damaged, of a newer format, of another model, hand model or joint order, it
            holds NaN or infinity, or it holds code, which is never run.
    """
    published = is_published(filename)
    meta, state = read_weights(filename)
    _check_made_for(estimator, meta, filename)
    own = estimator.state_dict()
    missing = sorted(set(own) - set(state))
    in_losses = [key for key in missing if published and key.startswith(LOSS_PREFIX)]
    missing = [key for key in missing if key not in in_losses]
    check_tensors(type(estimator).__name__, own, state, missing, filename)
    estimator.load_state_dict({**own, **state})
    if training and in_losses:
        parts = ', '.join(sorted({'.'.join(key.split('.')[:2]) for key in in_losses}))
        _warn(f'{filename} is published without {parts}, which only training needs: it starts from its initial values')
    if published and model_config is not None:
        for difference in model_differences(meta['model'], estimator.published_config(model_config)):
            _warn(f'{filename} was made with another model config: {difference}')
    return meta


def is_published(filename: str | Path) -> bool:
    """Whether a file of weights is published, and says what it is; else it is a checkpoint of training."""
    return Path(filename).suffix == '.safetensors'


def read_weights(filename: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads a checkpoint or published weights as plain data; nothing in the file is executed.

    Args:
        filename: a checkpoint that training wrote, or a `.safetensors` file.

    Returns:
        The checkpoint's `meta` or the published file's header, and the tensors by name, without the adapter's prefix.

    Raises:
        ValueError: the file is missing, damaged, of a newer format, or holds code.
    """
    return _read_published(filename) if is_published(filename) else _read_checkpoint(filename)


def read_header(filename: str | Path) -> dict[str, Any]:
    """Reads what a published `.safetensors` file says about itself; no tensor is loaded.

    Returns:
        dict: format_version, handpose_version, config, config_options, estimator, model, hand_model, image_mean,
        image_std, joint_order, hand_pose_order, units, test_pipeline, data, classes, metrics, licence, precision.

    Raises:
        ValueError: the file is missing, damaged, not of this library, or of a newer format.
    """
    with _open(filename) as file:
        return _header_of(file, filename)


def model_differences(published: Mapping[str, Any], model_config: Mapping[str, Any]) -> list[str]:
    """Compares two model configs: messages such as 'head.mode is "average" in the file and "dynamic" here'.

    Losses, file paths, and options that only change testing are not compared.
    """
    return list(_differences(published, plain(model_config), ''))


def plain(value: Any) -> Any:
    """Turns a config into what JSON can hold. Of an absolute path only the last part stays.

    Raises:
        ValueError: it holds something else than dicts, lists, strings, numbers, booleans and None.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, Path)):
        # Absolute paths of the publisher's machine are private.
        return Path(value).name if Path(value).is_absolute() else str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ValueError(f'a config holds {value!r}, which is no string, number, list or dict and cannot be published')


def _read_checkpoint(filename: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    checkpoint = load_checkpoint_file(filename)
    meta, state = checkpoint.get('meta'), checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f'{filename} holds no dict of tensors under "state_dict"; it is no checkpoint of a model')
    meta = meta if isinstance(meta, dict) else {}
    return meta, {key.removeprefix(ADAPTER_PREFIX): value for key, value in state.items()}


def _read_published(filename: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # Published names end in the beginning of their sha256, so that a file damaged in transfer is noticed.
    named_hash = re.search(r'-([0-9a-f]{8})$', Path(filename).stem)
    with _open(filename) as file:
        header = _header_of(file, filename)
        if named_hash:
            check_sha256(Path(filename), named_hash[1])
        state = {key: _full_precision(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118  (not a dict)
    _check_normalisation(header, state, filename)
    return header, state


def _full_precision(value: Tensor) -> Tensor:
    """Files in half precision give the same float32 modules as others."""
    return value.float() if value.dtype == torch.float16 else value


def _open(filename: str | Path) -> Any:
    if not Path(filename).is_file():
        raise ValueError(f'no weights file {filename}; give the path of a .safetensors file, or of a .pth checkpoint')
    try:
        return safe_open(str(filename), framework='pt')
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f'{filename} cannot be read as a safetensors file: it is truncated, damaged, or of another kind; '
            'download it again'
        ) from error


def _header_of(file: Any, filename: str | Path) -> dict[str, Any]:
    text = (file.metadata() or {}).get(HEADER_KEY)
    if text is None:
        raise ValueError(
            f'{filename} has no handpose header, so nothing says what its tensors are; publish weights with '
            f'`handpose publish`'
        )
    try:
        header = json.loads(text)
        kind, version = header['format'], int(header['format_version'])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f'{filename} has a handpose header that cannot be read; download it again') from error
    if kind != FORMAT:
        raise ValueError(f'{filename} has the format {kind!r}, expected {FORMAT!r}')
    if version > FORMAT_VERSION:
        raise ValueError(
            f'{filename} has format version {version}, written by handpose {header.get("handpose_version")}; this '
            f'version reads up to {FORMAT_VERSION}: update handpose'
        )
    lacking = [name for name in HEADER_FIELDS if name not in header]
    if lacking:
        raise ValueError(f'the header of {filename} lacks {", ".join(lacking)}; publish the weights again')
    _check_kinds(header, filename)
    return header


def _check_kinds(header: dict[str, Any], filename: str | Path) -> None:
    """Raises ValueError for a field of a kind that `make_header` does not write; all may be None."""
    classes = header.get('classes')
    named = classes is None or (isinstance(classes, dict) and {'actions', 'objects'} <= set(classes))
    if not named:
        raise ValueError(
            f"{filename}: 'classes' in its header must name actions and objects; publish the weights again"
        )
    fields: list[tuple[str, Any, Any, str]]
    fields = [(name, header.get(name), str, 'a list of names') for name in ('joint_order', 'hand_pose_order')]
    fields += [(name, header[name], (int, float), 'a list of numbers') for name in ('image_mean', 'image_std')]
    fields += [(f'classes.{name}', classes[name], str, 'a list of names') for name in ('actions', 'objects') if classes]
    for name, value, kind, expected in fields:
        if value is not None and not (isinstance(value, list) and all(isinstance(item, kind) for item in value)):
            got = str(value)[:80]
            raise ValueError(
                f'{filename}: {name!r} in its header must be {expected}, got {got}; publish the weights again'
            )


def _check_normalisation(header: dict[str, Any], state: dict[str, Tensor], filename: str | Path) -> None:
    if header['image_mean'] is None and header['image_std'] is None:
        return  # it reads no images: a normalizer is one of something else
    for name in ('mean', 'std'):
        tensor, stated = state.get(f'normalizer.{name}'), header[f'image_{name}']
        stored = None if tensor is None else tensor.flatten().tolist()
        if stored != stated:
            raise ValueError(
                f'{filename} contradicts itself: its header gives {stated} as the {name} of the images, its tensors '
                f'give {stored}; publish the weights again'
            )


def _check_made_for(estimator: Estimator, meta: dict[str, Any], filename: str | Path) -> None:
    trained, own = meta.get('estimator'), type(estimator).__name__
    if trained and trained != own:
        raise ValueError(f'{filename} holds weights of another model: of {trained}, and this config builds {own}')
    hand_model = estimator.gives.hand_model
    trained = meta.get('hand_model')
    if hand_model is not None and trained and trained != hand_model.name:
        raise ValueError(
            f'{filename} was trained with hand model {trained!r}, this config uses {hand_model.name!r}; '
            f'set hand_model in the config to the one of the file'
        )
    for field, order in (('joint_order', COMMON_JOINTS), ('hand_pose_order', MANO_JOINTS)):
        theirs = meta.get(field)
        if theirs is not None and tuple(theirs) != order:
            raise ValueError(
                f'{filename} has the {field} {", ".join(map(str, theirs))}; this library has {", ".join(order)}, so '
                f'its answers would name the wrong joints'
            )


def check_tensors(
    name: str,
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    missing: Sequence[str],
    filename: str | Path,
) -> None:
    """Refuses tensors that do not fit a module.

    Args:
        name: of the module, for the message.
        own: the module's tensors.
        state: those of the file.
        missing: names of tensors that the file lacks.
        filename: of the file, for the message.

    Raises:
        ValueError: tensors are missing, unknown, of another shape, NaN or infinite.
    """
    extra = sorted(set(state) - set(own))
    if missing or extra:
        example = missing[0] if missing else extra[0]
        raise ValueError(
            f'{filename} holds weights of another model than {name}: {len(missing)} of its tensors are missing and '
            f'{len(extra)} are unknown, e.g. {example!r}; give {name} the options of the config that the file was '
            f'trained with'
        )
    for key, value in own.items():
        if key in state and value.shape != state[key].shape:
            raise ValueError(
                f'{filename}: tensor {key!r} has shape {tuple(state[key].shape)}, and {name} needs '
                f'{tuple(value.shape)}; give {name} the options of the config that the file was trained with'
            )
    for key, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f'{filename}: tensor {key!r} holds NaN or infinity, so every prediction would too; download the file '
                'again, or use a checkpoint from before the training went wrong'
            )


def _differences(published: Any, here: Any, path: str) -> Iterator[str]:
    if isinstance(published, dict) and isinstance(here, dict):
        for key in sorted({*published, *here} - set(NOT_COMPARED)):
            inner = f'{path}.{key}' if path else key
            absent = 'not given'
            yield from _differences(published.get(key, absent), here.get(key, absent), inner)
    elif published != here:
        yield f'{path} is {json.dumps(published)} in the file and {json.dumps(here)} here'


def _warn(message: str) -> None:
    print_log(message, 'current', logging.WARNING)
