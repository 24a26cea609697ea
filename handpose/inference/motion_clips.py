"""Clips of hand motion for estimators of joints, made of predictions of any frame rate, with gaps, of one or two hands.

Legend: T frames of the recording, N frames at the frame rate of the model, H hands, J = 21 joints.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS
from handpose.models.estimators.base import Estimator
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.layers.hand_motion import frame_positions
from handpose.structures import HandSequence, Predictions, PredictionsError
from handpose.structures.prediction_clips import joint_clip
from handpose.structures.predictions import PER_HAND
from handpose.text import did_you_mean

MAX_OBSERVED = 256  # frames that G-HTT sees at most (paper section 4.1), 8.5 s at 30 per second
HANDS = ('left', 'right', 'both')
_NEIGHBOURS = 1.5  # frame periods of the recording; frames that are farther apart have a gap between them
_ON_FRAME = 1e-6  # in frames of the model


def choose_hands(predictions: Predictions, hands: str) -> Predictions:
    """Takes the hands that are wanted and seen.

    Args:
        predictions: of one or two hands.
        hands: 'left', 'right', or 'both', which means all that there are.

    Returns:
        The predictions without the other hand, and without a hand that no frame shows.

    Raises:
        PredictionsError: the hand is in no frame.
        ValueError: unknown `hands`.
    """
    if hands not in HANDS:
        raise ValueError(f'hands must be one of {", ".join(HANDS)}, got {hands!r}')
    sides = [SIDE_LABELS[side] for side in predictions.hand_side]
    seen = np.asarray(predictions.valid.any(0))
    chosen = np.flatnonzero(seen & np.array([hands in ('both', side) for side in sides]))
    if not len(chosen):
        found = [side for side, any_frame in zip(sides, seen, strict=True) if any_frame]
        raise PredictionsError(f'no frame has a {hands} hand; those of the recording: {", ".join(found)}')
    return _take_hands(predictions, chosen)


def _take_hands(predictions: Predictions, hands: NDArray[np.int64]) -> Predictions:
    per_hand = {name: vars(predictions)[name] for name in PER_HAND}
    kept = {name: value[:, hands] for name, value in per_hand.items() if value is not None}
    return replace(predictions, hand_side=predictions.hand_side[hands], **kept)


def resample_motion(predictions: Predictions, frame_rate: float) -> Predictions:
    """Brings a recording to a regular time line, which ends with its last frame that has a hand.

    A frame that lies on the time line is taken as it is; otherwise joints are interpolated linearly between the frame
    before and the one after. Where one of these does not have the joint, belongs to another track (`track_ids`), or a
    frame is missing between them, the joint is not valid: gaps stay gaps. A recording of a higher frame rate loses
    frames, without any smoothing. A frame rate within a tenth of a frame of the model's counts as the same.

    Args:
        predictions: with at least one valid frame.
        frame_rate: of the model, frames per second.

    Returns:
        (N, H, ...) joints, masks, timestamps, and features of the object from the nearest frame; no 2D joints, boxes,
        confidence, track ids and scores.
    """
    last = int(np.flatnonzero(predictions.valid.any(1))[-1])
    track = predictions.select(slice(last + 1))
    positions = frame_positions(torch.from_numpy(track.timestamps), frame_rate).numpy()
    line = positions[-1] - np.arange(int(positions[-1] + _ON_FRAME), -1, -1)
    after = np.searchsorted(positions, line - _ON_FRAME)
    exact = positions[after] - line < _ON_FRAME
    before = np.where(exact, after, after - 1)
    step = np.where(exact, 1, positions[after] - positions[before])
    share = np.where(exact, 0, (line - positions[before]) / step)
    given = track.given_joints()
    gap = np.diff(track.timestamps, prepend=track.timestamps[:1]) > _NEIGHBOURS * (predictions.period or 1 / frame_rate)
    joined = (exact | ~gap[after])[:, None]
    if track.track_ids is not None:
        joined = joined & (track.track_ids[before] == track.track_ids[after])
    joints_valid = given[before] & given[after] & joined[..., None]
    weight = share[:, None, None, None].astype(np.float32)
    joints = (1 - weight) * track.joints[before] + weight * track.joints[after]  # those of `after` where it is exact
    valid, features = joints_valid.any(-1), track.object_features
    return Predictions(
        joints=joints,
        valid=valid,
        timestamps=np.interp(line, positions, track.timestamps),
        hand_side=track.hand_side,
        frame=track.frame,
        intrinsics=track.intrinsics,
        image_size=track.image_size,
        source=track.source,
        licence=track.licence,
        scale=track.scale,
        joints_valid=None if (joints_valid == valid[..., None]).all() else joints_valid,
        object_features=None if features is None else features[np.where(share < 0.5, before, after)],
    )


def last_run(valid: NDArray[np.bool_], max_gap: int, max_frames: int = MAX_OBSERVED) -> slice:
    """Finds the run of observed frames at the end of a track.

    Args:
        valid: (N, H) bool, the last frame has a hand.
        max_gap: frames; where no hand is seen in more frames than that, the run begins after them.
        max_frames: the longest run; it begins with a frame that has a hand.

    Returns:
        The frames of the run, to the end of the track.
    """
    seen = np.flatnonzero(valid.any(1))
    long_gaps = np.flatnonzero(np.diff(seen) > max_gap + 1)
    first = seen[long_gaps[-1] + 1] if len(long_gaps) else seen[0]
    first = max(int(first), len(valid) - max_frames)
    return slice(int(seen[seen >= first][0]), len(valid))


def motion_clips(predictions: Predictions, object_label: int | None = None) -> list[HandSequence]:
    """Makes clips of hand motion.

    In frame 'camera' two hands are one clip. In frame 'wrist' each hand is a clip of its own, whose wrist
    stands still: where the hands are relative to each other is unknown, and a model that is given both would take them
    for hands in one place.

    Args:
        predictions: frames at the frame rate of the model.
        object_label: class of the object in all frames, -1 unknown; None leaves the field out.

    Returns:
        Clips with joints_3d (N, H, 21, 3), joints_valid, hand_valid, frame_valid, timestamps, object_label and, where
        the object is not named, the object_features of the predictions.
    """
    if predictions.frame != 'wrist':
        return [_clip(predictions, object_label)]
    hands = (_take_hands(predictions, np.array([h])) for h in range(len(predictions.hand_side)))
    # Models of motion need axes that stand still: a hand whose wrist does not move is one in them.
    return [_clip(hand, object_label).replace(frame='camera') for hand in hands]


def _clip(predictions: Predictions, object_label: int | None) -> HandSequence:
    clip, features = joint_clip(predictions), predictions.object_features
    if object_label is not None:
        clip = clip.replace(object_label=torch.full((len(predictions),), object_label))
    if features is not None and (object_label is None or object_label < 0):
        clip = clip.replace(object_features=torch.from_numpy(features.copy()))
    return clip


def class_label(kind: str, name: str | None, names: Sequence[str], model: str) -> int | None:
    """Finds the number of an action or of an object.

    Args:
        kind: 'action' or 'object', for messages.
        name: its name, or None.
        names: those that the model knows.
        model: name of the model, for messages.

    Returns:
        The number, or None without a name.

    Raises:
        ValueError: the model knows no such name; names the nearest.
    """
    if name is None:
        return None
    if not names:
        raise ValueError(f'{model} takes no {kind}, got {name!r}: leave it out')
    if name not in names:
        some = ', '.join(list(names)[:10]) + (', ...' if len(names) > 10 else '')
        raise ValueError(
            f'{name!r} is not an {kind} that {model} was trained on.{did_you_mean(name, names)} It knows '
            f'{len(names)}: {some}'
        )
    return list(names).index(name)


def known_object(estimator: Estimator, name: str | None) -> int | None:
    """Finds the label of the object for the clips of an estimator.

    Args:
        estimator: any.
        name: of the object, or None where it is unknown.

    Returns:
        Its number, -1 where it is unknown, and None for an estimator that knows no objects.

    Raises:
        ValueError: the estimator knows no such object.
    """
    names = estimator.object_names if isinstance(estimator, Forecaster) else ()
    label = class_label('object', name, names, type(estimator).__name__)
    return label if label is not None or not names else -1


def motion_notes(predictions: Predictions, frame_rate: float) -> list[str]:
    """Says what was assumed about a recording.

    Args:
        predictions: the recording.
        frame_rate: of the model, frames per second.

    Returns:
        Messages; empty if it fits the model.
    """
    notes = []
    if predictions.period is not None:
        positions = frame_positions(torch.from_numpy(predictions.timestamps), frame_rate)
        if (positions.diff() - positions.diff().round()).abs().max() > _ON_FRAME:
            notes.append(
                f'the model was trained at {frame_rate:g} frames per second and the recording has '
                f'{1 / predictions.period:.4g}: its motion is interpolated linearly'
            )
    if predictions.frame == 'wrist':
        notes.append(
            "joints are relative to the wrist (frame 'wrist'), so the paths of the hands are unknown: each hand is "
            "treated on its own, and its wrist stays; `handpose infer --camera` gives hands in frame 'camera'"
        )
    if predictions.scale == 'relative':
        notes.append(
            "lengths are known only up to a factor (scale 'relative'), and the model was trained on metres: hands of "
            'an unusual size are forecast and recognized less well'
        )
    return notes
