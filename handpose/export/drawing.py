"""Predictions as `supervision.KeyPoints`. Needs the package supervision: pip install 'handpose[export]'."""

from typing import TYPE_CHECKING, Any

import numpy as np

from handpose.export.coco import pixel_positions
from handpose.hands import SIDE_LABELS
from handpose.structures import Predictions

if TYPE_CHECKING:
    import supervision


def to_supervision(predictions: Predictions, t: int) -> 'supervision.KeyPoints':
    """Converts the hands of one frame, for annotators with the edges of `Skeleton.HAND`.

    Args:
        predictions: the predictions, with 2D joints or a camera (see `pixel_positions`).
        t: the frame.

    Returns:
        The valid hands: `xy` (n, 21, 2) pixels, 0 where unknown; `keypoint_confidence` (n, 21), 0 where unknown and 1
        without confidences; `class_id` (n,) values of `Side`; `data['hand_side']` their names, and
        `data['tracker_id']` where the predictions have tracks.

    Raises:
        ExportError: there are no 2D joints and no camera.
        ModuleNotFoundError: supervision is not installed.
    """
    import supervision

    hands = np.flatnonzero(predictions.valid[t])
    pixels = pixel_positions(predictions)[0][t, hands]
    known = np.isfinite(pixels).all(-1)
    confidence = known if predictions.confidence is None else known * predictions.confidence[t, hands]
    sides = predictions.hand_side[hands]
    data: dict[str, Any] = {'hand_side': np.array([SIDE_LABELS[side] for side in sides])}
    if predictions.track_ids is not None:
        data['tracker_id'] = predictions.track_ids[t, hands]
    return supervision.KeyPoints(
        xy=np.where(known[..., None], pixels, 0).astype(np.float32),
        class_id=sides.astype(np.int64),
        keypoint_confidence=confidence.astype(np.float32),
        data=data,
    )
