"""`Predictions`: the output of a per-frame estimator for a video, in memory and as a file; the input of refiners.

docs/predictions_file.md describes the file for those who write one.
Legend: T frames, H hands (1, or 2 with left 0 and right 1), J joints of the file's order.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.hands.joints import COMMON_JOINTS, JOINT_ORDERS, to_common
from handpose.hands.sides import SIDE_LABELS
from handpose.structures.fields import SequenceError, sample_name
from handpose.structures.prediction_checks import (
    FRAMES,
    UNITS,
    PredictionsError,
    check_arrays,
    check_track,
    sides_as_numbers,
)
from handpose.structures.sequence import HandSequence
from handpose.text import did_you_mean

FORMAT, VERSION = 'handpose-predictions', 1
_REQUIRED = ('joints', 'valid', 'timestamps', 'hand_side', 'joint_order', 'unit', 'frame')
_OPTIONAL = ('confidence', 'intrinsics', 'image_size', 'source', 'licence', 'format', 'version')


@dataclass
class Predictions:
    """3D joints of one or two hands in each frame of a video, from another estimator or from a refiner.

    Always metres and the common 21 joints; `from_arrays` converts by the names of unit and order. Two hands are put
    into the order left, right. In a frame that is not `valid` joints are NaN and the confidence is 0, whatever was
    given.

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

    def __post_init__(self) -> None:
        self.joints = np.array(self.joints)
        self.valid = np.array(self.valid)
        self.timestamps = np.array(self.timestamps, np.float64)
        self.hand_side = sides_as_numbers(self.hand_side)
        self.confidence = None if self.confidence is None else np.array(self.confidence, np.float32)
        self.intrinsics = None if self.intrinsics is None else np.array(self.intrinsics, np.float64)
        self.image_size = None if self.image_size is None else np.array(self.image_size)
        self.source, self.licence = str(self.source), str(self.licence)
        check_arrays(self)
        if list(self.hand_side) == [1, 0]:
            self.hand_side, self.joints, self.valid = self.hand_side[::-1], self.joints[:, ::-1], self.valid[:, ::-1]
            self.confidence = None if self.confidence is None else self.confidence[:, ::-1]
        self.joints = np.where(self.valid[..., None, None], self.joints, np.nan).astype(np.float32)
        if self.frame == 'wrist':
            self.joints[:, :, 0] = np.where(self.valid[..., None], 0, np.nan)
        if self.confidence is not None:
            self.confidence = np.where(self.valid[..., None], self.confidence, 0).astype(np.float32)

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
    ) -> 'Predictions':
        """Makes predictions of arrays in any named unit and joint order.

        Args:
            joints: (T, H, J, 3).
            valid: as in `Predictions`.
            timestamps: as in `Predictions`.
            hand_side: as in `Predictions`.
            joint_order: a key of `handpose.hands.JOINT_ORDERS` that has all the 21 common joints; others are dropped.
            unit: of the joints: 'metre', 'centimetre' or 'millimetre'.
            frame: as in `Predictions`.
            confidence: (T, H, J) or None.
            intrinsics: as in `Predictions`.
            image_size: as in `Predictions`.
            source: as in `Predictions`.
            licence: as in `Predictions`.

        Returns:
            The predictions.

        Raises:
            PredictionsError: an unknown order or unit, a number of joints that is not the order's, or as above.
        """
        unit, joint_order = str(unit), str(joint_order)
        if unit not in UNITS:
            raise PredictionsError(f'unit must be one of {", ".join(UNITS)}, got {unit!r}.{did_you_mean(unit, UNITS)}')
        joints = np.asarray(joints)
        if joints.dtype.kind not in 'fiu':
            raise PredictionsError(f'joints must be numbers, got {joints.dtype}')
        joints = _to_common(joints.astype(np.float64) * UNITS[unit], joint_order)
        if confidence is not None:
            confidence = _to_common(np.asarray(confidence, np.float64)[..., None], joint_order)[..., 0]
        optional = dict(intrinsics=intrinsics, image_size=image_size, source=source, licence=licence)
        arrays = (np.asarray(valid), np.asarray(timestamps), np.asarray(hand_side))
        return cls(joints, *arrays, str(frame), confidence, **optional)

    @classmethod
    def from_sequence(
        cls, sequence: HandSequence, field: str = 'input_joints_3d', source: str = '', licence: str = ''
    ) -> 'Predictions':
        """Takes the predictions from a clip.

        Args:
            sequence: a clip in frame 'camera' or 'wrist'.
            field: 'input_joints_3d', what an estimator gave, or 'joints_3d', the output of a refiner.
            source: as in `Predictions`.
            licence: as in `Predictions`.

        Returns:
            The predictions of the frames that are not padding.

        Raises:
            PredictionsError: the clip lacks the field, its mask or its times, or is in frame 'world'.
            SequenceError: it is a batch.
        """
        return _from_sequence(sequence, field, source, licence)

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

    def select(self, frames: Any) -> 'Predictions':
        """Selects frames.

        Args:
            frames: a slice, or frame positions in increasing order.

        Returns:
            Their predictions.
        """
        if not isinstance(frames, slice):
            frames = np.atleast_1d(np.asarray(frames))
        confidence = None if self.confidence is None else self.confidence[frames]
        chosen = dict(joints=self.joints[frames], valid=self.valid[frames], timestamps=self.timestamps[frames])
        return replace(self, **chosen, confidence=confidence)

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
        """Makes a clip with `input_joints_3d`, `input_valid` and, if given, `input_confidence` and the camera.

        Args:
            name: becomes `meta['sequence']`.

        Returns:
            `HandSequence` of the T frames in `frame`; `meta['frame_indices']` are the `frame_numbers`.
        """
        frames = len(self)
        filled = np.where(self.valid[..., None, None], self.joints, 0)
        meta: dict[str, Any] = dict(dataset='predictions', sequence=name, cameras=['camera'], hand_model=None)
        meta |= dict(frame_indices=self.frame_numbers().tolist(), fps=None if self.period is None else 1 / self.period)
        optional: dict[str, Any] = {}
        if self.confidence is not None:
            optional['input_confidence'] = torch.from_numpy(self.confidence.copy())
        if self.intrinsics is not None and self.frame == 'camera':
            optional['intrinsics'] = torch.from_numpy(self.intrinsics).float().expand(frames, 1, 3, 3).clone()
            optional['extrinsics'] = torch.eye(4).expand(frames, 1, 4, 4).clone()
        return HandSequence(
            meta=meta,
            frame=self.frame,
            frame_valid=torch.ones(frames, dtype=torch.bool),
            timestamps=torch.from_numpy(self.timestamps.copy()),
            hand_side=torch.from_numpy(self.hand_side.copy()),
            input_joints_3d=torch.from_numpy(filled),
            input_valid=torch.from_numpy(self.valid.copy()),
            **optional,
        )


