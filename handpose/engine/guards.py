"""Protection of runs: a lock on the work directory, a clean stop on signals, and a check for non-finite losses."""

import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handpose.files.atomic import remove_unfinished
from handpose.models.estimators.base import Estimator
from handpose.models.estimators.forecaster import Forecaster
from handpose.structures import HandSequence, sample_name
from handpose.system import NO_LOCKS, try_lock

LOCK = '.lock'


class WorkDirLock:
    """Locks a work directory against a second training run until this process ends, however it ends.

    Args:
        work_dir: the folder, made if missing. What killed runs left half-written there is removed.

    Raises:
        ValueError: another process trains there; says which.
    """

    def __init__(self, work_dir: str | Path) -> None:
        folder = Path(work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = open(folder / LOCK, 'a+', encoding='utf-8')  # noqa: SIM115  (stays open as long as the lock)
        locked = True
        try:
            # Loader workers must not share the lock: it would outlive a killed main process.
            free = try_lock(self.file.fileno(), per_process=True)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            free, locked = True, False
        if not free:
            self.file.seek(0)
            holder = self.file.read().strip() or 'another process'
            self.file.close()
            raise ValueError(
                f'{folder} is in use: {holder} is training there. Stop it, or choose another folder with --work-dir'
            )
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

    def release(self) -> None:
        """Releases the lock; the end of the process does so too."""
        self.file.close()


def check_work_dir(work_dir: str | Path) -> None:
    """Raises ValueError if the folder `work_dir` of a running training is gone."""
    if not Path(work_dir).is_dir():
        raise ValueError(
            f'the work directory {work_dir} was removed while training ran, with its logs and checkpoints; start the '
            'training anew'
        )


class StopSignal:
    """Catches Ctrl-C and SIGTERM, so that training can save a checkpoint first; a second signal stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False
        self.before: dict[signal.Signals, Any] = {}
        self.process: int | None = None

    def install(self) -> None:
        """Installs the signal handlers; only the main thread of a process can."""
        self.process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            self.before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within the block, which leaves nothing half done, a signal raises KeyboardInterrupt at once."""
        self.at_once = True
        try:
            self.raise_if_requested()  # a stop requested just before
            yield
        finally:
            self.at_once = False

    def raise_if_requested(self) -> None:
        """Raises KeyboardInterrupt if a stop was requested."""
        if self.requested:
            self.restore()
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: Any) -> None:
        if os.getpid() != self.process:
            return  # a loader worker, which ends with its main process
        self.raise_if_requested()
        self.requested = True
        os.write(
            2, b'stopping after the next checkpoint; send the signal again to stop at once\n'
        )  # print may be busy just now
        if self.at_once:
            self.raise_if_requested()


def check_class_names(estimator: Estimator, metainfo: Mapping[str, Any]) -> None:
    """Refuses a forecaster whose names of actions or objects are not those that a dataset's labels count.

    Args:
        estimator: any; only a `Forecaster` names its classes.
        metainfo: of the dataset.

    Raises:
        ValueError: lists that differ; names the first place where they do.
    """
    if not isinstance(estimator, Forecaster):
        return
    for kind, own in (('actions', estimator.action_names), ('objects', estimator.object_names)):
        names = metainfo.get(kind, [])
        if not own or not names or list(own) == list(names):
            continue
        pairs = zip_longest(own, names, fillvalue=None)
        place, (mine, theirs) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
        raise ValueError(
            f"the model's {kind} must be those of {metainfo.get('dataset')}, in its order, because labels are numbers: "
            f'{kind[:-1]} {place} is {mine!r} in the model (of {len(own)}) and {theirs!r} in the data (of '
            f"{len(names)}); give the model's option {kind!r} the names of the data, or a table that `handpose "
            f'text-features --config CONFIG --only {kind}` made'
        )


class NonFiniteLoss(ValueError):
    """A loss that is NaN or infinite; the message names the terms and the batch's samples."""


def check_finite(losses: Mapping[str, Tensor], batch: HandSequence) -> None:
    """Raises `NonFiniteLoss` before the optimizer can spoil the weights.

    Args:
        losses: {term: tensor}.
        batch: the `HandSequence` batch that they were computed from.
    """
    values = torch.stack([value.detach().float().sum() for value in losses.values()])
    if values.isfinite().all():
        return
    bad = [f'{name} = {value.item():g}' for name, value in zip(losses, values, strict=True) if not value.isfinite()]
    samples = ', '.join(sample_name(meta) for meta in batch.meta)
    raise NonFiniteLoss(
        f'the loss is not finite ({"; ".join(bad)}) for the samples {samples}. No weights were changed by it, and the '
        'checkpoints are good: look at these samples with `handpose browse` and go on with --resume, or start '
        'anew from a checkpoint with a lower learning rate: --work-dir OTHER --cfg-options load_from=CHECKPOINT'
    )
