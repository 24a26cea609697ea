"""Measures whether refiners help on the output of your estimator, where the true joints are known.

    handpose compare-refiners hands.npz --truth truth.npz
    handpose compare-refiners a.npz b.npz --truth truth.npz --refiners gaussian refiner.safetensors --fps 30 15 10 \\
        --perfect --figure figures -o results.json

All files are predictions files (docs/data/predictions_file.md). Hands are matched by their side, frames by their time.
Joints are compared relative to the wrist, and the wrist itself is not counted; docs/guides/compare_refiners.md explains
the numbers and figures.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from handpose.cli.errors import UsageError
from handpose.experiments.refiner_bins import changes_by_property, extreme_second
from handpose.experiments.refiner_comparison import (
    INPUT,
    MEAN,
    PERFECT,
    ComparisonRow,
    ErrorChange,
    RefinerComparison,
    compare_refiners,
)
from handpose.files.atomic import atomic_write
from handpose.inference import DEFAULT_REFINER, METHODS, Refiner, load_refiner
from handpose.structures import load_predictions
from handpose.visualization.images import save_image
from handpose.visualization.refiner_figures import change_by_property, joint_paths

_NO_FILE_NAME = r'[^\w.-]+'
REFINERS = (DEFAULT_REFINER, 'gaussian', 'savitzky_golay', 'one_euro')
TITLES = {
    'mpjpe': 'MPJPE, wrist-aligned (mm)',
    'scaled_mpjpe': 'wrist- and scale-aligned (mm)',
    'acceleration': 'acceleration error (mm/frame²)',
}
EXPLANATION = (
    'MPJPE without the wrist, over the joints that the file and the truth give. In brackets the change against the '
    'input with its 95 % interval (bootstrap over blocks of 2 s); below 0 is better.'
)
SCALED = 'Scale: one factor for the whole track of each hand, by least squares.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('predictions', nargs='+', help='predictions files (.npz), one for each estimator')
    parser.add_argument('--truth', required=True, metavar='TRUTH.npz', help='predictions file with the true joints')
    parser.add_argument(
        '--refiners',
        nargs='+',
        default=REFINERS,
        metavar='REFINER',
        help=f'{", ".join(METHODS)}, or weights: a file or a name in the zoo (default: {" ".join(REFINERS)})',
    )
    parser.add_argument(
        '--fps', nargs='+', type=float, metavar='RATE', help='compare at these rates, by leaving out frames'
    )
    parser.add_argument('--scale', action='store_true', help='show the error without the scale of the hand too')
    parser.add_argument('--perfect', action='store_true', help='refine the truth too: what a refiner breaks')
    parser.add_argument('--figure', metavar='FOLDER', help='draw where refining helps, and its best and worst second')
    parser.add_argument('-o', '--out', metavar='RESULTS.json', help='where the numbers go')
    parser.add_argument('--hand-model', metavar='FOLDER', help='MANO files, for weights that were trained with MANO')
    parser.add_argument('--device', default='cpu', help='where weights run, e.g. cuda')
    parser.add_argument('--seed', type=int, default=0, help='of the intervals (default 0)')


def run(arguments: argparse.Namespace) -> None:
    """Compares refiners, prints tables, and writes numbers and figures.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ValueError: files or weights that cannot be used, or predictions and truth that do not belong together.
    """
    if arguments.fps and min(arguments.fps) <= 0:
        raise UsageError('--fps must be above 0')
    if arguments.seed < 0:
        raise UsageError(f'--seed must be at least 0, got {arguments.seed}')
    console = Console(highlight=False)
    truth = load_predictions(arguments.truth)
    files = {name: load_predictions(path) for name, path in _names(arguments.predictions).items()}
    refiners = _load_refiners(arguments)
    if arguments.figure:
        Path(arguments.figure).mkdir(parents=True, exist_ok=True)

    def write(found: RefinerComparison, complete: bool) -> None:
        if arguments.out:
            settings = dict(predictions=arguments.predictions, truth=arguments.truth, seed=arguments.seed)
            content = dict(complete=complete, **settings, **found.as_dict())
            atomic_write(Path(arguments.out), json.dumps(content, indent=1) + '\n')

    with _progress(console) as show:

        def report(found: RefinerComparison, done: int, total: int) -> None:
            if show(found, done, total):  # a refiner is done: an interruption keeps its numbers
                write(found, complete=False)

        rates = arguments.fps or (None,)
        found = compare_refiners(files, truth, refiners, rates, arguments.perfect, arguments.seed, report)
    write(found, complete=True)
    _print(console, found, arguments.scale)
    if arguments.out:
        console.print(f'numbers: {arguments.out}', markup=False)
    if arguments.figure:
        _draw(console, found, Path(arguments.figure))


def _names(paths: Sequence[str]) -> dict[str, str]:
    """{name: path}, in which the name is the file's without its ending, or the path where that is ambiguous."""
    count = Counter(Path(path).stem for path in paths)
    names = [Path(path).stem if count[Path(path).stem] == 1 else str(path) for path in paths]
    if len(set(names)) < len(names):
        raise UsageError(f'give each predictions file once, got {" ".join(paths)}')
    # Rows have these names too.
    return {f'{name}.npz' if name in (INPUT, MEAN, PERFECT) else name: p for name, p in zip(names, paths, strict=True)}


