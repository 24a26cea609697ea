"""The metrics: poses and meshes that a test run can reduce in a second."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist

from handpose.evaluation import HandMeshMetric, HandPoseMetric, point_errors
from handpose.evaluation.functional import f_score
from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.structures import HandSequence

POSES, PLAIN_POSES, VERTICES = 4096, 512, 778
THRESHOLDS = (5.0, 15.0)


def points(count: int, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted and true points (count, number, 3), millimetres, about 10 mm apart."""
    random = np.random.default_rng(0)
    target = random.normal(0, 40, (count, number, 3))
    return target + random.normal(0, 6, target.shape), target


@case('pose')
def pa_mpjpe(settings: Settings) -> Work:
    """Procrustes-aligned joint errors of poses with 21 joints, batched."""
    prediction, target = points(POSES, 21)
    return Work(lambda: point_errors(prediction, target, alignment='procrustes'), POSES)


@pa_mpjpe.reference
def pa_mpjpe_loop(settings: Settings) -> Work:
    """One pose after the other with scipy, as official evaluators do."""
    prediction, target = (part[:PLAIN_POSES] for part in points(POSES, 21))
    return Work(
        lambda: np.stack([_aligned_errors(*pair) for pair in zip(prediction, target, strict=True)]), PLAIN_POSES
    )


def _aligned_errors(prediction: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    means = prediction.mean(0), target.mean(0)
    centred = prediction - means[0], target - means[1]
    norms = [np.linalg.norm(part) for part in centred]
    rotation, scale = orthogonal_procrustes(centred[1] / norms[1], centred[0] / norms[0])
    aligned = centred[0] / norms[0] @ rotation.T * scale * norms[1] + means[1]
    return np.linalg.norm(aligned - target, axis=1)


@case('hand')
def f_scores(settings: Settings) -> Work:
    """F-scores at 5 and 15 mm of meshes with 778 vertices."""
    prediction, target = points(8, VERTICES)
    return Work(lambda: [f_score(p, t, THRESHOLDS) for p, t in zip(prediction, target, strict=True)], 8)


@f_scores.reference
def f_scores_by_all_distances(settings: Settings) -> Work:
    """Nearest neighbours from the table of all distances."""
    prediction, target = points(8, VERTICES)
    return Work(lambda: [_f_score(p, t) for p, t in zip(prediction, target, strict=True)], 8)


def _f_score(prediction: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    distances = cdist(prediction, target)
    scores = []
    for threshold in THRESHOLDS:
        precision, recall = ((distances.min(axis) < threshold).mean() for axis in (1, 0))
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.array(scores)


def pairs(clips: int, frames: int, vertices: int | None = None) -> list[dict[str, HandSequence]]:
    """Random predictions and truths of right hands, as the metrics get them."""
    made = []
    for number in range(clips):
        draw = torch.Generator().manual_seed(number)
        ones = torch.ones(frames, 1, dtype=torch.bool)
        common: dict[str, Any] = dict(
            meta={'sequence': f'clip {number}', 'cameras': ['0'], 'frame_indices': list(range(frames))},
            frame_valid=ones[:, 0],
            hand_side=torch.tensor([1]),
            hand_valid=ones,
            joints_valid=ones[..., None].expand(-1, -1, 21),
        )
        joints = [0.05 * torch.randn(frames, 1, 21, 3, generator=draw) for _ in range(2)]
        meshes: list[torch.Tensor | None] = [None, None]
        if vertices:
            meshes = [0.05 * torch.randn(frames, 1, vertices, 3, generator=draw) for _ in range(2)]
        both = [HandSequence(joints_3d=j, vertices=v, **common) for j, v in zip(joints, meshes, strict=True)]
        made.append(
            dict(prediction=both[0], target=both[1].replace(occlusion=torch.rand(frames, 1, 1, generator=draw)))
        )
    return made


def evaluation(metric: type[BaseMetric], samples: Sequence[Any]) -> dict[str, float]:
    """Runs a metric from the first sample to its numbers."""
    made = metric()
    made.process(None, samples)
    return made.evaluate(len(samples))


@case('pose')
def joint_metrics(settings: Settings) -> Work:
    """Everything that HandPoseMetric reports: five alignments, AUC, PCK, acceleration, all breakdowns."""
    clips, frames = 20, 100
    samples = pairs(clips, frames)
    return Work(lambda: evaluation(HandPoseMetric, samples), clips * frames)


@case('hand')
def mesh_metrics(settings: Settings) -> Work:
    """Everything that HandMeshMetric reports on meshes with 778 vertices, F-scores included."""
    clips, frames = 2, 20
    samples = pairs(clips, frames, VERTICES)
    return Work(lambda: evaluation(HandMeshMetric, samples), clips * frames)
