"""Whether hands have the size of hands: the sign of a calibration in the right unit."""

import numpy as np

from handpose.inference.annotation.recording_source import AnnotationError
from handpose.structures import AnnotatedRecording

# Wrist to knuckle of the middle finger, metres: from a child of four to the largest hands, with room for errors.
PALM_LENGTH = (0.04, 0.14)
TYPICAL_PALM = 0.09
WRIST, MIDDLE_KNUCKLE = 0, 9


def check_hand_size(recording: AnnotatedRecording) -> None:
    """Refuses a wrong unit of the calibration, which makes hands of impossible size.

    Args:
        recording: with triangulated joints; one without a whole palm passes.

    Raises:
        AnnotationError: says how large the hands are, and the likely unit.
    """
    both = recording.triangulated_valid[..., WRIST] & recording.triangulated_valid[..., MIDDLE_KNUCKLE]
    if not both.any():
        return
    palms = recording.triangulated[..., MIDDLE_KNUCKLE, :] - recording.triangulated[..., WRIST, :]
    palm = float(np.median(np.linalg.norm(palms.astype(np.float64), axis=-1)[both]))
    if PALM_LENGTH[0] <= palm <= PALM_LENGTH[1]:
        return
    raise AnnotationError(
        f'the palms of the hands are {1000 * palm:.4g} mm long (median), from the wrist to the knuckle of the middle '
        f'finger, and people have {1000 * PALM_LENGTH[0]:.0f} to {1000 * PALM_LENGTH[1]:.0f} mm: the calibration is '
        f'probably in another unit. Give it by --unit as centimetre, millimetre, or the metres of one unit: about '
        f'{TYPICAL_PALM / palm:.2g} times what it is taken for now'
    )
