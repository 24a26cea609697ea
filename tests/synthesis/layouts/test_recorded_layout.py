import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from motions import NAMES, OBJECT, SIZE, WITHOUT_SURROUNDINGS, make_motion
from scipy.spatial.transform import Rotation

from handpose.datasets import DexYCB
from handpose.datasets.base import DatasetError
from handpose.datasets.motion.motion_file import read_motion, write_motion
from handpose.hands import ProceduralHand, fit_hand
from handpose.synthesis import RecordedOptions, options_from_dict, write_dataset
from handpose.synthesis.layouts.recorded import best_cameras, folder_names, recorded_cameras
from handpose.synthesis.objects.ycb import YCB_OBJECTS, ycb_object
from handpose.synthesis.recordings.dexycb import choose_sequences, motion_from_dexycb, motion_from_packed

WIDTH, ABSENT = 64, 2


def digest(root):
    files = sorted(p for p in root.rglob('*') if p.is_file() and '.handpose_index' not in str(p))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A motion of sequences 0, 3 and 4 of a subject's ten, rendered: (motion, root, summary, options)."""
    folder = tmp_path_factory.mktemp('recorded')
    motion = make_motion(sequences=(0, 3, 4), absent=(ABSENT,))
    write_motion(folder / 'motion.npz', motion)
    options = RecordedOptions(str(folder / 'data'), str(folder / 'motion.npz'), size=WIDTH, seed=5, workers=1)
    return motion, folder / 'data', write_dataset(options), options


def labels_of(root, motion, sequence, camera, frame):
    name = f'{motion.sequence_names[sequence]}/{motion.camera_serials[camera]}/labels_{frame:06d}.npz'
    return dict(np.load(root / name))


def test_the_rendered_hand_is_where_the_recorded_one_was(made):
    """The motion is the model's own, so that only fit and frames could put labels elsewhere: none is half a mm off."""
    motion, root, summary, _ = made
    assert summary.frames == 3 * 6 * 2 and summary.measured['hand_frames'] == 3 * 5
    assert summary.measured['fit_median_mm'] < 0.2 and summary.measured['fit_95_mm'] < 0.5
    scale = WIDTH / SIZE[0]
    for sequence in range(3):
        for camera in range(2):
            to_camera = motion.camera_extrinsics[sequence, camera]
            for frame in range(6):
                labels = labels_of(root, motion, sequence, camera, frame)
                if frame == ABSENT:
                    assert (labels['joint_3d'] == -1).all() and (labels['joint_2d'] == -1).all()
                    assert not labels['pose_m'].any() and not (labels['seg'] == 255).any()
                    assert np.isnan(labels['occlusion']).all()
                    continue
                world = motion.joints[motion.frames_of(sequence)][frame].astype(np.float64)
                local = world @ to_camera[:3, :3].T + to_camera[:3, 3]
                assert np.abs(labels['joint_3d'][0] - local).max() < 0.5e-3
                pixels = cv2.projectPoints(world, cv2.Rodrigues(to_camera[:3, :3])[0], to_camera[:3, 3],
                                           motion.camera_intrinsics[camera], None)[0][:, 0]  # fmt: skip
                assert np.abs(labels['joint_2d'][0] - ((pixels + 0.5) * scale - 0.5)).max() < 0.2
                assert labels['seg'].shape == (48, 64) and (labels['seg'] == 255).sum() > 20


def test_the_picture_shows_the_labels(made):
    """Joints that nothing hides lie on the hand's pixels."""
    motion, root, *_ = made
    on_hand = []
    for sequence, camera in np.ndindex(3, 2):
        labels = labels_of(root, motion, sequence, camera, 0)
        if labels['occlusion'][0] < 0.03:
            seg = cv2.dilate((labels['seg'] == 255).astype(np.uint8), np.ones((3, 3)))
            x, y = labels['joint_2d'][0].round().astype(int).T
            on_hand.append(seg[y, x].mean())
    assert len(on_hand) >= 2 and min(on_hand) > 0.95


