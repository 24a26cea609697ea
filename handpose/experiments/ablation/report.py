"""Ablation tables as markdown and JSON: mean and range over seeds, and paired intervals over sequences."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handpose.evaluation import MetricSpec
from handpose.experiments.ablation.results import LEVEL, NUM_RESAMPLES, collect, reported_numbers
from handpose.experiments.ablation.runs import is_tested, is_trained
from handpose.experiments.ablation.table import AblationTable, Run, option_strings
from handpose.files.atomic import atomic_write
from handpose.visualization.images import save_image
from handpose.visualization.table_figures import RowValues, number_against_number


def write_report(table: AblationTable, runs: Sequence[Run]) -> Path | None:
    """Writes <table>.md, <table>.json and, with `plot`, <table>.png beside the table, from the finished runs.

    Args:
        table: the table.
        runs: all its runs.

    Returns:
        Path of the markdown, or None where no run is finished.

    Raises:
        TableError: the table lists a number that no test reports, or runs were tested on different samples.
    """
    finished = [run for run in runs if is_trained(run) and is_tested(run)]
    if not finished:
        return None
    reported = reported_numbers(table, runs)
    results = collect(table, runs, finished, reported)
    path = table.path.with_suffix('.md')
    atomic_write(table.path.with_suffix('.json'), json.dumps(results, indent=1) + '\n')
    atomic_write(path, markdown(table, results, reported.specs))
    if table.plot and (series := _series(table, results, reported.specs)):
        xlabel, ylabel = (_axis_label(reported.specs[table.plot[axis]]) for axis in ('x', 'y'))
        image = number_against_number(series, xlabel, ylabel, table.plot.get('title', ''))
        save_image(table.path.with_suffix('.png'), image)
    return path


def markdown(table: AblationTable, results: Mapping[str, Any], specs: Mapping[str, MetricSpec]) -> str:
    """The report as a page.

    Args:
        table: the table.
        results: as `collect` gives them.
        specs: {name: spec} of the numbers.
    """
    columns = [specs[name] for name in table.metrics]
    headings = (_heading(spec, results['tested']) for spec in columns)
    parts = [
        f'# {table.title or table.path.stem}',
        _introduction(table, results),
        _table(['', *headings, 'seeds'], _value_lines(table, results, columns)),
        _how_to_read_values(columns[0], results),
        f'![{table.title or table.path.stem}]({table.path.stem}.png)' if table.plot else '',
        f'## Difference to "{table.compare_to}"',
        *_difference_parts(table, results, columns),
        '## How to reproduce',
        _how_made(table, results),
    ]
    if table.notes:
        parts.insert(-2, '## Notes\n\n' + '\n'.join(f'- {" ".join(note.split())}' for note in table.notes))
    return '\n\n'.join(part for part in parts if part) + '\n'


def _introduction(table: AblationTable, results: Mapping[str, Any]) -> str:
    budget, tested, training = results['budget'], results['tested'], results['training']
    iterations = ' or '.join(f'{n:,}' for n in training['iterations'])
    split = '' if tested['samples'] is None else f'{tested["samples"]:,} {tested["counted"][table.metrics[0]]}'
    split += '' if tested['sequences'] is None else f' in {tested["sequences"]} sequences'
    return (
        f'Options of `{table.config}`, each row trained from scratch for {iterations} iterations '
        f'(`{" ".join(option_strings(budget))}`), which is a small budget: the table compares the rows with this '
        f'budget and says nothing about the published figures.' + (f' Test split: {split.strip()}.' if split else '')
    )


def _series(
    table: AblationTable, results: Mapping[str, Any], specs: Mapping[str, MetricSpec]
) -> dict[str, list[RowValues]]:
    """{series: its rows that have both numbers of the plot}; shares in percent."""
    axes = [specs[table.plot[axis]] for axis in ('x', 'y')]
    series: dict[str, list[RowValues]] = {}
    for row in table.rows:
        spreads = [results['rows'][row.name]['metrics'][spec.name] for spec in axes]
        if all(spreads):
            pairs = zip(axes, spreads, strict=True)
            x, y = ([value if spec.unit else 100 * value for value in s['by_seed'].values()] for spec, s in pairs)
            series.setdefault(row.series, []).append(RowValues(row.name, x, y))
    return series


def _axis_label(spec: MetricSpec) -> str:
    return spec.label if spec.unit else f'{spec.title} (%)'


def _value_lines(
    table: AblationTable, results: Mapping[str, Any], columns: Sequence[MetricSpec]
) -> Iterable[list[str]]:
    for name, row in results['rows'].items():
        mark = ' ¹' if row['weights_of'] else ' ³' if row['untrained'] else ''
        label = f'**{name}**' if name == table.compare_to else f'{name}{mark}'
        yield [label, *(_cell(spec, row['metrics'][spec.name]) for spec in columns), str(len(row['seeds']))]
    for name, values in results['constants'].items():
        cells = ['-' if values[spec.name] is None else _number(spec, values[spec.name]) for spec in columns]
        yield [f'{name.replace("_", " ")} ²', *cells, '-']


def _how_to_read_values(first: MetricSpec, results: Mapping[str, Any]) -> str:
    lines = ['Mean over seeds, with the smallest and the largest value in brackets. Arrows point to better values.']
    if any(row['weights_of'] for row in results['rows'].values()):
        lines.append('¹ Not trained: the weights of another row, tested with other options.')
    if any(row['untrained'] for row in results['rows'].values()):
        lines.append('³ Has no parameters, so it is tested once.')
    if results['constants']:
        lines.append('² One constant hand per side, fitted on the train split: the accuracy without using the image.')
        lines.append(_beaten_by_constants(first, results))
    if results['missing']:
        waiting = (f'{name} (seed {", ".join(map(str, seeds))})' for name, seeds in results['missing'].items())
        lines.append(f'Not finished: {"; ".join(waiting)}.')
    return '  \n'.join(line for line in lines if line)


def _beaten_by_constants(spec: MetricSpec, results: Mapping[str, Any]) -> str:
    """Names the rows that a constant hand beats in the first column."""
    known = [values[spec.name] for values in results['constants'].values() if values[spec.name] is not None]
    if not known or spec.is_count:
        return ''
    best = min(known) if spec.lower_is_better else max(known)
    spreads = {name: row['metrics'][spec.name] for name, row in results['rows'].items()}
    losers = [name for name, spread in spreads.items() if spread and not spec.is_better(spread['mean'], best)]
    if not losers:
        return f'Every row beats the constant hands in {spec.title}.'
    return f'Rows that do not beat the better constant hand in {spec.title}: {"; ".join(losers)}.'


def _difference_parts(table: AblationTable, results: Mapping[str, Any], columns: Sequence[MetricSpec]) -> list[str]:
    rows = {name: row for name, row in results['rows'].items() if row['difference']}
    specs = [spec for spec in columns if any(spec.name in row['difference'] for row in rows.values())]
    if not rows:
        return ['No other row has a finished seed in common with it yet.']
    lines = [
        [name, *(_difference_cell(spec, row['difference'].get(spec.name)) for spec in specs), str(_num_seeds(row))]
        for name, row in rows.items()
    ]
    clusters = max(d['num_clusters'] for row in rows.values() for d in row['difference'].values())
    return [
        _table(['', *(_heading(spec, results['tested']) for spec in specs), 'seeds'], lines),
        f'Row minus "{table.compare_to}": positive is worse where the arrow points down, and better where it points '
        f'up. Brackets: {100 * LEVEL:.0f} % interval of a paired bootstrap over sequences ({NUM_RESAMPLES:,} resamples '
        f'of at most {clusters} sequences, each with all its cameras and frames; values of a frame are averaged over '
        f'seeds first), followed by the differences of the individual seeds. **Bold**: the interval excludes zero, and '
        f'two or more seeds agree. The interval covers the choice of test sequences. The variation between training '
        f'runs is visible only in the seeds, and few seeds estimate it poorly. Intervals are not corrected for '
        f'multiple comparisons.',
    ]


def _how_made(table: AblationTable, results: Mapping[str, Any]) -> str:
    training = results['training']
    low, high = training['seconds']
    option_lines = [
        f'- {name}: '
        + (f'weights of "{row.weights_of}", ' if row.weights_of else '')
        + (f'`{" ".join(option_strings(row.options))}`' if row.options else 'the unmodified config')
        for name, row in ((row.name, row) for row in table.rows)
    ]
    test = f', additionally in every test `{" ".join(option_strings(table.test))}`' if table.test else ''
    return (
        f'`handpose ablate {_shown(table.path)}`\n\n'
        + '\n'.join(option_lines)
        + f'\n\nCommon options `{" ".join(option_strings(table.budget))}`{test}; seeds '
        f'{", ".join(map(str, table.seeds))}. {training["runs"]} training runs of {low / 60:.1f} to {high / 60:.1f} '
        f'minutes with one thread each ({"; ".join(training["machines"])}), with other work in parallel.'
    )


def _shown(path: Path) -> str:
    return path.name if path.is_absolute() else str(path)  # personal folders do not belong in the page


def _num_seeds(row: Mapping[str, Any]) -> int:
    return max(len(d['by_seed']) for d in row['difference'].values())


def _heading(spec: MetricSpec, tested: Mapping[str, Any]) -> str:
    """Title of a number, its unit, the number of samples of a group, and the better direction."""
    count = tested['groups'].get(spec.name)
    details = [spec.unit, '' if count is None else f'{count:,} {tested["counted"][spec.name]}']
    within = ', '.join(detail for detail in details if detail)
    return ' '.join(word for word in (spec.title, f'({within})' if within else '', spec.arrow) if word)


def _cell(spec: MetricSpec, spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return '-'
    if len(spread['by_seed']) == 1:
        return _number(spec, spread['mean'])
    low, high = (_number(spec, spread[name]) for name in ('min', 'max'))
    return f'{_number(spec, spread["mean"])} ({low} to {high})'


def _difference_cell(spec: MetricSpec, value: Mapping[str, Any] | None) -> str:
    if value is None:
        return '-'
    signs = {np.sign(d) for d in value['by_seed'].values()}
    sure = len(value['by_seed']) > 1 and len(signs) == 1 and value['low'] * value['high'] > 0
    shown = _number(spec, value['difference'], sign='+')
    interval = f'[{_number(spec, value["low"], sign="+")}, {_number(spec, value["high"], sign="+")}]'
    seeds = ' '.join(_number(spec, d, sign='+') for d in value['by_seed'].values())
    return f'{"**" + shown + "**" if sure else shown} {interval}; {seeds}'


def _number(spec: MetricSpec, value: float, sign: str = '') -> str:
    return spec.format(value, sign).replace('-', '−')


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ['---'] + ['---:'] * (len(head) - 1)
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in (head, rule, *lines))
