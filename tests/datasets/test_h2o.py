import os
import shutil
from collections import Counter
from pathlib import Path

import h2o_files as files
import numpy as np
import pytest
import torch

from handpose.datasets import H2O, ActionClips, DatasetError
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.h2o.layout import read_segments
from handpose.datasets.io.packing import Recoding, pack_frames
from handpose.datasets.transforms import ResizeFrames
from handpose.geometry.camera import project_points
from handpose.hands import ProceduralHand
from handpose.registry import DATASETS
from handpose.structures import HandSequence

LOAD = [{'type': 'LoadImages'}]
ABSENT = {(14, 0), (15, 0), (6, 1)}  # (frame, hand)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Four recordings of 30 frames; segments of 10, 18 and 5 frames for training."""
    return files.write_root(tmp_path_factory.mktemp('h2o'), absent=ABSENT)


def test_clip_has_the_labels_of_its_frames(root):
    config = dict(type='H2O', data_root=str(root), sampling=ActionClips(4, 2), pipeline=LOAD)
    dataset = DATASETS.build(config)
    clip = dataset[4].validate()  # starts: 0, 1, 8, 9 of the first segment; 0, 1, 8, 9, 16, 17 of the second
    assert clip.meta['frame_indices'] == [12, 14, 16, 18] and clip.frame_valid.all()
    assert clip.hand_side.tolist() == [0, 1] and clip.frame == 'camera'
    assert clip.hand_valid.tolist() == [[True, True], [False, True], [True, True], [True, True]]
    for t, frame in enumerate(clip.meta['frame_indices']):
        for hand in (0, 1):
            seen = files.pixels(files.joints(frame, hand), (64, 36))
            if clip.hand_valid[t, hand]:
                np.testing.assert_allclose(clip.joints_3d[t, hand], files.joints(frame, hand), atol=1e-6)
                np.testing.assert_allclose(clip.joints_2d[t, 0, hand], seen, atol=1e-3)
                np.testing.assert_allclose(clip.boxes[t, 0, hand], [*seen.min(0), *seen.max(0)], atol=1e-3)
    assert clip.joints_3d[0, 0, 0, 0] < 0 < clip.joints_3d[0, 1, 0, 0]  # left first
    assert clip.images.shape == (4, 1, 3, 36, 64) and clip.images[:, 0, 0, 0, 0].tolist() == [96, 112, 128, 144]
    assert clip.action_label == 22 and clip.verb_label == H2O_ACTIONS.verbs.index('pour')
    assert clip.object_label.tolist() == [H2O_ACTIONS.objects.index('milk')] * 4
    assert torch.equal(clip.extrinsics, torch.eye(4).expand(4, 1, 4, 4)) and clip.hand_pose is None
    assert clip.timestamps[1] - clip.timestamps[0] == pytest.approx(2 / 30)
    assert clip.meta['sequence'] == 'subject1/h1/0/000012-000029' and clip.meta['segment'] == 2
    assert clip.meta['cameras'] == ['cam4'] and clip.meta['subject'] == 'subject1' and clip.meta['fps'] == 30
    assert dataset.metainfo['actions'] == list(H2O_ACTIONS.actions) and len(dataset.metainfo['joints']) == 21
    assert HandSequence.stack([clip, dataset[0]]).validate().action_label.tolist() == [22, 15]


def test_a_hand_flagged_absent_is_absent(root):
    """Zeros on disk are no joints: nothing is valid, nothing is projected, nothing is NaN."""
    clip = H2O(root)[1].validate()
    gone = [f in (14, 15) for f in clip.meta['frame_indices']]
    assert clip.hand_valid[:, 0].tolist() == [not g for g in gone] and clip.hand_valid[:, 1].all()
    assert not clip.joints_valid[gone, 0].any() and not clip.joints_2d_valid[gone, 0, 0].any()
    assert not clip.joints_2d[gone, 0, 0].any() and clip.joints_2d.isfinite().all() and clip.frame_valid.all()


def test_starts_as_published(root):
    """Every frame whose place in its block of T * spacing is below t * spacing, by a plain loop."""
    dataset = H2O(root, sampling=ActionClips(4, 2, window=2))
    expected = [
        (recording, first + start)
        for recording, _, first, last in files.TRAIN
        for start in range(last - first + 1)
        if start % 8 < 4
    ]
    clips = [dataset[i] for i in range(len(dataset))]
    assert [(c.meta['recording'], c.meta['frame_indices'][0]) for c in clips] == expected
    assert dataset.sample_name(1) == 'subject1/h1/0/000000-000009 from frame 1'
    assert len(H2O(root, sampling=ActionClips(4, 2, clip_step=3, window=2))) == 3 + 5 + 2  # of 6, 10 and 4 starts


