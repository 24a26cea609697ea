import fpha_files as files
import numpy as np
import pytest

from handpose.datasets import FPHA, ActionClips, DatasetError
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.registry import DATASETS

LOAD = [{'type': 'LoadImages'}]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two videos for training, of 12 and 5 frames, and two for testing."""
    return files.write_root(tmp_path_factory.mktemp('fpha'))


def test_clip_has_the_labels_of_its_frames(root):
    """Millimetres, the depth camera's frame and FPHA's order on disk; metres, colour and the common order here."""
    config = dict(type='FPHA', data_root=str(root), sampling=ActionClips(3, 2), pipeline=LOAD)
    dataset = DATASETS.build(config)
    clip = dataset[1].validate()  # starts of the first video: 0, 1, 6, 7
    assert clip.meta['frame_indices'] == [1, 3, 5] and clip.hand_side.tolist() == [1] and clip.hand_valid.all()
    for t, frame in enumerate((1, 3, 5)):
        expected = files.common(frame)
        np.testing.assert_allclose(clip.joints_3d[t, 0], expected, atol=1e-6)
        np.testing.assert_allclose(clip.joints_2d[t, 0, 0], files.pixels(expected, (64, 36)), atol=1e-3)
    assert clip.images[:, 0, 0, 0, 0].tolist() == pytest.approx([8, 24, 40], abs=2)  # line t goes with color_t
    assert clip.action_label == 15 and dataset.metainfo['actions'][15] == 'put_salt'
    assert clip.verb_label == FPHA_ACTIONS.verbs.index('put')
    assert clip.object_label.tolist() == [FPHA_ACTIONS.objects.index('salt')] * 3
    assert clip.meta['sequence'] == 'Subject_1/put_salt/1' and clip.meta['subject'] == 'Subject_1'
    assert clip.meta['hand_model'] is None and clip.meta['cameras'] == ['color'] and clip.meta['segment'] == 1
    assert dataset[4].action_label == 0  # numbers count from 0


def test_videos_are_as_long_as_their_skeletons(root):
    """There is a picture more than lines; the lines count."""
    dataset = FPHA(root, 'test', pipeline=LOAD)
    assert [len(dataset[i].validate().frame_valid) for i in range(len(dataset))] == [7, 4]
    assert [dataset[i].action_label.item() for i in (0, 1)] == [44, 25]


def test_pictures_of_another_size(tmp_path):
    root = files.write_root(tmp_path, size=(480, 270), folder='Video_files_480')
    clip = FPHA(root, images='Video_files_480', sampling=ActionClips(2, 2), pipeline=LOAD)[0].validate()
    assert clip.images.shape[-2:] == (270, 480)
    expected = files.pixels(files.common(0), (480, 270))
    np.testing.assert_allclose(clip.joints_2d[0, 0, 0], expected, atol=1e-2)
    np.testing.assert_allclose(clip.intrinsics[0, 0, 0], [1395.749023 / 4, 0, 936.232544 / 4 - 0.5], rtol=1e-6)
    with pytest.raises(DatasetError, match=r'17 missing images; .* the image of frame 0 is not in .*/Video_files/'):
        FPHA(root)


def test_the_other_name_of_the_skeletons_folder(tmp_path):
    root = files.write_root(tmp_path, skeletons='Hand_pose_annotation_v1_1')
    assert len(FPHA(root)) == 2


def test_splits(root):
    def names(split, **options):
        dataset = FPHA(root, split, **options)
        return [dataset.sample_name(i) for i in range(len(dataset))]

    salt, juice = 'Subject_1/put_salt/1', 'Subject_6/open_juice_bottle/2'
    assert names('train') == [salt, juice]
    assert names('train', held_out=['Subject_6']) == [salt] and names('val', held_out=['Subject_6']) == [juice]
    assert names('train', protocol='subjects') == [salt, 'Subject_1/high_five/3', 'Subject_3/write/1']
    assert names('test', protocol='subjects') == [juice]


def test_the_empty_skeleton_files(tmp_path):
    """Of three recordings the data set itself says to ignore them; any other empty file is an error."""
    root = files.write_root(tmp_path)
    files.write_recording(root, 'Subject_2/close_milk/4', 3, empty=True)
    files.write_split(root, (*files.TRAIN, ('Subject_2/close_milk/4', 11, 3)), files.TEST)
    dataset = FPHA(root)
    assert len(dataset) == 2 and 'Subject_2/close_milk/4/skeleton.txt is empty' in dataset.skipped[0]
    (root / 'Hand_pose_annotation_v1/Subject_1/put_salt/1/skeleton.txt').write_text('')
    with pytest.raises(DatasetError, match=r'put_salt/1/skeleton.txt is empty. Of FPHA itself three are'):
        FPHA(root)
    skipping = FPHA(root, on_broken='skip')
    assert len(skipping) == 1 and len(skipping.skipped) == 2 and skipping[0].action_label == 0


def test_a_frame_missing_in_the_middle(tmp_path):
    root = files.write_root(tmp_path)
    (root / 'Video_files/Subject_1/put_salt/1/color/color_0004.jpeg').unlink()
    with pytest.raises(DatasetError, match=r'Subject_1/put_salt/1: the image of frame 4 is not in .*color; unpack'):
        FPHA(root)
    video = FPHA(root, on_broken='skip', pipeline=LOAD)[0].validate()
    assert video.frame_valid.tolist() == [f != 4 for f in range(12)] and not video.joints_valid[4].any()
    assert video.meta['frame_indices'] == list(range(12)) and video.meta['paths'][4] == video.meta['paths'][3]


def _rows(change):
    def write(path):
        path.write_text('\n'.join(change(path.read_text().splitlines())))

    return write


SKELETONS = {
    'frames count from 1': (lambda p: p.write_text(p.read_text().split('\n', 1)[1]), 'line 1: expected frame number 0'),
    'a line is missing': (_rows(lambda rows: rows[:3] + rows[4:]), r'line 4: expected frame number 3 .* got 4'),
    'a short line': (_rows(lambda rows: [*rows[:3], rows[3][:40]]), 'line 4: expected a frame number and 63 numbers'),
    'text': (_rows(lambda rows: [rows[0].replace('400.0000', 'x', 1), *rows[1:]]), 'that is not a number'),
    'NaN': (_rows(lambda rows: [rows[0].replace('400.0000', 'nan', 1), *rows[1:]]), 'NaN, infinity'),
    'metres': (
        _rows(lambda rows: [' '.join([r[:4], *(str(float(v) / 1000) for v in r.split()[1:])]) for r in rows]),
        'must hold millimetres, the numbers look like metres',
    ),
    'absent': (lambda p: p.unlink(), 'does not exist'),
}  # fmt: skip


@pytest.mark.parametrize('case', SKELETONS)
def test_broken_skeleton_files(tmp_path, case):
    breaks, sentence = SKELETONS[case]
    root = files.write_root(tmp_path)
    breaks(root / 'Hand_pose_annotation_v1/Subject_1/put_salt/1/skeleton.txt')
    with pytest.raises(DatasetError, match=rf'put_salt/1/skeleton.txt.*{sentence}'):
        FPHA(root)
    dataset = FPHA(root, on_broken='skip')
    assert [dataset.sample_name(i) for i in range(len(dataset))] == ['Subject_6/open_juice_bottle/2']


SALT = 'Subject_1/put_salt/1'
SPLITS = {
    'numbers from 1': (
        f'Training 1\n{SALT} 16\nTest 0\n',
        'line 2: action 16 is open_liquid_soap, but the folder says put_salt, which is 15; the numbers count from 0',
    ),
    'outside the taxonomy': (
        f'Training 1\n{SALT} 45\nTest 0\n',
        'line 2: action 45 is not among the 45 actions of fpha, which are numbered 0 to 44',
    ),
    'columns in another order': (
        f'Training 1\n15 {SALT}\nTest 0\n',
        "line 2: expected 'Training 600' and 'Test 575'.* got '15 Subject_1/put_salt/1'",
    ),
    'no title': (f'{SALT} 15\n', 'line 1: expected'),
    'another count': (f'Training 2\n{SALT} 15\nTest 0\n', "the part 'Training' announces 2 recordings and lists 1"),
    'no test part': (f'Training 1\n{SALT} 15\n', "the part 'Test' lacks its recordings and lists 0"),
    'twice': (f'Training 2\n{SALT} 15\n{SALT} 15\nTest 0\n', 'line 3: Subject_1/put_salt/1 is in the list twice'),
    'unknown folder': ('Training 1\nSubject_1/put_pepper/1 15\nTest 0\n', 'the folder says put_pepper, unknown'),
    'nothing to train on': ('Training 0\nTest 0\n', "split 'train' of .* has no action"),
}


@pytest.mark.parametrize('case', SPLITS)
def test_split_files_that_are_wrong(tmp_path, case):
    text, sentence = SPLITS[case]
    (tmp_path / 'data_split_action_recognition.txt').write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        FPHA(tmp_path)


@pytest.mark.parametrize(
    'options, sentence',
    [
        (
            dict(data_root='nowhere'),
            r'nowhere, which does not exist.*github.com/guiggh/hand_pose_action.*--layout fpha',
        ),
        (dict(split='val'), r"no validation split.*held_out=\['Subject_6'\]"),
        (dict(held_out=['Subject_7']), "held_out names 'Subject_7', which the training part lacks"),
        (dict(held_out=['Subject_1', 'Subject_6']), 'takes every subject'),
        (dict(protocol='objects'), "protocol must be one of 'actions', 'subjects'"),
        (dict(images='Video_files_481'), "Did you mean 'Video_files_480'"),
    ],
)
def test_wrong_options(root, options, sentence):
    with pytest.raises(DatasetError, match=sentence):
        FPHA(**{'data_root': root, **options})


def test_no_skeletons(tmp_path):
    files.write_split(tmp_path, files.TRAIN, files.TEST)
    with pytest.raises(DatasetError, match='has no Hand_pose_annotation_v1 folder'):
        FPHA(tmp_path)
