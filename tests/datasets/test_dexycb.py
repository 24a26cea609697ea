import os
import pickle
from itertools import product
from pathlib import Path

import dexycb_files as files
import numpy as np
import pytest
import torch
from samplings import centred
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from handpose.datasets import BrokenFrames, DatasetError, DexYCB
from handpose.datasets.dexycb.layout import hidden_share, read_intrinsics
from handpose.datasets.dexycb.splits import in_split
from handpose.geometry.camera import project_points
from handpose.registry import DATASETS
from handpose.structures import HandSequence

A, B = '932122061900', '932122062010'  # cameras 6 and 7 of the published order
LOAD = [{'type': 'LoadImages'}]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """One subject, 5 sequences, 2 cameras, 12 frames, no hand in frames 0, 5 and 11."""
    return files.write_root(tmp_path_factory.mktemp('dexycb'), frames=12, no_hand=(0, 5, 11))


def test_splits_match_the_published_table():
    # The table of the paper's supplement, written out as sets.
    subjects, positions, cameras = set(range(10)), set(range(100)), set(range(8))
    fifth, grasps = set(range(4, 100, 5)), lambda *kinds: {p for p in positions if p // 5 in kinds}
    held_out = grasps(3, 7, 11, 15, 19)
    table = {
        ('s0', 'train'): product(subjects, positions - fifth, cameras),
        ('s0', 'val'): product({0, 1}, fifth, cameras),
        ('s0', 'test'): product(subjects - {0, 1}, fifth, cameras),
        ('s1', 'train'): product(subjects - {6, 7, 8}, positions, cameras),
        ('s1', 'val'): product({6}, positions, cameras),
        ('s1', 'test'): product({7, 8}, positions, cameras),
        ('s2', 'train'): product(subjects, positions, cameras - {6, 7}),
        ('s2', 'val'): product(subjects, positions, {6}),
        ('s2', 'test'): product(subjects, positions, {7}),
        ('s3', 'train'): product(subjects, positions - held_out, cameras),
        ('s3', 'val'): product(subjects, grasps(3, 19), cameras),
        ('s3', 'test'): product(subjects, grasps(7, 11, 15), cameras),
    }
    for (setup, split), expected in table.items():
        everything = product(subjects, positions, cameras)
        assert {track for track in everything if in_split(setup, split, *track)} == set(expected), (setup, split)


def test_splits_on_disk(tmp_path):
    # Subjects 1, 3 and 7 (numbers 0, 2, 6), 20 sequences each, cameras 6 and 7, one frame.
    root = files.write_root(tmp_path, subjects=(1, 3, 7), sequences=20, frames=1)
    tracks = {
        ('s0', 'train'): 3 * 16 * 2, ('s0', 'val'): 4 * 2, ('s0', 'test'): 2 * 4 * 2,
        ('s1', 'train'): 2 * 20 * 2, ('s1', 'val'): 20 * 2, ('s1', 'test'): 0,
        ('s2', 'train'): 0, ('s2', 'val'): 60, ('s2', 'test'): 60,
        ('s3', 'train'): 3 * 15 * 2, ('s3', 'val'): 3 * 5 * 2, ('s3', 'test'): 0,
        ('all', 'train'): 120, ('all', 'test'): 120,
    }  # fmt: skip
    for (setup, split), count in tracks.items():
        if count:
            assert len(DexYCB(root, split=split, setup=setup)) == count, (setup, split)
        else:
            with pytest.raises(DatasetError, match='no annotated frame'):
                DexYCB(root, split=split, setup=setup)


def test_clip_has_the_labels_of_its_frames(root):
    dataset = DATASETS.build(
        dict(type='DexYCB', data_root=str(root), setup='all', sampling=centred(5, 2), pipeline=LOAD)
    )
    assert len(dataset) == 5 * 2 * 9
    clip = dataset[3].validate()  # the fourth annotated frame (1, 2, 3, 4, ...) of the first track
    assert clip.meta['frame_indices'] == [2, 2, 4, 6, 8]
    assert clip.frame_valid.tolist() == [False, True, True, True, True]
    assert clip.hand_valid[:, 0].tolist() == clip.frame_valid.tolist()
    assert not clip.joints_valid[0].any() and not clip.joints_2d_valid[0].any() and not clip.hand_pose_valid[0].any()
    assert clip.timestamps.tolist() == pytest.approx([2 / 30, 2 / 30, 4 / 30, 6 / 30, 8 / 30])
    for t, frame in enumerate(clip.meta['frame_indices']):
        expected = files.joints(frame)
        np.testing.assert_array_equal(clip.joints_3d[t, 0], expected)
        np.testing.assert_allclose(clip.joints_2d[t, 0, 0], files.pixels(expected), rtol=1e-6)
        box = [*files.pixels(expected).min(0), *files.pixels(expected).max(0)]
        np.testing.assert_allclose(clip.boxes[t, 0, 0], box, rtol=1e-6)
        pose = files.pose(frame)
        np.testing.assert_allclose(clip.hand_pose[t, 0].ravel(), pose[:48], atol=1e-7)
        np.testing.assert_array_equal(clip.hand_transl[t, 0], pose[48:])
    torch.testing.assert_close(project_points(clip.joints_3d, clip.intrinsics[:, 0, None]), clip.joints_2d[:, 0])
    np.testing.assert_allclose(clip.hand_shape[0], np.arange(10) / 10, rtol=1e-6)
    assert clip.object_boxes[0, 0].tolist() == [29.5, 9.5, 49.5, 19.5]
    assert clip.hand_side.tolist() == [1] and dataset[9 * 2].hand_side.tolist() == [0]
    assert clip.images.shape == (5, 1, 3, 72, 96) and clip.images[0, 0, 0].float().mean() > 190  # red comes first
    assert (
        clip.meta['image_size'] == (96, 72)
        and clip.meta['cameras'] == [A]
        and clip.meta['hand_model'] == 'procedural-1'
    )
    assert HandSequence.stack([clip, dataset[40]]).validate().joints_3d.shape == (2, 5, 1, 21, 3)


def test_coefficients_pass_through_the_basis_and_the_mean_of_their_side(root):
    random = np.random.default_rng(0)
    means, bases = random.normal(size=(2, 45)), random.normal(size=(2, 45, 45))

    class TwoSided:
        name = 'procedural-1'
        pose_mean_of = staticmethod(lambda side: torch.from_numpy(means[side]))
        pose_basis_of = staticmethod(lambda side: torch.from_numpy(bases[side]))

    dataset = DexYCB(root, setup='all', hand_model=TwoSided(), sampling=centred(1))
    for index in (0, 18):  # the first clip of the first (right) and of the second (left) sequence
        clip = dataset[index]
        side = int(clip.hand_side[0])
        expected = means[side] + files.pose(1)[3:48].astype(np.float64) @ bases[side]
        np.testing.assert_allclose(clip.hand_pose[0, 0, 1:].ravel(), expected, rtol=1e-4, atol=1e-5)
    assert (dataset[0].hand_side.item(), dataset[18].hand_side.item()) == (1, 0)


def test_tracks_keep_frames_without_a_hand(root):
    dataset = DexYCB(root, split='test', setup='s2')
    assert len(dataset) == 5
    track = dataset[1].validate()
    assert track.meta['frame_indices'] == list(range(1, 11)) and track.meta['cameras'] == [B]
    assert track.frame_valid.all() and track.hand_valid[:, 0].tolist() == [f != 5 for f in range(1, 11)]
    assert not track.joints_3d[4].any() and torch.equal(track.boxes[4], track.boxes[3])


def test_clip_step_counts_frames_of_each_track(root):
    dataset = DexYCB(root, split='test', setup='s2', sampling=centred(1, clip_step=4))
    assert [dataset[i].meta['frame_indices'] for i in range(4)] == [[1], [6], [10], [1]]


def test_world_frame(root):
    camera = DexYCB(root, setup='all', cameras=[B], sampling=centred(7, 10))[0]
    world = DexYCB(root, setup='all', frame='world', cameras=[B], sampling=centred(7, 10))[0].validate()
    rotation, shift = files.QUARTER_TURN[:, :3], files.QUARTER_TURN[:, 3]
    expected = camera.joints_3d.double().numpy() @ rotation.T + shift
    np.testing.assert_allclose(world.joints_3d, expected, atol=1e-6)
    seen = project_points(world.joints_3d, world.intrinsics[:, 0, None], world.extrinsics[:, 0, None])
    torch.testing.assert_close(seen, world.joints_2d[:, 0], atol=1e-3, rtol=0)
    rest_wrist = camera.joints_3d[0, 0, 0] - camera.hand_transl[0, 0]
    moved = rotation @ (camera.hand_transl[0, 0] + rest_wrist).numpy() + shift - rest_wrist.numpy()
    np.testing.assert_allclose(world.hand_transl[0, 0], moved, atol=1e-6)
    turned = Rotation.from_matrix(rotation) * Rotation.from_rotvec(files.pose(1)[:3])
    np.testing.assert_allclose(world.hand_pose[3, 0, 0], turned.as_rotvec(), atol=1e-6)


def test_occlusion_comes_from_the_file_else_from_seg(tmp_path):
    root = files.write_root(tmp_path, sequences=1, serials=(A,), frames=2)
    np.savez(files.label_file(root, 0), occlusion=np.float32([0.25]), **files.labels(0))
    clip = DexYCB(root, setup='all', sampling=centred(1))
    assert clip[0].occlusion.item() == 0.25
    assert clip[1].occlusion.isnan().all()  # the hand's silhouette lies on background
    grid = np.stack(np.meshgrid(np.arange(5) * 10 + 20, np.arange(5) * 10 + 20), -1).reshape(-1, 2)[:21]
    joints_3d = np.full((21, 3), 0.5)
    for left, right, expected in ((255, 255, 0.0), (255, 3, 0.5), (3, 3, 1.0)):
        seg = np.zeros((100, 80), np.uint8)
        seg[:, :40], seg[:, 40:] = left, right
        assert hidden_share(seg, grid, joints_3d, 300) == pytest.approx(expected, abs=0.1)


def test_joints_only_needs_no_hand_model_files(tmp_path):
    root = files.write_root(tmp_path, sequences=1, name=None)  # as a real root: no hand_model.yml
    for path in (*root.glob('calibration/mano_*/*'), *root.glob('calibration/extrinsics_*/*')):
        path.unlink()
    clip = DexYCB(root, split='val', setup='s2', labels='joints_only')[0].validate()
    assert clip.hand_pose is None and clip.meta['hand_model'] == 'mano' and clip.hand_valid.any()


def test_randomness_depends_on_seed_epoch_and_index_alone(root):
    pipeline = [lambda sample, rng: sample.replace(meta={**sample.meta, 'draw': float(rng.uniform())})]
    dataset = DexYCB(root, setup='all', seed=3, sampling=centred(1, clip_step=5), pipeline=pipeline)
    workers = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    draws = {}
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        draws[epoch] = [sample.meta['draw'] for sample in workers]
        assert draws[epoch] == [np.random.default_rng([3, epoch, i]).uniform() for i in range(len(dataset))]
    assert draws[0] != draws[1]
    tracks = DexYCB(root, split='test', setup='s2', pipeline=pipeline)
    tracks.set_epoch(7)
    assert tracks[1].meta['draw'] == np.random.default_rng([0, 7, 1]).uniform()


def test_index_is_built_once_and_again_when_the_tree_changes(tmp_path, monkeypatch):
    root = files.write_root(tmp_path / 'root', sequences=1, serials=(A,), frames=2)
    cache = tmp_path / 'cache'
    options = dict(setup='all', cache_dir=cache)
    assert len(DexYCB(root, **options)) == 1 and not (root / '.handpose_index').exists()
    monkeypatch.setattr('handpose.datasets.dexycb.layout.read_label', None)  # would fail if called
    dataset = DexYCB(root, **options)
    assert len(dataset) == 1 and len(pickle.dumps(dataset.index)) < 5000  # what a spawned worker gets
    monkeypatch.undo()
    next(cache.glob('*/labels.bin')).write_bytes(b'cut short')
    assert np.array_equal(DexYCB(root, **options)[0].joints_3d[1, 0], files.joints(1))
    os.remove(files.label_file(root, 1))
    assert len(DexYCB(root, **options, partial=True)[0].frame_valid) == 1
    blocked = tmp_path / 'blocked'
    blocked.write_text('')
    with pytest.raises(DatasetError, match=r'cannot be written to .* give the dataset a cache_dir'):
        DexYCB(root, setup='all', cache_dir=blocked)


def test_partial_root(tmp_path):
    root = files.write_root(tmp_path, sequences=1, serials=(A,), frames=6)
    files.label_file(root, 2).unlink()
    files.image_file(root, 4).unlink()
    with pytest.raises(DatasetError, match=r'2 unreadable frames .*labels_000002.npz is missing.* partial=True'):
        DexYCB(root, setup='all')
    clips = DexYCB(root, setup='all', partial=True, sampling=centred(3))
    assert [clips[i].meta['frame_indices'] for i in range(4)] == [[0, 0, 1], [0, 1, 1], [3, 3, 3], [5, 5, 5]]
    assert [s.split()[0][-10:] for s in DexYCB(root, setup='all', on_broken='skip').skipped] == [
        '000002.npz',
        '000004.jpg',
    ]
    assert DexYCB(root, setup='all', partial=True)[0].meta['frame_indices'] == [0, 1, 3, 5]


def _save(path, **changes):
    values = {**files.labels(1), **changes}
    np.savez(path, **{k: v for k, v in values.items() if v is not None})


BROKEN_LABELS = {
    'wrong key': (lambda p: _save(p, joint_3d=None, joints_3d=files.labels(1)['joint_3d']), "no 'joint_3d'"),
    'wrong shape': (lambda p: _save(p, pose_m=np.zeros((1, 48))), r"'pose_m' must have shape \(1, 51\), got \(1, 48\)"),
    'NaN': (lambda p: _save(p, joint_2d=np.full((1, 21, 2), np.nan)), "'joint_2d' holds NaN"),
    'truncated': (lambda p: p.write_bytes(p.read_bytes()[:700]), 'is damaged'),
    'empty': (lambda p: p.write_bytes(b''), 'is damaged'),
}


@pytest.mark.parametrize('case', BROKEN_LABELS)
def test_broken_label_files(tmp_path, case):
    breaks, sentence = BROKEN_LABELS[case]
    root = files.write_root(tmp_path, sequences=1, serials=(A,))
    breaks(files.label_file(root, 1))
    with pytest.raises(DatasetError, match=f'labels_000001.npz.*{sentence}'):
        DexYCB(root, setup='all')
    dataset = DexYCB(root, setup='all', on_broken='skip', sampling=centred(1))
    assert len(dataset) == 2 and len(dataset.skipped) == 1 and 'labels_000001.npz' in dataset.skipped[0]


BROKEN_IMAGES = {
    'truncated': (lambda p: p.write_bytes(p.read_bytes()[:-20]), 'is truncated'),
    'not an image': (lambda p: p.write_bytes(b'hello'), 'not an image'),
    'other size': (lambda p: p.write_bytes(_small_image()), 'is 8x6, but its camera is calibrated for 96x72'),
    'gone since': (lambda p: p.unlink(), 'cannot be read'),
}


def _small_image():
    import cv2

    return cv2.imencode('.jpg', np.zeros((6, 8, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize('case', BROKEN_IMAGES)
def test_broken_images(tmp_path, case):
    breaks, sentence = BROKEN_IMAGES[case]
    root = files.write_root(tmp_path, sequences=1, serials=(A,), frames=4)
    options = dict(data_root=root, setup='all', pipeline=LOAD)
    strict, lenient = (DexYCB(**options, sampling=centred(), on_broken=choice) for choice in ('error', 'skip'))
    tracks = DexYCB(**options, on_broken='skip')
    breaks(files.image_file(root, 1))
    with pytest.raises(BrokenFrames, match=f'color_000001.jpg.*{sentence}'):
        strict[1]
    frames = [s.meta['frame_indices'] for s in DataLoader(lenient, batch_size=None, num_workers=1)]
    assert frames == [[0], [2], [2], [3]]
    assert lenient.skipped == [f'20200709-subject-01/20200709_100000 camera {A} frame 1']  # though a worker met it
    assert tracks[0].meta['frame_indices'] == [0, 2, 3] and len(tracks.skipped) == 1


@pytest.mark.parametrize(
    'options, sentence',
    [
        (dict(setup='s4'), "setup must be one of .*'s4'. Did you mean"),
        (dict(split='trian'), "split must be one of .* Did you mean 'train'"),
        (dict(labels='joint_only'), "Did you mean 'joints_only'"),
        (dict(sampling={'type': 'Track'}), "Did you mean 'Tracks'"),
        (dict(sampling='tracks'), r"sampling must be dict\(type='Tracks'\), .*got 'tracks'"),
        (dict(on_broken='ignore'), "on_broken must be one of 'error', 'skip'"),
        (dict(cameras=['932122061901']), "no camera '932122061901' .* Did you mean '932122061900'"),
        (dict(setup='s2', split='train'), "split 'train' of setup 's2' has no annotated frame"),
        (dict(fps=0), 'fps must be a positive number or None, got 0'),
        (dict(data_root='nowhere'), r'nowhere, which does not exist.*dex-ycb.github.io.*handpose make-data'),
    ],
)
def test_wrong_options(root, options, sentence):
    with pytest.raises((ValueError, KeyError), match=sentence):
        DexYCB(**{'data_root': root, 'setup': 'all', **options})


def test_roots_that_do_not_fit(tmp_path):
    root = files.write_root(tmp_path / 'a', sequences=1, serials=(A,), frames=1, name='procedural-0')
    with pytest.raises(DatasetError, match=r"'procedural-0', but hand_model is 'procedural-1'.*joints_only"):
        DexYCB(root, setup='all')
    root = files.write_root(tmp_path / 'b', sequences=1, serials=(A,), frames=1, name=None)
    with pytest.raises(DatasetError, match=r'1 of its 100 sequences.*.all'):
        DexYCB(root, setup='s0', labels='joints_only')
    (root / 'calibration' / 'intrinsics' / f'{A}_96x72.yml').rename(root / 'calibration/intrinsics/7_96x72.yml')
    with pytest.raises(DatasetError, match=rf'meta.yml names camera {A}, which has no file'):
        DexYCB(root, setup='all', labels='joints_only')
    root = files.write_root(tmp_path / 'c', sequences=1, serials=(A,), frames=1)
    files.write_yaml(root / 'calibration' / 'mano_right' / 'mano.yml', {'beta': []})
    with pytest.raises(DatasetError, match=r"mano.yml has no key 'betas'"):
        DexYCB(root, setup='all')
    files.write_yaml(
        root / 'calibration' / 'extrinsics_a' / 'extrinsics.yml', {'extrinsics': {'1': np.eye(4)[:3].ravel().tolist()}}
    )
    with pytest.raises(DatasetError, match=rf'extrinsics.yml has no camera {A}'):
        DexYCB(root, setup='all', labels='joints_only', frame='world')


def test_real_sample(tmp_path):
    folder = os.environ.get('HANDPOSE_REAL_DATA')
    if not folder:
        pytest.skip('HANDPOSE_REAL_DATA does not name a folder with dexycb_sample')
    options = dict(
        setup='all', sampling=centred(7), labels='joints_only', partial=True, cache_dir=tmp_path, pipeline=LOAD
    )
    dataset = DexYCB(Path(folder) / 'dexycb_sample', **options)
    assert len(dataset) == 1
    clip = dataset[0].validate()
    assert clip.meta['frame_indices'] == [1] * 7 and clip.frame_valid.tolist() == [False] * 3 + [True] + [False] * 3
    seen = project_points(clip.joints_3d[3], clip.intrinsics[3])
    assert (seen - clip.joints_2d[3, 0]).abs().max() < 1
    assert clip.images.shape == (7, 1, 3, 480, 640) and clip.images.float().std() > 30


def test_hidden_files_are_no_calibration(tmp_path):
    """macOS writes `._NAME` beside every file that it unpacks onto a foreign disk."""
    root = files.write_root(tmp_path / '[red]root')
    before = read_intrinsics(root)
    (root / 'calibration' / 'intrinsics' / '._932122061900_96x72.yml').write_bytes(b'\0\5\26\7')
    after = read_intrinsics(root)
    assert list(after) == list(before) and all((after[serial][0] == before[serial][0]).all() for serial in after)
    path = root / 'calibration' / 'intrinsics' / '932122061900_96x72.yml'
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(DatasetError, match=r'\[red\]root/.*96x72.yml is a symbolic link that leads back to itself'):
        read_intrinsics(root)
