"""The running action and the attention of a video, with a tiny HTT; and that a test draws them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from action_clips import build
from labelled_videos import NAMES, make_video

from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.models import EncodedFrames
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.structures import SequenceError
from handpose.visualization import draw_clip
from handpose.visualization.action_banner import RIGHT, WRONG, ActionBanner
from handpose.visualization.action_overlays import action_story, draw_attention, under_frames
from handpose.visualization.hook import DrawClipsHook
from handpose.visualization.report import draw_actions


def predict(estimator, video):
    return EstimatorAdapter(estimator).eval()(collate([video])['batch'], mode='predict')[0]


def test_the_running_action_is_that_of_the_last_frames_alone():
    estimator, video = build().eval(), make_video(45)
    encoded = estimator.encode_frames(video.images[:, 0])
    running = running_action(estimator, encoded, video.intrinsics[:, 0], every=10)
    assert running.frames.tolist() == [0, 10, 20, 30, 40, 44] and running.scores.shape == (6, len(NAMES))
    for last, scores in zip(running.frames.tolist(), running.scores, strict=True):
        part = video.select_frames(range(max(0, last + 1 - 16), last + 1))  # 8 frames, each second one
        torch.testing.assert_close(scores, predict(estimator, part)['prediction'].action_scores)


def test_missing_frames_have_no_say():
    estimator, video = build().eval(), make_video(21, missing=(0, 1, 7, 20))
    story = action_story(estimator, video)
    assert story.running.frames[0] == 2 and story.running.frames[-1] == 19
    assert (story.attention[[0, 1, 7, 20]] == 0).all() and (story.attention[[2, 3, 8, 19]] > 0).all()
    with pytest.raises(SequenceError, match='without a valid frame'):
        nothing = EncodedFrames(torch.zeros(2, 64))
        running_action(estimator, nothing, video.intrinsics[:2, 0], torch.zeros(2, dtype=torch.bool))


def test_attention_is_that_of_the_action_token():
    """Of a clip in one piece, straight from the head; and it is a share of the whole in a video of many clips."""
    estimator, video = build().eval(), make_video(15)
    whole = action_story(estimator, video).attention
    output = estimator(
        video.images[None, ::2, 0], video.intrinsics[None, ::2, 0], torch.ones(1, 8, dtype=torch.bool), True
    )
    np.testing.assert_allclose(whole[::2], output.action_attention[0].mean(0).detach() / 2, atol=1e-6)
    assert 0.5 < action_story(estimator, make_video(50)).attention.sum() < 1


def test_the_banner_tells_right_from_wrong():
    running = RunningAction(torch.tensor([4, 8]), torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.9, 0.0]]))
    banner = ActionBanner(['a', 'b', 'c'], running, [0.1, 0.9, 0], 1, 10, 640)
    colored = lambda t, color: (banner.draw(t) == color).all(-1).sum()  # noqa: E731
    # OpenCV smooths the edges of letters, and thin letters are nothing but edges: their color is not exact.
    left = lambda t, color: (abs(banner.draw(t)[:48, :300].astype(int) - color) < 40).all(-1).sum()  # noqa: E731
    assert left(3, RIGHT) == left(3, WRONG) == 0  # nothing was said so far
    assert left(4, WRONG) and not left(4, RIGHT)
    assert left(9, RIGHT) and not left(9, WRONG)
    assert colored(9, RIGHT) > 1.5 * colored(4, RIGHT)  # the bar of the true action
    np.testing.assert_array_equal(banner.draw(8)[:-4], banner.draw(9)[:-4])
    with pytest.raises(ValueError, match='a score of each of the 2 actions'):
        ActionBanner(['a', 'b'], running, None, -1, 10, 640)


def test_a_test_draws_the_videos_of_actions(tmp_path):
    estimator, video = build().eval(), make_video(21, missing=(5,))
    pair = predict(estimator, video)
    dataset = SimpleNamespace(metainfo={'actions': NAMES})
    loader = type('Loader', (list,), {'dataset': dataset})([None])
    runner = SimpleNamespace(test_dataloader=loader, model=EstimatorAdapter(estimator))
    hook = DrawClipsHook(tmp_path, 1)
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, None, [pair])
    name = 'subject4_h1_0_000003_cam4'
    assert {p.name for p in tmp_path.iterdir()} == {f'{name}.webm', f'{name}.png', f'{name}_attention.png'}
    frames = draw_clip(pair['prediction'], video, panel_size=90)
    under = list(under_frames(frames, **pair, names=NAMES, running=action_story(estimator, video).running))
    assert len(under) == len(frames) == 20
    np.testing.assert_array_equal(under[3][: len(frames[3])], frames[3])
    assert draw_attention(**pair, names=NAMES, attention=np.full(21, 1 / 21)).ndim == 3


def test_the_confusion_of_a_test(tmp_path):
    records = dict(label=np.array([0, 1]), predicted=np.array([1, 1]), actions=np.array(NAMES))
    draw_actions(tmp_path, records)
    assert (tmp_path / 'confusion.png').is_file()
