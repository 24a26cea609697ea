"""Options for speed and memory: they run, and those that should not change the numbers do not."""

import os

import pytest
import torch
from random_clips import RandomClips
from run_random_clips import CONFIG, train
from torch import nn

from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.engine.runner import leave_cores_to_workers
from handpose.engine.training import prepare_estimator, training_options
from handpose.models import TrainingStep
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
