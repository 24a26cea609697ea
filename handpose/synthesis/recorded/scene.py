"""A scene of recorded motion: the procedural hand fitted to one sequence, the object it held, the cameras that saw it.

Table frame: z up, metres; x = y = 0 where the recording is most of the time.
Legend: F frames, K cameras, N objects, V hand vertices.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.datasets.io.label_frames import nearest_valid
from handpose.geometry import look_at
from handpose.geometry.raster import NEAR
from handpose.hands import fit_hand
from handpose.hands.procedural import SHAPE_MEANINGS
from handpose.synthesis.objects import CLASSES, make_object
from handpose.synthesis.recorded.objects import ycb_object
from handpose.synthesis.scene import Scene, set_out_others

REST_CLEARANCE = 0.01  # metres from the lowest joint to a table that the recording does not give
TABLE_TOLERANCE = 0.05  # metres by which a table is moved, at most, for the object to stand on it
MOVING_STEP = 0.002  # metres per frame: below it a recorded object is at rest, and only its measurement trembles
FOCAL = 1.4  # picture widths, of cameras that are put up
_THICKNESS = SHAPE_MEANINGS.index('finger thickness')
LIFTED = 0.01  # metres from where it stood: the object is in the hand


@dataclass
class RecordedScene(Scene):
    """A `Scene` whose hand was recorded: `recorded_joints` (F, 21, 3), table frame, and `fit_error` (F, 21) metres, how
    far the rendered hand's are from them; NaN in frames without a hand."""

    recorded_joints: np.ndarray | None = None
    fit_error: np.ndarray | None = None

    @property
    def moving(self):
        """(F,) bool: the object moved since the frame before."""
        step = np.linalg.norm(np.diff(self.object_poses[:, 0, :3, 3], axis=0), axis=1)
        return np.concatenate([[False], step > MOVING_STEP])


def build_recorded_scene(motion, sequence, model, cameras, size, rng):
    """Fits the hand of a sequence and sets the scene up around it.

    Args:
        motion: RecordedMotion. sequence: its number there. model: ProceduralHand.
        cameras: numbers of the motion's cameras, or how many to put up where it has none.
        size: width of the pictures, pixels. rng: numpy Generator.

    Returns:
        RecordedScene; `present` (F, K) is False in frames without a hand and where a part of it is behind a camera.
    """
    frames = motion.frames_of(sequence)
    valid = motion.frame_valid[frames]
    to_table = _table_of(motion, sequence)
    things, poses = _object_of(motion, sequence, to_table, rng)
    shift = _shift_to_table(things, poses, motion.joints[frames][valid] @ to_table[:3, :3].T + to_table[:3, 3])
    to_table, poses = shift @ to_table, shift @ poses
    joints = motion.joints[frames] @ to_table[:3, :3].T + to_table[:3, 3]
    side = int(motion.hand_side[sequence])
    fit = fit_hand(model, torch.from_numpy(joints), torch.from_numpy(valid), side)
    fit.hand_shape[_THICKNESS] = rng.normal(0, 0.8)  # which joints do not tell
    scene = _with_hand(fit, model, valid, side)
    scene.recorded_joints = np.where(valid[:, None, None], joints, np.nan)
    scene.objects, scene.object_poses = things, poses
    if motion.object_names is not None and motion.object_names[sequence]:
        scene.holding = valid & (np.linalg.norm(poses[:, 0, :3, 3] - poses[0, 0, :3, 3], axis=1) > LIFTED)
    scene.holding = scene.holding if scene.holding.any() else valid
    scene.intrinsics, sizes = picture_cameras(motion, cameras, size)
    scene.extrinsics = _extrinsics_of(motion, sequence, cameras, to_table, scene, sizes, rng)
    set_out_others(scene, rng, things[0].class_id)
    depth = scene.vertices @ scene.extrinsics[:, None, 2, :3, None] + scene.extrinsics[:, None, 2:3, 3:]
    scene.present = valid[:, None] & (depth[..., 0] > NEAR).all(2).T
    return scene


def picture_cameras(motion, cameras, width):
    """Intrinsics (K, 3, 3) and K (width, height) of the cameras, their pictures scaled to `width`.

    Args:
        cameras: numbers of the motion's cameras, or how many where it has none (4:3).
    """
    if motion.camera_serials is None:
        size = (width, round(width * 3 / 4))
        matrix = [[FOCAL * width, 0, (width - 1) / 2], [0, FOCAL * width, (size[1] - 1) / 2], [0, 0, 1]]
        return np.tile(np.array(matrix), (cameras, 1, 1)), [size] * cameras
    old = motion.camera_sizes[list(cameras)]
    sizes = [(width, round(width * float(h) / float(w))) for w, h in old]
    rows = zip(motion.camera_intrinsics[list(cameras)], old, sizes, strict=True)
    return np.stack([scale_intrinsics(*row) for row in rows]), sizes


