"""The configs of verb classification: published size and recipe, the modern one by options, and two steps of each."""

import pytest
import three_datasets
import torch

from handpose.engine import build_runner, load_config
from handpose.engine.adapter import collate
from handpose.models import TrainingStep
from handpose.registry import DATASETS, MODELS

MODERN = {'model': '$modern', 'optim_wrapper': '$cosine_optimizer', 'param_scheduler': '$cosine'}
PUBLISHED_SCALES = {'network.gcn_scales': 13, 'network.empty_scales': True}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    found = three_datasets.write_roots(tmp_path_factory.mktemp('data'))
    return {'data_root': found['assemblyhands_root'], 'assembly101_root': found['assembly101_root'], 'num_workers': 0}


@pytest.mark.parametrize(
    'options, millions',
    [({}, 2.86), (PUBLISHED_SCALES, 3.05), ({**PUBLISHED_SCALES, 'num_verbs': 1380}, 3.58)],
)
def test_published_size(options, millions):
    with torch.device('meta'):
        model = MODELS.build(load_config('assemblyhands/verbs', options).model)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def test_the_small_networks_have_the_same_size():
    """So that MS-G3D and the transformer are compared fairly: within 5 % of each other."""
    options = ({}, {'modern.network': '$transformer', 'optim_wrapper': '$adamw_optimizer'})
    models = [MODELS.build(load_config('assemblyhands/synthetic_verbs', chosen).model) for chosen in options]
    sizes = [sum(p.numel() for p in model.parameters()) for model in models]
    assert abs(sizes[1] / sizes[0] - 1) < 0.05


def test_recipes():
    published, modern = load_config('assemblyhands/verbs'), load_config('assemblyhands/verbs', MODERN)
    assert (published.model.coordinates, published.model.frames, published.model.padding) == (
        'absolute',
        'first',
        'zeros',
    )
    optimizer = published.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.nesterov, optimizer.weight_decay) == ('SGD', 0.05, True, 5e-4)
    assert published.param_scheduler[0].milestones == [30, 40] and published.epochs == 50
    assert modern.model.frames == 'uniform' and modern.param_scheduler[0].type == 'CosineAnnealingLR'
    assert modern.model.network == published.model.network


@pytest.mark.parametrize('options', [{}, MODERN], ids=['published', 'modern'])
def test_two_steps_at_the_published_size(options, roots):
    """From AssemblyHands' files to finite gradients that are not zero; three frames are enough for that."""
    options = {**roots, **options, 'num_frames': 3, 'verbs': None, 'repeats': None, 'num_verbs': 2}
    config = load_config('assemblyhands/verbs', options)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    batch = collate([dataset[i] for i in range(2)])['batch'].validate()
    torch.manual_seed(0)
    model = MODELS.build(config.model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for iteration in range(2):
        optimizer.zero_grad()
        model.loss(batch, TrainingStep(iteration))['loss_action'].backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
        optimizer.step()


def test_the_small_config_trains_and_tests(roots, tmp_path):
    """One epoch by the runner on a few seconds of Assembly101, tested as actions are."""
    sizes = {'network.channels': (6, 12), 'network.g3d_scales': 2, 'network.gcn_scales': 2, 'modern.num_frames': 6}
    options = {
        **sizes,
        'data_root': roots['assembly101_root'],
        'synthetic_data': None,
        'verbs': None,
        'repeats': None,
        'num_verbs': 2,
        'num_workers': 0,
        'batch_size': 2,
        'epochs': 1,
    }
    config = load_config('assemblyhands/synthetic_verbs', options)
    config.work_dir = str(tmp_path)
    runner = build_runner(config)
    runner.train()
    numbers = runner.val()
    assert {'action_accuracy', 'verb_accuracy', 'num_videos'} <= set(numbers)
    assert numbers['action_accuracy'] == numbers['verb_accuracy']
