import json

import numpy as np
import pytest
import torch
import yaml
from motions import make_motion
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.datasets.motion.motion_file import read_motion, write_motion
from handpose.hands import ProceduralHand
from handpose.synthesis import MultiViewOptions, write_dataset
from handpose.synthesis.recordings.dexycb import choose_sequences, motion_from_dexycb, motion_from_packed


@pytest.fixture(scope='module')
def built_in(tmp_path_factory):
    root = tmp_path_factory.mktemp('built_in') / 'data'
    options = MultiViewOptions(str(root), subjects=1, sequences=5, frames=24, cameras=2, size=64, seed=3, workers=1)
    write_dataset(options)
    return root


def test_joints_are_the_generators_in_the_world(built_in, tmp_path):
    """Joints read from the labels of any camera, against the hand model posed by pose.npz, which is in the world."""
    motion = motion_from_dexycb(built_in)
    write_motion(tmp_path / 'motion.npz', motion)
    motion = read_motion(tmp_path / 'motion.npz')
    model, compared = ProceduralHand(), 0
    assert motion.object_names is None and motion.licence == ''  # the built-in data is nobody's recording
    for sequence, name in enumerate(motion.sequence_names):
        meta = yaml.safe_load((built_in / name / 'meta.yml').read_text())
        side = int(meta['mano_sides'][0] == 'right')
        calibration = built_in / 'calibration' / f'mano_{meta["mano_calib"][0]}' / 'mano.yml'
        shape = torch.tensor(yaml.safe_load(calibration.read_text())['betas'])
        pose = torch.from_numpy(np.load(built_in / name / 'pose.npz')['pose_m'][:, 0])
        joints = model(pose[:, :48].reshape(-1, 16, 3), shape, pose[:, 48:], torch.tensor(side)).joints.numpy()
        frames = motion.frames_of(sequence)
        valid = motion.frame_valid[frames]
        np.testing.assert_array_equal(valid, (pose != 0).any(1).numpy())
        assert np.abs(motion.joints[frames][valid] - joints[valid]).max() < 1e-4
        assert motion.hand_side[sequence] == side
        compared += valid.sum()
    assert compared > 60


def test_cameras_see_the_world_where_the_labels_say(built_in):
    motion = motion_from_dexycb(built_in)
    seen = 0
    for sequence, name in enumerate(motion.sequence_names):
        for camera, serial in enumerate(motion.camera_serials):
            to_camera = motion.camera_extrinsics[sequence, camera]
            local = motion.joints[motion.frames_of(sequence)] @ to_camera[:3, :3].T + to_camera[:3, 3]
            pixels = local @ motion.camera_intrinsics[camera].T
            for frame in range(0, 24, 3):
                label = np.load(built_in / name / serial / f'labels_{frame:06d}.npz')['joint_2d'][0]
                if (label != -1).any():
                    assert np.abs(pixels[frame, :, :2] / pixels[frame, :, 2:] - label).max() < 0.05
                    seen += 1
    assert seen > 20
    heights = (motion.joints @ motion.table[0, 2, :3] + motion.table[0, 2, 3])[: motion.sequence_lengths[0]]
    assert -0.01 < heights[motion.frame_valid[: len(heights)]].min() < 0.15


def test_one_camera_alone(built_in):
    every, one = motion_from_dexycb(built_in), motion_from_dexycb(built_in, camera='839512060362')
    assert one.frame_valid.sum() < every.frame_valid.sum()
    with pytest.raises(DatasetError, match=r"no camera '839512060361'.*Did you mean '839512060362'"):
        motion_from_dexycb(built_in, camera='839512060361')


