import numpy as np
import pytest
import torch
from motions import NAMES, WITHOUT_SURROUNDINGS, make_motion

from handpose.datasets.base import DatasetError
from handpose.datasets.motion.motion_file import read_motion, write_motion
from handpose.hands import from_common
from handpose.synthesis.recordings.fitting import fit_motion


def same(a, b):
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(other, value, rtol=1e-6, atol=1e-7, err_msg=name)
        else:
            assert other == value, name


def test_what_is_written_is_read_again(tmp_path):
    for changes in ({}, WITHOUT_SURROUNDINGS):
        motion = make_motion(**changes)
        write_motion(tmp_path / 'motion.npz', motion)
        same(motion, read_motion(tmp_path / 'motion.npz'))


def test_hand_parameters_are_kept_and_selected(tmp_path):
    motion, error = fit_motion(make_motion(sequences=(0, 3, 4)))
    assert np.nanmax(error) < 1e-3 and np.isnan(error[~motion.frame_valid]).all()
    write_motion(tmp_path / 'motion.npz', motion)
    same(motion, read_motion(tmp_path / 'motion.npz'))
    chosen = motion.select([2, 0])
    np.testing.assert_array_equal(chosen.hand_shape, motion.hand_shape[[2, 0]])
    np.testing.assert_array_equal(chosen.hand_pose[:6], motion.hand_pose[12:18])
    np.testing.assert_array_equal(chosen.hand_transl[6:], motion.hand_transl[:6])
    assert chosen.hand_model == 'procedural-1'


@pytest.mark.parametrize(
    ('spoil', 'sentence'),
    [
        (lambda f: f.pop('hand_model'), 'come together; only hand_pose, hand_shape, hand_transl given'),
        (lambda f: f.update(hand_shape=f['hand_shape'][:1]), 'hand_shape must have shape'),
        (lambda f: f['hand_pose'].__setitem__(0, np.nan), 'hand_pose must be finite in every valid frame'),
        (lambda f: f['hand_shape'].__setitem__(0, np.inf), 'hand_shape must be finite in every sequence'),
    ],
)
def test_hand_parameters_that_do_not_fit(tmp_path, spoil, sentence):
    write_motion(tmp_path / 'motion.npz', fit_motion(make_motion())[0])
    found = dict(np.load(tmp_path / 'motion.npz'))
    spoil(found)
    np.savez(tmp_path / 'motion.npz', **found)
    with pytest.raises(DatasetError, match=sentence):
        read_motion(tmp_path / 'motion.npz')


def test_one_camera_rig_for_all_sequences(tmp_path):
    motion = make_motion()
    write_motion(tmp_path / 'motion.npz', motion)
    found = dict(np.load(tmp_path / 'motion.npz'))
    found['camera_extrinsics'], found['table'] = found['camera_extrinsics'][0], found['table'][0]
    np.savez(tmp_path / 'single.npz', **found)
    same(motion, read_motion(tmp_path / 'single.npz'))


def test_other_joint_orders(tmp_path):
    motion = make_motion()
    write_motion(tmp_path / 'motion.npz', motion)
    found = dict(np.load(tmp_path / 'motion.npz'))
    found['joints'] = from_common(torch.from_numpy(found['joints']), 'ho3d')[0].numpy()
    np.savez(tmp_path / 'ho3d.npz', **{**found, 'joint_order': 'ho3d'})
    np.testing.assert_array_equal(read_motion(tmp_path / 'ho3d.npz').joints, motion.joints)


def test_only_the_necessary_keys(tmp_path):
    motion = make_motion()
    names = ('joints', 'frame_valid', 'sequence_names', 'sequence_lengths', 'fps')
    np.savez(tmp_path / 'small.npz', hand_side=['right', 'right'], **{name: getattr(motion, name) for name in names})
    found = read_motion(tmp_path / 'small.npz')
    assert found.all_sequence_names == sorted(motion.sequence_names) and found.camera_serials is None
    assert found.position_of(1) == (0, 1)


def test_positions_count_in_the_full_list():
    motion = make_motion(sequences=(4, 7))
    assert [motion.position_of(s) for s in (0, 1)] == [(0, 4), (0, 7)]


