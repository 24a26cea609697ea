"""Hashes of files."""

import hashlib
from pathlib import Path

_BLOCK = 2**20  # bytes


def file_sha256(path: str | Path) -> str:
    """Computes the sha256 of a file, a block at a time.

    Args:
        path: of the file.

    Returns:
        64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
