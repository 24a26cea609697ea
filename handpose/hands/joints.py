"""Named joint orders of the datasets, and the permutations to the library's common 21.

Every order is written as names; the permutations are derived from them. Joint names follow anatomy: cmc, mcp, pip,
dip (fingers), cmc, mcp, ip (thumb) and tip. Orders that cover both hands list one hand; the reader splits them first.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from handpose.text import did_you_mean

FINGERS = ('thumb', 'index', 'middle', 'ring', 'little')
SEGMENTS = {
    'thumb': ('cmc', 'mcp', 'ip', 'tip'),
    **dict.fromkeys(FINGERS[1:], ('mcp', 'pip', 'dip', 'tip')),
}


def finger_joints(finger: str) -> tuple[str, ...]:
    """Names one finger's four joints.

    Args:
        finger: a name from `FINGERS`.

    Returns:
        The names from the palm to the tip: 'index' -> ('index_mcp', ..., 'index_tip').
    """
    return tuple(f'{finger}_{segment}' for segment in SEGMENTS[finger])


def _outward(fingers: Iterable[str], first: int = 0, last: int = 4) -> tuple[str, ...]:
    return tuple(name for finger in fingers for name in finger_joints(finger)[first:last])


COMMON_JOINTS = ('wrist', *_outward(FINGERS))
"""The names of the 21 joints in the common order: wrist, thumb, index, middle, ring, little, each from base to tip."""
MANO_JOINTS = ('wrist', *_outward(('index', 'middle', 'little', 'ring', 'thumb'), last=3))
"""The names of MANO's 16 joints in its order: wrist, index, middle, little, ring, thumb, without tips."""
PARENTS_21 = tuple(-1 if i == 0 else 0 if i % 4 == 1 else i - 1 for i in range(21))
"""The parent of each joint in the common order; -1 for the wrist."""
BONES = tuple((PARENTS_21[i], i) for i in range(1, 21))
"""The 20 bones as pairs of joints (parent, child) in the common order."""
FINGERTIPS = (4, 8, 12, 16, 20)
"""The fingertips, thumb to little finger, as indices of the common order."""

_TIPS = tuple(f'{finger}_tip' for finger in FINGERS)
_INTERHAND = (*(name for finger in FINGERS for name in reversed(finger_joints(finger))), 'wrist')
_ASSEMBLY101 = (
    *_TIPS,
    'wrist',
    'thumb_mcp',
    'thumb_ip',
    *_outward(FINGERS[1:], last=3),
    'palm_center',
)
_REINTERHAND_24 = (
    'wrist',
    'thumb_metacarpal_root',
    *finger_joints('thumb'),
    *_outward(FINGERS[1:4]),
    'little_cmc',
    *finger_joints('little'),
    'forearm_stub',
)
_NYU = (
    *(f'{finger}_{segment}' for finger in reversed(FINGERS[1:]) for segment in ('tip', 'pip')),
    *('thumb_tip', 'thumb_ip', 'thumb_mcp', 'wrist_a', 'wrist_b', 'palm_center'),
)
_ICVL = (
    *('palm_center', 'thumb_mcp', 'thumb_ip', 'thumb_tip'),
    *(f'{finger}_{segment}' for finger in FINGERS[1:] for segment in ('mcp', 'pip', 'tip')),
)
_MOCAP_17 = ('wrist', 'trapezium', *_outward(FINGERS, last=3))

JOINT_ORDERS = {
    'common': COMMON_JOINTS,
    'mano': MANO_JOINTS,
    'dexycb': COMMON_JOINTS,
    'ho3d': (*MANO_JOINTS, *_TIPS),
    'fpha': (
        'wrist',
        *(finger_joints(finger)[0] for finger in FINGERS),
        *_outward(FINGERS, first=1),
    ),
    'h2o': COMMON_JOINTS,
    'assemblyhands': _INTERHAND,
    'assembly101': _ASSEMBLY101,
    'interhand': _INTERHAND,
    'reinterhand': _INTERHAND,
    'reinterhand_24': _REINTERHAND_24,
    'hanco': COMMON_JOINTS,
    'freihand': COMMON_JOINTS,
    'nyu': _NYU,
    'icvl': _ICVL,
    'shrec': ('wrist', 'palm_center', *_outward(FINGERS)),
    'mocap_17': _MOCAP_17,
}
"""Dataset name -> the names of one hand's joints in the order the dataset stores them.

'reinterhand' is Re:InterHand's 42-joint keypoints (InterHand2.6M order, per hand), 'reinterhand_24' its original fits.
'nyu' is the 14 joints of NYU that are evaluated; its wrist is the mean of two points (`MEANS`). 'icvl' has three points
a finger (root, mid, tip), the centres of parts of the hand, which are counted as the nearest joints, and no wrist.
'shrec' is SHREC'17 and DHG-14/28. 'mocap_17' is a motion capture skeleton without fingertips; of its two points at the
thumb's base the outer one is the CMC joint.
Names that are not among the common 21 (palm centre, extra metacarpals, forearm) are dropped by `to_common`.
"""
MEANS = {'wrist': ('wrist_a', 'wrist_b')}
"""Common joints that some orders give as two points, whose mean they are."""


