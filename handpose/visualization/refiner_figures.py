"""Figures of where a refiner helps: the change of the error by properties of the input, and traces of single joints.

Every function returns an RGB image (h, w, 3) uint8. Plots use Matplotlib, without its global state.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.visualization.figures import figure_image
from handpose.visualization.traces import AFTER, BEFORE

_TRUTH = '#1d8a3c'


class BinnedChange(NamedTuple):
    """The mean change of the error in bins of a property, with an interval.

    Attributes:
        x: (B,) mean of the property in each bin.
        change: (B,) mm, below 0 where the error falls.
        low: (B,) lower end of the interval; NaN where there is none.
        high: (B,) upper end.
    """

    x: NDArray[np.float64]
    change: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class JointTrace(NamedTuple):
    """The path of a joint.

    Attributes:
        title: above it.
        times: (T,) seconds.
        truth: (T, 3) mm relative to the wrist; NaN where not known.
        before: (T, 3) of the input.
        after: (T, 3) refined.
        start: seconds, where the part that is shaded begins.
        stop: seconds, where it ends.
    """

    title: str
    times: NDArray[np.float64]
    truth: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    start: float
    stop: float


def change_by_property(panels: Mapping[str, Mapping[str, BinnedChange]], title: str = '') -> np.ndarray:
    """Curves of the change of the error against properties of the input, a panel for each property.

    Args:
        panels: {name and unit of the property: {refiner: its changes}}.
        title: above the panels.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: nothing to draw.
    """
    if not any(panels.values()):
        raise ValueError('change_by_property needs a property and a refiner, got none')
    from matplotlib.figure import Figure

    columns = min(len(panels), 2 if len(panels) == 4 else 3)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows + 0.8), dpi=120, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for axes, (label, curves) in zip(grid.flat, panels.items(), strict=False):
        axes.axhline(0, color='0.3', lw=1)
        axes.grid(alpha=0.3)
        for name, curve in curves.items():
            color = f'C{names.index(name)}'
            axes.plot(curve.x, curve.change, color=color, marker='o', ms=4, lw=1.8)
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, lw=0)
        axes.set(xlabel=label, ylabel='change of the error (mm)')
    for axes in grid.flat[len(panels) :]:
        axes.axis('off')
    handles = [_legend_line(name, f'C{i}') for i, name in enumerate(names)]
    figure.legend(handles=handles, loc='outside lower center', ncols=min(len(names), 4), frameon=False)
    figure.suptitle(title)
    return figure_image(figure)


def joint_paths(traces: Sequence[JointTrace], title: str = '') -> np.ndarray:
    """Paths of joints over time, a row for each and a column for each coordinate.

    Args:
        traces: what is drawn; the seconds that they are about are shaded.
        title: above all.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: nothing to draw.
    """
    if not traces:
        raise ValueError('joint_paths needs at least one trace')
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.9 * len(traces) + 0.8), dpi=110, layout='constrained')
    parts = figure.subfigures(len(traces), 1, squeeze=False)[:, 0]
    styles = {'truth': dict(color=_TRUTH, lw=1.8, ls=(0, (4, 2)), zorder=4)}
    styles |= {'input': dict(color=BEFORE, lw=1, marker='.', ms=4), 'refined': dict(color=AFTER, lw=1.8)}
    for part, trace in zip(parts, traces, strict=True):
        part.suptitle(trace.title, fontsize=10)
        for axis, axes in enumerate(part.subplots(1, 3)):
            axes.axvspan(trace.start, trace.stop, color='0.92', lw=0, zorder=0)
            for path, style in zip((trace.truth, trace.before, trace.after), styles.values(), strict=True):
                axes.plot(trace.times, path[:, axis], **style)
            axes.grid(alpha=0.25)
            axes.margins(x=0.01)
            axes.set(xlabel='time (s)', ylabel=f'{"xyz"[axis]} (mm)')
    handles = [_legend_line(name, style['color'], style.get('ls', '-')) for name, style in styles.items()]
    figure.legend(handles=handles, loc='outside lower center', ncols=3, frameon=False)
    figure.suptitle(title)
    return figure_image(figure)


def _legend_line(name: str, color: Any, style: Any = '-') -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, ls=style, lw=1.8, label=name)
