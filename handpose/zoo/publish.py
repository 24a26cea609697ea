"""Publishing weights: one safetensors file with a header that describes it."""

import hashlib
import json
import math
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from mmengine.config import Config
from torch import Tensor

import handpose
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.evaluation import MetricSpec, headlines
from handpose.files.atomic import atomic_write
from handpose.files.reading import FileError, read_json
from handpose.hands import COMMON_JOINTS, MANO_JOINTS
from handpose.models.estimators.base import Estimator
from handpose.zoo.load import FORMAT, FORMAT_VERSION, HEADER_KEY, LOSS_PREFIX, plain

FILL_IN = 'FILL IN'  # in the entry of an index: what only the publisher can say
UNITS = {
    'length': 'metre',
    'image': 'pixel, RGB in [0, 255]',
    'angle': 'radian',
    'camera_axes': 'x right, y down, z forward',
}

FULL_PRECISION = 'float32'
HALF_PRECISION = (
    'float16 parameters; float32 buffers, and parameters that float16 does not hold to 2^-11 of their largest magnitude'
)


def make_header(
    estimator: Estimator,
    config: Config,
    licence: str,
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """Describes weights for `publish`: JSON values only, and no date, so that the result is reproducible.

    Args:
        estimator: the module that holds the weights.
        config: the loaded config that it was built from.
        licence: terms of the weights; those of the data that they were trained on are a part of it.
        options: {key: value} overrides that the config was loaded with.
        metrics: {name: number} of the weights on the config's test split, see `read_metrics`.

    Raises:
        ValueError: the licence is empty, or the config holds something that JSON cannot.
    """
    if not licence.strip():
        raise ValueError(
            'weights need a licence, e.g. Apache-2.0 for weights trained on the built-in data alone; data and hand '
            'models with terms of their own (DexYCB: CC BY-NC 4.0) pass them on'
        )
    reads, hand_model = estimator.reads, estimator.gives.hand_model
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'handpose_version': handpose.__version__,
        'config': config_name(config.filename),
        'config_options': plain(options or {}),
        'estimator': type(estimator).__name__,
        'model': plain(estimator.published_config(config.model)),
        'hand_model': None if hand_model is None else hand_model.name,
        'image_mean': None if reads.image_mean is None else list(reads.image_mean),
        'image_std': None if reads.image_std is None else list(reads.image_std),
        'test_pipeline': plain(config.get('test_pipeline')),
        'joint_order': list(COMMON_JOINTS),
        'hand_pose_order': list(MANO_JOINTS),
        'units': UNITS,
        'data': data_name(config),
        'classes': class_names(config),
        'metrics': metrics,
        'licence': licence.strip(),
    }


