"""Plots of sweeps: time and memory against each size, one line for each system."""

from collections.abc import Mapping
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

from handpose.experiments.benchmarks.case import BenchmarkError
from handpose.experiments.benchmarks.results import Results
from handpose.experiments.benchmarks.sweeps import Sweep, sweeps

COLUMNS, MOST_TICKS = 4, 8
TITLES = {'time': ('ms per call', 'Time against size'), 'memory': ('MB added', 'Memory against size')}


def plot_sweeps(results: Results, folder: str | Path) -> list[Path]:
    """Draws `scaling_time.png` and, where memory was measured, `scaling_memory.png`.

    Args:
        results: of a run of sweeps.
        folder: made if it does not exist.

    Returns:
        The files.

    Raises:
        BenchmarkError: matplotlib is not installed, or no sweep was measured.
    """
    found = sweeps(results)
    if not found:
        raise BenchmarkError('the results hold no finished sweep, so there is nothing to plot')
    if find_spec('matplotlib') is None:
        raise BenchmarkError('plots need matplotlib: pip install "handpose[train]"')
    Path(folder).mkdir(parents=True, exist_ok=True)
    from matplotlib import colormaps

    colours = dict(zip(dict.fromkeys(sweep.point.system for sweep in found), cycle(colormaps['tab20'](range(20)))))
    shown = {'time': found, 'memory': [sweep for sweep in found if sweep.memory]}
    return [_plot(shown[kind], kind, Path(folder) / f'scaling_{kind}.png', colours) for kind in TITLES if shown[kind]]


def _plot(found: list[Sweep], kind: str, path: Path, colours: Mapping[str, Any]) -> Path:
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(sweep.point.axis for sweep in found))
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3.6 * COLUMNS, 3.0 * rows + 0.8), layout='constrained')
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, [sweep for sweep in found if sweep.point.axis == name], kind, name, colours)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    lines = {line.get_label(): line for panel in panels for line in panel.lines if line.get_label() in colours}
    figure.legend(lines.values(), lines.keys(), loc='outside lower center', ncols=7, fontsize=8)
    figure.suptitle(f'{TITLES[kind][1]}; dashed: proportional')
    figure.savefig(path, dpi=72)
    return path


def _draw(panel: Any, found: list[Sweep], kind: str, name: str, colours: Mapping[str, Any]) -> None:
    """One panel: the systems that were measured against the size `name`, and dashed lines of slope 1."""
    from matplotlib.ticker import NullFormatter

    for sweep in found:
        values = [1000 * s for s in sweep.seconds] if kind == 'time' else [max(m, 1.0) for m in sweep.memory]
        colour = colours[sweep.point.system]
        panel.plot(sweep.sizes, values, marker='o', markersize=3, color=colour, label=sweep.point.system)
        straight = [values[0] * size / sweep.sizes[0] for size in sweep.sizes]
        panel.plot(sweep.sizes, straight, '--', color=colour, linewidth=0.8, alpha=0.7)
    sizes = sorted({size for sweep in found for size in sweep.sizes})
    panel.set_xscale('log', base=2)
    panel.set_yscale('log')
    shown = sizes if len(sizes) < MOST_TICKS else sizes[:: -(-len(sizes) // MOST_TICKS)]
    panel.set_xticks(shown, [f'{size}' for size in shown], fontsize=7)
    panel.tick_params(axis='y', labelsize=7)
    low, high = panel.get_ylim()
    if high > 20 * low:  # else the labels between the powers of ten are the only ones
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(axis='y', which='minor', labelsize=6)
    panel.set_xlabel(name)
    panel.set_ylabel(TITLES[kind][0])
    panel.grid(alpha=0.3)