def load_predictions(path: str | Path) -> Predictions:
    """Reads and checks a predictions file.

    Args:
        path: the .npz file.

    Returns:
        The predictions.

    Raises:
        PredictionsError: the file is missing, is no predictions file, or holds something that cannot be used; the
            message names the key, what was expected and what was found.
    """
    found = _read(path)
    try:
        return _from_file(found).check()
    except PredictionsError as error:
        raise PredictionsError(f'{path}: {error}') from error


def save_predictions(path: str | Path, predictions: Predictions) -> None:
    """Writes a predictions file (metres, common order), completely or not at all; `load_predictions` reads it back.

    Args:
        path: the .npz file.
        predictions: what is written.

    Raises:
        PredictionsError: the name does not end in .npz, or the predictions could not be read back (see `check`).
    """
    if Path(path).suffix != '.npz':
        raise PredictionsError(f'{path}: a predictions file must end in .npz')
    predictions.check()
    values: dict[str, Any] = {
        name: value for name, value in vars(predictions).items() if isinstance(value, np.ndarray) or value
    }
    values['hand_side'] = np.array(SIDE_LABELS)[predictions.hand_side]
    values |= dict(joint_order='common', unit='metre', format=FORMAT, version=VERSION)
    with atomic_file(path) as file:
        np.savez_compressed(file, **values)


def _read(path: str | Path) -> dict[str, NDArray]:
    if not Path(path).is_file():
        raise PredictionsError(
            f'there is no predictions file {path}; docs/predictions_file.md says what it holds, '
            f'`handpose convert` makes one'
        )
    return read_npz(path, error=PredictionsError, advice='docs/predictions_file.md says what it must hold')


