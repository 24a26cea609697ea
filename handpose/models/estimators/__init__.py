"""The systems: each file holds one, and its forward pass can be read there top to bottom."""

from handpose.models.estimators.constant_hand import ConstantHand, fit_constant_hands
from handpose.models.estimators.deformer import Deformer, DeformerOutput
from handpose.models.estimators.deformer_loss import DeformerLoss

__all__ = ['ConstantHand', 'Deformer', 'DeformerLoss', 'DeformerOutput', 'fit_constant_hands']
