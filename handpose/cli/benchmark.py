"""Measures speed and memory, and keeps them as JSON: handpose benchmark [--quick] [--only NAME ...]"""

import argparse
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from handpose.experiments.benchmarks.case import FOLDER, BenchmarkError, Case, Settings, load_cases
from handpose.experiments.benchmarks.measure import MeasurementPlan, measure, start_server
from handpose.experiments.benchmarks.report import comparison_table, figure, rich_table, write_markdown
from handpose.experiments.benchmarks.results import check_same, new_results, read_results, write_results
from handpose.experiments.benchmarks.sweep_plots import plot_sweeps
from handpose.experiments.benchmarks.sweeps import FOLDER as SCALING_FOLDER
from handpose.experiments.benchmarks.sweeps import sweep_markdown, sweep_table
from handpose.system import check_posix, load_average
from handpose.text import did_you_mean

CACHE = 'work_dirs/benchmark'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('--list', action='store_true', help='list the cases and stop')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='only these cases, also those of --all')
    parser.add_argument('--all', action='store_true', help='also the cases that run only on request')
    parser.add_argument('--quick', action='store_true', help='the short cases, with less of everything')
    parser.add_argument('--repeats', type=int, help='rounds (default 7; scaling: 5, quick: 3)')
    parser.add_argument(
        '--seconds', type=float, help='no new round of a case after this (default 25; scaling: 6, quick: 2)'
    )
    parser.add_argument(
        '--limit', type=float, default=900.0, help='seconds for one round, then it failed (default 900)'
    )
    parser.add_argument('--threads', type=int, default=1, help='threads of every library (default 1)')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: cuda where there is one')
    parser.add_argument('--out', metavar='FILE.json', help=f'results (default {CACHE}/<date>.json)')
    parser.add_argument('--resume', action='store_true', help='keep what FILE.json has and measure what it lacks')
    parser.add_argument('--show', metavar='FILE.json', help='measure nothing; show the results of this file')
    parser.add_argument('--compare', metavar='OLD.json', help='also print ratios to an earlier run of this machine')
    parser.add_argument('--markdown', metavar='FILE.md', help='also write the table between the marks of this file')
    parser.add_argument('--scaling', action='store_true', help='how time and memory grow: measure sweeps of sizes')
    parser.add_argument('--plots', metavar='FOLDER', help='also draw the sweeps of --scaling into this folder')
    parser.add_argument('--folder', default=str(FOLDER), help='files of cases (default: those of the package)')


def run(arguments: argparse.Namespace) -> None:
    """Measures the chosen cases and prints the table.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        BenchmarkError: options, files or cases that cannot be used.
        KeyboardInterrupt: says how to continue.
    """
    console = Console(width=None if sys.stdout.isatty() else 220)
    interrupted, path = False, Path(arguments.show or arguments.out or f'{CACHE}/{datetime.now():%Y%m%d-%H%M%S}.json')
    if arguments.show:
        results = read_results(path)
    else:
        check_posix('measuring')
        cases = load_cases(SCALING_FOLDER if arguments.scaling else Path(arguments.folder).resolve())
        if arguments.list:
            console.print(_case_table(cases))
            return
        results, interrupted = _measure_cases(arguments, cases, path, console)
    swept = any(record.get('sweep') for record in results['cases'].values())
    console.print(sweep_table(results) if swept else rich_table(results))
    for plot in plot_sweeps(results, arguments.plots) if arguments.plots else ():
        print(f'plot: {plot}')
    if arguments.compare:
        old = read_results(arguments.compare)
        check_same(arguments.compare, old, results, ('machine',))
        console.print(comparison_table(old, results))
    if arguments.markdown:
        write_markdown(arguments.markdown, results, sweep_markdown(results) if swept else None)
    if not arguments.show:
        print(f'results: {path}')
    if interrupted:
        raise KeyboardInterrupt(f'the same command with --out {path} --resume continues from here')


