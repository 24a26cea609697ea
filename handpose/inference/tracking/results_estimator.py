"""`ResultsEstimator`: the joints of a predictions file, such as those of HaMeR or WiLoR, on hands that are tracked.

Legend: T frames of the file, H hands of it, J the 21 common joints.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import Side
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate, HandRegion, missing_hand, tracked_hand
from handpose.inference.tracking.tracker import assign_nearest, extent
from handpose.registry import FRAME_ESTIMATORS
from handpose.structures import load_predictions
from handpose.video import VideoFrame
from handpose.visualization.hand_overlay import image_points, image_scale, scale_pixels

SAME_HAND = 0.5  # sizes of the hand: mean distance of the joints of a result and of the hand that it is of
OTHER_SIDE = 2.0  # factor of this distance where the sides differ: the pixels decide, but the same side comes first
TIE_BREAK = 1e-6
SAME_FRAME = 0.49  # frame periods of the file
SINGLE_FRAME = 1 / 60  # seconds, for a file with a single frame


class ResultsError(ValueError):
    """Results that are not of the video that is processed."""


@FRAME_ESTIMATORS.register_module()
class ResultsEstimator:
    """Gives the joints that another estimator wrote to a predictions file (`handpose convert`), without running it.

    A result belongs to the image whose time is nearest, within half a frame period of the file. It is assigned to the
    tracked hand where its 2D joints are, or, in a file without 2D joints and camera, to the hand of its side. A
    tracked hand without a result has no valid joint; a result where no hand is tracked is not used.

    Args:
        path: the predictions file of the same video.

    Raises:
        PredictionsError: the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._results = Path(path), load_predictions(path)
        self._given = self._results.given_joints()
        period = self._results.period
        self._tolerance = SINGLE_FRAME if period is None else SAME_FRAME * period
        self._pixels = image_points(self._results)

    @property
    def info(self) -> EstimatorInfo:
        """See `FrameEstimator`."""
        results = self._results
        notes = []
        if self._pixels is None:
            notes.append(
                f'{self._path} has neither 2D joints nor a camera: its hands are assigned by their sides, and 2D '
                f'joints are those by which hands are followed'
            )
        name = f'{results.source} ({self._path.name})' if results.source else self._path.name
        return EstimatorInfo(name, results.scale, results.licence, notes)

    def reset(self, intrinsics: NDArray[np.float64] | None = None) -> None:
        """See `FrameEstimator`; there is nothing to discard."""

    def context_start(self, times: NDArray[np.float64]) -> int:
        """See `FrameEstimator`."""
        return len(times)

    def estimate(self, frame: VideoFrame, regions: Sequence[HandRegion]) -> list[HandEstimate]:
        """See `FrameEstimator`.

        Raises:
            ResultsError: the file is of images of another shape.
        """
        tracked = [tracked_hand(region) for region in regions]
        scale = self._scale(frame.image)
        found = [missing_hand(side is Side.RIGHT) for side, _ in tracked]
        row = self._row(frame.time)
        if row is None or not tracked:
            return found
        hands = np.flatnonzero(self._given[row].any(-1)).tolist()
        cost = np.array([[self._distance(row, h, *hand, scale) for hand in tracked] for h in hands])
        # The oldest track comes first where nothing else decides.
        cost = cost.reshape(len(hands), len(tracked)) + TIE_BREAK * np.arange(len(tracked))
        for h, n in assign_nearest(cost, SAME_HAND):
            found[n] = self._estimate(row, hands[h], tracked[n][1], scale)
        return found

    def _row(self, time: float) -> int | None:
        """The frame of the file for an image, or None."""
        distance = np.abs(self._results.timestamps - time)
        row = int(distance.argmin())
        return row if distance[row] <= self._tolerance else None

    def _scale(self, image: NDArray[np.uint8]) -> float:
        """Pixels of the image per pixel of the file, which may be of the same video in another size."""
        if self._results.image_size is None:
            return 1.0
        scale = image_scale(image, self._results.image_size)
        if scale is None:
            (height, width), (stated_width, stated_height) = image.shape[:2], self._results.image_size
            raise ResultsError(
                f'{self._path} is of images of {stated_width:g}x{stated_height:g} pixels, and the video has '
                f'{width}x{height}: give the results of this video, neither cropped nor rotated'
            )
        return scale

    def _points(self, row: int, hand: int, scale: float) -> NDArray | None:
        """(J, 2) pixels of the image, exactly those of the file in images of the same size; None without pixels."""
        if self._pixels is None or scale == 1:
            return None if self._pixels is None else self._pixels[row, hand]
        return scale_pixels(self._pixels[row, hand], scale)

    def _distance(self, row: int, hand: int, side: Side, tracked_2d: NDArray, scale: float) -> float:
        """Of a result and a tracked hand, in sizes of the hand."""
        same_side = int(self._results.hand_side[hand]) == side
        points = self._points(row, hand, scale)
        if points is None:
            return 0.0 if same_side else np.inf
        offset = np.linalg.norm(points - tracked_2d, axis=-1)[self._given[row, hand]]
        distance = float(offset.mean()) / extent(tracked_2d) * (1.0 if same_side else OTHER_SIDE)
        return distance if np.isfinite(distance) else np.inf

    def _estimate(self, row: int, hand: int, tracked_2d: NDArray, scale: float) -> HandEstimate:
        joints, given = self._results.joints[row, hand], self._given[row, hand]
        wrist = np.zeros(3, np.float32) if self._results.frame == 'wrist' else joints[0]
        known = self._points(row, hand, scale)
        points = tracked_2d if known is None else known
        right = int(self._results.hand_side[hand]) == Side.RIGHT
        valid = given & np.isfinite(joints - wrist).all(-1) & np.isfinite(points).all(-1)
        return HandEstimate(
            joints_2d=np.where(valid[:, None], points, np.nan).astype(np.float32),
            joints_3d=np.where(valid[:, None], joints - wrist, np.nan).astype(np.float32),
            presence=1.0,
            right=float(right),
            joints_valid=valid,
        )
