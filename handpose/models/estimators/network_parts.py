"""The networks of an estimator as plain functions of tensors, which another runtime than torch can compute.

An estimator lists them in `network_parts`, and its `predict` calls them by `run_part`, so that all that is not a
network (windows, resampling, averages) stays where it is, whoever computes the networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from handpose.text import did_you_mean

WHOLE = 'network'  # the part that takes what a user has and gives what a user wants
EXAMPLE_SIZE = 2  # of the first axis of any length, in the tensors that an export traces


@dataclass(frozen=True)
class PartTensor:
    """An input or an output of a part.

    Attributes:
        name: in the exported file.
        axes: of each axis its size, or its name if the size is not fixed. Axes of one name have one size.
        meaning: unit, range and coordinate frame, for whoever uses the exported file.
        dtype: of the tensor.
        default: what the whole tensor holds where None is given for it; None means it must be given.
        example: smallest and largest value of the random numbers that an export traces and compares.
        ascending: such numbers ascend along the last axis, as those of boxes must.
    """

    name: str
    axes: tuple[str | int, ...]
    meaning: str
    dtype: torch.dtype = torch.float32
    default: float | bool | None = None
    example: tuple[float, float] = (0.0, 1.0)
    ascending: bool = False


@dataclass(frozen=True)
class NetworkPart:
    """A network, or a share of one that predictions compute by itself.

    Attributes:
        name: `WHOLE`, or what the part does, such as 'encode'.
        function: from tensors as `inputs` says to tensors as `outputs` says. None is taken for an input with a default.
        inputs: of the function, in order.
        outputs: of the function, in order.
        largest: {name of an axis: the largest size that the network takes}.
        usual: {name of an axis: its size in examples}, for axes that must not be small.
        notes: what the user of the exported part must know beside: JSON values by key.
    """

    name: str
    function: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[PartTensor, ...]
    outputs: tuple[PartTensor, ...]
    largest: Mapping[str, int] | None = None
    usual: Mapping[str, int] | None = None
    notes: Mapping[str, Any] | None = None

    def examples(self, sizes: Mapping[str, int] | None = None, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs.

        Args:
            sizes: of axes by name; others are as in `example_sizes`.
            seed: of the numbers.

        Returns:
            One tensor for each input.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = {**self.example_sizes(), **(sizes or {})}
        return tuple(_example(spec, chosen, generator) for spec in self.inputs)

    def example_sizes(self) -> dict[str, int]:
        """{name of an axis: its size in `examples`}: small, and no two the same by chance."""
        names = dict.fromkeys(axis for spec in self.inputs for axis in spec.axes if isinstance(axis, str))
        largest, usual = self.largest or {}, self.usual or {}
        small = {name: min(EXAMPLE_SIZE + n, largest.get(name, EXAMPLE_SIZE + n)) for n, name in enumerate(names)}
        return {**small, **usual}


class PartSession(Protocol):
    """Computes a part in another runtime."""

    def __call__(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """Takes the inputs of the part, in order, and gives its outputs on the device of the inputs."""


def find_part(parts: Sequence[NetworkPart], name: str, owner: str) -> NetworkPart:
    """Finds a part by its name.

    Args:
        parts: of an estimator.
        name: of the part.
        owner: name of the estimator, for the error message.

    Returns:
        The part.

    Raises:
        ValueError: there is none of this name.
    """
    for part in parts:
        if part.name == name:
            return part
    names = [part.name for part in parts]
    listed = f'it has {", ".join(names)}' if names else 'it has no network that can be exported'
    raise ValueError(f'{owner} has no network part {name!r}: {listed}.{did_you_mean(name, names)}')


def _example(spec: PartTensor, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
    shape = [axis if isinstance(axis, int) else sizes[axis] for axis in spec.axes]
    if spec.dtype == torch.bool:
        values = torch.rand(shape, generator=generator) < 0.7
        values[..., 0] = True  # of a mask of frames or joints, something counts
        return values
    low, high = spec.example
    values = low + (high - low) * torch.rand(shape, generator=generator)
    values = values.sort(-1).values if spec.ascending else values
    return values.to(spec.dtype)
