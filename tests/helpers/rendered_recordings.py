"""Annotated recordings with videos for tests: rendered hands, seen by cameras on a ring, with errors and gaps."""

from pathlib import Path

import numpy as np
import torch
from multi_view import ring_of_cameras

from handpose.geometry import transform_points, triangulate
from handpose.hands import ProceduralHand
from handpose.structures import AnnotatedRecording, Calibration, CameraCalibration
from handpose.video import VideoWriter
from handpose.visualization import draw_mesh

SIZE = (320, 240)


def ring_calibration(count=4, names=None, size=SIZE):
    """Cameras on a ring around the origin that see the middle of it; with some lens distortion."""
    _, extrinsics = ring_of_cameras(count)
    focal = 1.15 * size[0]
    intrinsics = torch.tensor([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]], dtype=torch.float64)
    lens = torch.tensor([-0.08, 0.03, 0.0005, -0.0004])
    names = [f'cam{k}' for k in range(count)] if names is None else names
    return Calibration(
        [
            CameraCalibration(name, size, intrinsics, 'radial_tangential', lens, extrinsics[k])
            for k, name in enumerate(names)
        ]
    )


def moving_hands(frames, sides):
    """Vertices (T, H, V, 3) and joints (T, H, 21, 3), world metres, around the origin."""
    time = torch.arange(frames) / 30
    found = []
    for h, side in enumerate(sides):
        sign = 1 if side == 1 else -1
        pose = torch.zeros(frames, 16, 3)
        pose[:, 1:, 2] = (0.35 + 0.3 * torch.sin(4 * time + h))[:, None] * sign
        pose[:, 0] = torch.stack([0.3 * torch.sin(3 * time), 0.2 * torch.cos(2 * time) + h, 0.4 * time], -1)
        transl = torch.stack([0.03 * torch.sin(2 * time), 0.03 * torch.cos(3 * time), 0.02 * torch.sin(time)], -1)
        if len(sides) == 2:
            transl[:, 0] += 0.08 * sign
        found.append(ProceduralHand()(pose, torch.zeros(frames, 10), transl, torch.full((frames,), side)))
    return tuple(torch.stack([getattr(hands, name) for hands in found], 1) for name in ('vertices', 'joints'))


def triangulated_recording(frames=12, cameras=4, sides=(0, 1), noise=0.6, seed=0, names=None, videos=None, missing=()):
    """A recording whose joints are triangulated from detections with `noise` pixels of error.

    `missing` are (first frame, frame after the last, camera, hand or None for no image). `videos`: default files that
    do not exist.
    """
    draw = np.random.default_rng(seed)
    calibration = ring_calibration(cameras, names)
    joints = moving_hands(frames, sides)[1].double()
    uv = torch.stack([camera.project(joints) for camera in calibration], 1).numpy()  # (T, K, H, 21, 2)
    uv += draw.normal(0, noise, uv.shape)
    valid, images = np.ones(uv.shape[:3], bool), np.ones(uv.shape[:2], bool)
    for first, end, camera, hand in missing:
        valid[first:end, camera, slice(None) if hand is None else hand] = False
        if hand is None:
            images[first:end, camera] = False
    rays = torch.stack([camera.undistort(torch.from_numpy(uv[:, k])) for k, camera in enumerate(calibration)], 2)
    weights = torch.from_numpy(valid).transpose(1, 2)[..., None].expand(rays.shape[:-1])  # (T, H, K, 21)
    found = triangulate(rays, calibration.projections(), weights)
    points = np.where(found.valid[..., None], found.points, np.nan)
    return AnnotatedRecording(
        calibration=calibration,
        videos=[f'{name}.mp4' for name in calibration.names] if videos is None else videos,
        timestamps=np.arange(frames) / 30,
        hand_side=np.array(sides),
        frame_indices=np.where(images, np.arange(frames)[:, None], -1),
        joints_2d=np.where(valid[..., None, None], uv, np.nan),
        joints_2d_valid=valid,
        detection_confidence=np.where(valid, 0.9, 0.0),
        views_used=found.used.transpose(1, 2).numpy() & valid[..., None],
        triangulated=points,
        triangulated_valid=found.valid.numpy(),
        joints_3d=points,
        joints_valid=found.valid.numpy(),
        method='triangulation',
    )


def save_camera_videos(folder, recording, suffix='.avi'):
    """Renders the hands of `triangulated_recording` as videos; returns their paths."""
    vertices, _ = moving_hands(len(recording.timestamps), recording.hand_side.tolist())
    model, (width, height) = ProceduralHand(), recording.calibration.cameras[0].image_size
    background = np.linspace(60, 150, width).astype(np.uint8)[None, :, None] + np.zeros((height, 1, 3), np.uint8)
    paths = []
    for k, camera in enumerate(recording.calibration):
        paths.append(Path(folder) / f'view{k}{suffix}')
        with VideoWriter(paths[-1], 30) as writer:
            for t in np.flatnonzero(recording.frame_indices[:, k] >= 0):
                image = background.copy()
                image[..., 2] += np.uint8(20 * k)
                for h, side in enumerate(recording.hand_side.tolist()):
                    points = vertices[t, h].double()
                    depth = transform_points(points, camera.extrinsics)[:, 2].numpy()
                    faces = model.faces_of(side).numpy()
                    image = draw_mesh(image, camera.project(points).numpy(), depth, faces, (224, 172, 140), 1.0)
                writer.write(image, t / 30)
    return paths
