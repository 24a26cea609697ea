"""Exporting the network of an estimator to one .onnx file, which says in its metadata how to use it.

`handpose.runtime.ExportedModel` runs the file without torch.
"""

import hashlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import handpose
from handpose.files.atomic import atomic_write
from handpose.hands import COMMON_JOINTS, MANO_JOINTS
from handpose.models.estimators.base import Estimator
from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor, find_part
from handpose.runtime import ExportedModel
from handpose.runtime.onnx_file import FORMAT, FORMAT_VERSION, KEY
from handpose.zoo.publish import UNITS

LARGEST_FILE = 2**31 - 1  # bytes that a protocol buffer holds
TOLERANCE = 1e-4  # of the largest magnitude of an output: how much the file may differ from torch
_PACKAGES = ('onnx', 'onnxscript')
_DTYPES = {torch.float32: 'float32', torch.uint8: 'uint8', torch.bool: 'bool', torch.int64: 'int64'}


class ExportFailed(ValueError):
    """A network that cannot be exported; the message says why and what to do."""


@dataclass(frozen=True)
class WeightsSource:
    """Where the weights of an estimator come from, for the metadata.

    Attributes:
        path: of their file; None for an estimator that was built without one.
        header: what the file says about itself: a published header, or the `meta` of a checkpoint.
        overrides: what else the metadata say, by key.
    """

    path: Path | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)


def export_network(
    estimator: Estimator, path: str | Path, source: WeightsSource | None = None, part: str = WHOLE
) -> dict[str, Any]:
    """Writes a network to an .onnx file, atomically.

    Args:
        estimator: in evaluation mode, on the CPU.
        path: of the file, which must end in .onnx.
        source: of the weights.
        part: name of the part to export, see `Estimator.network_parts`.

    Returns:
        The metadata of the file.

    Raises:
        ValueError: an estimator without weights, an unknown part, or another ending of the path.
        ExportFailed: the network cannot be exported, or takes more than 2 GB.
    """
    path = Path(path)
    if path.suffix != '.onnx':
        raise ValueError(f'an exported network must end in .onnx, got {path}')
    name = type(estimator).__name__
    if not any(True for _ in estimator.parameters()):
        raise ValueError(f'{name} computes without a network, so there is nothing to export')
    parts = estimator.network_parts()
    names = [one.name for one in parts]
    if part == WHOLE and names and WHOLE not in names:
        raise ValueError(
            f'{name} is no single network, since it computes between its networks what is no fixed graph: export its '
            f'parts one by one (--part), which are {", ".join(names)}'
        )
    chosen = find_part(parts, part, name)
    metadata = describe(estimator, chosen, source or WeightsSource())
    atomic_write(path, _onnx_bytes(estimator, chosen, metadata))
    return metadata


def describe(estimator: Estimator, part: NetworkPart, source: WeightsSource) -> dict[str, Any]:
    """Collects all that a user of an exported network needs to know.

    Args:
        estimator: that holds the network.
        part: that is exported.
        source: of the weights.

    Returns:
        JSON values by key; docs/guides/export_model.md lists them.
    """
    reads, gives, header = estimator.reads, estimator.gives, source.header
    size = None if reads.image_size is None else list(reads.image_size)
    return {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'handpose_version': handpose.__version__,
        'torch_version': torch.__version__,
        'estimator': type(estimator).__name__,
        'part': part.name,
        'inputs': [_describe_tensor(spec) for spec in part.inputs],
        'outputs': [_describe_tensor(spec) for spec in part.outputs],
        'largest': dict(part.largest or {}),
        'frame': gives.frame or 'that of the input',
        'image_size': size,
        'image_mean': None if reads.image_mean is None else list(reads.image_mean),
        'image_std': None if reads.image_std is None else list(reads.image_std),
        'num_frames': reads.num_frames,
        'frame_step': reads.frame_step,
        'frame_rate': reads.frame_rate,
        'num_hands': reads.num_hands,
        'num_classes': dict(gives.classes),
        'classes': header.get('classes'),
        'test_pipeline': header.get('test_pipeline'),
        'hand_model': None if gives.hand_model is None else gives.hand_model.name,
        'joint_order': list(COMMON_JOINTS),
        'hand_pose_order': list(MANO_JOINTS),
        'units': UNITS,
        'licence': header.get('licence'),
        'data': header.get('data'),
        'weights': None if source.path is None else source.path.name,
        'weights_sha256': None if source.path is None else hashlib.sha256(source.path.read_bytes()).hexdigest(),
        **estimator.export_notes(),
        **(part.notes or {}),
        **source.overrides,
    }


