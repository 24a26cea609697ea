"""How time and memory grow with a size: sweeps, each of them one case per size, and the exponents fitted to them.

The cases lie in `scaling/` beside this file and are measured as all others. A sweep multiplies one size of a system by
two (or four) from case to case; `time ~ size^k` is fitted by least squares of the logarithms. Times are those of the
processor, which other programs change least, except for ranks: those are processes of their own.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from handpose.experiments.benchmarks.case import Case, Settings, SweepPoint, Work, register
from handpose.experiments.benchmarks.results import Results, added_memory

FOLDER = Path(__file__).parent / 'scaling'
LAST = 3  # points that the exponent at the end is fitted to: fixed costs weigh least there
TOLERANCE = 0.15  # of an exponent, before it is pointed out
LEAST_MEMORY = 16.0  # MB that a sweep must add, or its memory is that of the allocator
HEADINGS = ('system', 'axis', 'sizes', 'ms per call', 'MB added', 'k of time', 'k at the end', 'k of memory', 'remark')


@dataclass(frozen=True)
class Sweep:
    """The measurements of one sweep, in the order of their sizes, and what follows from them.

    Attributes:
        point: that of the smallest size.
        sizes: (N,).
        seconds: (N,) of one call, medians: of the processor, or by the clock where the axis is 'ranks'.
        memory: (N,) MB added at the peak; none where the axis is 'ranks', as the parent's says nothing.
        exponent: of time, over all sizes; NaN with fewer than two.
        tail: of time, over the last `LAST` sizes.
        tail_range: the smallest and the largest `tail` of any round.
        memory_tail: of memory, over the last `LAST` sizes; NaN where it is too little to tell.
    """

    point: SweepPoint
    sizes: list[int]
    seconds: list[float]
    memory: list[float]
    exponent: float
    tail: float
    tail_range: tuple[float, float]
    memory_tail: float

    def remark(self) -> str:
        """What is not linear about it, in words; '' where nothing is."""
        return '; '.join(self._remarks())

    def _remarks(self) -> Iterator[str]:
        expected = self.point.expected
        if self.tail > expected + TOLERANCE and self.tail_range[0] > expected + TOLERANCE / 3:
            yield f'TIME GROWS FASTER than size^{expected:g}'
        elif self.tail < expected - TOLERANCE:
            yield f'grows more slowly than size^{expected:g}: fixed costs'
        if self.point.why:
            yield self.point.why
        if self.memory_tail > max(expected, 1.0) + TOLERANCE:
            yield f'MEMORY GROWS FASTER than size^{max(expected, 1.0):g}'


def register_sweep(
    system: str,
    axis: str,
    sizes: Sequence[int],
    set_up: Callable[[Settings, int], Work],
    about: str,
    expected: float = 1.0,
    why: str = '',
) -> None:
    """Registers a case for each size, `<system>_<axis>_<size>`.

    Args:
        system: see `SweepPoint`.
        axis: see `SweepPoint`.
        sizes: rising.
        set_up: function (settings, size) -> Work, defined in the file of the cases; a call of it counts as one.
        about: what is measured; `{}` in it is the size.
        expected: see `SweepPoint`.
        why: see `SweepPoint`.
    """
    for size in sizes:
        name = f'{system.lower().replace(" ", "_")}_{axis}_{size}'
        made = Case(_of_size(set_up, size), 'call', 'time', name=name, about=about.format(size))
        made.file = set_up.__code__.co_filename
        made.sweep = SweepPoint(system, axis, size, expected, why)
        register(made)


def _of_size(set_up: Callable[[Settings, int], Work], size: int) -> Callable[[Settings], Work]:
    return lambda settings: replace(set_up(settings, size), count=1)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """k of values ~ sizes^k, by least squares of the logarithms; NaN with fewer than two sizes."""
    if len(sizes) < 2 or min(values) <= 0:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def sweeps(results: Results) -> list[Sweep]:
    """The sweeps of a run, without the cases that failed."""
    found: dict[tuple[str, str], list[Any]] = {}
    for record in results['cases'].values():
        if record.get('sweep') and not record['failed']:
            found.setdefault((record['sweep']['system'], record['sweep']['axis']), []).append(record)
    return [_sweep(sorted(records, key=lambda record: record['sweep']['size'])) for records in found.values()]


def _sweep(records: list[Any]) -> Sweep:
    sizes = [record['sweep']['size'] for record in records]
    forms = [record['forms']['case'] for record in records]
    ranks = records[0]['sweep']['axis'] == 'ranks'
    clock = 'seconds' if ranks else 'cpu_seconds'
    seconds = [statistics.median(form[clock]) for form in forms]
    memory = [] if ranks else [added_memory(form['memory_mb']) for form in forms]
    rounds = zip(*(form[clock] for form in forms), strict=False)
    tails = [exponent(sizes[-LAST:], times[-LAST:]) for times in rounds]
    grown = bool(memory) and memory[-1] - memory[0] >= LEAST_MEMORY
    memory_tail = exponent(sizes[-LAST:], memory[-LAST:]) if grown else math.nan
    return Sweep(
        SweepPoint(**records[0]['sweep']),
        sizes,
        seconds,
        memory,
        exponent(sizes, seconds),
        exponent(sizes[-LAST:], seconds[-LAST:]),
        (min(tails), max(tails)),
        memory_tail,
    )


def sweep_rows(results: Results) -> list[tuple[str, ...]]:
    """The rows of the table, one for each sweep: texts for `HEADINGS`."""
    return [_row(sweep) for sweep in sweeps(results)]


def _row(sweep: Sweep) -> tuple[str, ...]:
    low, high = sweep.tail_range
    return (
        sweep.point.system,
        sweep.point.axis,
        f'{sweep.sizes[0]}-{sweep.sizes[-1]}',
        f'{1000 * sweep.seconds[0]:.3g}-{1000 * sweep.seconds[-1]:.3g}',
        f'{sweep.memory[0]:.0f}-{sweep.memory[-1]:.0f}' if sweep.memory else '',
        f'{sweep.exponent:.2f}',
        f'{sweep.tail:.2f} ({low:.2f}-{high:.2f})',
        '' if math.isnan(sweep.memory_tail) else f'{sweep.memory_tail:.2f}',
        sweep.remark(),
    )


def sweep_table(results: Results) -> Table:
    """The table for a console."""
    table = Table(title='time ~ size^k')
    for heading in HEADINGS:
        table.add_column(heading, overflow='fold')
    for row in sweep_rows(results):
        table.add_row(*row)
    return table


def sweep_markdown(results: Results) -> str:
    """The table in Markdown."""
    lines = ['| ' + ' | '.join(HEADINGS) + ' |', '|---|---|---|---:|---:|---:|---:|---:|---|']
    lines += ['| ' + ' | '.join(row) + ' |' for row in sweep_rows(results)]
    return '\n'.join(lines) + '\n'
