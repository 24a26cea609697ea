"""Staged training: submodules that start from files, submodules that stay as they are, and the step given to losses."""

import pytest
import torch
from run_random_clips import CONFIG, train

from handpose.engine import load_config, staging
from handpose.engine.staging import find_submodule, freeze_submodules, initialize_submodules, staging_options
from handpose.models import Deformer, TrainingStep
from handpose.registry import MODELS
from handpose.zoo.load import load_weights
from handpose.zoo.publish import make_header, publish

OPTIONS = {'model.backbone.base_channels': 8}


def build():
    return MODELS.build(load_config(CONFIG, {'num_frames': 3, **OPTIONS}).model)


def weights(runner):
    return {name.removeprefix('estimator.'): v.clone() for name, v in runner.model.state_dict().items()}


@pytest.fixture(scope='module')
def first_stage(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first')
    return weights(train(folder, 1, OPTIONS)), folder / 'epoch_1.pth'


def test_second_stage_on_a_frozen_backbone(first_stage, tmp_path):
    """The backbone keeps its weights and batch norm statistics, the rest trains, and resuming changes nothing."""
    first, checkpoint = first_stage
    options = {**OPTIONS, 'init_from': [(str(checkpoint), 'backbone')], 'freeze': ['backbone']}
    runner = train(tmp_path / 'whole', 2, options)
    found = weights(runner)
    backbone = [name for name in found if name.startswith('backbone.')]
    assert any('running_mean' in name for name in backbone)
    for name in backbone:
        assert torch.equal(found[name], first[name]), name
    assert not torch.equal(found['head.pose.weight'], first['head.pose.weight'])
    held = {id(p) for group in runner.optim_wrapper.param_groups for p in group['params']}
    estimator = runner.model.estimator
    assert held.isdisjoint(id(p) for p in estimator.backbone.parameters())
    assert held == {id(p) for name, p in estimator.named_parameters() if not name.startswith('backbone.')}
    train(tmp_path / 'parts', 1, options)
    for name, value in weights(train(tmp_path / 'parts', 2, options)).items():
        assert torch.equal(value, found[name]), name
    published, _ = publish(
        estimator, make_header(estimator, load_config(CONFIG), 'Apache-2.0'), tmp_path / 'a.safetensors'
    )
    again = build()
    load_weights(again, published)
    assert torch.equal(again.backbone.state_dict()[backbone[0].removeprefix('backbone.')], first[backbone[0]])


def test_init_from_comes_after_load_from(first_stage, tmp_path):
    first, checkpoint = first_stage
    head = {name.removeprefix('head.'): torch.zeros_like(v) for name, v in first.items() if name.startswith('head.')}
    torch.save({'state_dict': head, 'meta': {}}, tmp_path / 'head.pth')
    frozen = {**OPTIONS, 'freeze': ['head', 'backbone'], 'init_from': [(str(tmp_path / 'head.pth'), 'head')]}
    found = weights(train(tmp_path / 'run', 1, frozen, start=str(checkpoint)))
    assert all((value == 0).all() for name, value in found.items() if name.startswith('head.'))
    assert all(torch.equal(value, first[name]) for name, value in found.items() if name.startswith('backbone.'))


def test_files_that_do_not_fit(first_stage, tmp_path):
    first, checkpoint = first_stage
    estimator = build()
    with pytest.raises(ValueError, match=r"init_from names 'bakcbone', which is no submodule.*Did you mean 'backbone'"):
        initialize_submodules(estimator, [(str(checkpoint), 'bakcbone')])
    part = {name.replace('backbone.', 'back_bone.'): v for name, v in first.items() if name.startswith('backbone.')}
    torch.save({'state_dict': part, 'meta': {}}, tmp_path / 'renamed.pth')
    with pytest.raises(ValueError, match=r"no weights of 'backbone'.*Did you mean 'back_bone'"):
        initialize_submodules(estimator, [(str(tmp_path / 'renamed.pth'), 'backbone')])
    torch.save({'state_dict': {'head.pose.weight': torch.zeros(3, 3)}, 'meta': {}}, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match='of another model than head of Deformer'):
        initialize_submodules(estimator, [(str(tmp_path / 'part.pth'), 'head')])
    with pytest.raises(ValueError, match=r'no weights .*none\.pth: there is no file'):
        initialize_submodules(estimator, [(str(tmp_path / 'none.pth'), 'head')])


def test_submodules_deeper_down(first_stage):
    first, checkpoint = first_stage
    estimator = build()
    initialize_submodules(estimator, [(str(checkpoint), 'head.trunk'), (str(checkpoint), 'normalizer')])
    for name, value in find_submodule(estimator, 'head.trunk', 'init_from').state_dict().items():
        assert torch.equal(value, first[f'head.trunk.{name}'])


def test_another_normalization_is_warned_of(first_stage, monkeypatch):
    _, checkpoint = first_stage
    estimator = build()
    warnings = []
    monkeypatch.setattr(staging, 'print_log', lambda message, *_: warnings.append(message))
    initialize_submodules(estimator, [(str(checkpoint), 'backbone')])
    assert not warnings
    estimator.normalizer.mean += 1
    initialize_submodules(estimator, [(str(checkpoint), 'backbone')])
    assert len(warnings) == 1 and 'was trained on images of mean (123.6' in warnings[0]
    estimator.normalizer.std += 1
    initialize_submodules(estimator, [(str(checkpoint), 'backbone')])
    assert len(warnings) == 3 and 'was trained on images of std (58.3' in warnings[2]
    initialize_submodules(estimator, [(str(checkpoint), 'backbone'), (str(checkpoint), 'normalizer')])
    assert len(warnings) == 3


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(init_from='stage1.pth'), "init_from must be a list of \\(file, prefix\\).*got 'stage1.pth'"),
        (dict(init_from=['stage1.pth']), "got 'stage1.pth'"),
        (dict(init_from=[('stage1.pth', 'head', 'neck')]), 'init_from must be a list'),
        (dict(freeze='backbone'), "freeze must be a list of prefixes.*got 'backbone'"),
    ],
)
def test_keys_that_are_not_lists(config, message):
    with pytest.raises(ValueError, match=message):
        staging_options(config)


def test_freezing_all_or_nothing():
    assert staging_options({}) == ([], []) and freeze_submodules(build(), []) == []
    with pytest.raises(ValueError, match="freeze names 'hand_model', which is no submodule with weights"):
        freeze_submodules(build(), ['hand_model'])
    estimator = build()
    everything = [name for name, child in estimator.named_children() if any(True for _ in child.parameters())]
    with pytest.raises(ValueError, match='leaves nothing of Deformer to train'):
        freeze_submodules(estimator, everything)


def test_losses_are_given_the_step(monkeypatch, tmp_path):
    """Iterations count over epochs, and progress is the share of the run that is done."""
    steps, loss = [], Deformer.loss
    monkeypatch.setattr(Deformer, 'loss', lambda self, batch, step: steps.append(step) or loss(self, batch, step))
    train(tmp_path, 2, OPTIONS)
    assert steps == [TrainingStep(n, n / 8) for n in range(8)]
