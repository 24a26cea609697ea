"""The error of one track over time, with the frames of some moments below it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from handpose.visualization.figures import figure_image

_SHADE = '0.86'
_MARK = '0.25'


def error_timeline(
    times: np.ndarray,
    errors: Mapping[str, np.ndarray],
    occlusion: np.ndarray | None = None,
    moments: Any = (),
    title: str = '',
    ylabel: str = 'PA-MPJPE (mm)',
    labels: tuple[str, str] = ('predicted', 'true'),
) -> np.ndarray:
    """A curve for each model, the hidden share of the hand as shading behind, and images of marked moments below.

    Args:
        times: (T,) frame numbers, ascending; curves break where numbers are missing.
        errors: {model name: (T,) mm}, the first drawn bold; NaN leaves a hole.
        occlusion: (T,) share of the hand that is hidden, from 0 to 1, NaN unknown; None draws no shading.
        moments: (index into T, image of the prediction, image of the truth) of each marked moment, in order.
        title: of the plot.
        ylabel: of the plot.
        labels: of the images of predictions and of truths.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    from matplotlib.figure import Figure

    times = np.asarray(times)
    if times.ndim != 1 or len(times) == 0 or any(np.shape(e) != times.shape for e in errors.values()) or not errors:
        shapes = {name: np.shape(values) for name, values in errors.items()}
        raise ValueError(f'error_timeline needs times (T,) and for each model errors (T,), got {times.shape}, {shapes}')
    columns = max(len(moments), 1)
    figure = Figure(figsize=(11, 3.6 + (2 * 10.4 / columns + 0.7 if moments else 0)), dpi=110, layout='constrained')
    grid = figure.add_gridspec(
        3 if moments else 1, columns, height_ratios=[3.4, *[10.4 / columns] * 2] if moments else [1]
    )
    axes = figure.add_subplot(grid[0, :])
    _draw_curves(axes, times, errors, occlusion)
    axes.set_title(title)
    axes.set(xlabel='frame', ylabel=ylabel)
    _mark_moments(axes, times, next(iter(errors.values())), moments)
    for column, moment in enumerate(moments):
        _draw_moment(figure, grid, column, times, errors, occlusion, moment, labels)
    return figure_image(figure)


def _draw_curves(axes: Any, times: np.ndarray, errors: Mapping[str, np.ndarray], occlusion: np.ndarray | None) -> None:
    axes.grid(alpha=0.3)
    for i, (name, values) in enumerate(errors.items()):
        x, y = _with_gaps(times, values)
        axes.plot(x, y, label=name, lw=2.4 if i == 0 else 1.3, zorder=3 - 0.1 * i, marker='.', ms=5 if i == 0 else 0)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])
    handles, labels = axes.get_legend_handles_labels()
    if occlusion is not None and np.isfinite(occlusion).any():
        share = axes.twinx()
        x, y = _with_gaps(times, occlusion)
        shade = share.fill_between(x, 0, 100 * y, color=_SHADE, lw=0, step='mid')
        share.set(ylim=(0, 100), ylabel='hand hidden (%)')
        axes.set_zorder(share.get_zorder() + 1)
        axes.patch.set_visible(False)
        handles, labels = [*handles, shade], [*labels, 'share of the hand hidden']
    axes.legend(handles, labels, loc='upper center', ncols=len(labels), frameon=False, fontsize=9)


def _mark_moments(axes: Any, times: np.ndarray, values: np.ndarray, moments: Any) -> None:
    for number, (index, *_) in enumerate(moments, start=1):
        axes.axvline(times[index], color=_MARK, lw=0.8, ls=':', zorder=2)
        if np.isfinite(values[index]):
            axes.annotate(
                str(number),
                (times[index], values[index]),
                xytext=(0, 11),
                textcoords='offset points',
                ha='center',
                va='center',
                size=9,
                color='white',
                zorder=5,
                bbox=dict(boxstyle='circle,pad=0.25', fc=_MARK, ec='none'),
            )


def _draw_moment(
    figure: Any,
    grid: Any,
    column: int,
    times: np.ndarray,
    errors: Mapping[str, np.ndarray],
    occlusion: np.ndarray | None,
    moment: Any,
    labels: tuple[str, str],
) -> None:
    index, *images = moment
    error = next(iter(errors.values()))[index]
    text = f'{column + 1}: frame {times[index]}, {error:.1f} mm'
    if occlusion is not None and np.isfinite(occlusion[index]):
        text += f'\n{100 * occlusion[index]:.0f} % hidden'
    for row, (image, label) in enumerate(zip(images, labels, strict=True), start=1):
        axes = figure.add_subplot(grid[row, column])
        axes.imshow(image)
        axes.set(xticks=[], yticks=[])
        if row == 1:
            axes.set_title(text, fontsize=9)
        if column == 0:
            axes.set_ylabel(label)


def _with_gaps(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values with a NaN put into every hole of the frame numbers, where a line then breaks."""
    values = np.asarray(values, float)
    step = np.diff(times)
    holes = np.flatnonzero(step > np.median(step)) + 1 if len(step) else np.zeros(0, int)
    return np.insert(times.astype(float), holes, times[holes] - 0.5), np.insert(values, holes, np.nan)
