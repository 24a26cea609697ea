"""The rows of a table as a plot of one number against another.

Every function returns an RGB image (h, w, 3) uint8.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from handpose.visualization.figures import figure_image, figure_with_axes


class RowValues(NamedTuple):
    """Two numbers of one row, with one value for each seed.

    Attributes:
        name: of the row; written beside its point in the first series.
        x: (S,) values of the number on the horizontal axis.
        y: (S,) values of the number on the vertical axis.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


def number_against_number(
    series: Mapping[str, Sequence[RowValues]], xlabel: str, ylabel: str, title: str = ''
) -> np.ndarray:
    """Rows as points, those of a series joined by a line; bars reach from the smallest to the largest seed.

    Args:
        series: {name: its rows}; the rows are joined in the order of x. A series named '' is not in the legend.
        xlabel: name and unit of x.
        ylabel: name and unit of y.
        title: above the plot.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no row, or a row without values or with values that are not finite.
    """
    rows = [row for found in series.values() for row in found]
    if not rows:
        raise ValueError('number_against_number needs at least one row')
    for row in rows:
        if not row.x or not row.y or not np.isfinite([*row.x, *row.y]).all():
            raise ValueError(f'row {row.name!r} needs finite values of both numbers, got {row.x} and {row.y}')
    figure, axes = figure_with_axes(title)
    for i, (name, found) in enumerate(series.items()):
        found = sorted(found, key=lambda row: float(np.mean(row.x)))
        x, y = (np.array([np.mean(values) for values in axis]) for axis in ([r.x for r in found], [r.y for r in found]))
        spread_x = [x - [min(row.x) for row in found], [max(row.x) for row in found] - x]
        spread_y = [y - [min(row.y) for row in found], [max(row.y) for row in found] - y]
        look = dict(color=f'C{i}', marker='osD^vP'[i % 6], ms=6, lw=2, capsize=3, elinewidth=1)
        axes.errorbar(x, y, xerr=np.abs(spread_x), yerr=np.abs(spread_y), label=name or None, **look)
        # Names of the first series alone: those of the others would lie on top of them.
        for row, *place in zip(found, x, y, strict=True) if i == 0 else ():
            axes.annotate(row.name, place, (6, 7), textcoords='offset points', size=8, color='0.35')
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(x=0.12, y=0.12)
    seeds = max(len(row.y) for row in rows)
    if seeds > 1:
        fewest = min(len(row.y) for row in rows)
        note = f'mean and range over {"up to " * (fewest < seeds)}{seeds} seeds'
        axes.annotate(note, (0, 0), (6, 6), 'axes fraction', 'offset points', size=8, color='0.35')
    if any(series):
        figure.legend(loc='outside lower center', ncols=min(3, len(series)), frameon=False)
    return figure_image(figure)
