import numpy as np
import pytest

from handpose.evaluation.input_motion import InputTrack, input_errors, savitzky_golay, without_gaps


def test_gaps_are_interpolated_and_ends_repeated():
    joints = np.arange(6.0)[:, None, None] * np.ones((6, 21, 3))
    valid = np.array([False, True, False, False, True, False])
    np.testing.assert_allclose(without_gaps(joints, valid)[:, 0, 0], [1, 1, 2, 3, 4, 4])
    with pytest.raises(ValueError, match='no frame is valid'):
        without_gaps(joints, ~np.ones(6, bool))


def test_a_parabola_passes_the_filter_and_short_tracks_too():
    time = np.arange(20.0)[:, None, None] * np.ones((20, 21, 3))
    np.testing.assert_allclose(savitzky_golay(time**2, 31), time**2, atol=1e-9)  # cut to 19 frames
    np.testing.assert_allclose(savitzky_golay(time[:2], 31), time[:2])


def test_white_noise_has_the_errors_of_the_closed_form():
    """Still hands: |e| of 3 normals is 2 sqrt(2 / pi) sigma; second differences have sqrt(6) times the deviation."""
    rng, tracks = np.random.default_rng(0), []
    for _ in range(20):
        target = np.zeros((200, 21, 3))
        noise = 0.002 * rng.standard_normal(target.shape)
        noise[:, 0] = 0  # at the wrist nothing is left of it
        everywhere = np.ones((200, 21), bool)
        tracks.append(InputTrack(target + noise, everywhere[:, 0], target, everywhere))
    found = input_errors(tracks, windows=(9, 31))
    length = 2 * np.sqrt(2 / np.pi) * 2 * 20 / 21  # one joint of 21 has none
    assert found.mpjpe == pytest.approx(length, rel=0.01)
    assert found.acceleration == pytest.approx(np.sqrt(6) * length, rel=0.01)
    assert found.best_window == 31
    # A quadratic fit to 9 points leaves 59/231 of the variance in the middle; the ends are noisier.
    assert 1 - found.improvement(9) == pytest.approx(np.sqrt(59 / 231), rel=0.06)
    with pytest.raises(ValueError, match='none of the tracks'):
        input_errors([tracks[0]._replace(valid=np.zeros(200, bool))])


def test_a_hand_without_a_true_wrist_does_not_count():
    target = np.random.default_rng(1).normal(size=(12, 21, 3))
    joints, known = target + 0.01, np.ones((12, 21), bool)
    known[3, 0] = False
    unknown = np.where(known[..., None], target, np.nan)
    found = input_errors([InputTrack(joints, known[:, 1], unknown, known)], windows=(5,))
    assert found.mpjpe == pytest.approx(0, abs=1e-9) and found.acceleration == pytest.approx(0, abs=1e-9)
