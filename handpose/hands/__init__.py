"""Joint orders and parametric hand models."""

from handpose.hands.fit import HandFit, fit_hand
from handpose.hands.joints import (
    BONES,
    COMMON_JOINTS,
    FINGERTIPS,
    JOINT_ORDERS,
    MANO_JOINTS,
    PARENTS_21,
    from_common,
    joint_order,
    to_common,
)
from handpose.hands.mano import MANO
from handpose.hands.mano_file import MANOFileError, load_mano_file
from handpose.hands.model import HandMesh, HandModel, linear_blend_skinning, vertex_normals
from handpose.hands.procedural import ProceduralHand
from handpose.hands.sides import SIDE_LABELS, Side, is_left, is_right

__all__ = [
    'BONES',
    'COMMON_JOINTS',
    'FINGERTIPS',
    'JOINT_ORDERS',
    'MANO',
    'MANO_JOINTS',
    'PARENTS_21',
    'SIDE_LABELS',
    'HandFit',
    'HandMesh',
    'HandModel',
    'MANOFileError',
    'ProceduralHand',
    'Side',
    'fit_hand',
    'from_common',
    'is_left',
    'is_right',
    'joint_order',
    'linear_blend_skinning',
    'load_mano_file',
    'to_common',
    'vertex_normals',
]
