"""Makes ablation tables: python tools/ablate.py docs/ablations/deformer_fusion.yml (docs/ablations/README.md)"""

import argparse
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from handpose.engine.errors import exit_on_user_error
from handpose.experiments.ablation import (
    Workers,
    check_runs,
    is_tested,
    is_trained,
    list_runs,
    option_words,
    read_table,
    write_report,
)

LINE_EVERY = 60.0  # seconds between two lines of one run where the output is no terminal


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('tables', nargs='+', metavar='TABLE.yml', help='tables; equal runs of several are done once')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='runs side by side, one thread each')
    parser.add_argument('--only', nargs='+', default=[], metavar='ROW', help='these rows alone')
    parser.add_argument('--runs', default='work_dirs/ablations/runs', help='folder of all runs (default %(default)s)')
    parser.add_argument('--dry-run', action='store_true', help='list the runs, what is finished, and the commands')
    parser.add_argument('--report-only', action='store_true', help='write the tables from what is finished')
    arguments = parser.parse_args()
    if arguments.jobs < 1:
        parser.error(f'--jobs must be at least 1, got {arguments.jobs}')
    return arguments


def main():
    arguments = parse_arguments()
    tables = [read_table(path) for path in arguments.tables]
    per_table = [list_runs(table, arguments.runs, arguments.only) for table in tables]
    if arguments.report_only:
        return report(tables, arguments.runs)
    runs = sorted((run for runs in per_table for run in runs), key=lambda run: run.table.seeds.index(run.seed))
    settings = check_runs(runs)
    states = {run.name: state_of(run, *settings[run.name]) for run in runs}
    if arguments.dry_run:
        return list_all(runs, states)
    waiting = [run for run in runs if states[run.name] != 'finished']
    print(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished')
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C
    try:
        with Display(waiting) as display:
            failures = Workers(Path(__file__).parent, settings, arguments.jobs, display.say).do(waiting)
    except KeyboardInterrupt:
        sys.exit(f'interrupted; go on with: python {shlex.join(sys.argv)}')
    finally:
        report(tables, arguments.runs)
    if failures:
        sys.exit('\n'.join(f'error: {name}: {sentence}' for name, sentence in failures.items()))


def state_of(run, train_settings, test_settings):
    """In a word, where a run stands; refuses folders that were made with something else."""
    if not is_trained(run, train_settings):
        return 'started' if run.train_dir.is_dir() else 'to do'
    return 'finished' if is_tested(run, test_settings) else 'trained'


def list_all(runs, states):
    """Prints every run with its folder and the options that make it."""
    for run in runs:
        print(f'{run.name}: {states[run.name]}\n  train {run.train_dir}: {shlex.join(option_words(run.train_options))}')
        print(f'  test {run.test_dir}: {shlex.join(option_words(run.test_options))}')


def report(tables, root):
    """Writes the markdown and JSON of every table that has a finished row."""
    for table in tables:
        written = write_report(table, list_runs(table, root))
        print(f'{table.path}: ' + (f'written {written}' if written else 'no run is finished yet'))


class Display:
    """A bar of all runs and a line for each one at work; plain lines where the output is no terminal."""

    def __init__(self, runs):
        self.console = Console()
        columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self.bar = Progress(*columns, console=self.console)
        self.total = self.bar.add_task('runs', total=len(runs))
        self.tasks, self.last, self.lock = {}, {}, threading.Lock()

    def __enter__(self):
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error):
        self.bar.stop()

    def say(self, run, text):
        """Shows what a run does; called from the threads of the workers."""
        with self.lock:
            if self.console.is_terminal:
                self._show(run, text)
            elif ':' not in text or text.startswith('failed') or time.monotonic() - self.last[run.name] > LINE_EVERY:
                self.last[run.name] = time.monotonic()
                print(f'{time.strftime("%H:%M:%S")} {run.name}: {text}', flush=True)

    def _show(self, run, text):
        if run.name not in self.tasks:
            self.tasks[run.name] = self.bar.add_task('', total=None)
        self.bar.update(self.tasks[run.name], description=f'{run.name}: {text}'[:100])
        if text == 'finished' or text.startswith('failed'):
            self.bar.update(self.tasks[run.name], visible=text != 'finished')
            self.bar.advance(self.total)


if __name__ == '__main__':
    with exit_on_user_error():
        main()
