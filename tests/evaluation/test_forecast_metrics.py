"""Errors and diversity of forecasts against plain loops; which clips, frames, joints and hands count."""

import numpy as np
import pytest
import torch
from forecasts import clip_of, forecast_pair, moving_hands

from handpose.evaluation import (
    APDMetric,
    ForecastMetric,
    HandPoseMetric,
    load_records,
    metrics_table,
    paired_bootstrap,
    specs_of,
)
from handpose.structures import HandSequence, SequenceError

JOINTS = [joint for joint in range(21) if joint != 1]  # without the thumb's base


def run(metric, *pairs):
    metric.process(None, [{'prediction': prediction, 'target': target} for prediction, target in pairs])
    return metric.evaluate(size=len(pairs))


def example(frames=70, samples=4, hands=2, seed=0, **changes):
    """A pair, and its truth (T, H, 21, 3) and samples (S, T, H, 21, 3) in mm."""
    truth = moving_hands(16 + frames, hands, seed)
    noise = 0.01 * np.random.default_rng([seed, 1]).normal(size=(samples, frames, hands, 21, 3)).cumsum(1)
    sampled = (truth[16:] + noise).astype(np.float32)
    pair = forecast_pair(truth, sampled, sequence=f's{seed}', **changes)
    return pair, 1000.0 * truth[16:].astype(np.float64), 1000.0 * sampled.astype(np.float64)


def relative(points):
    return points - points[..., :1, :]


def test_errors_by_plain_loops():
    pair, truth, samples = example()
    numbers = run(ForecastMetric(), pair)
    for name, change in (('', lambda x: x), ('_ra_wrist', relative)):
        errors = np.linalg.norm(change(samples) - change(truth), axis=-1)[..., JOINTS].mean(-1)  # (S, T, H)
        for part, frames in {
            '_16_frames': slice(16), '': slice(None),
            '_at_0.25s': [7], '_at_0.5s': [14], '_at_1s': [29], '_at_2s': [59],
        }.items():  # fmt: skip
            of_samples = errors[:, frames].mean(1)
            assert numbers[f'forecast_mpjpe{part}{name}_mm'] == pytest.approx(of_samples.mean(), abs=1e-9), part
            assert numbers[f'forecast_mpjpe{part}{name}_mm/left'] == pytest.approx(of_samples[:, 0].mean(), abs=1e-9)
            best = of_samples[of_samples.mean(1).argmin()]
            assert numbers[f'forecast_best_mpjpe{part}{name}_mm'] == pytest.approx(best.mean(), abs=1e-9)
            assert numbers[f'forecast_best_mpjpe{part}{name}_mm/right'] == pytest.approx(best[1], abs=1e-9)
    assert numbers['forecast_samples'] == 4 and numbers['forecast_hands'] == 2
    assert numbers['forecast_hands_at_2s/left'] == 1 and numbers['forecast_hands_missing'] == 0


def test_a_mean_forecast_has_no_best_sample():
    numbers = run(ForecastMetric(), example(samples=1)[0])
    assert numbers['forecast_samples'] == 1 and not [name for name in numbers if 'best' in name]


def test_a_right_forecast_has_no_error():
    truth = moving_hands(50)
    numbers = run(ForecastMetric(), forecast_pair(truth, truth[None, 16:]))
    assert all(value == 0 for name, value in numbers.items() if name.startswith('forecast_mpjpe'))


def test_only_futures_that_reach_a_horizon_count():
    pairs = [example(frames, seed=seed)[0] for seed, frames in enumerate((7, 8, 15, 16, 31, 60))]
    numbers = run(ForecastMetric(), *pairs)
    assert [numbers[f'forecast_hands{part}'] / 2 for part in ('', '_16_frames', '_at_0.25s', '_at_0.5s', '_at_1s')] == [
        6, 3, 5, 4, 2]  # fmt: skip
    assert numbers['forecast_hands_at_2s'] == 2
    alone = run(ForecastMetric(), pairs[-1])
    assert numbers['forecast_mpjpe_at_2s_mm'] == alone['forecast_mpjpe_at_2s_mm']
    assert 'forecast_mpjpe_at_0.25s_mm' not in run(ForecastMetric(), pairs[0])


