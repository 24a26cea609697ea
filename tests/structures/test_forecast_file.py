"""`Forecast` and the forecast file."""

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.structures import Forecast, PredictionsError, load_forecast, load_predictions, save_forecast


def make_forecast(samples=3, frames=6, sides=('left', 'right'), seed=7, **known):
    observed = make_predictions(20, sides, missing=[(4, 0)], licence='CC0', source='me', scale='relative')
    random = np.random.default_rng(0)
    joints = observed.joints[-1] + random.normal(0, 0.02, (samples, frames, len(sides), 21, 3))
    valid = np.ones(joints.shape[:4], bool)
    return Forecast(
        observed, joints, valid, observed.timestamps[-1] + np.arange(1, frames + 1) / 30, seed=seed, **known
    )


@pytest.mark.parametrize('sides', [('left', 'right'), ('right',)])
def test_a_file_has_everything(tmp_path, sides):
    forecast = make_forecast(
        sides=sides, model='A', action='pour', object='milk', action_scores={'pour': 0.75, 'öffnen': 0.25}
    )
    forecast.joints_valid[1, 2, 0] = False
    forecast = Forecast(**vars(forecast))
    save_forecast(tmp_path / 'f.npz', forecast)
    found = load_forecast(tmp_path / 'f.npz')
    for name, value in vars(forecast).items():
        if name != 'observed':
            np.testing.assert_equal(vars(found)[name], value)
    for name, value in vars(forecast.observed).items():
        np.testing.assert_equal(vars(found.observed)[name], value)
    assert np.isnan(found.joints[1, 2, 0]).all() and len(found) == 3


def test_the_mean_future_has_no_seed(tmp_path):
    save_forecast(tmp_path / 'f.npz', make_forecast(samples=1, seed=None))
    assert load_forecast(tmp_path / 'f.npz').seed is None
    assert 'the mean future' in load_forecast(tmp_path / 'f.npz').sample(0).source
    with pytest.raises(PredictionsError, match='2 samples need the seed'):
        make_forecast(samples=2, seed=None)


def test_a_sample_continues_the_observed_frames():
    forecast = make_forecast(model='GHTT')
    hands = forecast.sample(2)
    assert hands.joints.shape == (26, 2, 21, 3) and not hands.valid[4, 0] and hands.valid.sum() == 51
    np.testing.assert_array_equal(hands.joints[20:], forecast.joints[2])
    np.testing.assert_array_equal(hands.joints[:20], forecast.observed.joints)
    np.testing.assert_allclose(np.diff(hands.timestamps), 1 / 30)
    assert hands.source == 'me; future by GHTT: sample 2 of 3, seed 7'
    assert hands.licence == 'CC0' and hands.scale == 'relative' and hands.joints_valid is None
    alone = forecast.sample(2, with_observed=False)
    assert len(alone) == 6 and alone.timestamps[0] == hands.timestamps[20]
    for number in (-1, 3):
        with pytest.raises(PredictionsError, match=f'numbered from 0 to 2; there is no sample {number}'):
            forecast.sample(number)


def test_joints_that_are_not_given_stay_missing():
    forecast = make_forecast()
    forecast.joints_valid[0, :, :, 1] = False
    hands = Forecast(**vars(forecast)).sample(0)
    assert hands.joints_valid is not None and not hands.joints_valid[20:, :, 1].any() and hands.valid[20:].all()
    assert np.isnan(hands.joints[20:, :, 1]).all()


def test_a_clip_with_its_future():
    forecast = make_forecast()
    forecast.joints_valid[0, 2:, 1] = False
    clip = Forecast(**vars(forecast)).to_sequence().validate()
    assert clip.future.joints_3d.shape == (3, 6, 2, 21, 3) and not clip.hand_valid[4, 0]
    assert not clip.future.joints_valid[0, 2:, 1].any() and (clip.future.joints_3d[0, 2:, 1] == 0).all()
    np.testing.assert_array_equal(clip.future.joints_3d[1], forecast.joints[1])
    np.testing.assert_array_equal(clip.joints_3d[5:], forecast.observed.joints[5:])


def test_spread_is_the_mean_distance_from_the_mean():
    forecast = make_forecast(samples=2, frames=3)
    forecast.joints[0], forecast.joints[1] = 0, 0
    forecast.joints[1, 1, ..., 2] = 0.2  # both 0.1 from the mean
    forecast.joints_valid[:, 2] = False
    np.testing.assert_allclose(forecast.spread(), [0, 0.1, np.nan], atol=1e-7)


@pytest.mark.parametrize(
    'changes, words',
    [
        (dict(joints=np.zeros((3, 6, 1, 21, 3))), r'\(S, T, H, 21, 3\) with H = 2'),
        (dict(joints=np.zeros((0, 6, 2, 21, 3))), 'at least one sample'),
        (dict(joints_valid=np.ones((3, 6, 2), bool)), 'joints_valid must be bool of shape'),
        (dict(joints_valid=np.ones((3, 6, 2, 21))), 'got float64'),
        (dict(joints=np.full((3, 6, 2, 21, 3), np.nan)), 'weights of the forecaster may be corrupt'),
        (dict(timestamps=np.arange(5.0)), r'timestamps must have shape \(6,\)'),
        (dict(timestamps=np.arange(6.0)), 'increase, from the 0.633333 s of the last observed frame'),
        (dict(timestamps=np.full(6, np.nan)), 'numbers that increase'),
    ],
)
def test_arrays_that_do_not_fit(changes, words):
    with pytest.raises(PredictionsError, match=words):
        Forecast(**{**vars(make_forecast()), **changes})


def damaged(path, **changes):
    with np.load(path) as file:
        values = {**file, **changes}
    np.savez(path, **{key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'format': None}, "format is 'missing'"),
        ({'format': 'handpose-predictions'}, '`handpose forecast` makes one of a predictions file'),
        ({'version': 2}, 'update handpose'),
        ({'joints': None}, "needs 'joints'"),
        ({'sed': 1}, "'sed' is not a key of a forecast file. Did you mean 'seed'"),
        ({'seed': 'one'}, 'seed must be one whole number'),
        ({'model': 1}, 'model must be one string'),
        ({'action_names': ['pour']}, 'of one length'),
        ({'observed/frame': None}, r"the observed frames \(keys observed/...\): a predictions file needs 'frame'"),
        ({'observed/joints': np.zeros((20, 2, 21, 3))}, 'the observed frames .* the hand is 0 m long'),
    ],
)
def test_bad_files(tmp_path, changes, words):
    save_forecast(tmp_path / 'f.npz', make_forecast())
    damaged(tmp_path / 'f.npz', **changes)
    with pytest.raises(PredictionsError, match=words) as error:
        load_forecast(tmp_path / 'f.npz')
    assert str(tmp_path / 'f.npz') in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(PredictionsError, match=r'must end in \.npz'):
        save_forecast(tmp_path / 'f.json', make_forecast())
    with pytest.raises(PredictionsError, match='there is no forecast file'):
        load_forecast(tmp_path / 'none.npz')
    (tmp_path / 'text.npz').write_text('text')
    with pytest.raises(PredictionsError, match='is damaged, or is not a zip file'):
        load_forecast(tmp_path / 'text.npz')


def test_a_forecast_file_is_no_predictions_file(tmp_path):
    save_forecast(tmp_path / 'f.npz', make_forecast())
    with pytest.raises(PredictionsError, match=r'it is a forecast file.* --sample NUMBER'):
        load_predictions(tmp_path / 'f.npz')
