import io
import os
import time
import zipfile

import dexycb_files as files
import numpy as np
import pytest
from samplings import centred

from handpose.datasets import DatasetError, DexYCB
from handpose.datasets.dexycb.index import open_index
from handpose.datasets.dexycb.layout import read_intrinsics

A = '932122061900'
FILES = ('labels.bin', 'status.bin', 'tracks.json')


def contents(index):
    """Everything that a reader takes from an index."""
    labels = b''.join(index.track_labels(track).tobytes() for track in range(len(index.track_serial)))
    return labels, index.status.tobytes(), index.broken, index.sequences, index.track_start.tolist(), index.track_serial


@pytest.fixture
def built(tmp_path):
    root = files.write_root(tmp_path, sequences=2, serials=(A,), frames=3, no_hand=(2,))
    files.label_file(root, 1).write_bytes(b'damaged')
    cameras = read_intrinsics(root)
    return root, cameras, open_index(root, cameras)


@pytest.mark.parametrize('name', FILES)
def test_every_flipped_byte_is_detected_or_harmless(built, name):
    """Damage to any file of the index leads to a new one with the same contents, never to other labels."""
    root, cameras, index = built
    expected, path = contents(index), root / '.handpose_index' / name
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    positions = {0, len(whole) - 1, *rng.integers(0, len(whole), 40).tolist()}
    for position in sorted(positions):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        assert contents(open_index(root, cameras)) == expected, position
    for damaged in (b'', whole[:-1], whole[: len(whole) // 2], whole + b'0', b'[' * 100_000, b'null'):
        path.write_bytes(damaged)
        assert contents(open_index(root, cameras)) == expected
    path.unlink()
    assert contents(open_index(root, cameras)) == expected
    assert path.read_bytes() == whole


def test_labels_that_change_while_they_are_read(built):
    _, _, index = built
    path = index.folder / 'labels.bin'
    whole = path.read_bytes()
    for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:10], b''):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r'labels\.bin has changed since it was opened'):
            index.track_labels(0)


def test_folders_of_killed_processes_are_removed(built):
    root, cameras, _ = built
    old, running = root / '.handpose_index.old', root / '.handpose_index.new'
    for folder in (old, running):
        folder.mkdir()
        (folder / 'labels.bin').write_bytes(b'0')
    for path in (old / 'labels.bin', old):
        os.utime(path, (time.time() - 90_000,) * 2)
    (root / '.handpose_index' / 'tracks.json').unlink()
    open_index(root, cameras)
    assert running.exists() and not old.exists()
    assert sorted(p.name for p in (root / '.handpose_index').iterdir()) == sorted(FILES)


def save(path, **changes):
    np.savez(path, **{k: v for k, v in {**files.labels(1), **changes}.items() if v is not None})


def save_header(path, header):
    """A label whose joint_3d has another header of the same length."""
    save(path, joint_3d=None)
    buffer = io.BytesIO()
    np.save(buffer, files.labels(1)['joint_3d'])
    data = buffer.getvalue()
    length = int.from_bytes(data[8:10], 'little')
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr(
            'joint_3d.npy', data[:10] + header.ljust(length - 1)[: length - 1] + b'\n' + data[10 + length :]
        )


def moved(by):
    joints = files.labels(1)['joint_3d']
    return {'joint_3d': joints + np.float32(by)}


