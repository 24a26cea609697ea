"""The variables that Python code of the pages takes from its reader."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from annotated_recordings import make_recording
from forecasts import moving_hands
from predicted_hands import hand_motion, make_predictions
from smooth_clips import smooth_batch, with_future
from snippet_inputs import INTRINSICS
from snippet_pages import ROOT

import handpose
from handpose.inference import load_refiner
from handpose.structures import HandSequence


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


def four_frames_of_several_views() -> HandSequence:
    """What the network of the zoo saw, its one frame four times."""
    with np.load(ROOT / 'tests' / 'zoo' / 'published' / 'mvexonet.npz') as stored:
        fields = {name: torch.from_numpy(stored[name]) for name in stored.files if name != 'meta'}
        batch = HandSequence(meta=json.loads(str(stored['meta'])), batched=True, **fields)
    return HandSequence.stack([clip.select_frames([0] * 4) for clip in batch.unstack()])


def images_of_hands() -> dict[str, Any]:
    """A frame of a predictions file, rounds of a multi-view network, and what it saw."""
    recording = make_recording(frames=4, cameras=3, sides=(1,))
    network = handpose.load('mvexonet_synthetic').eval()
    predictions = make_predictions(10, ('left', 'right'), intrinsics=INTRINSICS, image_size=(320, 240))
    return {
        'batch': four_frames_of_several_views(),
        'network': network,
        'images': [np.zeros((480, 640, 3), np.uint8)] * 3,
        'joints': np.stack([recording.joints_3d[0, 0]] * 2),
        'projections': recording.calibration.projections(),
        'truth': recording.joints_3d[0, 0],
        'image': np.zeros((240, 320, 3), np.uint8),
        'predictions': predictions,
        't': 3,
        'joints_2d': np.full((2, 21, 2), 50.0),
        'sides': np.array([0, 1]),
        'valid': np.ones((2, 21), bool),
        'inferred': np.zeros((2, 21), bool),
        'boxes': np.array([[20.0, 20, 90, 90]] * 2),
    }


def deformer_tensors() -> dict[str, Any]:
    batch, frames, channels = 2, 5, 9
    return {
        'pose': torch.rand(batch, frames, channels),
        'forward_motion': torch.rand(batch, frames, channels),
        'backward_motion': torch.rand(batch, frames, channels),
        'confidence': torch.rand(batch, frames),
        'frame_valid': torch.ones(batch, frames, dtype=torch.bool),
        'predicted_points': torch.rand(batch, frames, 21, 3),
        'true_points': torch.rand(batch, frames, 21, 3),
        'valid': torch.ones(batch, frames, 21, dtype=torch.bool),
    }


def ghtt_tensors() -> dict[str, Any]:
    return {
        'joints': torch.from_numpy(moving_hands(16))[None],
        'joints_valid': torch.ones(1, 16, 2, 21, dtype=torch.bool),
        'tokens': torch.rand(1, 16, 512),
        'valid': torch.ones(1, 16, dtype=torch.bool),
        'queries': torch.rand(1, 16, 512),
    }


def htt_tensors() -> dict[str, Any]:
    return {
        'features': torch.rand(1, 32, 512),
        'frame_valid': torch.ones(1, 32, dtype=torch.bool),
        'intrinsics': torch.tensor([[400.0, 0, 240], [0, 400, 135], [0, 0, 1]]).expand(1, 32, 3, 3),
    }


def pdtm_tensors() -> dict[str, Any]:
    return {
        'features': torch.rand(1, 9, 21, 512),
        'frame_valid': torch.ones(1, 9, dtype=torch.bool),
        'values': torch.rand(1, 9, 4, 8),
        'offsets': torch.rand(1, 9, 4, 3),
        'modulation': torch.rand(1, 9, 4, 3),
    }


def assemblyhands_tensors() -> dict[str, Any]:
    return {'images': torch.rand(1, 3, 256, 256), 'joints': torch.from_numpy(moving_hands(16))[None]}


def forecasts() -> dict[str, Any]:
    """A forecaster, two clips of different actions, and what followed one of them."""
    clips = with_future(smooth_batch(clips=2, num_frames=76), num_frames=60).unstack()
    model = handpose.load('ghtt_synthetic').eval()
    others = model.forecast(HandSequence.stack([clips[1]]), 60, num_samples=20)
    return {'model': model, 'target': clips[0], 'other_clip': clips[1], 'others': others}


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    'docs/data/motion_file.md': motion,
    'docs/data/predictions_file.md': estimated,
    'docs/guides/calibration.md': camera_points,
    'docs/guides/compare_refiners.md': refiner,
    'docs/guides/export.md': images_of_hands,
    'docs/guides/export_model.md': tracks,
    'docs/guides/refine.md': frames_of_a_camera,
    'docs/guides/view.md': images_of_hands,
    'docs/reference/forecast_metrics.md': forecasts,
    'docs/systems/assemblyhands.md': assemblyhands_tensors,
    'docs/systems/deformer.md': deformer_tensors,
    'docs/systems/ghtt.md': ghtt_tensors,
    'docs/systems/htt.md': htt_tensors,
    'docs/systems/pdtm.md': pdtm_tensors,
}
