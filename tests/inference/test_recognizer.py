"""`ActionRecognizer` against the estimator's own prediction of the same frames; cameras, rates, shapes, bad files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from action_clips import HEIGHT, WIDTH, build, give_plausible_hands, model_config

from handpose.engine import load_config
from handpose.geometry import project_points
from handpose.inference import (
    ActionRecognizer,
    action_record,
    load_action_recognizer,
    save_actions,
    uncertainty_reasons,
)
from handpose.registry import MODELS
from handpose.structures import HandSequence, Predictions
from handpose.video import VideoFrames, VideoReader, save_clip_video
from handpose.zoo.publish import make_header, publish

ACTIONS, OBJECTS = [f'do {i}' for i in range(7)], [f'thing {i}' for i in range(5)]
ROOT = Path(__file__).parents[2]


def write_video(path, frames=37, fps=30, size=(WIDTH, HEIGHT)):
    """A video whose grey changes along the frames and within them."""
    ramp = np.linspace(0, 90, size[0]).astype(np.uint8)[None, :, None]
    pictures = [np.broadcast_to(ramp + 4 * (t % 30), (size[1], size[0], 3)).copy() for t in range(frames)]
    save_clip_video(path, pictures, fps)
    return path


@pytest.fixture
def recognizer():
    return ActionRecognizer(build(), ACTIONS, OBJECTS)


def predicted(estimator, path, times, camera):
    """What the estimator says of frames at some times, in one batch."""
    reader = VideoFrames(path, times)
    images = torch.from_numpy(np.stack([reader.read(t) for t in range(len(times))])).permute(0, 3, 1, 2)
    return predicted_of_images(estimator, images, camera)


def predicted_of_images(estimator, images, camera):
    batch = HandSequence(
        meta=[dict(sequence='x')],
        batched=True,
        images=images[None, :, None],
        intrinsics=camera.expand(1, len(images), 1, 3, 3),
        frame_valid=torch.ones(1, len(images), dtype=torch.bool),
    )
    return estimator.predict(batch).unstack()[0]


def test_a_video_is_answered_as_the_estimator_does(tmp_path, recognizer):
    path = write_video(tmp_path / 'a.avi')
    found = recognizer.predict(path, field_of_view=70)
    expected = predicted(recognizer.estimator, path, np.arange(37) / 30, found.intrinsics[0, 0])
    for name in ('joints_3d', 'object_scores', 'action_scores'):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=1e-4)
    assert found.meta['frame_indices'] == list(range(37)) and found.meta['actions'] == ACTIONS
    assert found.timestamps[-1] == pytest.approx(36 / 30) and found.meta['notes'] == []
    give_plausible_hands(recognizer.estimator)
    hands = Predictions.from_sequence(recognizer.predict(path, field_of_view=70), 'joints_3d')
    assert len(hands) == 37 and hands.valid.all()


def test_twice_the_rate_is_two_videos(tmp_path, recognizer):
    path = write_video(tmp_path / 'a.avi', frames=40, fps=60)
    encoded = recognizer.encode(path, field_of_view=70)
    assert 'treated as 2 videos that alternate' in encoded.notes[0]
    found = recognizer.predict(encoded)
    parts = [
        predicted(recognizer.estimator, path, np.arange(phase, 40, 2) / 60, encoded.model_intrinsics)
        for phase in (0, 1)
    ]
    for phase, part in enumerate(parts):
        torch.testing.assert_close(found.joints_3d[phase::2], part.joints_3d, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.action_scores, sum(p.action_scores for p in parts) / 2, atol=1e-4, rtol=1e-4)
    assert recognizer.running_action(encoded, every=8).frames.tolist() == [0, 8, 16, 24, 32, 38]


def test_the_camera_follows_borders_and_size(tmp_path, recognizer):
    """A wide video for a model of 64 x 48: borders above and below, and points that stay on what they are on."""
    path = write_video(tmp_path / 'wide.avi', frames=3, size=(160, 90))
    (tmp_path / 'camera.txt').write_text('300 310 320 170 640 360\n')
    encoded = recognizer.encode(path, camera=tmp_path / 'camera.txt')
    assert encoded.notes == [
        'it has 3 frames at the frame rate of the model, fewer than the 8 of one window: the action is based on little'
    ]
    torch.testing.assert_close(encoded.intrinsics[[0, 1], [0, 1]], torch.tensor([75.0, 77.5]))
    points = torch.tensor([[0.1, -0.05, 0.6], [-0.2, 0.1, 0.9]])
    x, y = project_points(points, encoded.intrinsics).T
    expected = torch.stack([(x + 0.5) * 0.4 - 0.5, (y + 15 + 0.5) * 0.4 - 0.5], -1)  # 160 x 120 with 15 rows added
    torch.testing.assert_close(project_points(points, encoded.model_intrinsics), expected)
    torch.testing.assert_close(recognizer.predict(encoded).intrinsics[0, 0], encoded.intrinsics)


def test_the_field_of_view_reaches_from_edge_to_edge(tmp_path, recognizer):
    path = write_video(tmp_path / 'a.avi', frames=20)
    encoded = recognizer.encode(path, field_of_view=60)
    edge = torch.tensor([[np.tan(np.radians(30)), 0, 1.0]], dtype=torch.float32)
    torch.testing.assert_close(
        project_points(edge, encoded.intrinsics), torch.tensor([[WIDTH - 0.5, (HEIGHT - 1) / 2]])
    )
    assert not encoded.notes
    assert 'a field of view of 90 degrees across is assumed' in recognizer.encode(path).notes[0]


def test_a_slower_video_is_shown_at_the_rate_of_the_model(tmp_path, recognizer):
    """Each frame of 15 per second stands for two of the 30."""
    path = write_video(tmp_path / 'slow.avi', frames=16, fps=15)
    encoded = recognizer.encode(path, field_of_view=60)
    assert len(encoded.notes) == 1 and 'the nearest frame replaces those that are missing' in encoded.notes[0]
    found = recognizer.predict(encoded)
    (frames,), (own,) = encoded.assignment.frames, encoded.assignment.assigned
    assert len(frames) == 31 and frames[own].tolist() == frames[::2].tolist() == list(range(16))
    images = torch.from_numpy(np.stack([frame.image for frame in VideoReader(path)])).permute(0, 3, 1, 2)[frames]
    expected = predicted_of_images(recognizer.estimator, images, encoded.model_intrinsics)
    torch.testing.assert_close(found.joints_3d, expected.joints_3d[torch.from_numpy(own)], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.action_scores, expected.action_scores, atol=1e-4, rtol=1e-4)


def test_a_damaged_end_is_noted(tmp_path, recognizer):
    noise = np.random.default_rng(0).integers(0, 256, (60, HEIGHT, WIDTH, 3), dtype=np.uint8)
    save_clip_video(tmp_path / 'whole.webm', noise, fps=30)
    whole = (tmp_path / 'whole.webm').read_bytes()
    (tmp_path / 'cut.webm').write_bytes(whole[: len(whole) // 2])
    cut = recognizer.encode(tmp_path / 'cut.webm', field_of_view=60)
    assert 5 < len(cut) < 45 and not cut.features.isnan().any()
    assert any('of the 2.00 s that the file states: the rest may be missing' in note for note in cut.notes)


def test_only_plausible_hands_that_are_asked_for_are_valid(tmp_path, recognizer):
    path = write_video(tmp_path / 'a.avi', frames=20)
    assert not recognizer.predict(path).hand_valid.any()  # untrained: hands of a metre
    give_plausible_hands(recognizer.estimator)
    encoded = recognizer.encode(path)
    both, left = recognizer.predict(encoded), recognizer.predict(encoded, hands='left')
    assert both.hand_valid.all() and both.joints_2d_valid.all()
    assert left.hand_valid[:, 0].all() and not left.hand_valid[:, 1].any() and not left.joints_valid[:, 1].any()
    give_plausible_hands(recognizer.estimator, left=(0.8, 0))
    outside = recognizer.predict(encoded).hand_valid
    assert not outside[:, 0].any() and outside[:, 1].all()
    with pytest.raises(ValueError, match="hands must be one of left, right, both, got 'none'"):
        recognizer.predict(encoded, hands='none')


def test_no_action_is_named_without_evidence(tmp_path, recognizer):
    """A low score, a picture that stays as it is, or no hand that can be one."""
    give_plausible_hands(recognizer.estimator)
    moving = recognizer.predict(write_video(tmp_path / 'a.avi', frames=20))
    assert uncertainty_reasons(moving, 0.0) == [] and 'is below 0.9' in uncertainty_reasons(moving, 0.9)[0]
    save_clip_video(tmp_path / 'grey.avi', [np.full((HEIGHT, WIDTH, 3), 128, np.uint8)] * 20, fps=30)
    encoded = recognizer.encode(tmp_path / 'grey.avi')
    still, running = recognizer.predict(encoded), recognizer.running_action(encoded)
    assert uncertainty_reasons(still, 0.0) == ['the image does not change']
    record = action_record(still, running, min_score=0.0)
    assert record['action'] is None and record['best'] in ACTIONS and record['caveats']
    assert all(row['action'] is None and row['best'] in ACTIONS for row in record['running'])
    assert all(row['object'] is None for row in record['objects'])
    without = moving.replace(hand_valid=torch.zeros_like(moving.hand_valid))
    assert uncertainty_reasons(without, 0.0) == ['no frame has a plausible hand']


def test_one_frame_and_progress(tmp_path, recognizer):
    path, seen = write_video(tmp_path / 'a.avi', frames=1), []
    recognizer.encode(path, progress=lambda done, count: seen.append((done, count)))
    found = recognizer.predict(path, field_of_view=60)
    assert (
        seen == [(0, pytest.approx(1 / 30))]
        and len(found.timestamps) == 1
        and found.action_scores.sum() == pytest.approx(1)
    )


@pytest.mark.parametrize(
    'options, sentence',
    [
        (dict(field_of_view=200), 'between 5 and 170 degrees, got 200'),
        (dict(field_of_view=60, camera='x.txt'), 'not both'),
        (dict(camera='x.txt'), 'x.txt does not exist'),
        (dict(camera='four.txt'), r'must hold 6 numbers \(fx fy cx cy width height\)'),
        (dict(camera='square.txt'), 'not the shape of the 500x500'),
    ],
)
def test_cameras_that_cannot_be(tmp_path, monkeypatch, recognizer, options, sentence):
    monkeypatch.chdir(tmp_path)
    Path('four.txt').write_text('1 2 3 4')
    Path('square.txt').write_text('500 500 250 250 500 500')
    write_video(Path('a.avi'), frames=2)
    with pytest.raises(ValueError, match=sentence):
        recognizer.predict('a.avi', **options)


def test_files_that_are_no_videos(tmp_path, recognizer):
    (tmp_path / 'text.mp4').write_text('not a video')
    with pytest.raises(ValueError, match=r'text.mp4 cannot be read as a video'):
        recognizer.predict(tmp_path / 'text.mp4')
    with pytest.raises(ValueError, match='does not exist'):
        recognizer.predict(tmp_path / 'none.mp4')
    with pytest.raises(ValueError, match='distinguishes 7 actions, but 3 are named'):
        ActionRecognizer(build(), ACTIONS[:3], OBJECTS)


def test_the_actions_file(tmp_path, recognizer):
    path = write_video(tmp_path / 'pour.avi')
    give_plausible_hands(recognizer.estimator)
    encoded = recognizer.encode(path)
    sequence, running = recognizer.predict(encoded), recognizer.running_action(encoded, 10)
    save_actions(tmp_path / 'a.json', action_record(sequence, running, 'HTT (a.pth)', 0.1))
    found = json.loads((tmp_path / 'a.json').read_text())
    assert found['action'] == ACTIONS[int(sequence.action_scores.argmax())] == next(iter(found['scores']))
    assert set(found['scores']) == set(ACTIONS) and sum(found['scores'].values()) == pytest.approx(1, abs=1e-3)
    assert [row['time'] for row in found['running']] == pytest.approx([0, 1 / 3, 2 / 3, 1, 1.2], abs=1e-3)
    assert found['objects'][0]['start'] == 0 and found['objects'][-1]['end'] == pytest.approx(37 / 30, abs=1e-3)
    ends = [row['end'] for row in found['objects'][:-1]]
    assert ends == [row['start'] for row in found['objects'][1:]]
    assert found['reader'] == encoded.reader and found['notes'] == encoded.notes
    assert found['video'] == 'pour' and found['frames'] == 37


CONFIG = """
model = {model}
test_dataset = dict(type='H2O', taxonomy={taxonomy!r})
"""


def make_config(folder, taxonomy='own.yml'):
    (folder / 'own.yml').write_text('actions: [open tin, close tin, stir cup, grab a, grab b, grab c, grab d]\n')
    model = model_config()
    taxonomy = str(folder / taxonomy) if taxonomy else None
    (folder / 'small.py').write_text(CONFIG.format(model=model, taxonomy=taxonomy))
    return folder / 'small.py'


def test_weights_of_training_and_published_ones(tmp_path):
    path = make_config(tmp_path)
    video = write_video(tmp_path / 'a.avi', frames=20)
    six = {'model.object_head.num_objects': 6, 'model.tokenizer.num_objects': 6}
    estimator = MODELS.build(load_config(path, six).model)
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, tmp_path / 'a.pth')
    weights, _ = publish(estimator, make_header(estimator, load_config(path, six), 'CC0'), tmp_path / 'a.safetensors')
    trained, published = load_action_recognizer(tmp_path / 'a.pth', path, six), load_action_recognizer(weights)
    assert trained.actions == published.actions == ['open tin', 'close tin', 'stir cup', *(f'grab {x}' for x in 'abcd')]
    assert published.objects == ['tin', 'cup', 'a', 'b', 'c', 'd'] and published.name.startswith('HTT (a-')
    one, other = (r.predict(video, field_of_view=60).joints_3d for r in (trained, published))
    torch.testing.assert_close(one, other)


def test_weights_that_recognise_no_actions(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='give the config it was trained with'):
        load_action_recognizer(tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='contains weights of Deformer, which recognizes no actions'):
        load_action_recognizer(tmp_path / 'a.pth', ROOT / 'configs' / 'deformer' / 'synthetic.py')
    (tmp_path / 'small.py').write_text(f'model = {model_config()}\n')
    torch.save({'state_dict': build().state_dict(), 'meta': {}}, tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='does not name the actions'):
        load_action_recognizer(tmp_path / 'b.pth', tmp_path / 'small.py')
