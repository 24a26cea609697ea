"""Turning errors that a user can correct into a message and an exit code."""

import dis
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A full or read-only disk, missing permissions, a file system without locks.
FILE_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE),
    *(errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP),
)
# The extra of setup.py that has a package.
EXTRAS = {
    'mmcv': 'mmcv',
    'tensorboard': 'train',
    'matplotlib': 'train',
    'rerun': 'rerun',
    'pyarrow': 'export',
    'h5py': 'export',
    'supervision': 'export',
    'viser': 'view',
    'wandb': 'wandb',
    'mlflow': 'mlflow',
    'open_clip': 'openclip',
    'transformers': 'transformers',
    'onnx': 'runtime',
    'onnxscript': 'runtime',
    'onnxruntime': 'runtime',
    'openvino': 'openvino',
}


class UsageError(Exception):
    """Arguments that do not go together; the command ends with its usage and exit code 2."""


class UserError(ValueError):
    """A command that cannot do what it was asked to; the message says why and what to do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Ends the program with the message of a user's error instead of a traceback.

    `HANDPOSE_TRACEBACK=1` shows the traceback too. Errors that are not about input or files keep theirs.

    Raises:
        SystemExit: the message, which Python prints; the exit code is 1.
    """
    show_traceback = bool(os.environ.get('HANDPOSE_TRACEBACK'))
    try:
        yield
    except (ValueError, KeyError, TypeError, FileNotFoundError, ImportError) as error:
        package = _missing_package(error)
        if package in EXTRAS and not show_traceback:
            sys.exit(f"error: this needs the Python package {package}: pip install 'handpose[{EXTRAS[package]}]'")
        if show_traceback or not _is_raised_here(error):
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        sys.exit(f'error: {message}')
    except OSError as error:
        if show_traceback or error.errno not in FILE_ERRORS:
            raise
        sys.exit(
            f'error: {error.filename or "a file"} could not be written or locked: {error.strerror}; what was saved '
            'before is whole: make room, or choose a folder that can be written'
        )
    except RuntimeError as error:
        reason = _loading_failure(error)
        if reason is not None and not show_traceback:
            sys.exit(
                f'error: {reason}. Load with fewer processes (--cfg-options num_workers=0 uses none), use smaller '
                'batches, or give a container more (docker run --shm-size=8g); the checkpoints are good: continue '
                'with --resume'
            )
        if show_traceback or not _is_lost_process(error):
            raise
        sys.exit(
            'error: another process of this run has ended or cannot be reached (its own message says why); the '
            f'checkpoints are good: continue with --resume. [{(str(error) or type(error).__name__).splitlines()[0]}]'
        )


def _is_raised_here(error: BaseException) -> bool:
    """Whether a `raise` of this library made the error, so that its message is meant for the user.

    What a function written in C raises while our code calls it has our frame too, but not that instruction.
    """
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    ours = trace.tb_frame.f_globals.get('__name__', '').startswith('handpose')
    return ours and dis.opname[instruction] == 'RAISE_VARARGS'


def _missing_package(error: BaseException | None) -> str | None:
    """The package whose import failed behind an error, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.split('.')[0]
        error = error.__cause__ or error.__context__
    return None


def _loading_failure(error: RuntimeError) -> str | None:
    """Why torch's DataLoader failed, where one of its processes has ended or has no shared memory; else None."""
    text = str(error)
    if any(f'unable to {what}' in text for what in ('allocate shared memory', 'write to file </torch_')):
        return 'the shared memory (/dev/shm) is too small for the batches that the loading processes hand over'
    if 'DataLoader worker' in text and ('killed by signal' in text or 'exited unexpectedly' in text):
        return 'a process that loads data has died, as when memory or the shared memory of /dev/shm runs out'
    return None


def _is_lost_process(error: RuntimeError) -> bool:
    """Whether a communication library reports that another process is gone."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    text = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or 'gloo' in text or 'nccl' in text
