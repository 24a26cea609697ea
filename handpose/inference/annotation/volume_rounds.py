"""Rounds of `MVExoNet` on a recording: each hand in a cube of voxels, from the images of all cameras.

    rounds = estimate_rounds(recording, load_volume_model('hands.safetensors'))
    rounds.recordings[-1]                             # the recording with the joints of the last round

Legend: T frames, K cameras, H hands, B hands of several frames, J = 21 joints, s side of a region.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry import boxes_from_points, clip_boxes
from handpose.inference.annotation.recording_reader import RecordingReader, cut_region, open_images, region_around
from handpose.models.estimators.base import FRAMES_AT_ONCE
from handpose.models.estimators.mvexonet import MIDDLE_MCP, MVExoNet
from handpose.models.prediction import prepare_for_prediction
from handpose.structures import HandSequence
from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError
from handpose.zoo.estimators import load_estimator
from handpose.zoo.find import find_weights

Progress = Callable[[int, int], None]
"""Called with (frames done, their total)."""
_MARGIN = 2.0  # side of a region over that of a crop: in later rounds the crops move
_LEAST_SIDE = 1.0  # pixels of a box that shows anything


@dataclass(frozen=True, eq=False)
class VolumeRounds:
    """What `MVExoNet` found in each round.

    Attributes:
        recordings: the recording with the joints of each round, the paper's R1, R2, ...
        estimated: (T, H) bool, hands that were estimated.
    """

    recordings: list[AnnotatedRecording]
    estimated: NDArray[np.bool_]


class _View(NamedTuple):
    """A hand in the image of one camera, or a view without it: a black image of a camera that looks away."""

    image: Tensor  # (3, s, s) uint8
    intrinsics: Tensor  # (3, 3)
    extrinsics: Tensor  # (4, 4)
    box: Tensor  # (4,) around the detected joints, pixels of the region; zeros if the hand was not detected


class _Item(NamedTuple):
    """A hand in a frame of the recording."""

    frame: int
    hand: int
    views: list[_View]


def load_volume_model(
    weights: str | Path, rounds: int | None = None, device: torch.device | str = 'cpu'
) -> tuple[MVExoNet, str]:
    """Loads an `MVExoNet`.

    Args:
        weights: a name of the model zoo, or a `.safetensors` file that `handpose publish` wrote.
        rounds: number of rounds; None means as the weights state.
        device: of the model.

    Returns:
        The model, and its name for the text that says where joints come from.

    Raises:
        ValueError: weights that cannot be loaded or are of another model, or rounds below 1.
    """
    path = find_weights(weights)
    model = prepare_for_prediction(load_estimator(path, device))
    if not isinstance(model, MVExoNet):
        raise ValueError(
            f'{path} holds weights of {type(model).__name__}, which does not estimate hands from several cameras; '
            f'expected MVExoNet'
        )
    if rounds is not None:
        if rounds < 1:
            raise ValueError(f'rounds must be at least 1, got {rounds}')
        model.num_rounds = rounds
    return model, f'MVExoNet ({weights if str(weights) != str(path) else path.name})'


def estimate_rounds(
    recording: AnnotatedRecording,
    model: MVExoNet,
    name: str = 'MVExoNet',
    *,
    folder: Path | None = None,
    device: torch.device | str = 'cpu',
    progress: Progress | None = None,
) -> VolumeRounds:
    """Runs all rounds of a model on the images of a recording.

    The videos are read again, frame by frame. Of each view the model gets a square region around the hand, without lens
    distortion. The first round sees the hands where they were detected, in a cube around the middle MCP of
    `recording.joints_3d`; later ones see them where the joints of the round before are.

    Args:
        recording: with detections and joints, triangulated or fitted.
        model: in evaluation mode.
        name: of the model, for `method`.
        folder: to which relative paths of videos refer; None means the working directory.
        device: of the model.
        progress: is told about it.

    Returns:
        The joints of each round. A hand whose middle MCP is not known or which fewer views than the model needs
        detected is not valid. Parameters of a fitted hand model are dropped: they belong to other joints.

    Raises:
        RecordingError: fewer cameras than the model needs, no hand with a known middle MCP, or videos that are not
            those of the recording.
        VideoError: a video that cannot be read.
    """
    if len(recording.calibration) < model.min_views:
        raise RecordingError(
            f'{name} needs {model.min_views} cameras, and the recording has {len(recording.calibration)}'
        )
    known = recording.joints_valid[..., MIDDLE_MCP] & (recording.num_views >= model.min_views)
    if not known.any():
        raise RecordingError(
            f'{name} needs hands whose middle MCP is triangulated and which {model.min_views} cameras detected, and '
            f'the recording has none'
        )
    shape = (model.num_rounds, *recording.joints_3d.shape)
    joints, estimated = np.zeros(shape, np.float32), np.zeros(known.shape, bool)
    at_once = max(1, FRAMES_AT_ONCE // len(recording.calibration))
    with open_images(recording, folder) as images:
        for items in _batches(recording, images, known, model, at_once, progress):
            batch = _batch(recording, items).to(device)
            for r, found in enumerate(model.predict_rounds(batch)):
                valid = found.require('hand_valid')[:, 0, 0].cpu().numpy()
                for item, points, is_valid in zip(items, found.require('joints_3d')[:, 0, 0].cpu(), valid, strict=True):
                    joints[r, item.frame, item.hand] = points.float().numpy()
                    estimated[item.frame, item.hand] = is_valid
    found_in = [_in_recording(recording, joints[r], estimated, name, r + 1) for r in range(model.num_rounds)]
    return VolumeRounds(found_in, estimated)


def _in_recording(
    recording: AnnotatedRecording, joints: NDArray, estimated: NDArray, name: str, number: int
) -> AnnotatedRecording:
    lost = int((recording.joints_valid.any(-1) & ~estimated).sum())
    notes = list(recording.notes)
    if lost:
        notes.append(f'{name} gives no joints for {lost} hands of frames that had some: too few views show them')
    before = f'{recording.method}; ' if recording.method else ''
    return replace(
        recording,
        joints_3d=joints,
        joints_valid=np.repeat(estimated[..., None], joints.shape[-2], -1),
        method=f'{before}{name}, round {number}',
        hand_pose=None,
        hand_shape=None,
        hand_transl=None,
        hand_pose_valid=None,
        hand_model='',
        notes=notes,
    )


def _batches(
    recording: AnnotatedRecording,
    images: RecordingReader,
    known: NDArray[np.bool_],
    model: MVExoNet,
    size: int,
    progress: Progress | None,
) -> Iterator[list[_Item]]:
    """Hands of successive frames, `size` of them at most."""
    cut = _RegionCutter(recording, model)
    items: list[_Item] = []
    frames = np.flatnonzero(known.any(1))
    for number, frame in enumerate(frames, 1):
        seen = [images.read(int(frame), k) for k in range(len(recording.calibration))]
        for hand in np.flatnonzero(known[frame]):
            items.append(_Item(int(frame), int(hand), cut.views(seen, int(frame), int(hand))))
            if len(items) == size:
                yield items
                items = []
        if progress is not None:
            progress(number, len(frames))
    if items:
        yield items


class _RegionCutter:
    """Cuts the hands of a recording out of images."""

    def __init__(self, recording: AnnotatedRecording, model: MVExoNet) -> None:
        self._recording = recording
        self._scale = model.box_scale * _MARGIN
        self._size = round(model.crop_size * _MARGIN)
        self._cameras = list(recording.calibration)

    def views(self, images: list[NDArray[np.uint8] | None], frame: int, hand: int) -> list[_View]:
        """A hand in the K images of a frame."""
        return [self._view(image, frame, k, hand) for k, image in enumerate(images)]

    def _view(self, image: NDArray[np.uint8] | None, frame: int, k: int, hand: int) -> _View:
        recording, camera = self._recording, self._cameras[k]
        joints = torch.from_numpy(recording.joints_3d[frame, hand].astype(np.float64))
        valid = torch.from_numpy(recording.joints_valid[frame, hand]) & camera.sees(joints.nan_to_num())
        detected = camera.undistort(torch.from_numpy(recording.joints_2d[frame, k, hand].astype(np.float64)))
        given = detected.isfinite().all(-1)
        homogeneous = torch.cat([joints.nan_to_num(), torch.ones(len(joints), 1).double()], -1) @ camera.projection.mT
        projected = homogeneous[:, :2] / homogeneous[:, 2:]
        points = torch.where(given[:, None], detected, projected)
        box = boxes_from_points(points, given if given.any() else valid)
        width, height = camera.image_size
        clipped = clip_boxes(box, width, height)
        if image is None or (clipped[2:] - clipped[:2] < _LEAST_SIDE).any():
            return self._nothing()
        square = region_around(clipped, self._scale, camera.image_size)
        region = cut_region(image, camera, square, self._size)
        corners = clipped.reshape(2, 2) @ region.affine[:, :2].mT + region.affine[:, 2]
        return _View(
            image=torch.from_numpy(region.image).permute(2, 0, 1),
            intrinsics=region.intrinsics.float(),
            extrinsics=camera.extrinsics.float(),
            box=corners.flatten().float() if given.any() else torch.zeros(4),
        )

    def _nothing(self) -> _View:
        away = torch.eye(4)
        away[2, 3] = -1e3  # everything is behind the camera, so later rounds do not look for the hand here either
        return _View(torch.zeros(3, self._size, self._size, dtype=torch.uint8), torch.eye(3), away, torch.zeros(4))


def _batch(recording: AnnotatedRecording, items: list[_Item]) -> HandSequence:
    """(B, 1, K, 1, ...) clips of one frame of one hand."""
    columns: dict[str, Tensor] = {
        name: torch.stack([torch.stack([view._asdict()[name] for view in item.views]) for item in items])[:, None]
        for name in ('image', 'intrinsics', 'extrinsics', 'box')
    }
    joints = np.stack([recording.joints_3d[item.frame, item.hand] for item in items])
    sides = torch.tensor([[int(recording.hand_side[item.hand])] for item in items])
    count = len(items)
    meta: list[Mapping[str, Any]] = [
        {'dataset': 'recording', 'sequence': '', 'frame_indices': [item.frame]} for item in items
    ]
    return HandSequence(
        meta=meta,
        frame='world',
        batched=True,
        frame_valid=torch.ones(count, 1, dtype=torch.bool),
        hand_side=sides,
        images=columns['image'],
        intrinsics=columns['intrinsics'],
        extrinsics=columns['extrinsics'],
        boxes=columns['box'][..., None, :],
        input_joints_3d=torch.from_numpy(joints)[:, None, None].nan_to_num(),
        input_valid=torch.ones(count, 1, 1, dtype=torch.bool),
    )
