"""`Session`: hands of a video or a live camera, image by image.

session = Session()
for frame in VideoReader('hands.mp4'):
    found = session.push(frame)                     # the hands of this image, tracked so far
predictions = session.finish()                      # the whole video, spurious tracks dropped
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import Side
from handpose.inference.tracking.interfaces import (
    EstimatorInfo,
    FrameEstimator,
    HandDetector,
    HandEstimate,
    HandRegion,
)
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.selection import select_hands, to_predictions
from handpose.inference.tracking.tracker import HandTracker, TrackedHand, next_region
from handpose.structures import Predictions
from handpose.video import VideoFrame
from handpose.zoo.fetch import get

NETWORKS = ('full', 'lite')
CHUNK = 256  # images whose hands are kept as Python objects before they become arrays


@dataclass(frozen=True, eq=False)
class FrameHands:
    """The hands of one image.

    Attributes:
        frame: the image, its index and its time.
        hands: all hands that are tracked, the oldest track first.
        detected: whether the detector ran on this image.
        scale: of the joints, see `Predictions`.
        partial: whether joints may be missing, because another estimator gives them.
    """

    frame: VideoFrame
    hands: list[TrackedHand]
    detected: bool
    scale: str = 'relative'
    partial: bool = False

    def __len__(self) -> int:
        return len(self.hands)

    def __iter__(self) -> Iterator[TrackedHand]:
        return iter(self.hands)

    def to_predictions(self) -> Predictions:
        """Returns the left and the right hand of this image: one frame, H = 2, of several hands the oldest track."""
        records = TrackRecords.of_frames([self.frame.time], [self.detected], [self.hands])
        sides = np.array([hand.side for hand in self.hands], np.int64)
        rows = [np.flatnonzero(sides == side)[:1] for side in Side]
        size = self.frame.image.shape[1::-1]
        return to_predictions(records, list(Side), rows, size, scale=self.scale, partial=self.partial)


class Session:
    """Finds and follows the hands of a video or a live camera.

    Args:
        detector: finds hands; default `PalmDetector()`.
        tracking_estimator: estimates the joints by which hands are followed; default `LandmarkEstimator()`.
        estimator: another estimator whose joints replace those of the `tracking_estimator`; it gets the regions of the
            hands with their track ids, sides and joints. None keeps those by which hands are followed.
        name: of what finds the hands, for the source of predictions.
        licence: of the hands, for predictions; default that of the `estimator`, as far as it states one.
        keep: True keeps the hands of all images for `finish` (about 0.6 kB for each hand and image); False is for
            cameras that run for hours.
    """

    def __init__(
        self,
        detector: HandDetector | None = None,
        tracking_estimator: FrameEstimator | None = None,
        estimator: FrameEstimator | None = None,
        name: str = 'MediaPipe palm and landmark networks',
        licence: str = '',
        keep: bool = True,
    ) -> None:
        self.detector = PalmDetector() if detector is None else detector
        self.tracking_estimator = LandmarkEstimator() if tracking_estimator is None else tracking_estimator
        self.estimator = estimator
        self.keep = keep
        info = None if estimator is None else estimator.info
        self.name = name if info is None else f'{info.name}, hands found by {name}'
        self.licence = licence if info is None else licence or info.licence
        self.reset()

    @property
    def info(self) -> EstimatorInfo:
        """What is known of the joints."""
        return (self.tracking_estimator if self.estimator is None else self.estimator).info

    def reset(self, intrinsics: NDArray[np.float64] | None = None) -> None:
        """Discards all images; the next one begins another video.

        Args:
            intrinsics: (3, 3) of the other video, pixels, for estimators that need them; None if they are not known.
        """
        self._intrinsics = intrinsics
        self._restored: list[list[TrackedHand]] = []
        self._tracker = HandTracker()
        self._parts: list[TrackRecords] = []
        self._recent: list[tuple[float, bool, list[TrackedHand]]] = []
        self._last_time: float | None = None
        self.image_size: tuple[int, int] | None = None
        self.notes: list[str] = []
        for estimator in (self.tracking_estimator, self.estimator):
            if estimator is not None:
                estimator.reset(intrinsics)

    def push(self, frame: VideoFrame) -> FrameHands:
        """Processes the next image.

        Args:
            frame: (h, w, 3) uint8 RGB with its time, later than the one before.

        Returns:
            Its hands.

        Raises:
            ValueError: not an RGB image with 8 bits, another size than before, or a time that does not increase.
        """
        self._check(frame)
        image, time = frame.image, frame.time
        followed = self.tracking_estimator.estimate(frame, self._tracker.regions())
        detected = self._tracker.needs_detection(time, followed)
        new: list[HandEstimate] = []
        if detected:
            regions = self._tracker.new_regions(followed, self.detector.detect(image))
            new = self.tracking_estimator.estimate(frame, regions)
        hands = self._tracker.update(time, followed, new, detected)
        if self.estimator is not None:
            hands = _with_estimates(self.estimator, frame, hands)
        if self.keep:
            self._recent.append((time, detected, hands))
            if len(self._recent) >= CHUNK:
                self._compact()
        return FrameHands(frame, hands, detected, self.info.scale, partial=self.estimator is not None)

    def finish(self, source: str = '', licence: str = '') -> Predictions:
        """Ends the video; the next `push` begins another one.

        Args:
            source: text about where the predictions come from.
            licence: text about what may be done with them.

        Returns:
            The best left and right hand in all images, in frame 'wrist'. `notes` says what was dropped or assumed.

        Raises:
            ValueError: no image was pushed, or the session keeps none.
        """
        records = self.records()
        if not self.keep or self.image_size is None:
            raise ValueError('there is nothing to finish: no image was pushed, or the session has keep=False')
        info = self.info
        predictions, notes = select_hands(records, self.image_size, source, licence, info.scale)
        if lacking := int((~records.joints_valid.any(1)).sum()):
            notes.append(f'{info.name} gives no joints for {lacking} of {len(records.frame)} hands that were found')
        self.reset()
        self.notes = notes + info.notes
        return predictions

    def records(self) -> TrackRecords:
        """Returns the hands of all images so far."""
        self._compact()
        self._parts = [TrackRecords.concatenate(self._parts)]
        return self._parts[0]

    def restore(self, records: TrackRecords, image_size: tuple[int, int]) -> None:
        """Continues after images that were processed before, as if they had been pushed.

        An `estimator` that remembers images has to see the last ones again: see `context_start` and `revisit`.

        Args:
            records: of all images from the beginning.
            image_size: (width, height), pixels.
        """
        self.reset(self._intrinsics)
        start = self.context_start(records)
        for f in range(len(records)):
            detected = bool(records.detected[f])
            hands = self._tracker.restore(float(records.times[f]), list(records.tracked(f)), detected)
            if f >= start:
                self._restored.append(hands)
        if len(records):
            self._last_time, self.image_size = float(records.times[-1]), image_size
        if self.keep:
            self._parts = [records]

    def context_start(self, records: TrackRecords) -> int:
        """Tells which images the `estimator` has to see again after `restore`.

        Args:
            records: of all images from the beginning.

        Returns:
            Index of the first of them, to be given to `revisit` like those after it; their number if there is none.
        """
        return len(records) if self.estimator is None else self.estimator.context_start(records.times)

    def revisit(self, frame: VideoFrame) -> None:
        """Shows the `estimator` an image again after `restore`, so that it answers as without an interruption.

        Args:
            frame: the next image, beginning with that of `context_start`.

        Raises:
            ValueError: all images of `restore` were shown.
        """
        if self.estimator is None or not self._restored:
            raise ValueError('there is no image to revisit: none was restored, or all of them were shown')
        self.estimator.estimate(frame, _regions(self._restored.pop(0)))

    def _compact(self) -> None:
        if self._recent:
            times, detected, hands = zip(*self._recent, strict=True)
            self._parts.append(TrackRecords.of_frames(times, detected, hands))
            self._recent = []

    def _check(self, frame: VideoFrame) -> None:
        image = frame.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f'expected an RGB image (h, w, 3) of uint8, got {image.dtype} of shape {image.shape}')
        height, width = image.shape[:2]
        if self.image_size not in (None, (width, height)):
            raise ValueError(
                f'the images changed from {self.image_size[0]}x{self.image_size[1]} to {width}x{height} pixels; '
                f'call finish() or reset() between videos'
            )
        if self._last_time is not None and not frame.time > self._last_time:
            raise ValueError(
                f'the time of an image must be later than that of the one before, got {frame.time:g} s after '
                f'{self._last_time:g} s; call finish() or reset() between videos'
            )
        self.image_size, self._last_time = (width, height), frame.time


def make_session(
    networks: str = 'full', estimator: FrameEstimator | None = None, keep: bool = True, licence: str = ''
) -> Session:
    """Creates a session with one of the pairs of networks of the model zoo.

    Args:
        networks: 'full', or 'lite', which is faster and less accurate.
        estimator: see `Session`.
        keep: see `Session`.
        licence: see `Session`.

    Returns:
        The session.

    Raises:
        ValueError: unknown networks, or ones that cannot be downloaded.
    """
    if networks not in NETWORKS:
        raise ValueError(f'networks must be one of {", ".join(NETWORKS)}, got {networks!r}')
    detector = PalmDetector(get(f'mediapipe_palm_{networks}'))
    name = 'MediaPipe palm and landmark networks' + ('' if networks == 'full' else f' ({networks})')
    return Session(detector, LandmarkEstimator(get(f'mediapipe_hand_{networks}')), estimator, name, licence, keep)


def _with_estimates(estimator: FrameEstimator, frame: VideoFrame, hands: Sequence[TrackedHand]) -> list[TrackedHand]:
    """The hands with the joints of another estimator; sides and presence stay those of the tracker."""
    found = estimator.estimate(frame, _regions(hands))
    return [
        replace(hand, estimate=replace(new, presence=hand.estimate.presence, right=hand.estimate.right))
        for hand, new in zip(hands, found, strict=True)
    ]


def _regions(hands: Sequence[TrackedHand]) -> list[HandRegion]:
    """Where the hands are in their image, for an estimator that does not follow them itself."""
    regions = [next_region(hand.tracked_2d, hand.track_id) for hand in hands]
    return [
        region._replace(side=hand.side, joints_2d=hand.tracked_2d) for region, hand in zip(regions, hands, strict=True)
    ]
