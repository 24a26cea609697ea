"""The output of a running training or test: one progress bar, and a line for each validation."""

import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from handpose.evaluation import headlines, specs_of
from handpose.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Draws a rich progress bar for training and testing on the main process.

    Args:
        plain_interval: seconds between two plain lines where the output is no terminal.
    """

    priority = 'VERY_LOW'

    def __init__(self, plain_interval: float = 30.0) -> None:
        self.plain_interval = plain_interval
        self.console = Console()
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.last_line = 0.0

    def before_train(self, runner: Runner) -> None:
        """Starts the bar at the iteration that training resumes from."""
        self._start('training', runner.max_iters, completed=runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Tensor] | None = None
    ) -> None:
        """Advances by one iteration and shows epoch and loss."""
        loss = float(outputs['loss'].detach()) if outputs and 'loss' in outputs else float('nan')
        self._advance(runner.iter + 1, f'epoch {runner.epoch + 1}/{runner.max_epochs}  loss {loss:.3f}')

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Prints the headlines of a validation."""
        if is_main_process() and metrics:
            specs = headlines(specs_of(runner.val_loop.evaluator.metrics))
            shown = [f'{s.title} {s.format(metrics[s.name])} {s.unit}'.rstrip() for s in specs if s.name in metrics]
            self.console.print(f'  validation after epoch {runner.epoch}: ' + ', '.join(shown), highlight=False)

    def before_test(self, runner: Runner) -> None:
        """Starts the bar of a test."""
        self._start('testing', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advances by one test batch."""
        self._advance(batch_idx + 1, '')

    def after_run(self, runner: Runner) -> None:
        """Ends the bar, also of a run that failed."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def _start(self, title: str, total: int, completed: int = 0) -> None:
        if not is_main_process():
            return
        self.last_line = time.monotonic()
        self.title, self.total = title, total
        if self.console.is_terminal:
            columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
            self.progress = Progress(
                *columns, TimeRemainingColumn(), TextColumn('{task.fields[note]}'), console=self.console
            )
            self.task = self.progress.add_task(title, total=total, completed=completed, note='')
            self.progress.start()

    def _advance(self, done: int, note: str) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=done, note=note)
        elif is_main_process() and time.monotonic() - self.last_line > self.plain_interval:
            self.last_line = time.monotonic()
            self.console.print(f'{self.title} {done}/{self.total}  {note}', highlight=False)
