"""Weights are given by the path of a file or by a name of the model zoo, wherever a checkpoint is expected."""

from pathlib import Path

import pytest
import torch

import handpose
from handpose.cli.checkpoints import require_checkpoint
from handpose.engine import load_config
from handpose.engine.staging import initialize_submodules
from handpose.registry import MODELS
from handpose.zoo.fetch import get
from handpose.zoo.find import find_weights

NAME = 'pdtm_synthetic'


def test_a_name_gives_the_file_of_the_zoo():
    assert find_weights(NAME) == get(NAME)
    assert require_checkpoint(load_config('pdtm/synthetic'), 'pdtm/synthetic', NAME) == str(get(NAME))


def test_a_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(NAME).mkdir()  # a folder of that name is no file of weights
    assert find_weights(NAME) == get(NAME)
    Path(NAME).rmdir()
    Path(NAME).touch()
    assert find_weights(NAME) == Path(NAME)


@pytest.mark.parametrize(
    'weights, hint',
    [
        ('pdtm_syntetic', rf"Did you mean '{NAME}'\?"),
        ('nowhere/epoch_1.pth', r'Give the path of a \.pth checkpoint'),
        ('mediapipe_hand_full', 'no estimator with this name in the model zoo'),
    ],
)
def test_the_message_names_both_possibilities(weights, hint):
    with pytest.raises(ValueError, match=f'no weights {weights}: there is no file with this path, .*{hint}'):
        find_weights(weights)


def test_a_submodule_starts_from_the_zoo():
    estimator = MODELS.build(load_config('pdtm/synthetic').model)
    initialize_submodules(estimator, [(NAME, 'embedding')])
    published = handpose.load(NAME).embedding.state_dict()
    assert all(torch.equal(value, published[key]) for key, value in estimator.embedding.state_dict().items())
