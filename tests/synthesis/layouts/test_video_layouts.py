import hashlib
import shutil
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import yaml

from handpose.datasets import FPHA, H2O
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.fpha.layout import DEPTH_TO_COLOUR
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.hands import ProceduralHand
from handpose.synthesis import EgocentricOptions, contact_sheet, options_from_dict, write_dataset
from handpose.synthesis.layouts.h2o import H2OLayout

ACTIONS = ('grab milk', 'open lotion', 'put in cocoa')
CHOSEN = {'h2o': ACTIONS, 'fpha': ('close_milk', 'flip_sponge')}
LOAD = [dict(type='LoadImages')]


def options(root, layout='h2o', **changes):
    values = dict(
        subjects=2, videos={'h2o': 2, 'fpha': 1}[layout], test_videos=1, frames=16, max_frames=18, width=64, height=36,
        seed=5, workers=1, actions=CHOSEN[layout],
    )  # fmt: skip
    return EgocentricOptions(str(root), layout, **{**values, **changes})


def digest(root):
    files = sorted(p for p in Path(root).rglob('*') if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    made = {}
    for layout in CHOSEN:
        made[layout] = tmp_path_factory.mktemp('egocentric') / layout
        progress = Mock()
        summary = write_dataset(options(made[layout], layout), progress)
        progress.assert_called_with(summary.sequences, summary.sequences)
        assert progress.call_count == summary.sequences + 1
        assert 16 * summary.sequences <= summary.frames <= 24 * summary.sequences
    return made


def numbers(path):
    return np.array(path.read_text().split(), float)


def test_h2o_reads_what_was_written(roots):
    found, model = [], ProceduralHand()
    for split in ('train', 'val', 'test'):
        dataset = H2O(roots['h2o'], split=split, labels='full', objects='obj_pose', pipeline=LOAD)
        for sample in (dataset[i].validate() for i in range(len(dataset))):
            action = sample.action_label.item()
            subject = sample.meta['sequence'].split('/')[0]
            found.append((split, subject, H2O_ACTIONS.actions[action]))
            assert sample.images.shape[1:] == (1, 3, 36, 64) and sample.hand_valid.any(0).all()
            assert set(sample.object_label.tolist()) == {H2O_ACTIONS.action_object[action]}
            # The hand parameters pose the hand that the joints are of; the reader itself compares the wrists alone.
            side = sample.hand_side[None]
            hands = model(sample.hand_pose, sample.hand_shape[None].expand(len(side), 2, 10), sample.hand_transl, side)
            assert (hands.joints - sample.joints_3d)[sample.hand_valid].abs().max() < 2e-5
    assert {f[1] for f in found if f[0] == 'test'} == {'subject2'} and {f[2] for f in found} == set(ACTIONS)
    assert {f[0] for f in found} == {'train', 'val', 'test'} and len(found) == 9


def test_h2o_files_fit_each_other(roots):
    root = roots['h2o']
    assert yaml.safe_load((root / 'hand_model.yml').read_text()) == {'name': 'procedural-1'}
    rows = [line.split() for line in (root / 'label_split/action_test.txt').read_text().splitlines()[1:]]
    listed = (root / 'label_split/pose_test.txt').read_text().split()
    assert len(listed) == sum(int(r[4]) - int(r[3]) + 1 for r in rows)
    assert all((root / name).is_file() for name in listed)
    for _, path, action, first, last, begin, end in rows:
        camera = root / path / 'cam4'
        frames = sorted(p.stem for p in (camera / 'rgb').iterdir())
        assert frames == [f'{i:06d}' for i in range(int(begin), int(end) + 1)]
        labels = [int((camera / 'action_label' / f'{f}.txt').read_text()) for f in frames]
        acting = [int(first) <= i <= int(last) for i in range(len(frames))]
        assert labels == [int(action) * a for a in acting]
        verb = H2O_ACTIONS.action_verb[int(action) - 1] + 1
        assert [int((camera / 'verb_label' / f'{f}.txt').read_text()) for f in frames] == [verb * a for a in acting]
        centres = []
        for frame in frames:
            to_world = numbers(camera / 'cam_pose' / f'{frame}.txt').reshape(4, 4)
            np.testing.assert_allclose(to_world[:3, :3] @ to_world[:3, :3].T, np.eye(3), atol=1e-7)
            placed = numbers(camera / 'obj_pose_RT' / f'{frame}.txt')
            points = numbers(camera / 'obj_pose' / f'{frame}.txt')
            assert placed[0] == points[0] == H2O_ACTIONS.action_object[int(action) - 1] + 1
            points = points[1:].reshape(21, 3)
            np.testing.assert_allclose(points[1:9].mean(0), points[0], atol=2e-6)
            np.testing.assert_allclose(points[9:].mean(0), points[0], atol=2e-6)
            world = to_world[:3, :3] @ placed[1:].reshape(4, 4)[:3, 3] + to_world[:3, 3]
            centres.append(world)
            assert -0.02 < world[2] < 0.3  # on the table, or in a hand
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert steps.max() < 0.1


def test_official_split_of_four_subjects():
    layout = H2OLayout(EgocentricOptions('x', subjects=4, videos=6, test_videos=14))
    where = {}
    for place in layout.places:
        (folder,) = layout.folders(*place)
        where.setdefault(layout.split_of(*place), set()).add(tuple(folder.split('/')[:2]))
    scenes = ('h1', 'h2', 'k1', 'k2', 'o1', 'o2')
    assert where['train'] == {(s, c) for s in ('subject1', 'subject2') for c in scenes} | {
        ('subject3', c) for c in scenes[:3]
    }
    assert where['val'] == {('subject3', c) for c in scenes[3:]}
    assert where['test'] == {('subject4', c) for c in scenes}
    assert len({layout.folders(*place)[0] for place in layout.places}) == len(layout.places)
    tested = [place for place in layout.places if layout.split_of(*place) == 'test']
    assert len(tested) == 14 * len(layout.actions) >= 240
    usual = H2OLayout(EgocentricOptions('x'))
    assert sum(usual.split_of(*place) == 'test' for place in usual.places) >= 240 and len(usual.places) < 620


def test_fpha_reads_what_was_written(roots):
    root, counts = roots['fpha'], {}
    for split in ('train', 'test'):
        dataset = FPHA(root, split=split, pipeline=LOAD)
        counts[split] = len(dataset)
        for sample in (dataset[i].validate() for i in range(len(dataset))):
            name = sample.meta['sequence']
            assert FPHA_ACTIONS.actions[sample.action_label.item()] == name.split('/')[1]
            assert sample.hand_side.tolist() == [1] and sample.images.shape[-2:] == (36, 64)
            bones = (sample.joints_3d[:, 0, 5] - sample.joints_3d[:, 0, 0]).norm(dim=-1)
            assert bones.min() > 0.06 and bones.max() < 0.13 and bones.max() - bones.min() < 1e-4
            info = (root / 'Subjects_info' / f'{name.split("/")[0]}_info.txt').read_text().splitlines()[3:]
            lengths = {tuple(line.split()[:2]): int(line.split()[2]) for line in info}
            assert lengths[tuple(name.split('/')[1:])] == len(sample.joints_3d)
    assert counts == {'train': 4, 'test': 4}


def test_fpha_objects_are_held_by_the_hand(roots):
    folders = sorted((roots['fpha'] / 'Object_6D_pose_annotation_v1').glob('*/*/*/object_pose.txt'))
    assert {path.parts[-3] for path in folders} == {'close_milk'}
    rows = np.array([line.split() for line in folders[0].read_text().splitlines()], float)
    assert (rows[:, 0] == np.arange(len(rows))).all()
    poses = rows[:, 1:].reshape(-1, 4, 4).transpose(0, 2, 1)  # column by column
    unit = np.broadcast_to(np.eye(4), poses.shape)
    np.testing.assert_allclose(poses[:, 3], unit[:, 3], atol=1e-6)
    turns = poses[:, :3, :3]
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), unit[:, :3, :3], atol=1e-4)
    colour = DEPTH_TO_COLOUR[:3, :3] @ poses[:, :3, 3].T / 1000 + DEPTH_TO_COLOUR[:3, 3:]
    assert (colour[2] > 0.15).all() and (colour[2] < 0.8).all()