def test_padding_of_a_batch_changes_nothing():
    pairs = [example(frames, seed=seed)[0] for seed, frames in enumerate((20, 40))]
    alone = [run(ForecastMetric(), pair) for pair in pairs]
    predictions, targets = (HandSequence.stack(list(x)).unstack() for x in zip(*pairs, strict=True))
    assert predictions[0].future.joints_3d.shape[1] == 40
    padded = [run(ForecastMetric(), pair) for pair in zip(predictions, targets, strict=True)]
    assert padded == alone
    assert run(APDMetric(), (predictions[0], targets[0])) == run(APDMetric(), pairs[0])


def test_long_futures_alone():
    pairs = [example(frames, seed=seed)[0] for seed, frames in enumerate((29, 30, 60))]
    numbers = run(ForecastMetric(min_seconds=1), *pairs)
    assert numbers['forecast_hands_over_1s'] == 4 and numbers['forecast_hands_at_2s_over_1s'] == 2
    both = run(ForecastMetric(), *pairs[1:])
    assert numbers['forecast_mpjpe_over_1s_mm'] == both['forecast_mpjpe_mm']
    assert run(APDMetric(min_seconds=2), *pairs)['apd_over_2s_mm'] == run(APDMetric(), pairs[2])['apd_mm']
    several = run(metric := ForecastMetric(min_seconds=(2, 0, 1)), *pairs)
    for seconds in (0, 1, 2):
        alone = run(ForecastMetric(min_seconds=seconds), *pairs)
        shared = set(alone) & set(several)
        assert {f'forecast_mpjpe{f"_over_{seconds}s" if seconds else ""}_mm/left', *several} >= shared
        assert {name: several[name] for name in shared} == {name: alone[name] for name in shared}
    assert np.isnan(metric.records['forecast_mpjpe_over_1s_mm']).tolist() == [True] * 2 + [False] * 4
    assert several['forecast_hands_over_2s'] == 2 and 'forecast_mpjpe_at_1s_over_1s_mm' not in several
    together = specs_of([metric, APDMetric(min_seconds=(0, 2)), APDMetric('flat')])
    assert [name for name, spec in together.items() if spec.headline] == [
        'forecast_mpjpe_16_frames_mm', 'forecast_mpjpe_16_frames_ra_wrist_mm', 'apd_mm', 'apd_flat_mm']  # fmt: skip
    with pytest.raises(SequenceError, match=r'none of 3 forecasts counts; .* at least 5 s .* longest is 2.00 s'):
        run(ForecastMetric(min_seconds=5), *pairs)


def test_joints_that_are_not_valid_do_not_count():
    """Gaps in the annotation, a thumb base that only one has, hands that leave: NaN in them must not matter."""
    pair, truth, samples = example()
    valid = np.random.default_rng(5).random(truth.shape[:-1]) < 0.7
    valid[40:, 0] = False
    target = pair[1].future
    mask = torch.from_numpy(valid)[None]
    dirty = torch.where(mask[..., None], target.joints_3d, torch.nan)
    future = target.replace(joints_3d=dirty, joints_valid=mask, hand_valid=mask.any(-1))
    numbers = run(ForecastMetric(), (pair[0], pair[1].replace(future=future)))
    errors = np.where(valid, np.linalg.norm(samples - truth, axis=-1), np.nan)[..., JOINTS]
    of_hands = np.nanmean(np.nanmean(np.stack([errors[s, :40, 0] for s in range(4)]), -1), (0, 1))
    assert numbers['forecast_mpjpe_mm/left'] == pytest.approx(of_hands, abs=1e-9)
    assert 'forecast_mpjpe_at_2s_mm/left' not in numbers and numbers['forecast_hands_at_2s/left'] == 0
    without_wrist = mask.clone()
    without_wrist[..., 0] = False
    numbers = run(ForecastMetric(), (pair[0], pair[1].replace(future=target.replace(joints_valid=without_wrist))))
    assert 'forecast_mpjpe_mm' in numbers and 'forecast_mpjpe_ra_wrist_mm' not in numbers


