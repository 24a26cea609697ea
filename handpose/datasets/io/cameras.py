"""Which cameras of a dataset are read, and which of them are seen together in one clip."""

import logging
from collections.abc import Collection, Sequence

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.io.errors import DatasetError
from handpose.text import did_you_mean


def choose_cameras(
    captures: Sequence[Collection[str]], cameras: int | Sequence[str] | None, where: object
) -> list[list[str]]:
    """The names of each capture's cameras that the option `cameras` asks for.

    Args:
        captures: the names that each capture has.
        cameras: None, all; a number of each, taken evenly; or names, of which a capture may lack some.
        where: names the files in messages.

    Returns:
        for each capture the chosen names; sorted, or in the order of `cameras`.

    Raises:
        DatasetError: no positive number, or a name that no capture has.
    """
    available = [sorted(names) for names in captures]
    if cameras is None:
        return available
    if isinstance(cameras, int):
        if cameras < 1:
            raise DatasetError(f'cameras must be at least 1, got {cameras}')
        places = [np.linspace(0, len(names) - 1, min(cameras, len(names))).round().astype(int) for names in available]
        return [[names[i] for i in chosen] for names, chosen in zip(available, places, strict=True)]
    everywhere = sorted({name for names in available for name in names})
    for name in cameras:
        if name not in everywhere:
            raise DatasetError(
                f'cameras names {name!r}, which {where} lacks (it has {", ".join(everywhere)}).'
                f'{did_you_mean(name, everywhere)}'
            )
    return [[name for name in cameras if name in names] for names in available]


def group_cameras(sequences: Sequence[Sequence[str]], size: int, where: object) -> list[list[tuple[str, ...]]]:
    """Divides the cameras of each sequence into groups that are seen together, in their order.

    Cameras that are left over (5 cameras in groups of 2) are not read, and the log says so.

    Args:
        sequences: the cameras of each sequence.
        size: K, cameras in a group.
        where: names the dataset in messages.

    Returns:
        for each sequence its groups.

    Raises:
        DatasetError: no positive number, or more cameras than any sequence has.
    """
    most = max((len(names) for names in sequences), default=size)
    if type(size) is not int or not 1 <= size <= most:
        raise DatasetError(f'cameras_per_clip must be from 1 to the {most} chosen cameras of {where}, got {size!r}')
    if left := sum(len(names) % size for names in sequences):
        message = f'{left} views of {where} are not read: they are left over from groups of {size} cameras'
        print_log(message, logger='current', level=logging.WARNING)
    return [[tuple(names[i : i + size]) for i in range(0, len(names) - size + 1, size)] for names in sequences]


def from_first_camera(to_world: Sequence[NDArray]) -> Tensor:
    """Transforms (K, 4, 4) from the frame of the first of K cameras to that of each.

    Args:
        to_world: (4, 4) of each camera, from its frame to the world.

    Returns:
        float32; the first is the identity.
    """
    first, *others = to_world
    return torch.from_numpy(np.stack([np.eye(4), *(np.linalg.inv(matrix) @ first for matrix in others)])).float()
