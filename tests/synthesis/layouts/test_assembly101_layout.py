import csv
import json

import numpy as np
import pytest
import torch
from assembly101_files import COLUMNS
from pose_layouts import digest
from scipy.spatial.transform import Rotation

from handpose.cli.make_data import make_missing
from handpose.datasets import Assembly101
from handpose.engine import load_config
from handpose.hands import ProceduralHand
from handpose.hands.joints import BONES
from handpose.hands.sides import Side
from handpose.synthesis import RecordingOptions, options_from_dict, write_dataset
from handpose.synthesis.actor import ACTIONS, POSE_RATE, PlannedAction, draw_actor, plan_recording
from handpose.synthesis.layouts.assembly101 import Assembly101Layout
from handpose.synthesis.motion.actions import play_script
from handpose.synthesis.motion.continuous import HandPath, PacedContext, join_paths, play_recording, relative_turns
from handpose.synthesis.motion.posing import pose_hand, without_mesh
from handpose.synthesis.scenes.recordings import RecordingScenes

CHOSEN = ('grab milk', 'place milk', 'slowly squeeze lotion')
JOINTS = [0, *range(2, 21)]  # those that the files have


def options(root, **changes):
    values = dict(subjects=3, repetitions=1, recording_actions=3, actions=CHOSEN, seed=5, workers=1)
    return RecordingOptions(str(root), **{**values, **changes})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('assembly101') / 'data'
    summary = write_dataset(options(root))
    assert summary.sequences == 3 and f'{summary.frames} frames' in summary.text
    return root


@pytest.fixture(scope='module')
def model():
    return ProceduralHand()