def test_models_with_and_without_the_thumb_base_are_compared_alike():
    (prediction, target), *_ = example()
    without = prediction.future.joints_valid.clone()
    without[..., 1] = False
    pair = prediction.replace(future=prediction.future.replace(joints_valid=without)), target
    assert run(ForecastMetric(), pair) == run(ForecastMetric(), (prediction, target))
    every = run(ForecastMetric(left_out=()), (prediction, target))
    assert every['forecast_mpjpe_mm'] != run(ForecastMetric(left_out=()), pair)['forecast_mpjpe_mm']


def test_a_hand_without_forecast_is_counted():
    (prediction, target), *_ = example()
    valid = prediction.future.joints_valid.clone()
    valid[:, :, 0] = False
    future = prediction.future.replace(joints_valid=valid, hand_valid=valid.any(-1))
    numbers = run(ForecastMetric(), (prediction.replace(future=future), target))
    assert numbers['forecast_hands_missing'] == 1 and numbers['forecast_hands'] == 1
    assert numbers['forecast_mpjpe_mm'] == numbers['forecast_mpjpe_mm/right']
    nothing = prediction.future.replace(joints_valid=valid & False)
    with pytest.raises(SequenceError, match='no annotated hand was forecast'):
        run(ForecastMetric(), (prediction.replace(future=nothing), target))


def test_one_hand_and_forecasts_relative_to_the_wrist():
    numbers = run(ForecastMetric(), example(hands=1)[0])
    assert numbers['forecast_hands/right'] == 1 and 'forecast_hands/left' not in numbers
    (prediction, target), *_ = example()
    joints = prediction.future.joints_3d
    moved = prediction.future.replace(joints_3d=joints - joints[..., :1, :], frame='wrist')
    numbers = run(ForecastMetric(), (prediction.replace(future=moved), target))
    expected = run(ForecastMetric(), (prediction, target))
    assert numbers['forecast_mpjpe_ra_wrist_mm'] == pytest.approx(expected['forecast_mpjpe_ra_wrist_mm'], abs=1e-4)
    assert 'forecast_mpjpe_mm' not in numbers and numbers['forecast_hands_at_1s'] == 2


def test_another_frame_rate_and_a_gap():
    """At 10 frames per second 0.25 s is reached by the third frame; a missing frame 10 leaves no number at 1 s."""
    truth = moving_hands(50)
    prediction, target = forecast_pair(truth, truth[None, 16:] + np.float32(0.01))
    slower = [clip.replace(timestamps=3 * clip.timestamps, future=clip.future.replace(
        timestamps=3 * clip.future.timestamps)) for clip in (prediction, target)]  # fmt: skip
    metric = ForecastMetric(horizons=(0.25, 1, 1.1))
    valid = target.future.frame_valid.clone()
    valid[:, 9] = False
    slower[1] = slower[1].replace(future=slower[1].future.replace(frame_valid=valid))
    numbers = run(metric, tuple(slower))
    assert numbers['forecast_hands_at_0.25s'] == 2 and numbers['forecast_hands_at_1s'] == 0
    assert numbers['forecast_hands_at_1.1s'] == 2


def test_records_pair_models_hand_by_hand(tmp_path):
    """As those of HandPoseMetric: keys in the same order for each model, NaN where a hand does not count."""
    pairs = [example(frames, seed=seed)[0] for seed, frames in enumerate((20, 40, 70))]
    path = tmp_path / 'records.npz'
    numbers = run(ForecastMetric(keep_records=path), *reversed(pairs))
    records = load_records(path)
    assert list(zip(records['sequence'], records['frame'], records['hand'], strict=True)) == [
        (f's{seed}', 15, side) for seed in range(3) for side in ('left', 'right')]  # fmt: skip
    assert records['forecast_mpjpe_mm'].mean() == pytest.approx(numbers['forecast_mpjpe_mm'])
    assert np.isnan(records['forecast_mpjpe_at_1s_mm']).tolist() == [True] * 2 + [False] * 4
    other = run(metric := ForecastMetric(), *[example(f, 9, seed=s)[0] for s, f in enumerate((20, 40, 70))])
    found = paired_bootstrap(
        metric.records['forecast_mpjpe_at_1s_mm'], records['forecast_mpjpe_at_1s_mm'], records['sequence']
    )
    expected = other['forecast_mpjpe_at_1s_mm'] - numbers['forecast_mpjpe_at_1s_mm']
    assert found.difference == pytest.approx(expected, abs=1e-9) and found.num_pairs == 4
    assert set(ForecastMetric.record_key) <= set(records) and ForecastMetric.record_key == HandPoseMetric.record_key


