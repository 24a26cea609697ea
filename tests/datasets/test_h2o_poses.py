"""H2O's poses without images: cameras that stand still and move, the world's frame, whole recordings and actions."""

import shutil

import h2o_files as files
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handpose.datasets import H2O, DatasetError, H2OPoses
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.structures import HandSequence
from handpose.synthesis import EgocentricOptions, write_dataset

ABSENT = {(4, 0), (14, 0)}  # (frame, hand)


def camera_pose(camera, frame):
    """(4, 4), camera to world; cam4 moves."""
    angle = {'cam0': 0.3, 'cam4': -0.4 + 0.02 * frame}[camera]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.1, angle, 0.2]).as_matrix()
    matrix[:3, 3] = (0.5, -1.0, 0.1 * angle)
    return matrix


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Four recordings of 30 frames, seen by two cameras; the frames of h2o_files are those of each camera."""
    root = files.write_root(tmp_path_factory.mktemp('h2o'), absent=ABSENT)
    for folder in root.glob('subject*/*/*'):
        files.write_recording(folder / 'cam0', (64, 36), 'rgb', '.png', ABSENT, 'hand_pose_MANO')
        for camera in ('cam0', 'cam4'):
            (folder / camera / 'cam_pose').mkdir()
            for frame in range(30):
                text = files.line(camera_pose(camera, frame).ravel())
                (folder / camera / 'cam_pose' / f'{frame:06d}.txt').write_text(text)
    return root


def in_world(camera, frame, hand):
    """By homogeneous coordinates."""
    points = np.concatenate([files.joints(frame, hand), np.ones((21, 1))], 1)
    return (camera_pose(camera, frame) @ points.T).T[:, :3]


def test_whole_recordings_in_the_world(root):
    dataset = H2OPoses(root, cameras=['cam0', 'cam4'], segments='untrimmed')
    clips = [clip.validate() for clip in dataset]
    names = ['subject1/h1/0/cam0', 'subject1/h1/0/cam4', 'subject2/k1/3/cam0', 'subject2/k1/3/cam4']
    assert [clip.meta['sequence'] for clip in clips] == names and clips[1].meta['cameras'] == ['cam4']
    for clip, camera in zip(clips[:2], ('cam0', 'cam4'), strict=True):
        assert clip.frame == 'world' and clip.meta['frame_indices'] == list(range(30))
        assert clip.meta['recording'] == 'subject1/h1/0' and clip.meta['subject'] == 'subject1'
        for frame in range(30):
            for hand in (0, 1):
                there = (frame, hand) not in ABSENT
                assert clip.hand_valid[frame, hand] == there and clip.joints_valid[frame, hand].all() == there
                expected = in_world(camera, frame, hand) if there else np.zeros((21, 3))
                np.testing.assert_allclose(clip.joints_3d[frame, hand], expected, atol=1e-5)
    milk, nothing = H2O_ACTIONS.objects.index('milk'), -1
    expected = [H2O_ACTIONS.action_object[15]] * 10 + [nothing] * 2 + [milk] * 18
    assert clips[0].object_label.tolist() == expected and clips[0].action_label == -1
    assert clips[0].images is None and clips[0].extrinsics is None
    assert HandSequence.stack(clips).validate().joints_3d.shape == (4, 30, 2, 21, 3)


def test_actions_as_the_reader_of_videos_has_them(root):
    """In the camera's frame, the same as `H2O`, which needs images."""
    videos = list(H2O(root, camera='cam4'))
    poses = list(H2OPoses(root, cameras=['cam4'], frame='camera', segments='trimmed', min_frames=5))
    assert [clip.meta['sequence'] for clip in poses] == [
        'subject1/h1/0/cam4/000000-000009',
        'subject1/h1/0/cam4/000012-000029',
        'subject2/k1/3/cam4/000005-000009',
    ]
    for video, pose in zip(videos, poses, strict=True):
        for name in ('joints_3d', 'joints_valid', 'hand_valid', 'object_label', 'timestamps', 'action_label'):
            np.testing.assert_array_equal(getattr(pose, name), getattr(video, name), err_msg=name)
        assert pose.verb_label == video.verb_label and pose.frame == video.frame == 'camera'
        for key in ('frame_indices', 'segment', 'recording', 'subject'):
            assert pose.meta[key] == video.meta[key]
    assert H2OPoses(root, 'test', min_frames=5)[0].action_label == -1