BROKEN = {
    'joints NaN': lambda p: save(p, joint_3d=np.full((1, 21, 3), np.nan, np.float32)),
    'joints 1e20': lambda p: save(p, **moved(1e20)),
    'behind the camera': lambda p: save(p, **moved((0, 0, -1))),
    'millimetres': lambda p: save(p, joint_3d=1000 * files.labels(1)['joint_3d']),
    'pose NaN': lambda p: save(p, pose_m=np.full((1, 51), np.nan, np.float32)),
    'pose 1e20': lambda p: save(p, pose_m=np.full((1, 51), 1e20, np.float32)),
    'text': lambda p: save(p, joint_2d=np.full((1, 21, 2), 'x')),
    'objects': lambda p: save(p, joint_2d=np.full((1, 21, 2), None)),
    'seg of one axis': lambda p: save(p, seg=np.zeros(72, np.uint8)),
    'seg of text': lambda p: save(p, seg=np.full((72, 96), 'x')),
    'no occlusion': lambda p: save(p, occlusion=np.zeros(0, np.float32)),
    'occlusion 7': lambda p: save(p, occlusion=np.float32([7])),
    'truncated': lambda p: p.write_bytes(p.read_bytes()[:700]),
    'zeros': lambda p: p.write_bytes(bytes(1000)),
    'a folder': lambda p: (p.unlink(), p.mkdir()),
    'header without end': lambda p: save_header(p, b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 21, "),
    'header of other keys': lambda p: save_header(p, b"{'a': 1}"),
    'header is code': lambda p: save_header(p, b"__import__('os').getcwd()"),
    'header is deep': lambda p: save_header(p, b'(' * 100),
    'header of 1e12 joints': lambda p: save_header(
        p, b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 21, 3), }"
    ),
    'header of bad type': lambda p: save_header(p, b"{'descr': '<q9', 'fortran_order': False, 'shape': (1, 21, 3), }"),
}


@pytest.mark.parametrize('case', BROKEN)
def test_one_broken_label_is_listed_and_the_others_are_read(tmp_path, case):
    root = files.write_root(tmp_path, sequences=1, serials=(A,))
    BROKEN[case](files.label_file(root, 1))
    with pytest.raises(DatasetError, match=r'labels_000001\.npz'):
        DexYCB(root, setup='all')
    dataset = DexYCB(root, setup='all', on_broken='skip', sampling=centred(1))
    assert len(dataset.skipped) == 1 and 'labels_000001.npz' in dataset.skipped[0]
    for clip, frame in zip(dataset, (0, 2), strict=True):
        np.testing.assert_array_equal(clip.joints_3d[0, 0], files.joints(frame))


CALIBRATION = {
    'negative focal': ('intrinsics/{A}_96x72.yml', {'color': {'fx': -120.0, 'fy': 122.0, 'ppx': 47.0, 'ppy': 35.0}}),
    'no focal': ('intrinsics/{A}_96x72.yml', {'color': {'fx': 120.0, 'fy': 0.0, 'ppx': 47.0, 'ppy': 35.0}}),
    'of a larger image': ('intrinsics/{A}_96x72.yml', {'color': {'fx': 240.0, 'fy': 244.0, 'ppx': 94.0, 'ppy': 75.0}}),
    'betas NaN': ('mano_right/mano.yml', {'betas': [0.0] * 9 + [float('nan')]}),
    'betas 1e9': ('mano_right/mano.yml', {'betas': [0.0] * 9 + [1e9]}),
    'scaled': ('extrinsics_a/extrinsics.yml', {'extrinsics': {A: (1.1 * np.eye(4)[:3]).ravel().tolist()}}),
    'mirrored': ('extrinsics_a/extrinsics.yml', {'extrinsics': {A: np.diag([1.0, 1, -1, 1])[:3].ravel().tolist()}}),
    'millimetres': (
        'extrinsics_a/extrinsics.yml',
        {'extrinsics': {A: [1.0, 0, 0, 700.0, 0, 1, 0, 0, 0, 0, 1, 0]}},
    ),
}
SENTENCES = {
    'negative focal': 'focal lengths must be positive', 'no focal': 'focal lengths must be positive',
    'of a larger image': r'principal point .* is not in the image of 96x72 pixels', 'betas NaN': 'betas.* holds NaN',
    'betas 1e9': 'betas.* at most 20', 'scaled': 'hold no rotation', 'mirrored': 'mirror space',
    'millimetres': 'are its numbers millimetres',
}  # fmt: skip


@pytest.mark.parametrize('case', CALIBRATION)
def test_calibration_that_cannot_be(tmp_path, case):
    root = files.write_root(tmp_path, sequences=1, serials=(A,), frames=1)
    name, values = CALIBRATION[case]
    path = root / 'calibration' / name.format(A=A)
    files.write_yaml(path, values)
    with pytest.raises(DatasetError, match=f'{path.name}.*{SENTENCES[case]}'):
        DexYCB(root, setup='all', frame='world')