def scale_intrinsics(intrinsics, old_size, new_size):
    """Intrinsics (3, 3) of a picture scaled from one (width, height) to another; pixel centres at whole numbers."""
    scaled = np.array(intrinsics, np.float64)
    for axis, ratio in enumerate(np.divide(new_size, old_size)):
        scaled[axis] *= ratio
        scaled[axis, 2] += (ratio - 1) / 2
    return scaled


def _table_of(motion, sequence):
    """World to table (4, 4); without one in the file, z is up and the table a little below the lowest joint."""
    if motion.table is not None:
        return np.asarray(motion.table[sequence], np.float64)
    frames = motion.frames_of(sequence)
    table = np.eye(4)
    table[2, 3] = REST_CLEARANCE - motion.joints[frames][motion.frame_valid[frames]][..., 2].min()
    return table


def _object_of(motion, sequence, to_table, rng):
    """What the hand holds, ((SceneObject,), poses (F, 1, 4, 4)); without one recorded, a thing that just stands by.

    DexYCB's layout has a grasped object in every sequence, so one must be named.
    """
    frames = motion.frames_of(sequence)
    count = frames.stop - frames.start
    if motion.object_names is None or not motion.object_names[sequence]:
        pose = np.eye(4)
        pose[:3, 3] = [*_far_corner(motion.joints[frames][motion.frame_valid[frames]], to_table), 0]
        return (make_object(int(rng.choice(list(CLASSES))), rng),), np.tile(pose, (count, 1, 1, 1))
    rotvec, transl = (np.asarray(v[frames], np.float64) for v in (motion.object_rotvec, motion.object_transl))
    known = np.isfinite(rotvec).all(1) & np.isfinite(transl).all(1)
    pose = np.tile(np.eye(4), (count, 1, 1))
    nearest = nearest_valid(known)
    pose[:, :3, :3] = Rotation.from_rotvec(rotvec[nearest]).as_matrix()
    pose[:, :3, 3] = transl[nearest]
    return (ycb_object(motion.object_names[sequence]),), (to_table @ pose)[:, None]


def _far_corner(joints, to_table):
    """Where (x, y) on the table nothing moves: beyond the recorded joints."""
    points = (joints @ to_table[:3, :3].T + to_table[:3, 3]).reshape(-1, 3)
    return points[:, :2].max(0) + 0.12


def _shift_to_table(things, poses, joints):
    """Moves the table (4, 4) so that the object stands on it at first, and its middle to below the recording."""
    lowest = (things[0].mesh().vertices @ poses[0, 0, :3, :3].T + poses[0, 0, :3, 3])[:, 2].min()
    shift = np.eye(4)
    shift[:2, 3] = -np.median(joints.reshape(-1, 3), axis=0)[:2]
    shift[2, 3] = -lowest if abs(lowest) < TABLE_TOLERANCE else 0
    return shift


def _with_hand(fit, model, valid, side):
    """The scene with only the hand in it; frames without one repeat the nearest (and are not shown)."""
    known = nearest_valid(valid)
    pose, transl, sides = fit.hand_pose[known], fit.hand_transl[known], torch.tensor(side)
    with torch.no_grad():
        mesh = model(pose.float(), fit.hand_shape.float(), transl.float(), sides)
    return RecordedScene(
        side=side, hand_shape=fit.hand_shape.numpy(), hand_pose=pose.numpy(), hand_transl=transl.numpy(),
        rest_wrist=model.rest_wrist(fit.hand_shape.float(), sides).double().numpy(),
        vertices=mesh.vertices.double().numpy(), joints=mesh.joints.double().numpy(),
        faces=model.faces_of(side).numpy(), holding=valid, objects=(), object_poses=np.zeros((len(valid), 0, 4, 4)),
        grasp=None, action='recorded', fit_error=fit.error.numpy(),
    )  # fmt: skip


def _extrinsics_of(motion, sequence, cameras, to_table, scene, sizes, rng):
    """Extrinsics (K, 4, 4), table to camera."""
    if motion.camera_serials is None:
        return _put_up_cameras(rng, scene.joints[scene.holding].reshape(-1, 3), sizes)
    return np.asarray(motion.camera_extrinsics[sequence, list(cameras)], np.float64) @ np.linalg.inv(to_table)


def _put_up_cameras(rng, points, sizes):
    """Cameras on the front of a dome, so far away that every point (P, 3) is in all pictures."""
    count, (width, height) = len(sizes), sizes[0]
    centre = (points.min(0) + points.max(0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max() + 0.03
    distance = max(0.4, 1.1 * radius / np.sin(np.arctan2(height / 2, FOCAL * width)))
    azimuth = np.deg2rad((np.linspace(-55, 55, count) if count > 1 else np.zeros(1)) + rng.uniform(-10, 10, count))
    elevation = np.deg2rad(rng.uniform(15, 60, count))
    direction = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], 1
    )
    eye, target = torch.from_numpy(centre + distance * direction), torch.from_numpy(centre)
    return look_at(eye, target, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)).numpy()
