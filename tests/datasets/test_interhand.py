import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ho3d_files import write_plain
from pose_layouts import CAMERAS, FRAMES, change, check_hands_of_clip, true_joints, write
from scipy.spatial.transform import Rotation

from handpose.datasets import ClipSampling, DatasetError, InterHand26M
from handpose.datasets.io.cameras import choose_cameras
from handpose.datasets.io.pose_recordings import timeline
from handpose.hands import MANO
from handpose.hands.joints import JOINT_ORDERS

PREFIX = 'annotations/{0}/InterHand2.6M_{0}_{1}.json'
NAMES = ('400002', '400012')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('interhand') / 'data'
    return root, write(root, 'interhand')


@pytest.fixture
def root(data, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(data[0], tmp_path / 'copy', ignore=shutil.ignore_patterns('generator')))


def motion_of(layout, track):
    """The generator's motion of a track, and its camera."""
    sequence = int(track.meta['sequence'].split('/')[1][:4])
    subject = {'train': 0, 'val': 1, 'test': 2}[track.meta['split']]
    return layout.read_scene(subject, sequence), NAMES.index(track.meta['cameras'][0])


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_tracks_are_the_generator_s(data, split):
    root, layout = data
    tracks = InterHand26M(root, split)
    assert len(tracks) == 5 * CAMERAS and tracks.metainfo['dataset'] == 'InterHand26M'
    absent = 0
    for track in tracks:
        track.validate()
        motion, camera = motion_of(layout, track)
        truth, sides = true_joints(motion, camera), motion.sides.tolist()
        assert len(track.frame_valid) == FRAMES and track.hand_side.tolist() == [0, 1]
        assert (track.hand_valid[:, sides].numpy() == motion.hand_valid).all()
        assert not track.hand_valid[:, [s for s in (0, 1) if s not in sides]].any()
        assert torch.equal(track.joints_valid, track.hand_valid[..., None].expand_as(track.joints_valid))
        valid = motion.hand_valid
        # The files hold a ten-thousandth of a millimetre.
        assert np.abs(track.joints_3d[:, sides].double().numpy() - truth)[valid].max() < 1e-6
        assert np.abs(track.intrinsics[0, 0].numpy() - motion.intrinsics[camera]).max() < 1e-4
        assert np.abs(track.hand_shape[sides].numpy() - motion.hand_shape).max() < 1e-6
        check_hands_of_clip(track)
        indices = np.array(track.meta['frame_indices'])
        assert (np.diff(indices) == 1).all() and track.meta['fps'] == 30
        known = motion.hand_valid.any(1)
        numbers = np.array(track.meta['official_indices'])
        assert ((numbers >= 0) == known).all()
        assert (numbers[known] == indices[known] * {'train': 3, 'val': 1, 'test': 1}[split]).all()
        np.testing.assert_allclose(np.diff(track.timestamps.numpy()), 1 / 30)
        absent += (~known).sum()
    assert absent > 0


def test_no_subject_is_in_two_splits(data):
    root, _ = data
    shapes = [
        {tuple(t.hand_shape[t.hand_pose_valid.any(0)][0].tolist()) for t in InterHand26M(root, s)}
        for s in ('train', 'val', 'test')
    ]
    assert [len(s) for s in shapes] == [5, 5, 5] and len(set.union(*shapes)) == 15
    subjects = [
        {i['subject'] for i in json.loads((root / PREFIX.format(s, 'data')).read_text())['images']}
        for s in ('train', 'val', 'test')
    ]
    assert subjects == [{0}, {1}, {2}]


def test_clips_cover_a_track(data):
    root, _ = data
    clips = InterHand26M(root, 'val', sampling=ClipSampling(20, clip_step=8))
    assert len(clips) == 5 * CAMERAS * 3
    assert all(len(clip.validate().frame_valid) == 20 for clip in clips)
    long = InterHand26M(root, 'val', sampling=ClipSampling(50, clip_step=8))[0].validate()
    assert long.frame_valid.sum() == FRAMES and not long.hand_valid[FRAMES:].any()
    assert not long.hand_pose_valid[FRAMES:].any() and not long.joints_2d_valid[FRAMES:].any()


