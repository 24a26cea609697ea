"""Scenes of recorded motion: the procedural hand fitted to a sequence, the object it held, the cameras that saw it.

Table frame: z up, metres; x = y = 0 where the recording is most of the time.
Legend: F frames, K cameras, N objects, V hand vertices.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from handpose.datasets.io.label_frames import nearest_valid
from handpose.datasets.motion.motion_file import RecordedMotion
from handpose.geometry.raster import NEAR
from handpose.hands import ProceduralHand, fit_hand
from handpose.hands.procedural import SHAPE_MEANINGS
from handpose.synthesis.cameras import enclosing_extrinsics
from handpose.synthesis.layouts.recorded import RecordedLayout, recorded_cameras
from handpose.synthesis.motion.posing import PosedHand
from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.objects.shapes import SceneObject
from handpose.synthesis.objects.ycb import ycb_object
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.rendering.still_camera import still_cameras
from handpose.synthesis.scene import Place, Scene
from handpose.synthesis.scenes.base import Job, SceneSource
from handpose.synthesis.scenes.bystanders import add_bystanders

REST_CLEARANCE = 0.01  # metres from the lowest joint to a table that the recording does not give
TABLE_TOLERANCE = 0.05  # metres by which a table is moved, at most, for the object to stand on it
MOVING_STEP = 0.002  # metres per frame: below it a recorded object is at rest, and only its measurement trembles
LIFTED = 0.01  # metres from where it stood: the object is in the hand
_THICKNESS = SHAPE_MEANINGS.index('finger thickness')


class RecordedScenes(SceneSource):
    """Scenes of recorded motion.

    Args:
        layout: the recordings, and which of their cameras are rendered.
    """

    def __init__(self, layout: RecordedLayout) -> None:
        super().__init__()
        self.layout = layout

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`."""
        for place in job:
            rng = np.random.default_rng([self.layout.options.seed, *place])
            scene = build_recorded_scene(self.layout, place, self.model, rng)
            yield place, scene, still_cameras(scene, self.model, rng, scene.visible[:, :, 0])

    def measure(self) -> dict[str, float]:
        """How far the rendered hands' joints are from the recorded ones, over all joints of frames with a hand."""
        errors = np.concatenate([self.layout.read_fit_error(*place) for place in self.layout.places])
        errors = errors[np.isfinite(errors).all(1)]
        return {
            'sequences': len(self.layout.places),
            'hand_frames': len(errors),
            'fit_median_mm': round(1000 * float(np.median(errors)), 3),
            'fit_95_mm': round(1000 * float(np.quantile(errors, 0.95)), 3),
        }

    def describe(self, measured: dict[str, float]) -> str:
        """See `SceneSource.describe`."""
        return (
            f"from the recorded joints to the rendered hand's, over {measured['hand_frames']} frames: median "
            f'{measured["fit_median_mm"]:.2f} mm, 95 % below {measured["fit_95_mm"]:.2f} mm'
        )


def build_recorded_scene(layout: RecordedLayout, place: Place, model: ProceduralHand, rng: Generator) -> Scene:
    """Fits the hand of a sequence and sets the scene up around it.

    Args:
        layout: the recordings and the cameras.
        place: of the sequence.
        model: the hand model.
        rng: numpy Generator.

    Returns:
        a scene whose hand is visible in frames with a hand that is in front of the camera, and whose `measurements`
        are `recorded_joints` (F, 21, 3), table frame, and `fit_error` (F, 21), metres from them to the rendered hand's
        joints; NaN in frames without a hand.
    """
    motion, sequence = layout.motion, layout.sequence_at(place)
    frames, side = motion.frames_of(sequence), int(motion.hand_side[sequence])
    valid, recorded = motion.frame_valid[frames], motion.joints[frames]
    to_table = _table_of(motion, sequence)
    item, poses = _object_of(motion, sequence, to_table, rng)
    shift = _shift_to_table(item, poses[0], recorded[valid] @ to_table[:3, :3].T + to_table[:3, 3])
    to_table, poses = shift @ to_table, shift @ poses
    joints = recorded @ to_table[:3, :3].T + to_table[:3, 3]
    fit = fit_hand(model, torch.from_numpy(joints), torch.from_numpy(valid), side)
    fit.hand_shape[_THICKNESS] = rng.normal(0, 0.8)  # which joints do not tell
    hand = _shown_hand(model, fit.hand_pose, fit.hand_shape, fit.hand_transl, valid, side)
    scene = Scene.of_hands('recorded', fit.hand_shape.numpy(), {side: hand})
    scene.hand_valid = valid[:, None]
    scene.add_objects([item], poses[:, None])
    positions = poses[:, :3, 3]
    scene.moving = np.r_[False, np.linalg.norm(np.diff(positions, axis=0), axis=1) > MOVING_STEP]
    if motion.object_names is not None and motion.object_names[sequence]:
        scene.holding = valid & (np.linalg.norm(positions - positions[0], axis=1) > LIFTED)
    if not scene.holding.any():
        scene.holding = valid
    scene.set_cameras(layout.intrinsics, _extrinsics_of(layout, sequence, to_table, scene, rng), layout.image_sizes)
    add_bystanders(scene, rng)
    rows, offsets = scene.extrinsics[0, :, None, 2, :3, None], scene.extrinsics[0, :, None, 2:3, 3:]
    in_front = (scene.vertices[:, 0] @ rows + offsets)[..., 0] > NEAR
    scene.visible = (valid[:, None] & in_front.all(2).T)[..., None]
    error = fit.error.numpy()
    scene.measurements = {'recorded_joints': np.where(valid[:, None, None], joints, np.nan), 'fit_error': error}
    millimetres = 1000 * error[np.isfinite(error)]
    scene.facts = {
        'recorded': motion.sequence_names[sequence],
        'fps': float(motion.fps),
        'object': item.kind,
        'fit_median_mm': round(float(np.median(millimetres)), 3),
        'fit_95_mm': round(float(np.quantile(millimetres, 0.95)), 3),
    }
    return scene


