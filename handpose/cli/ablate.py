"""Trains and tests the rows of ablation tables: handpose ablate docs/ablations/deformer_fusion.yml

docs/ablations/README.md describes the tables.
"""

import argparse
import shlex
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from handpose.cli.errors import UsageError, UserError
from handpose.experiments.ablation import (
    AblationTable,
    Run,
    RunSettings,
    Workers,
    check_runs,
    is_tested,
    is_trained,
    list_runs,
    option_strings,
    read_table,
    write_report,
)

LINE_EVERY = 60.0  # seconds between two lines of one run where the output is not a terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('tables', nargs='+', metavar='TABLE.yml', help='tables; equal runs of several are done once')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='runs side by side, one thread each')
    parser.add_argument('--only', nargs='+', default=[], metavar='ROW', help='these rows alone')
    parser.add_argument('--runs', default='work_dirs/ablations/runs', help='folder of all runs (default %(default)s)')
    parser.add_argument('--dry-run', action='store_true', help='list the runs, what is finished, and the commands')
    parser.add_argument('--report-only', action='store_true', help='write the tables from what is finished')


def run(arguments: argparse.Namespace) -> None:
    """Does the runs that are not finished and writes the tables.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UserError: runs that failed.
        KeyboardInterrupt: says how to continue.
    """
    if arguments.jobs < 1:
        raise UsageError(f'--jobs must be at least 1, got {arguments.jobs}')
    tables = [read_table(path) for path in arguments.tables]
    per_table = [list_runs(table, arguments.runs, arguments.only) for table in tables]
    if arguments.report_only:
        _report(tables, arguments.runs)
        return
    runs = sorted((run for runs in per_table for run in runs), key=lambda run: run.table.seeds.index(run.seed))
    settings = check_runs(runs)
    states = {run.name: _state_of(run, *settings[run.name]) for run in runs}
    if arguments.dry_run:
        _list_runs(runs, states)
        return
    waiting = [run for run in runs if states[run.name] != 'finished']
    print(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM is like Ctrl-C
    try:
        with Display(waiting) as display:
            failures = Workers(settings, arguments.jobs, display.show).complete(waiting)
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command continues from here') from None
    finally:
        _report(tables, arguments.runs)
    if failures:
        raise UserError('\n'.join(f'{name}: {reason}' for name, reason in failures.items()))


def _state_of(run: Run, train_settings: RunSettings, test_settings: RunSettings) -> str:
    """How far a run is, in a word; refuses folders that were made with other settings."""
    if not is_trained(run, train_settings):
        return 'started' if run.train_dir.is_dir() else 'to do'
    return 'finished' if is_tested(run, test_settings) else 'trained'


def _list_runs(runs: Sequence[Run], states: Mapping[str, str]) -> None:
    """Prints every run with its folder and the options that make it."""
    for run in runs:
        print(
            f'{run.name}: {states[run.name]}\n  train {run.train_dir}: {shlex.join(option_strings(run.train_options))}'
        )
        print(f'  test {run.test_dir}: {shlex.join(option_strings(run.test_options))}')


def _report(tables: Sequence[AblationTable], root: str) -> None:
    """Writes the markdown and JSON of every table that has a finished row."""
    for table in tables:
        written = write_report(table, list_runs(table, root))
        print(f'{table.path}: ' + (f'written {written}' if written else 'no run is finished yet'))


class Display:
    """A progress bar of all runs and a line for each active one; plain lines where the output is not a terminal."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.console = Console()
        columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self.bar = Progress(*columns, console=self.console)
        self.total = self.bar.add_task('runs', total=len(runs))
        self.tasks: dict[str, TaskID] = {}
        self.last: dict[str, float] = {}
        self.lock = threading.Lock()

    def __enter__(self) -> 'Display':
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def show(self, run: Run, text: str) -> None:
        """Shows what a run does; called from the threads of the workers.

        Args:
            run: the run.
            text: its stage, or a line of its output.
        """
        with self.lock:
            if self.console.is_terminal:
                self._show_in_bar(run, text)
            elif ':' not in text or text.startswith('failed') or time.monotonic() - self.last[run.name] > LINE_EVERY:
                self.last[run.name] = time.monotonic()
                print(f'{time.strftime("%H:%M:%S")} {run.name}: {text}', flush=True)

    def _show_in_bar(self, run: Run, text: str) -> None:
        if run.name not in self.tasks:
            self.tasks[run.name] = self.bar.add_task('', total=None)
        self.bar.update(self.tasks[run.name], description=f'{run.name}: {text}'[:100])
        if text == 'finished' or text.startswith('failed'):
            self.bar.update(self.tasks[run.name], visible=text != 'finished')
            self.bar.advance(self.total)