def test_the_release_of_5_frames_a_second(data, tmp_path):
    root, layout = data
    slow = write(tmp_path / 'slow', 'interhand', interhand_fps=5)
    for split, step in (('train', 18), ('val', 6), ('test', 6)):
        tracks = InterHand26M(tmp_path / 'slow', split, fps=5)
        fast = {t.meta['sequence'] + t.meta['cameras'][0]: t for t in InterHand26M(root, split)}
        for track in tracks:
            track.validate()
            numbers = [n for n in track.meta['official_indices'] if n >= 0]
            assert set(np.diff(numbers)) <= {step, 2 * step} and (np.diff(track.meta['frame_indices']) == 1).all()
            same = fast[track.meta['sequence'] + track.meta['cameras'][0]]
            for place, number in enumerate(track.meta['official_indices']):
                if number >= 0:
                    other = same.meta['official_indices'].index(number)
                    assert torch.equal(track.joints_3d[place], same.joints_3d[other])
            assert track.timestamps[1] - track.timestamps[0] == pytest.approx(0.2)
    assert slow.options.content() != layout.options.content()
    with pytest.raises(DatasetError, match=r'rise by 18, but those of split .train. at 30 .* rise by 3; .*: fps=5'):
        InterHand26M(tmp_path / 'slow', 'train')
    with pytest.raises(DatasetError, match='of 30 frames a second: fps=30'):
        InterHand26M(root, 'test', fps=5)


def test_timeline_leaves_gaps_that_no_triple_spans():
    assert timeline(np.array([6, 9, 18]), 3).tolist() == [0, 1, -1, -1, 2]
    assert timeline(np.array([6, 9, 13, 16]), 3).tolist() == [0, 1, -1, -1, 2, 3]
    assert timeline(np.array([6, 9, 10]), 3).tolist() == [0, 1, -1, 2]
    assert timeline(np.array([5]), 18).tolist() == [0]


def test_joint_order_and_hands_on_disk(root):
    """A joint of the file goes where its name says: 0 is the right thumb's tip, 20 the right wrist, 41 the left."""
    order = JOINT_ORDERS['interhand']
    assert (order[0], order[3], order[7], order[19], order[20]) == (
        'thumb_tip', 'thumb_cmc', 'index_mcp', 'little_mcp', 'wrist',
    )  # fmt: skip
    path = root / PREFIX.format('test', 'joint_3d')
    content = json.loads(path.read_text())
    frames = next(iter(content.values()))
    number, entry = next((n, e) for n, e in frames.items() if all(v[0] for v in e['joint_valid']))
    entry['world_coord'] = [[5 * joint, 0, 1000] for joint in range(42)]
    path.write_text(json.dumps(content))
    change(root / PREFIX.format('test', 'camera'), lambda c: c['0'].update(
        campos={n: [0, 0, 0] for n in NAMES}, camrot={n: np.eye(3).tolist() for n in NAMES}))  # fmt: skip
    track = next(
        t for t in InterHand26M(root, 'test', labels='joints_only')
        if int(number) in t.meta['official_indices']
    )  # fmt: skip
    found = track.joints_3d[track.meta['official_indices'].index(int(number)), :, :, 0] * 200
    right = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
    assert found[1].round().int().tolist() == right
    assert found[0].round().int().tolist() == [j + 21 for j in right]


def test_campos_is_a_place_not_a_translation(root):
    """A hand half a metre before the camera's own place, in the world, is half a metre before it."""
    cameras = json.loads((root / PREFIX.format('test', 'camera')).read_text())['0']
    place, turn = (np.array(cameras[key][NAMES[1]]) for key in ('campos', 'camrot'))
    hand = np.stack([5.0 * np.arange(42), np.zeros(42), np.full(42, 500.0)], -1)  # millimetres, the camera's frame

    def edit(content):
        for entry in content['0'].values():
            entry['world_coord'] = (hand @ turn + place).tolist()

    change(root / PREFIX.format('test', 'joint_3d'), edit)
    track = InterHand26M(root, 'test', cameras=[NAMES[1]], labels='joints_only')[0]
    order = np.array([20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16])
    expected = torch.from_numpy(np.stack([hand[21 + order], hand[order]]) / 1000).float()
    valid = track.joints_valid
    assert valid.any() and (track.joints_3d - expected)[valid].abs().max() < 1e-5


