"""G-HTT at the paper's size on its three datasets: two steps of each block, and the tables that its names come from.

`python tests/engine/test_ghtt_paper_configs.py` prints the sizes.
"""

from pathlib import Path

import pytest
import three_datasets
import torch

from handpose.cli import main
from handpose.engine import build_runner, load_config
from handpose.engine.adapter import collate
from handpose.engine.staging import freeze_submodules
from handpose.models import TrainingStep
from handpose.registry import DATASETS, METRICS, MODELS

PARAMETERS = {'pose': 48_245_907, 'action': 96_600_723}


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    """Those that open the data, with the tables of names that the command makes of it."""
    folder = tmp_path_factory.mktemp('data')
    found = three_datasets.write_roots(folder)
    words = [f'{key}={value}' for key, value in found.items() if key.endswith('_root')]
    for kind in ('actions', 'objects'):
        out = str(folder / f'{kind}.npz')
        main('text-features', ['--config', 'ghtt/action', '--only', kind, '-o', out, '--cfg-options', *words])
        found[kind] = out
    return found


def two_steps(config):
    """Trains on two clips; every parameter that is not frozen must get a finite gradient that is not zero.

    Returns:
        The model.
    """
    dataset = DATASETS.build(config.train_dataloader.dataset)
    longest = sorted(range(len(dataset)), key=lambda i: -len(dataset[i].frame_valid))[:2]
    batch = collate([dataset[i] for i in longest])['batch'].validate()
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    freeze_submodules(model, config['freeze'])
    trained = {name: p for name, p in model.train().named_parameters() if p.requires_grad}
    settings = config.optim_wrapper.optimizer
    optimizer = torch.optim.AdamW(trained.values(), lr=settings.lr, weight_decay=settings.weight_decay)
    for iteration in (3, 5):  # those whose draws give one of two clips the skip connection, without which P has no keys
        losses = model.loss(batch, TrainingStep(iteration))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        for name, parameter in trained.items():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name
        optimizer.step()
    return model


def count_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize('name', PARAMETERS)
def test_two_steps_at_the_size_of_the_paper(name, options):
    config = load_config(f'ghtt/{name}', options)
    assert config.train_dataloader.batch_size == 256 and config.train_cfg.max_epochs == dict(pose=80, action=200)[name]
    model = two_steps(config)
    assert count_parameters(model) == PARAMETERS[name], count_parameters(model)
    millions = f'{PARAMETERS[name] / 1e6:.1f} M parameters'
    assert millions in Path(config.filename).read_text()


def test_every_part_of_the_configs_can_be_built(options):
    pose, action = load_config('ghtt/pose', options), load_config('ghtt/action', options)
    for config in (pose, action):
        for split in ('val', 'test'):
            assert len(DATASETS.build(config[f'{split}_dataloader'].dataset))
            assert all(METRICS.build(metric) for metric in config[f'{split}_evaluator'])
    with torch.device('meta'):
        sizes = {name: count_parameters(MODELS.build(pose[name])) for name in ('pose_vqvae', 'action_transformer')}
    assert sizes['pose_vqvae'] > 2e7


def test_names_of_the_data(options, tmp_path):
    """A table in another order, or without a name, stops the training before it begins."""
    config = load_config('ghtt/action', {**options, **SMALL, 'init_from': []})
    model = MODELS.build(config.model)
    assert model.action_names[:4] == ['pick up wheel', 'screw cab', 'pick up cab', 'grab book']
    assert len(model.object_names) == len(set(model.object_names))
    for kind, change, message in (
        (
            'objects',
            lambda names: names[::-1],
            r"model's objects must be those of DatasetMix.*object 0 is 'cappuccino' .* and 'cab' in the data",
        ),
        ('actions', lambda names: names[:-1], r'action 38 is None in the model \(of 38\) and .* in the data \(of 39\)'),
    ):
        names = tmp_path / 'names.txt'
        names.write_text('\n'.join(change(getattr(model, f'{kind[:-1]}_names'))))
        main('text-features', [str(names), '-o', str(tmp_path / 'table.npz')])
        changed = load_config('ghtt/action', {
            **options, **SMALL, 'init_from': [], 'batch_size': 2, kind: str(tmp_path / 'table.npz'),
        })  # fmt: skip
        changed.work_dir = str(tmp_path / 'work')
        with pytest.raises(ValueError, match=message):
            build_runner(changed)


SMALL = {
    f'{block}.{key}': value
    for block in ('pose_block', 'action_block')
    for key, value in dict(num_layers=1, num_heads=2, feedforward_channels=16).items()
} | {'pose_block.channels': 16}


if __name__ == '__main__':
    for name in PARAMETERS:
        config = load_config(f'ghtt/{name}', {'actions': ['pour milk'], 'objects': ['milk']})
        print(f'{name}: {count_parameters(MODELS.build(config.model)) / 1e6:.1f} M parameters')
