"""Measures speed and memory, and keeps them as JSON: python tools/benchmark.py [--quick] [--only NAME ...]"""

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from handpose.experiments.benchmarks.case import FOLDER, BenchmarkError, Settings, load_cases
from handpose.experiments.benchmarks.measure import VideoPlan, measure, start_server
from handpose.experiments.benchmarks.report import comparison_table, figure, rich_table, write_markdown
from handpose.experiments.benchmarks.results import check_same, new_results, read_results, write_results
from handpose.text import did_you_mean

CACHE = 'work_dirs/benchmark'


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--list', action='store_true', help='list the cases and stop')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='these cases alone, asked-for ones included')
    parser.add_argument('--all', action='store_true', help='also the cases that run only when asked for')
    parser.add_argument('--quick', action='store_true', help='the short cases, with less of everything')
    parser.add_argument('--repeats', type=int, help='rounds (default 7; quick: 3)')
    parser.add_argument('--seconds', type=float, help='start no new round of a case after this (default 25; quick: 2)')
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
    parser.add_argument('--folder', default=str(FOLDER), help='files of cases (default tools/benchmarks/cases)')
    return parser.parse_args(words)


def main(words=None):
    arguments = parse_arguments(words)
    console = Console(width=None if sys.stdout.isatty() else 220)
    if arguments.show:
        results, interrupted = read_results(arguments.show), False
    else:
        cases = load_cases(Path(arguments.folder).resolve())
        if arguments.list:
            console.print(list_table(cases))
            return
        results, interrupted, path = run(arguments, cases, console)
    console.print(rich_table(results))
    if arguments.compare:
        old = read_results(arguments.compare)
        check_same(arguments.compare, old, results, ('machine',))
        console.print(comparison_table(old, results))
    if arguments.markdown:
        write_markdown(arguments.markdown, results)
    if not arguments.show:
        print(f'results: {path}')
    if interrupted:
        sys.exit(f'interrupted; go on with: python tools/benchmark.py --out {path} --resume and the same options')


def run(arguments, cases, console):
    """Measures the chosen cases one after the other; every finished one is in the file at once."""
    settings, plan = settings_and_plan(arguments)
    chosen = choose(cases, arguments, settings.device)
    start_server(settings.threads)
    path = Path(arguments.out or f'{CACHE}/{datetime.now():%Y%m%d-%H%M%S}.json')
    results = open_results(path, new_results(settings, plan), arguments.resume)
    waiting = [name for name in chosen if results['cases'].get(name, {'failed': 'not measured'})['failed']]
    try:
        for place, name in enumerate(waiting, start=1):
            console.print(f'{place}/{len(waiting)} {name}: ', end='')
            results['load_average'][name] = round(os.getloadavg()[0], 2)
            record = measure(chosen[name], settings, plan)
            found = {**results['cases'], name: record}
            results['cases'] = {name: found[name] for name in cases if name in found}
            write_results(path, results)
            console.print(f'failed: {record["failed"]}' if record['failed'] else figure(record), markup=False)
    except KeyboardInterrupt:
        console.print('interrupted')
        return results, True, path
    return results, False, path


def settings_and_plan(arguments):
    device = arguments.device or ('cuda' if cuda_there() else 'cpu')
    if device == 'cuda' and not cuda_there():
        raise BenchmarkError('--device cuda: torch sees no CUDA device here')
    settings = Settings(device, arguments.threads, arguments.quick, str(Path(CACHE).resolve()))
    repeats, seconds, least = (3, 2.0, 0.05) if arguments.quick else (7, 25.0, 0.2)
    repeats = arguments.repeats or repeats
    seconds = seconds if arguments.seconds is None else arguments.seconds
    return settings, VideoPlan(repeats, seconds, least, arguments.limit)


def cuda_there():
    import torch

    return torch.cuda.is_available()


def choose(cases, arguments, device):
    """The cases to run, by name."""
    if arguments.only:
        for name in arguments.only:
            if name not in cases:
                raise BenchmarkError(f'there is no case {name!r}; --list shows them.{did_you_mean(name, cases)}')
            if cases[name].device(device) is None:
                raise BenchmarkError(f'{name} runs on {" or ".join(cases[name].devices)} alone, not on {device}')
        return {name: cases[name] for name in cases if name in arguments.only}
    wanted = {'always'} if arguments.quick else {'always', 'full'}
    if arguments.all:
        wanted |= {'full', 'asked'}
    return {name: case for name, case in cases.items() if case.when in wanted and case.device(device)}


def open_results(path, fresh, resume):
    """The results to add to: fresh ones, or, to resume, what the file holds."""
    if not path.exists():
        return fresh
    if not resume:
        raise BenchmarkError(f'{path} is there already; --resume adds what it lacks, or choose another --out')
    found = read_results(path)
    check_same(path, found, fresh)
    return found


def list_table(cases):
    table = Table(title='cases')
    for heading in ('name', 'when', 'devices', 'what', 'reference form'):
        table.add_column(heading, overflow='fold')
    for name, case in cases.items():
        reference = case.reference_form.about if case.reference_form else ''
        table.add_row(name, case.when, ', '.join(case.devices), case.form.about, reference)
    return table


if __name__ == '__main__':
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f'error: {error}')
