import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from pose_layouts import CAMERAS, FRAMES, SEQUENCES, SUBJECTS, digest, options, write

from handpose.cli import main
from handpose.hands import ProceduralHand
from handpose.hands.joints import JOINT_ORDERS
from handpose.synthesis import MultiViewOptions, options_from_dict, write_dataset
from handpose.synthesis.layouts.interhand import split_sizes
from handpose.synthesis.motion.gestures import POSTURES, plan_gestures, posture_angles
from handpose.synthesis.writer import open_dataset

LAYOUTS = ('interhand', 'reinterhand', 'hanco')


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pose_layouts')
    return {name: (folder / name, write(folder / name, name)) for name in LAYOUTS}


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_record_names_hand_model_and_options(roots, layout):
    root, _ = roots[layout]
    assert yaml.safe_load((root / 'hand_model.yml').read_text()) == {'name': 'procedural-1'}
    record = yaml.safe_load((root / 'generator.yml').read_text())
    assert record['options']['layout'] == layout and 'measured' not in record
    assert ('interhand_fps' in record['options']) == (layout == 'interhand') and 'ho3d_version' not in record['options']
    assert not (root / '.partial').exists()


@pytest.mark.parametrize('layout', LAYOUTS)
def test_same_seed_same_bytes_with_two_workers_and_after_an_interruption(roots, tmp_path, layout):
    root, _ = roots[layout]
    again = tmp_path / 'two'
    write_dataset(options(again, layout, workers=2 if layout == 'interhand' else 1))
    assert digest(again) == digest(root)
    for folder in sorted((again / 'generator').iterdir())[3:5]:
        shutil.rmtree(folder)
    lost = next(p for p in sorted(again.rglob('*.json')) if 'xyz' not in p.parts and 'calib' not in p.parts)
    if layout != 'hanco':
        lost.unlink()
    assert write_dataset(options(again, layout)).frames >= 2 * FRAMES * CAMERAS
    if layout != 'reinterhand':  # files of a frame are not looked for one by one
        assert digest(again) == digest(root)
    assert write_dataset(options(again, layout)).frames == 0
    with pytest.raises(ValueError, match='made with other options'):
        write_dataset(options(again, layout, seed=4))


def test_interhand_files(roots):
    root, _ = roots['interhand']
    for split in ('train', 'val', 'test'):
        prefix = f'InterHand2.6M_{split}_'
        folder = root / 'annotations' / split
        names = {p.name.removeprefix(prefix) for p in folder.iterdir()}
        assert names == {'data.json', 'camera.json', 'joint_3d.json', 'MANO_NeuralAnnot.json'}
        joints, mano, data, cameras = (
            read(folder / f'{prefix}{name}.json') for name in ('joint_3d', 'MANO_NeuralAnnot', 'data', 'camera')
        )
        assert joints.keys() == mano.keys() == cameras.keys() == {'0'}
        assert joints['0'].keys() == mano['0'].keys() and len(joints['0']) < SEQUENCES * FRAMES
        assert len(data['images']) == len(data['annotations']) == CAMERAS * len(joints['0'])
        assert len({i['id'] for i in data['images']}) == len(data['images'])
        for number, entry in joints['0'].items():
            assert np.shape(entry['world_coord']) == (42, 3) and np.shape(entry['joint_valid']) == (42, 1)
            missing = np.array(entry['joint_valid'])[:, 0] == 0
            assert (np.array(entry['world_coord'])[missing] == 1).all()  # what the official files have there
            for half, side in ((slice(21), 'right'), (slice(21, 42), 'left')):
                there = mano['0'][number][side]
                assert (there is None) == missing[half].all()
                if there:
                    assert [len(there[k]) for k in ('pose', 'shape', 'trans')] == [48, 10, 3]
                    assert np.abs(there['trans']).max() < 2  # metres, unlike the joints
        for image, annotation in zip(data['images'], data['annotations'], strict=True):
            assert image['camera'] in cameras['0']['camrot'] and str(image['frame_idx']) in joints['0']
            assert annotation['image_id'] == image['id'] and len(annotation['bbox']) == 4
            x, y, width, height = annotation['bbox']
            assert x >= 0 and y >= 0 and x + width < 256 and y + height < 256
            annotated = joints['0'][str(image['frame_idx'])]
            assert np.all(np.array(annotation['joint_valid']) <= np.array(annotated['joint_valid']))
            assert annotation['hand_type'] == annotated['hand_type'] in ('right', 'left', 'interacting')
    kinds = {e['hand_type'] for e in joints['0'].values()}
    assert kinds == {'right', 'left', 'interacting'}
    skeleton = [line.split() for line in (root / 'annotations' / 'skeleton.txt').read_text().splitlines()]
    assert [int(row[1]) for row in skeleton] == list(range(42)) and skeleton[0][0] == 'thumb_tip_r'
    assert [int(row[2]) for row in skeleton[:4]] == [1, 2, 3, 20] and skeleton[20][2] == skeleton[41][2] == '-1'
    assert skeleton[24][2] == '41'


