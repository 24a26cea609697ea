"""What is written beside an annotated recording: motion file, predictions, COCO and AssemblyHands JSON.

Legend: T frames, K cameras, H hands, N frames at a constant rate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.export.coco import write_recording_coco
from handpose.hands.sides import SIDE_LABELS
from handpose.inference.annotation.assemblyhands_files import write_assemblyhands
from handpose.inference.annotation.recording_source import AnnotationError
from handpose.structures import AnnotatedRecording, save_predictions
from handpose.text import did_you_mean
from handpose.video import frame_period

_UNKNOWN_PERIOD = 1 / 30  # seconds, of a recording of one frame
_LARGEST_SKEW = 1e-6  # pixels


@dataclass(frozen=True)
class OutputNames:
    """How a recording is named in the files that are made of it.

    Args:
        out: the recording file, .npz; the others are beside it.
        subject: whose hands they are.
        sequence: the name of the recording.
        licence: text about what may be done with the results.
    """

    out: Path
    subject: str
    sequence: str
    licence: str = ''

    def beside(self, ending: str) -> Path:
        """The path of another file of this recording, such as `recording_coco.json` for '_coco.json'."""
        return self.out.with_name(f'{self.out.stem}{ending}')


Written = tuple[list[Path], list[str]]
"""The files that were written, and what the user should know about them."""


def write_motion_file(recording: AnnotatedRecording, names: OutputNames) -> Written:
    """Writes a motion file with one sequence for each hand, which `MotionClips` and `handpose make-data` read.

    A frame counts where all 21 joints of the hand are known. Its cameras are pinhole cameras: they see the points of
    images without lens distortion.

    Args:
        recording: the recording.
        names: of the file and the sequences.

    Returns:
        The file, and notes.

    Raises:
        DatasetError: the hands are not of possible size.
    """
    # The datasets take a second to import.
    from handpose.datasets.motion.motion_file import RecordedMotion, read_motion, write_motion

    numbers, period = regular_frames(recording.timestamps)
    complete = np.asarray(recording.joints_valid.all(-1))
    if recording.hand_pose_valid is not None:
        complete = complete & recording.hand_pose_valid
    hands = np.flatnonzero(complete.any(0))
    if not len(hands):
        return [], ['the motion file was left out: no frame has all 21 joints of a hand']
    count = int(numbers[-1]) + 1

    def on_line(values: NDArray) -> NDArray:
        """(N of all sequences, ...) from (T, H, ...)."""
        line = np.zeros((len(hands), count, *values.shape[2:]), values.dtype)
        line[:, numbers] = np.moveaxis(values[:, hands], 1, 0)
        return line.reshape(-1, *values.shape[2:])

    valid = on_line(complete)
    fitted: dict[str, Any] = {}
    if recording.hand_pose is not None and recording.hand_shape is not None and recording.hand_transl is not None:
        fitted = dict(
            hand_pose=np.where(valid[:, None, None], on_line(recording.hand_pose), 0),
            hand_transl=np.where(valid[:, None], on_line(recording.hand_transl), 0),
            hand_shape=recording.hand_shape[hands],
        )
    cameras, notes = _pinhole_cameras(recording, len(hands))
    sides = recording.hand_side[hands]
    motion = RecordedMotion(
        joints=np.where(valid[:, None, None], on_line(recording.joints_3d), 0).astype(np.float32),
        frame_valid=valid,
        sequence_names=[f'{names.subject}/{names.sequence}_{SIDE_LABELS[side]}' for side in sides],
        sequence_lengths=np.full(len(hands), count),
        hand_side=sides,
        fps=1 / period,
        hand_model=recording.hand_model if fitted else None,
        licence=names.licence,
        **cameras,
        **fitted,
    )
    path = names.beside('_motion.npz')
    write_motion(path, motion)
    read_motion(path)  # refuses what training would refuse
    if count > len(numbers):
        notes.append(f'the motion file has {count - len(numbers)} frames more: those missing in time, without a hand')
    return [path], notes


def _pinhole_cameras(recording: AnnotatedRecording, sequences: int) -> tuple[dict[str, Any], list[str]]:
    """The cameras of a motion file with this many sequences, by its keys; and notes."""
    cameras = recording.calibration
    intrinsics = np.stack([camera.intrinsics.numpy() for camera in cameras])
    if np.abs(intrinsics[:, 0, 1]).max() > _LARGEST_SKEW:
        return {}, ['the motion file has no cameras: theirs have skewed pixels, which it cannot express']
    extrinsics = np.stack([camera.extrinsics.numpy() for camera in cameras])
    keys = dict(
        camera_serials=cameras.names,
        camera_sizes=np.array([camera.image_size for camera in cameras]),
        camera_intrinsics=intrinsics,
        camera_extrinsics=np.broadcast_to(extrinsics, (sequences, *extrinsics.shape)),
    )
    return keys, []


def write_predictions(recording: AnnotatedRecording, names: OutputNames) -> Written:
    """Writes the hands in the frame of the first camera as a predictions file, for refiners, exports and the viewer.

    Args:
        recording: the recording.
        names: of the file.

    Returns:
        The file, and no note.
    """
    path = names.beside('_predictions.npz')
    save_predictions(path, recording.to_predictions())
    return [path], []


def _write_coco(recording: AnnotatedRecording, names: OutputNames) -> Written:
    report = write_recording_coco(names.beside('_coco.json'), recording, names.licence)
    return report.files, report.notes


def _write_assemblyhands(recording: AnnotatedRecording, names: OutputNames) -> Written:
    sequence = f'{names.subject}_{names.sequence}'
    return write_assemblyhands(names.beside('_assemblyhands'), recording, sequence)


Writer = Callable[[AnnotatedRecording, OutputNames], Written]
OUTPUTS: Mapping[str, Writer] = {
    'motion': write_motion_file,
    'predictions': write_predictions,
    'coco': _write_coco,
    'assemblyhands': _write_assemblyhands,
}
"""The name of an output -> what writes it."""


def check_outputs(outputs: Sequence[str], known: Sequence[str]) -> None:
    """Refuses unknown names of outputs.

    Args:
        outputs: what was asked for.
        known: what there is.

    Raises:
        AnnotationError: names the output.
    """
    for name in outputs:
        if name not in known:
            raise AnnotationError(
                f'outputs must be some of {", ".join(known)}, got {name!r}.{did_you_mean(name, known)}'
            )


def regular_frames(timestamps: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """Numbers frames on a line of constant rate.

    Args:
        timestamps: (T,) seconds, increasing.

    Returns:
        (T,) numbers from 0, one skipped wherever a frame is missing in time; and the frame period, seconds.
    """
    period = frame_period(timestamps) or _UNKNOWN_PERIOD
    numbers = np.rint((timestamps - timestamps[0]) / period).astype(np.int64)
    # Rounding never puts two frames on one number.
    return np.maximum.accumulate(numbers - np.arange(len(numbers))) + np.arange(len(numbers)), period