def test_a_hand_without_a_wrist_is_absent_and_both_shapes_of_flags_are_read(root):
    path = root / PREFIX.format('test', 'joint_3d')
    content = json.loads(path.read_text())
    full = [n for n, e in content['0'].items() if all(v[0] for v in e['joint_valid'])]
    content['0'][full[0]]['joint_valid'][41] = [0]  # the left wrist
    content['0'][full[1]]['joint_valid'][0] = [0]  # the right thumb's tip
    content['0'][full[2]]['joint_valid'] = [v[0] for v in content['0'][full[2]]['joint_valid']]
    path.write_text(json.dumps(content))
    track = next(
        t for t in InterHand26M(root, 'test') if int(full[0]) in t.meta['official_indices']
    ).validate()  # fmt: skip
    first, second, third = (track.meta['official_indices'].index(int(n)) for n in full[:3])
    assert track.hand_valid[first].tolist() == [False, True] and track.hand_pose_valid[first].tolist() == [False, True]
    assert track.hand_valid[second].all() and track.joints_valid[second].sum() == 41
    assert not track.joints_valid[second, 1, 4] and (track.joints_3d[second, 1, 4] == 0).all()
    assert track.joints_valid[third].all()


def test_hand_types(data):
    root, _ = data
    counts = {
        kind: {t.meta['sequence'] for t in InterHand26M(root, 'train', hand_type=kind)}
        for kind in ('all', 'single', 'interacting')
    }
    assert [len(counts[k]) for k in counts] == [5, 2, 3]
    assert counts['single'] | counts['interacting'] == counts['all']
    assert all('_dh_' in name for name in counts['interacting'])
    for track in InterHand26M(root, 'train'):
        hands = {'right': [False, True], 'left': [True, False], 'interacting': [True, True]}
        for t, kind in enumerate(track.meta['hand_types']):
            if kind is None:
                assert track.meta['official_indices'][t] == -1 and not track.hand_valid[t].any()
            elif kind != 'interacting':  # one of two hands may lack its annotation
                assert track.hand_valid[t].tolist() == hands[kind]
        assert ('interacting' in track.meta['hand_types']) == ('_dh_' in track.meta['sequence'])


def test_cameras(data):
    root, _ = data
    assert {t.meta['cameras'][0] for t in InterHand26M(root, 'val', cameras=1)} == {NAMES[0]}
    assert {t.meta['cameras'][0] for t in InterHand26M(root, 'val', cameras=[NAMES[1]])} == {NAMES[1]}
    with pytest.raises(DatasetError, match=r"names '40000', which .*camera.json lacks .*Did you mean '400002'"):
        InterHand26M(root, 'val', cameras=['40000'])
    with pytest.raises(DatasetError, match='at least 1, got 0'):
        InterHand26M(root, 'val', cameras=0)
    assert choose_cameras(['abcdefghi', 'ba'], 3, 'x') == [['a', 'e', 'i'], ['a', 'b']]
    assert choose_cameras(['ab', 'bc'], ['c', 'b'], 'x') == [['b'], ['c', 'b']]


def test_joints_inside_the_picture(root):
    """joint_valid of data.json counts truncated joints out; that of joint_3d.json does not."""

    def edit(content):
        for entry in content['annotations']:
            entry['joint_valid'][0] = [0]  # the right thumb's tip is out of every picture
        gone = {i['id'] for i in content['images'] if i['camera'] == NAMES[1]}
        content['images'] = [i for i in content['images'] if i['id'] not in gone]
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] not in gone]

    change(root / PREFIX.format('train', 'data'), edit)
    annotated = InterHand26M(root, 'train', joint_valid='annotated')
    image = InterHand26M(root, 'train', joint_valid='image')
    assert len(annotated) == 10 and len(image) == 5
    whole = {t.meta['sequence']: t for t in annotated if t.meta['cameras'] == [NAMES[0]]}
    for track in image:
        track.validate()
        other = whole[track.meta['sequence']]
        places = [other.meta['frame_indices'].index(i) for i in track.meta['frame_indices']]
        assert not track.joints_valid[:, 1, 4].any()
        assert not (track.joints_valid & ~other.joints_valid[places]).any()
        u, v = track.joints_2d[track.joints_2d_valid].T
        assert u.min() > -0.5 and v.min() > -0.5 and u.max() < 255.5 and v.max() < 255.5