def test_a_video_shorter_than_a_clip_repeats_its_last_frame(root):
    """Five frames, clips of 4 with 2 between: the last of the stride is repeated, not the last of the video."""
    dataset = H2O(root, sampling=ActionClips(4, 2, window=2))
    clips = [c for c in (dataset[i].validate() for i in range(len(dataset))) if c.meta['subject'] == 'subject2']
    assert [c.meta['frame_indices'] for c in clips] == [[5, 7, 9, 9], [6, 8, 8, 8], [7, 9, 9, 9], [8, 8, 8, 8]]
    assert [c.frame_valid.tolist() for c in clips][:2] == [[True, True, True, False], [True, True, False, False]]
    padded = clips[0]
    assert not padded.joints_valid[3].any() and not padded.joints_2d_valid[3].any() and not padded.hand_valid[3].any()
    assert padded.meta['paths'][3] == padded.meta['paths'][2] and padded.action_label == 0
    assert (
        H2O(root, 'val', sampling=ActionClips(128, 2, window=16))[0].frame_valid.tolist() == [True] * 3 + [False] * 125
    )


def test_random_starts(root):
    """One clip a block and epoch, its start new in each epoch and the same whoever asks."""
    dataset = H2O(root, seed=3, sampling=ActionClips(4, 2, window=2, random_start=True))
    assert len(dataset) == 2 + 3 + 1
    drawn = set()
    for epoch in range(30):
        dataset.set_epoch(epoch)
        starts = tuple(dataset[i].meta['frame_indices'][0] for i in range(6))
        assert starts[1] == dataset[1].meta['frame_indices'][0]
        drawn.add(starts)
    of_block = [sorted({starts[i] for starts in drawn}) for i in range(6)]
    assert of_block == [[0, 1, 2, 3], [8, 9], [12, 13, 14, 15], [20, 21, 22, 23], [28, 29], [5, 6, 7, 8]]


def test_videos_have_every_frame(root):
    dataset = H2O(root, pipeline=LOAD)
    assert [len(dataset[i].frame_valid) for i in range(3)] == [10, 18, 5]
    video = dataset[1].validate()
    assert video.meta['frame_indices'] == list(range(12, 30)) and video.frame_valid.all()
    assert dataset.sample_name(1) == video.meta['sequence'] == 'subject1/h1/0/000012-000029'


def test_test_list_without_labels(root):
    """`end_frame` of the public test list must not be taken for a label."""
    video = H2O(root, 'test')[0].validate()
    assert video.action_label == -1 and video.verb_label == -1 and set(video.object_label.tolist()) == {-1}
    assert video.hand_valid[:, 0].all() and video.meta['frame_indices'] == list(range(3, 10))
    assert video.hand_valid[:, 1].tolist() == [f != 6 for f in range(3, 10)]
    seen = H2O(root, 'test', objects='obj_pose')[0]
    assert seen.object_label.tolist() == [2, 3, 4, 5, 6, 7, -1]  # frame % 9 on disk; 0 is none


SIZES = {'rgb': ('.jpg', (320, 180)), 'rgb256': ('.jpg', (455, 256)), 'rgb480_270': ('.png', (480, 270))}


@pytest.mark.parametrize('folder', SIZES)
def test_pictures_of_every_size(tmp_path, folder):
    suffix, size = SIZES[folder]
    root = files.write_root(tmp_path, size, folder, suffix, splits=('val',))
    clip = H2O(root, 'val', images=folder, sampling=ActionClips(2, 2), pipeline=LOAD)[0].validate()
    assert clip.images.shape[-2:] == size[::-1] and clip.meta['image_size'] == size
    fx, fy, cx, cy = files.CAMERA
    x, y = size[0] / 1280, size[1] / 720
    expected = [[fx * x, 0, (cx + 0.5) * x - 0.5], [0, fy * y, (cy + 0.5) * y - 0.5], [0, 0, 1]]
    np.testing.assert_allclose(clip.intrinsics[0, 0], expected, rtol=1e-5)
    projected = project_points(clip.joints_3d, clip.intrinsics)
    torch.testing.assert_close(projected[0], clip.joints_2d[0, 0], atol=1e-3, rtol=0)


