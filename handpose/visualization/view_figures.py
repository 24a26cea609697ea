"""Figures of estimates from several views."""

from collections.abc import Mapping

import numpy as np

from handpose.visualization.figures import figure_image, figure_with_axes


def error_by_views(
    curves: Mapping[str, Mapping[int, float]], title: str = 'error by the number of views'
) -> np.ndarray:
    """Curves of the mean error against the number of views, one for each method.

    Args:
        curves: {method: {number of views: MPJPE, millimetres}}.
        title: above the curves.

    Returns:
        (h, w, 3) uint8 RGB.

    Raises:
        ValueError: no number to draw.
    """
    if not any(curves.values()):
        raise ValueError('error_by_views needs a number for at least one method and number of views, got none')
    figure, axes = figure_with_axes(title)
    for name, values in curves.items():
        views = sorted(values)
        axes.plot(views, [values[count] for count in views], marker='o', label=name)
    axes.set_xticks(sorted({count for values in curves.values() for count in values}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel('views')
    axes.set_ylabel('MPJPE (mm)')
    axes.legend()
    return figure_image(figure)