def test_missing_and_damaged_files(root, tmp_path):
    root = shutil.copytree(root, tmp_path / 'copy')
    folder = root / 'subject1/h1/0/cam4'
    (folder / 'hand_pose' / '000013.txt').unlink()
    with pytest.raises(DatasetError, match=r'1 missing label files; .*cam4/hand_pose has no file of frame 13, .*segm'):
        H2OPoses(root, segments='untrimmed')
    (folder / 'hand_pose' / '000011.txt').unlink()  # in no action
    (folder / 'cam_pose' / '000020.txt').write_text('1 2 3')
    clip = H2OPoses(root, segments='untrimmed', on_broken='skip')[0]
    gone = [t in (11, 13, 20) for t in range(30)]
    assert clip.hand_valid.any(1).tolist() == [not g for g in gone] and not clip.joints_3d[gone].any()
    (folder / 'hand_pose' / '000013.txt').write_bytes((folder / 'hand_pose' / '000012.txt').read_bytes())
    with pytest.raises(DatasetError, match=r'000020\.txt must hold 16 numbers \(the rows of a 4 x 4 matrix.*got 3'):
        H2OPoses(root, segments='untrimmed')[0]


def test_poses_of_a_camera_that_are_no_rigid_motion(root, tmp_path):
    root = shutil.copytree(root, tmp_path / 'copy')
    path = root / 'subject1/h1/0/cam4/cam_pose/000020.txt'
    path.write_text(files.line((camera_pose('cam4', 20) * [[2, 2, 2, 1]]).ravel()))
    with pytest.raises(DatasetError, match=r'cam_pose: the extrinsics hold no rotation'):
        H2OPoses(root, segments='untrimmed')[0]
    assert H2OPoses(root, frame='camera', segments='untrimmed')[0].frame == 'camera'  # they are not read


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(cameras=['cam1']), r'cam1 has no folder hand_pose; unpack this camera'),
        (dict(cameras=['cam5']), "cameras must be one of .*got 'cam5'"),
        (dict(cameras='cam4'), "cameras must be a list of cam0, .*got 'cam4'"),
        (dict(cameras=[]), 'cameras must be a list'),
        (dict(frame='wrist'), "frame must be one of 'world', 'camera'"),
        (dict(min_frames=16), r'2 tracks are shorter than min_frames = 16 frames; the first: .* has 10 frames'),
        (dict(data_root='nowhere'), r'nowhere, which does not exist'),
    ],
)
def test_wrong_options(root, options, message):
    with pytest.raises(DatasetError, match=message):
        H2OPoses(**{'data_root': root, **options})


def test_the_built_in_data(tmp_path):
    """The head moves, and in the world, before and after the action, the hands do not."""
    options = dict(subjects=2, videos=1, test_videos=1, actions=('pour milk',), frames=16, max_frames=20)
    write_dataset(EgocentricOptions(str(tmp_path), 'h2o', width=64, height=36, workers=1, **options))
    world, camera = (
        H2OPoses(tmp_path, frame=frame, segments='untrimmed')[0].validate() for frame in ('world', 'camera')
    )
    resting = world.object_label < 0
    resting = (resting[1:] & resting[:-1])[:, None, None] & world.joints_valid[1:] & world.joints_valid[:-1]
    moved = [clip.joints_3d.diff(dim=0).norm(dim=-1) for clip in (world, camera)]
    assert resting.any() and moved[0][resting].max() < 1e-5 < moved[1][resting].max()