@pytest.mark.parametrize('spelling', ['hand_pose_MANO', 'hand_pose_mano'])
def test_mano_parameters(tmp_path, spelling):
    root = files.write_root(tmp_path, mano=spelling, absent={(1, 1)})
    clip = H2O(root, 'val', labels='full')[0].validate()
    model = ProceduralHand()
    assert clip.hand_pose_valid.tolist() == [[True, f != 1] for f in range(5)] and not clip.hand_pose[1, 1].any()
    for hand in (0, 1):
        transl, pose, shape = files.pose(0, hand)
        np.testing.assert_allclose(clip.hand_pose[0, hand].ravel(), pose, atol=1e-6)
        np.testing.assert_allclose(clip.hand_shape[hand], shape, atol=1e-6)
        np.testing.assert_allclose(clip.hand_transl[0, hand], transl, atol=1e-6)
    values = clip.hand_pose[0], clip.hand_shape, clip.hand_transl[0], clip.hand_side
    wrist = model(*values).joints[:, 0]
    rest = model.rest_wrist(clip.hand_shape, clip.hand_side)
    torch.testing.assert_close(wrist, rest + clip.hand_transl[0], atol=1e-6, rtol=0)
    assert H2O(root, 'val')[0].hand_pose is None


def test_own_actions_in_the_same_layout(root, tmp_path):
    (tmp_path / 'mine.yml').write_text('first_number: 16\nactions: [wave, "pour milk"]\n')
    own = tmp_path / 'root'
    own.mkdir()
    rows = [('subject1/h1/0', 17, 0, 9), ('subject1/h1/0', 16, 10, 19)]
    files.write_list(own / 'label_split' / 'action_train.txt', rows)
    (own / 'subject1').symlink_to(root / 'subject1')
    dataset = H2O(own, taxonomy=str(tmp_path / 'mine.yml'))
    assert dataset.metainfo['actions'] == ['wave', 'pour milk'] and dataset.metainfo['objects'] == ['milk']
    assert [dataset[i].action_label.item() for i in (0, 1)] == [1, 0]
    assert [dataset[i].object_label[0].item() for i in (0, 1)] == [0, -1]


def _swap(line, a, b):
    words = line.split()
    words[a], words[b] = words[b], words[a]
    return ' '.join(words)


ORDER = 'the columns must stand in the order id path action_label'
# {case: (what becomes of the header and the rows, sentence)}
LISTS = {
    'columns in another order': (
        lambda h, r: (_swap(h, 2, 3), [_swap(x, 2, 3) for x in r]),
        'line 1: the columns must be named, in this order, id path action_label start_act',
    ),
    'values in another order': (
        lambda h, r: (h, [_swap(x, 1, 2) for x in r]),
        f'line 2: action_label must be a whole number, got .subject1/h1/0.; {ORDER}',
    ),
    'ends before it starts': (
        lambda h, r: (h, [_swap(x, 3, 4) for x in r]),
        f'line 2: .* from frame 9 to 0, which is no stretch of the recording, frames 0 to 29; {ORDER}',
    ),
    'labels under a header without': (
        lambda h, r: (h.replace('action_label ', ''), r),
        r'line 2: expected 6 columns .*got 7',
    ),
    'outside the taxonomy': (
        lambda h, r: (h, [*r[:2], '3 subject2/k1/3 37 5 9 0 29']),
        'line 4: action 37 is not among the 36 actions of h2o, which are numbered 1 to 36',
    ),
    'background': (lambda h, r: (h, ['1 subject2/k1/3 0 5 9 0 29']), 'line 2: action 0 is not among'),
    'twice': (lambda h, r: (h, [*r, r[0]]), 'line 5: segment 1 is in the list twice'),
    'empty': (lambda h, r: ('', []), 'got an empty file'),
    'no rows': (lambda h, r: (h, []), "split 'train' of .* has no action"),
}


@pytest.mark.parametrize('case', LISTS)
def test_lists_that_are_wrong(root, tmp_path, case):
    change, sentence = LISTS[case]
    header, *rows = (root / 'label_split' / 'action_train.txt').read_text().splitlines()
    header, rows = change(header, rows)
    (tmp_path / 'label_split').mkdir()
    (tmp_path / 'label_split' / 'action_train.txt').write_text('\n'.join([header, *rows]))
    with pytest.raises(DatasetError, match=sentence):
        H2O(tmp_path)


