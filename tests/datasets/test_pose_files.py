"""Own recordings: predictions files at any frame rate, the list of actions, and what can be wrong with them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions

from handpose.datasets import ClipSampling, DatasetError, PoseFiles
from handpose.datasets.pose_files.resampling import resample
from handpose.engine import load_config
from handpose.registry import DATASETS
from handpose.structures import HandSequence, Predictions, from_joints, save_predictions

HEADER = 'file,start,end,action,object,split\n'
ACTIONS = 'name: kitchen\nactions: [open jar, close jar, {name: stir it, verb: stir, object: pot}, wave]\n'


@pytest.fixture
def root(tmp_path):
    """Both hands at 30 per second; a left hand at 60 with gaps; a right hand at 25 without fingertips."""
    folder = tmp_path / 'mine'
    save_predictions(folder / 'anna_1.npz', make_predictions(60, ('left', 'right')))
    save_predictions(folder / 'anna_2.npz', make_predictions(80, ('left',), fps=60, missing=(20, 21, 50)))
    joints = make_predictions(50).joints
    joints[:, :, [4, 8, 12, 16, 20]] = np.nan
    tips = from_joints(joints, fps=25, hand_side=['right'], joint_order='common', unit='metre', frame='camera')
    save_predictions(folder / 'sub' / 'bert.npz', tips)
    (tmp_path / 'actions.yml').write_text(ACTIONS)
    return folder


def write_actions(root, rows, header=HEADER):
    (root / 'actions.csv').write_text(header + ''.join(f'{row}\n' for row in rows))


ROWS = (
    'anna_1.npz,0.5,1.3,close jar,,train',
    'anna_1,1.2,,stir it,jar,train',
    'anna_2,,,wave,,train',
    'sub/bert,0.4,1.2,open jar,,test',
)


def test_whole_recordings(root):
    dataset = DATASETS.build(dict(type='PoseFiles', data_root=str(root)))
    clips = [dataset[i].validate() for i in range(len(dataset))]
    assert [clip.meta['sequence'] for clip in clips] == ['anna_1', 'anna_2', 'sub/bert']
    assert [len(clip.frame_valid) for clip in clips] == [60, 40, 59] and {clip.meta['fps'] for clip in clips} == {30}
    both, left, right = clips
    source = make_predictions(60, ('left', 'right'))
    np.testing.assert_array_equal(both.joints_3d, source.joints)
    assert both.joints_valid.all() and both.frame == 'camera' and both.hand_side.tolist() == [0, 1]
    np.testing.assert_allclose(both.timestamps, np.arange(60) / 30)
    # Every second frame: 10 and 25 are missing; 20 and 21, the frames next to it, change nothing else.
    expected = make_predictions(80, ('left',), fps=60).joints[::2, 0]
    there = [t not in (10, 25) for t in range(40)]
    assert left.hand_valid.tolist() == [[known, False] for known in there]
    np.testing.assert_allclose(left.joints_3d[there, 0], expected[there], atol=1e-6)
    assert not left.joints_3d[:, 1].any() and not left.joints_3d[10].any() and left.frame_valid.all()
    assert right.joints_valid[:, 1].sum(-1).unique().tolist() == [16] and not right.joints_valid[..., 8].any()
    assert {clip.action_label.item() for clip in clips} == {-1} and (both.object_label == -1).all()
    assert HandSequence.stack(clips).validate().joints_3d.shape == (3, 60, 2, 21, 3)
    assert dataset.metainfo == {'dataset': 'PoseFiles', 'joints': dataset.metainfo['joints']}


def test_actions_and_splits(root):
    write_actions(root, ROWS)
    options = dict(segments='trimmed', taxonomy=root.parent / 'actions.yml')
    train, test = PoseFiles(root, **options), PoseFiles(root, 'test', **options)
    clips = [clip.validate() for clip in train]
    assert [clip.meta['sequence'] for clip in clips] == [
        'anna_1/000015-000038',
        'anna_1/000036-000059',
        'anna_2/000000-000039',
    ]
    assert [clip.action_label.item() for clip in clips] == [1, 2, 3]
    assert [clip.object_label.unique().tolist() for clip in clips] == [[0], [0], [-1]]  # of the action; of the row
    assert [clip.verb_label.item() for clip in clips] == [1, 2, 3] and clips[1].meta['segment'] == 2
    assert clips[0].meta['frame_indices'] == list(range(15, 39)) and clips[0].meta['recording'] == 'anna_1'
    np.testing.assert_array_equal(clips[0].joints_3d, make_predictions(60, ('left', 'right')).joints[15:39])
    assert [clip.meta['recording'] for clip in test] == ['sub/bert'] and test[0].action_label == 0
    assert len(test[0].frame_valid) == 24
    assert train.metainfo['actions'] == ['open jar', 'close jar', 'stir it', 'wave']
    whole = PoseFiles(root, taxonomy=root.parent / 'actions.yml')
    assert [clip.meta['recording'] for clip in whole] == ['anna_1', 'anna_2']
    assert whole[0].object_label.tolist() == [-1] * 15 + [0] * 45 and whole[0].action_label == -1
    with pytest.raises(DatasetError, match=r"no recording of .* is in split 'val': name recordings by held_out"):
        PoseFiles(root, 'val', **options)


def test_a_list_from_a_spreadsheet(root):
    """A byte-order mark, semicolons, Windows' line ends, blank lines, and rows that only say the split."""
    lines = ['file;split;start;end;action', 'anna_1;train;0.5;1.3;close jar', ';;;;', 'anna_2;val;;;']
    lines += ['sub\\bert.npz;test;;;']
    (root / 'actions.csv').write_bytes(b'\xef\xbb\xbf' + '\r\n'.join(lines).encode())
    names = {split: [clip.meta['recording'] for clip in PoseFiles(root, split)] for split in ('train', 'val', 'test')}
    assert names == {'train': ['anna_1'], 'val': ['anna_2'], 'test': ['sub/bert']}


