"""The built-in recordings by cameras around a table and on a headset, in AssemblyHands' layout."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose.datasets import AssemblyHands, AssemblyHandsPoses
from handpose.datasets.assemblyhands.cameras import EXO_CAMERAS, HEADSETS
from handpose.hands.joints import permutation_to_common
from handpose.synthesis import AssemblyHandsOptions, contact_sheet, options_from_dict, write_dataset
from handpose.synthesis.cameras import headset_cameras, ring_cameras
from handpose.synthesis.layouts.assemblyhands import AssemblyHandsLayout

FRAMES, EXO, EGO = 16, (96, 54), (72, 54)
LOAD = [dict(type='LoadImages')]


def options(root, **changes):
    values = dict(
        subjects=3, manual_subjects=1, sequences=1, frames=FRAMES, exo_width=EXO[0], exo_height=EXO[1],
        ego_width=EGO[0], ego_height=EGO[1], manual_step=6, test_camera_layout=4, seed=3, workers=1,
    )  # fmt: skip
    return AssemblyHandsOptions(str(root), **{**values, **changes})


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp('recordings') / 'data'
    summary = write_dataset(options(made))
    assert summary.sequences == 4 and summary.frames == 4 * FRAMES * 12
    return made


def motion_of(root, name):
    return np.load(root / 'generator' / name / 'motion.npz')


def annotations(root, split, kind, folder='annotations'):
    return json.loads((root / folder / split / f'assemblyhands_{split}_{kind}_v1-1.json').read_text())


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_the_reader_finds_the_generator_s_motion(root, split):
    for label_set, step in (('automatic', 1), ('manual', 6)):
        dataset = AssemblyHands(root, split, views='exo', label_set=label_set, frame='world', pipeline=LOAD)
        assert len(dataset) == (2 if (split, label_set) == ('train', 'manual') else 1)
        for clip in (dataset[i].validate() for i in range(len(dataset))):
            motion = motion_of(root, clip.meta['sequence'])
            assert clip.images.shape == (len(range(0, FRAMES, step)), 8, 3, EXO[1], EXO[0])
            assert clip.meta['official_indices'] == motion['numbers'][::step].tolist()
            error = np.linalg.norm(clip.joints_3d.numpy() - motion['joints'][::step], axis=-1)
            if (split, label_set) == ('train', 'automatic'):
                assert 0.0041 < error.mean() < 0.0043 and 0.01 < error.max() < 0.04
            else:
                assert error.max() < 1e-6
            assert np.abs(clip.extrinsics[0].numpy() - motion['extrinsics'][0, :8]).max() < 1e-5
            assert np.abs(clip.intrinsics[0].numpy() - motion['intrinsics'][:8]).max() < 1e-4
            hidden = clip.occlusion.numpy()
            np.testing.assert_allclose(hidden, motion['occlusion'][::step, :8], atol=1e-6)
            assert np.nanmin(hidden) >= 0 and np.nanmax(hidden) <= 1 and np.nanmean(hidden) > 0.02


def test_the_headset_s_images(root):
    shown = {}
    for split in ('train', 'val', 'test'):
        for entry in annotations(root, split, 'ego_data')['images']:
            name, camera, number = entry['seq_name'], entry['camera'], entry['frame_idx']
            motion = motion_of(root, name)
            assert entry['file_name'].endswith(f'{split}/{name}/{camera}_mono10bit/{number:06d}.jpg')
            image = cv2.imread(str(root / 'images' / entry['file_name']), cv2.IMREAD_UNCHANGED)
            assert image.shape == (EGO[1], EGO[0]) and image.std() > 5
            view = next(of.index(camera) for of in HEADSETS if camera in of)
            frame = motion['numbers'].tolist().index(number)
            assert motion['visible'][frame, 8 + view].any()
            shown[view] = shown.get(view, 0) + 1
        listed = {e['file_name'] for e in annotations(root, split, 'ego_data', 'annotations_manual')['images']}
        files = {str(p.relative_to(root / 'images')) for p in (root / 'images').glob(f'*/{split}/*/*/*.jpg')}
        assert listed <= files and {e['file_name'] for e in annotations(root, split, 'ego_data')['images']} <= files
    assert shown[0] == shown[1] == 3 * FRAMES and shown.get(2, 0) < FRAMES and shown.get(3, 0) < 2 * FRAMES
    people = {entry['camera'] for entry in annotations(root, 'val', 'ego_data')['images']}
    assert people & set(HEADSETS[1]) and not people & set(HEADSETS[0])  # the second person wears the other one


def test_joints_of_the_headset_s_images(root):
    clip = AssemblyHands(root, 'test', views='ego', frame='world', pipeline=LOAD)[0].validate()
    motion = motion_of(root, clip.meta['sequence'])
    for t, k, h in np.ndindex(FRAMES, 4, 2):
        rigid = motion['extrinsics'][t, 8 + k]
        local = motion['joints'][t, h] @ rigid[:3, :3].T + rigid[:3, 3]
        pixels = (local / local[:, 2:]) @ motion['intrinsics'][8 + k].T
        inside = ((pixels[:, :2] > -0.5) & (pixels[:, :2] < np.array(EGO) - 0.5)).all(1) & (local[:, 2] > 0)
        assert (clip.joints_2d_valid[t, k, h].numpy() == inside).mean() > 0.95 or not clip.boxes[t, k].any()
        seen = clip.joints_2d_valid[t, k, h].numpy()
        np.testing.assert_allclose(clip.joints_2d[t, k, h].numpy()[seen], pixels[seen, :2], atol=0.01)
        x0, _, x1, y1 = clip.boxes[t, k, h].tolist()
        if x1 > x0:
            assert inside.sum() >= 4 and x0 <= pixels[inside, 0].min() + 0.1 and y1 >= pixels[inside, 1].max() - 0.6


def test_files_in_the_official_form(root):
    found = annotations(root, 'train', 'joint_3d')['annotations']
    (name,) = found
    motion, order = motion_of(root, name), permutation_to_common('assemblyhands')
    manual = annotations(root, 'train', 'joint_3d', 'annotations_manual')['annotations']
    assert next(iter(manual)) == name and len(manual) == 2
    first = manual[name][f'{motion["numbers"][0]:06d}']
    right = np.array(first['world_coord'])[:21][order]  # the right hand first, tips before bases, millimetres
    np.testing.assert_allclose(right, 1000 * motion['joints'][0, 1], atol=1e-3)
    keys = [int(key) for key in found[name]]
    assert np.diff(keys).tolist() == [2] * (FRAMES - 1) and keys[0] > 0
    videos = root / 'videos' / 'exo_videos_rectified' / name
    assert sorted(p.name for p in videos.iterdir()) == sorted([*(f'{c}.mp4' for c in EXO_CAMERAS), 'calib.txt'])
    lines = (videos / 'calib.txt').read_text().splitlines()
    assert len([line for line in lines if line.strip()]) == 8 * 8 and lines[0] == EXO_CAMERAS[0]
    assert (root / 'annotations' / 'skeleton.txt').read_text().startswith('thumb_tip_r 0 1\n')
    calibration = annotations(root, 'train', 'ego_calib')['calibration'][name]
    assert set(calibration['extrinsics'][f'{keys[0]:06d}']) == {f'{c}_mono10bit' for c in HEADSETS[0]}


def test_actions_have_assembly101_s_lists(root):
    clips = [AssemblyHandsPoses(root, split, segments='trimmed', assembly101=root)[0] for split in ('train', 'val')]
    names = AssemblyHandsPoses(root, 'train', segments='trimmed', assembly101=root).metainfo['actions']
    assert [names[clip.action_label.item()] for clip in clips] == ['pick up milk', 'unscrew milk']
    assert all(len(clip.frame_valid) == FRAMES for clip in clips)
    layout = AssemblyHandsLayout(options('x', subjects=12, sequences=3))
    verbs = [layout.action_of(place).verb for place in layout.places]
    assert {verbs.count(verb) for verb in set(verbs)} <= {6, 7} and len(set(verbs)) == 6


def test_people_and_arrangements_of_cameras(root):
    layout = AssemblyHandsLayout(options('x', subjects=10, sequences=2, camera_layouts=3, manual_subjects=2))
    parts = [layout.part_of(subject) for subject in range(12)]
    assert parts == ['train'] * 7 + ['val'] + ['test'] * 2 + ['manual'] * 2
    assert {layout.camera_layout_of(place) for place in layout.places if place[0] < 8} == {0, 1, 2}
    assert {layout.camera_layout_of((8, s)) for s in (0, 1)} == {4}
    for number in range(20):
        intrinsics, extrinsics = ring_cameras(0, number, 8, (480, 270))
        places = -np.linalg.inv(extrinsics[:, :3, :3]) @ extrinsics[:, :3, 3:]
        assert np.linalg.norm(places[..., 0] - (0, 0.07, 0.08), axis=1).min() > 0.5 and places[:, 2].min() > 0.05
        target = extrinsics[:, :3, :3] @ [0, 0.07, 0.08] + extrinsics[:, :3, 3]
        pixels = (intrinsics @ (target / target[:, 2:])[..., None])[:, :2, 0]
        assert ((pixels > (120, 60)) & (pixels < (360, 210))).all()
    first, other = (ring_cameras(0, number, 8, EXO)[1] for number in (0, 4))
    assert np.abs(first - other).max() > 0.1
    assert headset_cameras(0, 0, 2, EGO)[0].shape == (2, 3, 3)


def test_same_bytes_and_resumption(root, tmp_path):
    def digest(where):
        files = sorted(p for p in Path(where).rglob('*') if p.is_file())
        return {str(p.relative_to(where)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    write_dataset(options(root))  # everything is there
    small = dict(subjects=3, manual_subjects=0, exo_cameras=2, ego_cameras=1, exo_width=64, exo_height=36)
    for name in ('a', 'b'):
        write_dataset(options(tmp_path / name, **small))
    assert digest(tmp_path / 'a') == digest(tmp_path / 'b')
    assert AssemblyHands(tmp_path / 'a', views=['v1', 'v2'])[0].boxes.any()


def test_contact_sheet(root, tmp_path):
    contact_sheet(root, tmp_path / 'sheet.png', rows=2, columns=3, tile=64)
    assert cv2.imread(str(tmp_path / 'sheet.png')).shape == (96, 192, 3)


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(subjects=2), 'subjects must be a whole number from 3 to 99'),
        (dict(annotation_error=-1.0), 'annotation_error must be from 0 to 50 mm'),
        (dict(exo_width=97), 'must be even, as videos require'),
        (dict(exo_cameras=0, ego_cameras=0), 'a recording needs a camera'),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        options('x', **changes)


def test_options_of_a_config():
    made = options_from_dict(dict(root='x', layout='assemblyhands', ego_cameras=0))
    assert isinstance(made, AssemblyHandsOptions) and made.has_images and made.content()['annotation_error'] == 4.2