def publish(estimator: Estimator, header: dict[str, Any], path: str | Path, half: bool = False) -> tuple[Path, str]:
    """Writes the weights and their header atomically; the same weights and header give the same bytes.

    What only the losses need (`loss_function.*`, e.g. a discriminator) is left out.

    Args:
        estimator: the module that holds the weights.
        header: what `make_header` gave; the file's own also states how the tensors are stored (`precision`).
        path: `<name>.safetensors`; `-` and the first 8 digits of the sha256 are appended to the name.
        half: store the parameters in half precision, see `to_half`. Loading converts them back.

    Returns:
        The path of the file, and its sha256 (64 hex digits).

    Raises:
        ValueError: the path ends in something else, or a weight is NaN or infinite.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise ValueError(f'weights are published as <name>.safetensors, got {path}')
    state = {}
    for key, value in estimator.state_dict().items():
        if key.startswith(LOSS_PREFIX):
            continue
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{key} is not finite, so these weights cannot work; publish another checkpoint')
        state[key] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if half:
        state = to_half(state, {name for name, _ in estimator.named_parameters()})
    # One entry alone: safetensors would write several in an order that changes from run to run.
    text = json.dumps({**header, 'precision': HALF_PRECISION if half else FULL_PRECISION}, allow_nan=False)
    data = safetensors.torch.save(state, metadata={HEADER_KEY: text})
    sha256 = hashlib.sha256(data).hexdigest()
    path = path.with_name(f'{path.stem}-{sha256[:8]}.safetensors')
    atomic_write(path, data)
    return path, sha256


def to_half(state: Mapping[str, Tensor], parameters: Collection[str]) -> dict[str, Tensor]:
    """Rounds the parameters of a module to float16; everything else stays as it is.

    Buffers (statistics of batch normalization, mean and standard deviation of images) stay float32, and so does a
    parameter that float16 does not hold to 2^-11 of its largest magnitude, because it is beyond 65504, or below 6e-5
    throughout.

    Args:
        state: {name: tensor}.
        parameters: names of the tensors that are parameters.

    Returns:
        {name: tensor}, with float16 where that is safe.
    """
    rounded = {name: value.half() for name, value in state.items() if name in parameters and value.is_floating_point()}
    safe = {name for name, value in rounded.items() if _is_precise(state[name], value.to(state[name].dtype))}
    return {name: rounded[name] if name in safe else value for name, value in state.items()}


def _is_precise(value: Tensor, rounded: Tensor) -> bool:
    """Whether rounding has changed no element by more than half a unit in the last place of the largest element."""
    return value.numel() == 0 or bool((rounded - value).abs().max() <= 2**-11 * value.abs().max())


def read_metrics(path: str | Path, row: str = 'model') -> dict[str, float | None]:
    """Reads one row of the `metrics.json` that `handpose test` wrote: {name: number}, None for NaN.

    Raises:
        ValueError: no such file, no JSON, or no such row.
    """
    advice = 'give the metrics.json that `handpose test` wrote for these weights'
    numbers = read_json(path, allow_nan=True, advice=advice).get(row)
    if not isinstance(numbers, dict) or not all(type(value) in (int, float) for value in numbers.values()):
        raise FileError(f'{path} has no row {row!r} of metrics; {advice}')
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}


def config_name(path: str | Path) -> str:
    """The path of a config below the folder `configs`: '/here/configs/deformer/dexycb.py' -> 'deformer/dexycb.py'.

    A file elsewhere keeps its own name alone.
    """
    parts = Path(path).parts
    if 'configs' not in parts:
        return parts[-1]
    return '/'.join(parts[len(parts) - parts[::-1].index('configs') :])


def data_name(config: Config) -> str | None:
    """What a config is tested on: 'DexYCB s0 test, from the folder synthetic_dexycb'; None without a test set."""
    test = config.get('test_dataset')
    return None if test is None else _describe_dataset(test)


def _describe_dataset(test: Mapping[str, Any]) -> str:
    if 'datasets' in test:
        return ' and '.join(map(_describe_dataset, test['datasets']))
    if 'dataset' in test:
        return _describe_dataset(test['dataset'])
    words = [str(test[key]) for key in ('type', 'setup', 'split') if key in test]
    folder = f', from the folder {Path(test["data_root"]).name}' if 'data_root' in test else ''
    return ' '.join(words) + folder


def class_names(config: Config) -> dict[str, list[str]] | None:
    """The names of actions, verbs and objects of a config's test set, {kind: list}, or None where it has none."""
    taxonomy = configured_taxonomy(config.get('test_dataset'))
    return None if taxonomy is None else plain(taxonomy.metainfo())


def index_entry(path: str | Path, sha256: str, header: dict[str, Any], specs: Mapping[str, MetricSpec]) -> str:
    """The entry of handpose/zoo/index.yml for a published file.

    Args:
        path: of the file.
        sha256: of the file, 64 hex digits.
        header: what `make_header` gave.
        specs: {name: spec} of the metrics of the config; the entry has the headlines.

    Returns:
        YAML; what only the publisher can say is left as `FILL IN`.
    """
    path, config = Path(path), header['config'].removesuffix('.py')
    options = ' '.join(shlex.quote(f'{key}={value}') for key, value in header['config_options'].items())
    with_options = f' --cfg-options {options}' if options else ''
    numbers = {spec: (header['metrics'] or {}).get(spec.name) for spec in headlines(specs)}
    name = path.stem.removesuffix(f'-{sha256[:8]}')
    entry = {
        'kind': 'estimator',
        **dict.fromkeys(('title', 'summary'), FILL_IN),
        'file': path.name,
        'size': path.stat().st_size,
        'sha256': sha256,
        'sources': [f'package:weights/{path.name}'],
        'licence': header['licence'],
        **dict.fromkeys(('commercial_use', 'preprocessing', 'output', 'units'), FILL_IN),
        'joint_order': 'the common 21 joints (wrist, then thumb, index, middle, ring, little, each from base to tip)',
        **dict.fromkeys(('frame_rate', 'limitations', 'citation'), FILL_IN),
        'config': config,
        'training': f'handpose train {config}{with_options}',
        'metrics': [
            {
                'name': spec.title,
                'value': float(spec.format(value)),
                'unit': spec.unit,
                'data': header['data'] or FILL_IN,
                'command': f'handpose test {config} {name}{with_options}',
            }
            for spec, value in numbers.items()
            if value is not None
        ],
    }
    return yaml.safe_dump({name: entry}, sort_keys=False, width=110, allow_unicode=True)
