"""Figures of forecasts: fans of sampled futures after the observed hands, and rows of whole motions.

Every function returns an RGB image (h, w, 3) uint8. Plots use Matplotlib, without its global state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from handpose.structures import HandSequence
from handpose.visualization.figures import figure_image
from handpose.visualization.future_scene import (
    FutureScene,
    Plane,
    Points,
    future_scene,
    limits_of,
    motion_scene,
    skeleton_segments,
)

HORIZONS = (0.25, 0.5, 1.0, 2.0)  # seconds
HAND_COLORS = ('#2f6fd0', '#e0662a')  # left, right
TRUTH_COLOR = '#1d8a3c'
_DASHES = (0, (2.2, 1.4))
_MARGIN = 0.06
_PANEL = 2.9  # inches, the longer side


def future_strip(
    observed: HandSequence,
    future: HandSequence,
    truth: HandSequence | None = None,
    horizons: Sequence[float] = HORIZONS,
    num_observed: int = 3,
    title: str = '',
    view: str = 'auto',
) -> np.ndarray:
    """A film strip: the observed hands at a few frames, then the sampled futures at each horizon.

    Samples are translucent, their mean is bold, and what followed is dashed and green. Thin lines are the paths of the
    wrists from the last observed frame to the horizon. All panels have the same scale.

    Args:
        observed: a clip with joints_3d and timestamps.
        future: its sampled futures, a batch of S clips.
        truth: what followed, a batch of one clip.
        horizons: seconds after the last observed frame; those beyond the futures are left out.
        num_observed: how many observed frames are shown, evenly spread, the last one among them.
        title: above the strip.
        view: see `handpose.visualization.future_scene.future_scene`.

    Raises:
        ValueError: no horizon is within the futures, `num_observed` is below 1, or the clips do not fit together.
    """
    return future_rows(observed, {'': future}, truth, horizons, num_observed, title, view)


def future_rows(
    observed: HandSequence,
    futures: Mapping[str, HandSequence],
    truth: HandSequence | None = None,
    horizons: Sequence[float] = HORIZONS,
    num_observed: int = 3,
    title: str = '',
    view: str = 'auto',
) -> np.ndarray:
    """Film strips of different futures of one clip below each other, such as those for two actions; see `future_strip`.

    Args:
        observed: a clip with joints_3d and timestamps.
        futures: {title of the row: sampled futures, a batch of S clips}; all have the same frames.
        truth: what followed, a batch of one clip; it is drawn in the first row.
        horizons: seconds after the last observed frame; those beyond the futures are left out.
        num_observed: how many observed frames are shown, evenly spread, the last one among them.
        title: above all.
        view: see `handpose.visualization.future_scene.future_scene`.

    Raises:
        ValueError: no futures, no horizon within them, `num_observed` is below 1, or the clips do not fit together.
    """
    if not futures:
        raise ValueError('future_rows needs at least one row of futures')
    together = HandSequence.stack([clip for future in futures.values() for clip in future.unstack()])
    scene = future_scene(observed, together, truth, view)  # one plane and one scale for all rows
    last = float(scene.seconds[-1])
    reached = [horizon for horizon in horizons if 0 < horizon <= last + 0.5 * _period(scene)]
    if not reached or num_observed < 1:
        raise ValueError(
            f'expected a horizon from 0 to the {last:.2f} s of the futures and at least one observed frame, got '
            f'{list(horizons)} and num_observed={num_observed}'
        )
    shown = np.unique(np.linspace(0, len(scene.observed) - 1, num_observed).round().astype(int))
    if num_observed == 1:
        shown = np.array([len(scene.observed) - 1])
    limits = scene.limits(_MARGIN, int(shown[0]), scene.frame_at(reached[-1]))
    figure, rows = _panels(list(futures), len(shown) + len(reached), limits, scene.plane, title)
    first = 0
    for number, (panels, future) in enumerate(zip(rows, futures.values(), strict=True)):
        samples = scene.samples[first : first + len(future.meta)]
        first += len(samples)
        row = replace(scene, samples=samples, truth=None if number else scene.truth)
        for axes, t in zip(panels, shown, strict=False):
            _add_hands(axes, scene.observed[t], scene.hand_side, lw=1.8, alpha=1.0)
            axes.set_title(f'observed, {scene.observed_seconds[t]:.2f} s'.replace('-', '−'), fontsize=10)
        for axes, horizon in zip(panels[len(shown) :], reached, strict=True):
            _add_fan(axes, row, scene.frame_at(horizon))
            axes.set_title(f'+{horizon:g} s', fontsize=10, fontweight='bold')
    _add_legend(figure, scene, len(samples))
    return figure_image(figure)


def motion_row(
    motions: HandSequence, labels: Sequence[str], num_poses: int = 5, title: str = '', view: str = 'auto'
) -> np.ndarray:
    """Several motions side by side, such as those between two inputs (G-HTT, arXiv 2311.17366, section 4.5).

    Each panel shows one motion as poses from its start (faint) to its end (bold), with the paths of wrists and
    fingertips. All panels have the same scale.

    Args:
        motions: a batch of N clips with joints_3d.
        labels: N titles, such as 'first', '25 %', ...
        num_poses: how many poses of each motion are shown.
        title: above the row.
        view: 'auto', 'front', 'side' or 'principal', see `handpose.visualization.future_scene.future_scene`.

    Raises:
        ValueError: no motion, another number of labels, fewer than two poses, an unknown view, or no hand to draw.
    """
    if num_poses < 2:
        raise ValueError(f'motion_row needs at least 2 poses, got num_poses={num_poses}')
    points, plane = motion_scene(motions, labels, view)
    figure, (panels,) = _panels([''], len(points), limits_of(points, _MARGIN), plane, title)
    side = motions.require('hand_side')[0].cpu().numpy()
    for axes, motion, label in zip(panels, points, labels, strict=True):
        given = np.flatnonzero(np.isfinite(motion).any((1, 2, 3)))
        if len(given):
            for k, t in enumerate(np.linspace(given[0], given[-1], num_poses).round().astype(int)):
                share = (k + 1) / num_poses
                _add_hands(axes, motion[t], side, lw=0.9 + 1.1 * share, alpha=0.15 + 0.85 * share**2)
            _add_paths(axes, motion[:, :, [0, 4, 8, 12, 16, 20]], side)
        axes.set_title(label, fontsize=10)
    figure.legend(handles=_hand_handles(side), loc='outside lower center', ncols=2, frameon=False)
    return figure_image(figure)


def _period(scene: FutureScene) -> float:
    return float(scene.seconds[0])


def _panels(rows: Sequence[str], count: int, limits: Points, plane: Plane, title: str) -> tuple[Any, list[list[Any]]]:
    """A figure with rows of `count` panels of one scale, each row below its title."""
    from matplotlib.figure import Figure

    width, height = limits[:, 1] - limits[:, 0]
    scale = _PANEL / max(width, height)
    wide, tall = max(width * scale, 1.5), max(height * scale, 1.5)
    titles = 0.3 * sum(bool(name) for name in (title, *rows))
    size = (count * (wide + 0.18) + 0.8, len(rows) * (tall + 0.8) + 0.35 + titles)
    figure = Figure(figsize=size, dpi=110, layout='constrained')
    panels = []
    for name, part in zip(rows, figure.subfigures(len(rows), 1, squeeze=False)[:, 0], strict=True):
        panels.append(list(part.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]))
        for axes in panels[-1]:
            axes.set(aspect='equal', xlim=limits[0], ylim=limits[1][::-1] if plane.inverted else limits[1])
            axes.set_xlabel(plane.labels[0], fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.25)
            axes.set_axisbelow(True)
        panels[-1][0].set_ylabel(plane.labels[1], fontsize=9)
        if name:
            part.suptitle(name, fontsize=10.5)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, panels


def _add_hands(
    axes: Any, hands: Points, sides: np.ndarray, lw: float, alpha: float, color: str | None = None, style: Any = 'solid'
) -> None:
    """Draws hands (H, J, 2), each in the colour of its side."""
    from matplotlib.collections import LineCollection

    for hand, side in zip(hands, sides, strict=True):
        segments = skeleton_segments(hand)
        lines = LineCollection(
            list(segments), colors=color or HAND_COLORS[side], linewidths=lw, alpha=alpha, linestyles=style
        )
        axes.add_collection(lines)


def _add_fan(axes: Any, scene: FutureScene, frame: int) -> None:
    """The samples at a future frame, their mean and the truth, and the paths of the wrists up to it."""
    start = scene.observed[-1:, :, :1]  # (1, H, 1, 2)
    alpha = float(np.clip(2.5 / len(scene.samples), 0.12, 0.6))
    for sample in scene.samples:
        if len(scene.samples) > 1:
            _add_hands(axes, sample[frame], scene.hand_side, lw=0.8, alpha=alpha)
        _add_paths(axes, np.concatenate([start, sample[: frame + 1, :, :1]]), scene.hand_side, alpha=max(alpha, 0.25))
    _add_hands(axes, scene.mean[frame], scene.hand_side, lw=2.4, alpha=1.0)
    if scene.truth is not None:  # dashes above the mean, so that both can be seen where they agree
        path = np.concatenate([start, scene.truth[: frame + 1, :, :1]])
        _add_paths(axes, path, scene.hand_side, alpha=0.9, color=TRUTH_COLOR)
        _add_hands(axes, scene.truth[frame], scene.hand_side, lw=1.6, alpha=1.0, color=TRUTH_COLOR, style=_DASHES)


def _add_paths(axes: Any, paths: Points, sides: np.ndarray, alpha: float = 0.5, color: str | None = None) -> None:
    """Draws paths (T, H, P, 2) of points of each hand."""
    for h, side in enumerate(sides):
        axes.plot(*np.moveaxis(paths[:, h], -1, 0), color=color or HAND_COLORS[side], lw=0.8, alpha=alpha)


def _hand_handles(sides: np.ndarray, words: str = '') -> list[Any]:
    from matplotlib.lines import Line2D

    names = ('left hand', 'right hand')
    return [Line2D([], [], color=HAND_COLORS[side], lw=2.4, label=f'{names[side]}{words}') for side in sides]


def _add_legend(figure: Any, scene: FutureScene, count: int) -> None:
    """Explains the lines of fans of `count` samples."""
    from matplotlib.lines import Line2D

    handles = _hand_handles(scene.hand_side, f', mean of {count} samples' if count > 1 else '')
    if count > 1:
        handles.append(Line2D([], [], color='0.45', lw=0.9, alpha=0.7, label='samples and paths of the wrists'))
    if scene.truth is not None:
        handles.append(Line2D([], [], color=TRUTH_COLOR, lw=1.6, ls=_DASHES, label='what followed'))
    figure.legend(handles=handles, loc='outside lower center', ncols=len(handles), frameon=False, fontsize=9)
