"""One check of hands, hand-model parameters and cameras for all readers: wrong units and broken files are not data.

The limits are wide on purpose: they come from the size of hands and from geometry, so that no real recording is
refused, while a wrong unit (a factor of 10 or 1000), an inverted camera or a damaged number is.
"""

import logging

import numpy as np
from mmengine.logging import print_log
from numpy.typing import ArrayLike, NDArray

from handpose.datasets.io.errors import DatasetError

# Wrist to knuckle of the middle finger, metres: 0.05 in a child of four, 0.08 to 0.11 in adults (0.079 to 0.101 in
# DexYCB and InterHand2.6M).
PALM_LENGTH = (0.035, 0.16)
# Wrist to any other joint, metres. The longest hand on record is 0.32; 0.19 is the most in DexYCB.
MAX_REACH = 0.35
# Metres from the origin of the camera or the world, and of a hand from its camera.
MAX_DISTANCE = 100.0
MAX_CAMERA_DISTANCE = 20.0
# Shape coefficients count standard deviations of a population. Rotations beyond four turns are no output of a fit.
MAX_SHAPE = 20.0
MAX_ANGLE = 8 * np.pi
# Rows of a rotation matrix may deviate from orthonormal ones by rounding to three decimals.
ROTATION_TOLERANCE = 5e-3
MAX_ASPECT = 4.0  # of a pixel
# Focal length by the longer side of the image: angles of view of 136 and 3 degrees.
FOCAL_RANGE = (0.2, 20.0)
# Hands farther off the optical axis than 63 degrees are seen by no pinhole camera in use.
MAX_TANGENT = 2.0
OUT_OF_VIEW_SHARE = 0.9
PER_METRE = {'metres': 1, 'centimetres': 100, 'millimetres': 1000}
WRIST, MIDDLE_KNUCKLE = 0, 9


def plausible_joints(joints: ArrayLike, valid: ArrayLike, where: object, unit: str = 'metres') -> NDArray:
    """Checks the joints of a sequence and returns which of them can be used.

    Args:
        joints: (..., 21, 3) array, metres, common order.
        valid: (..., 21) bool.
        where: names the file or sequence in error messages.
        unit: what the file must hold, a key of `PER_METRE`; only for error messages.

    Returns:
        `valid`, less the hands whose palm has an impossible length and the joints out of reach of their wrist. The
        log names the first and says how many they are.

    Raises:
        DatasetError: NaN, infinity, or a coordinate beyond `MAX_DISTANCE`; or half of the hands or more are of
            impossible size, which is the sign of a wrong unit.
    """
    valid = np.asarray(valid, bool)
    shown = np.where(valid[..., None], joints, 0).astype(np.float64)
    if not np.isfinite(shown).all():
        raise DatasetError(f'{where}: joints marked as annotated hold NaN or infinity; download the file again')
    measured = valid[..., WRIST] & valid[..., MIDDLE_KNUCKLE]
    palm = np.linalg.norm(shown[..., MIDDLE_KNUCKLE, :] - shown[..., WRIST, :], axis=-1)
    wrong = measured & ~((palm > PALM_LENGTH[0]) & (palm < PALM_LENGTH[1]))
    if wrong.sum() * 2 >= max(measured.sum(), 1):
        raise DatasetError(_wrong_size(float(np.median(palm[measured])), int(measured.sum()), where, unit))
    farthest = float(np.abs(shown).max(initial=0))
    if farthest > MAX_DISTANCE:
        raise DatasetError(
            f'{where}: a joint is {farthest:.3g} m from the origin, more than {MAX_DISTANCE:g} m; the file is damaged, '
            f'download it again'
        )
    reach = np.linalg.norm(shown - shown[..., :1, :], axis=-1)
    usable = valid & ~wrong[..., None] & ~(valid[..., :1] & (reach > MAX_REACH))
    if lost := int((valid & ~usable).sum()):
        first = tuple(int(i) for i in np.argwhere(valid & ~usable)[0])
        print_log(
            f'{where}: {lost} of {int(valid.sum())} joints are not used: their hand has a palm of impossible length, '
            f'or they are more than {MAX_REACH:g} m from their wrist; the first is at index {first}',
            logger='current',
            level=logging.WARNING,
        )
    return usable


