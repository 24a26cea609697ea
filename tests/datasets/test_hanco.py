import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ho3d_files import write_plain
from pose_layouts import CAMERAS, FRAMES, SEQUENCES, change, check_pixels, true_joints, write
from scipy.spatial.transform import Rotation

from handpose.datasets import DatasetError, HanCo
from handpose.hands import MANO, ProceduralHand

TRAIN = 10  # of 15 sequences


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('hanco') / 'data'
    return root, write(root, 'hanco')


@pytest.fixture
def root(data, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(data[0], tmp_path / 'copy', ignore=shutil.ignore_patterns('generator')))


def open_split(root, split, **options):
    return HanCo(root, split, train_sequences=TRAIN, **options)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_tracks_are_the_generator_s(data, split):
    root, layout = data
    model, tracks = ProceduralHand(), open_split(root, split)
    assert len(tracks) == {'train': TRAIN, 'test': 15 - TRAIN}[split] * CAMERAS
    for track in tracks:
        track.validate()
        number, camera = int(track.meta['sequence']), int(track.meta['cameras'][0][3:])
        motion = layout.read_scene(*divmod(number, SEQUENCES))
        assert len(track.frame_valid) == FRAMES and track.hand_side.tolist() == [1]
        assert track.hand_valid.all() and (track.hand_pose_valid.numpy() == motion.hand_valid).all()
        assert np.abs(track.joints_3d.double().numpy() - true_joints(motion, camera)).max() < 1e-6
        check_pixels(track)
        pixels = track.joints_2d[:, 0, 0]
        assert pixels.min() > 0 and pixels.max() < 255  # the picture follows the hand
        assert (track.intrinsics[0] - track.intrinsics[20]).abs().max() > 0.1
        shape = track.hand_shape.expand(len(track.frame_valid), 1, 10)
        mesh = model(track.hand_pose, shape, track.hand_transl, track.hand_side)
        assert (mesh.joints - track.joints_3d)[track.hand_pose_valid].abs().max() < 2e-6
        assert track.meta['frame_indices'] == list(range(FRAMES)) == track.meta['official_indices']
        assert track.meta['fps'] == 30 and 0 < track.hand_pose_valid.sum() < FRAMES


def test_splits_by_number(data):
    root, _ = data

    def numbers(split, **options):
        return {int(t.meta['sequence']) for t in HanCo(root, split, labels='joints_only', **options)}

    assert numbers('train', train_sequences=12) == set(range(12))
    assert numbers('test', train_sequences=12) == {12, 13, 14}
    assert numbers('train', train_sequences=12, held_out=3) == set(range(9))
    assert numbers('val', train_sequences=12, held_out=3) == {9, 10, 11}
    with pytest.raises(DatasetError, match=r"'test' has no sequence: .*meta.json names 15.* train_sequences=1200"):
        HanCo(root, 'test')
    with pytest.raises(DatasetError, match='no validation split; say how many'):
        HanCo(root, 'val')
    with pytest.raises(DatasetError, match='held_out must be at least 0 and leave some of the 10'):
        HanCo(root, 'train', train_sequences=10, held_out=10)


def test_frames_that_count(data):
    root, layout = data
    tracks = {a: open_split(root, 'test', annotated=a, cameras=1) for a in ('all', 'has_fit', 'is_valid')}
    for whole, fitted, valid in zip(*tracks.values(), strict=True):
        motion = layout.read_scene(*divmod(int(whole.meta['sequence']), SEQUENCES))
        frames = np.flatnonzero(motion.hand_valid[:, 0])
        assert whole.hand_valid.sum() == FRAMES
        for track, known in ((fitted, frames), (valid, frames[frames % 6 != 5])):
            track.validate()
            assert np.array(track.meta['frame_indices'])[track.hand_valid[:, 0].numpy()].tolist() == known.tolist()
            assert track.meta['frame_indices'] == list(range(known[0], known[-1] + 1))
            assert torch.equal(track.hand_pose_valid, track.hand_valid)
            # An unannotated frame has the camera of the nearest annotated one.
            assert (track.intrinsics[:, 0, 0, 0] > 0).all()


def test_frames_without_joints_are_absent(root):
    (root / 'xyz' / '0010' / '00000007.json').unlink()
    track = open_split(root, 'test')[0].validate()
    assert not track.hand_valid[7] and not track.hand_pose_valid[7] and track.hand_valid.sum() == FRAMES - 1
    assert track.meta['official_indices'][7] == -1 and track.meta['frame_indices'][7] == 7


