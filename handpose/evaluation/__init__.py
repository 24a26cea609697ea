"""Metrics: pure functions on arrays, and the registered classes that an evaluator calls."""

from handpose.evaluation.actions import ActionMetric
from handpose.evaluation.bootstrap import PairedDifference, paired_bootstrap
from handpose.evaluation.functional import (
    acceleration_errors,
    align_pair,
    align_vertices,
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
from handpose.evaluation.interhand import InterHandMetric
from handpose.evaluation.metrics import HandMeshMetric, HandPoseMetric
from handpose.evaluation.submissions.dexycb import DexYCBResults, read_dexycb_results, score_dexycb_results
from handpose.evaluation.submissions.h2o import H2OSubmission, write_h2o_submission
from handpose.evaluation.submissions.ho3d import HO3DSubmission, read_ho3d_submission, score_ho3d_submission
from handpose.evaluation.summary import load_records
from handpose.evaluation.table import metrics_table

__all__ = [
    'ActionMetric',
    'DexYCBResults',
    'H2OSubmission',
    'HO3DSubmission',
    'HandMeshMetric',
    'HandPoseMetric',
    'InterHandMetric',
    'PairedDifference',
    'acceleration_errors',
    'align_pair',
    'align_vertices',
    'auc',
    'auc_scores',
    'f_score',
    'joint_mean',
    'load_records',
    'metrics_table',
    'mpjpe',
    'mpvpe',
    'paired_bootstrap',
    'pck',
    'pck_scores',
    'point_errors',
    'read_dexycb_results',
    'read_ho3d_submission',
    'score_dexycb_results',
    'score_ho3d_submission',
    'write_h2o_submission',
]
