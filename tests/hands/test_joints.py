import os
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.hands import ProceduralHand, fit_hand
from handpose.hands.joints import (
    BONES,
    COMMON_JOINTS,
    FINGERTIPS,
    JOINT_ORDERS,
    MANO_JOINTS,
    PARENTS_21,
    from_common,
    permutation_to_common,
    to_common,
)

INTERHAND = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
# As published in the datasets' own toolkits: where each common joint lies in the dataset's order.
PUBLISHED = {
    'common': list(range(21)),
    'dexycb': list(range(21)),
    'h2o': list(range(21)),
    'hanco': list(range(21)),
    'freihand': list(range(21)),
    'ho3d': [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20],
    'fpha': [0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20],
    'assemblyhands': INTERHAND,
    'interhand': INTERHAND,
    'reinterhand': INTERHAND,
    'assembly101': [5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4],
    'reinterhand_24': [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22],
    'nyu': [11, -1, 10, 9, 8, -1, 7, -1, 6, -1, 5, -1, 4, -1, 3, -1, 2, -1, 1, -1, 0],
    'icvl': [-1, -1, 1, 2, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 12, 13, 14, -1, 15],
    'shrec': [0, *range(2, 22)],
    'mocap_17': [0, 2, 3, 4, -1, 5, 6, 7, -1, 8, 9, 10, -1, 11, 12, 13, -1, 14, 15, 16, -1],
    'mano': [0, 13, 14, 15, -1, 1, 2, 3, -1, 4, 5, 6, -1, 10, 11, 12, -1, 7, 8, 9, -1],
}


def test_the_common_order_and_its_tree():
    assert len(COMMON_JOINTS) == len(set(COMMON_JOINTS)) == 21
    assert COMMON_JOINTS[:9] == (
        'wrist', 'thumb_cmc', 'thumb_mcp', 'thumb_ip', 'thumb_tip', 'index_mcp', 'index_pip', 'index_dip', 'index_tip',
    )  # fmt: skip
    tips = ['thumb_tip', 'index_tip', 'middle_tip', 'ring_tip', 'little_tip']
    tips = ['thumb_tip', 'index_tip', 'middle_tip', 'ring_tip', 'little_tip']
    assert [COMMON_JOINTS[i] for i in FINGERTIPS] == tips
    assert PARENTS_21 == (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
    assert len(BONES) == 20 and all(PARENTS_21[child] == parent for parent, child in BONES)
    assert [name.split('_')[0] for name in MANO_JOINTS[1::3]] == ['index', 'middle', 'little', 'ring', 'thumb']


@pytest.mark.parametrize('name', JOINT_ORDERS)
def test_permutations_derived_from_names_are_the_published_ones(name):
    assert permutation_to_common(name) == PUBLISHED[name]


@pytest.mark.parametrize('name', JOINT_ORDERS)
def test_there_and_back(name):
    order = JOINT_ORDERS[name]
    stored = torch.arange(1.0, len(order) + 1)[None, :, None].expand(2, -1, 3)
    common, valid = to_common(stored, name)
    assert common.shape == (2, 21, 3)
    wrist = {'wrist'} if name == 'nyu' else set()  # the mean of two points
    named = [joint for joint in COMMON_JOINTS if joint in {*order, *wrist}]
    assert [COMMON_JOINTS[i] for i in range(21) if valid[i]] == named
    for i, joint in enumerate(COMMON_JOINTS[len(wrist) :], start=len(wrist)):
        assert common[0, i, 0] == (order.index(joint) + 1 if joint in order else 0)
    back, kept = from_common(common, name)
    assert [joint in COMMON_JOINTS for joint in order] == kept.tolist()
    assert torch.equal(back[:, kept], stored[:, kept]) and (back[:, ~kept] == 0).all()


def test_the_wrist_of_nyu_is_the_mean_of_two_points():
    stored = torch.randn(5, 14, 3, generator=torch.Generator().manual_seed(0))
    common, valid = to_common(stored, 'nyu')
    assert valid.sum() == 12
    torch.testing.assert_close(common[:, 0], (stored[:, 11] + stored[:, 12]) / 2)
    flags = torch.ones(2, 14, 1, dtype=torch.bool)
    flags[1, 12] = False
    assert to_common(flags, 'nyu')[0][:, 0, 0].tolist() == [True, False]


def test_missing_places_stay_zero_even_where_the_data_is_nan():
    joints = torch.full((21, 3), float('nan'))
    common, valid = to_common(joints, 'assembly101')
    assert not valid[1] and valid.sum() == 20 and (common[1] == 0).all()


def test_wrong_order_and_wrong_count_are_sentences():
    with pytest.raises(KeyError, match="Did you mean 'interhand'"):
        to_common(torch.zeros(21, 3), 'interhnd')
    with pytest.raises(ValueError, match="'mano' has 16 joints per hand, got a tensor of shape"):
        to_common(torch.zeros(21, 3), 'mano')
    with pytest.raises(ValueError, match='common 21'):
        from_common(torch.zeros(16, 3), 'mano')


REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', ''))


@pytest.mark.parametrize(
    'order, name, key, factor, step',
    [
        ('nyu', 'estimator_outputs/nyu_subject1.npz', 'truth', 1, 80),
        # Stored in left-handed axes: mirrored, it is the hand that it says.
        ('mocap_17', 'two_hands_mocap/manipnet_joints_m.npz', 'mug1_rightHand', -1, 160),
    ],
)
def test_recorded_skeletons_are_hands(order, name, key, factor, step):
    """Joints of real files in a partial order fit a right hand to a few millimetres, and a left one much less well."""
    if not (REAL / name).is_file():
        pytest.skip(f'needs HANDPOSE_REAL_DATA with {name}')
    stored = np.load(REAL / name)[key][::step] * [factor, 1, 1]
    joints, given = to_common(torch.from_numpy(stored), order)
    errors = [
        fit_hand(ProceduralHand(), joints, given.expand(len(joints), 21), side).error[:, given] for side in (0, 1)
    ]
    assert errors[1].mean() < 0.0035 and errors[0].mean() > 1.8 * errors[1].mean()
