"""A table of several models' numbers side by side."""

from collections.abc import Mapping, Sequence

from handpose.evaluation.spec import MetricSpec


def metrics_table(results: Mapping[str, Mapping[str, float]], specs: Mapping[str, MetricSpec]) -> str:
    """Writes a Markdown table, aligned as plain text too: one column for each model and one row for each number.

    Numbers over all samples come first, then those of groups, then counts.

    Args:
        results: {model: {name: number}}.
        specs: {name: spec} of the numbers, as `specs_of` gives. A number that no model has is left out; one that a
            model lacks is shown as '-'.

    Returns:
        The table, without a line break at the end.

    Raises:
        ValueError: no model has a number that belongs in tables.
    """
    rows = [spec for name, spec in specs.items() if spec.in_table and any(name in found for found in results.values())]
    if not rows:
        raise ValueError(f'the results of {list(results)} hold none of the numbers that belong in a table')
    rows.sort(key=lambda spec: (spec.is_count, spec.group != ''))
    cells = [['metric', '', *results]]
    cells += [[spec.name, spec.arrow, *(_cell(spec, found) for found in results.values())] for spec in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = [widths[0] * '-', '-'] + [(width - 1) * '-' + ':' for width in widths[2:]]
    return '\n'.join(_line(line, widths) for line in (cells[0], rule, *cells[1:]))


def _cell(spec: MetricSpec, numbers: Mapping[str, float]) -> str:
    return spec.format(numbers[spec.name]) if spec.name in numbers else '-'


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return '| ' + ' | '.join([first, *rest]) + ' |'
