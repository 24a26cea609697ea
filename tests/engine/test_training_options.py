"""Options for speed and memory: they run, and those that should not change the numbers do not."""

import os

import pytest
import torch
from random_clips import RandomClips
from run_random_clips import CONFIG, train
from torch import nn
from torch._dynamo.utils import counters

from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.engine.runner import leave_cores_to_workers
from handpose.engine.training import prepare_estimator, training_options
from handpose.models import TrainingStep
from handpose.models.layers import onednn
from handpose.registry import MODELS


def test_the_network_leaves_cores_to_the_workers_of_the_loader(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: range(8), raising=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    try:
        for workers, expected in ((3, 5), (9, 1), (0, 1)):  # without workers, all stays as it is
            leave_cores_to_workers(workers)
            assert torch.get_num_threads() == expected
        monkeypatch.setenv('OMP_NUM_THREADS', '1')
        leave_cores_to_workers(3)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def build(**options):
    """The small Deformer with fixed weights, prepared as `options` ask for."""
    config = load_config(CONFIG)
    torch.manual_seed(0)
    estimator = MODELS.build(config.model)
    config.training.update(options)
    prepare_estimator(estimator, training_options(config))
    return estimator


def step(estimator, batch):
    """Gradients and batch statistics after one loss, with dropout drawn from a fixed seed."""
    estimator.train()
    torch.manual_seed(1)
    losses = estimator.loss(batch, TrainingStep())
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    numbers = {name: p.grad for name, p in estimator.named_parameters() if p.grad is not None}
    return {**numbers, **dict(estimator.named_buffers())}


@pytest.fixture(scope='module')
def batch():
    clips = RandomClips(length=2, size=64)
    return collate([clips[0], clips[1]])['batch']


def assert_close(numbers, expected):
    """Equal to a ten-thousandth of each tensor's largest number: float32 sums in another order."""
    assert numbers.keys() == expected.keys()
    for name, value in expected.items():
        room = 1e-4 * value.abs().max().item() + 1e-7
        torch.testing.assert_close(numbers[name], value, rtol=0, atol=room, msg=name)


def test_recomputing_changes_nothing(batch):
    """Not the gradients, and not the statistics of batch norm, which a recomputed block must not count twice."""
    plain, recomputed = step(build(), batch), step(build(activation_checkpointing=True), batch)
    assert plain.keys() == recomputed.keys()
    for name, value in plain.items():
        assert torch.equal(recomputed[name], value), name


def test_channels_last_changes_nothing():
    """In double precision; in single, batch norm over few pixels turns rounding into other signs of a ReLU."""

    def gradients(channels_last):
        torch.manual_seed(0)
        backbone = MODELS.build(load_config(CONFIG).model.backbone).double()
        prepare_estimator(backbone, training_options(dict(training=dict(channels_last=channels_last))))
        features = backbone(torch.rand(2, 3, 64, 64, dtype=torch.float64))
        assert features.is_contiguous(memory_format=torch.channels_last) or not channels_last
        features.square().sum().backward()
        return {name: p.grad for name, p in backbone.named_parameters()}

    plain, last = gradients(False), gradients(True)
    for name, value in plain.items():
        torch.testing.assert_close(last[name], value, rtol=1e-9, atol=1e-9 * value.abs().max().item(), msg=name)


def test_channels_last_of_3d_convolutions():
    """They have a layout of their own; a network with both kinds of convolution has both."""
    network = torch.nn.Sequential(torch.nn.Conv3d(4, 8, 3), torch.nn.Conv2d(4, 8, 3), torch.nn.Linear(4, 8))
    weights = [p.clone() for p in network.parameters()]
    prepare_estimator(network, training_options(dict(training=dict(channels_last=True))))
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), weights, strict=True))


def test_recomputing_forgets_what_is_inside_a_block(batch):
    """Counts the bytes kept for the backward pass."""

    def kept(estimator):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        estimator.train()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            estimator.loss(batch, TrainingStep())
        return sum(sizes.values())

    assert kept(build(activation_checkpointing=True)) < 0.8 * kept(build())


def test_compiled_parts_keep_their_names_and_numbers(batch):
    estimator = build(compile='monocular_head')
    assert estimator.state_dict().keys() == build().state_dict().keys()
    assert_close(step(estimator, batch), step(build(), batch))


