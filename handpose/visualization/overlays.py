"""A clip as images: input, prediction and truth side by side."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from handpose.geometry.camera import project_points
from handpose.geometry.rigid import transform_points
from handpose.structures import HandSequence, SequenceError, sample_name
from handpose.visualization.blank_images import with_blank_images
from handpose.visualization.draw import (
    PREDICTED_COLOR,
    TRUE_COLOR,
    Color,
    add_caption,
    draw_mesh,
    draw_skeleton,
    side_by_side,
)

_AT_TRUE_WRIST = ' (placed at the true wrist)'


def draw_clip(
    prediction: HandSequence,
    target: HandSequence,
    hand_faces: Tensor | np.ndarray | None = None,
    camera: int = 0,
    panel_size: int = 320,
) -> list[np.ndarray]:
    """Draws every valid frame of a clip as a row of panels: input | predicted skeleton | predicted mesh | truth.

    The mesh panels are there where `vertices` and `hand_faces` are; the truth is a mesh where it has vertices, else a
    skeleton. A prediction in frame 'wrist' has no place of its own: it is drawn at the true wrist, and its caption
    says so.

    Args:
        prediction: HandSequence (a clip) with joints_3d in the target's frame or in 'wrist'.
        target: HandSequence (a clip) with images, intrinsics, joints_3d (and extrinsics where its frame is not that of
            the camera drawn). Without images it is drawn on blank ones, see `with_blank_images`; with
            `input_joints_3d` they are drawn into the first panel.
        hand_faces: (F, 3) triangles of a right hand; a left hand's are the same with reversed winding.
        camera: which of the K cameras to draw.
        panel_size: height in pixels that every image is scaled to.

    Returns:
        list of (h, w, 3) uint8 RGB, one a valid frame, all of one size.

    Raises:
        SequenceError: a field is missing, or the two are in frames that cannot be drawn together.
    """
    target = with_blank_images(target)
    _check(prediction, target)
    view = _View(target, camera, panel_size)
    faces = None if hand_faces is None else torch.as_tensor(hand_faces).cpu().numpy()
    shift, note = _placement(prediction, target)
    valid = target.frame_valid
    if valid is None:
        valid = torch.ones(len(view.images), dtype=torch.bool)
    frames = []
    for t in torch.nonzero(valid).flatten().tolist():
        given = view.image(t) if target.input_joints_3d is None else view.skeletons(t, _input_of(target), None)
        panels = [(given, _frame_name(target, t))]
        panels.append((view.skeletons(t, prediction, shift), f'predicted skeleton{note}'))
        if prediction.vertices is not None and faces is not None:
            panels.append((view.meshes(t, prediction, shift, faces, PREDICTED_COLOR), f'predicted mesh{note}'))
        if target.vertices is not None and faces is not None:
            panels.append((view.meshes(t, target, None, faces, TRUE_COLOR), 'true mesh'))
        else:
            panels.append((view.skeletons(t, target, None), 'true skeleton'))
        frames.append(side_by_side([add_caption(image, text) for image, text in panels], pad=4))
    return frames


def draw_frames(
    prediction: HandSequence,
    target: HandSequence,
    frames: Sequence[int],
    hand_faces: Tensor | np.ndarray | None = None,
    camera: int = 0,
    panel_size: int = 320,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draws some frames of a clip, each as two images: with the prediction and with the truth.

    A mesh is drawn where there is one (`vertices` and `hand_faces`), else the skeleton.

    Args:
        prediction: as in `draw_clip`.
        target: as in `draw_clip`.
        frames: indices into T.
        hand_faces: as in `draw_clip`.
        camera: as in `draw_clip`.
        panel_size: as in `draw_clip`.

    Returns:
        list of (predicted, true), each (h, w, 3) uint8 RGB.
    """
    target = with_blank_images(target)
    _check(prediction, target)
    view = _View(target, camera, panel_size)
    faces = None if hand_faces is None else torch.as_tensor(hand_faces).cpu().numpy()
    shift, _ = _placement(prediction, target)

    def drawn(t: int, sequence: HandSequence, shift: Tensor | None, color: Color) -> np.ndarray:
        if sequence.vertices is None or faces is None:
            return view.skeletons(t, sequence, shift)
        return view.meshes(t, sequence, shift, faces, color)

    return [(drawn(t, prediction, shift, PREDICTED_COLOR), drawn(t, target, None, TRUE_COLOR)) for t in frames]


