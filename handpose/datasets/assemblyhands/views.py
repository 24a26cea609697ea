"""What the reader of AssemblyHands' images holds in memory of a sequence, and how a clip is made of it.

Legend: N annotated frames, F places of the timeline at 30 a second, T frames of a clip, K views, H = 2 hands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.io.label_frames import nearest_valid
from handpose.datasets.io.video_frames import frame_path
from handpose.geometry.boxes import boxes_from_points, scale_boxes
from handpose.hands.sides import Side
from handpose.structures import HandSequence

_IN_FRONT = 1e-3  # metres


@dataclass(eq=False)
class ViewedSequence:
    """The labels of a sequence, in the world.

    Attributes:
        name: of the sequence.
        numbers: (N,) official frame numbers.
        rows: (F,) which of the N frames is at each place of the timeline, -1 where nothing is annotated.
        joints: (N, 2, 21, 3) metres, left hand first, common order; None where they are not public.
        joints_valid: (N, 2, 21).
    """

    name: str
    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    joints: NDArray[np.float32] | None = None
    joints_valid: NDArray[np.bool_] | None = None

    def annotated(self) -> NDArray[np.bool_]:
        """(F, 2): the hand has a label, or the frame has one where joints are not public."""
        there = np.repeat((self.rows >= 0)[:, None], 2, 1)
        return there if self.joints_valid is None else there & np.asarray(self.joints_valid.any(-1))[self.rows]


@dataclass(eq=False)
class CameraView:
    """What one camera sees of a sequence.

    Attributes:
        camera: its official name.
        size: (width, height) of its images, pixels.
        intrinsics: (3, 3).
        extrinsics: (4, 4), or (N, 4, 4) of a camera that moves; world to camera, metres.
        files: the video, or the image files.
        places: (F,) which frame of the video, or which of the files, shows each place of the timeline; -1 none.
        boxes: (M, 2, 4) xyxy pixels of the M files, zeros where there is none; None: those of the projected joints.
        in_image: (M, 2, 21), joints in the image of the M files; None: those that are projected into it.
        occlusion: (N, 2), NaN unknown; None where nothing is known.
    """

    camera: str
    size: tuple[int, int]
    intrinsics: NDArray
    extrinsics: NDArray
    files: str | Sequence[str]
    places: NDArray[np.int64]
    boxes: NDArray[np.float32] | None = None
    in_image: NDArray[np.bool_] | None = None
    occlusion: NDArray[np.float32] | None = None

    def path(self, frame: int) -> str:
        """The path of the image of a place of the timeline; empty where there is none."""
        place = int(self.places[frame])
        if place < 0:
            return ''
        return frame_path(self.files, place) if isinstance(self.files, str) else self.files[place]

    def hands(self, sequence: ViewedSequence) -> NDArray[np.bool_]:
        """(F, 2): the view has an image of the frame, with a box of the hand where the files have boxes."""
        there = np.repeat((self.places >= 0)[:, None], 2, 1)
        if self.boxes is not None:
            there &= np.asarray((self.boxes[..., 2:] > self.boxes[..., :2]).all(-1))[self.places]
        return there & sequence.annotated()


def clip_of_views(
    sequence: ViewedSequence, views: Sequence[CameraView | None], frames: NDArray, frame: str, box_margin: float
) -> HandSequence:
    """A clip of K views.

    A view without an image in a frame has no boxes (zeros) and no 2D joints. A camera that a sequence lacks has the
    matrices of the first one that is there. In a clip of one view a hand that it does not see is not there.

    Args:
        sequence: the labels.
        views: K; at least one is not None.
        frames: (T,) places on the timeline.
        frame: 'camera', that of the first view that is there, or 'world'.
        box_margin: share of the size by which boxes of projected joints are enlarged on each side.
    """
    first = next(view for view in views if view is not None)
    rows = sequence.rows[frames]
    annotated = rows >= 0
    rows = rows[nearest_valid(annotated)] if annotated.any() else np.zeros(len(rows), np.int64)
    world, valid = np.zeros((len(rows), 2, 21, 3)), np.zeros((len(rows), 2, 21), bool)
    if sequence.joints is not None and sequence.joints_valid is not None:
        world, valid = sequence.joints[rows].astype(np.float64), sequence.joints_valid[rows] & annotated[:, None, None]
    columns = [_Column(view or first, rows, frames, view is not None) for view in views]
    for column in columns:
        column.project(world, valid, box_margin)
    boxes = np.stack([column.boxes for column in columns], 1)
    in_image = np.stack([column.joints_2d_valid for column in columns], 1)
    seen = np.asarray(np.any((boxes[..., 2:] > boxes[..., :2]).all(-1), axis=1))  # (T, H)
    if len(views) == 1:
        valid = valid & seen[..., None]
        in_image &= seen[:, None, :, None]
    matrices = np.stack([column.extrinsics for column in columns], 1)
    if frame == 'camera':
        to_first = columns[views.index(first)].extrinsics
        world = world @ to_first[:, None, :3, :3].swapaxes(-1, -2) + to_first[:, None, None, :3, 3]
        matrices = matrices @ np.linalg.inv(to_first)[:, None]
        matrices[:, views.index(first)] = np.eye(4)  # without errors of rounding
    clip = HandSequence(
        frame=frame,
        frame_valid=torch.ones(len(rows), dtype=torch.bool),
        hand_side=torch.tensor(tuple(Side)),
        hand_valid=torch.from_numpy(seen if sequence.joints is None else valid.any(-1)),
        intrinsics=_float(np.stack([column.intrinsics for column in columns], 1)),
        extrinsics=_float(matrices),
        boxes=_float(boxes),
    )
    if any(column.occlusion is not None for column in columns):
        unknown = np.full((len(rows), 2), np.nan)
        hidden = [unknown if column.occlusion is None else column.occlusion for column in columns]
        clip = clip.replace(occlusion=_float(np.stack(hidden, 1)))
    if sequence.joints is None:
        return clip
    pixels = np.stack([column.joints_2d for column in columns], 1)
    return clip.replace(
        joints_3d=_float(np.where(valid[..., None], world, 0)),
        joints_valid=torch.from_numpy(valid),
        joints_2d=_float(np.where(in_image[..., None], pixels, 0)),
        joints_2d_valid=torch.from_numpy(in_image),
    )


class _Column:
    """One view of a clip: what `clip_of_views` stacks.

    Args:
        view: the view.
        rows: (T,) annotated frames.
        frames: (T,) places on the timeline.
        present: False: the sequence lacks the view, and `view` is another one.
    """

    def __init__(self, view: CameraView, rows: NDArray, frames: NDArray, present: bool) -> None:
        self.view, count = view, len(rows)
        self.shown = (view.places[frames] >= 0) & present
        self._files = np.where(self.shown, view.places[frames], 0)
        self.intrinsics = np.broadcast_to(np.asarray(view.intrinsics, np.float64), (count, 3, 3))
        extrinsics = np.asarray(view.extrinsics, np.float64)
        self.extrinsics = extrinsics[rows] if extrinsics.ndim == 3 else np.broadcast_to(extrinsics, (count, 4, 4))
        self.occlusion = None
        if view.occlusion is not None:
            self.occlusion = np.where(self.shown[:, None], view.occlusion[rows], np.nan)

    def project(self, world: NDArray, valid: NDArray, box_margin: float) -> None:
        """Sets the pixels of joints (T, H, 21, 3), which of them are in the image, and the boxes."""
        local = world @ self.extrinsics[:, None, :3, :3].swapaxes(-1, -2) + self.extrinsics[:, None, None, :3, 3]
        in_front = local[..., 2] > _IN_FRONT
        depth = np.where(in_front, local[..., 2], 1)[..., None]
        self.joints_2d = ((local / depth) @ self.intrinsics[:, None].swapaxes(-1, -2))[..., :2]
        inside = ((self.joints_2d > -0.5) & (self.joints_2d < np.array(self.view.size) - 0.5)).all(-1)
        self.joints_2d_valid = valid & in_front & inside & self.shown[:, None, None]
        if self.view.in_image is not None:
            self.joints_2d_valid &= self.view.in_image[self._files]
        if self.view.boxes is not None:
            self.boxes = np.where(self.shown[:, None, None], self.view.boxes[self._files], 0)
            return
        tight = boxes_from_points(torch.from_numpy(self.joints_2d), torch.from_numpy(self.joints_2d_valid))
        self.boxes = scale_boxes(tight, 1 + 2 * box_margin).numpy()


def _float(array: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))