def rows_of(root, name):
    with open(root / 'fine-grained-annotations' / f'{name}.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_joints_are_the_scene_s(root):
    layout = Assembly101Layout(options(root))
    scene = RecordingScenes(layout).build((1, 0))
    (track,) = Assembly101(root, 'val', segments='untrimmed', fps=60)
    track.validate()
    assert (track.hand_valid.numpy() == scene.hand_valid).all()
    found, true = (values[scene.hand_valid][:, JOINTS] for values in (track.joints_3d.double().numpy(), scene.joints))
    np.testing.assert_allclose(found, true, atol=0.6e-5)  # hundredths of millimetres
    whole = Assembly101(root, 'val', segments='untrimmed')[0]
    assert torch.equal(whole.joints_3d, track.joints_3d[::2])
    for action, (planned, first) in zip(Assembly101(root, 'val'), _first_frames(layout, (1, 0)), strict=True):
        assert action.meta['frame_indices'][0] == first and CHOSEN[action.action_label] == planned.action.name
        assert torch.equal(action.joints_3d, whole.joints_3d[first : first + len(action.frame_valid)])
        assert abs(len(action.frame_valid) / 30 - planned.seconds) < 0.05


def _first_frames(layout, place):
    return [(planned, planned.first * 30 // POSE_RATE) for planned in layout.plan(*place)[0]]


def test_people_are_held_out(root):
    people = {split: {s.meta['subject'] for s in Assembly101(root, split)} for split in ('train', 'val', 'test')}
    assert people == {'train': {'0001'}, 'val': {'0002'}, 'test': {'0003'}}
    layout = Assembly101Layout(RecordingOptions('x'))
    splits = [layout.split_of(subject) for subject in range(20)]
    assert splits == ['train'] * 14 + ['val'] * 2 + ['test'] * 4
    shapes = [draw_actor(0, subject).shape for subject in range(20)]
    assert min(np.abs(a - b).max() for n, a in enumerate(shapes) for b in shapes[:n]) > 0.3


def test_files_have_the_official_columns(root):
    rows = rows_of(root, 'train')
    assert list(rows[0]) == COLUMNS
    assert [int(row['id']) for row in rows] == list(range(6))  # three actions seen by two cameras
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        assert [one['is_RGB'], other['is_RGB']] == ['1', '0'] and one['start_frame'] == other['start_frame']
        assert one['video'].endswith('/C10095_rgb.mp4') and one['action_cls'] == f'{one["verb_cls"]} {one["noun_cls"]}'
    actions = rows_of(root, 'actions')
    assert [row['action_cls'] for row in actions] == list(CHOSEN)
    assert [(row['verb_id'], row['noun_id']) for row in actions] == [('0', '0'), ('1', '0'), ('2', '1')]
    (path,) = (root / 'poses@60fps').glob('*_0001_user_id_0000.json')
    frames = json.loads(path.read_text())
    assert all(np.shape(frame['landmarks'][hand]) == (21, 3) for frame in frames for hand in '01')
    lost = [(n, h) for n, frame in enumerate(frames) for h in '01' if not frame['tracking_confidence'][h]]
    for number, hand in lost:  # a lost hand stays where it was
        assert frames[number]['landmarks'][hand] == frames[max(number - 1, 0)]['landmarks'][hand]
    numbers = np.array([frame['landmarks']['0'] for frame in frames])
    assert np.allclose(numbers, numbers.round(2), atol=1e-9) and 30 < np.abs(numbers).max() < 1000


def test_same_seed_same_bytes_and_resuming(root, tmp_path):
    again = tmp_path / 'again'
    write_dataset(options(again))
    assert digest(again) == {name: value for name, value in digest(root).items() if '.handpose_poses' not in name}
    before = digest(again)
    next((again / 'poses@60fps').iterdir()).unlink()
    assert write_dataset(options(again)).sequences == 1 and digest(again) == before
    with pytest.raises(ValueError, match='made with other options'):
        write_dataset(options(again, seed=6))
    assert plan_recording(5, 0, 0, ACTIONS, 4) != plan_recording(6, 0, 0, ACTIONS, 4)


@pytest.mark.parametrize('subject', [0, 1])
def test_motion_is_that_of_hands(model, subject):
    """No jumps within or between actions, no hand that is frozen, bones of constant length."""
    actor = draw_actor(0, subject)
    plans, frames = plan_recording(0, subject, 0, ACTIONS, 6)
    paths = play_recording(np.random.default_rng(subject), model, actor, plans, frames)
    assert sorted(paths) == [Side.LEFT, Side.RIGHT]
    for path in paths.values():
        wrist = path.wrist[:, :3, 3]
        speed = np.linalg.norm(np.diff(wrist, axis=0), axis=1) * POSE_RATE
        acceleration = np.linalg.norm(np.diff(wrist, 2, axis=0), axis=1) * POSE_RATE**2
        assert speed.max() < 2.5 and acceleration.max() < 30  # metres and seconds; people reach 3 m/s
        assert np.percentile(speed, 5) > 0.0005 and speed.min() > 0
        turns = Rotation.from_matrix(path.wrist[:-1, :3, :3].transpose(0, 2, 1) @ path.wrist[1:, :3, :3])
        assert turns.magnitude().max() * POSE_RATE < 15 and turns.magnitude().min() > 0
        bends = np.abs(np.diff(path.angles, axis=0)) * POSE_RATE
        assert bends.max() < 25 and (bends.max((1, 2)) > 0).all()
        assert np.abs(np.diff(path.angles, 2, axis=0)).max() * POSE_RATE**2 < 500
        # 0.3 m about the middle of the table: nothing wanders off.
        assert np.abs(wrist[:, :2]).max() < 0.6 and (wrist[:, 2] > -0.05).all() and wrist[:, 2].max() < 0.6


def test_joints_without_a_mesh(model):
    rng = np.random.default_rng(0)
    small, shape, wrist = without_mesh(model), rng.normal(0, 1, 10), np.tile(np.eye(4), (30, 1, 1))
    wrist[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 1, (30, 3))).as_matrix()
    for side in (Side.LEFT, Side.RIGHT):
        angles = rng.normal(0, 0.3, (30, 15, 3))
        whole, joints = (pose_hand(m, shape, angles, wrist, side) for m in (model, small))
        np.testing.assert_allclose(joints.joints, whole.joints, atol=1e-6)
        assert joints.vertices.shape == (30, 5, 3) and whole.vertices.shape[1] > 1000


def test_bones_keep_their_length(root):
    track = Assembly101(root, 'train', segments='untrimmed')[0]
    for hand in (0, 1):
        joints = track.joints_3d[track.hand_valid[:, hand], hand].double()
        for parent, child in BONES:
            if 1 not in (parent, child):
                length = (joints[:, child] - joints[:, parent]).norm(dim=-1)
                assert length.max() - length.min() < 1e-4 and 0.01 < length.min() < 0.13


def test_actions_last_long_enough():
    seconds = [plan.seconds for n in range(20) for r in range(4) for plan in plan_recording(0, n, r, ACTIONS, 8)[0]]
    assert min(seconds) >= 2 and max(seconds) <= 8 and np.mean(np.array(seconds) > 2.5) > 0.8
    assert len(ACTIONS) >= 16 and len({action.name for action in ACTIONS}) == len(ACTIONS)
    layout = Assembly101Layout(RecordingOptions('x'))
    train = [place for place in layout.places if layout.split_of(place[0]) == 'train']
    assert len(layout.places) * 8 >= 3000 and len(train) * 8 >= 2000
    plans, frames = layout.plan(0, 0)
    ends = [plan.last for plan in plans]
    assert all(a < b.first for a, b in zip(ends, plans[1:], strict=False)) and ends[-1] < frames
    performed = [plan.action for r in range(3) for plan in layout.plan(0, r)[0]]
    assert sorted(performed) == sorted(ACTIONS)  # three recordings of eight actions: each once


def test_pace(model):
    """What is done again and again is slower in the slow variant, by the factor that the actions state."""

    def waves(verb, seconds):
        action = next(a for a in ACTIONS if a.verb == verb)
        frames = int(seconds * POSE_RATE)
        plan = PlannedAction(action, 10, 10 + frames)
        context = PacedContext(np.random.default_rng(0), model, draw_actor(0, 0), plan, 0, 20 + frames)
        pulses = context.pulses(4, 4)[10:-10] - 0.5
        return np.count_nonzero(np.diff(np.sign(pulses))) / 2 / seconds

    fast, slow = waves('squeeze', 6), waves('slowly squeeze', 6)
    assert abs(slow / fast - 0.4) < 0.06 and abs(waves('squeeze', 3) - fast) < 0.25


def test_one_of_a_pair_is_the_other_backwards(model):
    """Played beyond both ends, too: the two use the same script, whose beginning is the other's end."""
    forth, back = (next(a for a in ACTIONS if a.name == name) for name in ('grab milk', 'place milk'))
    context = {
        action.verb: PacedContext(
            np.random.default_rng(0), model, draw_actor(0, 0), PlannedAction(action, 30, 150), 0, 200
        )
        for action in (forth, back)
    }
    np.testing.assert_allclose(context['grab'].time[[30, 150]], [0, 1])
    np.testing.assert_allclose(1 - context['place'].time[::-1][[30, 150]], [0, 1])
    placed = play_script('place', 'milk', context['place']).hands[Side.RIGHT]
    grabbed = play_script('grab', 'milk', context['grab']).hands[Side.RIGHT]
    np.testing.assert_allclose(placed.track[150], grabbed.track[30], atol=1e-9)
    np.testing.assert_allclose(placed.track[30], grabbed.track[150], atol=1e-9)


def test_joined_paths(model):
    rng = np.random.default_rng(0)
    first, second = (_path(rng, frames) for frames in (40, 30))
    joined = join_paths(first, second, 20, lift=0.03)
    assert len(joined.wrist) == len(joined.angles) == 50
    np.testing.assert_array_equal(joined.wrist[:20], first.wrist[:20])
    np.testing.assert_array_equal(joined.wrist[40:], second.wrist[20:])
    np.testing.assert_allclose(joined.wrist[[20, 39]], [first.wrist[20], second.wrist[19]], atol=1e-9)
    np.testing.assert_allclose(joined.angles[[20, 39]], [first.angles[20], second.angles[19]], atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(joined.wrist[:, :3, :3]), 1, atol=1e-9)


def _path(rng, frames):
    wrist = np.tile(np.eye(4), (frames, 1, 1))
    wrist[:, :3, :3] = Rotation.random(random_state=3).as_matrix()
    wrist[:, :3, 3] = rng.normal(0, 0.1, 3) + 0.001 * np.arange(frames)[:, None]
    return HandPath(wrist, rng.normal(0, 0.3, (1, 15, 3)) + 0.01 * np.arange(frames)[:, None, None])


def test_turns_beyond_half_a_turn_do_not_jump():
    angles = np.linspace(2.6, 3.6, 50)  # about the forearm, which lies along y
    first = np.tile(np.eye(3), (50, 1, 1))
    second = Rotation.from_rotvec(angles[:, None] * [0, 1, 0]).as_matrix()
    turns = relative_turns(first, second)
    np.testing.assert_allclose(first @ Rotation.from_rotvec(turns).as_matrix(), second, atol=1e-9)
    assert np.abs(np.diff(turns, axis=0)).max() < 0.03
    # By way of the thumb (third axis) pointing up: here it points up at first, so halfway both ways are alike; turned
    # by a quarter about the forearm it shows.
    first = np.tile(Rotation.from_rotvec([0, np.pi / 2, 0]).as_matrix(), (50, 1, 1))
    turns = relative_turns(first, first @ Rotation.from_rotvec(3.0 * np.array([0, 1, 0])).as_matrix())
    halfway = first @ Rotation.from_rotvec(turns / 2).as_matrix()
    assert (halfway[:, 2, 2] > 0.9).all()
    small = relative_turns(first, first @ Rotation.from_rotvec([0.2, 0.1, 0]).as_matrix())
    np.testing.assert_allclose(small, np.tile([0.2, 0.1, 0], (50, 1)), atol=1e-9)


def test_options(tmp_path):
    assert options_from_dict({'root': 'x', 'layout': 'assembly101'}) == RecordingOptions('x')
    assert not RecordingOptions('x').has_images
    with pytest.raises(ValueError, match='subjects must be a whole number from 3 to 999, got 2'):
        RecordingOptions('x', subjects=2)
    with pytest.raises(ValueError, match="'frames' is not an option of the two-hand pose sequences"):
        options_from_dict({'root': 'x', 'layout': 'assembly101', 'frames': 30})
    with pytest.raises(ValueError, match=r"'grab milks' is not an action .* Did you mean 'grab milk'"):
        write_dataset(options(tmp_path / 'x', actions=('grab milks',)))


def test_a_config_s_data_are_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config.py').write_text(
        "data_root = 'data'\nsynthetic_data = dict(root='$data_root', layout='assembly101', subjects=3,\n"
        "repetitions=1, recording_actions=1, actions=['flip sponge'], workers=1)\n"
        "model = dict(type='LastPose')\n"
    )
    make_missing(load_config('config.py'), 'config.py')
    assert 'wrote 3 sequences' in capsys.readouterr().out
    assert len(Assembly101('data', 'train')) == 1
