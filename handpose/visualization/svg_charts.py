"""Charts as HTML and SVG text, for reports in one file: no JavaScript, no Matplotlib, a few kilobytes each.

Colours of text, axes and backgrounds are the page's CSS variables `--ink`, `--faint` and `--plot`. All text is escaped.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scalar = TypeVar('Scalar', bound=np.generic)
SERIES_COLORS = ('#2f7fd0', '#e0702a', '#1d9a5c', '#b04fc0', '#c8a012', '#5a6270')
UNKNOWN_COLOR = (150, 154, 160)
_HEAT = np.array([(255, 250, 222), (254, 217, 118), (253, 141, 60), (227, 26, 28), (128, 0, 38)], float)
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 52, 10, 10, 36
_MOST_POINTS = 480  # of a line; more are not visible


def line_chart(
    lines: Mapping[str, Array], x_label: str, y_label: str, *, length: int, height: int = 200, top: float | None = None
) -> str:
    """Draws lines over the frames of a recording; where there are many frames, the median of each group of them.

    Args:
        lines: {name: (T,) values}; NaN breaks a line.
        x_label: below the chart.
        y_label: beside the chart.
        length: T.
        height: of the chart, pixels.
        top: end of the vertical axis; default what the values need. Higher values are cut off.

    Returns:
        HTML.
    """
    shown = {name: _grouped(np.asarray(values, float)) for name, values in lines.items()}
    highest = max((float(np.nanmax(v)) for v in shown.values() if np.isfinite(v).any()), default=1.0)
    ticks = nice_ticks(highest if top is None else top)
    end = ticks[-1] if top is None else top
    inner, tall = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    parts = _axes(ticks, end, height, x_label, y_label, length)
    for i, (name, values) in enumerate(shown.items()):
        x = _LEFT + inner * (np.arange(len(values)) + 0.5) / max(len(values), 1)
        y = _TOP + tall * (1 - np.minimum(values, end) / max(end, 1e-9))
        color = SERIES_COLORS[i % len(SERIES_COLORS)]
        parts.append(
            f'<path d="{_path(x, y)}" fill="none" stroke="{color}" stroke-width="1.6" stroke-linecap="round">'
            f'<title>{html.escape(name)}</title></path>'
        )
    legend = ''.join(
        f'<span><i style="background:{SERIES_COLORS[i % len(SERIES_COLORS)]}"></i>{html.escape(name)}</span>'
        for i, name in enumerate(shown)
    )
    return f'{_svg(parts, height)}<p class="legend">{legend}</p>'


def bar_chart(bars: Mapping[str, float], x_label: str, y_label: str, *, height: int = 200) -> str:
    """Draws vertical bars with their numbers, in percent.

    Args:
        bars: {label: share from 0 to 1}.
        x_label: below the chart.
        y_label: beside the chart.
        height: of the chart, pixels.

    Returns:
        HTML.
    """
    end = 112 * max(bars.values(), default=1.0)  # room for the numbers
    ticks = nice_ticks(end)
    inner, tall = _WIDTH - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    parts = _axes(ticks, end, height, x_label, y_label, None)
    step = inner / max(len(bars), 1)
    for i, (label, share) in enumerate(bars.items()):
        size = tall * 100 * share / max(end, 1e-9)
        middle, y = _LEFT + (i + 0.5) * step, _TOP + tall - size
        wide = min(0.7 * step, 60)
        parts.append(
            f'<rect x="{middle - wide / 2:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{size:.1f}" '
            f'fill="{SERIES_COLORS[0]}"/>'
            f'<text x="{middle:.1f}" y="{height - _BOTTOM + 15}" text-anchor="middle">{html.escape(label)}</text>'
            f'<text x="{middle:.1f}" y="{max(y - 4, 10):.1f}" text-anchor="middle">{100 * share:.1f} %</text>'
        )
    return _svg(parts, height)


def color_strip(colors: NDArray[np.uint8], title: str) -> str:
    """Draws a row of colours that fills the width of its place, one for each frame.

    Args:
        colors: (T, 3) RGB.
        title: shown when the mouse is over it.

    Returns:
        HTML, an image of a few hundred bytes.
    """
    _, encoded = cv2.imencode('.png', np.ascontiguousarray(colors[None, :, ::-1]))
    data = base64.b64encode(encoded.tobytes()).decode('ascii')
    words = html.escape(title)
    return f'<img class="strip" alt="{words}" title="{words}" src="data:image/png;base64,{data}">'


def heat_colors(values: Array, top: float) -> NDArray[np.uint8]:
    """Colours of numbers, from a light yellow at 0 to a dark red.

    Args:
        values: (...), NaN is grey.
        top: the number with the darkest red, and above.

    Returns:
        (..., 3) uint8 RGB.
    """
    place = np.clip(np.nan_to_num(values) / max(top, 1e-9), 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(place.astype(int), len(_HEAT) - 2)
    mixed = _HEAT[low] + (place - low)[..., None] * (_HEAT[low + 1] - _HEAT[low])
    return np.where(np.isnan(values)[..., None], UNKNOWN_COLOR, mixed).round().astype(np.uint8)


def heat_cell(value: float, top: float, text: str) -> str:
    """A cell of a table with the colour of its number.

    Args:
        value: the number, NaN for none.
        top: see `heat_colors`.
        text: what the cell says.

    Returns:
        HTML.
    """
    red, green, blue = heat_colors(np.array(value), top).tolist()
    ink = '#fff' if 0.3 * red + 0.59 * green + 0.11 * blue < 140 else '#222'
    return f'<td style="background:rgb({red},{green},{blue});color:{ink}">{html.escape(text)}</td>'


def nice_ticks(highest: float) -> list[float]:
    """Round numbers from 0 up to at least a number, three to six of them.

    Args:
        highest: the number; at most 0 counts as 1.

    Returns:
        The numbers.
    """
    highest = highest if highest > 0 else 1.0
    unit = 10.0 ** np.floor(np.log10(highest / 4))
    step = next(unit * factor for factor in (1, 2, 5, 10) if highest / (unit * factor) <= 5)
    return [float(step * i) for i in range(int(np.ceil(highest / step - 1e-9)) + 1)]


def group_frames(values: NDArray[Scalar], most: int = _MOST_POINTS) -> list[NDArray[Scalar]]:
    """Splits frames into groups of neighbours of nearly equal size.

    Args:
        values: (T, ...).
        most: number of groups, at most T.

    Returns:
        The groups, in order.
    """
    return list(np.array_split(values, max(1, min(most, len(values)))))


def _grouped(values: Array) -> Array:
    """(T,) as at most `_MOST_POINTS` medians; a group that is mostly NaN is a gap."""
    if len(values) <= _MOST_POINTS:
        return values
    groups = group_frames(values)
    return np.array([np.nanmedian(g) if 2 * np.isfinite(g).sum() >= len(g) else np.nan for g in groups])


def _path(x: Array, y: Array) -> str:
    """Line segments through the points that are known; single points become dots."""
    parts, pen_down = [], False
    for i in range(len(x)):
        if not np.isfinite(y[i]):
            pen_down = False
            continue
        parts.append(f'{"L" if pen_down else "M"}{x[i]:.1f} {y[i]:.1f}')
        if not pen_down and (i + 1 == len(x) or not np.isfinite(y[i + 1])):
            parts.append('h.1')
        pen_down = True
    return ''.join(parts)


def _axes(ticks: Sequence[float], end: float, height: int, x_label: str, y_label: str, length: int | None) -> list[str]:
    tall, inner = height - _TOP - _BOTTOM, _WIDTH - _LEFT - _RIGHT
    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{inner}" height="{tall}" fill="var(--plot)"/>']
    for tick in ticks:
        if tick <= end + 1e-9:
            y = _TOP + tall * (1 - tick / max(end, 1e-9))
            parts.append(
                f'<path d="M{_LEFT} {y:.1f}h{inner}" stroke="var(--faint)" stroke-width=".7"/>'
                f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
            )
    frames = length or 0
    for number in nice_ticks(frames - 1):
        if number == int(number) and number < frames:
            x = _LEFT + inner * (number + 0.5) / frames
            parts.append(f'<text x="{x:.1f}" y="{height - _BOTTOM + 15}" text-anchor="middle">{int(number)}</text>')
    parts.append(
        f'<text x="{_LEFT + inner / 2:.0f}" y="{height - 5}" text-anchor="middle">{html.escape(x_label)}</text>'
        f'<text transform="translate(12 {_TOP + tall / 2:.0f})rotate(-90)" text-anchor="middle">'
        f'{html.escape(y_label)}</text>'
    )
    return parts


def _svg(parts: Sequence[str], height: int) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(parts)}</svg>'
