"""The real stereo video of HANDPOSE_REAL_DATA: its calibration, and recordings made of the hands in both views."""

from pathlib import Path

import numpy as np
import torch

from handpose.geometry import triangulate
from handpose.structures import Calibration, CameraCalibration
from handpose.structures.annotated_recording import AnnotatedRecording

UNIT = 0.0425  # metres of the calibration's unit, which it does not state: a palm of 90 mm


def stereo_calibration(folder):
    """The two cameras of the folder `stereo_hand_video`."""

    def numbers(name):
        text = (Path(folder) / 'camera_parameters' / name).read_text().split('#')[0]
        return np.array([float(word) for word in text.split() if word[-1] != ':'])

    cameras = []
    for k in range(2):
        values, pose = numbers(f'c{k}.dat'), numbers(f'rot_trans_c{k}.dat')[:12]
        left, _, right = np.linalg.svd(pose[:9].reshape(3, 3))  # it is given with few digits
        extrinsics = np.eye(4)
        extrinsics[:3, :3], extrinsics[:3, 3] = left @ right, pose[9:] * UNIT
        lens = dict(model='radial_tangential', distortion=torch.from_numpy(values[9:]))
        cameras.append(
            CameraCalibration(
                f'cam{k}', (720, 720), torch.from_numpy(values[:9]).reshape(3, 3), extrinsics=extrinsics, **lens
            )
        )
    return Calibration(cameras)


def stereo_recording(folder, times, hands):
    """Triangulates one right hand: `hands` has for both views and each frame joints (21, 2) and a confidence, or None.

    No frame is left out, and no detection is taken for wrong.
    """
    calibration, frames = stereo_calibration(folder), len(times)
    joints = np.full((frames, 2, 1, 21, 2), np.nan)
    confidence = np.zeros((frames, 2, 1))
    for k, view in enumerate(hands):
        for t, hand in enumerate(view):
            if hand is not None:
                joints[t, k, 0], confidence[t, k, 0] = hand
    pixels = torch.stack(
        [camera.undistort(torch.from_numpy(joints[:, k, 0])) for k, camera in enumerate(calibration)], 1
    )
    found = triangulate(pixels, calibration.projections(), num_reweightings=3)
    points, valid = found.points.numpy()[:, None], found.valid.numpy()[:, None]
    return AnnotatedRecording(
        calibration=calibration,
        videos=[f'media/cam{k}_test.mp4' for k in range(2)],
        timestamps=np.asarray(times),
        hand_side=np.array([1]),
        frame_indices=np.tile(np.arange(frames)[:, None], (1, 2)),
        joints_2d=joints,
        joints_2d_valid=np.isfinite(joints).all((-1, -2)),
        detection_confidence=confidence,
        views_used=found.used.numpy()[:, :, None],
        triangulated=points,
        triangulated_valid=valid,
        joints_3d=points,
        joints_valid=valid,
        method='triangulated',
    )
