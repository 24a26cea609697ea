"""Tells whether the detections of several cameras fit their calibration, and if not, what is likely wrong.

It works on the detections before they are matched, because nothing can be matched with a wrong calibration: of each two
cameras, the distance of a joint from the epipolar line is measured in the frames in which both see a hand.
Legend: T frames, K cameras, J = 21 joints of the common order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.time_offsets import estimate_time_offsets
from handpose.inference.annotation.pair_costs import MIN_SIZE, epipolar_distances, fundamental_matrices
from handpose.inference.annotation.view_hands import ViewHands
from handpose.structures.calibration import Calibration, CameraCalibration

USUAL_ERROR = 0.03  # of the size of a hand in the image: what detectors and unsynchronized shutters explain
BAD_ERROR = 0.06  # from here on a calibration does not fit
MIN_FRAMES = 10  # in which both cameras see a hand
MAX_FRAMES = 600  # that are compared; more say nothing new
MAX_OFFSET = 60  # frames
_MUCH_BETTER = 0.5  # what is left of the error if a suggestion is right
_SURE_CORRELATION = 0.8
_MIN_OFFSET = 0.7  # frames that are worth a message
_View = tuple[int, NDArray[np.float64], NDArray[np.int64]]  # camera, undistorted points (n, N, J, 2), their frames (n,)
_TRACK = 30  # frames with one hand in both cameras that the estimate of an offset needs


@dataclass(eq=False)
class Consistency:
    """How well detections fit their calibration.

    Args:
        fits: False if the calibration, or the time, of a camera is wrong. True also if nothing can be said.
        pair_errors: (K, K) median distance from the epipolar lines, relative to the size of the hand in the image;
            NaN for cameras that never see a hand in the same frames. Numbers of correct calibrations are about 0.01 to
            `USUAL_ERROR`.
        camera_errors: (K,) of each camera with all others, pixels of its images; NaN if unknown.
        worst_camera: index of the camera to look at first, -1 if all fit or if it cannot be told.
        time_offsets: (K,) frames: what the first camera shows in frame t, camera k shows in frame t + offset; NaN where
            it could not be estimated with certainty.
        messages: what is wrong, with numbers, and what to do; none if all is well.
        notes: what could not be told.
    """

    fits: bool
    pair_errors: NDArray[np.float64]
    camera_errors: NDArray[np.float64]
    worst_camera: int
    time_offsets: NDArray[np.float64]
    messages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_consistency(view_hands: ViewHands, calibration: Calibration, max_offset: int = MAX_OFFSET) -> Consistency:
    """Compares detections with a calibration.

    Of the hands in two images, those that fit best are compared, so the check is lenient where there are several.

    Args:
        view_hands: detections of the K cameras.
        calibration: the cameras in the same order.
        max_offset: the largest offset in time that is searched, frames.

    Returns:
        Numbers for each camera, and messages.

    Raises:
        CalibrationError: a camera is mounted on a moving rig.
    """
    scene = _Scene(view_hands, calibration)
    pairs = scene.pair_errors()
    known = np.isfinite(pairs)
    count = len(calibration)
    cameras = np.array([np.nanmedian(pairs[k]) if known[k].any() else np.nan for k in range(count)])
    pixels = cameras * scene.usual_sizes()
    offsets = _offsets(view_hands, max_offset)
    result = Consistency(True, pairs, pixels, -1, offsets)
    for k, camera in enumerate(calibration):
        if not known[k].any() and count > 1:
            result.notes.append(
                f'camera {camera.name} and the others see a hand together in fewer than {MIN_FRAMES} frames: whether '
                f'its calibration is right cannot be told'
            )
    # Of many pairs of cameras a few are far off when hands are hidden: it is the median of a camera that counts.
    bad = cameras > BAD_ERROR  # NaN compares False
    if not bad.any():
        result.messages.extend(_offset_messages(scene, offsets, calibration))
        return result
    result.fits = False
    result.worst_camera = _worst(pairs, bad)
    result.messages.append(_numbers(pairs, pixels, result.worst_camera, calibration))
    result.messages.extend(_suggestions(scene, pairs, offsets, calibration))
    if count == 2:
        result.notes.append(
            'with two cameras it cannot be told which of them is wrong, and an error along the epipolar lines (a '
            'wrong distance between the cameras, or some wrong focal lengths) does not show at all'
        )
    return result


class _Scene:
    """The detections of some frames, and their errors under changed calibrations."""

    def __init__(self, view_hands: ViewHands, calibration: Calibration) -> None:
        together = np.flatnonzero(view_hands.valid.any(-1).sum(-1) > 1)
        if len(together) > MAX_FRAMES:
            together = together[np.linspace(0, len(together) - 1, MAX_FRAMES).astype(int)]
        self.frames, self.calibration = together, calibration
        self.hands = view_hands
        self.points = view_hands.joints_2d.astype(np.float64)
        seen = np.isfinite(self.points)
        low, high = np.where(seen, self.points, np.inf).min(-2), np.where(seen, self.points, -np.inf).max(-2)
        self.sizes = np.maximum(np.where(np.isfinite(low), high - low, 0).max(-1), MIN_SIZE)

    def usual_sizes(self) -> NDArray[np.float64]:
        """(K,) median size of a hand, pixels; NaN without one."""
        valid = self.hands.valid
        return np.array(
            [np.median(self.sizes[:, k][valid[:, k]]) if valid[:, k].any() else np.nan for k in range(valid.shape[1])]
        )

    def pair_errors(self, cameras: list[CameraCalibration] | None = None) -> NDArray[np.float64]:
        """(K, K), of the calibration or of one with the same names."""
        calibration = self.calibration if cameras is None else Calibration(cameras)
        count = len(calibration)
        matrices = fundamental_matrices(calibration)
        straight = [self._straight(camera, k, self.frames) for k, camera in enumerate(calibration)]
        errors = np.full((count, count), np.nan)
        for k, other in combinations(range(count), 2):
            errors[k, other] = errors[other, k] = self._error(
                (k, straight[k], self.frames), (other, straight[other], self.frames), matrices[k, other]
            )
        return errors

    def error_without(self, camera: int, change: Callable[[CameraCalibration, NDArray], NDArray]) -> float:
        """The median error of a camera with all others if its points were changed before they are undistorted."""
        matrices = fundamental_matrices(self.calibration)
        changed = change(self.calibration.cameras[camera], self.points[self.frames, camera])
        errors = []
        for other, calibration in enumerate(self.calibration):
            if other != camera:
                straight = self._straight(calibration, other, self.frames)
                one, two = (camera, changed, self.frames), (other, straight, self.frames)
                errors.append(self._error(one, two, matrices[camera, other]))
        known = [error for error in errors if np.isfinite(error)]
        return float(np.median(known)) if known else float('nan')

    def error_at_offset(self, camera: int, offset: int) -> float:
        """The median error of a camera with the first one if it is shifted in time."""
        frames = self.frames[(self.frames + offset >= 0) & (self.frames + offset < len(self.hands))]
        first = self._straight(self.calibration.cameras[0], 0, frames)
        second = self._straight(self.calibration.cameras[camera], camera, frames + offset)
        matrix = fundamental_matrices(self.calibration)[0, camera]
        return self._error((0, first, frames), (camera, second, frames + offset), matrix)

    def _straight(self, camera: CameraCalibration, k: int, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        return camera.undistort(torch.from_numpy(self.points[frames, k])).numpy()

    def _error(self, first: _View, second: _View, matrix: NDArray[np.float64]) -> float:
        """Median over frames of the best fit of two detections; NaN for too few frames."""
        (k, one, times), (other, two, others) = first, second
        if not matrix.any() or not len(times):
            return float('nan')
        sizes = self.sizes[times, k][:, :, None, None], self.sizes[others, other][:, None, :, None]
        distances = epipolar_distances(one[:, :, None], two[:, None], matrix, sizes)
        by_pair = torch.from_numpy(distances).nanquantile(0.5, dim=-1).flatten(1).numpy()
        best = np.where(np.isnan(by_pair), np.inf, by_pair).min(-1)
        best = best[np.isfinite(best)]
        return float(np.median(best)) if len(best) >= MIN_FRAMES else float('nan')


def _worst(pairs: NDArray, bad: NDArray) -> int:
    """The camera without which the rest fits best; -1 if there are only two."""
    count = len(pairs)
    if count == 2:
        return -1
    rest = []
    for k in range(count):
        kept = np.delete(np.delete(pairs, k, 0), k, 1)
        rest.append(np.nansum(np.where(np.isfinite(kept), kept, 0.0)))
    return int(np.argmin(np.where(bad, rest, np.inf)))


def _numbers(pairs: NDArray, pixels: NDArray, worst: int, calibration: Calibration) -> str:
    each = ', '.join(
        f'{camera.name} {pixels[k]:.1f} px ({100 * np.nanmedian(pairs[k]):.0f} %)'
        for k, camera in enumerate(calibration)
        if np.isfinite(pixels[k])
    )
    first = '' if worst < 0 else f'; look at {calibration.names[worst]} first: without it the others fit best'
    return (
        f'the calibration does not fit the recording: joints are off the epipolar lines of other cameras by {each} '
        f'(median, and per cent of the size of the hand; usual are 1 to {100 * USUAL_ERROR:.0f} %){first}. It may be '
        f'the calibration of another recording, a camera was moved, or the videos do not show the same moments'
    )


def _mirrored(camera: CameraCalibration, points: NDArray) -> NDArray:
    flipped = np.stack([camera.image_size[0] - 1 - points[..., 0], points[..., 1]], -1)
    return camera.undistort(torch.from_numpy(flipped)).numpy()


def _turned(camera: CameraCalibration, points: NDArray) -> NDArray:
    width, height = camera.image_size
    return camera.undistort(torch.from_numpy(np.array([width - 1, height - 1]) - points)).numpy()


def _without_lens(_: CameraCalibration, points: NDArray) -> NDArray:
    return points


def _opposite_lens(camera: CameraCalibration, points: NDArray) -> NDArray:
    return replace(camera, distortion=-camera.distortion).undistort(torch.from_numpy(points)).numpy()


_CHANGES: dict[str, Callable[[CameraCalibration, NDArray], NDArray]] = {
    'if its images are mirrored left to right (switch mirroring off, or mirror the video)': _mirrored,
    'if its images are upside down (rotate the video by 180 degrees)': _turned,
    'without its lens distortion (its images may be undistorted already, or the coefficients are of another lens)': (
        _without_lens
    ),
    'if the signs of its distortion coefficients are changed (another convention of the program that wrote them)': (
        _opposite_lens
    ),
}


def _suggestions(scene: _Scene, pairs: NDArray, offsets: NDArray, calibration: Calibration) -> list[str]:
    """What would make the error of a camera much smaller."""
    messages = []
    for k, camera in enumerate(calibration):
        present = float(np.nanmedian(pairs[k])) if np.isfinite(pairs[k]).any() else 0.0
        if present <= BAD_ERROR:
            continue
        for words, change in _CHANGES.items():
            if change in (_without_lens, _opposite_lens) and not camera.distortion.any():
                continue
            error = scene.error_without(k, change)
            if error < _MUCH_BETTER * present:
                messages.append(
                    f'the error of camera {camera.name} falls from {100 * present:.1f} to {100 * error:.1f} % of the '
                    f'size of the hand {words}'
                )
    return messages + _offset_messages(scene, offsets, calibration)


def _offset_messages(scene: _Scene, offsets: NDArray, calibration: Calibration) -> list[str]:
    """Offsets in time that both the motion and the epipolar lines confirm."""
    messages = []
    for k, offset in enumerate(offsets):
        if not abs(offset) >= _MIN_OFFSET:  # NaN too
            continue
        now, then = scene.error_at_offset(k, 0), scene.error_at_offset(k, round(float(offset)))
        if then < now:
            late = 'late' if offset > 0 else 'early'
            messages.append(
                f'camera {calibration.names[k]} is {abs(offset):.1f} frames {late}: it shows in frame t + {offset:.1f} '
                f'what {calibration.names[0]} shows in frame t; the error with it falls from {100 * now:.1f} to '
                f'{100 * then:.1f} % of the size of the hand'
            )
    return messages


def _offsets(view_hands: ViewHands, max_offset: int) -> NDArray[np.float64]:
    """(K,) frames from frames with one hand in an image; NaN where it is not certain."""
    count = view_hands.num_cameras
    offsets = np.full(count, np.nan)
    offsets[0] = 0.0
    single = view_hands.valid.sum(-1) == 1
    index = view_hands.valid.argmax(-1)[..., None, None, None]
    tracks = np.take_along_axis(view_hands.joints_2d, index, 2)[:, :, 0].astype(np.float64)
    tracks = np.where(single[..., None, None], tracks, np.nan)
    reach = min(max_offset, len(view_hands) // 4)
    usable = [k for k in range(count) if single[:, k].sum() >= _TRACK]
    if count < 2 or 0 not in usable or reach < 1:
        return offsets
    for k in usable[1:]:
        # Each camera alone with the first one: a wrong camera must not spoil the offsets of others.
        both = single[:, 0] & single[:, k]
        if both.sum() < _TRACK:
            continue
        try:
            found = estimate_time_offsets([torch.from_numpy(tracks[:, 0]), torch.from_numpy(tracks[:, k])], reach)
        except ValueError:  # the hand is still, or never seen for long: the offset stays unknown
            continue
        if found.correlations[1] >= _SURE_CORRELATION:
            offsets[k] = float(found.frames[1])
    return offsets
