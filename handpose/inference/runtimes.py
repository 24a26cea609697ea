"""Computing the networks of an estimator in another runtime than torch.

The rest of a prediction (windows, resampling, hand models) stays in torch, so results agree with it. Exported networks
are kept in the folder `exported` of the cache; the name of a file is a hash of the weights, of all options that shape
the network, and of the versions of what made it.
"""

import hashlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import handpose
from handpose.export.network import ExportFailed, export_network, is_torch_new_enough, missing_exporters
from handpose.inference.export_cache import CacheProblem, kept_export, temporary_export
from handpose.models.estimators.base import Estimator
from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartSession
from handpose.runtime import (
    PRECISIONS,
    RUNTIMES,
    ExportedModel,
    RuntimeFileError,
    RuntimeUnavailable,
    installed_runtimes,
)
from handpose.runtime.sessions import check_runtime
from handpose.text import did_you_mean

TORCH = 'torch'
CHOICES = (TORCH, *RUNTIMES)
_OPTIONS = (bool, int, float, str)  # kinds of attributes that may shape a network
_STATE = ('computed_by', 'training')  # attributes that do not
_EXPORTERS = ('torch', 'onnx', 'onnxscript')  # packages whose version shapes an exported file
VARIABLE = 'HANDPOSE_RUNTIME'  # environment variable: the default of `use_runtime`
# By the medians of docs/guides/export_model.md: the systems that gain, from how many parameters, and the fastest first.
# Smaller networks save milliseconds a clip, for which half a minute of exporting does not pay.
FASTER, SMALLEST = ('DSTformer', 'Deformer', 'HTT', 'PDTM'), 5_000_000
FASTEST = {'float32': ('openvino', 'onnxruntime', TORCH), 'bfloat16': ('openvino', TORCH)}
_log = logging.getLogger(__name__)


def use_runtime(
    estimator: Estimator, runtime: str | None = None, precision: str = 'float32', num_threads: int | None = None
) -> str:
    """Chooses what computes the networks of an estimator in `predict`.

    Args:
        estimator: in evaluation mode, with its weights.
        runtime: a name of `CHOICES`; None takes the fastest that is installed, see `fastest_runtime`.
        precision: in which networks compute: 'float32', or 'bfloat16' with torch or openvino on a CPU that has it.
        num_threads: that compute in another runtime than torch; None takes torch's number.

    Returns:
        What computes them, for people: 'openvino, float32'.

    Raises:
        RuntimeUnavailable: an unknown or missing runtime, a precision that it lacks, or a runtime for an estimator
            that has no network or is not on the CPU.
        ExportFailed: the network cannot be exported, or its file can be written nowhere.
        RuntimeFileError: its file in the cache is damaged.

    A cache that cannot be written is reported by a warning: then the default is torch, and a runtime that was asked for
    uses a temporary folder.
    """
    parts, name, device = predicted_parts(estimator), type(estimator).__name__, _device(estimator)
    is_default = runtime is None
    if runtime is None:
        runtime = fastest_runtime(estimator, precision)
    if runtime not in CHOICES:
        raise RuntimeUnavailable(
            f'runtime must be one of {", ".join(CHOICES)}, got {runtime!r}.{did_you_mean(runtime, CHOICES)}'
        )
    if precision not in PRECISIONS:
        raise RuntimeUnavailable(
            f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}.{did_you_mean(precision, PRECISIONS)}'
        )
    if not parts and (runtime != TORCH or precision != 'float32'):
        raise RuntimeUnavailable(
            f'{name} has no network that {runtime} could compute in {precision}: choose torch and float32'
        )
    if runtime == TORCH:
        half = {} if precision == 'float32' else {part.name: _Bfloat16Part(part) for part in parts}
        if half and device.type == 'cpu' and not _is_bfloat16_supported():
            raise RuntimeUnavailable('this CPU does not compute in bfloat16: choose the precision float32')
        estimator.use_sessions(half, f'torch, {precision}')
        return estimator.computed_by
    check_runtime(runtime, precision)
    if device.type != 'cpu':
        raise RuntimeUnavailable(f'{runtime} computes on the CPU here, and the model is on {device}: choose torch')
    threads = torch.get_num_threads() if num_threads is None else num_threads
    try:
        paths = [exported_file(estimator, part) for part in parts]
    except CacheProblem as problem:
        if is_default:
            _log.warning('%s; %s predicts in torch, which is slower', problem, name)
            return use_runtime(estimator, TORCH, precision)
        _log.warning('%s; %s is exported to a temporary folder, and in the next run again', problem, name)
        paths = _temporary_files(estimator, parts, problem)
    sessions: dict[str, PartSession] = {}
    for part, path in zip(parts, paths, strict=True):
        sessions[part.name] = _ExportedPart(part, _open(path, runtime, precision, threads))
    estimator.use_sessions(sessions, f'{runtime}, {precision}')
    return estimator.computed_by


def _temporary_files(estimator: Estimator, parts: Sequence[NetworkPart], cause: CacheProblem) -> list[Path]:
    try:
        return [exported_file(estimator, part, temporary=True) for part in parts]
    except CacheProblem as problem:
        raise ExportFailed(f'{cause}; {problem}: free some space, or choose the runtime torch') from problem


