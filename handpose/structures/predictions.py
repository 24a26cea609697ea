"""`Predictions`: what a per-frame estimator gave for a video, in memory and as a file; the input of refiners.

docs/predictions_file.md describes the file for those who write one.
Legend: T frames, H hands (1, or 2 with left 0 and right 1), J joints of the file's order.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.hands.joints import COMMON_JOINTS, JOINT_ORDERS, to_common
from handpose.registry import did_you_mean
from handpose.structures.prediction_checks import (
    FRAMES,
    SIDES,
    UNITS,
    PredictionsError,
    check_arrays,
    check_track,
    sides_as_numbers,
)
from handpose.structures.sequence import HandSequence, SequenceError, sample_name

FORMAT, VERSION = 'handpose-predictions', 1
_REQUIRED = ('joints', 'valid', 'timestamps', 'hand_side', 'joint_order', 'unit', 'frame')
_OPTIONAL = ('confidence', 'intrinsics', 'image_size', 'source', 'licence', 'format', 'version')


@dataclass
class Predictions:
    """3D joints of one or two hands in each frame of a video, as another estimator gave them or as a refiner left them.

    Always metres and the common 21 joints; `from_arrays` converts by the names of unit and order. Two hands are put
    into the order left, right. In a frame that is not `valid` joints are NaN and the confidence is 0, whatever was
    given.

    How the wrist is refined: a refiner works on the wrist's path relative to its mean in the window, as one more point,
    and on the other joints relative to the wrist. So in frame 'camera' the path of the wrist is repaired too, and its
    mean over a window stays; in frame 'wrist' there is no path, and the wrist stays at the origin.

    Args:
        joints: (T, H, 21, 3) metres. valid: (T, H) bool, False where the estimator gave no hand.
        timestamps: (T,) seconds, growing. hand_side: (H,) 'left' / 'right' or 0 / 1.
        frame: 'camera' (OpenCV axes: x right, y down, z forward) or 'wrist' (each hand relative to its wrist, in axes
            parallel to the camera's).
        confidence: (T, H, 21) from 0 to 1, or None.
        intrinsics: (3, 3) pinhole camera in pixels, or None. image_size: (width, height) pixels, or None.
        source, licence: sentences about where the predictions come from and what may be done with them.

    Raises:
        PredictionsError: an array that does not fit or a number that is none; the sentence names it.
    """

    joints: np.ndarray
    valid: np.ndarray
    timestamps: np.ndarray
    hand_side: np.ndarray
    frame: str
    confidence: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    image_size: np.ndarray | None = None
    source: str = ''
    licence: str = ''

    def __post_init__(self):
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

    def __len__(self):
        return len(self.joints)

    @classmethod
    def from_arrays(
        cls, *, joints, valid, timestamps, hand_side, joint_order, unit, frame,
        confidence=None, intrinsics=None, image_size=None, source='', licence='',
    ):  # fmt: skip
        """Makes predictions of arrays in any named unit and joint order.

        Args:
            joints: (T, H, J, 3). confidence: (T, H, J) or None.
            joint_order: a key of `handpose.hands.JOINT_ORDERS` that has all the 21 common joints; others are dropped.
            unit: of the joints: 'metre', 'centimetre' or 'millimetre'.
            The others as in `Predictions`.

        Raises:
            PredictionsError: an unknown order or unit, a number of joints that is not the order's, or as above.
        """
        unit, joint_order = str(unit), str(joint_order)
        if unit not in UNITS:
            raise PredictionsError(f'unit must be one of {", ".join(UNITS)}, got {unit!r}.{did_you_mean(unit, UNITS)}')
        joints = np.asarray(joints)
        if joints.dtype.kind not in 'fiu':
            raise PredictionsError(f'joints must be numbers, got {joints.dtype}')
        joints = _common(joints.astype(np.float64) * UNITS[unit], joint_order)
        if confidence is not None:
            confidence = _common(np.asarray(confidence, np.float64)[..., None], joint_order)[..., 0]
        known = dict(intrinsics=intrinsics, image_size=image_size, source=source, licence=licence)
        return cls(joints, valid, timestamps, hand_side, str(frame), confidence, **known)

    @classmethod
    def from_sequence(cls, sequence, field='input_joints_3d', source='', licence=''):
        """The predictions in a clip: an estimator's, or with field='joints_3d' a refiner's answer.

        Raises:
            PredictionsError: the clip lacks the field, its mask or its times, or is in frame 'world'.
        """
        return _from_sequence(cls, sequence, field, source, licence)

    @property
    def period(self):
        """Seconds from a frame to the next: the median. None for a single frame."""
        return float(np.median(np.diff(self.timestamps))) if len(self) > 1 else None

    def frame_numbers(self):
        """(T,) int64, the place of each frame on a regular time line that starts at 0.

        From one frame to the next it is the time between them in frame periods, rounded, and at least 1: a number is
        left out where a frame is missing in time, and timestamps that merely tremble count as regular.
        """
        if len(self) == 1:
            return np.zeros(1, np.int64)
        steps = np.maximum(np.rint(np.diff(self.timestamps) / self.period), 1).astype(np.int64)
        return np.concatenate([[0], steps.cumsum()])

    def select(self, frames):
        """The predictions of some frames: a slice, or frame positions in growing order."""
        if not isinstance(frames, slice):
            frames = np.atleast_1d(np.asarray(frames))
        confidence = None if self.confidence is None else self.confidence[frames]
        chosen = dict(joints=self.joints[frames], valid=self.valid[frames], timestamps=self.timestamps[frames])
        return replace(self, **chosen, confidence=confidence)

    def check(self):
        """Refuses what cannot be refined as a whole: no frame with a hand, a wrong unit, times that are no seconds.

        Returns self. Raises `PredictionsError`; the sentence says what is wrong and what to do.
        """
        check_track(self)
        return self

    def to_sequence(self, name='predictions'):
        """A clip with `input_joints_3d`, `input_valid` and, if known, `input_confidence`, intrinsics and extrinsics.

        Returns:
            `HandSequence` of the T frames in `frame`; `meta['frame_indices']` are the `frame_numbers`.
        """
        frames = len(self)
        filled = np.where(self.valid[..., None, None], self.joints, 0)
        meta = dict(dataset='predictions', sequence=name, cameras=['camera'], hand_model=None)
        meta |= dict(frame_indices=self.frame_numbers().tolist(), fps=None if frames == 1 else 1 / self.period)
        known = {}
        if self.confidence is not None:
            known['input_confidence'] = torch.from_numpy(self.confidence.copy())
        if self.intrinsics is not None and self.frame == 'camera':
            known['intrinsics'] = torch.from_numpy(self.intrinsics).float().expand(frames, 1, 3, 3).clone()
            known['extrinsics'] = torch.eye(4).expand(frames, 1, 4, 4).clone()
        return HandSequence(
            meta=meta,
            frame=self.frame,
            frame_valid=torch.ones(frames, dtype=torch.bool),
            timestamps=torch.from_numpy(self.timestamps.copy()),
            hand_side=torch.from_numpy(self.hand_side.copy()),
            input_joints_3d=torch.from_numpy(filled),
            input_valid=torch.from_numpy(self.valid.copy()),
            **known,
        )


def load_predictions(path):
    """Reads and checks a predictions file.

    Raises:
        PredictionsError: the file is missing, is no predictions file, or holds something that cannot be used; the
            sentence names the key, what was expected and what came.
    """
    found = _read(path)
    try:
        return _from_file(found).check()
    except PredictionsError as error:
        raise PredictionsError(f'{path}: {error}') from error


def save_predictions(path, predictions):
    """Writes a predictions file (metres, common order), whole or not at all; `load_predictions` gives the same back.

    Raises:
        PredictionsError: the name does not end in .npz, or the predictions could not be read back (see `check`).
    """
    if Path(path).suffix != '.npz':
        raise PredictionsError(f'{path}: a predictions file must end in .npz')
    predictions.check()
    values = {name: value for name, value in vars(predictions).items() if isinstance(value, np.ndarray) or value}
    values['hand_side'] = np.array(SIDES)[predictions.hand_side]
    values |= dict(joint_order='common', unit='metre', format=FORMAT, version=VERSION)
    with atomic_file(path) as file:
        np.savez_compressed(file, **values)


def _read(path):
    if not Path(path).is_file():
        raise PredictionsError(
            f'there is no predictions file {path}; docs/predictions_file.md says what it holds, '
            f'`handpose convert` makes one'
        )
    return read_npz(path, error=PredictionsError, advice='docs/predictions_file.md says what it must hold')


def _from_file(found):
    known = (*_REQUIRED, *_OPTIONAL)
    form, version = str(found.get('format', FORMAT)), str(found.get('version', VERSION))
    if form != FORMAT:
        raise PredictionsError(f'format is {form!r}, and that of a predictions file is {FORMAT!r}')
    if not version.isdigit() or int(version) > VERSION:
        raise PredictionsError(f'version is {version}, and this library reads up to {VERSION}: update handpose')
    for key in _REQUIRED:
        if key not in found:
            raise PredictionsError(_lacks(key, found))
    for key in found:
        if key not in known:
            raise PredictionsError(f'{key!r} is not a key of a predictions file.{did_you_mean(key, known)}')
    for key in ('joint_order', 'unit', 'frame', 'source', 'licence'):
        if key in found and found[key].size != 1:
            raise PredictionsError(f'{key} must be one string, got an array of shape {found[key].shape}')
    texts = {k: str(v.item()) for k, v in found.items() if k in ('joint_order', 'unit', 'frame', 'source', 'licence')}
    arrays = {k: v for k, v in found.items() if k not in texts and k not in ('format', 'version')}
    return Predictions.from_arrays(**arrays, **texts)


def _lacks(key, found):
    what = {
        'unit': f' (the unit of joints: {", ".join(UNITS)}; it is never guessed)',
        'frame': f' (what joints are relative to: {" or ".join(FRAMES)}; it is never guessed)',
        'joint_order': f' (one of {", ".join(JOINT_ORDERS)})',
    }
    have = ', '.join(found) or 'nothing'
    return f'a predictions file needs {key!r}{what.get(key, "")}, this one has: {have}.{did_you_mean(key, found)}'


def _common(values, order):
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


def _from_sequence(cls, sequence, field, source, licence):
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
    return cls(
        joints=getattr(sequence, field).detach().cpu()[given].numpy(),
        valid=(valid if valid.ndim == 2 else valid.all(-1)).numpy(),
        timestamps=_times(sequence, where)[given.numpy()],
        hand_side=sequence.hand_side.tolist(),
        frame=sequence.frame,
        confidence=None if confidence is None else confidence.detach().cpu()[given].numpy(),
        intrinsics=None if sequence.intrinsics is None else sequence.intrinsics[0, 0].cpu().numpy(),
        source=source,
        licence=licence,
    )


def _times(sequence, where):
    if sequence.timestamps is not None:
        return sequence.timestamps.cpu().numpy()
    numbers, fps = sequence.meta.get('frame_indices'), sequence.meta.get('fps')
    if not numbers or not fps:
        raise PredictionsError(f"{where} has neither timestamps nor meta['frame_indices'] and meta['fps']")
    return np.asarray(numbers, np.float64) / fps
