"""Losses: predictions, targets and masks to one scalar each.

All of them average over what is valid. Without any valid target a loss is zero, finite and still in the graph,
whatever the invalid targets hold, so that every parameter gets a (zero) gradient.
"""

from handpose.models.losses.adversarial import discriminator_loss, generator_adversarial_loss
from handpose.models.losses.contrastive_action import ContrastiveActionLoss
from handpose.models.losses.gaussian_kl import GaussianKLLoss
from handpose.models.losses.hand_parameter import HandPoseLoss, HandShapeLoss
from handpose.models.losses.joints_2d import Joints2DLoss
from handpose.models.losses.joints_25d import (
    CoordinateDistributionLoss,
    GaussianHeatmapLoss,
    HandIdentityLoss,
    triangle_labels,
)
from handpose.models.losses.keypoints import AccelerationLoss, SmoothL1KeypointLoss
from handpose.models.losses.max_mse import MaxMSELoss
from handpose.models.losses.motion import MotionLoss
from handpose.models.losses.point_mse import PointMSELoss
from handpose.models.losses.smoothness import SmoothnessLoss
from handpose.models.losses.trajectory import TrajectoryLoss
from handpose.models.losses.volumetric import VolumetricCrossEntropyLoss

__all__ = [
    'AccelerationLoss',
    'ContrastiveActionLoss',
    'CoordinateDistributionLoss',
    'GaussianHeatmapLoss',
    'GaussianKLLoss',
    'HandIdentityLoss',
    'HandPoseLoss',
    'HandShapeLoss',
    'Joints2DLoss',
    'MaxMSELoss',
    'MotionLoss',
    'PointMSELoss',
    'SmoothL1KeypointLoss',
    'SmoothnessLoss',
    'TrajectoryLoss',
    'VolumetricCrossEntropyLoss',
    'discriminator_loss',
    'generator_adversarial_loss',
    'triangle_labels',
]
