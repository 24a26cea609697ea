import numpy as np
import pytest

from handpose.visualization import motion_spectrum, spectrum_figure


def test_white_noise_spreads_its_variance_evenly():
    """One-sided density of white noise of deviation s at rate f: 2 s^2 / f."""
    joints = 0.003 * np.random.default_rng(0).standard_normal((5000, 21, 3))
    joints[:, 0] = 0
    frequencies, density = motion_spectrum([joints, joints[:10]], 30)
    assert frequencies[0] > 0 and frequencies[-1] == 15
    np.testing.assert_allclose(density[1:-1], 2 * 3**2 / 30, rtol=0.05)


def test_figure_and_sentence():
    curve = (np.arange(1.0, 9), np.arange(8.0, 0, -1))
    picture = spectrum_figure({'input': curve, 'truth': curve})
    assert picture.ndim == 3 and picture.dtype == np.uint8 and np.ptp(picture) > 0
    with pytest.raises(ValueError, match='a track of at least 48 frames'):
        motion_spectrum([np.zeros((20, 21, 3))], 30)
