"""Whether the lens distortion of a calibration is that of its cameras, by where in the image the errors are.

Legend: K cameras.
"""

import numpy as np

from handpose.structures import AnnotatedRecording

RADIAL_SHARE = 0.3  # of the squared errors that a radial error explains, and
RADIAL_PIXELS = 1.0  # its size halfway to the corner of the image
MIN_POINTS = 200  # detected joints of a camera


def describe_lens_errors(recording: AnnotatedRecording) -> list[str]:
    """Finds cameras whose errors grow towards the edge of the image, as those of a wrong lens model do.

    Args:
        recording: with triangulated joints.

    Returns:
        One message for each such camera.
    """
    return [message for k in range(len(recording.calibration)) for message in _lens_message(recording, k)]


def _lens_message(recording: AnnotatedRecording, camera: int) -> list[str]:
    """Errors that point to or from the centre of the image and grow outwards come from the lens model.

    A wrong cubic coefficient moves a point by an amount that grows with the third power of its distance; it is fitted
    to the radial part of the errors.
    """
    calibration = recording.calibration.cameras[camera]
    detected = recording.joints_2d[:, camera].astype(np.float64)
    projected = recording.project(recording.triangulated)[:, camera]
    both = np.isfinite(detected).all(-1) & np.isfinite(projected).all(-1)
    if both.sum() < MIN_POINTS:
        return []
    matrix = calibration.intrinsics.numpy()
    from_centre = projected[both] - matrix[:2, 2]
    errors = detected[both] - projected[both]
    errors = errors - np.median(errors, 0)
    distance = np.linalg.norm(from_centre, axis=-1)
    half = 0.25 * float(np.linalg.norm(calibration.image_size))  # half-way from the centre to a corner
    cubic = from_centre / half * (distance / half)[:, None] ** 2
    cubic = cubic - np.median(cubic, 0)
    scale = float((cubic * errors).sum() / max((cubic**2).sum(), 1e-12))
    explained = 1 - float(((errors - scale * cubic) ** 2).sum() / max((errors**2).sum(), 1e-12))
    if explained < RADIAL_SHARE or abs(scale) < RADIAL_PIXELS:
        return []
    return [
        f'{calibration.name}: the errors point {"away from" if scale > 0 else "to"} the centre of the image and grow '
        f'with the distance from it ({abs(scale):.1f} px halfway to a corner): the lens distortion in the calibration '
        f'({calibration.model}) is missing, has the wrong sign, or is that of another lens'
    ]
