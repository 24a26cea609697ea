"""Layers and functions that several components share."""

from handpose.models.layers.deformable_sampling import deformable_sample_1d
from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.fused_attention import BranchFusion, FeedForward, FusedSelfAttention
from handpose.models.layers.graph_conv import MultiScaleGraphConv, MultiScaleTemporalConv, WindowedGraphConv
from handpose.models.layers.hand_graph import HandGraph, hand_graph
from handpose.models.layers.images import ImageNormalizer
from handpose.models.layers.missing_frames import fill_missing, mean_over_frames
from handpose.models.layers.mlp import MLP
from handpose.models.layers.motion_embedding import MotionEmbedding
from handpose.models.layers.pose_fusion import (
    ROTATION_SPACES,
    apply_motion,
    deform_poses,
    fuse_deformed_poses,
    fusion_weights,
    mirror_poses,
    pose_to_rotmat,
    rotmat_to_pose,
)
from handpose.models.layers.position import sine_position_1d, sine_position_2d
from handpose.models.layers.pre_norm_transformer import AttendedTokens, PreNormEncoder
from handpose.models.layers.roi_align import roi_align
from handpose.models.layers.soft_argmax import soft_argmax_2d
from handpose.models.layers.transformer import MultiHeadAttention, QueryDecoder, TransformerEncoder
from handpose.models.layers.two_hand_motion import TwoHandFeatures, TwoHandMotion
from handpose.models.layers.vector_quantizer import QuantizedFeatures, VectorQuantizer
from handpose.models.layers.volumetric import soft_argmax_3d, volumetric_soft_argmax

__all__ = [
    'MLP',
    'ROTATION_SPACES',
    'AttendedTokens',
    'BranchFusion',
    'FeatureNormalizer',
    'FeedForward',
    'FusedSelfAttention',
    'HandGraph',
    'ImageNormalizer',
    'MotionEmbedding',
    'MultiHeadAttention',
    'MultiScaleGraphConv',
    'MultiScaleTemporalConv',
    'PreNormEncoder',
    'QuantizedFeatures',
    'QueryDecoder',
    'TransformerEncoder',
    'TwoHandFeatures',
    'TwoHandMotion',
    'VectorQuantizer',
    'WindowedGraphConv',
    'apply_motion',
    'deform_poses',
    'deformable_sample_1d',
    'fill_missing',
    'fuse_deformed_poses',
    'fusion_weights',
    'hand_graph',
    'mean_over_frames',
    'mirror_poses',
    'pose_to_rotmat',
    'roi_align',
    'rotmat_to_pose',
    'sine_position_1d',
    'sine_position_2d',
    'soft_argmax_2d',
    'soft_argmax_3d',
    'volumetric_soft_argmax',
]
