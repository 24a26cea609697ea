"""Figures that explain results: confidence of a window's frames, error curves, errors on a hand and by occlusion.

Every function returns an RGB image (h, w, 3) uint8. Plots use Matplotlib, without its global state.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from handpose.hands.joints import BONES, COMMON_JOINTS
from handpose.visualization.draw import BACKGROUND, Color, add_caption, side_by_side

_BAR, _HIDDEN = (255, 190, 60), (120, 160, 220)
# A right hand, palm towards the viewer, in arbitrary units (x right, y down): a place for each of the 21 joints.
_HAND_MAP = np.array(
    [[0, 0]]
    + [[-18, -10], [-34, -26], [-46, -40], [-56, -52]]
    + [[-16, -62], [-20, -92], [-22, -112], [-24, -128]]
    + [[0, -66], [0, -100], [0, -122], [0, -140]]
    + [[15, -62], [19, -94], [21, -114], [23, -130]]
    + [[29, -54], [37, -76], [42, -90], [46, -103]],
    float,
)


def confidence_strip(
    frames: Sequence[np.ndarray],
    confidences: np.ndarray,
    labels: Sequence[str] | None = None,
    occlusions: np.ndarray | None = None,
    frame_width: int = 160,
) -> np.ndarray:
    """The film strip of a window with the confidence that the fusion gives each frame as bars below (Deformer, Fig. 6).

    Args:
        frames: T images (h, w, 3) uint8 RGB.
        confidences: (T,), the tallest bar is the largest.
        labels: T strings above the frames, such as 't-10'; default none.
        occlusions: (T,) share hidden from 0 to 1, drawn as a second bar; NaN draws none.
        frame_width: pixels that every frame is scaled to.
    """
    confidences = np.asarray(confidences, float)
    if confidences.shape != (len(frames),) or len(frames) == 0 or not np.isfinite(confidences).all():
        raise ValueError(f'confidence_strip needs one finite confidence a frame: {len(frames)} frames, {confidences}')
    top = max(confidences.max(), 1e-9)
    cells = []
    for t, frame in enumerate(frames):
        height = round(frame.shape[0] * frame_width / frame.shape[1])
        panel = cv2.resize(frame, (frame_width, height), interpolation=cv2.INTER_AREA)
        if labels is not None:
            panel = add_caption(panel, str(labels[t]))
        bars = [(confidences[t] / top, f'{confidences[t]:.2f}', _BAR)]
        if occlusions is not None and np.isfinite(occlusions[t]):
            bars.append((occlusions[t], f'{100 * occlusions[t]:.0f}%', _HIDDEN))
        cells.append(np.vstack([panel, _bars(bars, frame_width)]))
    strip = side_by_side(cells, pad=6)
    legend = [('confidence', _BAR)] + [('share of the hand hidden', _HIDDEN)] * (occlusions is not None)
    return np.vstack([strip, _legend(legend, strip.shape[1])])


def _bars(bars: Sequence[tuple[float, str, Color]], width: int, height: int = 110) -> np.ndarray:
    """Bars of shares 0 to 1 with their text on top."""
    panel = np.full((height, width, 3), BACKGROUND, np.uint8)
    step = width // (len(bars) + 1)
    for i, (share, text, color) in enumerate(bars):
        centre, tall = step * (i + 1), round(share * (height - 26))
        panel[height - tall :, max(0, centre - 16) : centre + 16] = color
        (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        place = (centre - wide // 2, height - tall - 6)
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return panel


def _legend(entries: Sequence[tuple[str, Color]], width: int) -> np.ndarray:
    strip = np.full((30, width, 3), BACKGROUND, np.uint8)
    x = 10
    for text, color in entries:
        strip[9:21, x : x + 12] = color
        cv2.putText(strip, text, (x + 18, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        x += 40 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return strip


def pck_curve(
    errors: Mapping[str, np.ndarray | None], low: float = 0, high: float = 50, title: str = 'PCK'
) -> np.ndarray:
    """Share of keypoints within a threshold, for several models.

    Args:
        errors: {model name: array of errors in mm, NaN left out; or None, which only keeps its colour free}.
        low: lowest threshold, mm.
        high: highest threshold, mm.
        title: above the plot.
    """
    figure, axes = figure_with_axes(title)
    thresholds = np.linspace(low, high, 200)
    for i, (name, values) in enumerate(errors.items()):
        if values is None:
            continue
        values = np.sort(np.asarray(values, float)[~np.isnan(values)])
        share = np.searchsorted(values, thresholds, side='right') / max(len(values), 1)
        axes.plot(thresholds, share, label=name, lw=2, color=f'C{i}')
    axes.set(xlabel='threshold (mm)', ylabel='share of keypoints', xlim=(low, high), ylim=(0, 1))
    figure.legend(loc='outside lower center', ncols=len(errors), frameon=False)
    return figure_image(figure)


def error_per_joint_hand(
    errors: np.ndarray, title: str = 'error per joint (mm)', top: float | None = None
) -> np.ndarray:
    """The error of each joint drawn on a map of the hand: larger and redder is worse.

    Args:
        errors: (21,) mm, NaN leaves a joint grey.
        title: above the hand.
        top: the error of the darkest red, so that several hands share one scale; default the largest error.
    """
    errors = np.asarray(errors, float)
    if errors.shape != (len(COMMON_JOINTS),):
        raise ValueError(f'error_per_joint_hand needs (21,) errors, got {errors.shape}')
    figure, axes = figure_with_axes(title, size=(6.4, 6.4))
    known = ~np.isnan(errors)
    for bone in BONES:
        axes.plot(*_HAND_MAP[list(bone)].T, color='0.75', lw=6, zorder=1, solid_capstyle='round')
    axes.scatter(*_HAND_MAP[~known].T, s=420, c='0.85', zorder=2)
    top = np.nanmax(errors, initial=1e-9) if top is None else top
    scale = dict(cmap='YlOrRd', vmin=0, vmax=top)
    colored = axes.scatter(*_HAND_MAP[known].T, s=560, c=errors[known], ec='0.3', zorder=2, **scale)
    dark = errors > 0.6 * top  # white letters on the dark end of the colours, black on the light one
    for place, error, white in zip(_HAND_MAP[known], errors[known], dark[known], strict=True):
        axes.annotate(f'{error:.1f}', place, ha='center', va='center', size=8, color='w' if white else 'k', zorder=3)
    figure.colorbar(colored, ax=axes, shrink=0.7)
    axes.set(aspect='equal', xlim=(-72, 62), ylim=(14, -152))
    axes.axis('off')
    return figure_image(figure)


def error_by_occlusion_bar(
    errors: Mapping[str, Any], ylabel: str, title: str = 'error by share of the hand hidden'
) -> np.ndarray:
    """Grouped bars: one group for each share of occlusion, one bar for each model.

    Args:
        errors: {model: {group such as '25-50 %': error, or None where there is none}}.
        ylabel: name and unit of the error.
        title: above the bars.
    """
    figure, axes = figure_with_axes(title)
    groups = list(dict.fromkeys(group for values in errors.values() for group in values))
    width = 0.8 / max(len(errors), 1)
    for i, (name, values) in enumerate(errors.items()):
        places = np.arange(len(groups)) + (i - (len(errors) - 1) / 2) * width
        heights = [np.nan if values.get(group) is None else values[group] for group in groups]
        bars = axes.bar(places, heights, 0.92 * width, label=name)
        axes.bar_label(bars, fmt=lambda value: '' if np.isnan(value) else f'{value:.1f}', size=9)
    axes.set_xticks(range(len(groups)), groups)
    axes.set(xlabel='share of the hand hidden', ylabel=ylabel)
    axes.margins(y=0.1)
    figure.legend(loc='outside lower center', ncols=len(errors), frameon=False)
    return figure_image(figure)


def figure_with_axes(title: str, size: tuple[float, float] = (6.4, 4.4)) -> tuple[Any, Any]:
    """A Matplotlib figure of `size` inches without the library's global state, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=120, layout='constrained')
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def figure_image(figure: Any) -> np.ndarray:
    """A Matplotlib figure as an RGB image."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
