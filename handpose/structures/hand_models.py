"""Registers the hand models of `handpose.hands`, which knows no registry, under their class names."""

from handpose.hands.mano import MANO
from handpose.hands.procedural import ProceduralHand
from handpose.registry import HAND_MODELS

HAND_MODELS.register_module(module=MANO)
HAND_MODELS.register_module(module=ProceduralHand)