def test_the_world_leads_to_the_camera_and_not_back(root):
    """M is world to camera: the point (0, 0, 1) of the world, seen by a camera moved one metre along its own z."""
    calibration = json.loads((root / 'calib' / '0010' / '00000000.json').read_text())
    matrix = np.eye(4)
    matrix[:3, 3] = 0, 0, 1
    calibration['M'][1] = matrix.tolist()
    (root / 'calib' / '0010' / '00000000.json').write_text(json.dumps(calibration))
    hand = [[joint / 128, 0, 1] for joint in range(21)]
    (root / 'xyz' / '0010' / '00000000.json').write_text(json.dumps(hand))
    track = open_split(root, 'test', cameras=['cam1'], labels='joints_only')[0]
    assert track.joints_3d[0, 0].tolist() == [[x, y, z + 1] for x, y, z in hand]


def test_mano_parameters(root, tmp_path):
    (root / 'hand_model.yml').unlink()
    (tmp_path / 'mano').mkdir()
    write_plain(tmp_path / 'mano')
    model = MANO(tmp_path / 'mano')
    for path in (root / 'shape' / '0010').iterdir():  # the files' hand model has its wrist at rest elsewhere
        wrist = json.loads((root / 'xyz' / '0010' / path.name).read_text())[0]
        rest = model.rest_wrist(torch.tensor(json.loads(path.read_text())['shapes'])[0], torch.tensor(1)).numpy()
        change(path, lambda c, transl=wrist - rest: c.update(global_t=[transl.tolist()]))
    track = open_split(root, 'test', hand_model=model)[1].validate()
    for t in np.flatnonzero(track.hand_pose_valid[:, 0].numpy())[[0, 9, -1]]:
        entry = json.loads((root / 'shape' / '0010' / f'{t:08d}.json').read_text())
        matrix = np.array(json.loads((root / 'calib' / '0010' / f'{t:08d}.json').read_text())['M'][1])
        pose, shape, transl = (torch.tensor(entry[k]).float()[0] for k in ('poses', 'shapes', 'global_t'))
        pose[3:] += model.pose_mean_of(1)
        world = model(pose.reshape(16, 3), shape, transl, torch.tensor(1)).vertices.double().numpy()
        expected = Rotation.from_matrix(matrix[:3, :3]).apply(world) + matrix[:3, 3]
        ours = (track.hand_pose[t, 0], track.hand_shape[0], track.hand_transl[t, 0])
        assert np.abs(model(*ours, torch.tensor(1)).vertices.numpy() - expected).max() < 1e-5


def test_files_that_are_not_as_they_should_be(root, tmp_path):
    with pytest.raises(DatasetError, match=r'does not exist\. Download .*--layout hanco'):
        HanCo(tmp_path / 'nothing')
    for name, value in {'split': 'tset', 'annotated': 'some', 'labels': ''}.items():
        with pytest.raises(DatasetError, match=f'{name} must be one of'):
            HanCo(root, **{name: value})
    with pytest.raises(DatasetError, match=r"cameras names 'cam8', which .*calib lacks .*it has cam0, cam1"):
        open_split(root, 'test', cameras=['cam8'])
    calib, xyz, shape = (root / name / '0010' / '00000000.json' for name in ('calib', 'xyz', 'shape'))
    text = shape.read_text()
    change(shape, lambda c: c.pop('global_t'))
    with pytest.raises(DatasetError, match=r"00000000.json has no 'global_t' \(it has: poses, shapes\)"):
        open_split(root, 'test')[0]
    shape.unlink()
    with pytest.raises(DatasetError, match=r'shape/0010/00000000.json does not exist'):
        open_split(root, 'test')[0]
    shape.write_text(text)
    for path in shape.parent.iterdir():
        change(path, lambda c: c.update(global_t=[[1000 * v for v in c['global_t'][0]]]))
    with pytest.raises(DatasetError, match="shape/0010: the hand model's wrist is"):
        open_split(root, 'test')[0]
    text = calib.read_text()
    change(calib, lambda c: c['M'].pop())
    with pytest.raises(DatasetError, match='K and M must have as many cameras'):
        open_split(root, 'test', labels='joints_only')[0]
    calib.write_text(text)
    xyz.write_text('{}')
    with pytest.raises(DatasetError, match=r'00000000.json must hold a list, but holds keys with values'):
        open_split(root, 'test', labels='joints_only')[0]
    change(root / 'meta.json', lambda c: c['is_valid'].pop())
    with pytest.raises(DatasetError, match="'has_fit' and 'is_valid' must be of the same frames"):
        open_split(root, 'test')
    change(root / 'meta.json', lambda c: c.pop('is_valid'))
    with pytest.raises(DatasetError, match=r"meta.json has no 'is_valid'"):
        open_split(root, 'test')
    (root / 'meta.json').unlink()
    with pytest.raises(DatasetError, match=r'does not hold meta.json \(it is in HanCo_calib_meta.zip\)'):
        open_split(root, 'test')


def test_a_split_without_joints(root):
    shutil.rmtree(root / 'xyz')
    with pytest.raises(DatasetError, match=r"none of the 5 sequences of split 'test' has a frame with joints"):
        open_split(root, 'test')
