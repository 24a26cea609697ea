"""When checkpoints are written, which are kept, and which is the newest that can be used."""

import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from handpose.engine.compat import ATOMIC_FILES
from handpose.engine.guards import StopSignal, check_work_dir
from handpose.evaluation import MetricSpec, find_spec, headlines, specs_of
from handpose.files.atomic import atomic_write
from handpose.registry import HOOKS
from handpose.zoo.checkpoint_file import load_checkpoint_file

POINTER = 'last_checkpoint'  # the file that names the newest checkpoint, as in every mmengine project
BEST = 'best.pth'
HEADLINE = 'headline'  # as `save_best`: the first headline of the metrics


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes `epoch_<n>.pth` at the end of epochs and, if asked to, `iter_<n>.pth` between; each atomically.

    Old files are deleted only after the new one is on the disk. Weights that are not finite are never saved.

    Args:
        interval: epochs between two files; the last epoch is always saved.
        interval_iters: iterations between two files within an epoch (rounded up to the next optimizer step), or None.
        keep: newest files to keep.
        save_best: name of a number that validation reports, or 'headline' for its first headline (see `MetricSpec`);
            the best checkpoint by it stays in `best.pth`. None keeps none.

    Raises:
        ValueError: a number below 1; or, when training starts, a `save_best` that validation does not report.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 1,
        interval_iters: int | None = None,
        keep: int = 2,
        save_best: str | None = None,
    ) -> None:
        for name, value in (('interval', interval), ('interval_iters', interval_iters), ('keep', keep)):
            if value is not None and value < 1:
                raise ValueError(f'CheckpointHook needs {name} of at least 1, got {value}')
        self.interval, self.interval_iters, self.keep = interval, interval_iters, keep
        self.save_best = save_best
        self.best: MetricSpec | None = None  # of `save_best`, found when training starts
        self.waiting = False  # an interval has passed in the middle of an optimizer step
        self.saved = 0  # iterations done when the newest checkpoint was written
        self.stop = StopSignal()

    def before_train(self, runner: Runner) -> None:
        """Makes Ctrl-C and SIGTERM save first; in several processes, which might stop apart, they end at once."""
        self.saved = runner.iter
        if runner.world_size == 1:
            self.stop.install()
        if self.save_best is None:
            return
        self.best = _compared_number(self.save_best, runner.val_loop)
        best = Path(runner.work_dir) / BEST
        if runner.iter > 0 and find_corruption(best) is None:
            # Written after the last checkpoint, it may be newer than what that knows.
            meta = load_checkpoint_file(best, mmap=True)['meta']
            if meta['iter'] <= runner.iter and self.best.name in meta.get('best', {}):
                runner.message_hub.update_info('best_score', meta['best'][self.best.name])

    def after_run(self, runner: Runner) -> None:
        """Restores the signal handlers, also of a training that failed."""
        self.stop.restore()

    def next_batch(self, runner: Runner, batches: Iterator[Any]) -> Any:
        """The next of an iterator of training batches, None after the last.

        While it is waited for, a signal saves and stops at once, unless an optimizer step is half done.
        """
        if runner.iter % runner.train_dataloader.batch_sampler.batches_per_step:
            return next(batches, None)
        try:
            with self.stop.waiting():
                return next(batches, None)
        except KeyboardInterrupt:
            if self.stop.requested and runner.iter > self.saved:
                self._save(runner, f'iter_{runner.iter}.pth', dict(epoch=runner.epoch, iter=runner.iter))
            raise

    def before_val_epoch(self, runner: Runner) -> None:
        """Lets a signal stop a validation at once where nothing would be lost by it."""
        self.stop.at_once = runner.iter == self.saved

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stops a validation, once the epoch before it is saved."""
        if self.stop.requested:
            self._save(runner, f'epoch_{runner.epoch}.pth', dict(epoch=runner.epoch, iter=runner.iter))
            self.stop.raise_if_requested()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Saves between epochs' ends."""
        done = runner.iter + 1
        batches = runner.train_dataloader.batch_sampler
        if self.interval_iters is not None:
            self.waiting |= done % self.interval_iters == 0
        self.waiting |= self.stop.requested
        at_step, at_end = done % batches.batches_per_step == 0, batch_idx + 1 == len(batches)
        if self.waiting and at_step and not at_end:
            self.save_now(runner)

    def save_now(self, runner: Runner) -> None:
        """Saves after an iteration that ended an optimizer step."""
        self.waiting = False
        self._save(runner, f'iter_{runner.iter + 1}.pth', dict(epoch=runner.epoch, iter=runner.iter + 1))
        self.stop.raise_if_requested()

    def after_train_epoch(self, runner: Runner) -> None:
        """Saves at the end of an epoch."""
        self.waiting = False
        done = runner.epoch + 1
        stopping = self.stop.requested
        if done % self.interval == 0 or done == runner.max_epochs or stopping:
            self._save(runner, f'epoch_{done}.pth', dict(epoch=done, iter=runner.iter))
        if stopping:
            self.stop.raise_if_requested()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keeps the best checkpoint by `save_best`."""
        self.stop.at_once = False
        if self.best is None or metrics is None:
            return
        if self.best.name not in metrics:
            raise ValueError(f'save_best is {self.best.name!r}, which this validation could not compute')
        value = float(metrics[self.best.name])
        best = runner.message_hub.runtime_info.get('best_score')
        if not math.isfinite(value):
            return
        if best is None or self.best.is_better(value, best):
            runner.message_hub.update_info('best_score', value)
            meta = dict(epoch=runner.epoch, iter=runner.iter, best={self.best.name: value})
            self._write(runner, BEST, meta)

    def _save(self, runner: Runner, name: str, meta: dict[str, Any]) -> None:
        self._write(runner, name, meta)
        self.saved = meta['iter']
        if is_main_process():
            atomic_write(Path(runner.work_dir) / POINTER, str(Path(runner.work_dir) / name))
            self._delete_old(Path(runner.work_dir), meta['iter'])

    def _write(self, runner: Runner, name: str, meta: dict[str, Any]) -> None:
        _check_finite(runner.model)
        if is_main_process():
            check_work_dir(runner.work_dir)  # writing would make it again, without what was in it
        path = Path(runner.work_dir) / name
        try:
            runner.save_checkpoint(runner.work_dir, name, meta=meta, backend_args=dict(backend=ATOMIC_FILES))
        except OSError as error:
            raise ValueError(
                f'{path} could not be written ({error.strerror or error}); the checkpoints before it are whole. '
                'Make room and go on with --resume'
            ) from error

    def _delete_old(self, folder: Path, newest: int) -> None:
        # Unreadable files, and files beyond `newest` (of a run that once went further), are not ours to delete.
        iterations = {path: iteration_of(path) for path in checkpoint_files(folder)}
        kept = sorted((p for p, i in iterations.items() if 0 <= i <= newest), key=lambda path: iterations[path])
        for path in kept[: -self.keep]:
            path.unlink()


def next_batch(runner: Runner, batches: Iterator[Any]) -> Any:
    """The next of an iterator of training batches, None after the last; see `CheckpointHook.next_batch`."""
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            return hook.next_batch(runner, batches)
    return next(batches, None)


def _check_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f'{name} is not finite any more, so no checkpoint is written; the ones before it are good. '
                'Start anew from one of them with a lower learning rate or clipped gradients: --work-dir OTHER '
                '--cfg-options load_from=CHECKPOINT'
            )


def checkpoint_files(folder: str | Path) -> list[Path]:
    """Paths of the `epoch_<n>.pth` and `iter_<n>.pth` files in `folder`, in no order."""
    return [p for kind in ('epoch', 'iter') for p in Path(folder).glob(f'{kind}_*.pth')]


def iteration_of(path: str | Path) -> int:
    """The iteration that a checkpoint was saved at; -1 for a file that cannot be read."""
    try:
        return int(load_checkpoint_file(path, mmap=True)['meta']['iter'])
    except (ValueError, KeyError, TypeError):
        return -1


def find_corruption(path: str | Path) -> str | None:
    """Why the checkpoint `path` cannot be used, or None when it can; reads the whole file."""
    try:
        load_checkpoint_file(path, mmap=True)
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        return str(error)
    return None if broken is None else f'{path} is damaged: the checksum of {broken} does not fit'


def newest_checkpoint(work_dir: str | Path, warn: Callable[[str], object] = lambda message: None) -> str | None:
    """The path of the newest checkpoint of `work_dir` that can be read, or None where training has written none.

    Newest is the one with the most iterations, whatever the clock said when it was written.

    Args:
        work_dir: where training writes.
        warn: called with a message for every damaged file.

    Raises:
        ValueError: there are checkpoints, but every one of them is damaged.
    """
    iterations = {path: iteration_of(path) for path in checkpoint_files(work_dir)}
    unreadable = sorted(path for path, iteration in iterations.items() if iteration < 0)
    readable = sorted(
        (path for path in iterations if path not in unreadable), key=lambda path: iterations[path], reverse=True
    )
    for path in unreadable + readable:  # every unreadable file is reported
        message = find_corruption(path)
        if message is None and path in readable:
            return str(path)
        warn(message or f'{path} does not say at which iteration it was saved')
    if iterations:
        raise ValueError(
            f'every checkpoint in {work_dir} is damaged ({", ".join(sorted(p.name for p in iterations))}); move them '
            'away to start anew, or give the path of another one'
        )
    return None


def _compared_number(name: str, val_loop: Any) -> MetricSpec:
    """The spec of the number that `save_best` names."""
    if val_loop is None:
        raise ValueError(f'save_best is {name!r}, but there is no validation: set val_dataloader, or save_best=None')
    specs = specs_of(val_loop.evaluator.metrics)
    if name == HEADLINE:
        if not (found := headlines(specs)):
            raise ValueError(f'save_best is {name!r}, but no metric of val_evaluator has a headline; name a number')
        return found[0]
    try:
        spec = find_spec(specs, name)
    except ValueError as error:
        raise ValueError(f'save_best names what validation does not report: {error}') from error
    if spec.is_count:
        raise ValueError(f'save_best is {name!r}, a count, of which no value is better; name an error or a share')
    return spec


def checkpoint_in(work_dir: str | Path) -> str:
    """The path of the newest checkpoint of the folder `work_dir`, which another training is to start from.

    Raises:
        ValueError: there is none, or every one is damaged.
    """
    path = newest_checkpoint(work_dir)
    if path is None:
        raise ValueError(
            f'load_from names the folder {work_dir}, which holds no checkpoint (epoch_<n>.pth or iter_<n>.pth): train '
            'what this training is to start from first, or give the path of a file'
        )
    return path


def choose_checkpoint(
    requested: str | Path, work_dir: str | Path, warn: Callable[[str], object] = lambda message: None
) -> str | None:
    """The path to go on from, or None where there is nothing yet; the first process chooses for all of them.

    Args:
        requested: 'auto' for the newest good checkpoint of `work_dir`, or the path of one.
        work_dir: see `newest_checkpoint`.
        warn: see `newest_checkpoint`.

    Raises:
        ValueError: the file asked for is missing or damaged, or every file of `work_dir` is damaged.
    """
    choice: list[str | None] = [None]
    if is_main_process():
        choice = [newest_checkpoint(work_dir, warn) if requested == 'auto' else _usable(requested)]
    # Folders may differ between nodes, and training may go on in this one.
    broadcast_object_list(choice)
    return choice[0]


def _usable(path: str | Path) -> str:
    message = find_corruption(path)
    if message is not None:
        raise ValueError(f'{message}. --resume alone takes the newest good checkpoint of the work directory')
    return str(path)