def test_held_out_recordings(root):
    def names(split, held_out):
        return [clip.meta['recording'] for clip in PoseFiles(root, split, held_out=held_out)]

    assert names('train', ['anna_*']) == ['sub/bert'] and names('train', ['anna_1.npz']) == ['anna_2', 'sub/bert']
    assert names('test', ['anna_*']) == names('val', ['anna_*']) == ['anna_1', 'anna_2']
    with pytest.raises(DatasetError, match=r"held_out names 'ana_1', .* no such recording\. Did you mean 'anna_1'"):
        PoseFiles(root, held_out=['ana_1'])
    with pytest.raises(DatasetError, match=r"held_out must be a list of names, got 'anna_1'"):
        PoseFiles(root, held_out='anna_1')
    write_actions(root, ROWS)
    with pytest.raises(DatasetError, match=r'actions\.csv has a column split, and held_out is given too'):
        PoseFiles(root, held_out=['anna_1'])


def test_clips_and_another_frame_rate(root):
    dataset = PoseFiles(root, frame_rate=15, sampling=ClipSampling(16, clip_step=16), min_frames=10)
    assert [clip.meta['recording'] for clip in dataset] == [
        'anna_1',
        'anna_1',
        'anna_2',
        'anna_2',
        'sub/bert',
        'sub/bert',
    ]
    np.testing.assert_allclose(dataset[0].joints_3d, make_predictions(60, ('left', 'right')).joints[:32:2], atol=1e-6)


def line_of(times, hand_side=('right',), **known):
    """A hand whose joints move linearly in time."""
    base = make_predictions(1).joints[0, 0]
    times = np.asarray(times, float)
    joints = np.stack([base + t * np.array([0.3, -0.2, 0.1]) for t in times])[:, None]
    return Predictions(joints, np.ones((len(times), 1), bool), times, np.array(hand_side), 'camera', **known), base


