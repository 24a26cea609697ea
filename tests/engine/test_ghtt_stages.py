"""A block P of another size than block A was trained with: the error message names block, file and sizes."""

import pytest
import torch

from handpose.engine.staging import initialize_submodules
from handpose.registry import MODELS
from handpose.zoo.load import load_weights

ACTION_BLOCK = dict(num_layers=1, num_heads=2, feedforward_channels=32)


def pose_block(**changes):
    return {**dict(channels=16, num_layers=1, num_heads=2, feedforward_channels=32), **changes}


def whole(**changes):
    names = dict(actions=['pour milk', 'open jar'], objects=['milk', 'jar'])
    return MODELS.build(dict(type='GHTT', pose_block=pose_block(**changes), action_block=ACTION_BLOCK, **names))


@pytest.fixture
def first_stage(tmp_path):
    block = MODELS.build(dict(type='GHTTPose', pose_block=pose_block()))
    torch.save({'state_dict': block.state_dict(), 'meta': {}}, tmp_path / 'pose.pth')
    return str(tmp_path / 'pose.pth')


def test_the_second_stage_starts_from_the_first(first_stage):
    ghtt = whole()
    initialize_submodules(ghtt, [(first_stage, 'pose_block')])
    stored = torch.load(first_stage, weights_only=True)['state_dict']
    for name, value in ghtt.pose_block.state_dict().items():
        torch.testing.assert_close(value, stored[f'pose_block.{name}'])


@pytest.mark.parametrize(
    'changes, words',
    [
        (
            dict(channels=32),
            r"pose.pth: tensor 'embedding.weight' has shape \(16, .*and pose_block of GHTT needs \(32, ",
        ),
        (
            dict(num_layers=2),
            r'pose.pth holds weights of another model than pose_block of GHTT: \d+ of its tensors are',
        ),
        (
            dict(feedforward_channels=64),
            r'has shape \(32, 16\), and pose_block of GHTT needs \(64, 16\); give pose_block',
        ),
    ],
)
def test_a_pose_block_of_another_size(first_stage, changes, words):
    with pytest.raises(ValueError, match=words) as error:
        initialize_submodules(whole(**changes), [(first_stage, 'pose_block')])
    assert 'options of the config that the file was trained with' in str(error.value)


def test_weights_of_the_whole_system_with_another_pose_block(tmp_path):
    torch.save({'state_dict': whole().state_dict(), 'meta': {}}, tmp_path / 'ghtt.pth')
    with pytest.raises(ValueError, match=r"tensor 'pose_block.* and GHTT needs \(64, 16\); give GHTT the options"):
        load_weights(whole(feedforward_channels=64), tmp_path / 'ghtt.pth')
    with pytest.raises(ValueError, match=r'action_block has 8 channels, but .* pose_block have 16'):
        MODELS.build(
            dict(
                type='GHTT',
                pose_block=pose_block(),
                action_block=dict(ACTION_BLOCK, channels=8),
                actions=['pour milk', 'open jar'],
                objects=['milk', 'jar'],
            )
        )
