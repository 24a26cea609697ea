"""The systems: each file holds one, and its forward pass can be read there top to bottom."""

from handpose.models.estimators.constant_hand import ConstantHand, fit_constant_hands
from handpose.models.estimators.deformer import Deformer, DeformerOutput
from handpose.models.estimators.deformer_loss import DeformerLoss
from handpose.models.estimators.dstformer import DSTformer
from handpose.models.estimators.htt import HTT, HTTOutput, VideoOutput
from handpose.models.estimators.htt_loss import HTTLoss
from handpose.models.estimators.motion_filters import (
    GaussianFilter,
    InputMotion,
    OneEuroFilter,
    SavitzkyGolayFilter,
    StillHand,
)
from handpose.models.estimators.motion_refiner import HandTruth, MotionRefiner, RefinedMotion
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
    'GaussianFilter',
    'HTTLoss',
    'HTTOutput',
    'HandTruth',
    'InputMotion',
    'MotionRefiner',
    'OneEuroFilter',
    'RefinedMotion',
    'RefinementLoss',
    'RunningAction',
    'SavitzkyGolayFilter',
    'SmoothNet',
    'StillHand',
    'VideoOutput',
    'fit_constant_hands',
    'running_action',
]
