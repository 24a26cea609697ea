"""The variables that Python code of the pages takes from its reader."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from predicted_hands import hand_motion, make_predictions

from handpose.inference import load_refiner


def motion() -> dict[str, Any]:
    return {'joints': hand_motion(210)}


def estimated() -> dict[str, Any]:
    """The joints of an estimator, and results as MediaPipe and WiLoR-mini give them."""
    joints = hand_motion(20)
    points = [[SimpleNamespace(x=x, y=y, z=z) for x, y, z in frame] for frame in joints]
    results = [SimpleNamespace(hand_world_landmarks=[row]) for row in points] + [
        SimpleNamespace(hand_world_landmarks=[])
    ]
    hand = {
        'hand_bbox': [0, 0, 90, 90],
        'is_right': 1.0,
        'wilor_preds': {
            'pred_keypoints_3d': joints[:1],
            'pred_keypoints_2d': np.zeros((1, 21, 2)),
            'pred_cam_t_full': np.ones((1, 3)),
        },
    }
    pipe = SimpleNamespace(predict=lambda image: [hand])
    return {'joints': joints, 'found': np.ones(20, bool), 'results': results, 'images': [0, 1], 'pipe': pipe}


def camera_points() -> dict[str, Any]:
    return {'points': torch.tensor([[0.0, 0, 0.5]]), 'pixels': torch.tensor([[300.0, 200]])}


def refiner() -> dict[str, Any]:
    return {'model': load_refiner('pdtm_synthetic')}


def frames_of_a_camera() -> dict[str, Any]:
    def camera():
        for t, joints in enumerate(make_predictions(10, ('left', 'right')).joints):
            yield t / 30, joints, np.ones(2, bool)

    return {'camera': camera}


def tracks() -> dict[str, Any]:
    joints = hand_motion(60)
    windows = np.stack([joints[:27], joints[27:54]])
    return {'joints': joints, 'windows': windows, 'times': np.arange(60) / 30, 'found': np.ones(60, bool)}


def image_of_hands() -> dict[str, Any]:
    predictions = make_predictions(10, ('left', 'right'), intrinsics=np.diag([300.0, 300, 1]) + 0)
    return {'image': np.zeros((240, 320, 3), np.uint8), 'predictions': predictions, 't': 3}


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    'docs/data/motion_file.md': motion,
    'docs/data/predictions_file.md': estimated,
    'docs/guides/calibration.md': camera_points,
    'docs/guides/compare_refiners.md': refiner,
    'docs/guides/export.md': image_of_hands,
    'docs/guides/export_model.md': tracks,
    'docs/guides/refine.md': frames_of_a_camera,
}
