"""`ExportedModel`: a network that `handpose export-model` wrote, from arrays to arrays."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.runtime.errors import RuntimeFileError, RuntimeUnavailable
from handpose.runtime.onnx_file import read_metadata
from handpose.runtime.sessions import RUNTIMES, check_runtime, installed_runtimes, open_session
from handpose.text import did_you_mean

_log = logging.getLogger(__name__)


class TensorInfo(NamedTuple):
    """An input or an output of an exported network."""

    name: str
    axes: tuple[str | int, ...]  # sizes, or names of axes whose size is not fixed
    dtype: str  # 'float32', 'uint8', 'bool' or 'int64'
    meaning: str
    default: float | bool | None = None  # of every element, where the input is left out; None means it may not be


class ExportedModel:
    """Runs an exported network with NumPy arrays; torch is not needed.

    Args:
        path: the .onnx file.
        runtime: 'onnxruntime' or 'openvino'; None takes the first of them that is installed.
        precision: in which the network computes, 'float32' or, with openvino on a CPU that has it, 'bfloat16'. Inputs
            and outputs are float32.
        num_threads: that compute; None leaves it to the runtime.

    Attributes:
        metadata: all that the file says about itself: see docs/guides/export_model.md.
        inputs: {name: `TensorInfo`}.
        outputs: {name: `TensorInfo`}.
        runtime: that runs it.

    Raises:
        RuntimeUnavailable: no runtime is installed, or not the one that was asked for, or not in this precision.
        RuntimeFileError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        runtime: str | None = None,
        precision: str = 'float32',
        num_threads: int | None = None,
    ) -> None:
        if runtime is None:
            installed = installed_runtimes()
            if not installed:
                raise RuntimeUnavailable(
                    f"none of {', '.join(RUNTIMES)} is installed: pip install 'handpose[runtime]', or [openvino]"
                )
            runtime = installed[0]
        check_runtime(runtime, precision)
        self.path, self.runtime, self.precision = Path(path), runtime, precision
        self.metadata: dict[str, Any] = read_metadata(path)
        try:
            self.inputs, self.outputs = (
                {row['name']: _tensor_info(row) for row in self.metadata[key]} for key in ('inputs', 'outputs')
            )
            self._largest_box = float(self.metadata.get('largest_box', math.inf))
            self._largest = {str(axis): int(size) for axis, size in self.metadata.get('largest', {}).items()}
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            raise RuntimeFileError(
                f'{path} does not describe its inputs and outputs; export the model again'
            ) from problem
        self._session = open_session(path, runtime, precision, num_threads)
        if not set(self.inputs) <= self._session.inputs or set(self.outputs) != set(self._session.outputs):
            raise RuntimeFileError(
                f'{path} describes other inputs or outputs than its network has ({", ".join(self._session.inputs)} to '
                f'{", ".join(self._session.outputs)}); export the model again'
            )

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs the network.

        Args:
            inputs: {name: array}, as `self.inputs` says. An input with a default may be left out.

        Returns:
            {name: array}, as `self.outputs` says.

        Raises:
            ValueError: an input is missing or unknown, or has another dtype or shape than the file says.
        """
        unknown = sorted(set(inputs) - set(self.inputs))
        if unknown:
            raise ValueError(
                f'{self.path} has no input {unknown[0]!r}; it has {", ".join(self.inputs)}.'
                f'{did_you_mean(unknown[0], self.inputs)}'
            )
        sizes: dict[str, int] = {}
        given = {name: self._checked(self.inputs[name], value, sizes) for name, value in inputs.items()}
        for name, info in self.inputs.items():
            if name not in given:
                given[name] = self._default(info, sizes)
        if 'boxes' in given:
            self._check_boxes(given['boxes'])
        return self._session.run(given)

    def _checked(self, info: TensorInfo, value: NDArray[Any], sizes: dict[str, int]) -> NDArray[Any]:
        """The array in the dtype of the input; adds the sizes of its axes to `sizes`."""
        array = np.asarray(value)
        if info.dtype == 'float32' and array.dtype.kind == 'f':
            array = array.astype(np.float32, copy=False)
        if array.dtype != np.dtype(info.dtype):
            raise ValueError(f'{info.name} must be {info.dtype}, got {array.dtype} ({info.meaning})')
        fits = array.ndim == len(info.axes)
        for axis, size in zip(info.axes, array.shape, strict=False):
            expected = sizes.setdefault(axis, size) if isinstance(axis, str) else axis
            fits = fits and size == expected and 1 <= size <= self._largest.get(str(axis), size)
        if not fits:
            limits = ''.join(f', {axis} at most {n}' for axis, n in self._largest.items() if axis in info.axes)
            known = {axis: size for axis, size in sizes.items() if axis in info.axes}
            raise ValueError(
                f'{info.name} must have the shape ({", ".join(map(str, info.axes))}){limits}, got {array.shape}'
                + (f'; axes of one name have one size, and the first inputs have {known}' if known else '')
            )
        return array

    def _check_boxes(self, boxes: NDArray[Any]) -> None:
        """Warns once of boxes (..., 4) that the network samples more coarsely than torch does."""
        side = float((boxes[..., 2:] - boxes[..., :2]).max(initial=0.0))
        if side <= self._largest_box:
            return
        _log.warning(
            '%s: a box has a side of %.0f pixels, and beyond %.0f this network samples its content more coarsely than '
            'torch, so that joints differ: give it a smaller crop of the hand (said once)',
            self.path,
            side,
            self._largest_box,
        )
        self._largest_box = math.inf

    def _default(self, info: TensorInfo, sizes: Mapping[str, int]) -> NDArray[Any]:
        if info.default is None:
            raise ValueError(f'{self.path} needs the input {info.name!r}: {info.dtype}, {info.axes}, {info.meaning}')
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in info.axes]
        return np.full(shape, info.default, np.dtype(info.dtype))


def _tensor_info(row: Mapping[str, Any]) -> TensorInfo:
    axes = tuple(row['axes'])
    if not all(type(axis) in (int, str) for axis in axes) or row['dtype'] not in ('float32', 'uint8', 'bool', 'int64'):
        raise ValueError(row)
    default = row.get('default')
    if not isinstance(default, (bool, int, float, type(None))):
        raise ValueError(row)
    return TensorInfo(str(row['name']), axes, row['dtype'], str(row['meaning']), default)
