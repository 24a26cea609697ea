"""Recorded motion from hand-made roots, as people with the official download have them."""

import shutil

import dexycb_files as files
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handpose.datasets.base import DatasetError
from handpose.synthesis.recordings.dexycb import motion_from_dexycb

SUBJECT = '20200709-subject-01'


def test_a_part_of_a_download_with_objects(tmp_path):
    """A hand-made root as MANO users have it, of sequences 0, 1 and 3 of five, the object's pose missing once."""
    root = files.write_root(tmp_path / 'root', sequences=4, no_hand=(1,), name=None)
    poses = np.zeros((3, 2, 7), np.float32)
    poses[:, :, 3] = 1
    turn = Rotation.from_rotvec([0.1, -0.7, 0.4])
    poses[1:, 1, :4], poses[1:, 1, 4:] = turn.as_quat(), (0.1, 0.2, 0.7)
    folders = sorted((root / SUBJECT).iterdir())
    for folder in folders:
        np.savez(folder / 'pose.npz', pose_y=poses)
    names = [f'{SUBJECT}/{folder.name}' for folder in folders]
    folders[2].rename(tmp_path / 'elsewhere')
    (root / 'sequence_names.txt').write_text('\n'.join([*names, f'{SUBJECT}/20200709_199999']))
    motion = motion_from_dexycb(root)
    assert motion.sequence_names == [names[0], names[1], names[3]] and len(motion.all_sequence_names) == 5
    assert [motion.position_of(s) for s in range(3)] == [(0, 0), (0, 1), (0, 3)]
    assert motion.object_names == ['006_mustard_bottle'] * 3 and 'CC BY-NC 4.0' in motion.licence
    assert np.isnan(motion.object_rotvec[0]).all() and motion.hand_side.tolist() == [1, 0, 0]
    np.testing.assert_allclose(motion.object_rotvec[1], [0.1, -0.7, 0.4], atol=1e-6)
    np.testing.assert_allclose(motion.object_transl[2], [0.1, 0.2, 0.7], atol=1e-6)
    np.testing.assert_array_equal(motion.frame_valid[:3], [True, False, True])
    np.testing.assert_allclose(motion.joints[2], files.joints(2), atol=1e-6)  # the first camera is the world


def test_a_broken_label_file_is_named_where_no_camera_gives_the_frame(tmp_path):
    root = files.write_root(tmp_path / 'root', sequences=1)
    files.label_file(root, 1).write_bytes(b'nothing')
    motion = motion_from_dexycb(root)
    assert motion.frame_valid.all()
    second = files.joints(1, camera=1) @ files.QUARTER_TURN[:, :3].T + files.QUARTER_TURN[:, 3]
    np.testing.assert_allclose(motion.joints[1], second, atol=1e-6)  # the other camera's
    with pytest.raises(DatasetError, match=r'932122061900/labels_000001\.npz is damaged'):
        motion_from_dexycb(root, camera='932122061900')
    files.label_file(root, 1, serial='932122062010').write_bytes(b'nothing')
    shutil.rmtree(root / '.handpose_index')  # it does not see a file that changes in place
    with pytest.raises(DatasetError, match=r'labels_000001\.npz is damaged'):
        motion_from_dexycb(root)