def permutation_to_common(order_name: str) -> list[int]:
    """Finds the common joints in a dataset's order.

    Args:
        order_name: a key of `JOINT_ORDERS`.

    Returns:
        21 indices into the dataset's order, -1 where it lacks the joint. Of joints in `MEANS` it is the first point's.

    Raises:
        KeyError: the order is unknown.
    """
    order = joint_order(order_name)
    return [order.index(points[0]) if points[0] in order else -1 for points in _points_of(order)]


def _points_of(order: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The points of an order that make up each of the 21 joints: the joint itself, or those of `MEANS`."""
    return [(name,) if name in order else MEANS.get(name, (name,)) for name in COMMON_JOINTS]


def joint_order(order_name: str) -> tuple[str, ...]:
    """Returns the joint names of a dataset's order (one hand).

    Args:
        order_name: a key of `JOINT_ORDERS`.

    Returns:
        The names.

    Raises:
        KeyError: the order is unknown; the message names the most similar one.
    """
    if order_name not in JOINT_ORDERS:
        known = ', '.join(JOINT_ORDERS)
        raise KeyError(f'{order_name!r} is not a joint order (known: {known}).{did_you_mean(order_name, JOINT_ORDERS)}')
    return JOINT_ORDERS[order_name]


def to_common(joints: Tensor, order_name: str) -> tuple[Tensor, Tensor]:
    """Permutes one hand's joints from a dataset's order to the common 21.

    Args:
        joints: (..., J, C) in the dataset's order, any C (3D, 2D, validity with C = 1).
        order_name: a key of `JOINT_ORDERS`. Joints in `MEANS` are the mean of two points; of booleans, whether both are
            True.

    Returns:
        (..., 21, C), zeros where the dataset has no such joint, and (21,) bool, False there.

    Raises:
        KeyError: the order is unknown.
        ValueError: J is not that order's number of joints.
    """
    expected = len(joint_order(order_name))
    if joints.shape[-2] != expected:
        raise ValueError(f'{order_name!r} has {expected} joints per hand, got a tensor of shape {tuple(joints.shape)}')
    index = torch.tensor(permutation_to_common(order_name), device=joints.device)
    valid = index >= 0
    gathered = joints.index_select(-2, index.clamp_min(0))
    order = joint_order(order_name)
    for j, points in enumerate(_points_of(order)):
        if len(points) > 1 and points[0] in order:
            several = torch.stack([joints[..., order.index(point), :] for point in points])
            gathered[..., j, :] = several.all(0) if joints.dtype == torch.bool else several.mean(0)
    return torch.where(valid[:, None], gathered, torch.zeros_like(gathered)), valid


def from_common(joints: Tensor, order_name: str) -> tuple[Tensor, Tensor]:
    """Permutes the common 21 joints to a dataset's order: the inverse of `to_common`.

    Args:
        joints: (..., 21, C) in the common order.
        order_name: a key of `JOINT_ORDERS`.

    Returns:
        (..., J, C), zeros where the dataset's joint is not among the common 21, and (J,) bool, False there.

    Raises:
        KeyError: the order is unknown.
        ValueError: the tensor does not have 21 joints.
    """
    order = joint_order(order_name)
    if joints.shape[-2] != len(COMMON_JOINTS):
        raise ValueError(f'from_common takes the common 21 joints, got a tensor of shape {tuple(joints.shape)}')
    positions = [COMMON_JOINTS.index(name) if name in COMMON_JOINTS else -1 for name in order]
    index = torch.tensor(positions, device=joints.device)
    valid = index >= 0
    gathered = joints.index_select(-2, index.clamp_min(0))
    return torch.where(valid[:, None], gathered, torch.zeros_like(gathered)), valid
