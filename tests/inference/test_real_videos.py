"""Real videos and photos: the same joints as the official MediaPipe pipeline, sides, counts, two cameras.

`official_landmarks.json` holds what the official pipeline gave for 30 frames, and how it was run. The data are not
part of the repository (tests/README.md); neither are the networks, which `handpose zoo get` downloads.
"""

import itertools
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from zoo_files import needs_opencv, network_or_skip

from handpose.hands.sides import Side
from handpose.inference.session import Session
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.video import VideoFrame, VideoReader
from handpose.video.images import ImageReader

pytestmark = needs_opencv
REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', 'unset'))
OFFICIAL = Path(__file__).with_name('official_landmarks.json')


def needs(folder):
    return pytest.mark.skipif(
        not (REAL / folder).is_dir(), reason=f'HANDPOSE_REAL_DATA names no folder that contains {folder}'
    )


@pytest.fixture(scope='module')
def session():
    detector = PalmDetector(network_or_skip('mediapipe_palm_full'))
    return Session(detector, LandmarkEstimator(network_or_skip('mediapipe_hand_full')))


def mirrored(frame):
    return VideoFrame(frame.index, frame.time, cv2.flip(frame.image, 1))


def push(session, path, count, change=None):
    """The hands of the first frames of a video."""
    session.reset()
    frames = itertools.islice(VideoReader(path), count)
    return [session.push(frame if change is None else change(frame)) for frame in frames]


@needs('hand_video')
def test_the_joints_of_the_official_pipeline(session):
    """Measured: 0.18 px in the median, 0.46 px at the 95th percentile; the first two frames differ by more."""
    official = json.loads(OFFICIAL.read_text())['frames']
    found = push(session, REAL / 'hand_video' / 'human_hand_video.mp4', official[-1]['frame'] + 1)
    pixels, metres, right = [], [], []
    for row in official:
        (hand,) = found[row['frame']]
        pixels.append(np.linalg.norm(hand.estimate.joints_2d - row['joints_2d'], axis=-1))
        world = np.array(row['joints_3d_mm']) / 1000
        metres.append(np.linalg.norm(hand.estimate.joints_3d - (world - world[0]), axis=-1))
        right.append(abs(hand.estimate.right - row['right']))
    assert len(pixels) == 30
    assert np.median(pixels) < 0.5 and np.median(pixels, 1).max() < 0.5 and np.percentile(pixels, 95) < 1
    assert np.median(metres) < 0.001 and np.percentile(metres, 95) < 0.005
    assert max(right) < 0.02


@needs('hand_video')
@pytest.mark.parametrize('change', [None, mirrored])
def test_sides(session, change):
    """A right hand throughout; in the mirrored video a left one, at the mirrored place."""
    path = REAL / 'hand_video' / 'human_hand_video.mp4'
    found = push(session, path, 15, change)
    expected = Side.RIGHT if change is None else Side.LEFT
    assert [[hand.side for hand in hands] for hands in found] == [[expected]] * 15
    assert session.finish().hand_side.tolist() == [expected]
    for row in json.loads(OFFICIAL.read_text())['frames'][:5]:
        joints = found[row['frame']].hands[0].estimate.joints_2d
        if change is not None:
            joints = joints * [-1, 1] + [1279, 0]
        # The network is not quite symmetric: a mirrored hand may differ by some pixels.
        distance = np.median(np.linalg.norm(joints - row['joints_2d'], axis=-1))
        assert distance < (0.5 if change is None else 8)


@needs('hand_photos')
def test_photos(session):
    """As many hands as the official pipeline finds; two of the photos have only hands in gloves or interlocked."""
    counts = []
    for path in sorted((REAL / 'hand_photos' / 'example_data').glob('*.jpg')):
        session.reset()
        (frame,) = ImageReader([path])
        counts.append(len(session.push(frame)))
    assert counts == [2, 0, 1, 0, 2]


def camera(folder, number):
    """Intrinsics, distortion and world-to-camera pose (3, 4) of one of the two cameras."""

    def numbers(name):
        text = (folder / name).read_text().split('#')[0]  # the rest repeats it relative to the other camera
        return [float(word) for word in text.split() if word[-1] != ':']

    values, pose = numbers(f'c{number}.dat'), np.array(numbers(f'rot_trans_c{number}.dat')[:12])
    intrinsics = np.array(values[:9]).reshape(3, 3)
    return intrinsics, np.array(values[9:]), np.column_stack([pose[:9].reshape(3, 3), pose[9:]])


@needs('stereo_hand_video')
def test_two_cameras_see_one_hand(session):
    """Both videos are processed alone; their joints triangulate to one hand. Measured: 1.4 px in the median."""
    folder = REAL / 'stereo_hand_video'
    cameras = [camera(folder / 'camera_parameters', number) for number in (0, 1)]
    videos = [folder / 'media' / f'cam{number}_test.mp4' for number in (0, 1)]
    found = [push(session, video, 40) for video in videos]
    # The official pipeline finds the hand from frame 12 on in the first video, and from the start in the second.
    assert [[len(hands) for hands in video] for video in found] == [[0] * 12 + [1] * 28, [1] * 40]
    errors = []
    for pair in zip(*[video[12:] for video in found], strict=True):
        joints = [hands.hands[0].estimate.joints_2d.astype(np.float64) for hands in pair]
        rays = [
            cv2.undistortPoints(points[:, None], intrinsics, distortion)[:, 0].T
            for points, (intrinsics, distortion, _) in zip(joints, cameras, strict=True)
        ]
        solved = cv2.triangulatePoints(cameras[0][2], cameras[1][2], *rays)
        for points, (intrinsics, distortion, pose) in zip(joints, cameras, strict=True):
            rotation = cv2.Rodrigues(pose[:, :3])[0]
            seen = cv2.projectPoints((solved[:3] / solved[3]).T, rotation, pose[:, 3], intrinsics, distortion)[0][:, 0]
            errors.append(np.linalg.norm(seen - points, axis=-1))
    assert np.median(errors) < 2.5
