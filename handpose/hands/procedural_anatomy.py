"""The procedural hand's anatomy: skeleton, flesh, skin weights, shape directions. A right hand, millimetres.

Anatomical coordinates in the tables are (distal, dorsal, radial): towards the fingers, out of the back of the hand,
towards the thumb, with the wrist at the origin. `to_model` converts them to the model's axes, which are MANO's:
fingers along -x, back of the hand +y, thumb side +z.

Sources: phalanx lengths and soft tissue beyond the last bone from A. Buryanov, V. Kotiuk, Proportions of Hand Segments,
Int. J. Morphol. 28(3), 2010; finger, hand and wrist breadths and thicknesses, and the spread between people, rounded
from J. W. Garrett, The Adult Human Hand, Human Factors 13(2), 1971 and C. C. Gordon et al., ANSUR, Natick/TR-89/044,
1989; joint ranges rounded from the American Academy of Orthopaedic Surgeons' norms. Knuckles, flesh and directions are
placed by eye. Segments are bones here; MANO puts its knuckles further out, so its first finger segments are shorter.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.hands.procedural_mesh import neighbor_mean, smooth_union, tapered_capsule

Vector = tuple[float, float, float]
Limits = tuple[tuple[tuple[float, float], ...], ...]
WRIST_STUB = 24.0  # where the forearm is cut, behind the wrist
WEB_SOFTNESS = 2.5


def to_model(vectors: ArrayLike) -> NDArray:
    """Converts anatomical vectors to the model's axes.

    Args:
        vectors: (..., 3) (distal, dorsal, radial).

    Returns:
        (..., 3) x, y, z.
    """
    return np.asarray(vectors, float) * (-1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Finger:
    """One digit: its first joint, three segments with their directions, and the radii at both ends of each.

    Attributes:
        base: the first joint (MCP; the thumb's CMC), mm.
        directions: three unnormalised segment directions at rest.
        pad: the direction that the pad faces, about at right angles to the segments: flexion bends towards it.
        lengths: the three segments without soft tissue, mm.
        tip: soft tissue beyond the last bone, mm.
        radii: at the three joints and at the tip, mm.
        limits: per joint ((twist), (abduction), (flexion)) lower and upper, degrees.
    """

    base: Vector
    directions: tuple[Vector, ...]
    pad: Vector
    lengths: Vector
    tip: float
    radii: tuple[float, float, float, float]
    limits: Limits


def _straight(splay: float) -> tuple[Vector, ...]:
    angle = np.deg2rad(splay)
    return ((np.cos(angle), -0.03, np.sin(angle)),) * 3


def _finger_limits(inward: float, outward: float) -> Limits:
    return (
        ((-6, 6), (inward, outward), (-25, 90)),
        ((-2, 2), (-2, 2), (-5, 108)),
        ((-2, 2), (-2, 2), (-8, 80)),
    )


_THUMB_LIMITS = (
    ((-15, 15), (-15, 40), (-25, 40)),
    ((-6, 6), (-8, 12), (-12, 60)),
    ((-2, 2), (-2, 2), (-20, 85)),
)
# In MANO's order. Abduction is positive towards the thumb; its zero is the slightly spread rest pose.
DIGITS = {
    'index': Finger(
        (88.0, 3.0, 27.0), _straight(6), (0, -1, -0.08), (39.78, 22.38, 15.82), 3.84, (10.4, 9.2, 8.3, 6.9),
        _finger_limits(-20, 16),
    ),
    'middle': Finger(
        (90.0, 5.5, 5.5), _straight(0), (0, -1, 0.0), (44.63, 26.33, 17.40), 3.95, (10.4, 9.3, 8.4, 7.1),
        _finger_limits(-16, 16),
    ),
    'little': Finger(
        (73.5, -1.5, -33.5), _straight(-19), (0, -1, 0.18), (32.74, 18.11, 15.96), 3.73, (8.9, 7.7, 6.9, 5.9),
        _finger_limits(-18, 26),
    ),
    'ring': Finger(
        (83.0, 3.5, -15.0), _straight(-8), (0, -1, 0.08), (41.37, 25.65, 17.30), 3.95, (9.8, 8.7, 7.8, 6.6),
        _finger_limits(-16, 18),
    ),
    'thumb': Finger(
        (21.0, -9.0, 24.0), ((0.74, -0.30, 0.60), (0.80, -0.26, 0.54), (0.84, -0.24, 0.49)), (0.1, -0.60, -0.80),
        (46.22, 31.57, 21.67), 5.67, (13.0, 11.0, 10.2, 8.2), _THUMB_LIMITS,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """A digit in model axes, mm.

    Attributes:
        points: (4, 3) its three joints and its tip end.
        frames: (3, 3, 3) one a segment; columns are (twist, abduction, flexion): the direction back to the palm,
            dorsal, and their cross product.
        radii: (4,) at the joints and at the tip.
    """

    points: NDArray
    frames: NDArray
    radii: NDArray


def build_chain(finger: Finger) -> Chain:
    """Places a digit in model axes.

    Args:
        finger: the measures.

    Returns:
        Chain.
    """
    directions = to_model(finger.directions)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.array(finger.lengths) + (0.0, 0.0, finger.tip)
    points = to_model(finger.base) + np.concatenate([np.zeros((1, 3)), np.cumsum(directions * lengths[:, None], 0)])
    pad = to_model(finger.pad)
    pads = pad - (directions @ pad)[:, None] * directions
    pads /= np.linalg.norm(pads, axis=1, keepdims=True)
    frames = np.stack([-directions, -pads, np.cross(directions, pads)], -1)
    return Chain(points, frames, np.array(finger.radii))


CHAINS = {name: build_chain(finger) for name, finger in DIGITS.items()}


def rest_joints() -> NDArray:
    """Returns the 16 joints in MANO's order, (16, 3) mm, wrist at the origin."""
    return np.concatenate([np.zeros((1, 3)), *(chain.points[:3] for chain in CHAINS.values())])


# Palm: (start, end, start radius, end radius, normal of the flat side, flatness), anatomical mm.
_DORSAL = (0, 1, 0)
PALM = (
    ((-WRIST_STUB, -1, 0), (12, -1, 0), 25.5, 26.5, _DORSAL, 0.70),  # wrist
    ((20, 0, 12), (85, 1.5, 25.5), 15.0, 11.4, _DORSAL, 0.95),  # the four metacarpals
    ((20, 0, 4), (87, 3, 5.5), 15.0, 11.6, _DORSAL, 0.95),
    ((20, 0, -5), (80, 1, -14.5), 15.0, 11.0, _DORSAL, 0.95),
    ((20, -2, -12), (70.5, -3.5, -32), 14.0, 10.2, _DORSAL, 0.95),
    ((21, -9, 18), (49, -14, 33), 14.0, 11.5, (0.1, 0.75, 0.6), 0.95),  # thenar
    ((22, -8, -20), (58, -8, -31), 12.5, 11.0, _DORSAL, 0.95),  # hypothenar
    ((74, -5, -24), (79, -4, 19), 10.0, 10.0, _DORSAL, 0.8),  # the pads below the fingers
    ((48, -11, 38), (70, -3, 30), 8.5, 7.5, (0.3, 0.8, 0.4), 0.9),  # first web
)


def digit_distance(points: NDArray, chain: Chain) -> NDArray:
    """Computes the signed distance of points to one digit.

    Args:
        points: (N, 3) mm.
        chain: the digit.

    Returns:
        (N,) mm, negative inside.
    """
    ends = chain.points.copy()
    ends[3] += chain.frames[2][:, 0] * chain.radii[3]  # the tip sphere ends at the tip
    capsules = [
        tapered_capsule(points, ends[i], ends[i + 1], chain.radii[i], chain.radii[i + 1], chain.frames[i][:, 1], 0.94)
        for i in range(3)
    ]
    return smooth_union(np.stack(capsules), softness=0.9)


def hand_distance(points: NDArray) -> NDArray:
    """Computes the signed distance of points to the skin of the resting hand.

    Args:
        points: (N, 3) mm.

    Returns:
        (N,) mm, negative inside.
    """
    palm = [_palm_capsule(points, part) for part in PALM]
    digits = [digit_distance(points, chain) for chain in CHAINS.values()]
    skin = smooth_union(np.stack([smooth_union(np.stack(palm), softness=3.0), *digits]), softness=WEB_SOFTNESS)
    beyond_cut = points[:, 0] - WRIST_STUB
    return -smooth_union(np.stack([-skin, -beyond_cut]), softness=4.0)


def skin_weights(points: NDArray, edges: NDArray) -> NDArray:
    """Computes how much each vertex follows each of the 16 joints.

    A digit's skin passes from one segment to the next over a zone about as long as the digit is thick; between digits
    the nearest one wins. A few rounds of averaging over the mesh make the change even.

    Args:
        points: (V, 3) mm.
        edges: (E, 2) of the mesh.

    Returns:
        (V, 16), rows sum to one.
    """
    distances = np.stack([digit_distance(points, chain) for chain in CHAINS.values()])
    share = np.exp((distances.min(0) - distances) / 1.5)
    share /= share.sum(0)
    weights = np.zeros((len(points), 16))
    for digit, (name, chain) in enumerate(CHAINS.items()):
        zones = 0.75 * chain.radii[:3]
        if name == 'thumb':  # its first segment lies in the palm: the flesh between follows it gradually
            share[digit] *= 1.0 / (1.0 + np.exp((distances[digit] - _palm_distance(points)) / 4.0))
            zones[0] = 20.0
        along = np.einsum('nij,ij->ni', points[:, None] - chain.points[:3], -chain.frames[:, :, 0])
        passed = np.cumprod(_smooth_step(along / zones), axis=1)
        passed = np.concatenate([passed, np.zeros((len(points), 1))], 1)
        weights[:, 1 + 3 * digit : 4 + 3 * digit] = share[digit][:, None] * (passed[:, :3] - passed[:, 1:])
    weights[:, 0] = 1.0 - weights.sum(1)
    for _ in range(3):
        weights = 0.5 * (weights + neighbor_mean(weights, edges))
    weights[weights < 0.02] = 0.0
    return weights / weights.sum(1, keepdims=True)


def _smooth_step(values: NDArray) -> NDArray:
    """0 below -1, 1 above 1, smooth between."""
    position = np.clip(0.5 * (values + 1.0), 0.0, 1.0)
    return position**2 * (3.0 - 2.0 * position)


def _palm_distance(points: NDArray) -> NDArray:
    return np.min([_palm_capsule(points, part) for part in PALM[:5]], axis=0)


def _palm_capsule(points: NDArray, part: tuple[Any, ...]) -> NDArray:
    start, end, start_radius, end_radius, normal, flatness = part
    return tapered_capsule(points, to_model(start), to_model(end), start_radius, end_radius, to_model(normal), flatness)


# (meaning, one standard deviation as a fraction of the mean)
SHAPE = (
    ('overall size', 0.055),
    ('length of all fingers', 0.03),
    ('palm width', 0.04),
    ('palm thickness', 0.06),
    ('finger thickness', 0.06),
    ('thumb length', 0.04),
    ('index length', 0.025),
    ('middle length', 0.025),
    ('ring length', 0.025),
    ('little length', 0.035),
)


def shape_directions(points: NDArray, membership: NDArray, origin: NDArray) -> NDArray:
    """Computes how points move per standard deviation of each of the 10 shape parameters.

    Args:
        points: (N, 3) mm, wrist at the origin.
        membership: (N, 6), fractions of the palm and of the digits in MANO's order.
        origin: (3,) the fixed point of the overall size.

    Returns:
        (N, 3, 10) mm.
    """
    anchors, stretch, thickening = _digit_fields(points, membership)
    across = membership[:, 0] * points[:, 2] + membership[:, 1:] @ anchors[:, 2]
    depth = membership[:, 0] * points[:, 1] + membership[:, 1:] @ anchors[:, 1]
    digit = dict(zip(CHAINS, stretch, strict=True))
    fields = {
        'overall size': points - origin,
        'length of all fingers': sum(digit[name] for name in ('index', 'middle', 'ring', 'little')),
        'palm width': across[:, None] * (0, 0, 1),
        'palm thickness': depth[:, None] * (0, 1, 0),
        'finger thickness': thickening,
        **{f'{name} length': digit[name] for name in CHAINS},
    }
    return np.stack([rate * fields[name] for name, rate in SHAPE], -1)


def _digit_fields(points: NDArray, membership: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Anchors (5, 3); per digit, how points move when it grows by its whole length (5, N, 3); and thickens (N, 3)."""
    stretch, thickening = [], np.zeros_like(points)
    for share, chain in zip(membership.T[1:], CHAINS.values(), strict=True):
        nearest = np.full(len(points), np.inf)
        closest, growth = np.zeros_like(points), np.zeros_like(points)
        for start, end in zip(chain.points[:-1], chain.points[1:], strict=True):
            axis = end - start
            position = np.clip((points - start) @ axis / (axis @ axis), 0.0, 1.0)
            growth += position[:, None] * axis
            foot = start + position[:, None] * axis
            distance = np.linalg.norm(points - foot, axis=1)
            closest = np.where((distance < nearest)[:, None], foot, closest)
            nearest = np.minimum(nearest, distance)
        stretch.append(share[:, None] * growth)
        thickening += share[:, None] * (points - closest)
    return np.stack([chain.points[0] for chain in CHAINS.values()]), np.stack(stretch), thickening
