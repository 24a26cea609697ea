import hashlib
import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from samplings import centred

from handpose.datasets import HO3D
from handpose.hands import ProceduralHand
from handpose.synthesis import MultiViewOptions, contact_sheet, options_from_dict, write_dataset

SIZE, FRAMES, CAMERAS = 64, 24, 2
TRAIN_KEYS = {
    'camMat': (3, 3), 'handJoints3D': (21, 3), 'handPose': (48,), 'handTrans': (3,), 'handBeta': (10,),
    'objRot': (3, 1), 'objTrans': (3,), 'objCorners3D': (8, 3), 'objCorners3DRest': (8, 3),
}  # fmt: skip


def options(root, **changes):
    values = dict(root=str(root), subjects=1, sequences=5, frames=FRAMES, cameras=CAMERAS, size=SIZE, seed=3)
    return MultiViewOptions(**{**values, 'workers': 1, 'layout': 'ho3d', **changes})


def digest(root):
    files = sorted(p for p in Path(root).rglob('*') if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic') / 'ho3d'
    summary = write_dataset(options(root))
    assert (
        summary.frames == 5 * FRAMES * CAMERAS
        and min(summary.measured['fingertips_within_3_mm'], summary.measured['penetration_below_2_mm']) >= 0.99
    )
    return root


def lines(root, part):
    return (root / f'{part}.txt').read_text().split()


def test_files_keys_and_shapes(root):
    assert yaml.safe_load((root / 'hand_model.yml').read_text()) == {'name': 'procedural-1'}
    names = {part: sorted(p.name for p in (root / part).iterdir()) for part in ('train', 'evaluation')}
    assert names['evaluation'] == ['P01S040', 'P01S041'] and len(names['train']) == 4 * CAMERAS
    for part in names:
        listed = set(lines(root, part))
        assert len(listed) == len(lines(root, part)) > 0
        for name in names[part]:
            folder = root / part / name
            assert [len(list((folder / f).iterdir())) for f in ('rgb', 'depth', 'meta')] == [FRAMES] * 3
            for frame in range(FRAMES):
                values = pickle.loads((folder / 'meta' / f'{frame:04d}.pkl').read_bytes(), encoding='latin1')
                if f'{name}/{frame:04d}' not in listed:
                    assert values and all(value is None for value in values.values())
                    continue
                shapes = {key: np.shape(value) for key, value in values.items() if np.ndim(value)}
                if part == 'train':
                    assert shapes == TRAIN_KEYS and 0 <= values['occlusion'] <= 1
                else:
                    assert shapes['handJoints3D'] == (3,) and shapes['handBoundingBox'] == (4,)
                    assert not {'handPose', 'handTrans', 'handBeta'} & set(values)
            assert any(f'{name}/{frame:04d}' not in listed for frame in range(FRAMES))


def test_pictures_and_depth(root):
    folder = root / 'train' / 'P01S000'
    frame = int(next(line for line in lines(root, 'train') if line.startswith('P01S000'))[-4:]) + 6
    image = cv2.imread(str(folder / 'rgb' / f'{frame:04d}.jpg'))
    depth = cv2.imread(str(folder / 'depth' / f'{frame:04d}.png')).astype(int)
    assert image.shape == (SIZE, SIZE, 3) and image.std() > 5
    metres = (depth[..., 2] + 256 * depth[..., 1]) * 0.00012498664727900177  # OpenCV's order: red is the last
    values = pickle.loads((folder / 'meta' / f'{frame:04d}.pkl').read_bytes())
    x, y, z = values['handJoints3D'].astype(float).T * np.array([[1], [-1], [-1]])
    u, v = (values['camMat'] @ np.stack([x / z, y / z, np.ones(21)]))[:2].round().astype(int)
    inside = (u >= 0) & (u < SIZE) & (v >= 0) & (v < SIZE)
    assert inside.sum() > 5 and values['occlusion'] < 0.5
    assert np.median(np.abs(metres[v[inside], u[inside]] - z[inside])) < 0.03  # a finger's thickness


def test_the_reader_sees_one_hand_from_all_cameras(root):
    """Labels of the two cameras of a recording meet in the calibrated reference frame, mesh and joints alike."""
    model, compared = ProceduralHand(), 0
    dataset = HO3D(root, version=3, frame='world')
    tracks = {dataset.sample_name(i): dataset[i].validate() for i in range(len(dataset))}
    for name in sorted({name[:-1] for name in tracks}):
        seen = []
        for camera in range(CAMERAS):
            track = tracks[f'{name}{camera}']
            side = track.hand_side[None]
            mesh = model(
                track.hand_pose, track.hand_shape[None].expand(len(track.timestamps), 1, 10), track.hand_transl, side
            )
            hand = track.hand_valid[:, 0]
            assert (mesh.joints - track.joints_3d)[hand].abs().max() < 1e-5
            seen.append({f: track.joints_3d[t, 0] for t, f in enumerate(track.meta['frame_indices']) if hand[t]})
        for frame in set(seen[0]) & set(seen[1]):
            assert (seen[0][frame] - seen[1][frame]).abs().max() < 1e-5
            compared += 1
    assert compared > 10


def test_truth_of_the_evaluation_part(root):
    xyz, verts = (np.array(json.loads((root / f'evaluation_{name}.json').read_text())) for name in ('xyz', 'verts'))
    count = len(lines(root, 'evaluation'))
    assert xyz.shape == (count, 21, 3) and verts.shape == (count, ProceduralHand().num_vertices, 3)
    for row, line in enumerate(lines(root, 'evaluation')):
        name, frame = line.split('/')
        values = pickle.loads((root / 'evaluation' / name / 'meta' / f'{frame}.pkl').read_bytes())
        np.testing.assert_allclose(xyz[row, 0], values['handJoints3D'], atol=1e-6)
        assert (xyz[row, :, 2] < 0).all() and np.abs(verts[row].mean(0) - xyz[row].mean(0)).max() < 0.05
        tips = ProceduralHand().fingertip_vertices.numpy()
        np.testing.assert_allclose(verts[row][tips], xyz[row, 16:], atol=2e-6)  # the tips come last, thumb first


def test_version_2_with_two_workers_and_after_an_interruption(root, tmp_path):
    """Pictures and calibration apart, version 2 is the same bytes, whoever makes them and however often it stops."""
    again = tmp_path / 'v2'
    write_dataset(options(again, ho3d_version=2, workers=2))
    whole, other = digest(again), digest(root)
    beside = {name for name in {*whole, *other} if name.startswith('calibration') or '/rgb/' in name}
    shared = {*whole, *other} - beside - {'generator.yml'}
    assert len(shared) > 2 * 5 * FRAMES * CAMERAS  # every label and depth picture
    assert {name: whole[name] for name in shared} == {name: other[name] for name in shared}
    assert not (again / 'calibration').exists() and len(list(again.glob('*/*/rgb/*.png'))) == 5 * FRAMES * CAMERAS
    for folder in (again / 'train' / 'P01S011', again / 'evaluation' / 'P01S040', again / 'evaluation' / 'P01S041'):
        shutil.rmtree(folder)
    (again / 'evaluation_xyz.json').unlink()
    assert write_dataset(options(again, ho3d_version=2)).frames == 2 * FRAMES * CAMERAS
    assert digest(again) == whole
    assert write_dataset(options(again, ho3d_version=2)).frames == 0
    dataset = HO3D(again, sampling=centred(1, across_gaps=True))
    assert dataset.version == 2 and {dataset[i].hand_side.item() for i in range(0, len(dataset), 10)} == {1}


def test_contact_sheet(root, tmp_path):
    contact_sheet(root, tmp_path / 'sheet.png', rows=2, columns=3, tile=32)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape == (64, 96, 3) and sheet.std() > 5


def test_options_are_checked(root):
    with pytest.raises(ValueError, match='other options'):
        write_dataset(options(root, ho3d_version=2))
    with pytest.raises(ValueError, match=r"layout must be one of .*got 'ho3'.*Did you mean 'ho3d'"):
        options_from_dict({'root': 'x', 'layout': 'ho3'})
    with pytest.raises(ValueError, match='ho3d_version must be 2 or 3, got 4'):
        options_from_dict({'root': 'x', 'layout': 'ho3d', 'ho3d_version': 4})
    assert 'layout' not in MultiViewOptions('x').content()  # the record of DexYCB's layout stays as it was
