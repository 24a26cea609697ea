"""Turning errors that a user can mend into one sentence and a non-zero exit."""

import dis
import errno
import os
import sys
from contextlib import contextmanager

# A disk that is full or may not be written, a file system without locks.
FILE_TROUBLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP),
)
# The extra of setup.py that has a package.
EXTRAS = {'mmcv': 'mmcv', 'tensorboard': 'train', 'matplotlib': 'train'}


@contextmanager
def exit_on_user_error():
    """Ends the program with the sentence of a user's error instead of a traceback.

    `HANDPOSE_TRACEBACK=1` shows the traceback too. Errors that are not about input or files keep theirs.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, FileNotFoundError, ImportError) as error:
        package = _missing_package(error)
        if package in EXTRAS and not os.environ.get('HANDPOSE_TRACEBACK'):
            sys.exit(f"error: this needs the Python package {package}: pip install 'handpose[{EXTRAS[package]}]'")
        if os.environ.get('HANDPOSE_TRACEBACK') or not _ours(error):
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        sys.exit(f'error: {message}')
    except OSError as error:
        if os.environ.get('HANDPOSE_TRACEBACK') or error.errno not in FILE_TROUBLE:
            raise
        sys.exit(
            f'error: {error.filename or "a file"} could not be written or locked: {error.strerror}; what was saved '
            'before is whole: make room, or choose a folder that can be written'
        )
    except RuntimeError as error:
        what = _loading_trouble(error)
        if what is not None and not os.environ.get('HANDPOSE_TRACEBACK'):
            sys.exit(
                f'error: {what}. Load with fewer processes (--cfg-options num_workers=0 uses none), use smaller '
                'batches, or give a container more (docker run --shm-size=8g); the checkpoints are good: go on with '
                '--resume'
            )
        if os.environ.get('HANDPOSE_TRACEBACK') or not _lost_a_process(error):
            raise
        sys.exit(
            'error: another process of this run has ended or cannot be reached (its own message says why); the '
            f'checkpoints are good: go on with --resume. [{(str(error) or type(error).__name__).splitlines()[0]}]'
        )


def _ours(error):
    """True when a `raise` of this library made the error, so that its message is a sentence for the user.

    What a function written in C raises while our code calls it has our frame too, but not that instruction.
    """
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    ours = trace.tb_frame.f_globals.get('__name__', '').startswith('handpose')
    return ours and dis.opname[instruction] == 'RAISE_VARARGS'


def _missing_package(error):
    """The package whose import failed behind an error, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.split('.')[0]
        error = error.__cause__ or error.__context__
    return None


def _loading_trouble(error):
    """Why torch's DataLoader failed, where a process of it is gone or finds no shared memory; else None."""
    words = str(error)
    if any(f'unable to {what}' in words for what in ('allocate shared memory', 'write to file </torch_')):
        return 'the shared memory (/dev/shm) is too small for the batches that the loading processes hand over'
    if 'DataLoader worker' in words and ('killed by signal' in words or 'exited unexpectedly' in words):
        return 'a process that loads data has died, as when memory or the shared memory of /dev/shm runs out'
    return None


def _lost_a_process(error):
    """True when the words of a communication library say that a peer is gone."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    words = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or 'gloo' in words or 'nccl' in words
