"""Hands of a video: detector, landmark network, tracker, decoding, refining. Two threads: `--threads 2`.

The video is a rendering of the built-in data. The networks come from the model zoo; they are downloaded if they are
not there yet.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import grasp_bodies, rendered
from handpose.inference.live import LiveHands
from handpose.inference.refiner import load_refiner
from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import HandDetector, HandEstimate, HandRegion
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.inference.video_hands import find_hands
from handpose.video import VideoFrame, VideoReader, VideoWriter
from handpose.visualization.hand_overlay import draw_predictions

SIZE, FRAMES, QUICK_FRAMES, FPS = 640, 96, 24, 30


class TimedDetector:
    """A detector and the time that it took; see `HandDetector`."""

    def __init__(self, detector: HandDetector) -> None:
        self.detector, self.seconds = detector, 0.0

    def detect(self, image: NDArray[np.uint8]) -> list[HandRegion]:
        """See `HandDetector`."""
        start = time.perf_counter()
        found = self.detector.detect(image)
        self.seconds += time.perf_counter() - start
        return found


class TimedEstimator(LandmarkEstimator):
    """A landmark estimator and the time that it took."""

    seconds = 0.0

    def estimate(self, frame: VideoFrame, regions: Sequence[HandRegion]) -> list[HandEstimate]:
        """See `FrameEstimator`."""
        start = time.perf_counter()
        found = super().estimate(frame, regions)
        self.seconds += time.perf_counter() - start
        return found


def rendered_video(settings: Settings) -> tuple[Path, int]:
    """A video of a hand that reaches for an object, made if not in the cache yet, and its number of frames."""
    count = QUICK_FRAMES if settings.quick else FRAMES
    path = Path(settings.cache) / f'hand_{SIZE}_{count}.webm'
    if not path.exists():
        with VideoWriter(path, FPS) as writer:
            for frame in rendered(grasp_bodies(count, SIZE)):
                writer.write(frame.image)
    return path, count


def finding_hands(settings: Settings, refine: bool) -> Work:
    path, count = rendered_video(settings)
    detector, estimator = TimedDetector(PalmDetector()), TimedEstimator()
    refiner, total = load_refiner(method='gaussian'), [0.0]
    found: dict[str, Any] = {}

    def run() -> NDArray:
        start = time.perf_counter()
        predictions = find_hands(path, Session(detector, estimator)).predictions
        if refine:
            predictions = refiner.refine(predictions)
        total[0] += time.perf_counter() - start
        found['frames with a hand:'] = int(predictions.valid.any(1).sum())
        return predictions.joints

    def notes() -> dict[str, Any]:
        share = (detector.seconds + estimator.seconds) / max(total[0], 1e-9)
        return {**found, 'share of the time in networks:': round(share, 2)}

    return Work(run, count, notes)


@case('frame', target=20, when='full')
def hands_of_a_video(settings: Settings) -> Work:
    """Hands of a 640 x 640 video file: decoding, detector, landmark network, tracker."""
    return finding_hands(settings, refine=False)


@hands_of_a_video.reference
def landmark_network(settings: Settings) -> Work:
    """The landmark network alone, once for each image."""
    path, count = rendered_video(settings)
    frames = list(VideoReader(path))
    estimator, region = LandmarkEstimator(), HandRegion(SIZE / 2, SIZE / 2, SIZE / 2, 0.0)
    return Work(lambda: [estimator.estimate(frame, [region]) for frame in frames], count)


@case('frame', when='full')
def refined_hands_of_a_video(settings: Settings) -> Work:
    """The same with refining by the Gaussian filter."""
    return finding_hands(settings, refine=True)


@refined_hands_of_a_video.reference
def unrefined_hands(settings: Settings) -> Work:
    """Without refining."""
    return finding_hands(settings, refine=False)


@case('frame', target=15, when='full')
def live_hands(settings: Settings) -> Work:
    """Live hands: detector, landmark network, tracker, causal One-Euro filter and overlay, image by image."""
    path, count = rendered_video(settings)
    frames = list(VideoReader(path))
    live = LiveHands(frames, refiner=load_refiner(method='one_euro', latency=0))

    def run() -> int:
        for shown in live:
            draw_predictions(shown.found.frame.image, shown.predictions, 0)
        return len(frames)

    return Work(run, count, lambda: {'latencies:': str(live.latencies())})