def test_linear_motion_is_exact_at_any_times():
    """Jitter, a lower and a higher rate; frames that are missing in between stay missing."""
    generator = np.random.default_rng(0)
    jittered = np.sort(np.arange(40) / 24 + generator.uniform(-0.005, 0.005, 40))
    for times in (jittered, np.arange(30) / 12 + 7.3, np.arange(200) / 120):
        predictions, base = line_of(times)
        joints, valid = resample(predictions, 30)
        wanted = times[0] + np.arange(len(joints)) / 30
        assert valid.all() and len(joints) == int((times[-1] - times[0]) * 30 + 1e-6) + 1
        np.testing.assert_allclose(joints[:, 0, 5], base[5] + wanted[:, None] * [0.3, -0.2, 0.1], atol=1e-6)
    times = np.arange(40) / 30
    predictions, _ = line_of(np.delete(times, [10, 11, 25]))
    assert np.flatnonzero(~resample(predictions, 30)[1].all((1, 2))).tolist() == [10, 11, 25]
    tracks = np.repeat([0, 1], [20, 20])[:, None]
    predictions, _ = line_of(times + 0.5 / 30, track_ids=tracks)
    assert resample(predictions, 60)[1].all((1, 2)).tolist() == [t != 39 for t in range(79)]


BROKEN = {
    'no such recording': ('ana_1,0,1,wave,,train', r"line 2: there is no recording 'ana_1'\. Did you mean 'anna_1'"),
    'unknown action': ('anna_1,0,1,clos jar,,train', r"line 2: 'clos jar' is not .* Did you mean 'close jar'"),
    'unknown object': ('anna_1,0,1,wave,jarr,train', r"line 2: 'jarr' is not .* objects .* Did you mean 'jar'"),
    'before the beginning': ('anna_1,-1,1,wave,,train', r"from -1 to 1 s, which is outside .*'anna_1', .* 0 to 1.96"),
    'after the end': ('anna_1,0.2,2.2,wave,,train', 'from 0.2 to 2.2 s, which is outside'),
    'ends before it starts': ('anna_1,1,0.5,wave,,train', 'start must be before end, got 1 and 0.5 s'),
    'no number': ('anna_1,0:30,1,wave,,train', r"start must be a time in seconds, such as 12\.5, got '0:30'"),
    'unknown split': ('anna_1,0,1,wave,,trian', r"line 2: split must be one of .*Did you mean 'train'"),
    'a missing cell': ('anna_1,0,1,wave', r'line 2: expected 6 columns \(file, start.*got 4'),
    'too short': ('anna_1,0,0.4,wave,,train', r'000000-000011 has 12 frames \(0.40 s\); .*on_broken'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_actions_that_are_wrong(root, case):
    row, message = BROKEN[case]
    write_actions(root, [row, 'anna_2,,,,,train', 'sub/bert,,,,,test'])
    with pytest.raises(DatasetError, match=message):
        PoseFiles(root, segments='trimmed', taxonomy=root.parent / 'actions.yml')


def test_splits_that_are_wrong(root):
    write_actions(root, [*ROWS, 'anna_1,0,1,wave,,test'])
    with pytest.raises(DatasetError, match=r"line 6: 'anna_1' is in split 'test' here and in 'train' above"):
        PoseFiles(root)
    write_actions(root, ROWS[:3])
    with pytest.raises(DatasetError, match="has the column split but no row for 'sub/bert'"):
        PoseFiles(root)
    for header, message in (
        ('file,start,end,action,verb\n', "must be named .*got 'verb'"),
        ('file,start,end,actoin\n', r"got 'actoin'\. Did you mean 'action'"),
        ('file,start,end\n', "'action' is missing"),
        ('', "'file' is missing; got an empty file"),
    ):
        write_actions(root, [], header)
        with pytest.raises(DatasetError, match=rf'actions\.csv, line 1: .*{message}'):
            PoseFiles(root)


def test_folders_and_files_that_are_wrong(root, tmp_path):
    with pytest.raises(DatasetError, match=r'none must be a folder of predictions files'):
        PoseFiles(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DatasetError, match=r'has no \.npz file; put predictions files there'):
        PoseFiles(tmp_path / 'empty')
    np.savez(root / 'other.npz', poses=np.zeros(3))
    save_predictions(root / 'short.npz', make_predictions(15))
    (root / '._anna_1.npz').write_bytes(b'\0')
    with pytest.raises(DatasetError, match=r"1 predictions files .*other\.npz: a predictions file needs 'joints'"):
        PoseFiles(root)
    dataset = PoseFiles(root, on_broken='skip')
    assert len(dataset) == 3 and len(dataset.skipped) == 2 and 'short has 15 frames (0.50 s)' in dataset.skipped[1]
    (root / 'other.npz').unlink()
    with pytest.raises(DatasetError, match=r'1 tracks are shorter .*short has 15 .*give a smaller min_frames'):
        PoseFiles(root)
    assert len(PoseFiles(root, min_frames=15)) == 4
    save_predictions(root / 'short.npz', make_predictions(40, frame='wrist'))
    with pytest.raises(
        DatasetError, match=r"one coordinate frame, but 'sub/bert' is in 'camera' and 'short' in 'wrist'"
    ):
        PoseFiles(root)
    assert PoseFiles(root, 'test', held_out=['short'])[0].validate().frame == 'wrist'


def test_hands_of_impossible_size(root):
    large = make_predictions(40)
    save_predictions(root / 'anna_1.npz', dataclasses.replace(large, joints=large.joints * 3))
    with pytest.raises(DatasetError, match=r'anna_1\.npz: from the wrist to the middle knuckle'):
        PoseFiles(root)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(segments='trimmed'), "segments='trimmed' needs taxonomy"),
        (dict(segments='trim'), r"segments must be one of .*Did you mean 'trimmed'"),
        (dict(split='validation'), 'split must be one of'),
        (dict(frame_rate=0), 'frame_rate must be a positive number'),
        (dict(min_frames=0), 'min_frames must be a whole number'),
        (dict(taxonomy='none.yml', segments='trimmed'), r'none\.yml does not exist; correct the list of actions'),
    ],
)
def test_wrong_options(root, options, message):
    with pytest.raises(DatasetError, match=message):
        PoseFiles(root, **options)


