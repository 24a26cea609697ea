import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from assembly101_files import (
    COLUMNS,
    FRAMES,
    OTHER,
    RECORDING,
    SEGMENTS,
    pose_dict,
    pose_list,
    segment_rows,
    true_joints,
    write_csv,
    write_poses,
    write_root,
)

from handpose.datasets import Assembly101, ClipSampling, DatasetError
from handpose.datasets.assembly101.layout import person_of, read_poses
from handpose.datasets.assembly101.pose_cache import FOLDER
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.engine import load_config
from handpose.registry import DATASETS
from handpose.structures import HandSequence

ROUNDING = 1e-5  # metres: the files hold hundredths of millimetres


@pytest.fixture
def root(tmp_path):
    return write_root(tmp_path / 'data')


def annotations(root, name='train'):
    return root / 'fine-grained-annotations' / f'{name}.csv'


def check_joints(sample, true):
    """Every joint but the thumb's base, of hands (T, 2, 21, 3)."""
    others = [0, *range(2, 21)]
    assert sample.joints_valid[..., others].all() and not sample.joints_valid[..., 1].any()
    found = sample.joints_3d.double().numpy()
    np.testing.assert_allclose(found[..., others, :], true[..., others, :], atol=ROUNDING)
    assert (sample.joints_3d[..., 1, :] == 0).all()