def _input_of(target: HandSequence) -> HandSequence:
    """The clip with the input joints in place of the true joints."""
    valid = target.require('input_valid')[..., None].expand(target.require('joints_valid').shape)
    return target.replace(joints_3d=target.input_joints_3d, joints_valid=valid)


class _View:
    """One camera of a clip, scaled to panels."""

    def __init__(self, target: HandSequence, camera: int, panel_size: int) -> None:
        self.images = target.require('images')[:, camera].permute(0, 2, 3, 1).cpu().numpy()
        self.scale = panel_size / self.images.shape[1]
        self.intrinsics = target.require('intrinsics')[:, camera].cpu()
        self.to_camera = None if target.extrinsics is None else target.extrinsics[:, camera].cpu()
        self.sides = target.require('hand_side').tolist()

    def image(self, t: int) -> np.ndarray:
        height, width = (round(n * self.scale) for n in self.images.shape[1:3])
        shrinks = self.scale < 1
        return cv2.resize(self.images[t], (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)

    def skeletons(self, t: int, sequence: HandSequence, shift: Tensor | None) -> np.ndarray:
        image = self.image(t)
        for h in range(len(self.sides)):
            joints = sequence.require('joints_3d')[t, h]
            points, depth = self.project(t, joints, None if shift is None else shift[t, h])
            valid = sequence.require('joints_valid')[t, h].cpu().numpy() & (depth > 0)
            image = draw_skeleton(image, points, valid)
        return image

    def meshes(
        self, t: int, sequence: HandSequence, shift: Tensor | None, faces: np.ndarray, color: Color
    ) -> np.ndarray:
        image, hands = self.image(t), []
        for h, side in enumerate(self.sides):
            points, depth = self.project(t, sequence.require('vertices')[t, h], None if shift is None else shift[t, h])
            valid = sequence.require('joints_valid')[t, h]
            if valid.any() and np.isfinite(points).all() and (depth > 0).all():
                hands.append((points, depth, faces if side == 1 else faces[:, ::-1]))
        focal = self.scale * float(self.intrinsics[t, 0, 0])
        for points, depth, oriented in sorted(hands, key=lambda hand: -hand[1].mean()):  # the nearer hand last
            image = draw_mesh(image, points, depth, oriented, color, pixels_per_metre=focal / depth.mean())
        return image

    def project(self, t: int, points: Tensor, shift: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
        """Panel pixels (N, 2) and depth (N,) of points (N, 3); pixel centres are at integers, hence the halves."""
        points = points.detach().cpu().float()
        points = points if shift is None else points + shift
        if self.to_camera is not None:
            points = transform_points(points, self.to_camera[t])
        pixels = project_points(points, self.intrinsics[t]).numpy()
        return (pixels + 0.5) * self.scale - 0.5, points[..., 2].numpy()


def _placement(prediction: HandSequence, target: HandSequence) -> tuple[Tensor | None, str]:
    """The offset of a prediction (T, H, 3), NaN where the true wrist is unknown, and a note for the caption."""
    if prediction.frame != 'wrist':
        return None, ''
    wrist = target.require('joints_3d')[:, :, 0].detach().cpu().float()
    valid = target.require('joints_valid')[:, :, 0].cpu()
    return torch.where(valid[..., None], wrist, torch.nan), _AT_TRUE_WRIST


def _frame_name(target: HandSequence, t: int) -> str:
    numbers = target.meta.get('frame_indices')
    return f'input, frame {numbers[t] if numbers else t}'


def _check(prediction: HandSequence, target: HandSequence) -> None:
    where = 'a batch' if target.batched else sample_name(target.meta)
    if prediction.batched or target.batched:
        raise SequenceError(f'{where}: draw_clip draws one clip; call unstack() first')
    missing = [
        n for n in ('images', 'intrinsics', 'joints_3d', 'joints_valid', 'hand_side') if getattr(target, n) is None
    ]
    missing += [f'{n} of the prediction' for n in ('joints_3d', 'joints_valid') if getattr(prediction, n) is None]
    if missing:
        raise SequenceError(f'{where}: draw_clip needs {", ".join(missing)}')
    if target.frame == 'wrist' or prediction.frame not in ('wrist', target.frame):
        raise SequenceError(
            f"{where}: draw_clip needs a target in 'camera' or 'world' and a prediction in the same frame or in "
            f"'wrist', got {target.frame!r} and {prediction.frame!r}"
        )
    if target.frame == 'world' and target.extrinsics is None:
        raise SequenceError(f"{where}: draw_clip needs extrinsics of a target in frame 'world'")
