"""The configs of SVEgoNet: published size and recipe, the rows and columns of Table 4, and two steps at full size."""

import pytest
import torch
from assemblyhands_files import IMAGE_FRAMES, NOT_SHOWN, write_images
from egocentric import egocentric_batch

from handpose.engine import build_runner, load_config
from handpose.models import TrainingStep
from handpose.registry import MODELS

SOFT = {'joint_head': '$soft_heatmaps', 'joint_loss': None, 'position_weight': 1.0}
DISTRIBUTIONS = {'joint_head': '$distributions', 'joint_loss': '$distribution_loss'}
PAPER, SMALL = 'assemblyhands/svegonet', 'assemblyhands/synthetic_svegonet'


@pytest.mark.parametrize('head', ['heatmaps', 'distributions'])
def test_published_size(head):
    """ResNet-50 without its classifier, a head of joints, and two of two linear layers."""
    pytest.importorskip('mmcv')
    with torch.device('meta'):
        model = MODELS.build(load_config(PAPER, DISTRIBUTIONS if head == 'distributions' else {}).model)
    joints = {
        'heatmaps': 2 * (16 * 256 * (2048 + 256 + 256) + 3 * 2 * 256 + 257 * 21 * 64),
        'distributions': (9 * 2048 + 1) * 84 + 129 * (256 + 256 + 64),
    }
    linear = 2 * 2049 * 512 + 513 * (3 + 2)
    found = sum(p.numel() for p in model.parameters())
    assert found == 23_508_032 + joints[head] + linear == {'heatmaps': 47_274_181, 'distributions': 27_231_449}[head]


def test_recipe():
    config = load_config(PAPER)
    assert (config.optim_wrapper.optimizer.type, config.optim_wrapper.optimizer.lr) == ('Adam', 1e-4)
    assert config.param_scheduler[0].milestones == [15, 17] and config.epochs == 20 and config.batch_size == 8
    model = config.model
    assert (model.crop_size, model.box_scale, model.depth_range, model.min_joints) == (256, 1.75, 0.4, 10)
    assert (model.joint_head.decode, model.loss.joint_loss.sigma, model.loss.joint_loss.peak) == ('argmax', 2.5, 255.0)
    assert model.identity_head.classes == 'exclusive' and model.other_hand


@pytest.mark.parametrize('name', [PAPER, SMALL])
def test_rows_and_columns_of_table_4(name):
    config = load_config(name, {'train_dataset': '$manual', 'test_labels': 'manual'})
    assert config.train_dataloader.dataset.label_set == config.test_dataloader.dataset.label_set == 'manual'
    config = load_config(name, {'train_dataset': '$both', 'test_dataloader.dataset': '$test_both'})
    split = 'val' if name == PAPER else 'test'  # the joints of the official test split are not public
    for loader, part in ((config.train_dataloader, 'train'), (config.test_dataloader, split)):
        assert [(p.label_set, p.split, p.views, p.cameras_per_clip) for p in loader.dataset.datasets] == [
            ('manual', part, 'ego', 1),
            ('automatic', part, 'ego', 1),
        ]
    assert load_config(name).train_dataloader.dataset.label_set == 'automatic'
    tracks = load_config(name, {'test_dataset.sampling': '$whole_tracks', 'test_batch_size': 1}).test_dataloader
    assert (tracks.dataset.sampling.type, tracks.batch_size, tracks.dataset.split) == ('Tracks', 1, split)


def test_wrists_that_are_given():
    config = load_config(SMALL, {'wrist_depth': 'input_joints', 'test_pipeline': '$given_wrists'})
    steps = [step.type for step in config.test_dataloader.dataset.pipeline]
    assert steps == ['LoadImages', 'GaussianJointNoise'] and config.model.wrist_depth == 'input_joints'


@pytest.mark.parametrize('options', [{}, SOFT, DISTRIBUTIONS], ids=['argmax', 'soft_argmax', 'distributions'])
def test_two_steps_at_the_published_size(options):
    """Finite gradients that are not zero, on the crops of two hands."""
    pytest.importorskip('mmcv')
    torch.manual_seed(0)
    model = MODELS.build(load_config(PAPER, {**options, 'backbone.pretrained': None}).model).train()
    batch = egocentric_batch(clips=1, frames=1, between=0.03)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for iteration in range(2):
        optimizer.zero_grad()
        losses = model.loss(batch, TrainingStep(iteration))
        torch.stack(list(losses.values())).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
        optimizer.step()


@pytest.mark.parametrize(
    'options',
    [{}, {**SOFT, 'wrist_depth': 'input_joints'}, {'joint_head': '$heatmaps', 'joint_loss': '$heatmap_loss',
      'position_weight': 0.0, 'identity_classes': 'independent', 'model.other_hand': False}],
    ids=['distributions', 'soft_argmax', 'argmax'],
)  # fmt: skip
def test_the_small_config_takes_every_head(options):
    pytest.importorskip('mmcv')
    torch.manual_seed(0)
    model = MODELS.build(load_config(SMALL, options).model)
    batch = egocentric_batch(clips=1, frames=1)
    torch.stack(list(model.loss(batch, TrainingStep()).values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.eval().predict(batch).validate().hand_valid.all()


def test_the_small_config_trains_and_tests(tmp_path):
    """One epoch by the runner, from AssemblyHands' files to all metrics."""
    pytest.importorskip('mmcv')
    for split in ('train', 'val'):
        write_images(tmp_path / 'data', split)
    sizes = {'crop_size': 32, 'channels': 8, 'backbone.base_channels': 4, 'distributions.map_size': (8, 8)}
    options = {**sizes, 'data_root': str(tmp_path / 'data'), 'synthetic_data': None, 'epochs': 1, 'clip_step': 1}
    options |= {'batch_size': 4, 'model.min_box': 10.0, 'val_evaluator': '$test_evaluator'}
    config = load_config(SMALL, options)
    config.work_dir = str(tmp_path / 'run')
    runner = build_runner(config)
    runner.train()
    numbers = runner.val()
    frames = 2 * IMAGE_FRAMES - len(NOT_SHOWN)
    # Both cameras have no box of the left hand in frame 3, and it is not annotated in frame 5, which one of them shows.
    assert numbers['num_samples'] == 2 * frames - 3
    assert numbers['num_frames_handedness'] == frames and numbers['num_missing'] == 0
    for name in ('mpjpe_ra_wrist_mm', 'mpjpe_cam_mm', 'auc_ra_wrist_0_50mm', 'mrrpe_mm', 'handedness_accuracy'):
        assert numbers[name] >= 0, name
