"""How well the rounds of MVExoNet and its baselines estimate hands, by the number of views.

`handpose multi-view-report` measures the test split of a config such as assemblyhands/synthetic_mvexonet. Its rows are
those of Tables 2 and 3 of AssemblyHands (Ohkawa et al., CVPR 2023), and what shows what they are worth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handpose.datasets.transforms import ChooseViews
from handpose.evaluation.base import Metric
from handpose.geometry import boxes_from_points
from handpose.models.estimators.mvexonet import MIDDLE_MCP, MVExoNet
from handpose.registry import DATASETS, METRICS, TRANSFORMS
from handpose.structures import HandSequence

TRIANGULATION, CONSTANT, TRUE_START, ONE_VIEW = 'triangulation', 'constant hand', 'R1 from the truth', 'one view'
Numbers = dict[str, dict[str, float]]  # {row: {metric: value}}
Report = Callable[[int, int], None]  # samples that are done, all samples


class ReportError(ValueError):
    """A config whose test split cannot be measured; the message says why and what to do."""


def read_samples(settings: Mapping[str, Any], frame_step: int) -> tuple[list[HandSequence], Any]:
    """Reads the test split of a config once, before views are chosen and hands detected.

    Args:
        settings: config of the test dataset, whose pipeline ends with the transform that detects hands.
        frame_step: frames of a track from one that is kept to the next.

    Returns:
        The clips with their images, and that transform.

    Raises:
        ReportError: the pipeline does not load images or does not detect hands.
    """
    steps = [dict(step) for step in settings['pipeline']]
    kinds = [step['type'] for step in steps]
    if 'LoadImages' not in kinds or kinds[-1] not in ('SimulatedDetections', 'LoadDetections'):
        raise ReportError(
            f'the test pipeline must load images and end with SimulatedDetections or LoadDetections, got {kinds}; see '
            f'configs/assemblyhands/synthetic_mvexonet.py'
        )
    kept = [step for step in steps[:-1] if step['type'] not in ('ChooseViews', 'LoadImages')]
    dataset = DATASETS.build({**settings, 'pipeline': []})
    transforms = [TRANSFORMS.build(step) for step in ({'type': 'LoadImages'}, *kept)]
    samples = []
    for index in range(len(dataset)):
        clip = dataset[index]
        numbers = np.asarray(clip.meta['frame_indices']) - clip.meta['track_start']
        kept_frames = np.flatnonzero(numbers % frame_step == 0)
        if not len(kept_frames):
            continue
        clip = clip.select_frames(kept_frames)
        for transform in transforms:
            clip = transform(clip, np.random.default_rng([0, index]))
        samples.append(clip)
    return samples, TRANSFORMS.build(steps[-1])


def mean_hands(settings: Mapping[str, Any]) -> Tensor:
    """Computes the mean of the true hands of a split about their middle MCP.

    Args:
        settings: config of the training dataset; images are not read.

    Returns:
        (2, 21, 3) metres in the world's axes, left first.
    """
    settings = settings['dataset'] if settings['type'] == 'CachedDataset' else settings
    dataset = DATASETS.build({**settings, 'pipeline': [], 'sampling': {'type': 'Tracks'}})
    total, count = torch.zeros(2, 21, 3), torch.zeros(2)
    for index in range(len(dataset)):
        clip = dataset.read(index)
        complete = clip.require('joints_valid').all(-1)
        joints = clip.require('joints_3d')
        joints = joints - joints[..., MIDDLE_MCP, None, :]
        for hand, side in enumerate(clip.require('hand_side').tolist()):
            total[side] += joints[:, hand][complete[:, hand]].sum(0)
            count[side] += int(complete[:, hand].sum())
    return total / count.clamp_min(1)[:, None, None]


def measure_views(
    model: MVExoNet,
    samples: Sequence[HandSequence],
    detect: Any,
    metric: Mapping[str, Any],
    views: int,
    constant: Tensor | None = None,
    report: Report | None = None,
) -> Numbers:
    """Measures all rows with a number of views, drawn for each clip.

    Args:
        model: with its weights; every round that it makes is a row, 'R1', 'R2', ...
        samples: from `read_samples`.
        detect: the transform that detects hands.
        metric: config of `HandPoseMetric`.
        views: how many.
        constant: hands (2, 21, 3) about their middle MCP; None leaves their row out.
        report: is told the progress.

    Returns:
        {row: {name: value}}.
    """
    metrics: dict[str, Metric] = {}
    choose = ChooseViews(count=views)
    for index, sample in enumerate(samples):
        target = detect(choose(sample, np.random.default_rng([1, index])), np.random.default_rng([2, index]))
        for row, prediction in _rows(model, target, constant):
            metrics.setdefault(row, METRICS.build(dict(metric))).process(
                None, [{'prediction': prediction, 'target': target}]
            )
        if report is not None:
            report(index + 1, len(samples))
    return {row: _numbers(found) for row, found in metrics.items()}


def measure_one_view(
    model: MVExoNet, samples: Sequence[HandSequence], detect: Any, metric: Mapping[str, Any]
) -> Numbers:
    """Measures what one view gives where the place of the hand is known from all of them.

    The middle MCP is triangulated, since a single view has no depth; what the network sees is one view. A hand that
    this view does not see has no prediction.

    Args:
        model: with its weights; it is left as it was.
        samples: from `read_samples`.
        detect: the transform that detects hands.
        metric: config of `HandPoseMetric`.

    Returns:
        {ONE_VIEW: {name: value}}, of the first round, the only one that does not lose the depth.
    """
    built, choose = METRICS.build(dict(metric)), ChooseViews(count=1)
    kept = model.min_views, model.num_rounds
    model.min_views, model.num_rounds = 1, 1
    for index, sample in enumerate(samples):
        target = choose(detect(sample, np.random.default_rng([2, index])), np.random.default_rng([1, index]))
        prediction = model.predict(HandSequence.stack([target])).unstack()[0]
        built.process(None, [{'prediction': prediction, 'target': target}])
    model.min_views, model.num_rounds = kept
    return {ONE_VIEW: _numbers(built)}


def _rows(model: MVExoNet, sample: HandSequence, constant: Tensor | None) -> Iterator[tuple[str, HandSequence]]:
    """The predictions of one clip by the row that they belong to."""
    found, valid = sample.require('input_joints_3d'), sample.require('input_valid')
    joints_valid = valid[..., None].expand(found.shape[:-1])
    yield TRIANGULATION, sample.replace(joints_3d=found, joints_valid=joints_valid)
    if constant is not None:
        placed = constant[sample.require('hand_side')] + found[..., MIDDLE_MCP, None, :]
        yield CONSTANT, sample.replace(joints_3d=placed, joints_valid=joints_valid)
    batch = HandSequence.stack([sample])
    for number, prediction in enumerate(model.predict_rounds(batch), 1):
        yield f'R{number}', prediction.unstack()[0]
    rounds, model.num_rounds = model.num_rounds, 1
    known = batch.require('joints_2d_valid').all(-1)[..., None]
    boxes = torch.where(known, boxes_from_points(batch.require('joints_2d')), 0.0)
    start = batch.replace(boxes=boxes, input_joints_3d=batch.joints_3d, input_valid=batch.hand_valid)
    yield TRUE_START, model.predict(start).unstack()[0]
    model.num_rounds = rounds


def _numbers(metric: Metric) -> dict[str, float]:
    return {name: float(value) for name, value in metric.evaluate(metric.num_samples).items()}
