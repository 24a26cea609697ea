"""What a person sees while a run goes on: one progress bar, and a line for each validation."""

import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.evaluation import headlines, specs_of
from handpose.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Draws a rich progress bar for training and testing on the main process.

    Args:
        plain_interval: where the output is no terminal, seconds between two plain lines.
    """

    priority = 'VERY_LOW'

    def __init__(self, plain_interval=30.0):
        self.plain_interval = plain_interval
        self.console = Console()
        self.progress, self.task = None, None
        self.last_line = 0.0

    def before_train(self, runner):
        """Starts the bar at the iteration that training resumes from."""
        self._start('training', runner.max_iters, completed=runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Advances by one iteration and shows epoch and loss."""
        loss = float(outputs['loss'].detach()) if outputs and 'loss' in outputs else float('nan')
        self._advance(runner.iter + 1, f'epoch {runner.epoch + 1}/{runner.max_epochs}  loss {loss:.3f}')

    def after_train(self, runner):
        """Ends the bar."""
        self._stop()

    def after_val_epoch(self, runner, metrics=None):
        """Prints the headlines of a validation."""
        if is_main_process() and metrics:
            specs = headlines(specs_of(runner.val_loop.evaluator.metrics))
            shown = [f'{s.title} {s.format(metrics[s.name])} {s.unit}'.rstrip() for s in specs if s.name in metrics]
            self.console.print(f'  validation after epoch {runner.epoch}: ' + ', '.join(shown), highlight=False)

    def before_test(self, runner):
        """Starts the bar of a test."""
        self._start('testing', len(runner.test_dataloader))

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Advances by one test batch."""
        self._advance(batch_idx + 1, '')

    def after_test(self, runner):
        """Ends the bar."""
        self._stop()

    def _start(self, title, total, completed=0):
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

    def _advance(self, done, note):
        if self.progress is not None:
            self.progress.update(self.task, completed=done, note=note)
        elif is_main_process() and time.monotonic() - self.last_line > self.plain_interval:
            self.last_line = time.monotonic()
            self.console.print(f'{self.title} {done}/{self.total}  {note}', highlight=False)

    def _stop(self):
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
