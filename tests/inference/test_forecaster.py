"""Forecasting from predictions: what the forecaster is given, and what comes back."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion, make_predictions
from scipy.interpolate import interp1d
from scripted_forecasters import DriftingHands, StillHands

from handpose.inference.forecaster import forecast_motion, forecast_notes, load_forecaster
from handpose.inference.motion_clips import choose_hands, last_run, resample_motion
from handpose.structures import Predictions, PredictionsError

REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'hand_video' / 'mediapipe_world_landmarks.npz'


def observed_by(predictions, **options):
    """The clip that the forecaster was given, and the forecast."""
    forecaster = DriftingHands()
    forecast = forecast_motion(predictions, forecaster, **{'num_samples': 2, 'seconds': 0.5, **options})
    return forecaster.calls[-1][0], forecast


@pytest.mark.parametrize('sides', [('left',), ('right',), ('left', 'right')])
def test_the_futures_go_on_from_the_last_frame(sides):
    predictions = make_predictions(40, sides)
    batch, forecast = observed_by(predictions, seconds=1)
    assert forecast.joints.shape == (2, 30, len(sides), 21, 3) and forecast.joints_valid.all()
    np.testing.assert_allclose(forecast.timestamps, (39 + np.arange(1, 31)) / 30)
    steps = np.arange(1, 31)[:, None, None] * 0.01
    np.testing.assert_allclose(forecast.joints[0, ..., 0], predictions.joints[-1, ..., 0] + steps, atol=1e-6)
    np.testing.assert_array_equal(forecast.observed.joints, predictions.joints)
    np.testing.assert_array_equal(batch.joints_3d[0], predictions.joints)
    assert batch.hand_side.tolist() == [predictions.hand_side.tolist()] and batch.frame == 'camera'
    assert forecast.model == 'DriftingHands' and forecast.action == forecast.object == ''


def test_the_seed_decides_the_samples():
    first, same, other = (
        forecast_motion(make_predictions(), DriftingHands(), num_samples=3, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first.joints, same.joints)
    assert (first.joints != other.joints).any() and first.spread()[-1] > 0
    assert first.seed == 4 and len(first) == 3
    mean = forecast_motion(make_predictions(), DriftingHands(), num_samples=None)
    assert len(mean) == 1 and mean.seed is None


def test_action_and_object_reach_the_forecaster():
    batch, forecast = observed_by(make_predictions(), action='pour milk', object='milk', num_samples=None)
    assert (batch.object_label == 1).all() and forecast.action == 'pour milk' and forecast.object == 'milk'
    moved = forecast.joints[0, 0, 0, :, 0] - forecast.observed.joints[-1, 0, :, 0]
    np.testing.assert_allclose(moved, 0.03, atol=1e-6)
    assert list(forecast.action_scores) == ['open jar', 'close jar', 'pour milk']
    assert sum(forecast.action_scores.values()) == pytest.approx(1)
    batch, forecast = observed_by(make_predictions())
    assert (batch.object_label == -1).all()


def test_forecasters_without_actions_and_parameters():
    forecast = forecast_motion(make_predictions(3), StillHands(), num_samples=None, seconds=0.1)
    np.testing.assert_array_equal(forecast.joints[0], np.repeat(forecast.observed.joints[-1:], 3, 0))
    assert forecast.action_scores == {}
    with pytest.raises(ValueError, match='StillHands takes no object'):
        forecast_motion(make_predictions(), StillHands(), object='jar')


def test_at_most_256_frames_are_observed():
    predictions = make_predictions(300)
    batch, forecast = observed_by(predictions)
    assert batch.joints_3d.shape[1] == 256
    np.testing.assert_array_equal(forecast.observed.joints, predictions.joints[-256:])


def test_gaps_are_masked_and_nothing_is_filled_in():
    predictions = make_predictions(60, ('left', 'right'), missing=[(t, h) for t in range(30, 45) for h in (0, 1)])
    predictions = replace(predictions, valid=predictions.valid & (np.arange(60) < 58)[:, None])  # and none at the end
    batch, forecast = observed_by(predictions)
    assert batch.joints_3d.shape[1] == 58 and not batch.joints_valid[0, 30:45].any() and batch.frame_valid.all()
    assert (batch.joints_3d[0, 30:45] == 0).all()
    assert forecast.timestamps[0] == pytest.approx(58 / 30)


def test_a_gap_of_a_whole_clip_begins_the_observation_anew():
    predictions = make_predictions(60, missing=range(20, 36))
    batch, _ = observed_by(predictions)
    np.testing.assert_array_equal(batch.joints_3d[0], predictions.joints[36:])


def test_a_hand_that_comes_late_stays_masked_before():
    predictions = make_predictions(40, ('left', 'right'), missing=[(t, 0) for t in range(30)])
    batch, forecast = observed_by(predictions)
    assert batch.joints_valid[0, :30, 0].sum() == 0 and batch.joints_valid[0, :, 1].all()
    assert forecast.joints_valid.all()


def test_a_hand_that_is_in_no_frame_is_left_out():
    predictions = make_predictions(40, ('left', 'right'), missing=[(t, 0) for t in range(40)])
    batch, forecast = observed_by(predictions)
    assert batch.hand_side.tolist() == [[1]] and forecast.observed.hand_side.tolist() == [1]


@pytest.mark.parametrize('fps', [10, 15, 24, 25, 29.97, 50, 60, 120])
def test_other_frame_rates_are_interpolated(fps):
    frames = int(2.5 * fps)
    predictions = make_predictions(frames, ('left', 'right'), fps=fps)
    _, forecast = observed_by(predictions)
    observed = forecast.observed
    np.testing.assert_allclose(np.diff(observed.timestamps), 1 / 30, rtol=2e-3)
    assert observed.timestamps[-1] == pytest.approx(predictions.timestamps[-1])
    assert len(observed) == pytest.approx(2.5 * 30, abs=3) and observed.valid.all()
    expected = interp1d(predictions.timestamps, predictions.joints, axis=0)(observed.timestamps.clip(0))
    np.testing.assert_allclose(observed.joints, expected, atol=1e-5)
    np.testing.assert_array_equal(observed.joints[-1], predictions.joints[-1])


def test_frames_that_are_left_out_are_gaps():
    predictions = make_predictions(60).select(np.r_[0:30, 34:60])
    batch, _ = observed_by(predictions)
    assert batch.joints_3d.shape[1] == 60
    assert batch.joints_valid[0].all((1, 2)).tolist() == [not 30 <= t < 34 for t in range(60)]


def test_hands_of_different_tracks_are_not_joined():
    tracks = np.where(np.arange(50) < 25, 3, 8)[:, None]
    predictions = make_predictions(50, fps=25, track_ids=tracks)
    regular = resample_motion(predictions, 30)
    line = (regular.timestamps + 1e-9) * 25
    between = (line > 24.001) & (line < 24.999)
    assert between.any() and not regular.valid[between].any() and regular.valid[~between].all()


def test_skeletons_without_a_joint():
    given = np.ones((40, 1, 21), bool)
    given[:, :, 1] = False
    batch, forecast = observed_by(make_predictions(40, joints_valid=given))
    assert not batch.joints_valid[..., 1].any() and batch.joints_valid[..., 2:].all()
    assert forecast.sample(0).joints_valid.sum() == 20 * (40 + 15)


def test_relative_to_the_wrist():
    _, forecast = observed_by(make_predictions(40, frame='wrist'))
    assert forecast.observed.frame == 'wrist' and (forecast.sample(0).joints[:, 0, 0] == 0).all()


def test_hands_relative_to_their_own_wrists_are_forecast_apart():
    predictions = make_predictions(40, ('left', 'right'), frame='wrist')
    batch, forecast = observed_by(predictions, num_samples=3, action='pour milk')
    assert batch.joints_3d.shape == (2, 40, 1, 21, 3) and batch.hand_side.tolist() == [[0], [1]]
    assert batch.frame == 'camera' and forecast.observed.frame == 'wrist'
    assert forecast.joints.shape == (3, 15, 2, 21, 3) and forecast.joints_valid.all()
    assert sum(forecast.action_scores.values()) == pytest.approx(1)
    # `DriftingHands` moves whole hands, so that nothing changes relative to the wrist.
    np.testing.assert_allclose(forecast.joints, np.tile(predictions.joints[-1], (3, 15, 1, 1, 1)), atol=1e-6)


def test_one_hand_of_two():
    _, forecast = observed_by(make_predictions(40, ('left', 'right')), hands='left')
    assert forecast.observed.hand_side.tolist() == [0] and forecast.joints.shape[2] == 1
    with pytest.raises(PredictionsError, match='no frame has a left hand; those of the recording: right'):
        observed_by(make_predictions(40), hands='left')
    with pytest.raises(ValueError, match='hands must be one of left, right, both'):
        choose_hands(make_predictions(), 'all')


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(num_samples=0), 'samples must be at least 1, got 0; the mean future'),
        (dict(seconds=0), 'seconds must be above 0 and at most 10, got 0'),
        (dict(seconds=float('nan')), 'seconds must be above 0'),
        (dict(seconds=11), 'at most 10, got 11'),
        (dict(action='poor milk'), "'poor milk' is not an action that DriftingHands .* Did you mean 'pour milk'"),
        (dict(object='mlik'), "'mlik' is not an object .* Did you mean 'milk'.* It knows 2: jar, milk"),
    ],
)
def test_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        observed_by(make_predictions(), **options)


def test_too_few_frames():
    with pytest.raises(PredictionsError, match=r'at least 16 observed frames at 30 per second \(0.53 s\).* are 15'):
        observed_by(make_predictions(15))
    observed_by(make_predictions(16))
    gaps = make_predictions(60, missing=[*range(8, 30), *range(33, 36)])
    with pytest.raises(PredictionsError, match=r'are 7 up to the last .* at 1\.30 s .*has 15 frames with a hand'):
        observed_by(gaps.select(slice(40)))
    with pytest.raises(PredictionsError, match='no frame of 20 has a hand'):
        observed_by(make_predictions(20, missing=range(20)))
    with pytest.raises(PredictionsError, match='are 1 up to'):
        observed_by(make_predictions(1))


def test_notes():
    assert forecast_notes(make_predictions(), StillHands()) == []
    (note,) = forecast_notes(make_predictions(), DriftingHands())
    assert 'no object was given' in note and 'jar, milk' in note
    relative = make_predictions(fps=25, frame='wrist', scale='relative')
    notes = forecast_notes(relative, DriftingHands(), 'jar')
    for words, note in zip(('25: its motion is interpolated', 'its wrist stays', 'factor'), notes, strict=True):
        assert words in note


@pytest.mark.skipif(not REAL.is_file(), reason='takes real data (HANDPOSE_REAL_DATA)')
def test_a_real_recording():
    """The output of a detector, cut at several frames: what follows is where the last pose is wrong by as much."""
    joints = np.load(REAL)['joints'][:, None]
    joints = joints - joints[:, :, :1]
    whole = Predictions(joints, np.ones((621, 1), bool), np.arange(621) / 30, ['right'], 'wrist')
    for end in (100, 333, 606):
        forecast = forecast_motion(whole.select(slice(end)), StillHands(), seconds=0.5, num_samples=None)
        np.testing.assert_allclose(forecast.timestamps, whole.timestamps[end : end + 15])
        error, expected = (
            np.linalg.norm(last - joints[end : end + 15], axis=-1).mean()
            for last in (forecast.joints[0], joints[end - 1])
        )
        assert error == pytest.approx(expected, rel=1e-4)
        assert error < 0.05


def test_last_run():
    valid = np.ones((50, 1), bool)
    valid[[0, 1, 10, 20, 21]] = False
    assert last_run(valid, 2) == slice(2, 50) and last_run(valid, 1) == slice(22, 50)
    assert last_run(valid, 2, max_frames=40) == slice(11, 50) and last_run(valid, 2, max_frames=5) == slice(45, 50)


def test_weights_that_forecast_nothing(tmp_path):
    (tmp_path / 'other.py').write_text("model = dict(type='ImageActions')\n")
    torch.save({'state_dict': {'bias': torch.zeros(3)}, 'meta': {}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='ImageActions, which forecasts no motion'):
        load_forecaster(tmp_path / 'other.pth', tmp_path / 'other.py')


def test_a_smooth_motion_of_another_rate_is_followed_closely():
    """The interpolation error of a hand that waves, against the motion itself."""
    predictions = make_predictions(50, fps=25, noise=0)
    times = np.arange(50) / 25
    joints = interp1d(np.arange(70) / 30, hand_motion(70), axis=0, kind='cubic')(times)
    predictions = Predictions(joints[:, None], predictions.valid, times, ['right'], 'camera')
    regular = resample_motion(predictions, 30)
    truth = interp1d(np.arange(70) / 30, hand_motion(70), axis=0, kind='cubic')(regular.timestamps.clip(0))
    assert np.abs(regular.joints[:, 0] - truth).max() < 5e-4
