"""What the readers of pose sequences hold in memory, and how a clip in one camera's frame is made of it.

Labels lie in the world of a recording, as numpy arrays, for its annotated frames alone; a clip is turned into its
camera's frame when it is asked for. Legend: N annotated frames, T frames of a clip, H hands.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError, nearest_known
from handpose.datasets.io.plausibility import (
    check_extrinsics,
    check_hand_parameters,
    check_intrinsics,
    check_view,
    possible_parameters,
)
from handpose.registry import did_you_mean
from handpose.structures import HandSequence


class Camera(NamedTuple):
    """`intrinsics` (3, 3) and `extrinsics` (4, 4) world to camera, metres; of a moving one (N, 3, 3) and (N, 4, 4)."""

    intrinsics: np.ndarray
    extrinsics: np.ndarray


MAX_WRIST_DISTANCE = 0.1  # metres: fits are within one or two centimetres, 4 at worst; wrong units are far beyond


def pinhole(focal, centre):
    """Intrinsics (3, 3) of a focal length (2,) and a principal point (2,), pixels."""
    return np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])


class HandParameters(NamedTuple):
    """Hand-model parameters in the world.

    `pose` (N, H, 16, 3) rotvecs, mean included; `shape` (N, H, 10); `wrist` (N, H, 3) metres, where the model puts the
    wrist: its translation and its wrist at rest; `valid` (N, H).
    """

    pose: np.ndarray
    shape: np.ndarray
    wrist: np.ndarray
    valid: np.ndarray


@dataclass
class Recording:
    """One recording's labels: `joints` (N, H, 21, 3) metres, world, common order; `joints_valid` (N, H, 21).

    `rows` (F,) says for each frame of its timeline which of the N it is, -1 where nothing is annotated; `numbers` (N,)
    are the data set's own frame numbers; `hands` HandParameters or None.
    """

    name: str
    numbers: np.ndarray
    rows: np.ndarray
    joints: np.ndarray
    joints_valid: np.ndarray
    hands: HandParameters | None = None


def timeline(numbers, step):
    """Puts frames on a timeline whose neighbours are one frame of the release apart.

    A jump that is no multiple of `step` leaves one place more free, so that nothing takes the frames on both sides of
    it for evenly spaced.

    Args:
        numbers: (N,) frame numbers, rising. step: from one frame's number to the next.

    Returns:
        rows (F,): which of the N frames is at each place, -1 where none is.
    """
    jumps = np.diff(numbers)
    places = np.concatenate([[0], np.cumsum(np.where(jumps % step == 0, jumps // step, jumps // step + 2))])
    rows = np.full(places[-1] + 1, -1)
    rows[places] = np.arange(len(numbers))
    return rows


def commonest_step(sequences):
    """The most frequent difference between neighbours in lists of rising frame numbers (N,); None without any."""
    steps = np.concatenate([np.zeros(0, int), *map(np.diff, sequences)])
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()]) if len(values) else None


def has_step(numbers, step):
    """Whether frame numbers (N,), rising, can be those of a sequence whose neighbours are `step` apart.

    Frames may be missing, so multiples of the step fit; where half of the jumps or more are none, the sequence was
    recorded or numbered at another rate, and no time can be given to its frames.
    """
    jumps = np.diff(numbers)
    return not len(jumps) or 2 * int((jumps % step != 0).sum()) < len(jumps)


def without_other_rates(sequences, step, where):
    """Leaves out the sequences whose frame numbers contradict the step of the release, and says so in the log.

    Args:
        sequences: {name: frame numbers (N,), rising}.
        step: from one frame's number to the next.
        where: names the files in messages.

    Returns:
        the names of the others.

    Raises:
        DatasetError: none is left.
    """
    wrong = [name for name, numbers in sequences.items() if not has_step(numbers, step)]
    if not wrong:
        return list(sequences)
    found = commonest_step([sequences[wrong[0]]])
    sentence = (
        f'{where}: the frame numbers of {len(wrong)} of {len(sequences)} sequences do not rise by multiples of {step}, '
        f'so their frame rate is not known; the first is {wrong[0]}, whose numbers mostly rise by {found}'
    )
    if len(wrong) == len(sequences):
        raise DatasetError(sentence)
    print_log(f'Skipped: {sentence}', logger='current', level=logging.WARNING)
    return [name for name in sequences if name not in set(wrong)]


def check_cameras(cameras, where):
    """Refuses cameras {name: Camera} that are no pinhole cameras in metres; see `plausibility`."""
    for name, camera in cameras.items():
        check_intrinsics(camera.intrinsics, f'{where}, camera {name}')
        check_extrinsics(camera.extrinsics, f'{where}, camera {name}')


def check_cameras_see(recording, cameras, where):
    """Refuses cameras {name: Camera} that cannot see the hands of a Recording; see `plausibility.check_view`."""
    valid = recording.joints_valid[:, :, 0]
    rows, hands = np.nonzero(valid)
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(int)) if len(rows) else []
    rows, hands = rows[some], hands[some]
    wrists = recording.joints[rows, hands, 0].astype(np.float64)
    for name, camera in cameras.items():
        matrix = _of_frames(camera.extrinsics, rows)
        points = (matrix[:, :3, :3] @ wrists[..., None])[..., 0] + matrix[:, :3, 3]
        check_view(points, f'{where}, camera {name}')


def choose_cameras(captures, cameras, where):
    """The names of each capture's cameras that the option `cameras` asks for.

    Args:
        captures: a list of the names that each capture has. cameras: None, all; a number of each, taken evenly; or
            names, of which a capture may lack some. where: names the files in sentences.

    Raises:
        DatasetError: no positive number, or a name that no capture has.
    """
    captures = [sorted(known) for known in captures]
    if cameras is None:
        return captures
    if isinstance(cameras, int) and not isinstance(cameras, bool):
        if cameras < 1:
            raise DatasetError(f'cameras must be at least 1, got {cameras}')
        places = [np.linspace(0, len(known) - 1, min(cameras, len(known))).round().astype(int) for known in captures]
        return [[known[i] for i in chosen] for known, chosen in zip(captures, places, strict=True)]
    everywhere = sorted({name for known in captures for name in known})
    for name in cameras:
        if name not in everywhere:
            raise DatasetError(
                f'cameras names {name!r}, which {where} lacks (it has {", ".join(everywhere)}).'
                f'{did_you_mean(name, everywhere)}'
            )
    return [[name for name in cameras if name in known] for known in captures]


def with_numbers(clip, recording, frames, step, fps, meta):
    """Adds `meta`, with the frames' numbers, and the timestamps to a clip of the frames (T,) of a recording.

    `frame_indices` count the frames of the timeline, from the data set's own number by `step`; `official_indices` are
    those numbers themselves, -1 where nothing is annotated.
    """
    rows = recording.rows[frames]
    places = recording.numbers[0] // step + frames
    numbers = {
        'sequence': recording.name,
        'frame_indices': places.tolist(),
        'official_indices': np.where(rows >= 0, recording.numbers[rows], -1).tolist(),
        'fps': float(fps),
    }
    return clip.replace(meta={**meta, **numbers}, timestamps=torch.from_numpy(places / fps))


def model_wrist(model, shape, transl, sides):
    """Where a hand model puts the wrists (N, H, 3), metres: translations plus its wrist at rest, float64.

    Args:
        model: HandModel. shape: (N, H, 10). transl: (N, H, 3) metres. sides: (H,) 0 left, 1 right.
    """
    with torch.no_grad():
        rest = model.rest_wrist(torch.from_numpy(np.asarray(shape, np.float32)), torch.tensor(sides))
    return transl + rest.double().numpy()


def usable_fits(hands, joints, joints_valid, where):
    """Checks hand-model parameters against the joints, frame by frame.

    Args:
        hands: HandParameters.
        joints: (N, H, 21, 3) metres.
        joints_valid: (N, H, 21).
        where: names them in error messages.

    Returns:
        HandParameters without (`valid` False, zeros) the fits whose numbers are impossible (see
        `plausibility.possible_parameters`) or whose wrist is farther than `MAX_WRIST_DISTANCE` from the annotated one;
        the log says how many they are.

    Raises:
        DatasetError: half of the fits or more are that far off, which is the sign of another unit or frame, or
            impossible.
    """
    both = hands.valid & joints_valid[:, :, 0]
    distance = np.linalg.norm(hands.wrist - joints[:, :, 0], axis=-1)
    far = both & ~(distance <= MAX_WRIST_DISTANCE)  # NaN too
    if far.any() and far.sum() * 2 >= both.sum():
        raise DatasetError(
            f"{where}: the hand model's wrist is {np.median(distance[both]):.3g} m from the annotated one (median over "
            f"the frames), so the two are not in the same unit or frame; read the joints alone by labels='joints_only'"
        )
    wild = hands.valid & ~possible_parameters(hands.pose, hands.shape, hands.wrist)
    if wild.any() and wild.sum() * 2 >= hands.valid.sum():
        check_hand_parameters(hands.pose[wild], hands.shape[wild], hands.wrist[wild], where)
    refused = far | wild
    if not refused.any():
        return hands
    row, hand = np.argwhere(refused)[0]
    print_log(
        f'{where}: {refused.sum()} of {hands.valid.sum()} fits are not used, because their parameters are impossible '
        f"or the hand model's wrist is over {MAX_WRIST_DISTANCE:g} m from the annotated one; the first is that of "
        f'annotated frame {row} of the sequence, hand {hand}, {distance[row, hand]:.3g} m off',
        logger='current',
        level=logging.WARNING,
    )
    return HandParameters(
        pose=np.where(refused[..., None, None], 0, hands.pose),
        shape=np.where(refused[..., None], 0, hands.shape),
        wrist=np.where(refused[..., None], 0, hands.wrist),
        valid=hands.valid & ~refused,
    )


def complete_pose(model, pose, sides):
    """Rotvecs (N, H, 16, 3) with the mean finger pose of each side's model added to poses (N, H, 48) without it."""
    mean = np.stack([np.pad(model.pose_mean_of(side).double().numpy(), (3, 0)) for side in sides])
    return (pose + mean).reshape(*pose.shape[:2], 16, 3)


