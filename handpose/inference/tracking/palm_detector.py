"""`PalmDetector`: MediaPipe's palm detection network.

The network, its anchors and the constants below are those of the published graph of MediaPipe Hands (Zhang et al.,
"MediaPipe Hands: On-device Real-time Hand Tracking", 2020).
Legend: N = 2016 anchors.
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.inference.tracking.interfaces import HandRegion
from handpose.inference.tracking.network import ImageNetwork
from handpose.registry import HAND_DETECTORS
from handpose.zoo.fetch import get

INPUT_SIZE = 192  # pixels
ANCHOR_GRIDS = ((8, 2), (16, 6))  # (stride in pixels, anchors in each cell)
MAX_LOGIT = 100.0
WRIST, MIDDLE_MCP = 0, 2  # of the seven palm points
REGION_SCALE, REGION_SHIFT = 2.6, -0.5  # of the palm's box: the region has the fingers in it too


@HAND_DETECTORS.register_module()
class PalmDetector:
    """Finds the palms of hands of any number in an image.

    The image is scaled to 192 x 192 pixels, so hands that are small in it are not found.

    Args:
        path: the network file; default `mediapipe_palm_full` of the model zoo.
        min_score: from 0 to 1, of a palm.
        max_overlap: intersection over union from which two detections are merged.

    Raises:
        NetworkError: the file is not the network.
    """

    def __init__(self, path: str | Path | None = None, min_score: float = 0.5, max_overlap: float = 0.3) -> None:
        anchors = _anchors()
        path = get('mediapipe_palm_full') if path is None else path
        self._network = ImageNetwork(path, INPUT_SIZE, {'Identity': len(anchors) * 18, 'Identity_1': len(anchors)})
        self._anchors = anchors
        self.min_score, self.max_overlap = min_score, max_overlap

    def detect(self, image: NDArray[np.uint8]) -> list[HandRegion]:
        """See `HandDetector`."""
        side = max(image.shape[:2])
        offset = (side - np.array(image.shape[1::-1])) / 2  # of the borders that make the image square
        scale = INPUT_SIZE / side
        # Corners of the image, not centres of pixels, are mapped: the shift of half a pixel is the reference's.
        to_input = np.array([[scale, 0, scale * offset[0]], [0, scale, scale * offset[1]]])
        square = cv2.warpAffine(image, to_input, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
        outputs = self._network.run(np.asarray(square, np.uint8))
        logits = outputs['Identity_1'].reshape(-1).astype(np.float64)
        scores = 1 / (1 + np.exp(-logits.clip(-MAX_LOGIT, MAX_LOGIT)))
        kept = np.flatnonzero(scores >= self.min_score)
        if not len(kept):
            return []
        # Centre, width and height of the box, then seven points; in pixels relative to the anchor.
        values = outputs['Identity'].reshape(-1, 9, 2)[kept].astype(np.float64)
        values[:, [0, *range(2, 9)]] += self._anchors[kept, None]
        values /= scale
        values[:, [0, *range(2, 9)]] -= offset
        merged = weighted_nms(values, scores[kept], self.max_overlap)
        return [_region(palm) for palm in merged]


def weighted_nms(palms: NDArray, scores: NDArray, max_overlap: float) -> list[NDArray]:
    """Merges detections of the same palm: weighted non-maximum suppression.

    The detection with the highest score and all that overlap with it are replaced by their mean, weighted with their
    scores; then the same with the rest.

    Args:
        palms: (N, 9, 2): centre, (width, height), seven points.
        scores: (N,).
        max_overlap: intersection over union from which two detections are merged.

    Returns:
        Merged detections (9, 2), the one with the highest score first.
    """
    low, high = palms[:, 0] - palms[:, 1] / 2, palms[:, 0] + palms[:, 1] / 2
    rest = np.argsort(-scores, kind='stable')
    merged = []
    while len(rest):
        best = rest[0]
        sides = np.minimum(high[rest], high[best]) - np.maximum(low[rest], low[best])
        common = sides.clip(0).prod(-1)
        union = palms[rest, 1].prod(-1) + palms[best, 1].prod() - common
        same = common > max_overlap * union
        same[0] = True
        weights = scores[rest[same]]
        merged.append((palms[rest[same]] * weights[:, None, None]).sum(0) / weights.sum())
        rest = rest[~same]
    return merged


def _anchors() -> NDArray[np.float64]:
    """(N, 2) centres of the anchors, pixels of the input."""
    grids = []
    for stride, count in ANCHOR_GRIDS:
        centres = stride * (np.arange(INPUT_SIZE // stride) + 0.5)
        cells = np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)
        grids.append(cells.repeat(count, 0))
    return np.concatenate(grids)


def _region(palm: NDArray) -> HandRegion:
    """The region of the whole hand; `palm` (9, 2) as in `weighted_nms`."""
    points = palm[2:]
    towards_fingers = points[MIDDLE_MCP] - points[WRIST]
    rotation = float(np.arctan2(towards_fingers[0], -towards_fingers[1]))
    shift = REGION_SHIFT * palm[1, 1] * np.array([-np.sin(rotation), np.cos(rotation)])
    x, y = palm[0] + shift
    return HandRegion(float(x), float(y), float(REGION_SCALE * palm[1].max()), rotation)
