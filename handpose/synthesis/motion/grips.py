"""Grips: where the wrist goes and how far each finger closes until it touches. A right hand, object frame, metres.

No search for a good grasp: the hand is set down by a rule, and every finger closes along one line of angles from open
to fist until it meets the surface, whatever the hand's and the object's size.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.motion.grasp_search import FINGERS, GRASP_TYPES, axes_from, pad_axis, start_angles
from handpose.synthesis.motion.posing import angles_to_rotvecs, mirrored
from handpose.synthesis.objects.shapes import Box, SceneObject

_STEPS = 12
_TOUCH = 0.0005  # metres: a finger this near to the surface stops
_FIST = np.deg2rad([80.0, 95.0, 60.0])
_BENT = np.deg2rad([6.0, 95.0, 55.0])  # about a box's edge: the fingers lie flat on its side up to there
_STRAIGHT = np.deg2rad([8.0, 10.0, 5.0])
# Metres from the wrist to the object's axis along the fingers, and from the palm's middle to the surface.
_PALM_REACH, _FLAT_REACH, _PALM_GAP = 0.078, 0.1, 0.019
_DIGITS = np.repeat(np.arange(5), 3)  # index, middle, little, ring, thumb: MANO's order


class Grip(NamedTuple):
    """`wrist` (4, 4) to the object's frame, finger angles `closed` and `open` (15, 3), unit `approach` (3,)."""

    wrist: NDArray
    closed: NDArray
    open: NDArray
    approach: NDArray

    def of_side(self, side: int) -> 'Grip':
        """The grip of that side's hand on the mirror image of the object (itself where it is symmetric)."""
        if side == Side.RIGHT:
            return self
        return self._replace(wrist=mirrored(self.wrist), approach=self.approach * (-1, 1, 1))

    def rotated(self, angle: float) -> 'Grip':
        """The grip rotated about the object's z axis, radians."""
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        return self._replace(wrist=turn @ self.wrist, approach=turn[:3, :3] @ self.approach)


def palm_grip(
    model: ProceduralHand, shape: NDArray, target: SceneObject, height: float | None = None, tilt: float = 0.0
) -> Grip:
    """The palm against the object's +x side, the fingers pointing to +y and around it, the thumb up.

    Args:
        model: the hand model.
        shape: (10,).
        target: the object.
        height: of the grip, metres; None means the object's own.
        tilt: of the fingers downwards, radians.
    """
    flat = isinstance(target.shapes[0], Box)
    normal, forward = np.array([-1.0, 0, 0]), np.array([0, np.cos(tilt), -np.sin(tilt)])
    wrist = np.eye(4)
    wrist[:3, :3] = np.stack([-forward, -normal, np.cross(forward, normal)], 1)
    middle = np.array([0, 0, target.grip[0] if height is None else height])
    wrist[:3, 3] = middle - forward * (_FLAT_REACH if flat else _PALM_REACH) - normal * (target.grip[1] + _PALM_GAP)
    opened = np.zeros((15, 3))
    opened[:12, 2] = np.tile(_STRAIGHT * (not flat), 4)
    opened[12:] = np.deg2rad([[0, 32, -15], [0, 0, -5], [0, 0, 0]])
    closed = opened.copy()
    closed[:12, 2] = np.tile(_BENT if flat else _FIST, 4)
    closed[12:, 2] = np.deg2rad([40, 50, 60])
    angles = close_fingers(model, shape, target, wrist, opened, closed)
    return Grip(wrist, angles, 0.45 * angles + 0.55 * opened, (normal + 0.5 * forward) / np.sqrt(1.25))


def pad_grip(
    model: ProceduralHand,
    shape: NDArray,
    target: SceneObject,
    point: ArrayLike,
    across: ArrayLike,
    approach: ArrayLike,
    kind: str = 'pinch',
) -> Grip:
    """Thumb and finger pads on opposite sides of a point.

    Args:
        model: the hand model.
        shape: (10,).
        target: the object.
        point: (3,) between the pads.
        across: (3,) from thumb to fingers.
        approach: (3,) where the fingers point.
        kind: the `GraspType` whose fingers take part and start the search.
    """
    grasp_type = next(g for g in GRASP_TYPES if g.name == kind)
    start = start_angles(grasp_type)
    between, middle = pad_axis(grasp_type, _pads(model, shape, start))
    wrist = np.eye(4)
    wrist[:3, :3] = axes_from(np.asarray(across), np.asarray(approach)) @ axes_from(between, middle).T
    wrist[:3, 3] = point - wrist[:3, :3] @ middle
    opened, closed = start.copy(), start.copy()
    for name in grasp_type.fingers:
        digit = FINGERS.index(name)
        rows = slice(3 * digit, 3 * digit + 3)
        opened[rows, 2] -= np.deg2rad([22, 12, 6] if name != 'thumb' else [12, 10, 10])
        closed[rows, 2] += np.deg2rad([22, 22, 12] if name != 'thumb' else [12, 25, 25])
    angles = close_fingers(model, shape, target, wrist, opened, closed)
    return Grip(wrist, angles, opened, np.asarray(approach) / np.linalg.norm(approach))


def close_fingers(
    model: ProceduralHand, shape: NDArray, target: SceneObject, wrist: NDArray, opened: NDArray, closed: NDArray
) -> NDArray:
    """Closes every finger until it touches.

    Args:
        model: the hand model.
        shape: (10,).
        target: the object.
        wrist: (4, 4) to the object's frame.
        opened: (15, 3) where the fingers start.
        closed: (15, 3) where they end if nothing is in their way.

    Returns:
        (15, 3) angles.
    """
    shares = np.linspace(0, 1, _STEPS)
    low, high = model.joint_limits.double().numpy().transpose(2, 0, 1)
    opened, closed = opened.clip(low, high), closed.clip(low, high)
    angles = opened + shares[:, None, None] * (closed - opened)
    vertices = _pose(model, shape, angles) @ wrist[:3, :3].T + wrist[:3, 3]
    digit = model.weights.numpy()[:, 1:].reshape(-1, 5, 3).sum(2)
    belongs = np.where(digit.max(1) > 0.5, digit.argmax(1), -1)
    distance = target.distance(torch.from_numpy(vertices.reshape(-1, 3))).numpy().reshape(_STEPS, -1)
    reached = np.zeros(5)
    for finger in range(5):
        nearest = distance[:, belongs == finger].min(1)
        touching = np.flatnonzero(nearest < _TOUCH)
        if not len(touching):
            reached[finger] = 1
        elif touching[0] > 0:
            step = touching[0]
            before, after = nearest[step - 1] - _TOUCH, nearest[step] - _TOUCH
            reached[finger] = shares[step - 1] + before / (before - after) / (_STEPS - 1)
    return opened + reached[_DIGITS][:, None] * (closed - opened)


def _pose(model: ProceduralHand, shape: NDArray, angles: NDArray) -> NDArray:
    """Vertices (N, V, 3) with the wrist at the origin and unturned."""
    pose = torch.zeros(len(angles), 16, 3)
    pose[:, 1:] = angles_to_rotvecs(model, torch.from_numpy(angles)).float()
    betas, side = torch.from_numpy(shape).float(), torch.tensor(Side.RIGHT)
    with torch.no_grad():
        return model(pose, betas, -model.rest_wrist(betas, side), side).vertices.double().numpy()


def _pads(model: ProceduralHand, shape: NDArray, angles: NDArray) -> NDArray:
    """The middles of the pads (5, 3), thumb to little, wrist at the origin."""
    return _pose(model, shape, angles[None])[0][model.fingertip_pads.numpy()].mean(1)
