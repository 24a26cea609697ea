"""Objects that stand about in scenes of one hand, where neither the hand nor the grasped object passes."""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.objects.shapes import SceneObject
from handpose.synthesis.scene import Scene

_HIDING_SHARE = 0.45  # of the sequences have a tall object in a camera's line of sight
_TALL_CLASSES = (2, 3, 11, 12, 16)
_ATTEMPTS = 25
_CLEARANCE = 0.006  # metres


def add_bystanders(scene: Scene, rng: Generator) -> None:
    """Adds one to three objects to a scene of one hand, its grasped object and cameras.

    In some sequences the first is a tall one close by in the line of sight of a camera, to hide the hand.
    """
    grasped = scene.objects[0]
    hides = rng.random() < _HIDING_SHARE
    others = rng.permutation([c for c in CLASSES if c != grasped.class_id])[: rng.integers(1, 4)]
    if hides:
        others[0] = rng.choice([c for c in _TALL_CLASSES if c != grasped.class_id])
    points = grasped.mesh().vertices[::7]
    swept = [points @ pose[:3, :3].T + pose[:3, 3] for pose in scene.object_poses[::2, 0]]
    occupied = [np.concatenate([*swept, scene.vertices[::2, 0, ::9].reshape(-1, 3)])]
    centre = scene.joints[scene.holding, 0][0].mean(0)
    placed: list[tuple[SceneObject, NDArray]] = []
    for index, class_id in enumerate(others):
        item = make_object(int(class_id), rng)
        for attempt in range(_ATTEMPTS):
            angle, away = _draw_position(rng, scene.extrinsics[0], centre, hides and index == 0, attempt)
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_rotvec([0, 0, rng.uniform(-np.pi, np.pi)]).as_matrix()
            pose[:2, 3] = centre[:2] + away * np.array([np.cos(angle), np.sin(angle)])
            local = (np.concatenate(occupied) - pose[:3, 3]) @ pose[:3, :3]
            if item.distance(torch.from_numpy(local)).min() > _CLEARANCE:
                placed.append((item, pose))
                occupied.append(pose[:3, 3] + item.mesh().vertices @ pose[:3, :3].T)
                break
    if placed:
        scene.add_objects([item for item, _ in placed], np.stack([pose for _, pose in placed]))


def _draw_position(
    rng: Generator, extrinsics: NDArray, centre: NDArray, hides: bool, attempt: int
) -> tuple[float, float]:
    """An angle (radians) and distance (m) from the hand: towards the lowest camera to hide it, else mostly in front."""
    if not hides:
        half_angle = 80 if rng.random() < 0.7 else 180
        return -np.pi / 2 + np.deg2rad(rng.uniform(-half_angle, half_angle)), rng.uniform(0.07, 0.2)
    eyes = -(extrinsics[:, :3, :3].transpose(0, 2, 1) @ extrinsics[:, :3, 3:])[..., 0]
    x, y, _ = eyes[eyes[:, 2].argmin()] - centre
    return np.arctan2(y, x) + rng.normal(0, 0.1 + 0.01 * attempt), rng.uniform(0.06, 0.09) + 0.004 * attempt