def camera_clip(recording, frames, camera, sides, model=None):
    """A clip in a camera's frame: K = 1, `meta` and `timestamps` left to the reader.

    The camera of a frame without annotation is that of the nearest annotated one. `hand_shape` is the mean over the
    clip's annotated frames; the translation keeps the model's wrist where it was.

    Args:
        recording: Recording. frames: (T,) places on its timeline. camera: Camera. sides: (H,) 0 left, 1 right.
        model: the HandModel of the parameters; None leaves them out.
    """
    rows = recording.rows[frames]
    known = rows >= 0
    rows = rows[nearest_known(known)] if known.any() else np.zeros(len(rows), int)
    valid = recording.joints_valid[rows] & known[:, None, None]
    matrix = _of_frames(camera.extrinsics, rows)
    turn, shift = matrix[:, None, :3, :3], matrix[:, None, None, :3, 3]
    joints = recording.joints[rows].astype(np.float64) @ turn.swapaxes(-1, -2) + shift
    joints[~valid] = 0
    intrinsics = _of_frames(camera.intrinsics, rows)
    pixels, in_front = _project(joints, intrinsics)
    seen = valid & in_front
    clip = HandSequence(
        frame='camera',
        frame_valid=torch.ones(len(rows), dtype=torch.bool),
        hand_side=torch.tensor(sides),
        hand_valid=torch.from_numpy(valid.any(-1)),
        intrinsics=_float(intrinsics)[:, None],
        extrinsics=torch.eye(4).repeat(len(rows), 1, 1, 1),
        joints_3d=_float(joints),
        joints_valid=torch.from_numpy(valid),
        joints_2d=_float(np.where(seen[..., None], pixels, 0))[:, None],
        joints_2d_valid=torch.from_numpy(seen)[:, None],
    )
    if model is None or recording.hands is None:
        return clip
    return _with_hand_parameters(clip, recording.hands, rows, valid.any(-1), matrix, model)