def fastest_runtime(estimator: Estimator, precision: str = 'float32') -> str:
    """The fastest runtime of those that are installed, by the ratios in docs/guides/export_model.md.

    The environment variable `HANDPOSE_RUNTIME` replaces this choice for estimators that have a network.

    Args:
        estimator: the estimator.
        precision: a name of `PRECISIONS`.

    Returns:
        A name of `CHOICES`: 'torch' for estimators on a GPU, for small ones and those that were not measured to be
        faster elsewhere, and where nothing else is installed.

    Raises:
        RuntimeUnavailable: the variable names no runtime.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen and chosen not in CHOICES:
        raise RuntimeUnavailable(
            f'the environment variable {VARIABLE} must be one of {", ".join(CHOICES)}, got {chosen!r}.'
            f'{did_you_mean(chosen, CHOICES)}'
        )
    if chosen and predicted_parts(estimator):
        return chosen
    size = sum(parameter.numel() for parameter in estimator.parameters())
    gains = type(estimator).__name__ in FASTER and size >= SMALLEST
    if not gains or _device(estimator).type != 'cpu' or missing_exporters() or not is_torch_new_enough():
        return TORCH
    installed = (*installed_runtimes(), TORCH)
    return next(name for name in FASTEST.get(precision, (TORCH,)) if name in installed)


def predicted_parts(estimator: Estimator) -> Sequence[NetworkPart]:
    """The parts that `predict` computes: all but the whole network, unless there is nothing else."""
    if not any(True for _ in estimator.parameters()):
        return ()
    parts = estimator.network_parts()
    return [part for part in parts if part.name != WHOLE] or parts


def exported_file(estimator: Estimator, part: NetworkPart, temporary: bool = False) -> Path:
    """Finds the exported file of a part in the cache, or writes it.

    Args:
        estimator: that holds the network.
        part: of it.
        temporary: keeps it as long as the process runs, and not in the cache.

    Returns:
        The path of the .onnx file.

    Raises:
        ExportFailed: the network cannot be exported.
        CacheProblem: the folder of the file cannot be read or written.
    """
    missing = missing_exporters()
    if missing:
        raise ExportFailed(
            f"exporting needs {' and '.join(missing)}: pip install 'handpose[runtime]', or choose the runtime torch"
        )
    name = f'{type(estimator).__name__.lower()}_{part.name}_{_fingerprint(estimator)[:16]}.onnx'

    def write(path: Path) -> None:
        _log.info('exporting %s to %s; later runs use the file', type(estimator).__name__, path)
        try:
            export_network(estimator, path, part=part.name)
        except ExportFailed as problem:
            raise ExportFailed(f'{problem}; or choose the runtime torch') from problem

    return (temporary_export if temporary else kept_export)(name, write)


def _open(path: Path, runtime: str, precision: str, num_threads: int) -> ExportedModel:
    try:
        return ExportedModel(path, runtime, precision, num_threads)
    except RuntimeFileError as problem:
        raise RuntimeFileError(
            f'{problem}. It is a file of the cache: delete it, and it is exported again'
        ) from problem


def _is_bfloat16_supported() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _ExportedPart:
    """A part that a runtime computes."""

    def __init__(self, part: NetworkPart, model: ExportedModel) -> None:
        self._part, self._model = part, model

    def __call__(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """See `PartSession`."""
        if any(value is not None and value.numel() == 0 for value in inputs):
            return self._part.function(*inputs)  # no hand or frame: runtimes take nothing empty, torch computes nothing
        given = {
            spec.name: value.detach().to('cpu', spec.dtype).numpy()
            for spec, value in zip(self._part.inputs, inputs, strict=True)
            if value is not None
        }
        found = self._model.run(given)
        device = next(value.device for value in inputs if value is not None)
        return tuple(torch.from_numpy(found[spec.name]).to(device) for spec in self._part.outputs)


class _Bfloat16Part:
    """A part that torch computes under autocast."""

    def __init__(self, part: NetworkPart) -> None:
        self._part = part

    def __call__(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """See `PartSession`."""
        device = next(value.device for value in inputs if value is not None)
        with torch.autocast(device.type, torch.bfloat16):
            found = self._part.function(*inputs)
        return tuple(value.float() if value.is_floating_point() else value for value in found)


def _device(estimator: Estimator) -> torch.device:
    return next((value.device for value in estimator.parameters()), torch.device('cpu'))


def _fingerprint(estimator: Estimator) -> str:
    """A hash of what an exported file depends on."""
    digest = hashlib.sha256(handpose.__version__.encode())
    for package in _EXPORTERS:
        digest.update(f'{package} {importlib.metadata.version(package)};'.encode())
    for path in _sources(estimator):
        digest.update(path.read_bytes())
    for name, module in estimator.named_modules():
        kept = {key: value for key, value in vars(module).items() if _is_option(value) and key not in _STATE}
        digest.update(f'{name} {type(module).__name__} {sorted(kept.items())}'.encode())
    for key, value in [*estimator.named_parameters(), *estimator.named_buffers()]:
        digest.update(f'{key} {tuple(value.shape)} {value.dtype}'.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _sources(estimator: Estimator) -> list[Path]:
    """The code that an exported file depends on: this library's, and that of components from elsewhere."""
    folder = Path(handpose.__file__).parent
    names = 'export', 'geometry', 'hands', 'models'
    own = {path for name in names for path in (folder / name).rglob('*.py')}
    classes = {kind for module in estimator.modules() for kind in type(module).__mro__}
    files = {vars(sys.modules[kind.__module__]).get('__file__') for kind in classes if kind.__module__ in sys.modules}
    return sorted(own | {Path(file) for file in files if file and file.endswith('.py')})


def _is_option(value: object) -> bool:
    """Whether an attribute may shape a network: a number, a text, or a list or tuple of such, at any depth."""
    if isinstance(value, (list, tuple)):
        return all(_is_option(part) for part in value)
    return value is None or isinstance(value, _OPTIONS)