def test_same_seed_same_bytes_with_two_workers_and_after_an_interruption(roots, tmp_path):
    again, first = tmp_path / 'again', digest(roots['h2o'])
    shutil.copytree(roots['h2o'], again)
    for folder in ('subject1/h1/0', 'subject2/h1/0', 'label_split'):
        shutil.rmtree(again / folder)
    (again / '.partial/subject1/h1/0/cam4').mkdir(parents=True)
    summary = write_dataset(options(again, workers=2))
    assert summary.sequences == 2 and digest(again) == first
    assert write_dataset(options(again)).sequences == 0
    with pytest.raises(ValueError, match='other options'):
        write_dataset(options(again, seed=6))


def test_contact_sheet(roots, tmp_path):
    for root in roots.values():
        contact_sheet(root, tmp_path / 'sheet.png', rows=2, columns=3, tile=64)
        assert cv2.imread(str(tmp_path / 'sheet.png')).shape == (72, 192, 3)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(layout='h20'), r"layout must be one of .*Did you mean 'h2o'"),
        (dict(subjects=1), 'subjects must be a whole number from 2 to 99, got 1'),
        (dict(videos=1.5), 'videos must be a whole number'),
        (dict(frames=40, max_frames=30), 'max_frames must be at least frames, which is 40, got 30'),
        (dict(size=160), r"'size' is not an option of the egocentric data"),
    ],
)
def test_bad_options(changes, words):
    with pytest.raises(ValueError, match=words):
        options_from_dict({'root': 'x', 'layout': 'h2o', **changes})


def test_an_unknown_action(tmp_path):
    with pytest.raises(ValueError, match=r"'grab milc' is not an action .*Did you mean 'grab milk'"):
        write_dataset(options(tmp_path / 'x', actions=('grab milc',)))
    with pytest.raises(ValueError, match='need root'):
        options_from_dict({'layout': 'h2o'})