def test_sequences_of_files_that_name_them_in_data_json_alone(root):
    names = {t.meta['sequence'] for t in InterHand26M(root, 'test')}

    def edit(content):
        for entry in content['0'].values():
            del entry['seq']

    change(root / PREFIX.format('test', 'joint_3d'), edit)
    assert {t.meta['sequence'] for t in InterHand26M(root, 'test')} == names


def test_mano_parameters(root, tmp_path):
    """The mean pose is added, the wrist stays in place, and shapes that change with the frame are averaged."""
    (root / 'hand_model.yml').unlink()
    (tmp_path / 'mano').mkdir()
    write_plain(tmp_path / 'mano')
    path = root / PREFIX.format('test', 'MANO_NeuralAnnot')
    content, rng = json.loads(path.read_text()), np.random.default_rng(0)
    model = MANO(tmp_path / 'mano', left_shapedirs='fixed')
    joints = json.loads((root / PREFIX.format('test', 'joint_3d')).read_text())['0']
    for number, entry in content['0'].items():
        for hand, side in enumerate(('left', 'right')):
            if entry[side]:
                shape = rng.normal(0, 1, 10)
                rest = model.rest_wrist(torch.from_numpy(shape).float(), torch.tensor(hand)).numpy()
                wrist = np.array(joints[number]['world_coord'][(41, 20)[hand]]) / 1000
                entry[side].update(shape=shape.tolist(), trans=(wrist - rest).tolist())
    path.write_text(json.dumps(content))
    track = InterHand26M(root, 'test', hand_model=model)[-1].validate()
    cameras = json.loads((root / PREFIX.format('test', 'camera')).read_text())['0']
    turn, place = (np.array(cameras[key][track.meta['cameras'][0]]) for key in ('camrot', 'campos'))
    shapes = {'left': [], 'right': []}
    for t, number in enumerate(track.meta['official_indices']):
        for hand, side in enumerate(('left', 'right')):
            entry = content['0'][str(number)][side] if number >= 0 else None
            assert bool(track.hand_pose_valid[t, hand]) == (entry is not None)
            if entry is None:
                continue
            shapes[side].append(entry['shape'])
            pose = np.array(entry['pose'])
            fingers = pose[3:] + model.pose_mean_of(hand).numpy()
            assert np.abs(track.hand_pose[t, hand, 1:].reshape(45).numpy() - fingers).max() < 1e-5
            wrist = Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:3])
            found = Rotation.from_rotvec(track.hand_pose[t, hand, 0].numpy())
            assert (wrist.inv() * found).magnitude() < 1e-5
            # An independent look at the wrist: the model itself, in the world, with the frame's own shape.
            mesh = model(
                torch.tensor(pose, dtype=torch.float32).reshape(16, 3), torch.tensor(entry['shape']).float(),
                torch.tensor(entry['trans']).float(), torch.tensor(hand),
            )  # fmt: skip
            expected = turn @ (mesh.joints[0].double().numpy() - place / 1000)
            ours = model(
                track.hand_pose[t, hand], track.hand_shape[hand], track.hand_transl[t, hand], torch.tensor(hand)
            )
            assert np.abs(ours.joints[0].double().numpy() - expected).max() < 1e-5
    for hand, side in enumerate(('left', 'right')):
        assert np.abs(track.hand_shape[hand].numpy() - np.mean(shapes[side], 0)).max() < 1e-5


def test_labels_of_joints_alone_need_no_hand_model(root):
    (root / 'hand_model.yml').unlink()
    (root / PREFIX.format('val', 'MANO_NeuralAnnot')).unlink()
    track = InterHand26M(root, 'val', labels='joints_only')[0].validate()
    assert track.hand_pose is None and track.meta['hand_model'] == 'mano'
    with pytest.raises(DatasetError, match="made with the hand model 'mano'"):
        InterHand26M(root, 'val')


def edit_first_frame(**changes):
    def edit(content):
        entry = next(iter(content['0'].values()))
        for key, value in changes.items():
            if value is None:
                del entry[key]
            else:
                entry[key] = value

    return edit