def test_bones_of_the_written_joints_are_those_of_a_hand(roots):
    """Along each finger of the official order, from the tip to the wrist, joints are neighbours of a hand."""
    root, _ = roots['interhand']
    entries = read(root / 'annotations/test/InterHand2.6M_test_joint_3d.json')['0'].values()
    order = JOINT_ORDERS['interhand']
    for entry in entries:
        points, valid = np.array(entry['world_coord']), np.array(entry['joint_valid'])[:, 0]
        for start in (0, 21):
            if valid[start]:
                hand = points[start : start + 21]
                for finger in range(5):
                    chain = [*hand[4 * finger : 4 * finger + 4], hand[20]]
                    lengths = np.linalg.norm(np.diff(chain, axis=0), axis=1)
                    assert (lengths > 10).all() and (lengths[:3] < 60).all() and lengths[3] < 120, order[4 * finger]


def test_splits():
    assert split_sizes(10) == {'train': 7, 'val': 1, 'test': 2}
    assert split_sizes(3) == {'train': 1, 'val': 1, 'test': 1}
    with pytest.raises(ValueError, match="'interhand' needs at least 3 subjects"):
        MultiViewOptions('x', layout='interhand', subjects=2)
    with pytest.raises(ValueError, match='interhand_fps must be 5 or 30'):
        options_from_dict({'root': 'x', 'layout': 'interhand', 'interhand_fps': 10})
    with pytest.raises(ValueError, match=r"layout must be one of .* Did you mean 'interhand'"):
        MultiViewOptions('x', layout='interhands')


def test_reinterhand_and_hanco_files(roots):
    root, _ = roots['reinterhand']
    captures = [p for p in root.iterdir() if (p / 'frame_list.txt').exists()]
    assert len(captures) == SUBJECTS
    for capture in captures:
        rows = [line.split() for line in (capture / 'frame_list.txt').read_text().splitlines()]
        assert len(rows) == SEQUENCES * FRAMES and len({row[1] for row in rows}) == len(rows)
        assert len(read(capture / 'Mugsy_cameras' / 'cam_params.json')) == CAMERAS
        fits = [len(list((capture / 'orig_fits' / side / 'Keypoints').iterdir())) for side in ('left', 'right')]
        assert sum(fits) == len(list((capture / 'mano_fits' / 'params').iterdir())) < 2 * len(rows)
        point = next((capture / 'orig_fits' / 'left' / 'Keypoints').iterdir())
        assert np.shape(read(point)) == (24, 3)
    root, _ = roots['hanco']
    meta = read(root / 'meta.json')
    assert {len(v) for v in meta.values()} == {SUBJECTS * SEQUENCES}
    assert {len(frames) for v in meta.values() for frames in v} == {FRAMES}
    assert all(
        v <= f for vs, fs in zip(meta['is_valid'], meta['has_fit'], strict=True) for v, f in zip(vs, fs, strict=True)
    )
    for sequence, fits in enumerate(meta['has_fit']):
        counts = [len(list((root / name / f'{sequence:04d}').iterdir())) for name in ('xyz', 'calib', 'shape')]
        assert counts == [FRAMES, FRAMES, sum(fits)]
    calibration = read(root / 'calib' / '0000' / '00000000.json')
    assert np.shape(calibration['K']) == (CAMERAS, 3, 3) and np.shape(calibration['M']) == (CAMERAS, 4, 4)


