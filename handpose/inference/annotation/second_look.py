"""A second look at images in which a hand was missed: where it must be is known from other cameras and other frames.

Legend: T frames, K cameras, H hands, J the 21 common joints.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.hands.sides import Side
from handpose.inference.annotation.detection import Progress, frames_of
from handpose.inference.annotation.matching import MatchedHands
from handpose.inference.annotation.recording_source import RecordingSource
from handpose.inference.session import Session
from handpose.inference.tracking.tracker import MIN_PRESENCE, SAME_HAND, extent, next_region
from handpose.structures import Calibration
from handpose.video import VideoFrame

RUN = 30  # images that are kept in memory, and frames over which a hand is followed from where it was detected
MAX_SHIFT = 0.5  # of the hand's size, from where it is expected
MIN_IN_VIEW = 0.5  # of the joints


def look_again(
    source: RecordingSource,
    frame_indices: NDArray[np.int64],
    expected: NDArray[np.float64],
    matched: MatchedHands,
    session: Session,
    progress: Progress | None = None,
) -> MatchedHands:
    """Runs the landmark network where a hand was missed.

    It looks where the joints in 3D are projected to, else where the hand is in the frame before or after. A hand is
    taken where the network is certain that there is one, on the expected side, near to where it looked, and not one
    that was found already.

    Args:
        source: the recording.
        frame_indices: (T, K) image of each camera, -1 for none or for one that is to be left alone.
        expected: (T, H, 21, 3) metres, world, where the hands are or may be, NaN where unknown.
        matched: what was detected.
        session: its network for joints is used.
        progress: is told about it.

    Returns:
        What was detected, with the hands that were found now.

    Raises:
        VideoError: a video cannot be read.
    """
    copies = (matched.joints_2d.copy(), matched.valid.copy(), matched.confidence.copy())
    found = replace(matched, joints_2d=copies[0], valid=copies[1], confidence=copies[2])
    pixels, in_view = _projected(source.calibration, expected)
    missing = ~matched.valid & (frame_indices >= 0)[..., None]
    looks = missing & (in_view | _followable(matched.valid))
    for k, name in enumerate(source.names):
        frames = np.flatnonzero(looks[:, k].any(-1))
        camera = _Camera(
            k, np.where(in_view[:, k, :, None, None], pixels[:, k], np.nan), looks[:, k], matched.hand_side
        )
        for done, run in enumerate(_runs(source, k, frames, frame_indices[:, k])):
            camera.look(run, found, session)
            if progress is not None:
                progress(f'second look at {name}', float(min((done + 1) * RUN, len(frames))), float(len(frames)))
    return found


@dataclass(frozen=True, eq=False)
class _Camera:
    """One camera: its number, where hands are expected (T, H, 21, 2) or NaN, which are looked for (T, H), sides."""

    number: int
    expected: NDArray
    looks: NDArray
    hand_side: NDArray

    def look(self, run: dict[int, VideoFrame], found: MatchedHands, session: Session) -> None:
        """Looks for the hands of a run of frames, forward and then backward in time; adds them to `found`."""
        for h in range(len(self.hand_side)):
            for frames, step in ((sorted(run), 1), (sorted(run, reverse=True), -1)):
                for t in frames:
                    if self.looks[t, h] and not found.valid[t, self.number, h]:
                        self._look(run[t], t, h, step, found, session)

    def _look(self, frame: VideoFrame, t: int, h: int, step: int, found: MatchedHands, session: Session) -> None:
        k, guess = self.number, self.expected[t, h]
        if not np.isfinite(guess).all():
            before = t - step
            if not 0 <= before < len(found.valid) or not found.valid[before, k, h]:
                return
            guess = found.joints_2d[before, k, h]
        (estimate,) = session.tracking_estimator.estimate(frame, [next_region(guess)])
        points, size = estimate.joints_2d, extent(guess)
        others = [found.joints_2d[t, k, o] for o in np.flatnonzero(found.valid[t, k]) if o != h]
        is_right = int(self.hand_side[h]) == Side.RIGHT
        if (
            estimate.presence >= MIN_PRESENCE
            and np.isfinite(points).all()
            and (estimate.right > 0.5) == is_right
            and np.linalg.norm(points - guess, axis=-1).mean() < MAX_SHIFT * size
            and ((points >= 0) & (points < frame.image.shape[1::-1])).all(-1).mean() >= MIN_IN_VIEW
            and all(np.linalg.norm(points - other, axis=-1).mean() > SAME_HAND * size for other in others)
        ):
            found.joints_2d[t, k, h], found.confidence[t, k, h] = points, estimate.presence
            found.valid[t, k, h] = True


def _projected(calibration: Calibration, joints: NDArray) -> tuple[NDArray, NDArray]:
    """(T, K, H, 21, 2) pixels, and (T, K, H) whether a whole hand is known and enough of it is in view."""
    points = torch.from_numpy(joints)
    pixels = torch.stack([camera.project(points) for camera in calibration], 1).numpy()
    seen = torch.stack([camera.sees(points) for camera in calibration], 1).numpy()
    return pixels, np.isfinite(joints).all((-1, -2))[:, None] & (seen.mean(-1) >= MIN_IN_VIEW)


def _followable(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(T, K, H) hands that another camera sees, at most `RUN` frames from where this one detected them."""
    numbers = np.arange(len(valid))[:, None, None]
    last = np.maximum.accumulate(np.where(valid, numbers, -RUN - 1))
    following = np.minimum.accumulate(np.where(valid, numbers, len(valid) + RUN)[::-1])[::-1]
    near = (numbers - last <= RUN) | (following - numbers <= RUN)
    return np.asarray(near & (valid.sum(1, keepdims=True) > valid))


def _runs(source: RecordingSource, camera: int, frames: NDArray, images: NDArray) -> Iterator[dict[int, VideoFrame]]:
    """Yields frames with their images, `RUN` at a time at most, without a frame between them that is not wanted."""
    if not len(frames):
        return
    shown: dict[int, list[int]] = {}
    for t in frames.tolist():
        shown.setdefault(int(images[t]), []).append(t)
    run: dict[int, VideoFrame] = {}
    for frame in frames_of(source.videos[camera], source.fps, set(shown)):
        for t in shown[frame.index]:
            if run and (t - 1 not in run or len(run) >= RUN):
                yield run
                run = {}
            run[t] = frame
    yield run
