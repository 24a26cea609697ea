"""Errors of the poses that a classifier read, against closed forms."""

import pytest
import torch

from handpose.evaluation import InputPoseMetric
from handpose.structures import HandSequence, SequenceError


def clip(name, joints, valid=None, frame='world'):
    valid = torch.ones(joints.shape[:-1], dtype=torch.bool) if valid is None else valid
    meta = dict(dataset='toys', sequence=name)
    return HandSequence(meta=meta, frame=frame, hand_side=torch.tensor([0, 1]), joints_3d=joints, joints_valid=valid)


def evaluated(pairs):
    metric = InputPoseMetric()
    metric.process(None, [dict(prediction=prediction, target=target) for prediction, target in pairs])
    return metric.evaluate(len(pairs))


def test_errors():
    truth = torch.rand(4, 2, 21, 3, generator=torch.Generator().manual_seed(0))
    truth[..., 0, :] = torch.tensor([0.0, 0.0, 0.5])
    truth[:, 1, 0, 0] = 0.2  # the wrists are 200 mm apart
    moved = truth.clone()
    moved[..., 1:, 1] += 0.021  # 20 of 21 joints by 21 mm: 20 mm
    moved[:, 1] += torch.tensor([0.03, 0.0, 0.0])  # the right hand as a whole: only the distance changes
    numbers = evaluated([(clip('a', moved), clip('a', truth))])
    assert numbers['input_mpjpe_ra_wrist_mm'] == pytest.approx(20, abs=1e-4)
    assert numbers['input_hand_distance_error_mm'] == pytest.approx(30, abs=1e-4)
    assert numbers['num_input_hands'] == 8 and numbers['num_missing_input_hands'] == 0
    # A repeated clip counts once; clips are weighted by their hands.
    perfect = clip('b', truth[:2]), clip('b', truth[:2])
    numbers = evaluated([(clip('a', moved), clip('a', truth)), perfect, perfect])
    assert numbers['input_mpjpe_ra_wrist_mm'] == pytest.approx(20 * 8 / 12, abs=1e-4)


def test_missing_hands_and_joints():
    truth = torch.rand(3, 2, 21, 3, generator=torch.Generator().manual_seed(0))
    given, known = torch.ones(3, 2, 21, dtype=torch.bool), torch.ones(3, 2, 21, dtype=torch.bool)
    given[0, 0] = False  # no estimate
    given[1, 1, 5] = False  # an estimate without a joint
    known[2, 1] = False  # not annotated
    moved = truth.clone()
    moved[..., 5, 0] += 0.021
    numbers = evaluated([(clip('a', moved, given), clip('a', truth, known))])
    assert numbers['num_input_hands'] == 4 and numbers['num_missing_input_hands'] == 1
    assert numbers['input_mpjpe_ra_wrist_mm'] == pytest.approx(3 / 4, abs=1e-4)  # 21 mm / 21 joints in 3 of 4 hands


def test_frames():
    joints = torch.zeros(2, 2, 21, 3)
    numbers = evaluated([(clip('a', joints, frame='wrist'), clip('a', joints, frame='wrist'))])
    assert numbers['input_mpjpe_ra_wrist_mm'] == 0 and 'input_hand_distance_error_mm' not in numbers
    with pytest.raises(SequenceError, match=r"in frame 'camera', and the truth .* in frame 'world'"):
        evaluated([(clip('a', joints, frame='camera'), clip('a', joints))])
    without = clip('a', joints).replace(joints_3d=None, joints_valid=None)
    assert evaluated([(clip('a', joints), without)]) == {'num_input_hands': 0, 'num_missing_input_hands': 0}
