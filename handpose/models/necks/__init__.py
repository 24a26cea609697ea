"""Necks: features to features, over space or time."""

from handpose.models.necks.spatial_transformer import SpatialFeatures, SpatialTransformer
from handpose.models.necks.temporal_transformer import TemporalFeatures, TemporalTransformer

__all__ = ['SpatialFeatures', 'SpatialTransformer', 'TemporalFeatures', 'TemporalTransformer']
