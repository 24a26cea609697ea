"""Rows of a table as points: where they are drawn, and what is refused."""

import numpy as np
import pytest

from handpose.visualization import table_figures
from handpose.visualization.table_figures import RowValues, number_against_number

ROWS = [RowValues('22 mm', [22.0, 22.2], [80.0, 84.0]), RowValues('true', [0.0, 0.0], [97.0, 99.0])]


def test_points_are_means_and_bars_reach_to_the_extremes(monkeypatch):
    drawn = []
    keep = table_figures.figure_with_axes

    def kept(title):
        figure, axes = keep(title)
        drawn.append(axes)
        return figure, axes

    monkeypatch.setattr(table_figures, 'figure_with_axes', kept)
    image = number_against_number({'MS-G3D': ROWS, 'other': ROWS[:1]}, 'MPJPE (mm)', 'accuracy (%)', 'verbs')
    assert image.dtype == np.uint8 and image.ndim == 3
    line, _, bars = drawn[0].containers[0]
    np.testing.assert_allclose(line.get_xydata(), [[0, 98], [22.1, 82]])  # in the order of x
    ends = [segment[:, 1].tolist() for segment in bars[1].get_segments()]
    assert ends == [[97, 99], [80, 84]]
    assert [text.get_text() for text in drawn[0].texts] == ['true', '22 mm', 'mean and range over 2 seeds']


def test_what_is_refused():
    with pytest.raises(ValueError, match='at least one row'):
        number_against_number({}, 'x', 'y')
    with pytest.raises(ValueError, match="row 'a' needs finite values of both numbers"):
        number_against_number({'': [RowValues('a', [1.0], [])]}, 'x', 'y')
