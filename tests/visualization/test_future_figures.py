"""Figures and videos of forecasts: what is drawn where, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forecasts import clip_of, forecast_pair, moving_hands

from handpose.engine.adapter import EstimatorAdapter
from handpose.hands.joints import BONES
from handpose.models.estimators.simple_forecasters import LastPose
from handpose.structures import HandSequence
from handpose.video import VideoReader
from handpose.visualization import (
    FutureVideo,
    accuracy_by_fraction,
    future_rows,
    future_strip,
    motion_row,
    write_future_video,
    write_motion_video,
)
from handpose.visualization.future_figures import HAND_COLORS, TRUTH_COLOR
from handpose.visualization.future_scene import future_scene, joint_positions, skeleton_segments
from handpose.visualization.hook import DrawClipsHook


def forecast(samples=6, frames=36, hands=2, **changes):
    """Observed clip, sampled futures and truth."""
    truth = moving_hands(16 + frames, hands)
    noise = 0.004 * np.random.default_rng(1).normal(size=(samples, frames, hands, 1, 3)).cumsum(1)
    prediction, target = forecast_pair(truth, (truth[None, 16:] + noise).astype(np.float32), **changes)
    return prediction, prediction.future, target.future


def near(image, color, tolerance=30):
    """(h, w) bool: pixels of a colour."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)] if isinstance(color, str) else color
    return np.abs(image.astype(int) - wanted).max(-1) <= tolerance


def test_a_scene_is_in_centimetres_about_the_last_observed_hands():
    observed, future, truth = forecast()
    scene = future_scene(observed, future, truth)
    centre = observed.joints_3d[-1].double().numpy().mean((0, 1))
    expected = 100 * (future.joints_3d.double().numpy() - centre)[..., :2]
    np.testing.assert_allclose(scene.samples, expected, atol=1e-6)
    np.testing.assert_allclose(scene.seconds, np.arange(1, 37) / 30, atol=1e-9)
    assert scene.observed_seconds[-1] == 0 and scene.plane.inverted and scene.frame_at(0.5) == 14
    np.testing.assert_allclose(future_scene(observed, future, view='side').samples[..., 0],
                               100 * (future.joints_3d.double().numpy() - centre)[..., 2], atol=1e-6)  # fmt: skip


def test_world_coordinates_are_seen_where_they_move_most():
    """Rotated by any angle, the picture keeps its extent: the plane follows the motion."""
    extents = []
    for seed in range(3):
        rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        turned = [clip.replace(joints_3d=clip.joints_3d @ torch.from_numpy(rotation).float(), frame='world')
                  for clip in forecast(frame='world')]  # fmt: skip
        scene = future_scene(*turned)
        extents.append(np.nanstd(scene.samples.reshape(-1, 2), axis=0))
    np.testing.assert_allclose(extents, extents[:1] * 3, rtol=0.02)
    assert extents[0][0] > extents[0][1]


def test_hands_relative_to_their_wrists_are_apart():
    clip = clip_of(moving_hands(3))
    relative = clip.replace(joints_3d=clip.joints_3d - clip.joints_3d[:, :, :1], frame='wrist')
    assert (joint_positions(relative)[:, :, 0, 0] == [-13, 13]).all()


def test_bones_of_a_hand_and_of_one_without_thumb_base():
    hand = moving_hands(1, hands=1)[0].astype(np.float64)
    assert len(skeleton_segments(hand)) == len(BONES)
    without = hand.copy()
    without[0, 1] = np.nan
    segments = skeleton_segments(without)
    assert len(segments) == len(BONES) - 1 and any((segment == hand[0, [0, 2]]).all() for segment in segments)
    assert not len(skeleton_segments(np.full((2, 21, 3), np.nan)))


def test_a_strip_shows_observed_frames_samples_and_truth():
    observed, future, truth = forecast()
    options = dict(title='a title', horizons=(0.5, 1, 2), num_observed=2)  # 36 frames: 2 s is left out
    with_truth = future_strip(observed, future, truth, **options)
    without = future_strip(observed, future, **options)
    assert with_truth.dtype == np.uint8 and with_truth.shape == without.shape
    assert near(with_truth, TRUTH_COLOR).sum() > 200 > near(without, TRUTH_COLOR).sum()
    assert all(near(without, color).sum() > 300 for color in HAND_COLORS)
    one = future_strip(*forecast(hands=1, samples=1), num_observed=1, horizons=(0.5,))
    assert one.shape[1] < with_truth.shape[1] and not near(one, HAND_COLORS[0]).any()
    assert near(one, HAND_COLORS[1]).sum() > 300


def test_rows_of_futures_have_one_scale_and_the_truth_is_in_the_first():
    observed, future, truth = forecast()
    far = future.replace(joints_3d=future.joints_3d + torch.tensor([0.3, 0, 0]))
    rows = future_rows(observed, {'near': future, 'far': far}, truth, horizons=(0.5, 1), num_observed=2, title='t')
    half = len(rows) // 2
    assert near(rows[:half], TRUTH_COLOR).sum() > 100 > near(rows[half:-80], TRUTH_COLOR).sum()
    for color in HAND_COLORS:
        upper, lower = (near(part, color).sum() for part in (rows[:half], rows[half:]))
        assert 0.5 < upper / lower < 2
    assert len(rows) > 1.5 * len(future_strip(observed, future, truth, (0.5, 1), 2))
    with pytest.raises(ValueError, match='at least one row'):
        future_rows(observed, {})


