"""Annotated recordings for tests: hands that move in front of calibrated cameras on a ring."""

import math

import numpy as np
import torch
from predicted_hands import hand_motion

from handpose.geometry.rigid import invert_rigid
from handpose.structures import Calibration, CameraCalibration
from handpose.structures.annotated_recording import AnnotatedRecording

CENTRE = (0.0, 0.0, 0.5)  # metres, about which `hand_motion` moves


def camera_ring(count, radius=0.7, size=(640, 480), distortion=()):
    """A `Calibration` of cameras on a ring, which look at `CENTRE`."""
    cameras = []
    for number in range(count):
        angle = 2 * math.pi * number / count
        position = torch.tensor([math.sin(angle), -0.4, -math.cos(angle)], dtype=torch.float64) * radius
        forward = -position / position.norm()
        right = torch.linalg.cross(torch.tensor([0.0, 1, 0], dtype=torch.float64), forward)
        right = right / right.norm()
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
        pose[:3, 3] = position + torch.tensor(CENTRE, dtype=torch.float64)
        cameras.append(
            CameraCalibration(
                name=f'cam{number}',
                image_size=size,
                intrinsics=torch.tensor([[500.0, 0, size[0] / 2], [0, 500, size[1] / 2], [0, 0, 1]]),
                model='radial_tangential' if distortion else 'pinhole',
                distortion=torch.tensor(distortion, dtype=torch.float64),
                extrinsics=invert_rigid(pose),
            )
        )
    return Calibration(cameras)


def make_recording(frames=12, cameras=3, sides=(0, 1), distortion=(), noise=0.0, **changes):
    """An `AnnotatedRecording` whose joints are the truth and whose detections are their projections, with noise."""
    calibration = camera_ring(cameras, distortion=distortion)
    joints = np.stack([hand_motion(frames, ['left', 'right'][s], seed) for seed, s in enumerate(sides)], 1)
    joints_valid = np.ones(joints.shape[:3], bool)
    seen = np.ones((frames, cameras, len(sides)), bool)
    points = torch.from_numpy(joints.astype(np.float64))
    joints_2d = torch.stack([camera.project(points) for camera in calibration], 1).numpy()
    joints_2d = joints_2d + noise * np.random.default_rng(0).normal(size=joints_2d.shape)
    values = dict(
        calibration=calibration,
        videos=[f'{name}.mp4' for name in calibration.names],
        timestamps=np.arange(frames) / 30,
        hand_side=np.array(sides),
        frame_indices=np.tile(np.arange(frames)[:, None], (1, cameras)),
        joints_2d=joints_2d,
        joints_2d_valid=seen,
        detection_confidence=np.full(seen.shape, 0.9),
        views_used=np.ones((*seen.shape, 21), bool),
        triangulated=joints,
        triangulated_valid=joints_valid,
        joints_3d=joints,
        joints_valid=joints_valid,
        method='truth',
    )
    return AnnotatedRecording(**values | changes)
