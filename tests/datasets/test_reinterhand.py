import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ho3d_files import write_plain
from pose_layouts import CAMERAS, FRAMES, change, check_hands_of_clip, true_joints, write
from scipy.spatial.transform import Rotation

from handpose.datasets import DatasetError, ReInterHand
from handpose.hands import MANO
from handpose.synthesis.layouts.reinterhand import CAMERAS as NAMES

TEST, VAL = 'm--20221215--0949--RNS217', 'm--20230317--1433--TRO760'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('reinterhand') / 'data'
    return root, write(root, 'reinterhand')


@pytest.fixture
def root(data, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(data[0], tmp_path / 'copy', ignore=shutil.ignore_patterns('generator')))


def capture(root, start=TEST):
    return next(root.glob(f'{start}*'))


def open_split(root, split, **options):
    held_out = ['TRO760'] if split != 'test' else []
    return ReInterHand(root, split, held_out=held_out, **options)


@pytest.mark.parametrize('joints', ['orig_fits', 'keypoints_orig'])
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_tracks_are_the_generator_s(data, split, joints):
    root, layout = data
    tracks = open_split(root, split, joints=joints)
    assert len(tracks) == 5 * CAMERAS
    subject = {'train': 0, 'test': 1, 'val': 2}[split]
    for track in tracks:
        track.validate()
        motion = layout.read_scene(subject, int(track.meta['sequence'].split('/')[1][:3]))
        camera = NAMES.index(track.meta['cameras'][0])
        annotated = motion.hand_valid
        if joints == 'keypoints_orig':  # one file for both hands
            annotated = np.repeat(annotated.all(1, keepdims=True), 2, 1)
        assert len(track.frame_valid) == FRAMES and track.hand_side.tolist() == [0, 1]
        assert (track.hand_valid.numpy() == annotated).all()
        difference = track.joints_3d.double().numpy() - true_joints(motion, camera)
        assert np.abs(difference)[annotated].max() < 1e-6
        assert torch.equal(track.joints_valid.all(-1), track.hand_valid)
        check_hands_of_clip(track)
        indices, numbers = np.array(track.meta['frame_indices']), np.array(track.meta['official_indices'])
        known = annotated.any(1)
        assert (np.diff(indices) == 1).all() and (numbers[known] == 3 * indices[known]).all()
        assert (numbers[~known] == -1).all() and track.meta['fps'] == 30


def test_splits_by_capture(data):
    root, _ = data
    ids = {
        split: {t.meta['sequence'].split('--')[3] for t in open_split(root, split)}
        for split in ('train', 'val', 'test')
    }
    assert ids == {'train': {'BKS383'}, 'val': {'TRO760'}, 'test': {'RNS217'}}
    without = ReInterHand(root, 'train', test_captures=[capture(root).name])
    assert {t.meta['sequence'].split('--')[3] for t in without} == {'BKS383', 'TRO760'}
    with pytest.raises(DatasetError, match=r"held_out names 'TRO76', which .* Did you mean 'TRO760'"):
        ReInterHand(root, 'train', held_out=['TRO76'])
    with pytest.raises(DatasetError, match='no validation split; name captures to hold out'):
        ReInterHand(root, 'val')
    with pytest.raises(DatasetError, match="'TRO760' is in held_out and in test_captures"):
        ReInterHand(root, 'val', held_out=['TRO760'], test_captures=['TRO760'])
    with pytest.raises(
        DatasetError, match=r"split 'test' has no capture in .*BKS383, RNS217, TRO760; test_captures are X"
    ):
        ReInterHand(root, 'test', test_captures=['X'])


def test_the_24_joints_on_disk(root):
    """Thumb_0, Pinky_0 and the forearm are left out; the other names go where the common order has them."""
    names = [
        'wrist', 'Thumb_0', 'Thumb_1', 'Thumb_2', 'Thumb_3', 'Thumb_4', 'Index_1', 'Index_2', 'Index_3', 'Index_4',
        'Middle_1', 'Middle_2', 'Middle_3', 'Middle_4', 'Ring_1', 'Ring_2', 'Ring_3', 'Ring_4',
        'Pinky_0', 'Pinky_1', 'Pinky_2', 'Pinky_3', 'Pinky_4', 'Forearm_Stub',
    ]  # fmt: skip
    kept = ['wrist', *(f'{f}_{i}' for f in ('Thumb', 'Index', 'Middle', 'Ring', 'Pinky') for i in range(1, 5))]
    first = open_split(root, 'test', labels='joints_only')[0].meta
    number = first['official_indices'][0]
    path = capture(root) / 'orig_fits' / 'left' / 'Keypoints' / f'keypoint-{number:06d}.json'
    path.write_text(json.dumps([[5 * joint, 0, 1000] for joint in range(24)]))
    cameras = capture(root) / 'Mugsy_cameras' / 'cam_params.json'
    change(cameras, lambda c: c[first['cameras'][0]].update(R=np.eye(3).tolist(), t=[100, 0, 0]))
    track = open_split(root, 'test', labels='joints_only')[0]
    found = (track.joints_3d[0, 0, :, 0] - 0.1) * 200  # the translation, too, is in millimetres
    assert [names[round(float(x))] for x in found] == kept


def test_missing_joints_of_keypoints_orig(root):
    number = open_split(root, 'test')[0].meta['official_indices'][0]
    path = capture(root) / 'keypoints_orig' / 'keypoints_orig' / f'{number}.json'
    points = json.loads(path.read_text())
    points[0], points[41] = [None] * 3, [float('nan')] * 3  # the right thumb's tip and the left wrist
    path.write_text(json.dumps(points))
    track = open_split(root, 'test', joints='keypoints_orig')[0].validate()
    assert track.hand_valid[0].tolist() == [False, True] and track.joints_valid[0, 1].sum() == 20
    assert not track.joints_valid[0, 1, 4]


