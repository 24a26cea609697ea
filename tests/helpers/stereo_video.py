"""The real recording `stereo_hand_video` of HANDPOSE_REAL_DATA: one hand, two calibrated cameras (tests/README.md)."""

import itertools

import numpy as np
import torch

from handpose.structures.calibration import Calibration, CameraCalibration
from handpose.video import VideoReader

UNIT = 0.042  # metres: the files are in squares of the board; with this, the hand has the size of an adult's
SIZE = 720, 720


def stereo_calibration(folder):
    """The two cameras, cam0 and cam1."""

    def numbers(name):
        text = (folder / 'camera_parameters' / name).read_text().split('#')[0]  # the rest repeats it
        return [float(word) for word in text.split() if word[-1] != ':']

    cameras = []
    for number in (0, 1):
        lens, pose = numbers(f'c{number}.dat'), np.array(numbers(f'rot_trans_c{number}.dat')[:12])
        left, _, right = np.linalg.svd(pose[:9].reshape(3, 3))  # the files have few digits
        extrinsics = torch.eye(4, dtype=torch.float64)
        extrinsics[:3, :3] = torch.from_numpy(left @ right)
        extrinsics[:3, 3] = torch.from_numpy(pose[9:] * UNIT)
        intrinsics, distortion = torch.tensor(lens[:9]).reshape(3, 3), torch.tensor(lens[9:])
        cameras.append(CameraCalibration(f'cam{number}', SIZE, intrinsics, 'radial_tangential', distortion, extrinsics))
    return Calibration(cameras)


def stereo_records(folder, session, count=None):
    """The `TrackRecords` of both videos, of all images or the first ones."""
    records = []
    for number in (0, 1):
        session.reset()
        for frame in itertools.islice(VideoReader(folder / 'media' / f'cam{number}_test.mp4'), count):
            session.push(frame)
        records.append(session.records())
    return records