def _with_hand_parameters(clip, hands, rows, valid, matrix, model):
    """Adds hand pose, shape and translation in the camera's frame, which world points enter by `matrix` (T, 4, 4)."""
    valid = valid & hands.valid[rows]
    pose = hands.pose[rows].astype(np.float64)
    for hand in range(pose.shape[1]):
        turned = Rotation.from_matrix(np.array(matrix[:, :3, :3])) * Rotation.from_rotvec(pose[:, hand, 0])
        pose[:, hand, 0] = turned.as_rotvec()
    count = np.maximum(valid.sum(0), 1)[:, None]
    shape = np.where(valid[..., None], hands.shape[rows], 0).sum(0) / count
    wrist = hands.wrist[rows] @ matrix[:, :3, :3].swapaxes(-1, -2) + matrix[:, None, :3, 3]
    # The model turns about its own wrist at rest, J0: t' = R (t + J0) + t_camera - J0, the last J0 of the mean shape.
    transl = wrist - model_wrist(model, shape, 0.0, clip.hand_side.tolist())
    return clip.replace(
        hand_pose=_float(np.where(valid[..., None, None], pose, 0)),
        hand_shape=_float(shape),
        hand_transl=_float(np.where(valid[..., None], transl, 0)),
        hand_pose_valid=torch.from_numpy(valid),
    )


def _project(joints, intrinsics):
    """Pixels (T, H, 21, 2) of joints (T, H, 21, 3), and which of them are in front of the camera."""
    in_front = joints[..., 2] > 1e-3
    depth = np.where(in_front, joints[..., 2], 1)[..., None]
    return ((joints / depth) @ intrinsics[:, None].swapaxes(-1, -2))[..., :2], in_front


def _of_frames(matrix, rows):
    """The matrix of each frame, (T, n, n), of a camera that stands still or moves."""
    matrix = np.asarray(matrix, np.float64)
    return matrix[rows] if matrix.ndim == 3 else np.broadcast_to(matrix, (len(rows), *matrix.shape))


def _float(array):
    return torch.from_numpy(np.array(array, np.float32))
