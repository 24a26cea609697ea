"""Metrics: pure functions on arrays, and the registered classes that an evaluator calls."""

from handpose.evaluation.functional import (
    acceleration_errors,
    align_pair,
    auc,
    auc_scores,
    f_score,
    joint_mean,
    mpjpe,
    mpvpe,
    pck,
    pck_scores,
    point_errors,
)
from handpose.evaluation.metrics import HandMeshMetric, HandPoseMetric
from handpose.evaluation.summary import load_records
from handpose.evaluation.table import metrics_table

__all__ = [
    'HandMeshMetric',
    'HandPoseMetric',
    'acceleration_errors',
    'align_pair',
    'auc',
    'auc_scores',
    'f_score',
    'joint_mean',
    'load_records',
    'metrics_table',
    'mpjpe',
    'mpvpe',
    'pck',
    'pck_scores',
    'point_errors',
]
