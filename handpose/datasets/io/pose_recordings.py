"""What the readers of pose sequences hold in memory, and how a clip in one camera's frame is made of it.

Labels lie in the world of a recording, as numpy arrays, for its annotated frames alone; a clip is rotated into its
camera's frame when it is asked for. Legend: N annotated frames, T frames of a clip, H hands.
"""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.label_frames import nearest_valid
from handpose.datasets.io.plausibility import (
    check_extrinsics,
    check_hand_parameters,
    check_intrinsics,
    check_view,
    possible_parameters,
)
from handpose.hands import HandModel
from handpose.structures import HandSequence

Key = TypeVar('Key', bound=Hashable)


class Camera(NamedTuple):
    """`intrinsics` (3, 3) and `extrinsics` (4, 4) world to camera, metres; of a moving one (N, 3, 3) and (N, 4, 4)."""

    intrinsics: np.ndarray
    extrinsics: np.ndarray


MAX_WRIST_DISTANCE = 0.1  # metres: fits are within one or two centimetres, 4 at worst; wrong units are far beyond


def pinhole(focal: NDArray, centre: NDArray) -> NDArray:
    """Intrinsics (3, 3) of a focal length (2,) and a principal point (2,), pixels."""
    return np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])


class RecordedHands(NamedTuple):
    """Hand-model parameters in the world.

    Attributes:
        pose: (N, H, 16, 3) rotvecs, mean included.
        shape: (N, H, 10).
        wrist: (N, H, 3) metres, where the model puts the wrist: its translation and its wrist at rest.
        valid: (N, H).
    """

    pose: np.ndarray
    shape: np.ndarray
    wrist: np.ndarray
    valid: np.ndarray


@dataclass
class Recording:
    """One recording's labels.

    Attributes:
        name: of the recording.
        numbers: (N,) the dataset's own frame numbers.
        rows: (F,) which of the N frames is at each place of the timeline, -1 where nothing is annotated.
        joints: (N, H, 21, 3) metres, world, common order.
        joints_valid: (N, H, 21).
        hands: hand-model parameters, or None.
    """

    name: str
    numbers: np.ndarray
    rows: np.ndarray
    joints: np.ndarray
    joints_valid: np.ndarray
    hands: RecordedHands | None = None


