"""From the tracks of a whole video to `Predictions`: at most one left and one right hand in each image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS, Side
from handpose.inference.tracking.interfaces import NUM_JOINTS
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.tracker import right_logit
from handpose.structures import Predictions

MIN_TRACK_TIME = 0.2  # seconds; shorter tracks are dropped, unless the video itself is shorter
MIN_MEAN_PRESENCE = 0.6
MAX_COMMON = 0.1  # fraction of a track's images in which its side may be taken already
MAX_LISTED = 5  # spurious tracks that a note describes
_NONE = np.zeros(0, np.int64)
BOX_MARGIN = 0.1  # of the joints' extent, on each side of a box


@dataclass(frozen=True)
class TrackSummary:
    """One track of a video.

    Attributes:
        track_id: its number.
        rows: (n,) of the records.
        side: of the whole track.
        presence: mean.
        seconds: from its first image to the end of its last one.
    """

    track_id: int
    rows: NDArray[np.int64]
    side: Side
    presence: float
    seconds: float

    def __str__(self) -> str:
        return f'track {self.track_id} ({SIDE_LABELS[self.side]}, {len(self.rows)} frames)'


def select_hands(
    records: TrackRecords,
    image_size: Sequence[int],
    source: str = '',
    licence: str = '',
    scale: str = 'relative',
    wanted: Sequence[Side] | None = None,
) -> tuple[Predictions, list[str]]:
    """Keeps the best tracks of a left and a right hand.

    A track has one side, that of the sum of evidence of its images. Tracks that are short or uncertain are dropped as
    spurious. Of each side, the tracks with the most evidence are kept that do not overlap in time; a hand that leaves
    and comes back is therefore kept although its tracks have different ids.

    Args:
        records: of the whole video, at least one image.
        image_size: (width, height), pixels.
        source: for the predictions.
        licence: for the predictions.
        scale: of the joints, see `Predictions`.
        wanted: the hands that the predictions have, whether they were found or not, in the order left, right; None
            means those that were found.

    Returns:
        Predictions of all images in frame 'wrist', and notes on what was dropped.
    """
    period = float(np.median(np.diff(records.times))) if len(records) > 1 else 0.0
    tracks = sorted(_summaries(records, period), key=lambda track: -track.presence * len(track.rows))
    duration = float(records.times[-1] - records.times[0]) + period if len(records) else 0.0
    kept: list[tuple[TrackSummary, NDArray[np.int64]]] = []
    spurious: list[TrackSummary] = []
    notes: list[str] = []
    taken = np.zeros((2, len(records)), bool)
    for track in tracks:
        if _is_spurious(track, min(MIN_TRACK_TIME, duration)):
            spurious.append(track)
            continue
        frames = records.frame[track.rows]
        common = taken[track.side, frames]
        if common.mean() > MAX_COMMON:
            notes.append(f'{track} was dropped: a second {SIDE_LABELS[track.side]} hand; predictions hold one of each')
            continue
        taken[track.side, frames] = True
        kept.append((track, track.rows[~common]))
    if spurious:
        notes.append(_spurious_note(spurious))
    if not kept:
        notes.append(f'no hand was found in {len(records)} frames')
    sides = sorted({track.side for track, _ in kept}) or [Side.RIGHT] if wanted is None else list(wanted)
    rows = [np.sort(np.concatenate([r for track, r in kept if track.side is side] or [_NONE])) for side in sides]
    return to_predictions(records, sides, rows, image_size, source, licence, scale), notes


def _summaries(records: TrackRecords, period: float) -> list[TrackSummary]:
    found = []
    for track_id in np.unique(records.track_id):
        rows = np.flatnonzero(records.track_id == track_id)
        side = Side.RIGHT if right_logit(records.right[rows]).sum() > 0 else Side.LEFT
        times = records.times[records.frame[rows]]
        presence = float(records.presence[rows].mean())
        seconds = float(times[-1] - times[0]) + period
        found.append(TrackSummary(int(track_id), rows, side, presence, seconds))
    return found


def _is_spurious(track: TrackSummary, min_seconds: float) -> bool:
    return track.seconds < min_seconds - 1e-6 or track.presence < MIN_MEAN_PRESENCE


def _spurious_note(tracks: Sequence[TrackSummary]) -> str:
    """One note for all of them: a long video may have hundreds."""
    listed = [f'{track}: {track.seconds:.2f} s, mean presence {track.presence:.2f}' for track in tracks[:MAX_LISTED]]
    more = f'; and {len(tracks) - MAX_LISTED} more' if len(tracks) > MAX_LISTED else ''
    counted = 'one track was' if len(tracks) == 1 else f'{len(tracks)} tracks were'
    return f'{counted} dropped as spurious, too short or too uncertain ({"; ".join(listed)}{more})'


def to_predictions(
    records: TrackRecords,
    sides: Sequence[Side],
    rows: Sequence[NDArray[np.int64]],
    image_size: Sequence[int],
    source: str = '',
    licence: str = '',
    scale: str = 'relative',
    partial: bool | None = None,
) -> Predictions:
    """Makes predictions of chosen rows of records.

    Args:
        records: of all images.
        sides: (H,) of the hands.
        rows: of each hand: which rows of the records, in increasing order, at most one for an image.
        image_size: (width, height), pixels.
        source: for the predictions.
        licence: for the predictions.
        scale: of the joints, see `Predictions`.
        partial: True gives `joints_valid` although no joint is missing, so that the predictions of all images of a
            video have the same fields; None gives it where a valid hand lacks joints.

    Returns:
        Predictions of all images in frame 'wrist'; a hand is valid where at least one of its joints is.
    """
    shape = len(records), len(sides)
    valid = np.zeros(shape, bool)
    arrays = dict(
        joints=np.full((*shape, NUM_JOINTS, 3), np.nan, np.float32),
        joints_2d=np.full((*shape, NUM_JOINTS, 2), np.nan, np.float32),
        joints_valid=np.zeros((*shape, NUM_JOINTS), bool),
        confidence=np.zeros((*shape, NUM_JOINTS), np.float32),
        boxes=np.full((*shape, 4), np.nan, np.float32),
        track_ids=np.full(shape, -1, np.int64),
    )
    for h, chosen in enumerate(rows):
        frames = records.frame[chosen]
        valid[frames, h] = records.joints_valid[chosen].any(1)
        low, high = records.tracked_2d[chosen].min(1), records.tracked_2d[chosen].max(1)
        margin = BOX_MARGIN * (high - low)
        arrays['joints'][frames, h] = records.joints_3d[chosen]
        arrays['joints_2d'][frames, h] = records.joints_2d[chosen]
        arrays['joints_valid'][frames, h] = records.joints_valid[chosen]
        arrays['confidence'][frames, h] = records.presence[chosen, None]
        arrays['boxes'][frames, h] = np.concatenate([low - margin, high + margin], -1)
        arrays['track_ids'][frames, h] = records.track_id[chosen]
    if partial is None:
        partial = not arrays['joints_valid'][valid].all()
    if not partial:  # refiners smooth whole hands faster than joints that may be missing
        del arrays['joints_valid']
    return Predictions(
        **arrays,
        valid=valid,
        timestamps=records.times,
        hand_side=np.array(sides, np.int64),
        frame='wrist',
        image_size=np.array(image_size),
        source=source,
        licence=licence,
        scale=scale,
    )
