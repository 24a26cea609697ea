"""From matched detections to joints in the world: robust triangulation, and the rejection of outliers over time.

Errors of detectors grow with the hand in the image, so distances in images are relative to its size there.
Legend: T frames, K cameras, H hands, J = 21 joints of the common order.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.triangulation import triangulate_robust
from handpose.hands.joints import BONES
from handpose.inference.annotation.bone_lengths import BoneFit, adjust_bone_lengths, bone_vectors
from handpose.inference.annotation.matching import MatchedHands
from handpose.inference.annotation.pair_costs import ViewRays, undistorted
from handpose.structures.calibration import Calibration

_BLOCK = 500_000  # residuals that are computed at once
_NEIGHBOURS = 2  # frames before and after that say where a joint can be
_LENGTH_SPREADS = 5.0  # spreads (median absolute deviations as standard deviations) that a bone may be off
_FINGER = (0, 9, 10, 11, 12)  # the middle one, with the palm: the length of a hand


@dataclass(frozen=True)
class ReconstructionOptions:
    """How hands are reconstructed.

    Args:
        max_residual: distance from the projected joint, relative to the size of the hand in the image, from which on a
            detection is left out.
        max_length_change: of a bone from its median, relative to it; further off, the joint is rejected. Bones whose
            lengths vary more are judged by five times their spread.
        max_jump: distance from where a joint is in the frames around, in lengths of the hand, at 30 frames per second.
        hold_bone_lengths: whether the joints are moved such that bones have nearly constant lengths, see
            `adjust_bone_lengths`.
        bone_fit: how firmly.
        interpolate: seconds; shorter gaps of a joint are filled from the frames before and after. They are never marked
            as measured. 0 fills none.
    """

    max_residual: float = 0.08
    max_length_change: float = 0.5
    max_jump: float = 0.5
    hold_bone_lengths: bool = True
    bone_fit: BoneFit = field(default_factory=BoneFit)
    interpolate: float = 0.0


@dataclass(eq=False)
class Reconstruction:
    """Hands in the world.

    Args:
        joints_3d: (T, H, J, 3) in the calibration's unit (metres), world; NaN where neither `valid` nor `interpolated`.
        valid: (T, H, J) joints that at least two cameras measured.
        interpolated: (T, H, J) joints between measured ones, only on request; never valid.
        triangulated: (T, H, J, 3) as `joints_3d`, before bones were adjusted; NaN where not valid.
        views_used: (T, K, H, J) detections that a valid joint was computed from.
        residuals: (T, K, H, J) pixels of the camera's own images, from the detection to the projected joint, whether
            it was used or not; NaN without a detection or a valid joint.
        bone_lengths: (H, 20) median lengths of `handpose.hands.joints.BONES`; NaN if unknown.
        notes: what is unusual or limited, one message each.
    """

    joints_3d: NDArray[np.float64]
    valid: NDArray[np.bool_]
    interpolated: NDArray[np.bool_]
    triangulated: NDArray[np.float64]
    views_used: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    bone_lengths: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)

    @property
    def num_views(self) -> NDArray[np.int64]:
        """(T, H, J) how many cameras a joint was computed from."""
        return self.views_used.sum(1)

    def frame_errors(self) -> NDArray[np.float64]:
        """(T, H) median over cameras and joints of the residuals, pixels; NaN without a valid joint."""
        by_frame = self.residuals.swapaxes(1, 2).reshape(*self.valid.shape[:2], -1)
        return masked_median(by_frame, -1)

    def bone_length_spread(self) -> NDArray[np.float64]:
        """(H, 20) standard deviation of each bone's length over its mean, of valid joints; NaN without any."""
        lengths = np.linalg.norm(bone_vectors(np.where(self.valid[..., None], self.joints_3d, np.nan)), axis=-1)
        count = np.isfinite(lengths).sum(0)
        enough = np.where(count > 0, count, np.nan)
        mean = np.nansum(lengths, 0) / enough
        return np.sqrt(np.nansum((lengths - mean) ** 2, 0) / enough) / mean


