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
from handpose.models.estimators.deformer import Deformer
from handpose.models.estimators.deformer_components import DeformerOutput
from handpose.models.estimators.deformer_loss import DeformerLoss
from handpose.models.estimators.dstformer import DSTformer
from handpose.models.estimators.flat_motion_vae import FlatMotionVAE
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.estimators.frame_hand_object import FrameHandObject, FrameHandObjectOutput
from handpose.models.estimators.frame_hand_object_loss import FrameHandObjectLoss
from handpose.models.estimators.ghtt import GHTT
from handpose.models.estimators.ghtt_blocks import GHTTActionBlock, GHTTPoseBlock
from handpose.models.estimators.ghtt_pose import GHTTPose
from handpose.models.estimators.hand_track_fit import HandModelTrackFit
from handpose.models.estimators.htt import HTT, HTTOutput
from handpose.models.estimators.htt_loss import HTTLoss
from handpose.models.estimators.kalman_smoother import KalmanSmoother
from handpose.models.estimators.kernel_smoother import KernelSmoother
from handpose.models.estimators.log_error_loss import LogErrorLoss
from handpose.models.estimators.motion_action_transformer import MotionActionTransformer
from handpose.models.estimators.motion_filters import (
    GaussianFilter,
    InputMotion,
    MotionFilter,
    OneEuroFilter,
    SavitzkyGolayFilter,
    StillHand,
)
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.estimators.motion_tokenizer import MotionTokenizer
from handpose.models.estimators.mvexonet import MVExoNet
from handpose.models.estimators.mvexonet_loss import JointTarget, MVExoNetLoss, MVExoNetOutput
from handpose.models.estimators.pdtm import PDTM
from handpose.models.estimators.pose_vqvae import PoseVQVAE
from handpose.models.estimators.posegpt import PoseGPT
from handpose.models.estimators.refinement_loss import RefinementLoss
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.models.estimators.simple_forecasters import ConstantVelocity, DampedVelocity, LastPose
from handpose.models.estimators.smoothnet import SmoothNet
from handpose.models.estimators.svegonet import SVEgoNet
from handpose.models.estimators.svegonet_loss import SVEgoNetLoss, SVEgoNetOutput
from handpose.models.estimators.verb_classifier import VerbClassifier

__all__ = [
    'GHTT',
    'HTT',
    'PDTM',
    'ConstantHand',
    'ConstantVelocity',
    'DSTformer',
    'DampedVelocity',
    'Deformer',
    'DeformerLoss',
    'DeformerOutput',
    'EncodedFrames',
    'Estimator',
    'FlatMotionVAE',
    'Forecaster',
    'FrameHandObject',
    'FrameHandObjectLoss',
    'FrameHandObjectOutput',
    'GHTTActionBlock',
    'GHTTPose',
    'GHTTPoseBlock',
    'GaussianFilter',
    'Gives',
    'HTTLoss',
    'HTTOutput',
    'HandModelTrackFit',
    'InputMotion',
    'JointTarget',
    'KalmanSmoother',
    'KernelSmoother',
    'LastPose',
    'LogErrorLoss',
    'MVExoNet',
    'MVExoNetLoss',
    'MVExoNetOutput',
    'MotionActionTransformer',
    'MotionFilter',
    'MotionRefiner',
    'MotionTokenizer',
    'OneEuroFilter',
    'PoseGPT',
    'PoseVQVAE',
    'Reads',
    'RefinedMotion',
    'RefinementLoss',
    'RunningAction',
    'SVEgoNet',
    'SVEgoNetLoss',
    'SVEgoNetOutput',
    'SavitzkyGolayFilter',
    'SmoothNet',
    'StillHand',
    'TrainingStep',
    'VerbClassifier',
    'VideoEstimator',
    'fit_constant_hands',
    'running_action',
]