def test_gestures_keep_the_limits_and_are_smooth():
    model = ProceduralHand()
    limits = model.joint_limits.double().numpy()
    for seed in range(8):
        act = plan_gestures(np.random.default_rng(seed), 150, limits)
        assert (act.angles >= limits[..., 0] - 1e-9).all() and (act.angles <= limits[..., 1] + 1e-9).all()
        assert np.ptp(act.angles, axis=0).max() > 0.3  # radians: the fingers do move
        assert np.abs(np.diff(act.angles, axis=0)).max() < 0.8
        turned = act.wrist[:, :3, :3]
        assert np.abs(turned @ turned.transpose(0, 2, 1) - np.eye(3)).max() < 1e-9 and np.linalg.det(turned[0]) > 0
        assert np.linalg.norm(np.diff(act.wrist[:, :3, 3], axis=0), axis=1).max() < 0.08
    for name in POSTURES:
        angles = posture_angles(np.random.default_rng(0), name, limits)
        assert (angles >= limits[..., 0]).all() and (angles <= limits[..., 1]).all()


def test_hands_of_a_recording():
    model = ProceduralHand()
    layout, scenes = open_dataset(options('x', 'interhand'))
    assert [layout.hands(s) for s in range(5)] == [(1,), (0,), (0, 1), (0, 1), (0, 1)]
    motion = scenes.build((0, 2))
    assert motion.joints.shape == (FRAMES, 2, 21, 3) and motion.hand_valid.shape == (FRAMES, 2)
    missing = (~motion.hand_valid).sum(0)
    assert sorted(missing)[0] == FRAMES // 12 < sorted(missing)[1] or (missing == FRAMES // 12).all()
    assert motion.hand_valid[[0, -1]].all()
    for hand, side in enumerate((0, 1)):
        pose, transl = (torch.from_numpy(v[:, hand]).float() for v in (motion.hand_pose, motion.hand_transl))
        mesh = model(pose, torch.from_numpy(motion.hand_shape).float(), transl, torch.tensor(side))
        assert np.abs(mesh.joints.numpy() - motion.joints[:, hand]).max() < 1e-6
        # Fingers bend to where the palm looks: along wrist-index x wrist-little of a right hand, against it of a left.
        wrist, index, little = (motion.joints[:, hand, joint] for joint in (0, 5, 17))
        palm = np.cross(index - wrist, little - wrist)
        bend = (motion.joints[:, hand, [8, 12, 16]] - motion.joints[:, hand, [5, 9, 13]]).mean(1)
        assert np.sign((palm * bend).sum(-1).mean()) == (1 if side == 1 else -1)
    left, right = motion.joints.mean((0, 2))
    assert left[0] > right[0]  # the person sits at +y and looks towards -y
    same = scenes.build((0, 3))
    assert np.array_equal(same.extrinsics, motion.extrinsics)  # one rig a subject
    other = scenes.build((1, 2))
    assert not np.array_equal(other.hand_shape, motion.hand_shape)
    assert not np.array_equal(other.extrinsics, motion.extrinsics)


def test_the_tool(tmp_path, monkeypatch, capsys):
    def run(*words):
        main('make-data', ['--layout', 'hanco', *words])

    monkeypatch.chdir(tmp_path)
    run('--subjects', '1', '--sequences', '5', '--frames', '24', '--cameras', '1', '--workers', '1')
    assert 'data/synthetic_hanco: wrote 5 sequences, 120 frames' in capsys.readouterr().out
    assert (tmp_path / 'data' / 'synthetic_hanco' / 'meta.json').exists()
    with pytest.raises(SystemExit, match='2'):
        run('--sheet', 'x.png')
    assert "the layout 'hanco' has no images" in capsys.readouterr().err