def test_zero_padding_differs_between_folders(data):
    folder = capture(data[0])
    assert all(len(p.stem) == len('keypoint-000000') for p in folder.glob('orig_fits/*/Keypoints/*'))
    assert {len(p.stem) for p in folder.glob('keypoints_orig/keypoints_orig/*')} <= {3, 4}


def test_mano_parameters(root, tmp_path):
    (root / 'hand_model.yml').unlink()
    (tmp_path / 'mano').mkdir()
    write_plain(tmp_path / 'mano')
    model = MANO(tmp_path / 'mano', left_shapedirs='fixed')
    track = open_split(root, 'test', hand_model=model)[-1].validate()
    camera = json.loads((capture(root) / 'Mugsy_cameras' / 'cam_params.json').read_text())[track.meta['cameras'][0]]
    for t in (0, 5, -1):
        for hand, side in enumerate(('left', 'right')):
            if not track.hand_pose_valid[t, hand]:
                continue
            path = capture(root) / 'mano_fits' / 'params' / f'{track.meta["official_indices"][t]}_{side}.json'
            entry = json.loads(path.read_text())
            pose = np.array(entry['pose'])
            fingers = pose[3:] + model.pose_mean_of(hand).numpy()
            assert np.abs(track.hand_pose[t, hand, 1:].reshape(45).numpy() - fingers).max() < 1e-5
            whole = torch.tensor(np.concatenate([pose[:3], fingers])).float().reshape(16, 3)
            shape, transl = torch.tensor(entry['shape']).float(), torch.tensor(entry['trans']).float()
            world = model(whole, shape, transl, torch.tensor(hand)).vertices.double().numpy()
            expected = Rotation.from_matrix(camera['R']).apply(world) + np.array(camera['t']) / 1000
            ours = (track.hand_pose[t, hand], track.hand_shape[hand], track.hand_transl[t, hand])
            assert np.abs(model(*ours, torch.tensor(hand)).vertices.numpy() - expected).max() < 1e-5


def test_a_translation_in_another_unit_is_refused(root):
    for path in (capture(root) / 'mano_fits' / 'params').iterdir():
        change(path, lambda c: c.update(trans=[1000 * v for v in c['trans']]))
    with pytest.raises(DatasetError, match=r"mano_fits/params, .*: the hand model's wrist is .* m from the annotated"):
        open_split(root, 'test')[0]
    open_split(root, 'test', labels='joints_only')[0].validate()


def test_hands_without_files(root):
    number = open_split(root, 'test')[0].meta['official_indices'][0]
    (capture(root) / 'orig_fits' / 'left' / 'Keypoints' / f'keypoint-{number:06d}.json').unlink()
    (capture(root) / 'mano_fits' / 'params' / f'{number}_right.json').unlink()
    track = open_split(root, 'test')[0].validate()
    assert track.hand_valid[0].tolist() == [False, True] and track.hand_pose_valid[0].tolist() == [False, False]


@pytest.mark.parametrize(
    ('file', 'edit', 'sentence'),
    [
        ('Mugsy_cameras/cam_params.json', lambda c: c[NAMES[0]].pop('R'), "camera 400262 has no 'R'"),
        ('Mugsy_cameras/cam_params.json', lambda c: c[NAMES[0]].update(D=[0] * 4), 'only pinhole cameras are read'),
        ('Mugsy_cameras/cam_params.json', lambda c: c[NAMES[0]].update(t=[0, 0]), r't must have shape \(3,\), got'),
    ],
)
def test_files_that_are_not_as_they_should_be(root, file, edit, sentence):
    change(capture(root) / file, edit)
    with pytest.raises(DatasetError, match=sentence):
        open_split(root, 'test')


def test_frame_lists_missing_files_and_unknown_options(root, tmp_path):
    with pytest.raises(DatasetError, match=r'does not exist\. Download .*--layout reinterhand'):
        ReInterHand(tmp_path / 'nothing')
    for name, value in {'split': 'tset', 'joints': 'mano', 'labels': ''}.items():
        with pytest.raises(DatasetError, match=f'{name} must be one of'):
            ReInterHand(root, **{name: value})
    with pytest.raises(DatasetError, match=r"cameras names '1', which .*cam_params.json lacks"):
        ReInterHand(root, cameras=['1'])
    path = capture(root) / 'frame_list.txt'
    text = path.read_text()
    path.write_text(text.replace(' 300\n', ' three\n'))
    with pytest.raises(DatasetError, match=r"frame_list.txt, line 1: expected '<segment> <frame number>'"):
        open_split(root, 'test')
    path.write_text('\n'.join(f'one {n}' for n in range(300, 400)))
    with pytest.raises(DatasetError, match=r'mostly rise by 1; those of frame_list.txt, 30 a second, rise by 3'):
        open_split(root, 'test')
    path.write_text(text)
    number = open_split(root, 'test', labels='joints_only')[0].meta['official_indices'][0]
    (capture(root) / 'orig_fits' / 'left' / 'Keypoints' / f'keypoint-{number:06d}.json').write_text('[[0, 0, 0]]')
    with pytest.raises(DatasetError, match=r'keypoint-000\d+.json must have shape \(24, 3\), got \(1, 3\)'):
        open_split(root, 'test', labels='joints_only')[0]
    shutil.rmtree(capture(root) / 'mano_fits')
    with pytest.raises(DatasetError, match='params does not exist; unpack mano_fits'):
        open_split(root, 'test', joints='keypoints_orig')[0]
    shutil.rmtree(capture(root) / 'orig_fits')
    with pytest.raises(DatasetError, match="unpack orig_fits, or choose joints='keypoints_orig'"):
        open_split(root, 'test')