def test_the_object_is_where_it_was_recorded(made):
    motion, root, *_ = made
    for camera in range(2):
        labels = labels_of(root, motion, 1, camera, 3)
        expected = np.eye(4)
        expected[:3, :3] = cv2.Rodrigues(motion.object_rotvec[9])[0]
        expected[:3, 3] = motion.object_transl[9]
        expected = motion.camera_extrinsics[1, camera] @ expected
        np.testing.assert_allclose(labels['pose_y'][0], expected[:3], atol=1e-5)
        corners = np.array(np.meshgrid(*([-h, h] for h in (0.036, 0.082, 0.1065)))).reshape(3, -1).T
        local = corners @ expected[:3, :3].T + expected[:3, 3]
        pixels = local @ motion.camera_intrinsics[camera].T
        pixels = ((pixels[:, :2] / pixels[:, 2:] + 0.5) * WIDTH / SIZE[0] - 0.5).clip(-0.5, (63.5, 47.5))
        rows, columns = np.nonzero(labels['seg'] == 2)  # the cracker box's class
        seen = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        assert (seen >= [*(pixels.min(0) - 1.5), *(pixels.min(0) - 1)]).all()
        assert (seen[2:] <= pixels.max(0) + 1.5).all()
        assert len(rows) > 0.2 * np.prod(np.ptp(pixels, axis=0))


def test_the_reader_takes_it_and_splits_by_the_full_list(made):
    """Sequence 4 of ten is held out (subject 3: for testing), though it is the third of those on disk."""
    motion, root, *_ = made
    model = ProceduralHand()
    for split, names in (('train', [NAMES[0], NAMES[3]]), ('test', [NAMES[4]])):
        data = DexYCB(root, setup='s0', split=split, frame='world')
        samples = [data[i] for i in range(len(data))]
        assert sorted({s.meta['sequence'] for s in samples}) == names and len(samples) == 2 * len(names)
        for sample in samples:
            sample.validate()
            shown = sample.hand_pose_valid[:, 0]
            assert shown.tolist() == [frame != ABSENT for frame in range(6)]
            mesh = model(
                sample.hand_pose[:, 0], sample.hand_shape[0], sample.hand_transl[:, 0], sample.hand_side.expand(6)
            )
            assert (mesh.joints - sample.joints_3d[:, 0])[shown].abs().max() < 1e-4
            assert sample.hand_side.tolist() == [int(motion.hand_side[motion.sequence_names.index(
                sample.meta['sequence'])])]  # fmt: skip
    with pytest.raises(DatasetError, match="split 'val'"):
        DexYCB(root, setup='s0', split='val')


def test_fit_file_and_summary(made):
    motion, root, summary, _ = made
    errors = []
    for sequence, name in enumerate(motion.sequence_names):
        fit = np.load(root / name / 'fit.npz')
        distance = np.full((6, 21), np.nan)
        to_world = motion.camera_extrinsics[sequence, 0]  # of the written data: its first camera
        for frame in set(range(6)) - {ABSENT}:
            recorded = motion.joints[motion.frames_of(sequence)][frame] @ to_world[:3, :3].T + to_world[:3, 3]
            np.testing.assert_allclose(fit['recorded_joints'][frame], recorded, atol=1e-6)
            shown = labels_of(root, motion, sequence, 0, frame)['joint_3d'][0]
            distance[frame] = np.linalg.norm(shown - recorded, axis=1)
        np.testing.assert_allclose(fit['fit_error'], distance, atol=2e-6)
        errors.append(distance)
    errors = np.concatenate(errors)
    assert abs(1000 * np.nanmedian(errors) - summary.measured['fit_median_mm']) < 1e-3
    assert abs(1000 * np.nanquantile(errors, 0.95) - summary.measured['fit_95_mm']) < 2e-3
    generator = yaml.safe_load((root / 'generator.yml').read_text())
    assert generator['measured'] == summary.measured
    assert generator['options']['motion_sha256'] and generator['options']['motion'] == 'motion.npz'
    assert (root / 'LICENCE.txt').read_text() == 'for this test\n'


