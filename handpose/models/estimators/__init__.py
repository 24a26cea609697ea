"""The systems, one per file, whose forward passes read top to bottom; `base.py` has the interface they share."""

from handpose.models.estimators.base import (
    EncodedFrames,
    Estimator,
    Gives,
    Reads,
    TrainingStep,
    VideoEstimator,
)
from handpose.models.estimators.constant_hand import ConstantHand, fit_constant_hands
from handpose.models.estimators.deformer import Deformer, DeformerOutput
from handpose.models.estimators.deformer_loss import DeformerLoss
from handpose.models.estimators.dstformer import DSTformer
from handpose.models.estimators.htt import HTT, HTTOutput
from handpose.models.estimators.htt_loss import HTTLoss
from handpose.models.estimators.motion_filters import (
    GaussianFilter,
    InputMotion,
    MotionFilter,
    OneEuroFilter,
    SavitzkyGolayFilter,
    StillHand,
)
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.estimators.pdtm import PDTM
from handpose.models.estimators.refinement_loss import RefinementLoss
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.models.estimators.smoothnet import SmoothNet

__all__ = [
    'HTT',
    'PDTM',
    'ConstantHand',
    'DSTformer',
    'Deformer',
    'DeformerLoss',
    'DeformerOutput',
    'EncodedFrames',
    'Estimator',
    'GaussianFilter',
    'Gives',
    'HTTLoss',
    'HTTOutput',
    'InputMotion',
    'MotionFilter',
    'MotionRefiner',
    'OneEuroFilter',
    'Reads',
    'RefinedMotion',
    'RefinementLoss',
    'RunningAction',
    'SavitzkyGolayFilter',
    'SmoothNet',
    'StillHand',
    'TrainingStep',
    'VideoEstimator',
    'fit_constant_hands',
    'running_action',
]