def largest_difference(
    part: NetworkPart, model: ExportedModel, sizes: Mapping[str, int] | None = None, seed: int = 0
) -> float:
    """Compares an exported network with torch on random inputs.

    Args:
        part: in torch.
        model: the exported part.
        sizes: of axes by name.
        seed: of the inputs.

    Returns:
        The largest difference of an output, as a share of its largest magnitude.
    """
    inputs = part.examples(sizes, seed)
    with torch.no_grad():
        expected = part.function(*inputs)
    arrays = {spec.name: value.numpy() for spec, value in zip(part.inputs, inputs, strict=True)}
    found = model.run(arrays)
    worst = 0.0
    for spec, value in zip(part.outputs, expected, strict=True):
        difference = np.abs(found[spec.name] - value.numpy()).max()
        worst = max(worst, float(difference / max(float(value.abs().max()), 1e-6)))
    return worst


def is_torch_new_enough() -> bool:
    """Whether the installed torch can export: 2.7 or later."""
    return 'is_exporting' in dir(torch.compiler)


def missing_exporters() -> list[str]:
    """The packages that exporting needs and that are not installed."""
    return [package for package in _PACKAGES if importlib.util.find_spec(package) is None]


class _Traced(nn.Module):
    """A part as a module, which owns the weights that its function uses."""

    def __init__(self, estimator: Estimator, part: NetworkPart) -> None:
        super().__init__()
        self.estimator, self.function = estimator, part.function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.function(*inputs)


def _onnx_bytes(estimator: Estimator, part: NetworkPart, metadata: Mapping[str, Any]) -> bytes:
    missing = missing_exporters()
    if missing:
        raise ExportFailed(f"exporting needs {' and '.join(missing)}: pip install 'handpose[runtime]'")
    if not is_torch_new_enough():
        raise ExportFailed(f'exporting needs torch 2.7 or later, and {torch.__version__} is installed: update torch')
    weights = sum(value.numel() * value.element_size() for value in (*estimator.parameters(), *estimator.buffers()))
    if weights > LARGEST_FILE:
        raise ExportFailed(f'the weights take {weights / 1e9:.1f} GB, and an .onnx file holds 2 GB at most')
    training = estimator.training
    traced = _Traced(estimator, part).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                traced,
                part.examples(),
                dynamo=True,
                dynamic_shapes=(_dynamic_shapes(part),),
                input_names=[spec.name for spec in part.inputs],
                output_names=[spec.name for spec in part.outputs],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as problem:
        reason = str(problem.__cause__ or problem).strip().splitlines()[-1]
        raise ExportFailed(
            f'{type(estimator).__name__} cannot be exported with torch {torch.__version__}: {reason}'
        ) from problem
    finally:
        estimator.train(training)
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]  # lines of source code, with the paths of this machine
    _check_axes(part, proto)
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(metadata, allow_nan=False)
    return proto.SerializeToString()


def _dynamic_shapes(part: NetworkPart) -> tuple[dict[int, Any], ...]:
    """The axes of each input that have no fixed size."""
    dims: dict[str, Any] = {}
    largest = part.largest or {}

    def named(axes: tuple[str | int, ...]) -> dict[int, Any]:
        found = {}
        for number, axis in enumerate(axes):
            if isinstance(axis, str):
                found[number] = dims.setdefault(axis, torch.export.Dim(axis, min=1, max=largest.get(axis)))
        return found

    return tuple(named(spec.axes) for spec in part.inputs)


def _check_axes(part: NetworkPart, proto: Any) -> None:
    """Refuses a graph in which a size has become fixed: it would only run on examples like those of the export."""
    for spec, found in zip(part.inputs, proto.graph.input, strict=True):
        for axis, dimension in zip(spec.axes, found.type.tensor_type.shape.dim, strict=True):
            if isinstance(axis, str) and not dimension.dim_param:
                raise ExportFailed(
                    f'the axis {axis!r} of {spec.name} became {dimension.dim_value} in the exported network: a '
                    f'component of it turns the size into a number; use tensor.shape[0] in place of len(tensor), and '
                    f'no condition on the size'
                )


def _describe_tensor(spec: PartTensor) -> dict[str, Any]:
    described = {'name': spec.name, 'axes': list(spec.axes), 'dtype': _DTYPES[spec.dtype], 'meaning': spec.meaning}
    return described if spec.default is None else {**described, 'default': spec.default}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporter says about its own steps."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
