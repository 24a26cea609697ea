"""The packages that run an .onnx file: ONNX Runtime and OpenVINO."""

import importlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handpose.runtime.errors import RuntimeFileError, RuntimeUnavailable
from handpose.text import did_you_mean

RUNTIMES = ('onnxruntime', 'openvino')
"""The runtimes that can run an exported network."""
PRECISIONS = ('float32', 'bfloat16')
"""The number formats that a runtime can compute in."""
EXTRAS = {'onnxruntime': 'runtime', 'openvino': 'openvino'}  # of this package, by runtime


class RuntimeSession(Protocol):
    """A network that is ready to run.

    Attributes:
        inputs: names that its inputs have; one may have several.
        outputs: names of its outputs.
    """

    inputs: frozenset[str]
    outputs: list[str]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """{name of an input: array} -> {name of an output: array}."""


def installed_runtimes() -> tuple[str, ...]:
    """The names of `RUNTIMES` that are installed."""
    return tuple(name for name in RUNTIMES if importlib.util.find_spec(name) is not None)


def check_runtime(runtime: str, precision: str = 'float32') -> None:
    """Refuses what this machine cannot run.

    Args:
        runtime: a name of `RUNTIMES`.
        precision: a name of `PRECISIONS`, in which the network computes; inputs and outputs stay float32.

    Raises:
        RuntimeUnavailable: the runtime is unknown or not installed, or the precision is not to be had.
    """
    if runtime not in RUNTIMES:
        raise RuntimeUnavailable(
            f'runtime must be one of {", ".join(RUNTIMES)}, got {runtime!r}.{did_you_mean(runtime, RUNTIMES)}'
        )
    if precision not in PRECISIONS:
        raise RuntimeUnavailable(
            f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}.{did_you_mean(precision, PRECISIONS)}'
        )
    if importlib.util.find_spec(runtime) is None:
        raise RuntimeUnavailable(
            f"{runtime} is not installed: pip install 'handpose[{EXTRAS[runtime]}]', or choose another runtime"
        )
    if precision == 'bfloat16' and runtime == 'onnxruntime':
        raise RuntimeUnavailable(
            'onnxruntime has no bfloat16 on CPUs: choose the runtime openvino, or the precision float32'
        )
    if precision == 'bfloat16' and 'BF16' not in _openvino_capabilities():
        raise RuntimeUnavailable(
            'this CPU does not compute in bfloat16 (it takes the instructions avx512_bf16 or amx_bf16): choose the '
            'precision float32'
        )


def open_session(
    path: str | Path, runtime: str, precision: str = 'float32', num_threads: int | None = None
) -> RuntimeSession:
    """Loads a network.

    Args:
        path: of the .onnx file.
        runtime: a name of `RUNTIMES`.
        precision: a name of `PRECISIONS`.
        num_threads: that compute; None leaves it to the runtime.

    Returns:
        The network.

    Raises:
        RuntimeUnavailable: see `check_runtime`.
        RuntimeFileError: the runtime cannot load the file.
    """
    check_runtime(runtime, precision)
    return (
        _OnnxRuntimeSession(path, num_threads)
        if runtime == 'onnxruntime'
        else _OpenVinoSession(path, precision, num_threads)
    )


class _OnnxRuntimeSession:
    def __init__(self, path: str | Path, num_threads: int | None) -> None:
        os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')  # newer versions report to Microsoft otherwise
        runtime = importlib.import_module('onnxruntime')
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        except Exception as problem:  # the package has an exception class of its own for each status
            raise RuntimeFileError(f'onnxruntime cannot load {path}: {_reason(problem)}') from problem
        self.inputs = frozenset(value.name for value in self._session.get_inputs())
        self.outputs = [value.name for value in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(self.outputs, self._session.run(self.outputs, dict(inputs)), strict=True))


class _OpenVinoSession:
    def __init__(self, path: str | Path, precision: str, num_threads: int | None) -> None:
        core = importlib.import_module('openvino').Core()
        options = {
            'INFERENCE_PRECISION_HINT': {'float32': 'f32', 'bfloat16': 'bf16'}[precision],
            'PERFORMANCE_HINT': 'LATENCY',
        }
        if num_threads is not None:
            options['INFERENCE_NUM_THREADS'] = str(num_threads)
        try:
            self._request = core.compile_model(core.read_model(str(path)), 'CPU', options).create_infer_request()
        except Exception as problem:  # RuntimeError with a text, or an exception class of the package
            raise RuntimeFileError(f'openvino cannot load {path}: {_reason(problem)}') from problem
        self.inputs = frozenset(name for value in self._request.model_inputs for name in value.get_names())
        self.outputs = [value.get_any_name() for value in self._request.model_outputs]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        results = self._request.infer(arrays, share_inputs=True)
        # The request reuses its outputs in the next call.
        return {name: np.array(results[n]) for n, name in enumerate(self.outputs)}


def _openvino_capabilities() -> list[str]:
    core = importlib.import_module('openvino').Core()
    return list(core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))


def _reason(problem: Exception) -> str:
    """The text of an error in one line, without those of openvino that name its source files."""
    lines = [line.strip() for line in str(problem).splitlines()]
    return ' '.join(line for line in lines if line and not line.startswith('Exception from ')) or type(problem).__name__
