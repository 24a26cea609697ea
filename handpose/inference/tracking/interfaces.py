"""What detectors and per-frame estimators exchange with the tracker.

Legend: J the 21 common joints. Pixels as everywhere in this library: the centre of the first pixel is (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handpose.hands.joints import COMMON_JOINTS
from handpose.hands.sides import Side
from handpose.video import VideoFrame

NUM_JOINTS = len(COMMON_JOINTS)


class HandRegion(NamedTuple):
    """A rotated square around a hand.

    Attributes:
        x: of its centre, pixels.
        y: of its centre, pixels.
        size: length of a side, pixels.
        rotation: radians, clockwise in the image, from an upright square; the fingers point to its upper side.
        track_id: of the hand that is followed, or -1 for one that was just detected.
        side: of the hand, by all images so far; None if no joints were estimated yet.
        joints_2d: (J, 2) pixels, the joints by which the hand is followed, in the same image; None if they are not
            known yet.
    """

    x: float
    y: float
    size: float
    rotation: float
    track_id: int = -1
    side: Side | None = None
    joints_2d: NDArray[np.float32] | None = None

    def to_image(self) -> NDArray[np.float64]:
        """Returns (2, 3), the affine from the square, [0, 1] x [0, 1] with y down, to pixels of the image."""
        axes = self.size * _rotation_matrix(self.rotation)
        centre = np.array([self.x, self.y])
        return np.column_stack([axes, centre - axes @ [0.5, 0.5]])

    def box(self) -> NDArray[np.float64]:
        """Returns (4,), the xyxy box around the square, pixels."""
        affine = self.to_image()
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ affine[:, :2].T + affine[:, 2]
        return np.concatenate([corners.min(0), corners.max(0)])


@dataclass(frozen=True, eq=False)
class HandEstimate:
    """One hand in one image.

    Attributes:
        joints_2d: (J, 2) float32, pixels of the image; NaN where a joint is not valid.
        joints_3d: (J, 3) float32, metres, relative to the wrist, in axes parallel to the camera's; NaN where a joint is
            not valid.
        presence: from 0 to 1, how certain it is that the region shows a hand.
        right: from 0 to 1, how certain it is that the hand is a right one.
        joints_valid: (J,) bool, which joints were estimated; None means all.
    """

    joints_2d: NDArray[np.float32]
    joints_3d: NDArray[np.float32]
    presence: float
    right: float
    joints_valid: NDArray[np.bool_] | None = None


def missing_hand(right: bool) -> HandEstimate:
    """Returns an estimate without a valid joint, of a hand that an estimator cannot see.

    Args:
        right: whether it is a right hand.
    """
    return HandEstimate(
        joints_2d=np.full((NUM_JOINTS, 2), np.nan, np.float32),
        joints_3d=np.full((NUM_JOINTS, 3), np.nan, np.float32),
        presence=0.0,
        right=float(right),
        joints_valid=np.zeros(NUM_JOINTS, bool),
    )


def tracked_hand(region: HandRegion) -> tuple[Side, NDArray[np.float32]]:
    """Reads what an estimator needs that cannot follow hands itself.

    Args:
        region: of a tracked hand.

    Returns:
        The side, and the joints (J, 2) by which the hand is followed.

    Raises:
        ValueError: the region has none.
    """
    if region.side is None or region.joints_2d is None:
        raise ValueError(
            'this estimator needs regions with side and joints: give it to Session as estimator, not as '
            'tracking_estimator'
        )
    return region.side, region.joints_2d


@dataclass(frozen=True)
class EstimatorInfo:
    """What is known of an estimator's joints before there are any.

    Attributes:
        name: for the source of predictions.
        scale: 'metric' or 'relative', see `Predictions`.
        licence: text about what may be done with the joints, as far as the weights or the file decide on it.
        notes: assumptions and limits that a user has to know, one message each.
    """

    name: str
    scale: str = 'relative'
    licence: str = ''
    notes: list[str] = field(default_factory=list)


class HandDetector(Protocol):
    """Finds hands in an image; registered in `HAND_DETECTORS`."""

    def detect(self, image: NDArray[np.uint8]) -> list[HandRegion]:
        """Finds hands, the most certain one first.

        Args:
            image: (h, w, 3) uint8 RGB.

        Returns:
            Regions that a `FrameEstimator` can start from, without track ids.
        """


class FrameEstimator(Protocol):
    """Estimates the joints of hands in regions of an image; registered in `FRAME_ESTIMATORS`.

    An estimator may remember images, and what it saw of each `track_id`; `reset` discards that.
    """

    @property
    def info(self) -> EstimatorInfo:
        """What is known of its joints, for the video of the last `reset`."""

    def estimate(self, frame: VideoFrame, regions: Sequence[HandRegion]) -> list[HandEstimate]:
        """Estimates one hand in each region.

        Args:
            frame: the image, (h, w, 3) uint8 RGB, and its time, later than that of the image before.
            regions: where the hands are; there may be none.

        Returns:
            One estimate for each region, in their order; `presence` tells whether there is a hand.

        Raises:
            ValueError: regions without side or joints, for an estimator that needs them.
        """

    def reset(self, intrinsics: NDArray[np.float64] | None = None) -> None:
        """Discards what is remembered of a video; the next image belongs to another one.

        Args:
            intrinsics: (3, 3) of the other video, pixels; None if they are not known.
        """

    def context_start(self, times: NDArray[np.float64]) -> int:
        """Tells which images the estimates in the next image will depend on.

        Args:
            times: (F,) of all images so far, seconds.

        Returns:
            Index of the first of these images; F for an estimator that sees each image alone.
        """


def _rotation_matrix(angle: float) -> NDArray[np.float64]:
    """(2, 2), rotates by an angle from x to y: clockwise in an image, whose y points down."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