def _from_file(found: dict[str, NDArray]) -> Predictions:
    known = (*_REQUIRED, *_OPTIONAL)
    form, version = str(found.get('format', FORMAT)), str(found.get('version', VERSION))
    if form != FORMAT:
        raise PredictionsError(f'format is {form!r}, and that of a predictions file is {FORMAT!r}')
    if not version.isdigit() or int(version) > VERSION:
        raise PredictionsError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
    for key in _REQUIRED:
        if key not in found:
            raise PredictionsError(_missing_key(key, found))
    for key in found:
        if key not in known:
            raise PredictionsError(f'{key!r} is not a key of a predictions file.{did_you_mean(key, known)}')
    for key in ('joint_order', 'unit', 'frame', 'source', 'licence'):
        if key in found and found[key].size != 1:
            raise PredictionsError(f'{key} must be one string, got an array of shape {found[key].shape}')
    texts = {k: str(v.item()) for k, v in found.items() if k in ('joint_order', 'unit', 'frame', 'source', 'licence')}
    arrays: dict[str, Any] = {k: v for k, v in found.items() if k not in texts and k not in ('format', 'version')}
    return Predictions.from_arrays(**arrays, **texts)


def _missing_key(key: str, found: dict[str, NDArray]) -> str:
    what = {
        'unit': f' (the unit of joints: {", ".join(UNITS)}; it is never guessed)',
        'frame': f' (what joints are relative to: {" or ".join(FRAMES)}; it is never guessed)',
        'joint_order': f' (one of {", ".join(JOINT_ORDERS)})',
    }
    have = ', '.join(found) or 'nothing'
    return f'a predictions file needs {key!r}{what.get(key, "")}, this one has: {have}.{did_you_mean(key, found)}'


def _to_common(values: NDArray, order: str) -> NDArray:
    """(T, H, J, C) in a named order -> (T, H, 21, C)."""
    if order not in JOINT_ORDERS:
        raise PredictionsError(
            f'joint_order must be one of {", ".join(JOINT_ORDERS)}, got {order!r}.{did_you_mean(order, JOINT_ORDERS)}'
        )
    expected = len(JOINT_ORDERS[order])
    if values.ndim != 4:
        raise PredictionsError(
            f'joints must have shape (T, H, J, 3) and confidence (T, H, J), with an axis for hands also where there is '
            f'one hand; got {values.ndim - 2 if values.shape[-1:] == (1,) else values.ndim} axes: {values.shape}'
        )
    if values.shape[2] != expected:
        raise PredictionsError(
            f'joint_order {order!r} has {expected} joints, got an array of shape {values.shape} with {values.shape[2]}'
        )
    common, present = to_common(torch.from_numpy(values), order)
    if not present.all():
        lacking = [name for name, there in zip(COMMON_JOINTS, present, strict=True) if not there]
        raise PredictionsError(
            f'joint_order {order!r} has no {", ".join(lacking)}, and refiners need all 21 common joints'
        )
    return common.numpy()


def _from_sequence(sequence: HandSequence, field: str, source: str, licence: str) -> Predictions:
    where = 'a batch' if sequence.batched else sample_name(sequence.meta)
    if sequence.batched:
        raise SequenceError(f'{where}: Predictions are made of one clip; call unstack() first')
    if field not in ('input_joints_3d', 'joints_3d'):
        raise PredictionsError(f"field must be 'input_joints_3d' or 'joints_3d', got {field!r}")
    mask = 'input_valid' if field == 'input_joints_3d' else 'joints_valid'
    for name in (field, mask, 'hand_side'):
        if getattr(sequence, name) is None:
            raise PredictionsError(f'{where} has no {name}, which predictions are made of')
    given = torch.ones(len(getattr(sequence, field)), dtype=torch.bool)
    given = given if sequence.frame_valid is None else sequence.frame_valid.cpu()
    valid = getattr(sequence, mask).cpu()[given]
    confidence = sequence.input_confidence if mask == 'input_valid' else sequence.joint_confidence
    return Predictions(
        joints=getattr(sequence, field).detach().cpu()[given].numpy(),
        valid=(valid if valid.ndim == 2 else valid.all(-1)).numpy(),
        timestamps=_times(sequence, where)[given.numpy()],
        hand_side=sequence.require('hand_side').cpu().numpy(),
        frame=sequence.frame,
        confidence=None if confidence is None else confidence.detach().cpu()[given].numpy(),
        intrinsics=None if sequence.intrinsics is None else sequence.intrinsics[0, 0].cpu().numpy(),
        source=source,
        licence=licence,
    )


def _times(sequence: HandSequence, where: str) -> NDArray:
    if sequence.timestamps is not None:
        return sequence.timestamps.cpu().numpy()
    numbers, fps = sequence.meta.get('frame_indices'), sequence.meta.get('fps')
    if not numbers or not fps:
        raise PredictionsError(f"{where} has neither timestamps nor meta['frame_indices'] and meta['fps']")
    return np.asarray(numbers, np.float64) / fps