def _load_refiners(arguments: argparse.Namespace) -> dict[str, Refiner]:
    hand_model = dict(type='MANO', model_path=arguments.hand_model) if arguments.hand_model else None
    if len(set(arguments.refiners)) < len(arguments.refiners):
        raise UsageError(f'give each refiner once, got {" ".join(arguments.refiners)}')
    return {
        name: load_refiner(method=name)
        if name in METHODS
        else load_refiner(name, hand_model=hand_model, device=arguments.device)
        for name in arguments.refiners
    }


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Shows how many tracks are done; gives a function that tells whether rows were added."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('refining', total=None)
        rows = 0

        def show(found: RefinerComparison, done: int, total: int) -> bool:
            nonlocal rows
            progress.update(task, completed=done, total=total)
            added, rows = len(found.rows) > rows, len(found.rows)
            return added

        yield show


def _print(console: Console, found: RefinerComparison, scale: bool) -> None:
    """Prints a table of the mean for each frame rate, one of the files, and what must be known to read them."""
    metrics = [key for key in TITLES if scale or key != 'scaled_mpjpe']
    files = list(found.tracks)
    for fps in dict.fromkeys(row.fps for row in found.rows):
        rows = [row for row in found.rows if row.fps == fps]
        what = f'mean of {len(files)} files' if len(files) > 1 else files[0]
        console.print(_mean_table(f'{what}, {fps:g} frames per second', [r for r in rows if r.file == MEAN], metrics))
        if len(files) > 1:
            console.print(_file_table(files, [row for row in rows if row.file in files]))
        perfect = [row for row in rows if row.file == PERFECT]
        if perfect:
            console.print(_mean_table(f'the truth as input, {fps:g} frames per second', perfect, metrics))
    console.print(EXPLANATION, markup=False)
    if scale:
        console.print(SCALED)
    refused: dict[tuple[str, str], list[str]] = {}
    for row in found.rows:
        if row.error is not None and row.file != MEAN:
            refused.setdefault((row.refiner, row.error), []).append(row.file)
    for (refiner, error), where in refused.items():
        console.print(f'no number of {refiner} on {", ".join(dict.fromkeys(where))}: {error}', markup=False)
    for note in found.notes:
        console.print(f'note: {note}', markup=False)


def _mean_table(title: str, rows: Sequence[ComparisonRow], metrics: Sequence[str]) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify='left')
    table.add_column('refiner', overflow='fold')
    for key in metrics:
        table.add_column(TITLES[key], justify='right')
    if rows[0].file == MEAN:
        table.add_column('better on', justify='right')
    table.add_column('seconds', justify='right')
    for row in rows:
        cells = [_cell(row.errors.get(key), interval=key != 'acceleration') for key in metrics]
        better = [] if row.file != MEAN else ['' if row.better_on is None else f'{row.better_on} of {row.files}']
        table.add_row(row.refiner, *cells, *better, '' if row.refiner == INPUT else f'{row.seconds:.1f}')
    return table


def _file_table(files: Sequence[str], rows: Sequence[ComparisonRow]) -> Table:
    """Wrist-aligned MPJPE by file and refiner."""
    table = Table(title=TITLES['mpjpe'], box=box.SIMPLE, title_justify='left')
    table.add_column('file', overflow='fold')
    refiners = list(dict.fromkeys(row.refiner for row in rows))
    for name in refiners:
        table.add_column(name, justify='right', overflow='fold')
    found = {(row.file, row.refiner): row for row in rows}
    for file in files:
        table.add_row(file, *(_cell(found[file, name].errors.get('mpjpe'), False) for name in refiners))
    return table


def _cell(error: ErrorChange | None, interval: bool) -> str:
    if error is None:
        return 'no number'
    if error.change is None:
        return f'{error.value:.2f}'
    if not interval or error.low is None or error.high is None:
        return f'{error.value:.2f} ({_signed(error.change)} %)'
    return f'{error.value:.2f} ({_signed(error.change)} %, {_signed(error.low)} to {_signed(error.high)})'


def _signed(percent: float) -> str:
    return f'{round(percent, 1) + 0.0:+.1f}'  # + 0.0 makes 0 of -0


def _draw(console: Console, found: RefinerComparison, folder: Path) -> None:
    """Writes where.png and, for each refiner, trace_NAME.png."""
    names = list(dict.fromkeys(name for name, _ in found.errors if name != INPUT))
    panels = changes_by_property(found, names)
    drawn = []
    if any(panels.values()):
        save_image(
            folder / 'where.png', change_by_property(panels, 'change of the error by refining (below 0 is better)')
        )
        drawn.append('where.png')
    for name in names:
        seconds = [extreme_second(found, name, kind) for kind in ('best', 'worst')]
        traces = [trace for trace in seconds if trace is not None]
        if traces:
            drawn.append(f'trace_{re.sub(_NO_FILE_NAME, "_", name)}.png')
            save_image(folder / drawn[-1], joint_paths(traces, name))
    console.print(f'figures in {folder}: {", ".join(drawn) or "none, there is nothing to draw"}', markup=False)