@pytest.mark.parametrize(
    ('file', 'edit', 'sentence'),
    [
        ('joint_3d', edit_first_frame(world_coord=None), r"frame \d+ has no 'world_coord' \(it has: joint_valid"),
        ('joint_3d', edit_first_frame(world_coord=[[0, 0, 0]] * 21), r'world_coord must have shape \(42, 3\), got'),
        ('joint_3d', edit_first_frame(world_coord=[[0, 0, float('nan')]] * 42), 'joint_3d.json holds NaN'),
        ('joint_3d', edit_first_frame(joint_valid=[1] * 21), 'joint_valid must have shape'),
        ('joint_3d', edit_first_frame(hand_type='both'), "hand_type must be one of .* got 'both'"),
        ('camera', lambda c: c['0'].pop('campos'), r"camera 400002 has no 'campos'"),
        ('camera', lambda c: c.pop('0'), "has no capture '0', which joint_3d.json has"),
        (
            'MANO_NeuralAnnot',
            lambda c: next(iter(c['0'].values()))['right'].update(pose=[0] * 45),
            'pose must have shape',
        ),
        ('joint_3d', lambda c: c.clear(), "split 'test' of .* has no annotated frame"),
    ],
)
def test_files_that_are_not_as_they_should_be(root, file, edit, sentence):
    change(root / PREFIX.format('test', file), edit)
    with pytest.raises(DatasetError, match=sentence):
        InterHand26M(root, 'test')


def test_missing_files_and_unknown_options(root, tmp_path):
    with pytest.raises(DatasetError, match=r'does not exist\. Download the annotations .*--layout interhand'):
        InterHand26M(tmp_path / 'nothing')
    for name, value in (
        ('split', 'tset'),
        ('fps', 60),
        ('hand_type', 'both'),
        ('joint_valid', 'x'),
        ('labels', 'some'),
    ):
        with pytest.raises(DatasetError, match=f'{name} must be one of'):
            InterHand26M(root, **{name: value})
    (root / PREFIX.format('train', 'camera')).unlink()
    with pytest.raises(DatasetError, match=r'train_camera.json does not exist; .* holds annotations/test/'):
        InterHand26M(root, 'train')
    path = root / PREFIX.format('val', 'joint_3d')
    path.write_text(path.read_text()[:100])
    with pytest.raises(DatasetError, match=r'joint_3d\.json is not valid JSON'):
        InterHand26M(root, 'val')


REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', 'unset')) / 'interhand_sample'


@pytest.mark.skipif(not REAL.is_dir(), reason='HANDPOSE_REAL_DATA names no folder with interhand_sample')
def test_official_files():
    """Real joints, projected through the real cameras, lie in the annotated boxes."""
    tracks = InterHand26M(REAL, 'test', annotations='{split}_interhand2.6m', labels='joints_only')
    content = json.loads((REAL / 'test_interhand2.6m_data.json').read_text())
    boxes = {
        (str(image['camera']), image['frame_idx']): (annotation['bbox'], annotation['hand_type'], image)
        for image, annotation in zip(content['images'], content['annotations'], strict=True)
    }
    assert len(tracks) == len(boxes) == 4
    for track in tracks:
        track.validate()
        (x, y, width, height), kind, image = boxes[track.meta['cameras'][0], track.meta['official_indices'][0]]
        assert track.hand_valid[0].tolist() == [kind != 'right', kind != 'left']
        assert track.meta['sequence'] == f'Capture{image["capture"]}/{image["seq_name"]}'
        pixels = track.joints_2d[0, 0][track.joints_2d_valid[0, 0]].numpy()
        assert (pixels >= np.array([x, y]) - 2).all() and (pixels <= np.array([x + width, y + height]) + 2).all()
        bones = np.linalg.norm(np.diff(track.joints_3d[0][track.hand_valid[0]][:, [0, 9]], axis=1), axis=-1)
        assert (bones > 0.07).all() and (bones < 0.12).all()  # metres from the wrist to the middle knuckle
    image = InterHand26M(REAL, 'test', annotations='test_interhand2.6m', labels='joints_only', joint_valid='image')
    assert len(image) == 4 and all((t.joints_valid.sum() > 0) for t in image)
