"""Where exported networks are kept: the folder `exported` of the cache, of bounded size."""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from handpose.zoo.cache import cache_folder

LARGEST = 4_000_000_000  # bytes of the folder; beyond them the files that were not used for longest are deleted
_log = logging.getLogger(__name__)


class CacheProblem(Exception):
    """The folder cannot be read or written; the message says why."""


def export_folder() -> Path:
    """The folder of exported networks."""
    return cache_folder() / 'exported'


def kept_export(name: str, write: Callable[[Path], object]) -> Path:
    """Finds a file in the folder, or writes it and deletes old ones.

    Args:
        name: of the file.
        write: writes it.

    Returns:
        Its path.

    Raises:
        CacheProblem: the folder cannot be read or written, or the disk is full.
    """
    path = export_folder() / name
    try:
        if not path.is_file():
            write(path)
            remove_oldest(path.parent, path, LARGEST)
    except OSError as problem:
        raise CacheProblem(
            f'the folder of exported networks, {path.parent}, cannot be used ({problem.strerror or problem})'
        ) from problem
    _note_use(path)
    return path


def temporary_export(name: str, write: Callable[[Path], object]) -> Path:
    """Writes a file to a folder that lasts as long as the process, or finds it there.

    Args:
        name: see `kept_export`.
        write: see `kept_export`.

    Returns:
        Its path.

    Raises:
        CacheProblem: no temporary folder can be written either.
    """
    try:
        path = Path(_temporary_folder().name) / name
        if not path.is_file():
            write(path)
    except OSError as problem:
        raise CacheProblem(f'nor can a temporary folder ({problem.strerror or problem})') from problem
    return path


def remove_oldest(folder: Path, keep: Path, largest: int) -> list[Path]:
    """Deletes the exported networks that were not used for longest, until the others fit.

    Args:
        folder: of the files.
        keep: a file that stays.
        largest: bytes that may stay.

    Returns:
        What was deleted. A file that cannot be deleted, such as one in use on Windows, stays.
    """
    found = []
    for path in folder.glob('*.onnx'):
        try:
            found.append((path.stat(), path))
        except OSError:  # another process has deleted it
            continue
    total = sum(status.st_size for status, _ in found)
    deleted = []
    for status, path in sorted(found, key=lambda entry: entry[0].st_atime_ns):
        if total <= largest:
            break
        if path == keep:
            continue
        try:
            path.unlink()
        except OSError:
            continue
        total -= status.st_size
        deleted.append(path)
        _log.info('%s was deleted: exported networks took more than %.1f GB', path, largest / 1e9)
    return deleted


def _note_use(path: Path) -> None:
    """Sets the time of the last access, which file systems do not always note; that of the last change stays."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except OSError:  # a folder that can only be read
        return


@cache
def _temporary_folder() -> 'tempfile.TemporaryDirectory[str]':
    return tempfile.TemporaryDirectory(prefix='handpose-exported-', ignore_cleanup_errors=True)