def test_trimmed_without_a_list(root):
    with pytest.raises(DatasetError, match=r"has no action in actions\.csv, which segments='trimmed' needs"):
        PoseFiles(root, segments='trimmed', taxonomy=root.parent / 'actions.yml')


def test_the_same_sample_every_time(root):
    dataset = PoseFiles(root)
    assert torch.equal(dataset[2].joints_3d, PoseFiles(root)[2].joints_3d)


def test_dataset_base_of_configs(root, tmp_path):
    """Whole recordings need neither a list of actions nor a taxonomy; options of the base turn both on."""
    path = tmp_path / 'config.py'
    base = Path(__file__).parents[2] / 'configs' / '_base_' / 'pose_files.py'
    path.write_text(
        f"_base_ = ['{base}']\ndata_root = '{root}'\nnum_frames, num_observed, batch_size, num_workers = 32, 16, 4, 0\n"
        f"held_out = ['anna_1']\ntaxonomy = '{root.parent / 'actions.yml'}'\n"
    )
    config = load_config(path, {})
    clip = DATASETS.build(config.train_dataloader.dataset)[0].validate()
    assert clip.input_joints_3d.shape == (32, 2, 21, 3) and clip.meta['recording'] == 'anna_2'
    forecast = DATASETS.build(config.test_dataloader.dataset)[1].validate()
    assert forecast.meta['recording'] == 'anna_1' and forecast.meta['phase'] == 1
    assert forecast.joints_3d.shape[0] == 16 and forecast.future.joints_3d.shape[:2] == (1, 60 - 32)
    write_actions(root, ROWS)
    config = load_config(path, {'held_out': [], 'test_segments': 'trimmed'})
    assert [clip.action_label.item() for clip in DATASETS.build(config.train_actions)] == [1, 2, 3]
    forecast = DATASETS.build(config.test_dataloader.dataset)[0]
    assert forecast.action_label == 0 and forecast.future.joints_3d.shape[1] == 24 - 16
