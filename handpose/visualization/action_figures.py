"""Figures of actions: the confusion matrix, and which frames of a video decide.

Every function returns an RGB image (h, w, 3) uint8.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from handpose.visualization.figures import figure_image, figure_with_axes

_CELL = 0.31  # inches
_INK, _ATTENTION = '0.15', '#e8833a'
_STRIP_WIDTH = 13.0  # inches


def confusion_matrix(
    labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], title: str = 'actions'
) -> np.ndarray:
    """How often each action was taken for each: rows are the true actions, columns the predicted ones.

    A cell holds the number of videos; its colour is their share of the row. At the end of a row are the numbers of its
    videos and of the correct ones. Actions that are neither present nor predicted are left out.

    Args:
        labels: (N,) int, true actions as indices into `names`.
        predicted: (N,) int, likewise.
        names: of the A actions.
        title: above the matrix.
    """
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f'confusion_matrix needs (N,) labels and predictions, got {labels.shape}, {predicted.shape}')
    used = np.unique(np.concatenate([labels, predicted]))
    if used[0] < 0 or used[-1] >= len(names):
        raise ValueError(f'confusion_matrix got the class {used[0] if used[0] < 0 else used[-1]} of {len(names)} names')
    rows, columns = (np.searchsorted(used, values) for values in (labels, predicted))
    counts = np.zeros((len(used), len(used)), int)
    np.add.at(counts, (rows, columns), 1)
    words = [str(names[i]).replace('_', ' ') for i in used]
    right = int(counts.trace())
    title = f'{title}: {right} of {len(labels)} videos correct ({100 * right / len(labels):.1f} %)'
    if len(used) < len(names):
        title += f'; {len(names) - len(used)} actions are neither present nor predicted'
    return figure_image(_matrix_figure(counts, words, title))


def confusion_matrices(
    labels: np.ndarray, predicted: Mapping[str, np.ndarray], names: Sequence[str], title: str = 'true verbs'
) -> np.ndarray:
    """How often each action occurs, and a confusion matrix for each source of predictions (AssemblyHands, Fig. 6).

    Args:
        labels: (N,) int, true actions as indices into `names`.
        predicted: {source, such as the poses that a classifier read: (N,) int}.
        names: of the A actions.
        title: above the numbers of the actions.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no source, or labels and predictions of different length.
    """
    if not predicted:
        raise ValueError('confusion_matrices needs at least one source of predictions')
    matrices = [confusion_matrix(labels, found, names, source) for source, found in predicted.items()]
    figure, axes = figure_with_axes(title, size=(3.6, matrices[0].shape[0] / 120))
    words = [str(name).replace('_', ' ') for name in names]
    bars = axes.barh(words, np.bincount(np.asarray(labels), minlength=len(names)), color='0.55')
    axes.bar_label(bars, size=8, padding=2)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(xlabel='sequences')
    panels = [figure_image(figure), *matrices]
    height = max(panel.shape[0] for panel in panels)
    padded = [
        cv2.copyMakeBorder(p, 0, height - p.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3) for p in panels
    ]
    return np.hstack(padded)


def _matrix_figure(counts: np.ndarray, words: Sequence[str], title: str) -> Any:
    from matplotlib.figure import Figure

    size = len(words) * _CELL
    margin = 0.075 * max(map(len, words)) + 0.4  # for the names, inches
    figure = Figure(figsize=(max(size + margin + 1.5, 7.0), size + margin + 0.9), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    totals = counts.sum(1)
    axes.imshow(counts / np.maximum(totals, 1)[:, None], cmap='Blues', vmin=0, vmax=1.15)
    for row, column in np.argwhere(counts):
        share = counts[row, column] / totals[row]
        color = 'white' if share > 0.55 else _INK if row == column else '#b3261e'
        weight = 'bold' if row == column else 'normal'
        axes.text(
            column, row, counts[row, column], ha='center', va='center_baseline', size=8, color=color, weight=weight
        )
    places = np.arange(len(words))
    axes.set_xticks(places, words, rotation=90, size=9)
    axes.set_yticks(places, words, size=9)
    of_row = [f'{counts[i, i]} of {n}' if n else '-' for i, n in enumerate(totals)]
    beside = axes.secondary_yaxis('right')
    beside.set_yticks(places, of_row, size=8)
    for scale in (axes, beside):
        scale.tick_params(length=0)
    axes.set(xlabel='predicted', ylabel='true')
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which='minor', color='0.9', lw=0.7)
    axes.tick_params(which='minor', length=0)
    figure.suptitle(title, size=10)
    return figure


def attention_strip(
    frames: Sequence[np.ndarray],
    attention: np.ndarray,
    numbers: Sequence[int] | None = None,
    title: str = '',
    shown: int = 12,
) -> np.ndarray:
    """A video as a film strip, and how much the action looks at each of its frames (HTT, Fig. 7).

    Each image is the middle one of the frames below it.

    Args:
        frames: T images (h, w, 3) uint8 RGB.
        attention: (T,), which sums to at most 1; drawn in percent.
        numbers: (T,) of the frames, which the axis shows where they are neighbours; default 0 to T - 1.
        title: above the strip.
        shown: largest number of images.
    """
    from matplotlib.figure import Figure

    attention = np.asarray(attention, float)
    if attention.shape != (len(frames),) or not len(frames) or not np.isfinite(attention).all():
        raise ValueError(f'attention_strip needs one finite weight a frame: {len(frames)} frames, {attention.shape}')
    count = min(shown, len(frames))
    edges = np.linspace(0, len(frames), count + 1)
    middles = np.minimum((edges[:-1] + edges[1:]) / 2, len(frames) - 1).astype(int)
    tiles = [_tile(frames[t]) for t in middles]
    left, width, plot, top = 0.85, _STRIP_WIDTH - 1.05, 1.7, 0.45 if title else 0.15  # inches
    strip = width * tiles[0].shape[0] / (count * tiles[0].shape[1])
    height = top + strip + plot + 0.65
    figure = Figure(figsize=(_STRIP_WIDTH, height), dpi=110)

    def add_axes(bottom: float, tall: float) -> Any:
        return figure.add_axes((left / _STRIP_WIDTH, bottom / height, width / _STRIP_WIDTH, tall / height))

    film, below = add_axes(0.6 + plot, strip), add_axes(0.55, plot)
    film.imshow(np.hstack(tiles), aspect='auto')
    film.axis('off')
    neighbours = numbers is not None and (np.diff(numbers) == 1).all()
    _draw_attention(below, 100 * attention, int(numbers[0]) if numbers is not None and neighbours else 0)
    figure.text(left / _STRIP_WIDTH, 1 - 0.32 / height, title, size=11)
    return figure_image(figure)


def _draw_attention(axes: Any, percent: np.ndarray, first: int) -> None:
    frames = len(percent)
    start, end = first - 0.5, first + frames - 0.5
    steps = np.append(percent, percent[-1])
    axes.fill_between(np.linspace(start, end, frames + 1), steps, step='post', color=_ATTENTION, lw=0)
    axes.axhline(100 / frames, color='0.4', lw=1, ls='--')
    plate = dict(boxstyle='square,pad=0.15', fc='white', ec='none', alpha=0.8)
    place = dict(textcoords='offset points', ha='right', size=8, bbox=plate)
    axes.annotate('uniform', (end, 100 / frames), (-4, 4), **place)
    axes.set(xlim=(start, end), ylim=(0, 1.15 * max(percent.max(), 100 / frames)), ylabel='attention (%)')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel('frame', labelpad=1)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _tile(frame: np.ndarray, width: int = 200) -> np.ndarray:
    """A frame of the strip with a dark border."""
    height = round(frame.shape[0] * width / frame.shape[1])
    method = cv2.INTER_AREA if frame.shape[1] > width else cv2.INTER_CUBIC
    tile = cv2.resize(frame, (width, height), interpolation=method)
    tile[:, :1] = tile[:, -1:] = 20
    return tile


def accuracy_by_fraction(
    accuracies: Mapping[str, Mapping[float, Sequence[float]]],
    title: str = 'how early an action is recognised',
    ylabel: str = 'action accuracy (%)',
) -> np.ndarray:
    """Curves of accuracy against the fraction of an action that is observed, one for each model.

    A line is the mean over seeds, and the band around it reaches from the smallest to the largest.

    Args:
        accuracies: {model: {fraction from 0 to 1: accuracy from 0 to 1 of each seed}}.
        title: above the plot.
        ylabel: name and unit of the accuracy.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no model, a model without a value, or numbers that are not from 0 to 1.
    """
    if not accuracies or not all(accuracies.values()):
        raise ValueError('accuracy_by_fraction needs at least one model, and a fraction with an accuracy of each')
    figure, axes = figure_with_axes(title)
    seeds = set()
    for i, (name, curve) in enumerate(accuracies.items()):
        fractions = np.array(sorted(curve))
        values = [np.asarray(curve[fraction], float) for fraction in fractions]
        if not all(v.size and ((v >= 0) & (v <= 1)).all() for v in (fractions, *values)):
            raise ValueError(f'{name}: fractions and accuracies must be from 0 to 1, got {dict(curve)}')
        seeds |= {len(v) for v in values}
        x, marker = 100 * fractions, 'osD^vP'[i % 6]
        axes.plot(x, [100 * v.mean() for v in values], color=f'C{i}', lw=2, marker=marker, ms=6, label=name)
        low, high = [100 * v.min() for v in values], [100 * v.max() for v in values]
        axes.fill_between(x, low, high, color=f'C{i}', alpha=0.18, lw=0)
    axes.set(xlabel='observed part of the action (%)', ylabel=ylabel, xlim=(0, 103), ylim=(0, 103))
    if seeds != {1}:
        note = f'mean and range over {"up to " * (len(seeds) > 1)}{max(seeds)} seeds'
        axes.annotate(note, (1, 0), (-6, 6), 'axes fraction', 'offset points', ha='right', size=8, color='0.35')
    figure.legend(loc='outside lower center', ncols=min(3, len(accuracies)), frameon=False)
    return figure_image(figure)
