"""Joint angles of a hand from its 21 joints, by geometry alone; docs/guides/export.md has the formulas.

Legend: palm normal n out of the palm, m along a metacarpal, s towards the thumb's side: unit vectors of one finger.
"""

import numpy as np
from numpy.typing import NDArray

from handpose.hands.joints import COMMON_JOINTS, FINGERS
from handpose.hands.sides import Side

_WRIST = 0
_INDEX, _MIDDLE, _LITTLE = (COMMON_JOINTS.index(f'{finger}_mcp') for finger in ('index', 'middle', 'little'))
ANGLES = (
    'thumb_cmc_radial_abduction',
    'thumb_cmc_palmar_abduction',
    'thumb_mcp_flexion',
    'thumb_ip_flexion',
    *(
        f'{finger}_{angle}'
        for finger in FINGERS[1:]
        for angle in ('mcp_flexion', 'mcp_abduction', 'pip_flexion', 'dip_flexion')
    ),
)
"""The names of the angles, in the order of `joint_angles`."""


def joint_angles(joints: NDArray, side: int) -> NDArray:
    """Computes flexion and abduction of the joints of one hand.

    A straight finger in line with its metacarpal has zeros. Flexion is positive towards the palm, abduction of a finger
    positive towards the thumb's side. The thumb's flexion is the angle between its bones and has no sign.

    Args:
        joints: (..., 21, 3) in the common order, any unit and frame; NaN where unknown.
        side: a `Side`.

    Returns:
        (..., 20) degrees in the order of `ANGLES`, NaN where a joint that the angle needs is unknown.
    """
    joints = np.asarray(joints, np.float64)
    wrist = joints[..., _WRIST, :]
    normal = np.cross(joints[..., _INDEX, :] - wrist, joints[..., _LITTLE, :] - wrist)
    normal = normal if side == Side.RIGHT else -normal
    angles = list(_thumb(joints, normal, side))
    for finger in range(1, 5):
        angles += _finger(joints, normal, side, 4 * finger + 1)
    return np.stack(angles, -1)


def _finger(joints: NDArray, normal: NDArray, side: int, mcp: int) -> list[NDArray]:
    """The four angles of the finger whose first joint is `mcp`."""
    along, outward, lateral = _axes(joints[..., mcp, :] - joints[..., _WRIST, :], normal, side)
    proximal, middle, distal = (_unit(joints[..., mcp + i, :] - joints[..., mcp + i - 1, :]) for i in (1, 2, 3))
    hinge = np.cross(along, outward)  # about which the metacarpal's direction turns into the palm
    hinge = hinge - _dot(hinge, proximal)[..., None] * proximal  # that of the finger's other joints
    flexion = np.arctan2(_dot(proximal, outward), _dot(proximal, along))
    abduction = np.arcsin(np.clip(_dot(proximal, lateral), -1, 1))
    bends = [_signed_angle(a, b, hinge) for a, b in ((proximal, middle), (middle, distal))]
    return [np.degrees(angle) for angle in (flexion, abduction, *bends)]


def _thumb(joints: NDArray, normal: NDArray, side: int) -> list[NDArray]:
    """The four angles of the thumb."""
    along, outward, lateral = _axes(joints[..., _MIDDLE, :] - joints[..., _WRIST, :], normal, side)
    metacarpal, proximal, distal = (_unit(joints[..., i + 1, :] - joints[..., i, :]) for i in (1, 2, 3))
    radial = np.arctan2(_dot(metacarpal, lateral), _dot(metacarpal, along))
    palmar = np.arcsin(np.clip(_dot(metacarpal, outward), -1, 1))
    bends = [np.arccos(np.clip(_dot(a, b), -1, 1)) for a, b in ((metacarpal, proximal), (proximal, distal))]
    return [np.degrees(angle) for angle in (radial, palmar, *bends)]


def _axes(metacarpal: NDArray, normal: NDArray, side: int) -> tuple[NDArray, NDArray, NDArray]:
    """(m, n, s) of a finger: n is made orthogonal to m."""
    along = _unit(metacarpal)
    outward = _unit(normal - _dot(normal, along)[..., None] * along)
    lateral = np.cross(along, outward)
    return along, outward, lateral if side == Side.RIGHT else -lateral


def _signed_angle(a: NDArray, b: NDArray, hinge: NDArray) -> NDArray:
    """The angle from unit vectors a to b about the part of `hinge` that is orthogonal to a."""
    axis = _unit(hinge - _dot(hinge, a)[..., None] * a)
    return np.arctan2(_dot(np.cross(a, b), axis), _dot(a, b))


def _dot(a: NDArray, b: NDArray) -> NDArray:
    return (a * b).sum(-1)


def _unit(vectors: NDArray) -> NDArray:
    """Unit vectors, NaN where the length is zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.full_like(vectors, np.nan), where=length > 0)