def test_repeated_clips_count_once_and_tables_have_the_numbers():
    pairs = [example(seed=seed)[0] for seed in range(2)]
    metric = ForecastMetric()
    numbers = run(metric, *pairs, pairs[0])
    assert numbers == run(ForecastMetric(), *pairs)
    table = metrics_table({'model': numbers}, specs_of([metric]))
    assert 'forecast_mpjpe_16_frames_mm/left' in table and 'forecast_mpjpe_at_1s_mm/left' not in table


@pytest.mark.parametrize('norm', ['per_joint', 'flat'])
def test_diversity_by_plain_loops(norm):
    pair, _, samples = example(samples=5)
    numbers = run(APDMetric(norm), pair)
    stem = 'apd' if norm == 'per_joint' else 'apd_flat'
    for name, points in ((f'{stem}_mm', samples), (f'{stem}_ra_wrist_mm', relative(samples))):
        for hand, side in enumerate(('left', 'right')):
            distances = []
            for i in range(5):
                for j in range(i):
                    apart = np.linalg.norm((points[i] - points[j])[:, hand, JOINTS], axis=-1)
                    distances.append(apart.mean() if norm == 'per_joint' else np.sqrt((apart**2).sum()))
            assert numbers[f'{name}/{side}'] == pytest.approx(np.mean(distances), abs=1e-9)
        assert numbers[name] == pytest.approx((numbers[f'{name}/left'] + numbers[f'{name}/right']) / 2)
    with pytest.raises(SequenceError, match='at least two sampled futures of each clip, got 1; set test_samples=20'):
        run(APDMetric(), example(samples=1)[0])


def test_futures_that_cannot_be_compared_are_refused():
    (prediction, target), *_ = example()
    metric = ForecastMetric()
    for pair, message in (
        ((prediction, target.replace(future=None)), 'target needs a future of one clip'),
        ((prediction, prediction), 'target needs a future of one clip'),
        ((prediction.replace(future=None), target), 'the prediction has no future'),
        ((example(frames=69)[0][0], target), 'predict as many frames as the true future has'),
        ((example(hands=1)[0][0], target), '70 frames of 2 hands'),
        ((prediction.replace(future=prediction.future.replace(frame='world')), target), "in frame 'world'"),
        ((prediction.replace(future=prediction.future.replace(timestamps=2 * prediction.future.timestamps)), target),
         'forecast at the frame rate of the dataset'),
        ((prediction.replace(future=prediction.future.replace(joints_3d=torch.nan * prediction.future.joints_3d)),
          target),
         'predicted future has joints_3d that are NaN'),
    ):  # fmt: skip
        with pytest.raises(SequenceError, match=message):
            metric.process_clip(*pair)
    with pytest.raises(SequenceError, match=r'forecasts of \[2, 4\] samples'):
        run(ForecastMetric(), (prediction, target), example(samples=2, seed=1)[0])
    with pytest.raises(SequenceError, match='every frame of the true future is padding'):
        none = target.future.replace(frame_valid=target.future.frame_valid & False)
        metric.process_clip(prediction, target.replace(future=none))
    for wrong in (dict(horizons=(1, 0.5)), dict(horizons=(0,)), dict(first_frames=0), dict(left_out=(21,)),
                  dict(min_seconds=-1), dict(min_seconds=()), dict(min_seconds=(1, 1))):  # fmt: skip
        with pytest.raises(ValueError, match='ForecastMetric'):
            ForecastMetric(**wrong)
    with pytest.raises(ValueError, match='norm must be one of'):
        APDMetric('l2')


def test_an_unlabelled_future_gives_nothing():
    (prediction, target), *_ = example()
    none = torch.zeros_like(target.future.joints_valid)
    unlabelled = target.replace(future=target.future.replace(joints_valid=none, hand_valid=none.any(-1)))
    other = example(seed=1)[0]
    assert run(ForecastMetric(), (prediction, unlabelled), other) == run(ForecastMetric(), other)
    assert clip_of(moving_hands(3)).validate().hand_valid.all()
