"""Necks: features to features, over space or time."""

from handpose.models.necks.code_transformer import CodeTransformer
from handpose.models.necks.dynamic_spatio_temporal import DynamicSpatioTemporalBlock
from handpose.models.necks.dynamic_tcn import DeformableTemporalConv, DynamicTemporalConv
from handpose.models.necks.global_temporal import GlobalTemporalBlock
from handpose.models.necks.hand_prior_memory import HandPriorMemory
from handpose.models.necks.joint_transformer import JointTransformer
from handpose.models.necks.motion_encoders import DSTformerEncoder, MotionFeatures, PDTMEncoder
from handpose.models.necks.motion_vae import LatentDistribution, MotionVAEDecoder, MotionVAEEncoder
from handpose.models.necks.motion_vqvae import MotionVQVAE, ReconstructedMotion
from handpose.models.necks.ms_g3d import MSG3D
from handpose.models.necks.object_aggregator import ObjectAggregator
from handpose.models.necks.spatial_transformer import SpatialFeatures, SpatialTransformer
from handpose.models.necks.temporal_transformer import TemporalFeatures, TemporalTransformer
from handpose.models.necks.v2v import V2VNet
from handpose.models.necks.windowed_transformer import WindowedTransformer

__all__ = [
    'MSG3D',
    'CodeTransformer',
    'DSTformerEncoder',
    'DeformableTemporalConv',
    'DynamicSpatioTemporalBlock',
    'DynamicTemporalConv',
    'GlobalTemporalBlock',
    'HandPriorMemory',
    'JointTransformer',
    'LatentDistribution',
    'MotionFeatures',
    'MotionVAEDecoder',
    'MotionVAEEncoder',
    'MotionVQVAE',
    'ObjectAggregator',
    'PDTMEncoder',
    'ReconstructedMotion',
    'SpatialFeatures',
    'SpatialTransformer',
    'TemporalFeatures',
    'TemporalTransformer',
    'V2VNet',
    'WindowedTransformer',
]