def test_a_frame_missing_in_the_middle(tmp_path):
    """It keeps its place, so that the frames after it keep their times; every mask says that it is not there."""
    root = files.write_root(tmp_path)
    for frame in (16, 17):
        (root / f'subject1/h1/0/cam4/rgb/{frame:06d}.png').unlink()
    sentence = r'2 missing images; .*000012-000029: the image of frame 16 is not in .*/cam4/rgb; .*on_broken'
    with pytest.raises(DatasetError, match=sentence):
        H2O(root)
    dataset = H2O(root, on_broken='skip', pipeline=LOAD)
    video = dataset[1].validate()
    gone = [f in (16, 17) for f in range(12, 30)]
    assert video.meta['frame_indices'] == list(range(12, 30)) and video.frame_valid.tolist() == [not g for g in gone]
    assert not video.joints_valid[gone].any() and video.hand_valid.any(1).tolist() == [not g for g in gone]
    assert video.images[3:7, 0, 0, 0, 0].tolist() == [120, 120, 144, 144]  # the nearest there is
    assert len(dataset.skipped) == 2 and dataset[0].frame_valid.all()
    starts = [c.meta['frame_indices'][0] for c in H2O(root, on_broken='skip', sampling=ActionClips(1, 1))]
    assert starts == [*range(10), *range(12, 16), *range(18, 30), *range(5, 10)]  # a clip of nothing is no clip


@pytest.mark.parametrize('size', [None, (32, 18)])
def test_packed_pictures_without_the_files(tmp_path, size):
    """A store may be all that was kept; which frames it has, and how large they were, is read from it."""
    root = files.write_root(tmp_path / 'root', splits=('val',))
    plain = H2O(root, 'val', pipeline=LOAD)
    before = plain[0]
    (root / 'subject3/k2/0/cam4/rgb/000002.png').unlink()
    recoding = None if size is None else Recoding(size, 'png')
    pack_frames(tmp_path / 'store', root, plain.image_paths(), recoding, workers=1)
    before = before if size is None else ResizeFrames(size)(before, None)
    shutil.rmtree(root / 'subject3/k2/0/cam4/rgb')
    with pytest.raises(DatasetError, match=r'image of frame 2 is not in .*store'):
        H2O(root, 'val', packed=str(tmp_path / 'store'))
    packed = H2O(root, 'val', packed=str(tmp_path / 'store'), on_broken='skip', pipeline=LOAD)
    video = packed[0].validate()
    assert video.frame_valid.tolist() == [f != 2 for f in range(5)]
    assert torch.equal(video.images[[0, 1, 3, 4]], before.images[[0, 1, 3, 4]])
    torch.testing.assert_close(video.intrinsics, before.intrinsics)
    torch.testing.assert_close(video.joints_2d[3], before.joints_2d[3])


def test_no_pictures_at_all(tmp_path):
    root = files.write_root(tmp_path)
    with pytest.raises(DatasetError, match=r'none of the images .*unpack them there'):
        H2O(root, images='rgb256', on_broken='skip')


FILES = {
    'absent': (lambda p: p.unlink(), 'does not exist; unpack this part'),
    'MANO parameters': (lambda p: p.write_text('0 ' * 124), r'must hold 128 numbers \(left flag and 21 x y z.*got 124'),
    'text': (lambda p: p.write_text('left ' * 128), 'must hold 128 numbers.*holds other text'),
    'NaN': (lambda p: p.write_text('nan ' * 128), 'got NaN, infinity'),
    'without flags': (lambda p: p.write_text('0.2 ' * 128), 'must begin with a flag, .*got 0.2 and'),
    'empty': (lambda p: p.write_text(''), 'got 0 numbers'),
}  # fmt: skip


@pytest.mark.parametrize('case', FILES)
def test_broken_label_files(tmp_path, case):
    breaks, sentence = FILES[case]
    root = files.write_root(tmp_path)
    breaks(root / 'subject3/k2/0/cam4/hand_pose/000002.txt')
    with pytest.raises(DatasetError, match=f'hand_pose/000002.txt {sentence}' if case == 'absent' else sentence):
        H2O(root, 'val')[0]
    dataset = H2O(root, 'val', on_broken='skip')
    video = dataset[0].validate()
    assert video.hand_valid.any(1).tolist() == [f != 2 for f in range(5)] and video.frame_valid.all()
    assert dataset.skipped == ['subject3/k2/0/000000-000004']