def _measure_cases(
    arguments: argparse.Namespace, cases: Mapping[str, Case], path: Path, console: Console
) -> tuple[dict[str, Any], bool]:
    """Measures the chosen cases one after the other; the file has every finished one at once.

    Returns:
        The results, and whether Ctrl-C ended the measurements.
    """
    settings, plan = _settings_and_plan(arguments)
    chosen = {}
    for name, wanted in choose_cases(cases, arguments, settings.device).items():
        missing = wanted.missing_packages()
        if missing:
            console.print(f'{name}: skipped, needs: pip install {" ".join(missing)}', markup=False)
        else:
            chosen[name] = wanted
    start_server(settings.threads)
    results = _open_results(path, new_results(settings, plan), arguments.resume)
    waiting = [name for name in chosen if results['cases'].get(name, {'failed': 'not measured'})['failed']]
    try:
        for number, name in enumerate(waiting, start=1):
            console.print(f'{number}/{len(waiting)} {name}: ', end='')
            results['load_average'][name] = round(load_average(), 2)
            record = measure(chosen[name], settings, plan)
            found = {**results['cases'], name: record}
            results['cases'] = {name: found[name] for name in cases if name in found}
            write_results(path, results)
            console.print(f'failed: {record["failed"]}' if record['failed'] else figure(record), markup=False)
    except KeyboardInterrupt:
        console.print('interrupted')
        return results, True
    return results, False


def _settings_and_plan(arguments: argparse.Namespace) -> tuple[Settings, MeasurementPlan]:
    device = arguments.device or ('cuda' if _has_cuda() else 'cpu')
    if device == 'cuda' and not _has_cuda():
        raise BenchmarkError('--device cuda: torch sees no CUDA device here')
    settings = Settings(device, arguments.threads, arguments.quick, str(Path(CACHE).resolve()))
    repeats, seconds, least = (3, 2.0, 0.05) if arguments.quick else (7, 25.0, 0.2)
    if arguments.scaling:
        repeats, seconds, least = 5, 6.0, 0.1
    repeats = arguments.repeats or repeats
    seconds = seconds if arguments.seconds is None else arguments.seconds
    return settings, MeasurementPlan(repeats, seconds, least, arguments.limit)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def choose_cases(cases: Mapping[str, Case], arguments: argparse.Namespace, device: str) -> dict[str, Case]:
    """Chooses the cases to run.

    Args:
        cases: all cases, by name.
        arguments: those of `add_arguments`.
        device: 'cpu' or 'cuda'.

    Returns:
        {name: case}.

    Raises:
        BenchmarkError: `--only` names a case that does not exist, or that does not run on the device.
    """
    if arguments.only:
        for name in arguments.only:
            if name not in cases:
                raise BenchmarkError(f'there is no case {name!r}; --list shows them.{did_you_mean(name, cases)}')
            if cases[name].device(device) is None:
                raise BenchmarkError(f'{name} runs on {" or ".join(cases[name].devices)} only, not on {device}')
        return {name: cases[name] for name in cases if name in arguments.only}
    wanted = {'always'} if arguments.quick else {'always', 'full'}
    if arguments.all:
        wanted |= {'full', 'asked'}
    return {name: case for name, case in cases.items() if case.when in wanted and case.device(device)}


def _open_results(path: Path, fresh: dict[str, Any], resume: bool) -> dict[str, Any]:
    """The results to add to: fresh ones, or, to resume, what the file holds."""
    if not path.exists():
        return fresh
    if not resume:
        raise BenchmarkError(f'{path} exists already; --resume adds what it lacks, or choose another --out')
    found = read_results(path)
    check_same(path, found, fresh)
    return found


def _case_table(cases: Mapping[str, Case]) -> Table:
    table = Table(title='cases')
    for heading in ('name', 'when', 'devices', 'what', 'reference form'):
        table.add_column(heading, overflow='fold')
    for name, case in cases.items():
        reference = case.reference_form.about if case.reference_form else ''
        table.add_row(name, case.when, ', '.join(case.devices), case.form.about, reference)
    return table
