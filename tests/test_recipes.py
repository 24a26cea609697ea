"""The code of the recipe pages runs as it is printed."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion

from handpose.datasets import PoseFiles
from handpose.hands import from_common
from handpose.hands.joints import FINGERTIPS

RECIPES = Path(__file__).parents[1] / 'docs' / 'recipes'


def code_of(page):
    (code,) = re.findall(r'^```python\n(.*?)^```$', (RECIPES / page).read_text(), re.DOTALL | re.MULTILINE)
    return code


@pytest.fixture
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures('_one_thread')
def test_skeleton_classification():
    code = code_of('skeleton_classification.md')
    assert code.count('\n') <= 60
    page = {}
    exec(compile(code, 'skeleton_classification.md', 'exec'), page)
    assert page['accuracy'] > 0.8  # chance is a third


def capture_of(side, seed):
    """(40, 17, 3): a hand as a capture in a left-handed world with y up has it, 1.5 m behind the camera's plane."""
    joints, _ = from_common(torch.from_numpy(hand_motion(40, side, seed)), 'mocap_17')
    joints[:, 1] = joints[:, 0]  # the second point at the base of the thumb, which is not used
    return (joints.numpy() - [0, 0, 1.5]) * [1, -1, 1]


def test_two_hand_motion_capture(tmp_path, monkeypatch):
    code = compile(code_of('two_hand_motion_capture.md'), 'two_hand_motion_capture.md', 'exec')
    hands = {'left': capture_of('left', 0), 'right': capture_of('right', 1)}
    takes = {f'cup_{side}Hand': joints for side, joints in hands.items()} | {'pen_rightHand': hands['right'].copy()}
    takes['pen_rightHand'][3, 7] = np.nan
    np.savez(tmp_path / 'takes.npz', **takes)
    monkeypatch.setattr(sys, 'argv', ['convert_takes.py', str(tmp_path / 'takes.npz'), str(tmp_path / 'out')])
    exec(code, {})
    both, right = PoseFiles(tmp_path / 'out', min_frames=10)  # resampled from 120 to 30 frames a second
    known = [j for j in range(21) if j not in FINGERTIPS]
    assert both.joints_valid.all((0, 1)).nonzero()[:, 0].tolist() == known
    for hand, (side, seed) in enumerate((('left', 0), ('right', 1))):
        expected = hand_motion(40, side, seed)[::4]
        np.testing.assert_allclose(both.joints_3d[:, hand][:, known], expected[:, known], atol=1e-6)
    assert right.hand_valid.tolist() == [[False, True]] * 10 and right.joints_valid[1:, 1, known].all()
    np.savez(tmp_path / 'takes.npz', cup_leftHand=hands['right'])
    with pytest.raises(SystemExit, match='cup: the fingers of the left hand bend backwards: negate one axis'):
        exec(code, {})


def test_real_two_hand_motion_capture(tmp_path, monkeypatch):
    """A real capture: the recipe's check finds the sides right, and refuses the capture with exchanged hands."""
    path = Path(os.environ.get('HANDPOSE_REAL_DATA', 'none')) / 'two_hands_mocap' / 'manipnet_joints_m.npz'
    if not path.is_file():
        pytest.skip('HANDPOSE_REAL_DATA names no folder with two_hands_mocap')
    code = compile(code_of('two_hand_motion_capture.md'), 'two_hand_motion_capture.md', 'exec')
    sides = ('leftHand', 'rightHand')
    with np.load(path) as found:
        takes = {f'{take}_{side}': found[f'{take}_{side}'][:480] for take in ('mug1', 'teapot2') for side in sides}
    np.savez(tmp_path / 'takes.npz', **takes)
    monkeypatch.setattr(sys, 'argv', ['convert_takes.py', str(tmp_path / 'takes.npz'), str(tmp_path / 'out')])
    exec(code, {})
    for clip in PoseFiles(tmp_path / 'out'):
        assert len(clip.frame_valid) == 120 and clip.joints_valid.sum((-1, -2)).unique().tolist() == [32]
        step = clip.joints_3d.diff(dim=0).norm(dim=-1)
        assert step.max() < 0.1  # no joint moves faster than 3 m/s
    np.savez(tmp_path / 'takes.npz', mug1_leftHand=takes['mug1_rightHand'], mug1_rightHand=takes['mug1_leftHand'])
    with pytest.raises(SystemExit, match='mug1: the fingers of the left hand bend backwards'):
        exec(code, {})


def test_every_recipe_is_tested():
    assert {path.name for path in RECIPES.glob('*.md')} == {'skeleton_classification.md', 'two_hand_motion_capture.md'}
