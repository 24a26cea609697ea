"""Reading the checkpoints that training writes, as plain data only."""

import os
from pathlib import Path
from typing import Any

import torch

from handpose.files.pth import read_pth

# Of the checkpoints that training writes; raised when older code can no longer read them.
CHECKPOINT_FORMAT = 1
DAMAGED_ADVICE = 'use another checkpoint, or download this one again'


def load_checkpoint_file(
    filename: str | Path, map_location: str | torch.device = 'cpu', mmap: bool = False
) -> dict[str, Any]:
    """Reads a checkpoint of this library: plain data only.

    Args:
        filename: path of a `.pth` file.
        map_location: as for `torch.load`.
        mmap: True reads tensors only when they are touched, for a look at the rest of the file.

    Returns:
        The checkpoint dict, without `meta['config']`.

    Raises:
        ValueError: the file is missing, damaged, of a newer version of the library, or holds anything but plain data.
    """
    if not os.path.isfile(filename):
        raise ValueError(f'no checkpoint file {filename}; give the path of a .pth file that training wrote')
    checkpoint = read_pth(filename, map_location=map_location, mmap=mmap, error=ValueError, advice=DAMAGED_ADVICE)
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{filename} holds a {type(checkpoint).__name__}, expected a dict with "state_dict"')
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)
        version = meta.get('format', CHECKPOINT_FORMAT)
        if not isinstance(version, int) or version > CHECKPOINT_FORMAT:
            raise ValueError(
                f'{filename} has format {version!r}, written by handpose {meta.get("handpose_version")}; this '
                f'version reads up to format {CHECKPOINT_FORMAT}: update handpose'
            )
    return checkpoint
