"""Inference and training of a model at the paper's size on random inputs: frames per second and peak memory."""

import math
import statistics
import time

import torch

from handpose.engine import load_config
from handpose.engine.training import prepare_estimator, training_options
from handpose.experiments.benchmarks.cases.htt import random_video
from handpose.experiments.benchmarks.inputs import load, random_batch, training_batches
from handpose.registry import MODELS

CONFIGS = {
    'deformer': ('deformer/dexycb', 'deformer/synthetic_paper'),
    'htt': ('htt/h2o', 'htt/synthetic'),
    'pdtm': ('pdtm/dexycb', 'pdtm/synthetic'),
}
# Nothing is downloaded; without ImageNet's weights, batch norm must take its statistics from the batch.
FROM_SCRATCH = {
    'deformer': {'model.backbone.pretrained': None},
    'htt': {'model.backbone.pretrained': None, 'model.backbone.norm_eval': False},
    'pdtm': {},
}
SMALL = {
    'deformer': {'image_size': 32, 'model.backbone.base_channels': 8},
    'htt': {},
    'pdtm': {'test_stride': 1},
}
PRECISIONS = {'fp32': {}, 'bf16': {'amp': 'bfloat16'}, 'compiled': {'compile': True}}
VIDEO = {'htt': 512, 'pdtm': 1800}  # frames of the video that is predicted; Deformer: a clip
# Calls before timing, timed calls at least and at most, and seconds after which none begins.
WARM_UP, FEWEST, MOST, SECONDS = 2, 3, 20, 2.0


def measure(task, model, precision, device, small):
    """Measures one model.

    Args:
        task: 'inference' or 'training'.
        model: a key of `CONFIGS`.
        precision: a key of `PRECISIONS`.
        device: 'cuda' or 'cpu'.
        small: the small config and a few frames instead of the paper's.

    Returns:
        a dict of figures: `frames_per_second` and `seconds` (median, of a call), `frames` of a call, `first_seconds`,
        `calls`, `peak_memory_mib` (CUDA), `parameters`, and what `inference` and `training` add.

    Raises:
        AssertionError: an output or a loss is not finite.
    """
    torch.manual_seed(0)
    config = settings(model, small)
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    function = {'inference': inference, 'training': training}[task]
    return function(model, config, precision, device, small)


def settings(model, small):
    """The config of a model: the paper's, or the small one with a short clip."""
    path, options = CONFIGS[model][small], {} if small else dict(FROM_SCRATCH[model])
    if small:
        options |= {'num_frames': 3, 'batch_size': 2}
        options |= SMALL[model]
    return load_config(path, options) if model == 'htt' else load(path, options)


def make_batch(model, config, clips, frames, device):
    """A random batch of clips; HTT's has one clip, of two hands in one image."""
    if model == 'htt':
        return random_video(config, frames, device)
    batch = random_batch(clips, frames, config.image_size if model == 'deformer' else 8, device)
    if model == 'pdtm':
        noise = 0.005 * torch.randn(batch.joints_3d.shape).to(device)
        batch = batch.replace(
            meta=[{**meta, 'fps': config.frame_rate} for meta in batch.meta],
            input_joints_3d=batch.joints_3d + noise,
            input_valid=batch.hand_valid.clone(),
            input_confidence=torch.ones(batch.joints_3d.shape[:-1], device=device),
        )
    return batch


def inference(model, config, precision, device, small):
    """Predicts a clip (Deformer) or a video; adds the largest difference of a joint from float32, uncompiled (mm)."""
    estimator = MODELS.build(config.model).to(device).eval()
    frames = config.num_frames if small else VIDEO.get(model, config.num_frames)
    batch = make_batch(model, config, 1, frames, device)

    def predict():
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=precision == 'bf16'):
            return estimator.predict(batch).joints_3d

    with torch.no_grad():
        expected = estimator.predict(batch).joints_3d
    if precision == 'compiled':
        prepare_estimator(estimator, training_options({'training': PRECISIONS[precision]}))
    if device == 'cuda':
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    figures = timed(predict, frames, device, small)
    joints = predict()
    assert joints.isfinite().all(), 'the predicted joints are not finite'
    return figures | {
        'largest_difference_mm': 1000 * (joints.float() - expected.float()).abs().max().item(),
        'parameters': sum(parameter.numel() for parameter in estimator.parameters()),
    }


def training(model, config, precision, device, small):
    """Optimizer steps on a batch of the config's size, as the Runner does them; adds the first and the last losses."""
    clips = 1 if model == 'htt' else config.batch_size
    batch = make_batch(model, config, clips, config.num_frames, device)
    step = training_batches(config, device, PRECISIONS[precision], batch=batch)
    losses = []

    def run():
        losses.append(step())
        bad = [name for name, value in losses[-1].items() if not math.isfinite(value)]
        assert not bad, f'step {len(losses)}: {", ".join(bad)} not finite'

    figures = timed(run, clips * config.num_frames, device, small)
    return figures | {'clips': clips, 'first_losses': losses[0], 'last_losses': losses[-1]}


def timed(function, frames, device, small):
    """Calls a function to warm up and then for a while (small sizes: a few times); the figures are medians."""

    def seconds():
        synchronize(device)
        started = time.perf_counter()
        function()
        synchronize(device)
        return time.perf_counter() - started

    first = seconds()
    for _ in range(WARM_UP - 1):
        seconds()
    spent = []
    most = FEWEST if small else MOST
    while len(spent) < FEWEST or (len(spent) < most and sum(spent) < SECONDS):
        spent.append(seconds())
    median = statistics.median(spent)
    figures = {
        'frames_per_second': frames / median,
        'seconds': median,
        'seconds_low': min(spent),
        'seconds_high': max(spent),
        'first_seconds': first,
        'frames': frames,
        'calls': len(spent),
    }
    if device == 'cuda':
        figures['peak_memory_mib'] = torch.cuda.max_memory_allocated() / 2**20
    return figures


def synchronize(device):
    """Waits for the GPU."""
    if device == 'cuda':
        torch.cuda.synchronize()
