"""Finds out which detections of several cameras show the same hand: `match_hands`.

Within each frame, detections of different cameras are joined that fit the epipolar lines, the usual size of the palm,
the side that the network saw, and the hands of the frames before; see `pair_costs`. The side of a hand is that of all
its detections together, so that single ones may be wrong.
Legend: T frames, K cameras, N the most hands in one image, H hands of the result, J = 21 joints of the common order.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from handpose.inference.annotation.hand_identities import HandTrail, choose_sides
from handpose.inference.annotation.hand_trails import TrailBuilder
from handpose.inference.annotation.pair_costs import (
    PairWeights,
    ViewRays,
    fundamental_matrices,
    pair_costs,
    pair_fits,
    undistorted,
    usual_palm,
)
from handpose.inference.annotation.view_hands import ViewHands, ViewHandsError
from handpose.inference.tracking.tracker import right_logit
from handpose.structures.calibration import Calibration

_BLOCK = 100_000  # pairs of detections that are compared at once
_SIDE_WINDOW = 15  # frames before and after, of one track, that say which side a detection has
_NO_HAND = 'no hand was found by any camera in {} frames'


@dataclass(eq=False)
class MatchedHands:
    """The detections of each hand.

    Args:
        hand_side: (H,) 0 left, 1 right; two hands in this order.
        joints_2d: (T, K, H, J, 2) pixels of the camera's own images; NaN where there is no detection.
        valid: (T, K, H) whether the hand was detected.
        confidence: (T, K, H) presence of the detection, 0 without one.
        detections: (T, K, H) which of the N detections it is, -1 for none. None occurs twice.
        image_valid: (T, K) whether the camera has an image.
        notes: what is unusual or limited, one message each.
    """

    hand_side: NDArray[np.int64]
    joints_2d: NDArray[np.float32]
    valid: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    detections: NDArray[np.int64]
    image_valid: NDArray[np.bool_]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def num_views(self) -> NDArray[np.int64]:
        """(T, H) cameras that detected the hand."""
        return self.valid.sum(1)


def match_hands(view_hands: ViewHands, calibration: Calibration, weights: PairWeights | None = None) -> MatchedHands:
    """Matches the hands of all cameras.

    Each detection belongs to at most one hand, and each hand has at most one detection in an image. With detections of
    more than two hands, those of the best left and the best right one are kept. A hand that only one camera sees stays
    in the result, because its detections are of use to the eye and to a hand model, and a note says so.

    Args:
        view_hands: detections of all cameras.
        calibration: the K cameras in the same order, none on a moving rig.
        weights: of the evidence, default `PairWeights()`.

    Returns:
        One or two hands. If no hand was found, a right one that is never valid.

    Raises:
        ViewHandsError: the number of cameras differs from the calibration's.
        CalibrationError: a camera is mounted on a moving rig.
    """
    if view_hands.num_cameras != len(calibration):
        raise ViewHandsError(
            f'the detections are of {view_hands.num_cameras} cameras, the calibration has {len(calibration)} '
            f'({", ".join(calibration.names)}): select its cameras in the order of the videos'
        )
    weights = PairWeights() if weights is None else weights
    trails = _follow(view_hands, calibration, weights)
    sides, hands, notes = choose_sides(trails, view_hands)
    return _collect(view_hands, sides, hands, notes, calibration)


def _follow(view_hands: ViewHands, calibration: Calibration, weights: PairWeights) -> list[HandTrail]:
    """All hands of the recording, also those that are too many or too short."""
    rays = undistorted(view_hands.joints_2d, calibration)
    matrices = fundamental_matrices(calibration)
    right = _steady_right(view_hands)
    per_frame = max(1, (view_hands.num_cameras * view_hands.valid.shape[2]) ** 2)
    step = max(1, _BLOCK // per_frame)
    blocks = [slice(start, start + step) for start in range(0, len(view_hands), step)]
    # Every so many frames are enough to know how large a palm is.
    some = np.linspace(0, len(blocks) - 1, min(len(blocks), 20)).astype(int)
    palms = [usual_palm(pair_fits(_part(rays, blocks[i]), calibration, matrices), weights) for i in sorted({*some})]
    known = [palm for palm in palms if np.isfinite(palm)]
    palm = float(np.median(known)) if known else float('nan')
    builder = TrailBuilder(view_hands, rays, calibration, weights)
    for block in blocks:
        fits = pair_fits(_part(rays, block), calibration, matrices)
        for costs in pair_costs(fits, right[block], palm, weights):
            builder.push(costs)
    return builder.trails()


def _part(rays: ViewRays, block: slice) -> ViewRays:
    return ViewRays(rays.points_2d[block], rays.sizes[block])


def _steady_right(view_hands: ViewHands) -> NDArray[np.float64]:
    """(T, K, N) probability of a right hand over about a second of the same track: networks err in single images."""
    logits = np.where(view_hands.valid, right_logit(view_hands.right), 0.0)
    steady = logits.copy()
    for k in range(view_hands.num_cameras):
        for track in np.unique(view_hands.track_ids[:, k][view_hands.valid[:, k]]):
            if track < 0:
                continue
            member = (view_hands.track_ids[:, k] == track) & view_hands.valid[:, k]
            sums = np.concatenate([[0.0], np.cumsum((logits[:, k] * member).sum(-1))])
            counts = np.concatenate([[0], np.cumsum(member.any(-1))])
            frames = np.arange(len(view_hands))
            first = np.maximum(frames - _SIDE_WINDOW, 0)
            end = np.minimum(frames + _SIDE_WINDOW + 1, len(view_hands))
            mean = (sums[end] - sums[first]) / np.maximum(counts[end] - counts[first], 1)
            steady[:, k] = np.where(member, mean[:, None], steady[:, k])
    return 1 / (1 + np.exp(-steady))


def _collect(
    view_hands: ViewHands, sides: list[int], hands: list[NDArray[np.int64]], notes: list[str], calibration: Calibration
) -> MatchedHands:
    """The arrays of the chosen hands, `hands` being which detection (T, K) each has."""
    if not hands:
        sides, hands = [1], [np.full(view_hands.valid.shape[:2], -1)]
        notes = [*notes, _NO_HAND.format(len(view_hands))]
    detections = np.stack(hands, -1)
    valid = detections >= 0
    frame, view = np.ogrid[: len(view_hands), : view_hands.num_cameras]
    index = (frame[..., None], view[..., None], np.maximum(detections, 0))
    matched = MatchedHands(
        hand_side=np.array(sides, np.int64),
        joints_2d=np.where(valid[..., None, None], view_hands.joints_2d[index], np.float32(np.nan)),
        valid=valid,
        confidence=np.where(valid, view_hands.presence[index], np.float32(0)),
        detections=detections,
        image_valid=view_hands.image_valid,
        notes=notes,
    )
    matched.notes.extend(_view_notes(matched, calibration))
    return matched


def _view_notes(matched: MatchedHands, calibration: Calibration) -> list[str]:
    """What the cameras miss."""
    notes = []
    count, some = matched.num_views, matched.valid.any()
    for h, side in enumerate(matched.hand_side):
        single, seen = int((count[:, h] == 1).sum()), int((count[:, h] > 0).sum())
        if single:
            name = ('left', 'right')[side]
            notes.append(
                f'the {name} hand was detected by a single camera in {single} of {seen} frames, where it has no '
                f'position'
            )
    for k, camera in enumerate(calibration):
        missing = int((~matched.image_valid[:, k]).sum())
        if missing:
            notes.append(f'camera {camera.name} has no image in {missing} of {len(matched)} frames')
        if some and not matched.valid[:, k].any() and matched.image_valid[:, k].any():
            notes.append(f'camera {camera.name} did not detect any hand that another one shows')
    return notes