def check_hand(joints: ArrayLike, where: object, unit: str = 'metres') -> None:
    """Refuses one hand (21, 3), metres, that cannot be one; a label file of its own is right or broken.

    Raises:
        DatasetError: NaN, infinity, an impossible place or size; see `plausible_joints`.
    """
    joints = np.asarray(joints, np.float64)
    plausible_joints(joints, np.ones(joints.shape[:-1], bool), where, unit)
    reach = np.linalg.norm(joints - joints[:1], axis=-1)
    if reach.max() > MAX_REACH:
        raise DatasetError(
            f'{where}: joint {int(reach.argmax())} is {reach.max():.3g} m from the wrist, more than {MAX_REACH:g} m; '
            f'the file is damaged, unpack it again'
        )


def _wrong_size(palm: float, count: int, where: object, unit: str) -> str:
    on_disk = palm * PER_METRE[unit]
    fitting = [name for name, scale in PER_METRE.items() if PALM_LENGTH[0] < on_disk / scale < PALM_LENGTH[1]]
    looks = f'the numbers look like {fitting[0]}' if fitting else 'no unit makes that a hand'
    return (
        f'{where}: from the wrist to the middle knuckle it is {palm:.3g} m (median of {count} hands), but 0.08 to 0.11 '
        f'in adults; the file must hold {unit}, {looks}'
    )


def check_hand_parameters(pose: NDArray | None, shape: NDArray | None, transl: NDArray | None, where: object) -> None:
    """Refuses hand-model parameters that are not finite or beyond any fit.

    Args:
        pose: (..., 3) rotation vectors, or None.
        shape: (..., 10), or None.
        transl: (..., 3) metres, or None.
        where: names the file in error messages.

    Raises:
        DatasetError: NaN, infinity, or a number beyond `MAX_ANGLE`, `MAX_SHAPE` or `MAX_DISTANCE`.
    """
    rows = (
        ('the pose', pose, MAX_ANGLE, 'radians'),
        ('the shape (betas)', shape, MAX_SHAPE, 'standard deviations'),
        ('the translation', transl, MAX_DISTANCE, 'metres'),
    )
    for name, values, limit, unit in rows:
        if values is None or not np.size(values):
            continue
        largest = float(np.abs(np.asarray(values, np.float64)).max())
        if not largest <= limit:  # NaN too
            raise DatasetError(
                f'{where}: {name} must be finite and at most {limit:.3g} {unit}, got {largest:.3g}; download the file '
                f'again, or read the joints alone'
            )


def possible_parameters(pose: NDArray, shape: NDArray, transl: NDArray) -> NDArray:
    """Which hand-model parameters are finite and within `MAX_ANGLE`, `MAX_SHAPE` and `MAX_DISTANCE`.

    Args:
        pose: (N, H, J, 3) rotation vectors.
        shape: (N, H, 10).
        transl: (N, H, 3) metres.

    Returns:
        (N, H) bool.
    """
    return (
        (np.abs(pose) <= MAX_ANGLE).all((-2, -1))
        & (np.abs(shape) <= MAX_SHAPE).all(-1)
        & (np.abs(transl) <= MAX_DISTANCE).all(-1)
    )