def _table_of(motion: RecordedMotion, sequence: int) -> NDArray:
    """World to table (4, 4); without one in the file, z is up and the table a little below the lowest joint."""
    if motion.table is not None:
        return np.asarray(motion.table[sequence], np.float64)
    frames = motion.frames_of(sequence)
    table = np.eye(4)
    table[2, 3] = REST_CLEARANCE - motion.joints[frames][motion.frame_valid[frames]][..., 2].min()
    return table


def _object_of(motion: RecordedMotion, sequence: int, to_table: NDArray, rng: Generator) -> tuple[SceneObject, NDArray]:
    """What the hand holds, and its poses (F, 4, 4); without one recorded, an object that just stands by.

    DexYCB's layout has a grasped object in every sequence, so one must be named.
    """
    frames = motion.frames_of(sequence)
    count = frames.stop - frames.start
    if motion.object_names is None or not motion.object_names[sequence]:
        pose = np.eye(4)
        pose[:3, 3] = [*_far_corner(motion.joints[frames][motion.frame_valid[frames]], to_table), 0]
        return make_object(int(rng.choice(list(CLASSES))), rng), np.tile(pose, (count, 1, 1))
    rotvec, transl = (np.asarray(v, np.float64)[frames] for v in (motion.object_rotvec, motion.object_transl))
    nearest = nearest_valid(np.isfinite(np.hstack([rotvec, transl])).all(1).reshape(-1))
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rotvec[nearest]).as_matrix()
    poses[:, :3, 3] = transl[nearest]
    return ycb_object(motion.object_names[sequence]), to_table @ poses


def _far_corner(joints: NDArray, to_table: NDArray) -> NDArray:
    """Where (x, y) on the table nothing moves: beyond the recorded joints."""
    points = (joints @ to_table[:3, :3].T + to_table[:3, 3]).reshape(-1, 3)
    return points[:, :2].max(0) + 0.12


def _shift_to_table(item: SceneObject, pose: NDArray, joints: NDArray) -> NDArray:
    """Moves the table (4, 4) so that the object stands on it at first, and its middle to below the recording."""
    lowest = (item.mesh().vertices @ pose[:3, :3].T + pose[:3, 3])[:, 2].min()
    shift = np.eye(4)
    shift[:2, 3] = -np.median(joints.reshape(-1, 3), axis=0)[:2]
    shift[2, 3] = -lowest if abs(lowest) < TABLE_TOLERANCE else 0
    return shift


def _shown_hand(
    model: ProceduralHand, hand_pose: Tensor, hand_shape: Tensor, hand_transl: Tensor, valid: NDArray, side: int
) -> PosedHand:
    """The fitted hand; frames without one repeat the nearest (and are not shown)."""
    nearest = nearest_valid(valid)
    pose, transl, sides = hand_pose[nearest], hand_transl[nearest], torch.tensor(side)
    with torch.no_grad():
        mesh = model(pose.float(), hand_shape.float(), transl.float(), sides)
    rest = model.rest_wrist(hand_shape.float(), sides).double()
    return PosedHand(*(v.numpy() for v in (mesh.vertices.double(), mesh.joints.double(), pose, transl, rest)))


def _extrinsics_of(layout: RecordedLayout, sequence: int, to_table: NDArray, scene: Scene, rng: Generator) -> NDArray:
    """Extrinsics (K, 4, 4), table to camera."""
    cameras = recorded_cameras(layout.motion)
    if cameras is None:
        points = scene.joints[scene.holding].reshape(-1, 3)
        return enclosing_extrinsics(rng, points, len(layout.image_sizes), layout.image_sizes[0])
    return np.asarray(cameras.extrinsics[sequence, list(layout.cameras)], np.float64) @ np.linalg.inv(to_table)