def test_same_bytes_with_two_processes_and_after_an_interruption(made, tmp_path):
    motion, root, _, options = made
    shutil.copytree(root, tmp_path / 'again', ignore=shutil.ignore_patterns('.handpose_index'))
    values = {**vars(options), 'root': str(tmp_path / 'again'), 'workers': 2}
    for name in motion.sequence_names[1:]:
        shutil.rmtree(tmp_path / 'again' / name)
    partial = tmp_path / 'again' / '.partial' / motion.sequence_names[1] / 'left over'
    partial.mkdir(parents=True)
    assert write_dataset(RecordedOptions(**values)).frames == 2 * 6 * 2
    assert digest(tmp_path / 'again') == digest(root)
    assert write_dataset(RecordedOptions(**values)).frames == 0
    with pytest.raises(ValueError, match='other options'):
        write_dataset(RecordedOptions(**{**values, 'seed': 6}))


def test_joints_alone_are_enough(tmp_path):
    """No cameras, table or object, and names that are not DexYCB's: everything is put up around the hand."""
    names = ['anna/wave', 'bob/point', 'bob/wave']
    motion = make_motion(sequences=(0, 1), frames=4, absent=(), fps=60.0, **WITHOUT_SURROUNDINGS)
    motion.sequence_names, motion.all_sequence_names = [names[0], names[2]], names
    write_motion(tmp_path / 'motion.npz', motion)
    options = RecordedOptions(str(tmp_path / 'data'), str(tmp_path / 'motion.npz'), cameras=1, size=WIDTH, workers=1)
    assert write_dataset(options).measured['fit_95_mm'] < 0.5
    data = DexYCB(tmp_path / 'data', setup='all')
    assert [data[i].meta['sequence'] for i in range(2)] == [
        '20200709-subject-01/20200709_090000', '20200813-subject-02/20200813_090200'
    ]  # fmt: skip
    for i in range(2):
        sample = data[i]
        width, height = sample.meta['image_size']
        assert (width, height) == (64, 48)
        inside = (sample.joints_2d > 0).all(-1) & (sample.joints_2d < torch.tensor([width - 1.0, height - 1.0])).all(-1)
        assert inside.all() and sample.hand_valid.all()
    meta = yaml.safe_load((tmp_path / 'data' / '20200709-subject-01/20200709_090000/meta.yml').read_text())
    assert meta['synthetic']['recorded'] == 'anna/wave'
    assert data[0].meta['fps'] == 60 and data[0].timestamps.tolist() == pytest.approx([0, 1 / 60, 2 / 60, 3 / 60])
    slower = DexYCB(tmp_path / 'data', setup='all', fps=15)[0]
    assert slower.meta['fps'] == 15 and slower.timestamps[1] == 1 / 15
    assert motion_from_dexycb(tmp_path / 'data').fps == 60


def test_the_best_cameras_see_most():
    motion = make_motion()
    motion.camera_extrinsics[:, 0, 0, 3] += 0.3  # beside the hand
    assert best_cameras(motion, recorded_cameras(motion)).tolist() == [1, 0]


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'serials': ('932122061901',)}, "no camera '932122061901'.*Did you mean '932122061900'"),
        ({'serials': ('932122061900',) * 2}, "serials must differ, got '932122061900' twice"),
        ({'cameras': 3}, 'has 2 cameras, 3 were asked for'),
        ({'motion': 'nowhere.npz'}, 'there is no motion file nowhere.npz'),
        ({'size': 10}, 'size must be a whole number from 64'),
        ({'siz': 100}, "'siz' is not an option of recorded motion.*Did you mean 'size'"),
    ],
)
def test_options_are_checked(tmp_path, changes, sentence):
    write_motion(tmp_path / 'motion.npz', make_motion())
    values = {'root': str(tmp_path / 'data'), 'motion': str(tmp_path / 'motion.npz'), **changes}
    with pytest.raises(ValueError, match=sentence):
        write_dataset(options_from_dict(values))
    assert not (tmp_path / 'data').exists()


def test_serials_need_cameras_in_the_file(tmp_path):
    write_motion(tmp_path / 'motion.npz', make_motion(**WITHOUT_SURROUNDINGS))
    with pytest.raises(DatasetError, match='has no cameras'):
        write_dataset(RecordedOptions(str(tmp_path / 'data'), str(tmp_path / 'motion.npz'), serials=('1',)))


def test_names_of_folders():
    assert folder_names(NAMES) == {name: name for name in NAMES}
    with pytest.raises(DatasetError, match='99 subjects'):
        folder_names([f's{i}/a' for i in range(100)])


