"""Arrays of `Predictions` in the joint orders of datasets, and skeletons that lack some of the common 21 joints.

Legend: T frames, H hands, J joints of an order.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.hands.joints import COMMON_JOINTS, JOINT_ORDERS, to_common
from handpose.structures.prediction_checks import UNITS, PredictionsError
from handpose.text import did_you_mean

_NUMBERS = {'joints': 3, 'joints_2d': 2, 'confidence': 1}
_FLAGS = ('joints_valid', 'joints_inferred')


def to_common_joints(arrays: dict[str, ArrayLike | None], order: str, unit: str, valid: NDArray) -> dict[str, Any]:
    """Permutes per-joint arrays to the common 21 joints, and converts the unit of the 3D joints.

    Args:
        arrays: {name: array}: joints (T, H, J, 3), joints_2d (T, H, J, 2), confidence, joints_valid and joints_inferred
            (T, H, J); all but joints may be None.
        order: a key of `JOINT_ORDERS`.
        unit: a key of `UNITS`.
        valid: (T, H) bool.

    Returns:
        {name: array (T, H, 21, ...) or None} of the same names. joints_valid is None if all 21 joints are there.

    Raises:
        PredictionsError: an unknown order or unit, or a shape or type that does not fit.
    """
    if unit not in UNITS:
        raise PredictionsError(f'unit must be one of {", ".join(UNITS)}, got {unit!r}.{did_you_mean(unit, UNITS)}')
    if order not in JOINT_ORDERS:
        raise PredictionsError(
            f'joint_order must be one of {", ".join(JOINT_ORDERS)}, got {order!r}.{did_you_mean(order, JOINT_ORDERS)}'
        )
    given = {name: None if value is None else np.asarray(value) for name, value in arrays.items()}
    joints = given['joints']
    if joints is None or joints.dtype.kind not in 'fiu':
        raise PredictionsError(f'joints must be numbers, got {None if joints is None else joints.dtype}')
    given['joints'] = joints.astype(np.float64) * UNITS[unit]
    result: dict[str, Any] = {}
    present = np.ones(len(COMMON_JOINTS), bool)
    for name, value in given.items():
        result[name], there = (None, None) if value is None else _permuted(name, value, order)
        present = present if there is None else there
    if not present.all():
        common = np.broadcast_to(valid[..., None] & present, (*valid.shape, len(present)))
        result['joints_valid'] = common if result['joints_valid'] is None else common & result['joints_valid']
    return result


def missing_joints(given: NDArray, valid: NDArray) -> list[str]:
    """Names the joints that a skeleton lacks.

    Args:
        given: (T, H, 21) bool, the joints that are there.
        valid: (T, H) bool.

    Returns:
        The names of the joints that are missing in any valid frame, in the common order.
    """
    return [name for j, name in enumerate(COMMON_JOINTS) if (valid & ~given[..., j]).any()]


def _permuted(name: str, values: NDArray, order: str) -> tuple[NDArray, NDArray]:
    """(T, H, J, ...) in a named order -> (T, H, 21, ...), and which of the 21 joints (21,) the order has."""
    expected = len(JOINT_ORDERS[order])
    channels = _NUMBERS.get(name, 0)
    if name in _FLAGS and values.dtype != bool:
        raise PredictionsError(f'{name} must be bool, got {values.dtype}')
    if name in _NUMBERS and values.dtype.kind not in 'fiu':
        raise PredictionsError(f'{name} must be numbers, got {values.dtype}')
    axes = 4 if channels > 1 else 3
    if values.ndim != axes or (channels > 1 and values.shape[3] != channels):
        shape = f'(T, H, J, {channels})' if channels > 1 else '(T, H, J)'
        raise PredictionsError(
            f'{name} must have shape {shape}, with an axis for hands also where there is one hand; got {values.shape}'
        )
    if values.shape[2] != expected:
        raise PredictionsError(
            f'joint_order {order!r} has {expected} joints, got {name} of shape {values.shape} with {values.shape[2]}'
        )
    values = values if channels > 1 else values[..., None]
    values = values if name in _FLAGS else values.astype(np.float64)
    common, present = to_common(torch.from_numpy(np.ascontiguousarray(values)), order)
    return (common if channels > 1 else common[..., 0]).numpy(), present.numpy()