def test_units_that_are_not_metres(tmp_path):
    root = files.write_root(tmp_path)
    for path in (root / 'subject3/k2/0/cam4/hand_pose').iterdir():
        values = np.array(path.read_text().split(), float).reshape(2, 64)
        values[:, 1:] *= 1000
        path.write_text(files.line(values.ravel()))
    with pytest.raises(DatasetError, match=r'hand_pose: .* must hold metres, the numbers look like millimetres'):
        H2O(root, 'val')[0]


def test_pictures_that_do_not_fit_their_camera(tmp_path):
    root = files.write_root(tmp_path, size=(64, 48))
    with pytest.raises(DatasetError, match=r'000000.png is 64x48, which is not the shape of the 1280x720'):
        H2O(root, 'val')[0]


def test_missing_mano_folder_and_other_model(tmp_path):
    root = files.write_root(tmp_path, mano='something_else')
    with pytest.raises(DatasetError, match=r"has no hand_pose_MANO folder.*labels='joints_only'"):
        H2O(root, 'val', labels='full')[0]
    (root / 'hand_model.yml').unlink()
    with pytest.raises(DatasetError, match="hand model 'mano', but hand_model is 'procedural-1'"):
        H2O(root, 'val', labels='full')
    assert H2O(root, 'val')[0].meta['hand_model'] == 'mano'


@pytest.mark.parametrize(
    'options, sentence',
    [
        (dict(data_root='nowhere'), r'nowhere, which does not exist.*h2odataset.ethz.ch.*--layout h2o'),
        (dict(split='validation'), "split must be one of 'train', 'val', 'test'"),
        (dict(camera='cam5'), r"camera must be one of .*got 'cam5'"),
        (dict(images='rgb255'), "Did you mean 'rgb256'"),
        (dict(taxonomy='mine.yml'), 'mine.yml does not exist; correct the list of actions'),
    ],
)
def test_wrong_options(root, options, sentence):
    with pytest.raises(DatasetError, match=sentence):
        H2O(**{'data_root': root, **options})


OFFICIAL = {
    # segments, their frames, shortest, longest, recordings
    'train': (569, 55747, 22, 683, 114),
    'val': (122, 11638, 30, 342, 24),
    'test': (242, 23391, 34, 402, 46),
}
SUBJECTS = {'train': {'subject1', 'subject2', 'subject3'}, 'val': {'subject3'}, 'test': {'subject4'}}


def real_lists():
    folder = Path(os.environ.get('HANDPOSE_REAL_DATA', 'none')) / 'h2o_lists'
    if not folder.is_dir():
        pytest.skip('HANDPOSE_REAL_DATA names no folder with h2o_lists')
    return folder


@pytest.mark.parametrize('split', OFFICIAL)
def test_the_official_lists(split):
    segments = read_segments(real_lists() / f'action_{split}.txt', H2O_ACTIONS)
    lengths = [segment.stop - segment.first for segment in segments]
    found = len(segments), sum(lengths), min(lengths), max(lengths), len({s.recording for s in segments})
    assert found == OFFICIAL[split] and {s.recording.split('/')[0] for s in segments} == SUBJECTS[split]
    assert [s.number for s in segments] == list(range(1, len(segments) + 1))
    if split == 'test':
        assert {s.action for s in segments} == {-1}
    else:
        assert set(Counter(s.action for s in segments)) <= set(range(36))
    if split == 'train':  # every action is to be learned
        assert {s.action for s in segments} == set(range(36))


def test_the_official_pose_list_is_that_of_the_segments():
    """Its head: the frames of the first recordings' segments, and no others."""
    lines = (real_lists() / 'pose_train_head.txt').read_text().split()
    listed = [(line.split('/cam4/')[0], int(Path(line).stem)) for line in lines]
    whole = list(dict.fromkeys(recording for recording, _ in listed))[:-1]  # the last one is cut off
    segments = read_segments(real_lists() / 'action_train.txt', H2O_ACTIONS)
    frames = {(s.recording, f) for s in segments if s.recording in whole for f in range(s.first, s.stop)}
    assert len(whole) == 3 and {entry for entry in listed if entry[0] in whole} == frames


def test_a_list_saved_by_a_text_editor(tmp_path):
    """A byte-order mark and Windows' line ends change nothing; hidden files of other systems are no pictures."""
    root = files.write_root(tmp_path)
    before = [clip.meta for clip in H2O(root)]
    path = root / 'label_split' / 'action_train.txt'
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n'))
    (root / 'subject1/h1/0/cam4/rgb/._000003.png').write_bytes(b'\0\5\26\7')
    assert [clip.meta for clip in H2O(root)] == before
