"""AssemblyHands' joints in files of the official layout, written here by hand; actions of Assembly101."""

import assembly101_files as actions
import numpy as np
import pytest
from assemblyhands_files import ABSENT, FRAMES, MISSING, sequence_of, true_joints, write_root

from handpose.datasets import AssemblyHandsPoses, DatasetError
from handpose.registry import DATASETS
from handpose.structures import HandSequence


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    sequences = {actions.RECORDING: sequence_of(), actions.OTHER: sequence_of(first=101)}
    return write_root(tmp_path_factory.mktemp('assemblyhands'), sequences)


@pytest.fixture(scope='module')
def assembly101(tmp_path_factory):
    """Actions in frames at 30 a second: one that begins before the poses, one with a gap, one after the last pose."""
    folder = tmp_path_factory.mktemp('assembly101') / 'fine-grained-annotations'
    actions.write_csv(
        folder / 'actions.csv',
        ['id', 'action_id', 'verb_id', 'noun_id', 'action_cls', 'verb_cls', 'noun_cls'],
        [(i, *row) for i, row in enumerate(actions.ACTIONS)],
    )
    rows = []
    for number, (first, last, action) in enumerate([(0, 18, 1), (19, 38, 2), (200, 230, 0)]):
        row = actions.ACTIONS[action]
        rows.append((number, f'{actions.RECORDING}/C10095_rgb.mp4', first, last, *row, 'a30', 'toy', 0, 1))
    actions.write_csv(folder / 'train.csv', actions.COLUMNS, rows[:1])
    actions.write_csv(folder / 'validation.csv', actions.COLUMNS, rows[1:])
    return folder.parent


def test_whole_sequences(root):
    dataset = DATASETS.build(dict(type='AssemblyHandsPoses', data_root=str(root)))
    clips = [clip.validate() for clip in dataset]
    clip, expected = clips[0], true_joints()
    assert len(clips) == 2 and clip.frame == 'world' and clip.meta['fps'] == 30 and clip.meta['cameras'] == []
    assert clip.meta['frame_indices'] == list(range(3, 3 + FRAMES)) and clip.meta['sequence'] == actions.RECORDING
    assert clip.meta['subject'] == '9033'
    for t in range(FRAMES):
        for hand in (0, 1):
            there = (t, hand) not in ABSENT and t not in MISSING
            assert clip.hand_valid[t, hand] == there
            assert clip.joints_valid[t, hand].sum() == (20 if (t, hand) == (0, 1) else 21 * there)
            if there:
                known = clip.joints_valid[t, hand].numpy()
                np.testing.assert_allclose(clip.joints_3d[t, hand][known], expected[t, hand][known], atol=1e-5)
    assert not clip.joints_valid[0, 1, 4] and not clip.joints_3d[0, 1, 4].any() and clip.action_label == -1
    assert dataset.metainfo.get('actions') is None
    assert clips[1].meta['frame_indices'][0] == 50  # an odd number at 60 a second
    assert HandSequence.stack(clips).validate().joints_3d.shape == (2, FRAMES, 2, 21, 3)
    assert len(AssemblyHandsPoses(root, sequences=[actions.OTHER])) == 1


def test_actions_of_assembly101(root, assembly101):
    dataset = AssemblyHandsPoses(root, segments='trimmed', assembly101=assembly101)
    clips = [clip.validate() for clip in dataset]
    assert [clip.meta['sequence'] for clip in clips] == [
        f'{actions.RECORDING}/000003-000018',  # annotated from frame 3 on
        f'{actions.RECORDING}/000019-000038',
    ]
    assert [clip.action_label.item() for clip in clips] == [1, 2] and clips[1].meta['segment'] == 1
    assert [clip.verb_label.item() for clip in clips] == [1, 0]
    assert [clip.object_label.unique().tolist() for clip in clips] == [[0], [0]]
    np.testing.assert_allclose(clips[1].joints_3d[0, 0], true_joints()[16, 0], atol=1e-5)
    assert clips[1].hand_valid.any(1).tolist() == [t not in (4, 5) for t in range(20)]
    assert dataset.metainfo['actions'] == ['pick up wheel', 'screw cab', 'pick up cab']
    wide = AssemblyHandsPoses(root, segments='trimmed', assembly101=assembly101, context_frames=2)
    assert [clip.meta['sequence'] for clip in wide] == [clip.meta['sequence'] for clip in clips]
    assert [clip.meta['frame_indices'] for clip in wide] == [list(range(3, 21)), list(range(17, 41))]
    np.testing.assert_array_equal(wide[1].joints_3d[2:-2], clips[1].joints_3d)
    whole = AssemblyHandsPoses(root, assembly101=assembly101)[0]
    assert whole.object_label.tolist() == [0] * 36 + [-1] * 4


def broken(change):
    frames = sequence_of()
    change(frames)
    return {'a': frames}


FILES = {
    'metres': (
        lambda f: [e.update(world_coord=(np.array(e['world_coord']) / 1000).tolist()) for e in f.values()],
        'must hold millimetres, the numbers look like metres',
    ),
    '41 points': (lambda f: f['000008']['world_coord'].pop(), r'frame 000008, world_coord must have shape \(42, 3\)'),
    'no mask': (lambda f: f['000008'].pop('joint_valid'), r"frame 000008 has no 'joint_valid'"),
    'NaN': (lambda f: f['000008']['world_coord'][3].__setitem__(0, float('nan')), 'NaN'),
    'a name': (lambda f: f.update(first=f['000006']), "'first' must be the number of a frame"),
    'twice': (lambda f: f.update({'6': f['000006']}), 'the same frame twice'),
    'empty': (lambda f: f.clear(), 'must hold the joints of frames'),
}


@pytest.mark.parametrize('case', FILES)
def test_damaged_files(tmp_path, case):
    change, message = FILES[case]
    write_root(tmp_path, broken(change))
    with pytest.raises(DatasetError, match=rf'assemblyhands_train_joint_3d_v1-1\.json.*{message}'):
        AssemblyHandsPoses(tmp_path)


def test_another_frame_rate(tmp_path):
    write_root(tmp_path, {'a': sequence_of(), 'b': sequence_of(step=5)})
    assert [clip.meta['sequence'] for clip in AssemblyHandsPoses(tmp_path)] == ['a']
    write_root(tmp_path, {'b': sequence_of(step=5)})
    with pytest.raises(DatasetError, match='do not rise by multiples of 2, so their frame rate is not known'):
        AssemblyHandsPoses(tmp_path)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(split='val'), r'val does not exist\. Download the annotations'),
        (dict(split='test'), 'the joints of the test split are not public'),
        (dict(split='demo'), 'split must be one of'),
        (dict(sequences=['nusar']), "sequences names 'nusar', which"),
        (dict(segments='trimmed'), "segments='trimmed' needs assembly101"),
        (dict(assembly101='nowhere'), 'Assembly101 is expected in nowhere, which does not exist'),
    ],
)
def test_wrong_options(root, options, message):
    with pytest.raises(DatasetError, match=message):
        AssemblyHandsPoses(root, **options)


def test_versions(tmp_path):
    write_root(tmp_path, {'a': sequence_of()})
    write_root(tmp_path, {}, name='assemblyhands_train_joint_3d_pred_template.json')
    assert len(AssemblyHandsPoses(tmp_path)) == 1
    write_root(tmp_path, {}, name='assemblyhands_train_joint_3d_v1-0.json')
    with pytest.raises(DatasetError, match=r'several versions .*v1-0\.json, .*v1-1\.json; leave only one'):
        AssemblyHandsPoses(tmp_path)