def timeline(numbers: NDArray, step: int) -> NDArray:
    """Puts frames on a timeline whose neighbours are one frame of the release apart.

    A jump that is no multiple of `step` leaves one place more free, so that nothing takes the frames on both sides of
    it for evenly spaced.

    Args:
        numbers: (N,) frame numbers, rising.
        step: from one frame's number to the next.

    Returns:
        rows (F,): which of the N frames is at each place, -1 where none is.
    """
    jumps = np.diff(numbers)
    places = np.concatenate([[0], np.cumsum(np.where(jumps % step == 0, jumps // step, jumps // step + 2))])
    rows = np.full(places[-1] + 1, -1)
    rows[places] = np.arange(len(numbers))
    return rows


def commonest_step(sequences: Iterable[NDArray]) -> int | None:
    """The most frequent difference between neighbours in lists of rising frame numbers (N,); None without any."""
    steps = np.concatenate([np.zeros(0, int), *map(np.diff, sequences)])
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()]) if len(values) else None


def has_step(numbers: NDArray, step: int) -> bool:
    """Whether frame numbers (N,), rising, can be those of a sequence whose neighbours are `step` apart.

    Frames may be missing, so multiples of the step fit; where half of the jumps or more are none, the sequence was
    recorded or numbered at another rate, and no time can be given to its frames.
    """
    jumps = np.diff(numbers)
    return not len(jumps) or 2 * int((jumps % step != 0).sum()) < len(jumps)


def without_other_rates(sequences: Mapping[Key, NDArray], step: int, where: object) -> list[Key]:
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
    message = (
        f'{where}: the frame numbers of {len(wrong)} of {len(sequences)} sequences do not rise by multiples of {step}, '
        f'so their frame rate is not known; the first is {wrong[0]}, whose numbers mostly rise by {found}'
    )
    if len(wrong) == len(sequences):
        raise DatasetError(message)
    print_log(f'Skipped: {message}', logger='current', level=logging.WARNING)
    return [name for name in sequences if name not in set(wrong)]


def check_cameras(cameras: Mapping[str, Camera], where: object) -> None:
    """Refuses cameras {name: Camera} that are no pinhole cameras in metres; see `plausibility`."""
    for name, camera in cameras.items():
        check_intrinsics(camera.intrinsics, f'{where}, camera {name}')
        check_extrinsics(camera.extrinsics, f'{where}, camera {name}')


def check_cameras_see(recording: Recording, cameras: Mapping[str, Camera], where: object) -> None:
    """Refuses cameras {name: Camera} that cannot see the hands of a Recording; see `plausibility.check_view`."""
    valid = recording.joints_valid[:, :, 0]
    rows, hands = np.nonzero(valid)
    if len(rows):
        some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(int))
        rows, hands = rows[some], hands[some]
    wrists = recording.joints[rows, hands, 0].astype(np.float64)
    for name, camera in cameras.items():
        matrix = _of_frames(camera.extrinsics, rows)
        points = (matrix[:, :3, :3] @ wrists[..., None])[..., 0] + matrix[:, :3, 3]
        check_view(points, f'{where}, camera {name}')


def official_indices(recording: Recording, frames: NDArray) -> list[int]:
    """The dataset's own numbers of the frames (T,) of a recording, -1 where nothing is annotated."""
    rows = recording.rows[frames]
    return np.where(rows >= 0, recording.numbers[rows], -1).tolist()


def model_wrist(model: HandModel, shape: NDArray, transl: NDArray | float, sides: Sequence[int]) -> NDArray:
    """Where a hand model puts the wrists (N, H, 3), metres: translations plus its wrist at rest, float64.

    Args:
        model: the hand model.
        shape: (N, H, 10).
        transl: (N, H, 3) metres.
        sides: (H,) 0 left, 1 right.
    """
    with torch.no_grad():
        rest = model.rest_wrist(torch.from_numpy(np.asarray(shape, np.float32)), torch.tensor(sides))
    return transl + rest.double().numpy()


def usable_fits(hands: RecordedHands, joints: NDArray, joints_valid: NDArray[np.bool_], where: object) -> RecordedHands:
    """Checks hand-model parameters against the joints, frame by frame.

    Args:
        hands: RecordedHands.
        joints: (N, H, 21, 3) metres.
        joints_valid: (N, H, 21).
        where: names them in error messages.

    Returns:
        RecordedHands without (`valid` False, zeros) the fits whose numbers are impossible (see
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
    return RecordedHands(
        pose=np.where(refused[..., None, None], 0, hands.pose),
        shape=np.where(refused[..., None], 0, hands.shape),
        wrist=np.where(refused[..., None], 0, hands.wrist),
        valid=hands.valid & ~refused,
    )


def fitted_hands(
    model: HandModel,
    values: NDArray,
    fitted: NDArray[np.bool_],
    joints: NDArray,
    joints_valid: NDArray[np.bool_],
    sides: Sequence[int],
    where: object,
) -> RecordedHands:
    """Makes `RecordedHands` of MANO's numbers as files hold them, and checks them against the joints (`usable_fits`).

    Args:
        model: of the parameters.
        values: (N, H, 61), world: pose (48, without the mean pose), shape (10), translation (3, metres).
        fitted: (N, H), which of them there are.
        joints: (N, H, 21, 3) metres.
        joints_valid: (N, H, 21).
        sides: (H,) 0 left, 1 right.
        where: names them in error messages.
    """
    pose, shape, transl = values[..., :48], values[..., 48:58], values[..., 58:]
    wrist = model_wrist(model, shape, transl, sides)
    mean = np.stack([np.pad(model.pose_mean_of(side).double().numpy(), (3, 0)) for side in sides])
    pose = (pose + mean).reshape(*pose.shape[:2], 16, 3)
    return usable_fits(RecordedHands(pose, shape, wrist, fitted), joints, joints_valid, where)


def camera_clip(
    recording: Recording,
    frames: NDArray,
    cameras: Sequence[Camera],
    sides: Sequence[int],
    model: HandModel | None = None,
) -> HandSequence:
    """A clip in the frame of the first of K cameras.

    The cameras of a frame without annotation are those of the nearest annotated one. `hand_shape` is the mean over the
    clip's annotated frames; the translation keeps the model's wrist where it was.

    Args:
        recording: the labels.
        frames: (T,) places on its timeline.
        cameras: K cameras.
        sides: (H,) 0 left, 1 right.
        model: the HandModel of the parameters; None leaves them out.
    """
    rows = recording.rows[frames]
    annotated = rows >= 0
    rows = rows[nearest_valid(annotated)] if annotated.any() else np.zeros(len(rows), int)
    valid = recording.joints_valid[rows] & annotated[:, None, None]
    world = recording.joints[rows].astype(np.float64)
    matrices = [_of_frames(camera.extrinsics, rows) for camera in cameras]
    joints, pixels, in_image, intrinsics = [], [], [], []
    for camera, matrix in zip(cameras, matrices, strict=True):
        points = world @ matrix[:, None, :3, :3].swapaxes(-1, -2) + matrix[:, None, None, :3, 3]
        points[~valid] = 0
        focal = _of_frames(camera.intrinsics, rows)
        projected, in_front = _project(points, focal)
        joints.append(points)
        pixels.append(projected)
        in_image.append(valid & in_front)
        intrinsics.append(focal)
    extrinsics = [np.broadcast_to(np.eye(4), matrices[0].shape)]
    extrinsics += [matrix @ np.linalg.inv(matrices[0]) for matrix in matrices[1:]]
    joints_2d_valid = np.stack(in_image, 1)
    clip = HandSequence(
        frame='camera',
        frame_valid=torch.ones(len(rows), dtype=torch.bool),
        hand_side=torch.tensor(sides),
        hand_valid=torch.from_numpy(valid.any(-1)),
        intrinsics=_float(np.stack(intrinsics, 1)),
        extrinsics=_float(np.stack(extrinsics, 1)),
        joints_3d=_float(joints[0]),
        joints_valid=torch.from_numpy(valid),
        joints_2d=_float(np.where(joints_2d_valid[..., None], np.stack(pixels, 1), 0)),
        joints_2d_valid=torch.from_numpy(joints_2d_valid),
    )
    if model is None or recording.hands is None:
        return clip
    return _with_hand_parameters(clip, recording.hands, rows, valid.any(-1), matrices[0], model, sides)


def _with_hand_parameters(
    clip: HandSequence,
    hands: RecordedHands,
    rows: NDArray,
    valid: NDArray[np.bool_],
    matrix: NDArray,
    model: HandModel,
    sides: Sequence[int],
) -> HandSequence:
    """Adds hand pose, shape and translation in the camera's frame, which world points enter by `matrix` (T, 4, 4)."""
    from scipy.spatial.transform import Rotation  # loaded here: scipy takes long to import

    valid = valid & hands.valid[rows]
    pose = hands.pose[rows].astype(np.float64)
    for hand in range(pose.shape[1]):
        rotated = Rotation.from_matrix(np.array(matrix[:, :3, :3])) * Rotation.from_rotvec(pose[:, hand, 0])
        pose[:, hand, 0] = rotated.as_rotvec()
    count = np.maximum(valid.sum(0), 1)[:, None]
    shape = np.where(valid[..., None], hands.shape[rows], 0).sum(0) / count
    wrist = hands.wrist[rows] @ matrix[:, :3, :3].swapaxes(-1, -2) + matrix[:, None, :3, 3]
    # The model turns about its own wrist at rest, J0: t' = R (t + J0) + t_camera - J0, the last J0 of the mean shape.
    transl = wrist - model_wrist(model, shape, 0.0, sides)
    return clip.replace(
        hand_pose=_float(np.where(valid[..., None, None], pose, 0)),
        hand_shape=_float(shape),
        hand_transl=_float(np.where(valid[..., None], transl, 0)),
        hand_pose_valid=torch.from_numpy(valid),
    )


def _project(joints: NDArray, intrinsics: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Pixels (T, H, 21, 2) of joints (T, H, 21, 3), and which of them are in front of the camera."""
    in_front = joints[..., 2] > 1e-3
    depth = np.where(in_front, joints[..., 2], 1)[..., None]
    return ((joints / depth) @ intrinsics[:, None].swapaxes(-1, -2))[..., :2], in_front


def _of_frames(matrix: NDArray, rows: NDArray) -> NDArray:
    """The matrix of each frame, (T, n, n), of a camera that stands still or moves."""
    matrix = np.asarray(matrix, np.float64)
    return matrix[rows] if matrix.ndim == 3 else np.broadcast_to(matrix, (len(rows), *matrix.shape))


def _float(array: NDArray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
