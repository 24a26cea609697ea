"""`Predictions`: the output of a per-frame estimator for a video; the input of refiners.

Legend: T frames, H hands (1, or 2 with left 0 and right 1), J joints of the given order.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handpose.structures import prediction_clips, prediction_orders
from handpose.structures.prediction_checks import as_numbers, check_arrays, check_track, sides_as_numbers
from handpose.structures.sequence import HandSequence

PER_HAND: dict[str, Any] = {
    'joints': np.nan,
    'valid': False,
    'confidence': 0,
    'joints_2d': np.nan,
    'joints_valid': False,
    'joints_inferred': False,
    'boxes': np.nan,
    'track_ids': -1,
}
"""The fields (T, H, ...) and their value in frames in which the hand is not valid."""
PER_FRAME = ('object_scores', 'object_features')
"""The fields (T, ...) of the object in each frame; zeros where it is unknown."""
_PER_JOINT = ('joints', 'confidence', 'joints_2d', 'joints_inferred')
_DTYPES: dict[str, type[np.generic]] = {
    'confidence': np.float32,
    'joints_2d': np.float32,
    'boxes': np.float32,
    'intrinsics': np.float64,
    'extrinsics': np.float64,
    'object_scores': np.float32,
    'object_features': np.float32,
}


@dataclass
class Predictions:
    """3D joints of one or two hands in each frame of a video, from another estimator or from a refiner.

    Always metres and the common 21 joints; `from_arrays` converts by the names of unit and order. Two hands are put
    into the order left, right. In a frame that is not `valid` floats are NaN (the confidence 0), masks False and track
    ids -1, whatever was given; so are the values of joints that are not in `joints_valid`.

    How the wrist is refined: a refiner works on the wrist's path relative to its mean in the window, as one more point,
    and on the other joints relative to the wrist. So in frame 'camera' the path of the wrist is repaired too, and its
    mean over a window stays; in frame 'wrist' there is no path, and the wrist stays at the origin.

    Args:
        joints: (T, H, 21, 3) metres.
        valid: (T, H) bool, False where the estimator gave no hand.
        timestamps: (T,) seconds, increasing.
        hand_side: (H,) 'left' / 'right' or 0 / 1.
        frame: 'camera' (OpenCV axes: x right, y down, z forward) or 'wrist' (each hand relative to its wrist, in axes
            parallel to the camera's).
        confidence: (T, H, 21) from 0 to 1, or None.
        intrinsics: (3, 3) pinhole camera in pixels, or None.
        image_size: (width, height) pixels, or None.
        source: text about where the predictions come from.
        licence: text about what may be done with them.
        scale: 'metric', or 'relative' where lengths are known only up to a factor, such as the output of a network that
            assumes a hand of typical size, or depths from a guessed focal length.
        joints_2d: (T, H, 21, 2) pixels of the video, or None.
        joints_valid: (T, H, 21) bool, the joints that the estimator gives; None means all joints of a valid hand.
        joints_inferred: (T, H, 21) bool, the joints that were computed from the others (`infer_missing_joints`), or
            None for none.
        boxes: (T, H, 4) xyxy pixels of the video, or None.
        track_ids: (T, H) int64, at least 0: hands of different tracks are not joined by refining. None means one track
            for each hand.
        object_scores: (T, O) scores of object classes, or None.
        object_names: (O,) names of these classes, or None.
        object_features: (T, E) feature of the object, in the space of the text features of labels, or None.
        extrinsics: (T, 4, 4) where the camera was in each frame, world to camera, metres; or (4, 4) of a camera that
            stands still, which becomes (T, 4, 4). None where that is unknown.

    Raises:
        PredictionsError: an array that does not fit or a number that is none; the message names it.
    """

    joints: NDArray
    valid: NDArray
    timestamps: NDArray
    hand_side: NDArray
    frame: str
    confidence: NDArray | None = None
    intrinsics: NDArray | None = None
    image_size: NDArray | None = None
    source: str = ''
    licence: str = ''
    scale: str = 'metric'
    joints_2d: NDArray | None = None
    joints_valid: NDArray | None = None
    joints_inferred: NDArray | None = None
    boxes: NDArray | None = None
    track_ids: NDArray | None = None
    object_scores: NDArray | None = None
    object_names: NDArray | None = None
    object_features: NDArray | None = None
    extrinsics: NDArray | None = None

    def __post_init__(self) -> None:
        self.timestamps = as_numbers('timestamps', self.timestamps, np.float64)
        self.hand_side = sides_as_numbers(self.hand_side)
        self.source, self.licence, self.scale = str(self.source), str(self.licence), str(self.scale)
        for name in (*PER_HAND, *PER_FRAME, 'intrinsics', 'extrinsics', 'image_size', 'object_names'):
            value = getattr(self, name)
            if value is not None:
                value = as_numbers(name, value, _DTYPES[name]) if name in _DTYPES else np.array(value)
                setattr(self, name, value)
        if self.extrinsics is not None and self.extrinsics.ndim == 2:
            self.extrinsics = np.tile(self.extrinsics, (len(self.joints), 1, 1))
        check_arrays(self)
        present = {name: getattr(self, name) for name in PER_HAND if getattr(self, name) is not None}
        if list(self.hand_side) == [1, 0]:
            self.hand_side = self.hand_side[::-1]
            present = {name: value[:, ::-1] for name, value in present.items()}
        masks = {'hand': present['valid'], 'joint': present['valid'][..., None]}
        if 'joints_valid' in present:
            masks['joint'] = masks['joint'] & present['joints_valid']
        for name, value in present.items():
            mask = masks['joint' if name in _PER_JOINT else 'hand']
            mask = mask.reshape(*mask.shape, *[1] * (value.ndim - mask.ndim))
            setattr(self, name, np.where(mask, value, np.asarray(PER_HAND[name]).astype(value.dtype)))
        self.joints = self.joints.astype(np.float32)
        self.track_ids = None if self.track_ids is None else self.track_ids.astype(np.int64)
        if self.frame == 'wrist':
            self.joints[:, :, 0] = np.where(self.valid[..., None], 0, np.nan)

    def __len__(self) -> int:
        return len(self.joints)

    @classmethod
    def from_arrays(
        cls,
        *,
        joints: ArrayLike,
        valid: ArrayLike,
        timestamps: ArrayLike,
        hand_side: ArrayLike,
        joint_order: str,
        unit: str,
        frame: str,
        confidence: ArrayLike | None = None,
        intrinsics: Any = None,
        image_size: Any = None,
        source: str = '',
        licence: str = '',
        scale: str = 'metric',
        joints_2d: ArrayLike | None = None,
        joints_valid: ArrayLike | None = None,
        joints_inferred: ArrayLike | None = None,
        boxes: Any = None,
        track_ids: Any = None,
        object_scores: Any = None,
        object_names: Any = None,
        object_features: Any = None,
        extrinsics: Any = None,
    ) -> 'Predictions':
        """Makes predictions of arrays in any named unit and joint order.

        Joints of the order that are not among the common 21 are dropped. Common joints that the order lacks are not
        valid: refiners with learned weights need them (see `infer_missing_joints`), filters do not.

        Args:
            joints: (T, H, J, 3).
            valid: as in `Predictions`.
            timestamps: as in `Predictions`.
            hand_side: as in `Predictions`.
            joint_order: a key of `handpose.hands.JOINT_ORDERS`.
            unit: of the joints: 'metre', 'centimetre' or 'millimetre'.
            frame: as in `Predictions`.
            confidence: (T, H, J) or None.
            intrinsics: as in `Predictions`.
            image_size: as in `Predictions`.
            source: as in `Predictions`.
            licence: as in `Predictions`.
            scale: as in `Predictions`.
            joints_2d: (T, H, J, 2) pixels, or None.
            joints_valid: (T, H, J) bool, or None: all joints of the order.
            joints_inferred: (T, H, J) bool, or None.
            boxes: as in `Predictions`.
            track_ids: as in `Predictions`.
            object_scores: as in `Predictions`.
            object_names: as in `Predictions`.
            object_features: as in `Predictions`.
            extrinsics: as in `Predictions`.

        Returns:
            The predictions.

        Raises:
            PredictionsError: an unknown order or unit, a number of joints that is not the order's, or as above.
        """
        given: dict[str, ArrayLike | None] = dict(joints=joints, confidence=confidence, joints_2d=joints_2d)
        given |= dict(joints_valid=joints_valid, joints_inferred=joints_inferred)
        per_joint = prediction_orders.to_common_joints(given, str(joint_order), str(unit), np.asarray(valid))
        return cls(
            valid=np.asarray(valid),
            timestamps=np.asarray(timestamps),
            hand_side=np.asarray(hand_side),
            frame=str(frame),
            intrinsics=intrinsics,
            image_size=image_size,
            source=source,
            licence=licence,
            scale=scale,
            boxes=boxes,
            track_ids=track_ids,
            object_scores=object_scores,
            object_names=object_names,
            object_features=object_features,
            extrinsics=extrinsics,
            **per_joint,
        )

    @classmethod
    def from_sequence(
        cls,
        sequence: HandSequence,
        field: str = 'input_joints_3d',
        source: str = '',
        licence: str = '',
        with_2d: bool = True,
    ) -> 'Predictions':
        """Takes the predictions from a clip, with its object scores and features, if it has any.

        Args:
            sequence: a clip in frame 'camera' or 'wrist'; `meta['objects']` names the object classes.
            field: 'input_joints_3d', what an estimator gave, or 'joints_3d', the output of a refiner or an estimator,
                with `joints_valid`.
            source: as in `Predictions`.
            licence: as in `Predictions`.
            with_2d: take `joints_2d` and `boxes` of camera 0 too, if the clip has them. False for clips of datasets,
                where they are annotations and not predictions.

        Returns:
            The predictions of the frames that are not padding.

        Raises:
            PredictionsError: the clip lacks the field, its mask or its times, is in frame 'world', or has a valid joint
                in 3D that is not valid in 2D.
            SequenceError: it is a batch.
        """
        taken = prediction_clips.predicted_arrays(sequence, field, with_2d)
        return cls(**taken, source=source, licence=licence)

    @property
    def period(self) -> float | None:
        """Seconds from a frame to the next: the median. None for a single frame."""
        return float(np.median(np.diff(self.timestamps))) if len(self) > 1 else None

    def frame_numbers(self) -> NDArray:
        """Numbers the frames on a regular time line that starts at 0.

        From one frame to the next it is the time between them in frame periods, rounded, and at least 1: a number is
        skipped where a frame is missing in time, and timestamps with jitter count as regular.

        Returns:
            (T,) int64.
        """
        if self.period is None:
            return np.zeros(1, np.int64)
        steps = np.maximum(np.rint(np.diff(self.timestamps) / self.period), 1).astype(np.int64)
        return np.concatenate([[0], steps.cumsum()])

    def given_joints(self) -> NDArray:
        """Tells which joints are there: those of `joints_valid`, or all joints of valid hands.

        Returns:
            (T, H, 21) bool, a new array.
        """
        if self.joints_valid is not None:
            return self.joints_valid.copy()
        return np.broadcast_to(self.valid[..., None], self.joints.shape[:3]).copy()

    def select(self, frames: Any) -> 'Predictions':
        """Selects frames.

        Args:
            frames: a slice, or frame positions in increasing order.

        Returns:
            Their predictions.
        """
        if not isinstance(frames, slice):
            frames = np.atleast_1d(np.asarray(frames))
        values = {name: getattr(self, name) for name in ('timestamps', 'extrinsics', *PER_HAND, *PER_FRAME)}
        return replace(self, **{name: value[frames] for name, value in values.items() if value is not None})

    def check(self) -> 'Predictions':
        """Refuses what cannot be refined as a whole: no frame with a hand, a wrong unit, times that are not seconds.

        Returns:
            Itself.

        Raises:
            PredictionsError: says what is wrong and what to do.
        """
        check_track(self)
        return self

    def to_sequence(self, name: str = 'predictions') -> HandSequence:
        """Makes a clip with `input_joints_3d`, `input_valid` and, if given, the fields below.

        These are confidence, camera, 2D joints, boxes, and scores (with `meta['objects']`) and features of the object.

        Args:
            name: becomes `meta['sequence']`.

        Returns:
            `HandSequence` of the T frames in `frame`; `meta['frame_indices']` are the `frame_numbers`. Boxes of hands
            that are not valid are zeros.

        Raises:
            PredictionsError: joints are missing, which the input of a refiner cannot express.
        """
        return prediction_clips.as_sequence(self, name)
