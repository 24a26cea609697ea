"""Metrics: pure functions on arrays, and the registered classes that an evaluator calls.

Every module of this package is imported, so that a metric in a new module is registered without being listed anywhere.
"""

import pkgutil
from importlib import import_module

from handpose.evaluation.actions import ActionMetric
from handpose.evaluation.alignment import align_pair, align_vertices
from handpose.evaluation.base import Metric, build_metrics, specs_of, with_records
from handpose.evaluation.bootstrap import PairedDifference, paired_bootstrap
from handpose.evaluation.forecast import APDMetric, ForecastMetric
from handpose.evaluation.functional import (
    acceleration_errors,
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
from handpose.evaluation.input_poses import InputPoseMetric
from handpose.evaluation.interhand import InterHandMetric
from handpose.evaluation.mesh import HandMeshMetric
from handpose.evaluation.motion_distance import (
    FeatureStatistics,
    average_pairwise_distance,
    feature_statistics,
    frechet_distance,
)
from handpose.evaluation.motion_fid import FeatureNetwork, MotionFID
from handpose.evaluation.pose import HandPoseMetric
from handpose.evaluation.spec import MetricSpec, find_spec, headlines
from handpose.evaluation.submissions.dexycb import DexYCBResults, read_dexycb_results, score_dexycb_results
from handpose.evaluation.submissions.h2o import H2OSubmission, write_h2o_submission
from handpose.evaluation.submissions.ho3d import HO3DSubmission, read_ho3d_submission, score_ho3d_submission
from handpose.evaluation.submissions.predictions_folder import PredictionsFolder
from handpose.evaluation.summary import load_records
from handpose.evaluation.table import metrics_table

__all__ = [
    'APDMetric',
    'ActionMetric',
    'DexYCBResults',
    'FeatureNetwork',
    'FeatureStatistics',
    'ForecastMetric',
    'H2OSubmission',
    'HO3DSubmission',
    'HandMeshMetric',
    'HandPoseMetric',
    'InputPoseMetric',
    'InterHandMetric',
    'Metric',
    'MetricSpec',
    'MotionFID',
    'PairedDifference',
    'PredictionsFolder',
    'acceleration_errors',
    'align_pair',
    'align_vertices',
    'auc',
    'auc_scores',
    'average_pairwise_distance',
    'build_metrics',
    'f_score',
    'feature_statistics',
    'find_spec',
    'frechet_distance',
    'headlines',
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
    'specs_of',
    'with_records',
    'write_h2o_submission',
]

for _module in pkgutil.walk_packages(__path__, f'{__name__}.'):
    import_module(_module.name)