def test_the_positions_of_all_sequences_take_one_pass_over_the_list():
    class CountedName(str):
        splits = 0

        def split(self, *words):
            CountedName.splits += 1
            return super().split(*words)

    motion = make_motion(sequences=(4, 7))
    names = sorted(f'subject-{number % 3}/{number:03d}' for number in range(90))
    motion.sequence_names = names[::2]
    motion.all_sequence_names = [CountedName(name) for name in names]
    assert motion.positions() == [(place // 30, place % 30) for place in range(0, 90, 2)]
    assert CountedName.splits == 2 * 90


def test_select_keeps_what_belongs_together():
    motion = make_motion(sequences=(0, 3, 4, 9), frames=4, absent=(1,))
    chosen = motion.select([3, 1])
    assert chosen.sequence_names == [NAMES[9], NAMES[3]] and chosen.all_sequence_names == NAMES
    np.testing.assert_array_equal(chosen.joints, np.concatenate([motion.joints[12:16], motion.joints[4:8]]))
    np.testing.assert_array_equal(chosen.hand_side, [0, 0])
    np.testing.assert_array_equal(chosen.object_rotvec[4], motion.object_rotvec[4])
    assert chosen.frames_of(1) == slice(4, 8)


def nan_in_a_valid_frame(found):
    found['joints'][7] = np.nan


def lengths_that_do_not_sum(found):
    found['sequence_lengths'] = np.array([6, 5])


def millimetres(found):
    found['joints'] *= 1000


def turned_and_stretched(found):
    found['camera_extrinsics'][0, 1, :3, :3] *= 1.01


def camera_to_world_rows(found):
    found['camera_extrinsics'] = found['camera_extrinsics'].transpose(0, 1, 3, 2)


def no_hand_at_all(found):
    found['frame_valid'][6:] = False


def no_pose_of_the_object(found):
    found['object_transl'][6:] = np.nan


@pytest.mark.parametrize(
    ('spoil', 'sentence'),
    [
        (lambda f: f.pop('fps'), "needs 'fps'"),
        (lambda f: f.update(jonts=f.pop('joints')), "needs 'joints'.*Did you mean 'jonts'"),
        (lambda f: f.update(tables=f['table']), "'tables' is not a key.*Did you mean 'table'"),
        (lambda f: f.update(unit='mm'), "unit must be one of 'm', got 'mm'"),
        (lambda f: f.update(frame='camera'), "frame must be one of 'world', got 'camera'"),
        (lambda f: f.update(joint_order='mano_'), "joint_order must be one of.*Did you mean 'mano'"),
        (lambda f: f.update(joint_order='mano'), "'mano' has 16 joints, joints are"),
        (lambda f: f.update(joints=f['joints'][:, :20]), "'common' has 21 joints"),
        (lambda f: f.update(joints=f['joints'][:-1]), 'frame_valid must have shape'),
        (lambda f: f.update(frame_valid=f['frame_valid'].astype(int)), 'frame_valid must be bool'),
        (lambda f: f.update(hand_side=['right', 'both']), "must be one of 'left', 'right', got 'both'"),
        (lambda f: f.update(sequence_names=['a/b', 'a']), "must read 'subject/sequence', got 'a'"),
        (lambda f: f.update(sequence_names=[NAMES[0]] * 2), 'twice'),
        (lambda f: f.update(all_sequence_names=NAMES[1:]), f'lacks .*{NAMES[0]}'),
        (lambda f: f.update(all_sequence_names=[*NAMES, NAMES[2]]), f'all_sequence_names must differ.*{NAMES[2]}'),
        (lambda f: f.pop('camera_sizes'), 'come together'),
        (lambda f: f.update(camera_extrinsics=f['camera_extrinsics'][:, :1]), 'camera_extrinsics must have shape'),
        (lambda f: f.update(fps=0), 'fps must be a positive number'),
        (lambda f: f['camera_intrinsics'].__setitem__((0, 0, 1), 0.5), 'camera_intrinsics must be pinhole'),
        (lambda f: f['camera_intrinsics'].__setitem__((1, 0, 0), np.nan), 'camera_intrinsics must be pinhole'),
        (lambda f: f['table'].__setitem__((0, 0, 3), np.nan), 'table must be rigid'),
        (lambda f: f.update(fps=np.inf), 'fps must be a positive number'),
        (nan_in_a_valid_frame, f'NaN or infinity in a valid frame: sequence {NAMES[4]}, its frame 1'),
        (lengths_that_do_not_sum, 'sum to the 12 frames of joints.*sum to 11'),
        (millimetres, 'must hold metres, the numbers look like millimetres'),
        (turned_and_stretched, 'camera_extrinsics must be rigid motions'),
        (camera_to_world_rows, 'the last row'),
        (no_hand_at_all, f'sequence {NAMES[4]} has no valid frame'),
        (no_pose_of_the_object, f'sequence {NAMES[4]} names an object 003_cracker_box without any pose'),
    ],
)
def test_a_sentence_says_what_is_wrong(tmp_path, spoil, sentence):
    write_motion(tmp_path / 'motion.npz', make_motion())
    found = dict(np.load(tmp_path / 'motion.npz'))
    spoil(found)
    np.savez(tmp_path / 'motion.npz', **found)
    with pytest.raises(DatasetError, match=sentence):
        read_motion(tmp_path / 'motion.npz')


def test_files_that_are_no_motion_files(tmp_path):
    with pytest.raises(DatasetError, match='there is no motion file'):
        read_motion(tmp_path / 'nowhere.npz')
    (tmp_path / 'text.npz').write_text('joints')
    with pytest.raises(DatasetError, match='is damaged'):
        read_motion(tmp_path / 'text.npz')
    write_motion(tmp_path / 'half.npz', make_motion())
    (tmp_path / 'half.npz').write_bytes((tmp_path / 'half.npz').read_bytes()[:2000])
    with pytest.raises(DatasetError, match='is damaged'):
        read_motion(tmp_path / 'half.npz')