def test_stand_ins_have_the_objects_size():
    """Centred on the origin; all of DexYCB's classes, once each."""
    assert sorted(class_id for class_id, *_ in YCB_OBJECTS.values()) == list(range(1, 22))
    for name in YCB_OBJECTS:
        vertices = ycb_object(name).mesh().vertices
        assert np.abs(vertices.min(0) + vertices.max(0)).max() < 0.035, name
    assert np.ptp(ycb_object(OBJECT).mesh().vertices, axis=0) == pytest.approx([0.072, 0.164, 0.213])
    with pytest.raises(DatasetError, match=r"is not one of the YCB objects .*Did you mean '025_mug'"):
        ycb_object('025_mog')


@pytest.fixture(scope='module')
def real():
    root = os.environ.get('HANDPOSE_REAL_DATA')
    if not root:
        pytest.skip('HANDPOSE_REAL_DATA is not set')
    return motion_from_packed(f'{root}/dexycb_motion/dexycb_motion.npz', f'{root}/dexycb_cameras/cameras.json')


def test_real_hands_are_fitted(real):
    """Of every subject one sequence: the median distance over all joints is at most 4 mm, of 95 % at most 10 mm."""
    model, errors = ProceduralHand(), []
    for sequence in choose_sequences(real, 5)[1::5]:
        frames = real.frames_of(sequence)
        joints, valid = torch.from_numpy(real.joints[frames]), torch.from_numpy(real.frame_valid[frames])
        fit = fit_hand(model, joints, valid, int(real.hand_side[sequence]))
        errors.append(fit.error[valid])
        assert fit.hand_shape.abs().max() < 4
    errors = torch.cat(errors)
    assert errors.median() < 4e-3 and errors.quantile(0.95) < 10e-3


def test_real_boxes_lie_flat_at_first(real):
    """Boxes rest on a face before they are taken: one of their axes is upright (they would not, turned otherwise)."""
    upright = []
    for sequence, name in enumerate(real.object_names):
        if name in ('003_cracker_box', '004_sugar_box', '008_pudding_box', '036_wood_block'):
            rotation = cv2.Rodrigues(real.object_rotvec[real.frames_of(sequence).start])[0]
            upright.append(np.abs(real.table[sequence, 2, :3] @ rotation).max())
    assert np.median(upright) > 0.99 and len(upright) > 150


def test_real_objects_are_where_the_download_has_them(real):
    """Packed rotations, put right, against pose.npz of a download of the same recording."""
    root, compared = Path(os.environ['HANDPOSE_REAL_DATA']) / 'dexycb_sample', 0
    for path in root.glob('*-subject-*/*/pose.npz'):
        sequence = real.sequence_names.index(f'{path.parent.parent.name}/{path.parent.name}')
        grasp = yaml.safe_load((path.parent / 'meta.yml').read_text())['ycb_grasp_ind']
        poses = np.load(path)['pose_y'][:, grasp].astype(np.float64)
        frames = real.frames_of(sequence)
        off = Rotation.from_quat(poses[:, :4]).inv() * Rotation.from_rotvec(real.object_rotvec[frames])
        assert np.rad2deg(off.magnitude()).max() < 1e-5
        np.testing.assert_allclose(real.object_transl[frames], poses[:, 4:], atol=1e-7)
        compared += len(poses)
    assert compared > 0


def test_real_choice_has_both_parts_of_the_split(real):
    chosen = choose_sequences(real, 10)
    places = np.array([real.position_of(s) for s in chosen])
    assert (np.bincount(places[:, 0]) == 10).all()
    held = places[:, 1] % 5 == 4
    assert (np.bincount(places[held, 0]) == 2).all()
    assert {int(real.hand_side[s]) for s, h in zip(chosen, held, strict=True) if h} == {0, 1}
    assert len({real.object_names[s] for s in chosen}) == 20
    assert len(real.all_sequence_names) == 1000 == len(set(real.all_sequence_names))


def test_written_and_read_again(real, tmp_path):
    few = real.select([0, 500])
    write_motion(tmp_path / 'few.npz', few)
    np.testing.assert_array_equal(read_motion(tmp_path / 'few.npz').joints, few.joints)
