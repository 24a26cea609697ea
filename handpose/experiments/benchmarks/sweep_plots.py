"""Plots of sweeps: time and memory against each size, one line for each system."""

from pathlib import Path
from typing import Any

from handpose.experiments.benchmarks.case import BenchmarkError
from handpose.experiments.benchmarks.results import Results
from handpose.experiments.benchmarks.sweeps import Sweep, sweeps

COLUMNS = 4
TITLES = {'time': ('ms per call', 'Time against size'), 'memory': ('MB added', 'Memory against size')}


def plot_sweeps(results: Results, folder: str | Path) -> list[Path]:
    """Draws `scaling_time.png` and `scaling_memory.png`.

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
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BenchmarkError('plots need matplotlib: pip install "handpose[train]"') from None
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in TITLES:
        axes_names = list(dict.fromkeys(sweep.point.axis for sweep in found))
        rows = -(-len(axes_names) // COLUMNS)
        figure = Figure(figsize=(3.6 * COLUMNS, 3.3 * rows), layout='constrained')
        panels = figure.subplots(rows, COLUMNS, squeeze=False).flat
        for panel, name in zip(panels, axes_names, strict=False):
            _draw(panel, [sweep for sweep in found if sweep.point.axis == name], kind, name)
        for panel in list(panels)[len(axes_names) :]:
            panel.set_axis_off()
        figure.suptitle(f'{TITLES[kind][1]}; dashed: proportional')
        paths.append(Path(folder) / f'scaling_{kind}.png')
        figure.savefig(paths[-1], dpi=80)
    return paths


def _draw(panel: Any, found: list[Sweep], kind: str, name: str) -> None:
    """One panel: the systems that were measured against the size `name`, and a dashed line of slope 1."""
    for sweep in found:
        values = [1000 * s for s in sweep.seconds] if kind == 'time' else [max(m, 1.0) for m in sweep.memory]
        slope = sweep.tail if kind == 'time' else sweep.memory_tail
        label = sweep.point.system + (f' {slope:.2f}' if slope == slope else '')
        (line,) = panel.plot(sweep.sizes, values, marker='o', markersize=3, label=label)
        straight = [values[0] * size / sweep.sizes[0] for size in sweep.sizes]
        panel.plot(sweep.sizes, straight, '--', color=line.get_color(), linewidth=0.6, alpha=0.6)
    panel.set_xscale('log', base=2)
    panel.set_yscale('log')
    panel.set_xlabel(name)
    panel.set_ylabel(TITLES[kind][0])
    panel.legend(fontsize=6, title='system, k at the end', title_fontsize=6)
    panel.grid(alpha=0.3)