@pytest.mark.parametrize('config', ['htt/synthetic', 'pdtm/synthetic', CONFIG])
def test_compiled_parts_are_not_compiled_again_for_every_length(config, monkeypatch):
    """The first lengths show that the number of frames varies; after them no length needs another graph."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, 'compile', lambda module: compile_module(module, backend='eager'))
    torch._dynamo.reset()
    model = load_config(config).model
    estimator = MODELS.build(model).eval()
    prepare_estimator(estimator, training_options(dict(training=dict(compile=True))))
    compiled = []
    for length in (5, 6, 7, 8, 9, 12, 4):
        counters.clear()
        run_once(estimator, length)
        compiled.append(counters['stats']['unique_graphs'])
    torch._dynamo.reset()
    assert compiled[0] > 0 and compiled[3:] == [0, 0, 0, 0]


@torch.no_grad()
def run_once(estimator, length):
    """Runs a network on `length` frames of noise."""
    valid = torch.ones(1, length, dtype=torch.bool)
    if 'images' not in estimator.reads.fields:
        estimator(0.05 * torch.randn(1, length, 21, 3), valid)
        return
    width, height = estimator.reads.image_size or (64, 64)
    images = torch.randint(0, 256, (1, length, 3, height, width), dtype=torch.uint8)
    if 'intrinsics' in estimator.reads.fields:
        estimator(images, torch.eye(3).expand(1, length, 3, 3), valid)
    else:
        estimator(images, torch.tensor([5.0, 5, 60, 60]).expand(1, length, 4), torch.zeros(1, dtype=torch.int64), valid)


def options_on(monkeypatch, cuda, bfloat16, **given):
    """What `training_options` decides on a machine with or without a CUDA card that has bfloat16."""

    def has_bfloat16(including_emulation):
        assert not including_emulation
        return bfloat16

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', has_bfloat16)
    options = training_options(dict(training=given))
    return options['amp'], options['compile'], options['channels_last']


@pytest.mark.parametrize(
    'cuda, bfloat16, given, expected',
    [
        (False, False, {}, (False, False, None)),
        (False, False, dict(amp='auto', compile='auto'), (False, False, None)),
        (False, False, dict(amp=True), (True, False, None)),
        (False, False, dict(channels_last=False), (False, False, False)),
        (True, False, dict(amp='auto', compile='auto'), (False, False, False)),
        (True, True, {}, (False, False, False)),
        (True, True, dict(amp='auto', compile='auto'), ('bfloat16', True, True)),
        (True, True, dict(amp='auto', channels_last=False), ('bfloat16', False, False)),
        (True, True, dict(amp='float16', compile='backbone'), ('float16', 'backbone', True)),
    ],
)
def test_what_auto_means(monkeypatch, cuda, bfloat16, given, expected):
    assert options_on(monkeypatch, cuda, bfloat16, **given) == expected


@pytest.mark.parametrize('channels_last', [None, False])
def test_backbones_are_channels_last_on_the_cpu(monkeypatch, channels_last):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    estimator = build(channels_last=channels_last)
    weight = estimator.backbone.resnet.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == (channels_last is None)


def test_onednn_and_layout_change_no_gradient(batch, monkeypatch):
    """Forces oneDNN, which only some processors use, against the estimator as it was built."""
    monkeypatch.setattr(onednn, 'is_onednn_faster', lambda: torch.backends.mkldnn.is_available())
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    torch.manual_seed(0)
    plain = MODELS.build(load_config(CONFIG).model)
    assert_close(losses_of(build(channels_last=None), batch), losses_of(plain, batch))


def losses_of(estimator, batch):
    """Losses without dropout; in training, batch norm over few pixels turns rounding into other signs of a ReLU."""
    with torch.no_grad():
        return estimator.eval().loss(batch, TrainingStep())


def test_trains_with_everything_on(tmp_path):
    options = {
        'training.amp': 'bfloat16',
        'training.accumulate': 2,
        'training.activation_checkpointing': True,
        'training.channels_last': True,
        'epochs': 1,
    }
    runner = train(tmp_path, 1, options)
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.parametrize(
    'option, words',
    [
        (dict(ampp=True), "no option 'ampp'. Did you mean 'amp'"),
        (dict(amp='half'), "True, False, 'float16' or 'bfloat16', got 'half'"),
        (dict(accumulate=0), 'at least 1, got 0'),
        (dict(compile='bakbone'), "'bakbone', which is not a child module of Deformer. Did you mean 'backbone'"),
    ],
)
def test_bad_options(option, words):
    with pytest.raises(ValueError, match=words):
        build(**option)


def test_half_precision_needs_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='needs a CUDA device; use bfloat16'):
        training_options(dict(training=dict(amp='float16')))


def test_nothing_to_recompute():
    options = training_options(dict(training=dict(activation_checkpointing=True)))
    with pytest.raises(ValueError, match='has no block'):
        prepare_estimator(nn.Linear(2, 2), options)
