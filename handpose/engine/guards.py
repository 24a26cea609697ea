"""What keeps a run from harming itself or another one."""

import errno
import os
import signal
import socket
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch

from handpose.files.atomic import remove_unfinished
from handpose.structures import sample_name

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = '.lock'
# What a file system without locks answers.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)


class WorkDirLock:
    """Keeps a second training run out of a work directory for as long as this process lives, however it ends.

    Args:
        work_dir: the folder, made if missing. What killed runs left half-written there is removed.

    Raises:
        ValueError: another process trains there; says which.
    """

    def __init__(self, work_dir):
        folder = Path(work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        # A record lock, because loader workers do not inherit it: it must not outlive a killed main process.
        self.file = open(folder / LOCK, 'a+', encoding='utf-8')  # noqa: SIM115  (stays open as long as the lock)
        try:
            locked = _lock(self.file)
        except (BlockingIOError, PermissionError):
            self.file.seek(0)
            holder = self.file.read().strip() or 'another process'
            self.file.close()
            raise ValueError(
                f'{folder} is in use: {holder} trains there. Stop it, or choose another folder with --work-dir'
            ) from None
        if not locked:
            warnings.warn(
                f'{folder} cannot be locked on this system or file system; nothing keeps a second training out of it: '
                'do not start one there',
                stacklevel=2,
            )
        self.file.truncate(0)
        self.file.write(f'process {os.getpid()} on {socket.gethostname()}')
        self.file.flush()
        remove_unfinished(folder, '*.pth')

    def release(self):
        """Lets others in; so does the end of the process."""
        self.file.close()


def check_work_dir(work_dir):
    """Raises ValueError if the folder `work_dir` of a running training is gone."""
    if not Path(work_dir).is_dir():
        raise ValueError(
            f'the work directory {work_dir} was removed while training ran, with its logs and checkpoints; start the '
            'training anew'
        )


def _lock(file):
    """Takes the lock of an open file; False where there are no locks.

    Raises:
        BlockingIOError, PermissionError: another process has the lock.
    """
    if fcntl is None:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


class StopSignal:
    """Hears Ctrl-C and SIGTERM, so that training can save before it obeys; a second Ctrl-C stops at once."""

    def __init__(self):
        self.requested = False
        self.at_once = False
        self.before = {}
        self.process = None

    def install(self):
        """Takes the signals over; only the main thread of a process can."""
        self.process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            self.before = {s: signal.signal(s, self._hear) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore(self):
        """Gives the signals back to whoever had them before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    @contextmanager
    def waiting(self):
        """Within the block, which leaves nothing half done, a signal raises KeyboardInterrupt at once."""
        self.at_once = True
        try:
            self.raise_if_requested()  # a stop requested just before
            yield
        finally:
            self.at_once = False

    def raise_if_requested(self):
        """Raises KeyboardInterrupt if a stop was requested."""
        if self.requested:
            self.restore()
            raise KeyboardInterrupt

    def _hear(self, number, frame):
        if os.getpid() != self.process:
            return  # a loader worker, which ends with its main process
        self.raise_if_requested()
        self.requested = True
        os.write(2, b'stopping after a checkpoint; once more stops at once\n')  # print may be busy just now
        if self.at_once:
            self.raise_if_requested()


class NonFiniteLoss(ValueError):
    """A loss that is NaN or infinite; the sentence names the terms and the batch's samples."""


def check_finite(losses, batch):
    """Raises `NonFiniteLoss` before the optimizer can spoil the weights.

    Args:
        losses: {term: tensor}. batch: the `HandSequence` batch they are from.
    """
    values = torch.stack([value.detach().float().sum() for value in losses.values()])
    if values.isfinite().all():
        return
    bad = [f'{name} = {value.item():g}' for name, value in zip(losses, values, strict=True) if not value.isfinite()]
    samples = ', '.join(sample_name(meta) for meta in batch.meta)
    raise NonFiniteLoss(
        f'the loss is not finite ({"; ".join(bad)}) for the samples {samples}. No weights were changed by it, and the '
        'checkpoints are good: look at these samples with tools/browse_dataset.py and go on with --resume, or start '
        'anew from a checkpoint with a lower learning rate: --work-dir OTHER --cfg-options load_from=CHECKPOINT'
    )
