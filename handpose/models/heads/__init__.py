"""Heads: features to predictions, and the discriminator of motions."""

from handpose.models.heads.action_head import ActionHead, ActionLogits
from handpose.models.heads.action_tokenizer import ActionTokenizer
from handpose.models.heads.dynamic_fusion_head import DynamicFusionHead, FusedPoses
from handpose.models.heads.hand_identity_head import HandIdentityHead, identity_scores
from handpose.models.heads.hand_regression_head import HandRegressionHead, RegressedHand, linear_from
from handpose.models.heads.joints_25d_heads import Distribution25DHead, Heatmap25DHead, Joints25D
from handpose.models.heads.motion_discriminator import MotionDiscriminator
from handpose.models.heads.motion_refinement_head import MotionRefinementHead, MotionUpdate
from handpose.models.heads.object_head import ObjectHead
from handpose.models.heads.pose_25d_head import Pose25D, Pose25DHead
from handpose.models.heads.temporal_kernel import TemporalKernel
from handpose.models.heads.wrist_depth_head import WristDepthHead

__all__ = [
    'ActionHead',
    'ActionLogits',
    'ActionTokenizer',
    'Distribution25DHead',
    'DynamicFusionHead',
    'FusedPoses',
    'HandIdentityHead',
    'HandRegressionHead',
    'Heatmap25DHead',
    'Joints25D',
    'MotionDiscriminator',
    'MotionRefinementHead',
    'MotionUpdate',
    'ObjectHead',
    'Pose25D',
    'Pose25DHead',
    'RegressedHand',
    'TemporalKernel',
    'WristDepthHead',
    'identity_scores',
    'linear_from',
]
