"""`LandmarkEstimator`: MediaPipe's hand landmark network.

Network and constants are those of the published graph of MediaPipe Hands (Zhang et al., 2020).
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.inference.tracking.interfaces import NUM_JOINTS, EstimatorInfo, HandEstimate, HandRegion
from handpose.inference.tracking.network import ImageNetwork
from handpose.registry import FRAME_ESTIMATORS
from handpose.video import VideoFrame
from handpose.zoo.fetch import get

INPUT_SIZE = 224  # pixels
OUTPUTS = {'Identity': 3 * NUM_JOINTS, 'Identity_1': 1, 'Identity_2': 1, 'Identity_3': 3 * NUM_JOINTS}


@FRAME_ESTIMATORS.register_module()
class LandmarkEstimator:
    """Estimates 21 joints of one hand in each region, image by image.

    The joints are in the common order. Those in 3D are in metres for a hand of typical size: the network cannot tell a
    small hand nearby from a large one further away, so lengths are known only up to a factor.

    Args:
        path: the network file; default `mediapipe_hand_full` of the model zoo.

    Raises:
        NetworkError: the file is not the network.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        path = get('mediapipe_hand_full') if path is None else path
        self._network = ImageNetwork(path, INPUT_SIZE, OUTPUTS)

    @property
    def info(self) -> EstimatorInfo:
        """See `FrameEstimator`."""
        return EstimatorInfo('MediaPipe hand landmark network')

    def estimate(self, frame: VideoFrame, regions: Sequence[HandRegion]) -> list[HandEstimate]:
        """See `FrameEstimator`."""
        return [self._estimate(frame.image, region) for region in regions]

    def reset(self, intrinsics: NDArray[np.float64] | None = None) -> None:
        """See `FrameEstimator`; there is nothing to discard."""

    def context_start(self, times: NDArray[np.float64]) -> int:
        """See `FrameEstimator`."""
        return len(times)

    def _estimate(self, image: NDArray[np.uint8], region: HandRegion) -> HandEstimate:
        to_image = region.to_image()
        from_input = to_image @ np.diag([1 / INPUT_SIZE, 1 / INPUT_SIZE, 1])
        crop = cv2.warpAffine(
            image,
            from_input,
            (INPUT_SIZE, INPUT_SIZE),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        outputs = self._network.run(np.asarray(crop, np.uint8))
        in_crop = outputs['Identity'].reshape(NUM_JOINTS, 3)[:, :2] / INPUT_SIZE
        world = outputs['Identity_3'].reshape(NUM_JOINTS, 3).astype(np.float64)
        # The network sees the hand upright; in the image it is rotated about the viewing direction.
        world[:, :2] = world[:, :2] @ (to_image[:, :2] / region.size).T
        return HandEstimate(
            joints_2d=(in_crop @ to_image[:, :2].T + to_image[:, 2]).astype(np.float32),
            joints_3d=(world - world[:1]).astype(np.float32),
            presence=float(outputs['Identity_1'].item()),
            right=float(outputs['Identity_2'].item()),
        )