def test_gaps_are_not_drawn():
    observed, future, _ = forecast()
    both = future_strip(observed, future, num_observed=1, horizons=(1,))
    future.joints_3d[:, :, 0] = torch.nan
    future.joints_valid[:, :, 0] = False
    image = future_strip(observed, future, num_observed=1, horizons=(1,))
    assert near(image, HAND_COLORS[0]).sum() < 0.75 * near(both, HAND_COLORS[0]).sum()


def test_a_row_of_motions():
    first, second = moving_hands(20), moving_hands(20, seed=1)
    motions = HandSequence.stack([clip_of((1 - w) * first + w * second) for w in (0, 0.5, 1)])
    row = motion_row(motions, ['first', 'half way', 'second'], title='t')
    alone = motion_row(HandSequence.stack(motions.unstack()[:1]), ['first'], title='t')
    assert row.shape[1] > 2 * alone.shape[1] and all(near(row, color).sum() > 300 for color in HAND_COLORS)


def test_a_video_plays_observed_frames_and_all_samples(tmp_path):
    clips = forecast(frames=20)
    video = FutureVideo(*clips, size=240, title='pour milk')
    assert len(video) == 36 and video.times[15] == 0
    observed, forecast_frame = video.draw(8), video.draw(30)
    assert observed.shape == forecast_frame.shape and not near(observed, (70, 210, 110)).any()
    assert near(forecast_frame, (70, 210, 110), 60).any()
    write_future_video(tmp_path / 'future.avi', *clips, size=240)
    frames = list(VideoReader(tmp_path / 'future.avi'))
    assert len(frames) == 36 + 24
    single = FutureVideo(clips[0], HandSequence.stack(clips[1].unstack()[:1]), size=240)
    assert single.draw(35).any()


def test_a_video_of_motions_plays_them_side_by_side(tmp_path):
    motions = HandSequence.stack([clip_of(moving_hands(8, seed=seed)) for seed in (0, 1)])
    write_motion_video(tmp_path / 'm.avi', motions, ['one', 'two'], 't', size=200, fps=10, repeats=2)
    assert len(list(VideoReader(tmp_path / 'm.avi'))) == 2 * (8 + 8)
    for wrong, words in ((dict(labels=['one']), 'a label for each'), (dict(repeats=0), 'repeats must be at least 1')):
        with pytest.raises(ValueError, match=words):
            write_motion_video(tmp_path / 'x.avi', motions, **{'labels': ['one', 'two'], **wrong})
    assert not (tmp_path / 'x.avi').exists()


@pytest.mark.parametrize('frames', [15, 5])
def test_a_test_draws_the_futures(tmp_path, frames):
    observed, future, truth = forecast(frames=frames)
    pair = dict(prediction=observed.replace(future=future), target=observed.replace(future=truth))
    runner = SimpleNamespace(test_dataloader=[None], model=EstimatorAdapter(LastPose()))
    hook = DrawClipsHook(tmp_path, 1)
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, None, [pair])
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {'s_0.webm', 's_0.png', 's_0_000015_future.png', 's_0_000015_future.webm'}
    assert len(list(VideoReader(tmp_path / 's_0_000015_future.webm'))) >= 16 + frames


def test_accuracy_by_fraction():
    curve = {0.25: [0.4, 0.5], 0.5: [0.6, 0.7], 1: [0.8, 0.9]}
    image = accuracy_by_fraction({'one': curve, 'other': {0.5: [0.3]}})
    band = (31 * 0.18 + 255 * 0.82, 119 * 0.18 + 255 * 0.82, 180 * 0.18 + 255 * 0.82)  # of the first colour
    assert near(image, band, 4).sum() > 1000
    assert near(accuracy_by_fraction({'one': {f: [v[0]] for f, v in curve.items()}}), band, 4).sum() < 200
    for wrong in ({}, {'one': {}}):
        with pytest.raises(ValueError, match='at least one model'):
            accuracy_by_fraction(wrong)
    with pytest.raises(ValueError, match='one: fractions and accuracies must be from 0 to 1'):
        accuracy_by_fraction({'one': {0.5: [40]}})


def test_what_does_not_fit_together_is_refused():
    observed, future, _ = forecast()
    for arguments, message in (
        ((future, future), 'expected a clip of observed frames and batches'),
        ((observed, observed), 'expected a clip of observed frames and batches'),
        ((observed, future.replace(frame='world')), 'one coordinate frame'),
        ((observed, forecast(hands=1)[1]), 'number of hands'),
        ((observed.replace(joints_valid=observed.joints_valid & False), future), 'nothing to draw'),
    ):
        with pytest.raises(ValueError, match=message):
            future_scene(*arguments)
    with pytest.raises(ValueError, match='view must be one of'):
        future_scene(observed, future, view='top')
    with pytest.raises(ValueError, match=r'horizon from 0 to the 1.20 s .* got \[2\]'):
        future_strip(observed, future, horizons=[2])
    for changes in (dict(labels=['a']), dict(num_poses=1), dict(view='top')):
        with pytest.raises(ValueError, match=r'expected a batch of motions|motion_row needs at least 2 poses'):
            motion_row(future, **{'labels': list('abcdef'), **changes})
    with pytest.raises(ValueError, match='no hand is valid'):
        motion_row(future.replace(joints_valid=future.joints_valid & False), list('abcdef'))