def packed(tmp_path):
    """Two packed sequences, the later name first; the quaternion (x, y, z, w) taken for (w, x, y, z)."""
    turn = Rotation.from_rotvec([0.3, 0.2, -0.9])
    x, y, z, w = turn.as_quat()
    mistaken = Rotation.from_quat([y, z, w, x]).as_rotvec()
    values = dict(
        joints=np.random.rand(5, 21, 3).astype(np.float32) * 0.1, frame_valid=np.ones(5, bool),
        sequence_names=['b/two', 'a/one'], sequence_lengths=[2, 3], hand_side=['left', 'right'],
        grasped_object=['025_mug', '024_bowl'], object_rotvec=np.tile(mistaken, (5, 1)), object_transl=np.ones((5, 3)),
    )  # fmt: skip
    np.savez(tmp_path / 'packed.npz', **values)
    second = np.eye(4)
    second[:3, :3], second[:3, 3] = Rotation.from_rotvec([0, 1, 0]).as_matrix(), [0.5, 0, 0.1]
    tag = np.eye(4)
    tag[:3, :3], tag[2, 3] = Rotation.from_rotvec([2.0, 0, 0]).as_matrix(), 0.7
    matrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]
    cameras = {
        '840412060917': {'K': matrix, 'size_wh': [640, 480], 'cam_to_tag_opencv': tag.tolist()},
        '1': {'K': matrix, 'size_wh': [640, 480], 'cam_to_tag_opencv': (tag @ second).tolist()},
    }
    (tmp_path / 'cameras.json').write_text(json.dumps(cameras))
    return values, turn, second, tag


def test_packed_joints(tmp_path):
    values, turn, second, tag = packed(tmp_path)
    motion = motion_from_packed(tmp_path / 'packed.npz', tmp_path / 'cameras.json')
    write_motion(tmp_path / 'motion.npz', motion)
    motion = read_motion(tmp_path / 'motion.npz')
    assert motion.sequence_names == ['a/one', 'b/two'] and motion.object_names == ['024_bowl', '025_mug']
    np.testing.assert_array_equal(motion.joints[:3], values['joints'][2:])
    np.testing.assert_allclose(motion.object_rotvec[0], turn.as_rotvec(), atol=1e-9)
    np.testing.assert_allclose(motion.camera_extrinsics[0], [np.eye(4), np.linalg.inv(second)], atol=1e-12)
    np.testing.assert_allclose(motion.table[1], tag, atol=1e-12)


def test_packed_files_that_do_not_fit(tmp_path):
    values, *_ = packed(tmp_path)
    cameras = json.loads((tmp_path / 'cameras.json').read_text())
    (tmp_path / 'one.json').write_text(json.dumps({'1': cameras['1']}))
    with pytest.raises(DatasetError, match='has no camera 840412060917'):
        motion_from_packed(tmp_path / 'packed.npz', tmp_path / 'one.json')
    (tmp_path / 'bad.json').write_text('{"1": {"K": []}}')
    with pytest.raises(DatasetError, match="camera '1' needs 'K'"):
        motion_from_packed(tmp_path / 'packed.npz', tmp_path / 'bad.json')
    np.savez(tmp_path / 'packed.npz', joints=values['joints'])
    with pytest.raises(DatasetError, match="has no 'frame_valid'"):
        motion_from_packed(tmp_path / 'packed.npz', tmp_path / 'cameras.json')


def test_the_choice_is_spread():
    """Ten sequences, right hands at even positions; split s0 holds out numbers 4 and 9."""
    motion = make_motion(sequences=range(10), frames=2, absent=())
    chosen = choose_sequences(motion, 6)
    assert chosen == sorted(set(chosen)) and len(chosen) == 6
    sides = motion.hand_side[[s for s in chosen if s not in (4, 9)]].tolist()
    assert {4, 9} <= set(chosen) and sorted(sides) == [0, 0, 1, 1]
    assert min(chosen) < 2 and len([s for s in chosen if 5 <= s < 9]) == 2  # not the first ones alone
    only_left = motion.select([1, 3, 5, 7, 9])
    assert [only_left.sequence_names[s][-1] for s in choose_sequences(only_left, 6)] == ['1', '5', '9']
