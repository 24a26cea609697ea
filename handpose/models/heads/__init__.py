"""Heads: features to predictions, and the discriminator that judges them."""

from handpose.models.heads.dynamic_fusion_head import DynamicFusionHead, FusedPoses
from handpose.models.heads.hand_regression_head import HandParameters, HandRegressionHead, linear_from
from handpose.models.heads.motion_discriminator import MotionDiscriminator
from handpose.models.heads.motion_refinement_head import MotionRefinementHead, MotionUpdate

__all__ = [
    'DynamicFusionHead',
    'FusedPoses',
    'HandParameters',
    'HandRegressionHead',
    'MotionDiscriminator',
    'MotionRefinementHead',
    'MotionUpdate',
    'linear_from',
]
