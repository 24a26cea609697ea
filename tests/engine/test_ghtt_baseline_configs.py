"""The baselines of G-HTT in configs/ghtt/_baselines_.py: paper size, small ones by options, and a training step."""

import pytest
import torch
from smooth_clips import smooth_batch

from handpose.cli import test as test_command
from handpose.engine import load_config
from handpose.engine.config_files import configs_folder
from handpose.models import TrainingStep
from handpose.registry import MODELS

# Millions of parameters.
SIZES = {'pose_vqvae': 22.2, 'posegpt': 37.4, 'flat': 96.6, 'action_transformer': 3.2}
SMALL = dict(channels=16, num_layers=1, num_heads=2, feedforward_channels=16)
OPTIONS = {
    'pose_vqvae': {f'tokenizer.vqvae.{key}': value for key, value in SMALL.items()},
    'posegpt': {f'{part}.{key}': v for part in ('tokenizer.vqvae', 'posegpt.transformer') for key, v in SMALL.items()},
    'flat': {f'flat.block.{key}': value for key, value in SMALL.items()},
    'action_transformer': {f'action_transformer.{key}': value for key, value in SMALL.items()},
}


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(
        f'_base_ = [{str(configs_folder() / "ghtt" / "_baselines_.py")!r}]\n'
        "actions, objects = ['stir', 'pour milk'], ['spoon', 'milk']\n"
        'num_actions, frame_rate, num_observed, std_scale, test_samples = 2, 30.0, 16, 5.0, None\n'
        "model = '$posegpt'\n"
    )
    return path


@pytest.mark.parametrize('name', SIZES)
def test_size_of_the_papers(name, config_file):
    with torch.device('meta'):
        model = MODELS.build(load_config(config_file, {'model': f'${name}'}).model)
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - SIZES[name]) < 0.05


@pytest.mark.parametrize('name', SIZES)
def test_small_ones_train_and_predict(name, config_file):
    config = load_config(config_file, {'model': f'${name}', **OPTIONS[name]})
    torch.manual_seed(0)
    model, batch = MODELS.build(config.model), smooth_batch(2, 24)
    losses = model.train().loss(batch, TrainingStep())
    sum(value for term, value in losses.items() if 'loss' in term).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    model.eval().predict(batch).validate()


def test_both_stages_of_posegpt_share_the_tokenizer(config_file):
    options = {'tokenizer.vqvae.num_codes': 32, 'posegpt.transformer.num_codes': 32, **OPTIONS['posegpt']}
    parts = [
        MODELS.build(load_config(config_file, {'model': f'${n}', **options}).model).tokenizer
        for n in ('pose_vqvae', 'posegpt')
    ]
    parts[1].load_state_dict(parts[0].state_dict())


def test_those_without_parameters(config_file):
    config = load_config(config_file)
    assert list(config.compared) == ['last_pose', 'constant_velocity', 'damped_velocity']
    for settings in config.compared.values():
        assert not list(MODELS.build(settings).parameters())


def test_the_small_config():
    """All of them can be built; the flattened VAE is as large as P and A together."""
    counts = {}
    for name in (*SIZES, 'action'):
        model = MODELS.build(load_config('ghtt/synthetic_action', {'model': f'${name}'}).model)
        counts[name] = sum(p.numel() for p in model.parameters())
    assert abs(counts['flat'] / counts['action'] - 1) < 0.02, counts
    assert max(counts.values()) < 3e6


def test_baselines_with_one_future_are_compared_without_the_diversity_of_samples(monkeypatch, tmp_path):
    monkeypatch.setattr(test_command, 'build_runner', lambda config, *args, **options: config)
    config = load_config('ghtt/synthetic_action')
    config.work_dir = str(tmp_path)
    for name, count in (('last_pose', 1), ('model', 2)):
        estimator = MODELS.build(config.compared.last_pose if name == 'last_pose' else config.model)
        tested = test_command.build_test(config, name, estimator, [])
        assert [metric['type'] for metric in tested.test_evaluator] == ['ForecastMetric', 'APDMetric'][:count]
