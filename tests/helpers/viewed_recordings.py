"""Recordings of a procedural hand with a shape of its own, whose detections have noise and are missing at times."""

from typing import NamedTuple

import numpy as np
import torch
from annotated_recordings import camera_ring

from handpose.geometry import triangulate
from handpose.hands import ProceduralHand
from handpose.structures.annotated_recording import AnnotatedRecording


class Truth(NamedTuple):
    recording: AnnotatedRecording
    joints: np.ndarray  # (T, H, 21, 3) metres
    shape: np.ndarray  # (10,)
    pose: np.ndarray  # (T, H, 16, 3)
    transl: np.ndarray  # (T, H, 3)


def moving_hand(frames, side, two, rng):
    """Pose (T, 16, 3) and translation (T, 3): fingers that bend out of step, a hand that turns and travels."""
    time, sign = np.arange(frames) / 30, 1 if side else -1
    pose = np.zeros((frames, 16, 3))
    pose[:, 1:, 2] = sign * (0.4 + 0.4 * np.sin(4 * time[:, None] + rng.uniform(0, 6, size=15)))
    pose[:, 0] = np.stack([0.3 * np.sin(3 * time), 0.2 * np.cos(2 * time), 0.1 * time], 1)
    path = [0.1 * np.sin(2 * time) + 0.12 * sign * two, 0.05 * np.cos(3 * time), 0.5 + 0.05 * np.sin(time)]
    return pose, np.stack(path, 1)


def viewed_recording(
    frames=30, cameras=3, sides=(1,), noise=0.0, losses=0.0, outliers=0.0, lens=(), seen=None, model=None, seed=0
):
    """`noise` in metres at the distance of the hand, `losses` and `outliers` as fractions of hands and joints seen."""
    rng, calibration = np.random.default_rng(seed), camera_ring(cameras, distortion=lens)
    model, shape = ProceduralHand() if model is None else model, rng.normal(size=10)
    hands = [moving_hand(frames, side, len(sides) == 2, rng) for side in sides]
    pose, transl = (np.stack(values, 1) for values in zip(*hands, strict=True))
    values = [torch.from_numpy(value).float() for value in (pose, shape, transl)]
    joints = model(*values, torch.tensor(sides)).joints.double()
    uv = torch.stack([camera.project(joints) for camera in calibration], 1).numpy()
    depths = torch.stack([(joints @ c.extrinsics[:3, :3].T + c.extrinsics[:3, 3])[..., 2] for c in calibration], 1)
    uv += rng.normal(size=uv.shape) * noise * 500 / depths.numpy()[..., None]
    wrong = rng.uniform(size=uv.shape[:-1]) < outliers
    uv[wrong] += 60 * rng.normal(size=(wrong.sum(), 2))
    valid = rng.uniform(size=uv.shape[:3]) >= losses
    valid = valid if seen is None else valid & seen
    flat = [camera.undistort(torch.from_numpy(uv[:, k])) for k, camera in enumerate(calibration)]
    pixels = torch.where(torch.from_numpy(valid)[..., None, None], torch.stack(flat, 1), torch.nan).transpose(1, 2)
    found = triangulate(pixels, calibration.projections(), num_reweightings=2)
    recording = AnnotatedRecording(
        calibration=calibration,
        videos=[f'{name}.mp4' for name in calibration.names],
        timestamps=np.arange(frames) / 30,
        hand_side=np.array(sides),
        frame_indices=np.tile(np.arange(frames)[:, None], (1, cameras)),
        joints_2d=uv,
        joints_2d_valid=valid,
        detection_confidence=np.full(valid.shape, 0.9),
        views_used=found.used.numpy().transpose(0, 2, 1, 3),
        triangulated=found.points.numpy(),
        triangulated_valid=found.valid.numpy(),
        joints_3d=found.points.numpy(),
        joints_valid=found.valid.numpy(),
        method='triangulated',
    )
    return Truth(recording, joints.numpy(), shape, pose, transl)


def mean_error(recording, joints, valid=None):
    """Millimetres, of valid joints, or of those that are `valid` too."""
    chosen = recording.joints_valid if valid is None else recording.joints_valid & valid
    return 1000 * np.linalg.norm(recording.joints_3d - joints, axis=-1)[chosen].mean()