def reconstruct(
    matched: MatchedHands,
    calibration: Calibration,
    timestamps: NDArray | None = None,
    options: ReconstructionOptions | None = None,
) -> Reconstruction:
    """Triangulates the joints of all frames, and rejects what cannot be.

    Every joint is triangulated from the views that agree (`triangulate_robust`), weighted by the confidence of the
    detections. Joints are then rejected at the ends of bones whose length is far from the hand's median, and where
    they jump and come back. By default, the rest is moved a little, such that bones keep their lengths.

    Args:
        matched: detections of each hand.
        calibration: the K cameras.
        timestamps: (T,) seconds, increasing; None means 30 frames per second.
        options: default `ReconstructionOptions()`.

    Returns:
        The hands.

    Raises:
        CalibrationError: a camera is mounted on a moving rig.
    """
    options = ReconstructionOptions() if options is None else options
    times = np.arange(len(matched)) / 30 if timestamps is None else np.asarray(timestamps, np.float64)
    rays = undistorted(matched.joints_2d, calibration)
    points, valid, used = _triangulated(rays, matched, calibration, options.max_residual)
    triangulated_valid = valid.copy()
    lengths = median_lengths(points)
    valid = valid & ~_off_length(points, lengths, options.max_length_change)
    valid = valid & ~_jumping(np.where(valid[..., None], points, np.nan), times, lengths, options.max_jump)
    valid = valid & (valid.sum(-1, keepdims=True) >= valid.shape[-1] // 3)  # the rest of a hand that failed
    used = used & valid[:, None]
    triangulated = np.where(valid[..., None], points, np.nan)
    lengths = median_lengths(triangulated)
    joints = triangulated
    if options.hold_bone_lengths:
        weights = np.where(used, matched.confidence[..., None], 0.0)
        joints, lengths = adjust_bone_lengths(triangulated, rays, weights, calibration.projections(), options.bone_fit)
    joints, interpolated = _interpolated(joints, valid, times, options.interpolate)
    measured = np.where(valid[..., None], joints, np.nan)
    return Reconstruction(
        joints_3d=joints,
        valid=valid,
        interpolated=interpolated,
        triangulated=triangulated,
        views_used=used,
        residuals=_residuals(measured, matched, calibration),
        bone_lengths=lengths,
        notes=_notes(matched, triangulated_valid, valid),
    )


def masked_median(values: NDArray, axis: int) -> NDArray[np.float64]:
    """The median of what is not NaN along an axis; NaN (without a warning) where nothing is."""
    return torch.from_numpy(np.asarray(values, np.float64)).nanquantile(0.5, dim=axis).numpy()


def median_lengths(joints: NDArray) -> NDArray[np.float64]:
    """The median length of each bone of a hand.

    Args:
        joints: (T, H, J, 3), NaN where not known.

    Returns:
        (H, 20); NaN where a bone is never seen.
    """
    return masked_median(np.linalg.norm(bone_vectors(joints), axis=-1), 0)


def _triangulated(
    rays: ViewRays, matched: MatchedHands, calibration: Calibration, max_residual: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Points (T, H, J, 3), NaN where not valid; valid (T, H, J); used (T, K, H, J)."""
    frames, views, hands, joints = rays.points_2d.shape[:-1]
    projections = calibration.projections()
    step = max(1, _BLOCK // (views * hands * joints))
    parts = []
    for start in range(0, frames, step):
        block = slice(start, start + step)
        # Pixels relative to the size of the hand: (T, H, K, J, 2), and projections that give the same.
        sizes = torch.from_numpy(rays.sizes[block].swapaxes(1, 2)[..., None, None])
        points_2d = torch.from_numpy(rays.points_2d[block].swapaxes(1, 2)) / sizes
        scale = torch.cat([1 / sizes, 1 / sizes, torch.ones_like(sizes)], -2)  # (T, H, K, 3, 1)
        weights = torch.from_numpy(matched.confidence[block].swapaxes(1, 2)).unsqueeze(-1).expand(points_2d.shape[:-1])
        parts.append(triangulate_robust(points_2d, projections * scale, weights, threshold=max_residual))
    points = torch.cat([part.points for part in parts]).numpy()
    valid = torch.cat([part.valid for part in parts]).numpy()
    used = torch.cat([part.used for part in parts]).numpy().swapaxes(1, 2)
    return np.where(valid[..., None], points, np.nan), valid, used & valid[:, None]


def _off_length(points: NDArray, lengths: NDArray, max_change: float) -> NDArray[np.bool_]:
    """(T, H, J) joints whose bones are too long or too short: the joint of the most such bones, until none is left."""
    found = np.linalg.norm(bone_vectors(points), axis=-1)
    deviation = np.abs(found - lengths)
    spread = 1.4826 * masked_median(deviation, 0)
    limit = np.maximum(max_change * lengths, _LENGTH_SPREADS * spread)
    excess = np.where(deviation > limit, deviation / limit, 0.0)  # NaN compares False
    ends = np.zeros((len(BONES), points.shape[-2]))
    for bone, (parent, child) in enumerate(BONES):
        # Of the two ends of a single wrong bone it is the outer one: inner joints are easier to detect.
        ends[bone, parent], ends[bone, child] = 1.0, 1.01
    rejected = np.zeros(points.shape[:-1], bool)
    for _ in range(points.shape[-2]):
        blame = excess @ ends
        worst = blame.argmax(-1)[..., None]
        some = np.take_along_axis(blame, worst, -1) > 0
        if not some.any():
            break
        np.put_along_axis(rejected, worst, some | np.take_along_axis(rejected, worst, -1), -1)
        excess = np.where(rejected @ (ends.T > 0), 0.0, excess)
    return rejected


def _jumping(points: NDArray, times: NDArray, lengths: NDArray, max_jump: float) -> NDArray[np.bool_]:
    """(T, H, J) joints that are far from their median place in the frames around."""
    padded = np.pad(points, ((_NEIGHBOURS, _NEIGHBOURS), (0, 0), (0, 0), (0, 0)), constant_values=np.nan)
    windows = np.stack([padded[shift : shift + len(points)] for shift in range(2 * _NEIGHBOURS + 1)])
    enough = np.isfinite(windows).all(-1).sum(0) > 2  # of two places, neither is the outlier
    distance = np.linalg.norm(points - masked_median(windows, 0), axis=-1)
    hand_length = lengths[:, [child - 1 for child in _FINGER[1:]]].sum(-1)
    period = float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30
    # What a joint that accelerates deviates grows with the square of the time between frames.
    limit = max_jump * hand_length[:, None] * max(1.0, (30 * period) ** 2)
    return enough & (distance > limit)


def _interpolated(
    joints: NDArray, valid: NDArray, times: NDArray, seconds: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fills short gaps; returns the joints and which of them were filled."""
    filled = np.where(valid[..., None], joints, np.nan)
    if not seconds > 0 or not len(valid):
        return filled, np.zeros_like(valid)
    frames = np.arange(len(valid))[:, None, None]
    before = np.maximum.accumulate(np.where(valid, frames, -1))
    after = np.minimum.accumulate(np.where(valid, frames, len(valid))[::-1])[::-1]
    inside = ~valid & (before >= 0) & (after < len(valid))
    before, after = np.where(inside, before, 0), np.where(inside, after, 0)
    gap = times[after] - times[before]
    inside &= gap <= seconds + 1e-9
    share = ((times[:, None, None] - times[before]) / np.where(inside, gap, 1.0))[..., None]
    start, end = (np.take_along_axis(filled, index[..., None], 0) for index in (before, after))
    return np.where(inside[..., None], (1 - share) * start + share * end, filled), inside


def _residuals(joints: NDArray, matched: MatchedHands, calibration: Calibration) -> NDArray[np.float64]:
    points = torch.from_numpy(joints)
    projected = torch.stack([camera.project(points) for camera in calibration], 1).numpy()
    return np.linalg.norm(projected - matched.joints_2d, axis=-1)


def _notes(matched: MatchedHands, before: NDArray, valid: NDArray) -> list[str]:
    notes = []
    for h, side in enumerate(matched.hand_side):
        name = ('left', 'right')[side]
        seen = matched.num_views[:, h] > 1
        lost = seen & ~valid[:, h].any(-1)
        rejected = int((before[:, h] & ~valid[:, h]).sum())
        if lost.any():
            notes.append(
                f'the {name} hand has no position in {int(lost.sum())} frames although two cameras or more detected '
                f'it: their detections do not fit each other'
            )
        if rejected:
            notes.append(
                f'{rejected} of {int(before[:, h].sum())} triangulated joints of the {name} hand were rejected: bones '
                f'of impossible length, or jumps'
            )
    return notes
