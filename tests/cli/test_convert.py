"""`handpose convert` on files as users have them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion

from handpose.hands import from_common
from handpose.structures import load_predictions

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, 'tools/convert/to_predictions.py', *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_an_npz_with_a_key_of_another_name(tmp_path):
    np.savez(tmp_path / 'a.npz', joints=hand_motion(10))
    options = ['--fps', 30, '--hand', 'right', '--licence', 'CC0']
    code, said = run('mediapipe', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', *options)
    assert code != 0 and 'mediapipe takes' in said and "not 'joints'" in said and '--rename' in said
    renamed = ['--rename', 'joints=world_landmarks']
    code, said = run('mediapipe', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', *options, *renamed)
    assert code == 0 and '10 frames, 1 hand, 0 missing' in said, said
    back = load_predictions(tmp_path / 'b.npz')
    assert back.licence == 'CC0' and back.hand_side.tolist() == [1]


def test_json_with_frames_that_are_null(tmp_path):
    frames = [None if t == 4 else points.tolist() for t, points in enumerate(hand_motion(10))]
    (tmp_path / 'a.json').write_text(json.dumps(frames))
    code, said = run('mediapipe', tmp_path / 'a.json', '-o', tmp_path / 'b.npz', '--fps', 30, '--hand', 'left')
    assert code == 0, said
    assert np.flatnonzero(~load_predictions(tmp_path / 'b.npz').valid[:, 0]).tolist() == [4]


def test_lists_of_hands_that_differ_from_frame_to_frame(tmp_path):
    right, left = hand_motion(4), hand_motion(4, 'left', seed=1)
    frames = [[right[0].tolist(), left[0].tolist()], [left[1].tolist()], [], None]
    names = [['Right', 'Left'], ['Left'], [], []]
    (tmp_path / 'a.json').write_text(json.dumps(dict(world_landmarks=frames, handedness=names)))
    code, said = run('mediapipe', tmp_path / 'a.json', '-o', tmp_path / 'b.npz', '--fps', 30)
    assert code == 0 and '4 frames, 2 hands, 5 missing' in said, said
    back = load_predictions(tmp_path / 'b.npz')
    assert back.valid.tolist() == [[True, True], [True, False], [False, False], [False, False]]
    np.testing.assert_allclose(back.joints[1, 0], left[1] - left[1, :1], atol=1e-6)
    np.testing.assert_allclose(back.joints[0, 1], right[0] - right[0, :1], atol=1e-6)


def test_one_hand_or_an_empty_list(tmp_path):
    hand = hand_motion(3)
    frames = [hand[0].tolist(), [], hand[2].tolist()]
    (tmp_path / 'a.json').write_text(json.dumps(dict(world_landmarks=frames, handedness='Right')))
    code, said = run('mediapipe', tmp_path / 'a.json', '-o', tmp_path / 'b.npz', '--fps', 30)
    assert code == 0 and '3 frames, 1 hand, 1 missing' in said, said


def test_lists_that_differ_where_an_array_is_needed(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(dict(keypoints_3d=[[1, 2], [3]])))
    code, said = run('hamer', tmp_path / 'a.json', '-o', tmp_path / 'b.npz', '--fps', 30)
    assert code != 0 and 'keypoints_3d must be an array, but its lists have different lengths' in said, said
    (tmp_path / 'a.json').write_text('{"world_landmarks": [')
    code, said = run('mediapipe', tmp_path / 'a.json', '-o', tmp_path / 'b.npz', '--fps', 30)
    assert code != 0 and 'is not valid JSON' in said and 'Expecting' not in said, said


def test_mano_with_the_procedural_hand(tmp_path):
    values = dict(hand_pose=np.zeros((4, 1, 16, 3)), hand_shape=np.zeros((1, 10)), hand_transl=np.ones((4, 1, 3)))
    np.savez(tmp_path / 'a.npz', **values, fps=30)
    options = ['--hand', 'left', '--hand-model', 'procedural']
    code, said = run('mano', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', *options)
    assert code == 0 and "frame 'camera'" in said, said


def test_wilor(tmp_path):
    left = hand_motion(4, 'left')
    rows = dict(keypoints_3d=left - left[:, :1], cam_t=left[:, 0] + [0, 0, 20], is_right=np.zeros(4))
    rows |= dict(frame_index=np.arange(4), image_size=[640, 480], boxes=np.tile([10, 10, 90, 90], (4, 1)))
    np.savez(tmp_path / 'a.npz', **rows)
    code, said = run('wilor', tmp_path / 'a.npz', '-o', tmp_path / 'b.npz', '--fps', 30)
    assert code == 0 and "4 frames, 1 hand, 0 missing, frame 'camera', scale 'relative'" in said, said
    back = load_predictions(tmp_path / 'b.npz')
    np.testing.assert_allclose(back.joints[:, 0], left + [0, 0, 20], atol=1e-5)
    assert back.boxes[0, 0].tolist() == [10, 10, 90, 90] and np.isfinite(back.joints_2d).all()
    code, said = run('wilor', tmp_path / 'a.npz', '-o', tmp_path / 'c.npz', '--fps', 30, '--mirrored-left')
    assert code == 0, said
    mirrored = load_predictions(tmp_path / 'c.npz').joints[:, 0]
    np.testing.assert_allclose(mirrored, (left - left[:, :1]) * [-1, 1, 1] + rows['cam_t'][:, None], atol=1e-5)


def test_skeletons_that_lack_joints(tmp_path):
    there = 1000 * from_common(torch.from_numpy(hand_motion(6)), 'icvl')[0].numpy()
    np.save(tmp_path / 'a.npy', there)
    options = ['--hand', 'right', '--unit', 'millimetre', '--frame', 'camera', '--fps', 30]
    code, said = run('joints', tmp_path / 'a.npy', '-o', tmp_path / 'b.npz', *options)
    assert code != 0 and 'joints needs joint_order: give --joint-order' in said, said
    options += ['--joint-order', 'icvl']
    code, said = run('joints', tmp_path / 'a.npy', '-o', tmp_path / 'b.npz', *options)
    assert code == 0 and 'the hands lack wrist, thumb_cmc, index_dip' in said and '--infer-missing' in said, said
    assert load_predictions(tmp_path / 'b.npz').joints_valid[0, 0].sum() == 15
    code, said = run('joints', tmp_path / 'a.npy', '-o', tmp_path / 'c.npz', *options, '--infer-missing')
    assert code == 0 and 'the hands lack' not in said, said
    back = load_predictions(tmp_path / 'c.npz')
    assert back.joints_valid is None and back.joints_inferred[0, 0].sum() == 6


@pytest.mark.parametrize(
    'kind, name, options, words',
    [
        ('mediapipe', 'none.npz', [], 'that exists, got'),
        ('mediapipe', 'a.npy', ['--fps', '30'], 'needs handedness: give --hand'),
        ('mediapipe', 'a.npy', ['--hand', 'left'], 'either timestamps'),
        ('interhand', 'a.npy', ['--frame', 'camera', '--fps', '5'], '--rename HAS=valid'),
        ('hamer', 'a.npy', ['--rename', 'x=y'], "has no 'x'"),
    ],
)
def test_a_sentence_says_what_is_wrong(tmp_path, kind, name, options, words):
    np.save(tmp_path / 'a.npy', hand_motion(4))
    code, said = run(kind, tmp_path / name, '-o', tmp_path / 'b.npz', *options)
    assert code != 0 and words in said and 'Traceback' not in said, said
    assert not (tmp_path / 'b.npz').exists()
