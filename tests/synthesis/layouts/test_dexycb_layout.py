import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from handpose.hands import ProceduralHand
from handpose.synthesis import MultiViewOptions, contact_sheet, options_from_dict, write_dataset
from handpose.synthesis.layouts.dexycb import sequence_folder, subject_name

SIZE, FRAMES = 96, 24


def options(root, **changes):
    values = dict(root=str(root), subjects=1, sequences=5, frames=FRAMES, cameras=2, size=SIZE, seed=3, workers=1)
    return MultiViewOptions(**{**values, **changes})


def digest(root):
    files = sorted(p for p in Path(root).rglob('*') if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic') / 'data'
    summary = write_dataset(options(root))
    assert summary.frames == 5 * FRAMES * 2
    assert summary.measured['fingertips_within_3_mm'] >= 0.99 and summary.measured['penetration_below_2_mm'] >= 0.99
    return root


def read(path):
    return yaml.safe_load(path.read_text())


def sequences(root):
    return sorted(p.parent for p in root.glob('*/*/meta.yml'))


def test_files_keys_shapes_and_dtypes(root):
    assert read(root / 'hand_model.yml') == {'name': 'procedural-1'}
    assert len(sequences(root)) == 5
    for folder in sequences(root):
        meta = read(folder / 'meta.yml')
        objects = len(meta['ycb_ids'])
        assert meta['num_frames'] == FRAMES and len(meta['serials']) == 2 and meta['ycb_grasp_ind'] == 0
        assert all(1 <= i <= 21 for i in meta['ycb_ids']) and meta['mano_sides'][0] in ('left', 'right')
        assert len(read(root / 'calibration' / f'mano_{meta["mano_calib"][0]}' / 'mano.yml')['betas']) == 10
        pose = np.load(folder / 'pose.npz')
        assert pose['pose_y'].shape == (FRAMES, objects, 7) and pose['pose_m'].shape == (FRAMES, 1, 51)
        for serial in meta['serials']:
            assert len(list((folder / serial).iterdir())) == 3 * FRAMES
        camera = folder / meta['serials'][1]
        labels = np.load(camera / f'labels_{FRAMES // 2:06d}.npz')
        found = {name: (labels[name].dtype.name, labels[name].shape) for name in labels}
        assert found == {
            'seg': ('uint8', (SIZE, SIZE)),
            'pose_y': ('float32', (objects, 3, 4)),
            'pose_m': ('float32', (1, 51)),
            'joint_3d': ('float32', (1, 21, 3)),
            'joint_2d': ('float32', (1, 21, 2)),
            'occlusion': ('float32', (1,)),
        }
        assert set(np.unique(labels['seg'])) <= {0, 255, *meta['ycb_ids']}
        color = cv2.imread(str(camera / f'color_{FRAMES // 2:06d}.jpg'))
        depth = cv2.imread(str(camera / f'aligned_depth_to_color_{FRAMES // 2:06d}.png'), cv2.IMREAD_UNCHANGED)
        assert color.shape == (SIZE, SIZE, 3) and color.std() > 5
        assert depth.shape == (SIZE, SIZE) and depth.dtype == np.uint16
        hand = labels['seg'] == 255
        if hand.sum() > 50:
            wrist_to_tip = labels['joint_3d'][0, :, 2]
            assert (wrist_to_tip.min() - 0.04) * 1000 < np.median(depth[hand]) < (wrist_to_tip.max() + 0.04) * 1000


def test_numbers_agree_with_each_other(root):
    model, absent = ProceduralHand(), 0
    for folder in sequences(root):
        meta = read(folder / 'meta.yml')
        side = torch.tensor(int(meta['mano_sides'][0] == 'right'))
        betas = torch.tensor(read(root / 'calibration' / f'mano_{meta["mano_calib"][0]}' / 'mano.yml')['betas'])
        extrinsics = read(root / 'calibration' / f'extrinsics_{meta["extrinsics"]}' / 'extrinsics.yml')
        pose = np.load(folder / 'pose.npz')
        assert extrinsics['master'] == meta['serials'][0]
        for serial in meta['serials']:
            k = read(root / 'calibration' / 'intrinsics' / f'{serial}_{SIZE}x{SIZE}.yml')['color']
            to_world = np.array(extrinsics['extrinsics'][serial]).reshape(3, 4)
            for frame in range(0, FRAMES, 5):
                labels = np.load(folder / serial / f'labels_{frame:06d}.npz')
                rotmat = to_world[:, :3].T
                world = labels['pose_y'][0, :, 3]
                np.testing.assert_allclose(
                    to_world[:, :3] @ world + to_world[:, 3], pose['pose_y'][frame, 0, 4:], atol=1e-5
                )
                if (labels['joint_3d'] == -1).all():
                    assert (labels['joint_2d'] == -1).all() and (labels['pose_m'] == 0).all()
                    assert (labels['seg'] == 255).sum() < 30  # no vertex, at most a sliver of an edge
                    absent += 1
                    continue
                assert (pose['pose_m'][frame] != 0).any()
                x, y, z = labels['joint_3d'][0].astype(float).T
                projected = np.stack([k['fx'] * x / z + k['ppx'], k['fy'] * y / z + k['ppy']], 1)
                assert np.abs(projected - labels['joint_2d'][0]).max() < 0.01
                for source, turn, shift in (
                    (labels['pose_m'][0], np.eye(3), np.zeros(3)),
                    (pose['pose_m'][frame, 0], rotmat, -rotmat @ to_world[:, 3]),
                ):
                    source = torch.from_numpy(source)
                    mesh = model(source[:48].reshape(16, 3), betas, source[48:], side)
                    joints = mesh.joints.numpy() @ turn.T + shift
                    assert np.abs(joints - labels['joint_3d'][0]).max() < 1e-4
    assert absent > 0


def test_occlusion_is_a_share_of_the_visible_hand(root):
    values = [np.load(p)['occlusion'][0] for p in sorted(root.glob('*/*/*/labels_*.npz'))]
    values = np.array(values)
    known = values[~np.isnan(values)]
    assert len(known) > 0.4 * len(values) and known.min() >= 0 and known.max() <= 1
    assert (known > 0.1).any()


def test_no_two_sequences_share_a_hand_or_an_object(root):
    shapes = {tuple(read(p)['betas']) for p in root.glob('calibration/mano_*/mano.yml')}
    assert len(shapes) == 5  # so the split by sequence (every fifth is tested) shares no hand
    motions = set()
    for folder in sequences(root):
        meta = read(folder / 'meta.yml')
        motions.add(np.load(folder / 'pose.npz')['pose_m'].tobytes())
        assert len({*meta['ycb_ids']}) == len(meta['ycb_ids'])
    assert len(motions) == 5


def test_same_seed_same_bytes_with_two_workers_and_after_an_interruption(root, tmp_path):
    write_dataset(options(tmp_path / 'two', workers=2))
    assert digest(tmp_path / 'two') == digest(root)
    for folder in sequences(tmp_path / 'two')[1:3]:
        for file in sorted(folder.rglob('*'), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        folder.rmdir()
    assert write_dataset(options(tmp_path / 'two')).frames == 2 * FRAMES * 2
    assert digest(tmp_path / 'two') == digest(root)
    assert write_dataset(options(tmp_path / 'two')).frames == 0


def test_refuses_foreign_folders_and_other_options(root, tmp_path):
    with pytest.raises(ValueError, match='other options'):
        write_dataset(options(root, seed=4))
    (tmp_path / 'letter.txt').write_text('mine')
    with pytest.raises(ValueError, match='not empty'):
        write_dataset(options(tmp_path))


@pytest.mark.parametrize(
    ('values', 'sentence'),
    [
        ({}, 'need root'),
        ({'root': 'x', 'sequences': 7}, 'multiple of 5'),
        ({'root': 'x', 'cameras': 9}, 'cameras must be a whole number from 1 to 8'),
        ({'root': 'x', 'camera': 2}, "'camera' is not an option"),
        ({'root': 'x', 'frames': 30.0}, 'frames must be a whole number'),
    ],
)
def test_options_are_checked(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        options_from_dict(values)


def test_names_sort_in_order():
    subjects = [subject_name(s) for s in range(12)]
    folders = [sequence_folder(3, s) for s in range(100)]
    assert subjects == sorted(set(subjects)) and folders == sorted(set(folders))
    assert subjects[0] == '20200709-subject-01' and folders[0] == '20200903-subject-04/20200903_090000'


def test_contact_sheet(root, tmp_path):
    contact_sheet(root, tmp_path / 'sheet.png', rows=2, columns=3, tile=32)
    assert cv2.imread(str(tmp_path / 'sheet.png')).shape == (64, 96, 3)