def check_intrinsics(intrinsics: ArrayLike, where: object, size: tuple[float, ...] | None = None) -> None:
    """Refuses camera matrices of no pinhole camera.

    Args:
        intrinsics: (..., 3, 3), pixels.
        where: names the camera in error messages.
        size: (w, h) of the whole image that they belong to, in which the principal point must lie; None where it is
            not known or images were cropped.

    Raises:
        DatasetError: NaN, another last row, a skew, focal lengths that are not positive, or out of proportion to each
            other or to the image, or a principal point far from the image.
    """
    matrix = np.asarray(intrinsics, np.float64).reshape(-1, 3, 3)
    fixed = matrix[:, [0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - (0, 0, 0, 0, 1)
    focal, centre = matrix[:, [0, 1], [0, 1]], matrix[:, :2, 2]
    if not np.isfinite(matrix).all() or np.abs(fixed).max(initial=0) > 1e-6 * np.abs(matrix).max(initial=1):
        raise DatasetError(
            f'{where}: intrinsics must be (fx, 0, cx), (0, fy, cy), (0, 0, 1) in pixels, got {matrix[0].tolist()}'
        )
    if not (focal > 0).all():
        raise DatasetError(f'{where}: focal lengths must be positive, got {_first(focal, (focal <= 0).any(1))} pixels')
    aspect = focal.max(1) / focal.min(1)
    if aspect.max(initial=1) > MAX_ASPECT:
        raise DatasetError(
            f'{where}: the two focal lengths must be alike, got {_first(focal, aspect > MAX_ASPECT)} pixels'
        )
    if size is None:
        off = np.abs(centre) > 5 * focal
    else:
        ratio = focal / max(size)
        if not ((ratio > FOCAL_RANGE[0]) & (ratio < FOCAL_RANGE[1])).all():
            raise DatasetError(f'{where}: a focal length of {focal[0].tolist()} pixels does not fit images of {size}')
        off = (centre < 0) | (centre > np.asarray(size))
    if off.any():
        image = 'the image' if size is None else f'the image of {size[0]}x{size[1]} pixels'
        raise DatasetError(
            f'{where}: the principal point {_first(centre, off.any(1))} is not in {image}; are the intrinsics those of '
            f'another size?'
        )


def check_extrinsics(extrinsics: ArrayLike, where: object) -> None:
    """Refuses matrices (..., 4, 4) that are no rigid motion in metres.

    Raises:
        DatasetError: NaN, another last row, a matrix that scales, shears or reflects, or a translation beyond
            `MAX_DISTANCE`.
    """
    matrix = np.asarray(extrinsics, np.float64).reshape(-1, 4, 4)
    rotation = matrix[:, :3, :3]
    if not np.isfinite(matrix).all() or np.abs(matrix[:, 3] - (0, 0, 0, 1)).max(initial=0) > 1e-6:
        raise DatasetError(f'{where}: extrinsics must be finite and end with the row (0, 0, 0, 1)')
    deviation = float(np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(initial=0))
    if deviation > ROTATION_TOLERANCE:
        raise DatasetError(
            f'{where}: the extrinsics hold no rotation: R R^T differs from the identity by {deviation:.3g}; is the '
            f'file damaged, or are rows and columns mixed up?'
        )
    if (np.linalg.det(rotation) < 0).any():
        raise DatasetError(
            f'{where}: the extrinsics mirror space (determinant -1); one axis must be flipped, or two exchanged'
        )
    farthest = float(np.linalg.norm(matrix[:, :3, 3], axis=-1).max(initial=0))
    if farthest > MAX_DISTANCE:
        raise DatasetError(
            f'{where}: the camera is {farthest:.3g} m from the origin, more than {MAX_DISTANCE:g} m; are its numbers '
            f'millimetres?'
        )


def check_view(points: ArrayLike, where: object) -> None:
    """Refuses a camera that cannot see the hands of a sequence: the sign of inverted extrinsics or of a wrong unit.

    Hands leave the image in real recordings, so only an overwhelming share counts.

    Args:
        points: (N, 3) metres, one point of each annotated hand in the camera's frame.
        where: names the sequence and the camera in error messages.

    Raises:
        DatasetError: `OUT_OF_VIEW_SHARE` of the hands are behind the camera or far off its axis, or they are farther
            away than `MAX_CAMERA_DISTANCE` (median).
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    if not len(points):
        return
    seen = (points[:, 2] > 0) & (np.abs(points[:, :2]).max(1) < MAX_TANGENT * points[:, 2])
    distance = float(np.median(np.linalg.norm(points, axis=-1)))
    if distance > MAX_CAMERA_DISTANCE:
        raise DatasetError(
            f'{where}: hands are {distance:.3g} m from the camera (median), more than {MAX_CAMERA_DISTANCE:g} m; are '
            f"the camera's numbers in another unit than the joints'?"
        )
    if 1 - seen.mean() >= OUT_OF_VIEW_SHARE:
        raise DatasetError(
            f'{where}: {1 - seen.mean():.0%} of {len(points)} hands are behind the camera or out of its view; are the '
            f'extrinsics inverted? If only this camera is wrong, leave it out by the option cameras'
        )


def _first(values: NDArray, wrong: ArrayLike) -> tuple[float, ...]:
    return tuple(float(f'{v:.6g}') for v in values[np.asarray(wrong)][0])
