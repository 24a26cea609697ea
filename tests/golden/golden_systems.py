"""Golden runs of the systems: the losses of 20 seeded steps of training, one prediction, and its metrics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from golden_batches import make_batch, with_inputs
from golden_files import tensor_digest
from multi_view import multi_view_batch
from torch import Tensor, nn

from handpose.datasets.transforms import SplitFuture
from handpose.engine import load_config
from handpose.hands import ProceduralHand, Side
from handpose.models import Estimator, TrainingStep
from handpose.registry import METRICS, MODELS
from handpose.structures import HandSequence, with_true_vertices

CONFIGS = Path(__file__).parents[2] / 'configs'
STEPS = 20
TRAIN_SEEDS, TEST_SEED = (1, 2), 3  # of the batches


class System(NamedTuple):
    """How one golden run is made."""

    config: str  # below configs/
    options: dict[str, Any]  # make the system tiny
    batch: Callable[[int, int], HandSequence]  # of a seed and a number of frames
    train_frames: int
    test_frames: int  # more than one window
    lr: float
    metrics: tuple[dict[str, Any], ...]


def deformer_batch(seed: int, num_frames: int) -> HandSequence:
    return make_batch(seed, [[Side.RIGHT], [Side.LEFT]], num_frames, (32, 32))


def htt_batch(seed: int, num_frames: int) -> HandSequence:
    return make_batch(seed, [[Side.LEFT, Side.RIGHT]] * 2, num_frames, (64, 36), num_objects=5, num_actions=6)


def pdtm_batch(seed: int, num_frames: int) -> HandSequence:
    return with_inputs(make_batch(seed, [[Side.LEFT, Side.RIGHT]] * 2, num_frames, (32, 32)), seed)


def svegonet_batch(seed: int, num_frames: int) -> HandSequence:
    return make_batch(seed, [[Side.LEFT, Side.RIGHT]] * 2, num_frames, (64, 48))


def ghtt_batch(seed: int, num_frames: int) -> HandSequence:
    """Of the seed of the test: clips of `num_frames` observed frames, and their futures of 40 frames."""
    ahead = 40 if seed == TEST_SEED else 0
    size = num_frames + ahead
    batch = make_batch(seed, [[Side.LEFT, Side.RIGHT]] * 2, size, (8, 8), num_objects=5, num_actions=6)
    batch = with_inputs(batch.replace(images=None), seed)
    if not ahead:
        return batch
    split = SplitFuture(num_observed=num_frames)
    return HandSequence.stack([split(clip, np.random.default_rng(0)) for clip in batch.unstack()])


def verbs_batch(seed: int, num_frames: int) -> HandSequence:
    batch = make_batch(seed, [[Side.LEFT, Side.RIGHT]] * 3, num_frames, (8, 8), num_actions=6)
    return with_inputs(batch.replace(images=None), seed)


POSE_METRIC = dict(type='HandPoseMetric', breakdowns=('side', 'occlusion'))
MESH_METRIC = dict(type='HandMeshMetric')


def mvexonet_batch(seed: int, num_frames: int) -> HandSequence:
    """Two hands in four views, with detections of one of them far off."""
    batch = multi_view_batch(clips=1, frames=num_frames, cameras=4, seed=seed)
    batch.input_joints_3d[0, 0, 1] += 0.03
    meta = [{**meta, 'cameras': list('abcd'), 'fps': 30.0} for meta in batch.meta]
    return batch.replace(meta=meta, timestamps=(torch.arange(num_frames).double() / 30)[None])


ACTIONS = [f'action {n}' for n in range(6)]
GHTT_BLOCK = {
    'pose_block.channels': 16,
    'pose_block.num_layers': 1,
    'pose_block.num_heads': 2,
    'pose_block.feedforward_channels': 32,
}
SYSTEMS = {
    'deformer': System(
        config='deformer/synthetic_paper.py',
        options={
            'image_size': 32,
            'num_frames': 5,
            'frame_step': 1,
            'transformer.channels': 16,
            'transformer.feedforward_channels': 32,
            'model.channels': 16,
            'model.roi_size': 4,
            'model.backbone.base_channels': 8,
            'model.backbone.out_channels': 16,
            'model.head.in_channels': 16 + 42,
            'model.head.hidden_channels': (32, 32),
            'model.monocular_head.in_channels': 16,
            'model.monocular_head.hidden_channels': (32, 32),
            'model.loss.discriminator.hidden_channels': 16,
        },
        batch=deformer_batch,
        train_frames=5,
        test_frames=8,
        lr=1e-4,
        metrics=(POSE_METRIC, MESH_METRIC),
    ),
    'htt': System(
        config='htt/synthetic.py',
        options={
            'image_size': (64, 36),
            'num_frames': 8,
            'frame_step': 2,
            'channels': 32,
            'feedforward_channels': 64,
            'num_objects': 5,
            'num_actions': 6,
            'model.backbone.base_channels': 4,
        },
        batch=htt_batch,
        train_frames=8,
        test_frames=20,
        lr=5e-5,
        metrics=(
            # Untrained, it is far off: ranges that many joints lie in.
            dict(
                type='HandPoseMetric',
                auc_ranges=dict(cam=(0, 1000, 101), ra_wrist=(0, 500, 101)),
                pck_thresholds=(200,),
                breakdowns=('side',),
                count_wrist=False,
            ),
            dict(type='ActionMetric', pairs=[('action 0', 'action 1'), ('action 2', 'action 3')]),
        ),
    ),
    'pdtm': System(
        config='pdtm/synthetic.py',
        options={'num_frames': 9, 'test_stride': 4, 'model.channels': 16, 'model.kernel_size': 4},
        batch=pdtm_batch,
        train_frames=9,
        test_frames=16,
        lr=5e-4,
        metrics=(POSE_METRIC, MESH_METRIC),
    ),
    'mvexonet': System(
        config='assemblyhands/synthetic_mvexonet.py',
        options={
            'crop_size': 32,
            'resolution': 8,
            'volume_network.in_channels': 8,
            'volume_network.channels': (8, 8),
            'volume_network.stem_channels': 4,
            'model.backbone.variant': (0.25, 0.4),
            'model.backbone.strides': (4, 8),
            'model.train_views': (2, 4),
        },
        batch=mvexonet_batch,
        train_frames=2,
        test_frames=3,
        lr=1e-4,
        metrics=(POSE_METRIC,),
    ),
    'svegonet': System(
        config='assemblyhands/synthetic_svegonet.py',
        options={
            'crop_size': 32,
            'channels': 16,
            'backbone.base_channels': 8,
            'distributions.map_size': (8, 8),
            'distributions.cells': (16, 16, 16),
            'model.identity_head.hidden_channels': 8,
            'model.wrist_depth_head.hidden_channels': 8,
            'model.min_box': 10.0,
        },
        batch=svegonet_batch,
        train_frames=4,
        test_frames=6,
        lr=1e-3,
        metrics=(
            dict(
                type='HandPoseMetric',
                auc_ranges=dict(cam=(0, 1000, 101), ra_wrist=(0, 500, 101)),
                pck_thresholds=(200,),
                breakdowns=('side',),
            ),
            dict(type='InterHandMetric', hand_types='annotated'),
        ),
    ),
    'ghtt_pose': System(
        config='ghtt/synthetic_pose.py',
        options={**GHTT_BLOCK, 'test_samples': 2, 'std_scale': 1.0},
        batch=ghtt_batch,
        train_frames=32,
        test_frames=24,
        lr=1e-4,
        metrics=(POSE_METRIC, dict(type='ForecastMetric')),
    ),
    'verbs': System(
        config='assemblyhands/synthetic_verbs.py',
        options={
            'network.channels': (6, 12),
            'network.windows': (3,),
            'network.gcn_scales': 3,
            'network.g3d_scales': 2,
            'modern.num_frames': 6,
            'modern.class_balance': 0.5,
        },
        batch=verbs_batch,
        train_frames=9,
        test_frames=12,
        lr=5e-3,
        metrics=(dict(type='ActionMetric', per_class=ACTIONS), dict(type='InputPoseMetric')),
    ),
    'ghtt': System(
        config='ghtt/synthetic_action.py',
        options={
            **GHTT_BLOCK,
            'action_block.num_layers': 1,
            'action_block.num_heads': 2,
            'action_block.feedforward_channels': 32,
            'actions': ACTIONS,
            'objects': ['milk', 'book', 'spray', 'chips', 'cocoa'],
            'test_samples': 2,
            'std_scale': 1.0,
        },
        batch=ghtt_batch,
        train_frames=70,
        test_frames=40,
        lr=1e-4,
        metrics=(POSE_METRIC, dict(type='ForecastMetric'), dict(type='ActionMetric')),
    ),
}
DATASET_META = {'actions': ACTIONS, 'action_verb': [0, 0, 1, 1, 2, 2]}


@contextmanager
def deterministic(seed: int = 0, threads: int = 1) -> Iterator[None]:
    """One thread, deterministic algorithms and seeded draws; everything is as before afterwards."""
    threads_before = torch.get_num_threads()
    algorithms_before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(algorithms_before)
            torch.set_num_threads(threads_before)


def run_system(name: str, threads: int = 1, perturbation: float = 0.0) -> dict[str, Any]:
    """Trains a tiny system for 20 steps and lets it predict.

    Args:
        name: a key of `SYSTEMS`.
        threads: of torch; the golden files are made with one.
        perturbation: relative size of random changes of the initial weights, to measure how they grow.

    Returns:
        dict of 'losses', 'gradient_norms', 'parameters', 'prediction' and 'metrics'.
    """
    system = SYSTEMS[name]
    with deterministic(threads=threads):
        estimator = MODELS.build(load_config(CONFIGS / system.config, system.options).model)
        perturb(estimator, perturbation)
        losses, gradient_norms = train(estimator, system)
        batch = system.batch(TEST_SEED, system.test_frames)
        prediction = predict(estimator, batch)
        return {
            'losses': losses,
            'gradient_norms': gradient_norms,
            'parameters': parameters_digest(estimator),
            'prediction': {field: tensor_digest(value) for field, value in predicted_fields(prediction).items()},
            'metrics': evaluate(system.metrics, prediction, batch),
        }


def predicted_fields(prediction: HandSequence) -> dict[str, Tensor]:
    """{name: value} of a prediction, and of the futures where it has some."""
    if prediction.future is None:
        return prediction.present()
    futures = {f'future.{field}': value for field, value in prediction.future.present().items()}
    return {**prediction.present(), **futures}


def loss_of(estimator: Estimator, batch: HandSequence, step: int) -> dict[str, Tensor]:
    return estimator.loss(batch, TrainingStep(step, step / STEPS))


def predict(estimator: nn.Module, batch: HandSequence) -> HandSequence:
    return estimator.eval().predict(batch)


def train(estimator: nn.Module, system: System) -> tuple[dict[str, list[float]], list[float]]:
    """Returns {name: its value in every step} of all that `loss` gives, and the norm of the gradient in every step."""
    batches = [system.batch(seed, system.train_frames) for seed in TRAIN_SEEDS]
    # The rate of SGD is small, so that rounding differences between machines stay small.
    optimizer = torch.optim.SGD(estimator.parameters(), lr=system.lr, momentum=0.9)
    estimator.train()
    recorded: dict[str, list[float]] = {}
    gradient_norms = []
    for step in range(STEPS):
        losses = loss_of(estimator, batches[step % len(batches)], step)
        for name, value in losses.items():
            recorded.setdefault(name, []).append(float(value.detach()))
        optimizer.zero_grad()
        torch.stack([value for name, value in losses.items() if name.startswith('loss')]).sum().backward()
        gradient_norms.append(float(nn.utils.clip_grad_norm_(estimator.parameters(), max_norm=10.0)))
        optimizer.step()
    return recorded, gradient_norms


def perturb(estimator: nn.Module, size: float) -> None:
    if size:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in estimator.parameters():
                parameter.mul_(1 + size * torch.randn(parameter.shape, generator=generator))


def parameters_digest(estimator: nn.Module) -> dict[str, Any]:
    """How many parameters there are and how large they are after training, whatever they are called."""
    parameters = list(estimator.parameters())
    return {
        'count': sum(p.numel() for p in parameters),
        'magnitude': sum(sorted(float(p.detach().double().abs().sum()) for p in parameters)),
    }


def evaluate(
    configs: tuple[dict[str, Any], ...], prediction: HandSequence, target: HandSequence
) -> dict[str, dict[str, float]]:
    """{metric: {name: value}} of the prediction of a batch."""
    target = with_true_vertices(target, ProceduralHand())
    pairs = zip(prediction.unstack(), target.unstack(), strict=True)
    samples = [{'prediction': p, 'target': t} for p, t in pairs]
    results = {}
    for config in configs:
        metric = METRICS.build(dict(config))
        metric.dataset_meta = DATASET_META
        metric.process(None, samples)
        results[config['type']] = metric.evaluate(len(samples))
    return results
