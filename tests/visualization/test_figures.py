import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from handpose.visualization import confidence_strip, error_by_occlusion_bar, error_per_joint_hand, pck_curve
from handpose.visualization.figures import _BAR, _HAND_MAP, _HIDDEN

FRAMES = [np.full((90, 120, 3), 40 * t, np.uint8) for t in range(5)]


def heights_of(strip, color, cells, width=160):
    """Height in pixels of the bars of one colour, cell by cell; the legend below is left out."""
    body = (strip[:-30] == color).all(-1)
    return [body[:, 6 + c * (width + 6) : (c + 1) * (width + 6)].any(1).sum() for c in range(cells)]


def test_confidence_bars_are_in_proportion():
    confidences, occlusions = np.array([0.1, 0.4, 0.2, 0.0, 0.3]), [0.5, 1.0, 0.25, 0.0, np.nan]
    strip = confidence_strip(FRAMES, confidences, labels=list('abcde'), occlusions=occlusions)
    bars = heights_of(strip, _BAR, 5)
    np.testing.assert_allclose(bars, confidences / 0.4 * max(bars), atol=1)
    assert max(bars) > 60
    np.testing.assert_allclose(heights_of(strip, _HIDDEN, 5), np.nan_to_num(occlusions) * max(bars), atol=1)
    assert sum(heights_of(confidence_strip(FRAMES, confidences), _HIDDEN, 5)) == 0


@pytest.mark.parametrize('confidences', [[0.1], [0.1, 0.2, 0.3, 0.4, np.nan]])
def test_confidences_must_fit_the_frames(confidences):
    with pytest.raises(ValueError, match='one finite confidence a frame'):
        confidence_strip(FRAMES, confidences)


def test_plots_are_pictures_that_depend_on_their_numbers():
    errors = np.random.default_rng(0).gamma(2, 6, (100, 21))
    joint = np.nan_to_num(errors.mean(0))
    joint[2] = np.nan
    pairs = [
        (pck_curve, {'a': errors}, {'a': 2 * errors}),
        (error_per_joint_hand, joint, joint[::-1]),
        (
            partial(error_by_occlusion_bar, ylabel='PA-MPJPE (mm)'),
            {'a': {'25-50 %': 3.0, '50-75 %': None}},
            {'a': {'25-50 %': 3.0, '50-75 %': 5.0}},
        ),
    ]
    for draw, one, other in pairs:
        picture = draw(one)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and min(picture.shape[:2]) > 400
        assert (picture != draw(other)).any()
    with pytest.raises(ValueError, match=r'needs \(21,\) errors'):
        error_per_joint_hand(np.zeros(20))


def test_hand_map_keeps_the_numbers_apart():
    gaps = np.linalg.norm(_HAND_MAP[:, None] - _HAND_MAP[None], axis=-1)
    assert gaps[~np.eye(21, dtype=bool)].min() > 12


def test_matplotlib_is_loaded_only_when_a_plot_is_drawn():
    code = "import sys, handpose.visualization; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
