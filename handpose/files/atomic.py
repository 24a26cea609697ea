"""Writing a file whole or not at all."""

import errno
import os
import secrets
from contextlib import contextmanager
from pathlib import Path

# What network and virtual file systems answer to a flush of a folder that they cannot do.
NO_FOLDER_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM)
TEMPORARY = '.writing-'  # how the name of an unfinished file begins


@contextmanager
def atomic_file(path):
    """A binary file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    The bytes go to a temporary file beside it, are flushed to the disk, and get their name in one step: whoever reads
    `path`, after a kill, a full disk or a power cut too, finds the old file or the new one.

    Args:
        path: the file to write; its folder is made if missing.

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


def atomic_write(path, data):
    """Writes bytes, or a string as UTF-8, to `path`, whole or not at all; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data.encode('utf-8') if isinstance(data, str) else data)


def remove_unfinished(folder, names='*'):
    """Deletes what killed processes left half-written in `folder` of files whose names fit the pattern `names`.

    Call it while nobody writes such files there.
    """
    for path in Path(folder).glob(f'{TEMPORARY}{names}.*'):
        path.unlink(missing_ok=True)


def flush_folder(folder):
    """The new name itself is on the disk only once the folder is, on file systems that can flush folders."""
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