@pytest.mark.parametrize('fps', [30, 60])
@pytest.mark.parametrize('form', [pose_list, pose_dict])
def test_actions_are_the_files_frames(tmp_path, form, fps):
    folder = 'poses@60fps' if form is pose_list else 'assembly101_camera_and_hand_poses/landmarks3D'
    root = write_root(tmp_path, form(true_joints()), folder)
    data = Assembly101(root, 'train', fps=fps)
    assert len(data) == len(SEGMENTS)
    for sample, (first, last, action) in zip(data, SEGMENTS, strict=True):
        sample.validate()
        # The last frame of an action counts; the third one begins in the recording and ends after its last pose.
        rows = np.arange(60 // fps * first * fps // 30, min(2 * (last + 1), FRAMES), 60 // fps)
        check_joints(sample, true_joints()[rows])
        assert sample.frame == 'world' and sample.extrinsics is None and sample.hand_side.tolist() == [0, 1]
        assert sample.meta['frame_indices'] == (rows * fps // 60).tolist() and sample.meta['fps'] == fps
        np.testing.assert_allclose(sample.timestamps, rows / 60)
        assert sample.action_label == action and sample.meta['subject'] == '9033' and sample.meta['toy'] == 'a30'
    names = data.metainfo
    assert names['actions'] == ['pick up wheel', 'screw cab', 'pick up cab']
    assert names['verbs'] == ['pick up', 'screw'] and names['objects'] == ['cab', 'wheel']
    assert [int(s.verb_label) for s in data] == [1, 0, 0]
    assert [s.object_label.unique().tolist() for s in data] == [[0], [1], [0]]
    assert [s.meta['segment'] for s in data] == [7, 9, 11]  # the first row of each


def test_untrimmed_recordings_have_no_labels(root):
    data = Assembly101(root, 'train', segments='untrimmed')
    (sample,) = data
    check_joints(sample.validate(), true_joints()[::2])
    assert sample.action_label is sample.object_label is sample.verb_label is None
    assert sample.meta['sequence'] == RECORDING and 'segment' not in sample.meta
    clips = Assembly101(root, 'train', segments='untrimmed', sampling=ClipSampling(16, clip_step=8))
    assert len(clips) == 4 and clips[1].meta['frame_indices'] == list(range(8, 24))
    check_joints(clips[3], true_joints()[48::2])
    batch = HandSequence.stack([clips[0], Assembly101(root, 'train')[0]]).validate()
    assert batch.action_label.tolist() == [-1, 1]


def spoil(entry, how):
    """A frame in which the left hand is not there."""
    hand = entry['landmarks']['0']
    if how == 'confidence 0':
        entry['tracking_confidence']['0'] = 0.0
    elif how == 'zeros':
        entry['landmarks']['0'] = np.zeros_like(hand).tolist()
    elif how == 'null':
        entry['landmarks']['0'] = None
    elif how == 'left out':
        del entry['landmarks']['0'], entry['tracking_confidence']['0']
    elif how == 'too large':
        entry['landmarks']['0'] = (2 * np.array(hand)).tolist()


@pytest.mark.parametrize('how', ['confidence 0', 'zeros', 'null', 'left out', 'too large'])
def test_lost_hands_are_absent(tmp_path, how):
    frames = pose_list(true_joints())
    for number in (6, 7, 8):
        spoil(frames[number], how)
    (sample,) = Assembly101(write_root(tmp_path, frames), 'train', segments='untrimmed')
    sample.validate()
    lost = [3, 4]
    assert (~sample.hand_valid).nonzero().tolist() == [[n, 0] for n in lost]
    assert not sample.joints_valid[lost, 0].any() and (sample.joints_3d[lost, 0] == 0).all()
    check_joints(sample.select_frames([0, 1, 2, *range(5, 40)]), true_joints()[[0, 2, 4, *range(10, 80, 2)]])


def test_hands_that_the_tracker_trusts_less(root):
    def right(least):
        return Assembly101(root, 'train', min_confidence=least)[0].hand_valid[:, 1]

    assert right(0.0).all() and right(0.5).all() and not right(0.6).any()


def test_frames_that_the_dictionary_leaves_out(tmp_path):
    frames = pose_dict(true_joints())
    for number in (10, 11, 79):
        del frames[str(number)]
    (sample,) = Assembly101(write_root(tmp_path, dict(reversed(frames.items()))), 'train', segments='untrimmed')
    assert len(sample.hand_valid) == 40 and (~sample.hand_valid).nonzero().tolist() == [[5, 0], [5, 1]]


def test_recordings_without_poses_are_reported(root):
    write_csv(annotations(root), COLUMNS, [*segment_rows(), *segment_rows(OTHER)])
    data = Assembly101(root, 'train')
    assert len(data) == len(SEGMENTS) and len(data.skipped) == 1 and f'{OTHER}.json does not exist' in data.skipped[0]
    write_csv(annotations(root), COLUMNS, segment_rows(OTHER))
    with pytest.raises(DatasetError, match=r"split 'train' of .* has no frame with a hand in .*poses@60fps"):
        Assembly101(root, 'train')
    write_csv(annotations(root), COLUMNS, segment_rows(segments=[*SEGMENTS, (50, 60, 0)]))
    data = Assembly101(root, 'train')
    assert len(data) == len(SEGMENTS) and 'segment 13 begins after the last pose' in data.skipped[0]


def test_people(root):
    write_csv(annotations(root), COLUMNS, [*segment_rows(), *segment_rows(OTHER)])
    write_poses(root, pose_list(true_joints()), OTHER)
    assert len(Assembly101(root, 'train')) == 6
    assert {s.meta['subject'] for s in Assembly101(root, 'train', people=['9011'])} == {'9011'}
    with pytest.raises(DatasetError, match=r"people names '9012'.* Did you mean '9011'"):
        Assembly101(root, 'train', people=['9012'])
    assert person_of(RECORDING) == '9033' and person_of('kitchen') == 'kitchen'


def test_test_list_without_labels(root):
    rows = [row[:4] for row in segment_rows()]
    write_csv(annotations(root, 'test'), COLUMNS[:4], rows)
    data = Assembly101(root, 'test')
    assert [int(s.action_label) for s in data] == [-1, -1, -1] and data[0].object_label.unique().tolist() == [-1]


def test_own_taxonomy(root, tmp_path):
    path = tmp_path / 'own.yml'
    path.write_text(yaml.safe_dump({'actions': ['hold cup', 'pour milk', 'wave']}))
    data = Assembly101(root, 'train', taxonomy=path)
    assert data.metainfo['actions'] == ['hold cup', 'pour milk', 'wave'] and int(data[0].action_label) == 1
    config = dict(type='Assembly101', data_root=str(root))
    assert configured_taxonomy(config).actions == ('pick up wheel', 'screw cab', 'pick up cab')
    assert configured_taxonomy({**config, 'taxonomy': str(path)}).actions[0] == 'hold cup'
    path.write_text(yaml.safe_dump({'actions': ['hold cup']}))
    with pytest.raises(DatasetError, match=r'train.csv: action 1 is not among the 1 actions'):
        Assembly101(root, 'train', taxonomy=path)


def test_arrays_follow_the_files(root, tmp_path):
    def wrist():
        return Assembly101(root, 'train', segments='untrimmed')[0].joints_3d[0, 0, 0].numpy()

    first = wrist()
    (array,) = (root / 'poses@60fps' / FOLDER).iterdir()
    written = array.stat().st_mtime_ns
    wrist()
    assert array.stat().st_mtime_ns == written  # not made again
    data = Assembly101(root, 'train')
    path = write_poses(root, pose_list(true_joints() + 0.01))
    os.utime(path, ns=(1, 1))
    with pytest.raises(DatasetError, match='has changed since the dataset was opened'):
        data[0]
    np.testing.assert_allclose(wrist(), first + 0.01, atol=2 * ROUNDING)
    (array,) = (root / 'poses@60fps' / FOLDER).iterdir()  # the old one is gone
    for damage in (b'', b'no array', array.read_bytes()[:-5000], _saved(np.zeros((80, 2, 64))), _saved(np.zeros(3))):
        array.write_bytes(damage)
        np.testing.assert_allclose(wrist(), first + 0.01, atol=2 * ROUNDING)
    elsewhere = Assembly101(root, 'train', cache_dir=tmp_path / 'cache')
    assert len(list((tmp_path / 'cache').rglob('*.npy'))) == 1 and len(elsewhere) == len(SEGMENTS)
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match=r'cannot be written .*cache_dir'):
        Assembly101(root, 'train', cache_dir=tmp_path / 'file')


def _saved(array):
    from io import BytesIO

    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def changed(edit):
    frames = pose_list(true_joints(4))
    edit(frames)
    return frames


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('[{"landmarks"', 'is not valid JSON'),
        ('"hands"', 'must hold a list or keys with values'),
        (changed(lambda f: f[2].pop('landmarks')), "frame 2 has no 'landmarks'"),
        (changed(lambda f: f[2].pop('tracking_confidence')), "frame 2 has no 'tracking_confidence'"),
        (changed(lambda f: f[2]['tracking_confidence'].pop('1')), "frame 2, tracking_confidence has no '1'"),
        (changed(lambda f: f[2].update(landmarks=[1])), "frame 2 must hold the points of the hands '0'.*a list"),
        (changed(lambda f: f[2]['landmarks'].update(left=[])), 'frame 2 must hold .*got the keys 0, 1, left'),
        (changed(lambda f: f[2]['landmarks']['1'].pop()), r'frame 2, hand 1 must have shape \(21, 3\), got \(20, 3\)'),
        (changed(lambda f: f[1]['landmarks']['0'][3].append('x')), r'frame 1, hand 0 must have shape \(21, 3\)'),
        (changed(lambda f: f[1]['landmarks']['0'].__setitem__(3, 'x')), r'frame 1, hand 0 must have shape \(21, 3\)'),
        (changed(lambda f: f[1]['tracking_confidence'].update({'0': 'high'})), 'hand 0 must have shape'),
        (pose_list(true_joints(4) / 1000), 'must hold millimetres, the numbers look like metres'),
        (pose_list(true_joints(4) + 200), 'is 2[0-9]+ m from the origin'),
        ({'one': {}}, "has the key 'one', expected the number of a frame"),
        ({'99999999': {}}, "has the key '99999999'"),
        ({'01': {}, '1': {}}, 'has the same frame twice'),
    ],
)
def test_damaged_poses(root, content, message):
    path = write_poses(root, content)
    with pytest.raises(DatasetError, match=rf'{RECORDING}.*{message}'):
        Assembly101(root, 'train')
    write_poses(root, pose_list(true_joints()), OTHER)
    write_csv(annotations(root), COLUMNS, [*segment_rows(), *segment_rows(OTHER)])
    data = Assembly101(root, 'train', on_broken='skip')
    assert len(data) == len(SEGMENTS) and str(path) in data.skipped[0]


