"""Writing a file completely or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Errors of network and virtual file systems that cannot flush a folder.
NO_FOLDER_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM)
TEMPORARY = '.writing-'  # how the name of an unfinished file begins


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a binary file that replaces `path` when the block ends well, and leaves no trace when it does not.

    The bytes go to a temporary file beside it, are flushed to the disk, and get their name in one step: whoever reads
    `path`, after a kill, a full disk or a power cut too, finds the old file or the new one.

    Args:
        path: the file to write; its folder is made if missing.

    Yields:
        The file, to be written.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'{TEMPORARY}{path.name}.{secrets.token_hex(4)}'
    try:
        with open(temporary, 'xb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Writes a file completely or not at all; see `atomic_file`.

    Args:
        path: the file to write; its folder is made if missing.
        data: its contents; text becomes UTF-8.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    with atomic_file(path) as file:
        file.write(data.encode('utf-8') if isinstance(data, str) else data)


def remove_unfinished(folder: str | Path, names: str = '*') -> None:
    """Deletes files that killed processes left half-written; call it while nobody writes such files there.

    Args:
        folder: where to look.
        names: pattern of the names that the files would have got.
    """
    for path in Path(folder).glob(f'{TEMPORARY}{names}.*'):
        path.unlink(missing_ok=True)


def flush_folder(folder: str | Path) -> None:
    """Flushes a folder: on file systems that can do so, a new name is on the disk only then.

    Args:
        folder: the folder of the new file.

    Raises:
        OSError: the disk reports an error.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; elsewhere this one may be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_FLUSH:
            raise
    finally:
        os.close(handle)
