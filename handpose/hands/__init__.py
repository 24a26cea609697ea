"""Joint orders and parametric hand models."""

from handpose.hands.joints import (
    BONES,
    COMMON_JOINTS,
    FINGERTIPS,
    JOINT_ORDERS,
    MANO_JOINTS,
    PARENTS_21,
    from_common,
    to_common,
)
from handpose.hands.model import HandMesh, HandModel, linear_blend_skinning, vertex_normals
from handpose.hands.procedural import ProceduralHand

__all__ = [
    'BONES',
    'COMMON_JOINTS',
    'FINGERTIPS',
    'JOINT_ORDERS',
    'MANO_JOINTS',
    'PARENTS_21',
    'HandMesh',
    'HandModel',
    'ProceduralHand',
    'from_common',
    'linear_blend_skinning',
    'to_common',
    'vertex_normals',
]