def test_empty_recording(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('[]')
    assert read_poses(path).joints.shape == (0, 2, 21, 3)
    path.write_text(json.dumps([{'landmarks': {}, 'tracking_confidence': {}}] * 3))
    assert np.isnan(read_poses(path).confidence).all()


def rewrite(root, column, text, name='train', row=1):
    path = annotations(root, name)
    lines = [line.split(',') for line in path.read_text().splitlines()]
    if row == 0:
        lines[0][lines[0].index(column)] = text
    else:
        lines[row][lines[0].index(column)] = text
    path.write_text('\n'.join(','.join(line) for line in lines))


@pytest.mark.parametrize(
    ('column', 'text', 'row', 'message'),
    [
        ('video', 'movie', 0, 'line 1: .*but video is missing among id, movie'),
        ('video', '../../outside/C1.mp4', 1, 'line 2: video must be RECORDING/VIEW.mp4'),
        ('video', '', 1, 'line 2: video must be'),
        ('start_frame', '-3', 1, "line 2: start_frame must be a whole number, got '-3'"),
        ('start_frame', '12', 1, 'line 2: start_frame is 12, after end_frame, which is 9'),
        ('action_id', '3', 1, 'action 3 is not among the 3 actions'),
        ('toy_name', 'a,b', 1, 'line 2: expected 14 columns, got 15'),
    ],
)
def test_damaged_list_of_segments(root, column, text, row, message):
    rewrite(root, column, text, row=row)
    with pytest.raises(DatasetError, match=f'train.csv.*{message}'):
        Assembly101(root, 'train')


@pytest.mark.parametrize(
    ('column', 'text', 'message'),
    [
        ('action_id', '1', 'line 3: action_id 1 is there twice'),
        ('action_id', '5', 'must number its actions 0, 1, 2'),
        ('noun_cls', 'cab', "noun_id 1 is 'cab' and|'cab' twice"),
        ('verb_id', 'x', "line 2: verb_id must be a whole number, got 'x'"),
    ],
)
def test_damaged_list_of_actions(root, column, text, message):
    rewrite(root, column, text, name='actions')
    with pytest.raises(DatasetError, match=message):
        Assembly101(root, 'train')


def test_what_is_missing(root):
    with pytest.raises(DatasetError, match=r'does not exist. Ask for access .*--layout assembly101'):
        Assembly101(root / 'nowhere')
    with pytest.raises(DatasetError, match=r"segments must be one of 'trimmed', 'untrimmed'.* Did you mean 'trimmed'"):
        Assembly101(root, segments='trimed')
    with pytest.raises(DatasetError, match='fps must be one of 30, 60, got 25'):
        Assembly101(root, fps=25)
    with pytest.raises(DatasetError, match=r'the option poses names .*expected a path below'):
        Assembly101(root, poses='../poses@60fps')
    with pytest.raises(DatasetError, match='has no folder hands, which holds a JSON file'):
        Assembly101(root, poses='hands')
    annotations(root, 'validation').unlink()
    with pytest.raises(DatasetError, match=r'validation.csv does not exist'):
        Assembly101(root, 'val')


def test_dataset_base_of_configs(root, tmp_path):
    path = tmp_path / 'config.py'
    base = Path(__file__).parents[2] / 'configs' / '_base_' / 'assembly101.py'
    path.write_text(
        f"_base_ = ['{base}']\ndata_root = '{root}'\nbatch_size, num_workers, num_frames, num_observed = 4, 0, 32, 16\n"
        'max_future = 8\n'
    )
    config = load_config(path)
    train = DATASETS.build(config.train_dataloader.dataset)
    clip = train[0].validate()
    assert clip.input_joints_3d.shape == (32, 2, 21, 3) and clip.action_label is None
    whole = [DATASETS.build(config[f'{split}_actions']) for split in ('train', 'val', 'test')]
    assert [len(data) for data in whole] == [3, 3, 3] and whole[0][0].action_label == 1
    forecast = DATASETS.build(config.test_dataloader.dataset)
    sample = forecast[0].validate()
    assert len(sample.frame_valid) == 16 and sample.future.joints_3d.shape[1] <= 8
    assert torch.equal(sample.input_valid, sample.hand_valid)
