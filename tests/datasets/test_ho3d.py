import os
import pickle

import ho3d_files as files
import numpy as np
import pytest
import torch
from samplings import centred
from scipy.spatial.transform import Rotation

from handpose.datasets import HO3D, DatasetError
from handpose.geometry.camera import project_points
from handpose.hands import MANO, ProceduralHand
from handpose.registry import DATASETS
from handpose.structures import HandSequence

LOAD = [{'type': 'LoadImages'}]
WRIST = [True] + [False] * 20


@pytest.fixture(scope='module', params=[2, 3])
def root(request, tmp_path_factory):
    """Three training and two evaluation sequences of 12 frames, of which 0, 5 and 11 are not annotated."""
    folder = tmp_path_factory.mktemp('ho3d') / f'v{request.param}'
    return files.write_root(folder, request.param, frames=12, unannotated=(0, 5, 11), truth=True)


def version_of(root):
    return int(root.name[1])


def test_clip_has_the_labels_of_its_frames(root):
    config = dict(type='HO3D', data_root=str(root), sampling=centred(5, 2, across_gaps=True), pipeline=LOAD)
    dataset = DATASETS.build(config)
    assert len(dataset) == 3 * 9 and dataset.version == version_of(root)
    clip = dataset[2].validate()  # the third annotated frame (1, 2, 3, 4, 6, ...) of the first sequence
    assert clip.meta['frame_indices'] == [1, 1, 3, 3, 7]  # frame 5 is not annotated; frame 7 enters again
    assert clip.frame_valid.tolist() == [False, True, True, False, True]
    assert clip.meta['official_indices'] == [0, 0, 2, 2, 5]
    assert clip.hand_valid[:, 0].tolist() == clip.frame_valid.tolist() == clip.hand_pose_valid[:, 0].tolist()
    assert clip.joints_valid[clip.frame_valid].all() and not clip.joints_2d_valid[~clip.frame_valid].any()
    for t, frame in enumerate(clip.meta['frame_indices']):
        expected = files.common(frame)
        np.testing.assert_allclose(clip.joints_3d[t, 0], expected, atol=1e-7)
        seen = files.pixels(expected)
        np.testing.assert_allclose(clip.boxes[t, 0, 0], [*seen.min(0), *seen.max(0)], rtol=1e-5)
        if clip.frame_valid[t]:
            np.testing.assert_allclose(clip.joints_2d[t, 0, 0], seen, rtol=1e-5)
    np.testing.assert_allclose(clip.intrinsics[0, 0], files.CAMERA)
    np.testing.assert_allclose(clip.hand_shape[0], np.linspace(-1, 1, 10), rtol=1e-6)
    assert clip.hand_side.tolist() == [1] and clip.occlusion.isnan().all()
    assert clip.images.shape == (5, 1, 3, 72, 96) and clip.images[0, 0, 0].float().mean() > 190  # red comes first
    assert clip.meta['sequence'] == 'ABF10' and clip.meta['cameras'] == ['0'] and clip.meta['recording'] == 'ABF1'
    assert clip.meta['version'] == version_of(root) and clip.meta['hand_model'] == 'procedural-1'
    assert dataset[26].meta['sequence'] == 'SM2' and dataset[26].meta['cameras'] == ['0']
    assert HandSequence.stack([clip, dataset[20]]).validate().joints_3d.shape == (2, 5, 1, 21, 3)


def test_object_box_is_that_of_the_turned_corners(root):
    x, y, z = (files.corners()[:, [1, 0, 2]] * (-1, 1, 1) + (0.05, 0.01, -0.5)).T  # a quarter turn about z
    seen = files.pixels(np.stack([x, -y, -z], -1))
    clip = HO3D(root, sampling=centred(1, across_gaps=True))[0]
    np.testing.assert_allclose(clip.object_boxes[0, 0], [*seen.min(0), *seen.max(0)], rtol=1e-5)


@pytest.mark.parametrize('name', ['procedural-1', None])
def test_hand_parameters_make_the_same_hand_in_other_axes(tmp_path, name):
    """The model posed by the file's numbers, its mesh then turned, is the model posed by the reader's numbers."""
    model = ProceduralHand()
    if name is None:  # as a real root: made with MANO, here files like MANO's of random values
        files.write_plain(tmp_path)
        model = MANO(tmp_path, flat_hand_mean=True)
    clip = HO3D(
        files.write_root(tmp_path / 'root', name=name), hand_model=model, sampling=centred(1, across_gaps=True)
    )[3]
    values = files.labels(clip.meta['frame_indices'][0])
    side = torch.tensor(1)
    shape = torch.tensor(values['handBeta'], dtype=torch.float32)
    pose, transl = (torch.tensor(values[key], dtype=torch.float32) for key in ('handPose', 'handTrans'))
    opengl = model(pose.reshape(16, 3), shape, transl, side)
    opencv = model(clip.hand_pose[0, 0], clip.hand_shape[0], clip.hand_transl[0, 0], side)
    flip = torch.tensor([1.0, -1.0, -1.0])
    assert name or model.rest_wrist(shape, side)[1:].abs().min() > 1e-3  # else t's correction were not tested
    torch.testing.assert_close(opencv.vertices, opengl.vertices * flip, atol=2e-6, rtol=0)
    turned = Rotation.from_euler('x', 180, degrees=True) * Rotation.from_rotvec(values['handPose'][:3])
    np.testing.assert_allclose(clip.hand_pose[0, 0, 0], turned.as_rotvec(), atol=1e-6)
    np.testing.assert_allclose(clip.hand_pose[0, 0, 1:].ravel(), values['handPose'][3:], atol=1e-6)


def test_a_point_on_the_optical_axis(tmp_path):
    root = files.write_root(tmp_path, frames=1)
    values = files.labels(0)
    values['handJoints3D'] = np.array([0, 0, -0.5]) + np.arange(21)[:, None] * (0, 0, -0.01)
    files.write_label(files.label_file(root, 'ABF10', 0), values)
    clip = HO3D(root, sampling=centred(1, across_gaps=True))[0]
    np.testing.assert_allclose(clip.joints_2d[0, 0, 0], np.tile([47.0, 35.0], (21, 1)))
    np.testing.assert_allclose(clip.joints_3d[0, 0, 4], [0, 0, 0.66])  # the thumb's tip is HO3D's joint 16


def test_tracks_keep_frames_without_annotation(root):
    dataset = HO3D(root)
    assert len(dataset) == 3 and dataset.sample_name(2) == 'SM2'
    track = dataset[1].validate()
    assert track.meta['frame_indices'] == list(range(1, 11)) and track.meta['cameras'] == ['1']
    assert track.frame_valid.all() and track.hand_valid[:, 0].tolist() == [f != 5 for f in range(1, 11)]
    assert track.meta['official_indices'] == [9, 10, 11, 12, -1, 13, 14, 15, 16, 17]
    assert torch.equal(track.boxes[4], track.boxes[3]) and torch.equal(track.intrinsics[4], track.intrinsics[3])
    assert not track.hand_transl[4].any() and track.timestamps[1] == 2 / 30


def test_evaluation_part_knows_the_wrist_and_a_box(root):
    dataset = HO3D(root, 'evaluation', labels='joints_only', version=version_of(root))
    assert [dataset.sample_name(i) for i in range(len(dataset))] == ['SB11', 'SM1']
    track = dataset[0].validate()
    annotated = [f != 5 for f in range(1, 11)]
    assert track.joints_valid[:, 0].tolist() == [WRIST if known else [False] * 21 for known in annotated]
    assert track.joints_2d_valid[0, 0, 0].tolist() == WRIST and track.hand_pose is None
    np.testing.assert_allclose(track.joints_3d[2, 0, 0], files.common(3, camera=1)[0], atol=1e-7)
    assert track.boxes[2, 0, 0].tolist() == [13, 20, 33, 45] and track.joints_2d.isfinite().all()
    truth = HO3D(root, 'evaluation', labels='joints_only', truth_file='evaluation_xyz.json')[0].validate()
    assert truth.joints_valid[:, 0].all(-1).tolist() == annotated
    np.testing.assert_allclose(truth.joints_3d[2, 0], files.common(3, camera=1), atol=1e-7)
    torch.testing.assert_close(truth.joints_2d[2, 0], project_points(truth.joints_3d, truth.intrinsics)[2])


def test_held_out_recordings_are_the_validation_split(root):
    names = {}
    for split in ('train', 'val'):
        dataset = HO3D(root, split, held_out=['ABF1'])
        names[split] = [dataset.sample_name(i) for i in range(len(dataset))]
    assert names == {'train': ['SM2'], 'val': ['ABF10', 'ABF11']}
    assert len(HO3D(root, held_out=['ABF10', 'SM2'])) == 1


def test_clip_step_and_gaps_in_frame_numbers(tmp_path):
    root = files.write_root(tmp_path, train=('SM2',), frames=10, unannotated=(1, 2, 3))
    for frame in (1, 2):
        files.label_file(root, 'SM2', frame).unlink()
        (root / 'train' / 'SM2' / 'rgb' / f'{frame:04d}.png').unlink()
    centres = [clip.meta['frame_indices'][0] for clip in HO3D(root, sampling=centred(1, clip_step=3, across_gaps=True))]
    assert centres == [0, 4, 7]
    assert HO3D(root)[0].meta['frame_indices'] == [0, *range(3, 10)]


def test_world_frame_is_the_reference_camera(tmp_path):
    """Two cameras half a turn about y apart; file 0 of the calibration is camera 1's, the reference."""
    root = files.write_root(tmp_path, version=3, frames=1)
    folder = root / 'calibration' / 'ABF1' / 'calibration'
    folder.mkdir(parents=True)
    (folder / 'cam_orders.txt').write_text('1 0\n')
    half_turn = np.array([[-1, 0, 0, 0.1], [0, 1, 0, 0.2], [0, 0, -1, 1.1], [0, 0, 0, 1]])
    np.savetxt(folder / 'trans_0.txt', np.eye(4))
    np.savetxt(folder / 'trans_1.txt', half_turn)
    world = [
        clip.validate() for clip in HO3D(root, frame='world', held_out=['SM2'], sampling=centred(1, across_gaps=True))
    ]
    np.testing.assert_allclose(world[1].joints_3d[0, 0], files.common(0, camera=1), atol=1e-6)
    x, y, z = files.common(0, camera=0).T
    np.testing.assert_allclose(world[0].joints_3d[0, 0], np.stack([0.1 - x, y + 0.2, 1.1 - z], -1), atol=1e-6)
    seen = project_points(world[0].joints_3d, world[0].intrinsics, world[0].extrinsics)
    torch.testing.assert_close(seen[0], world[0].joints_2d[0, 0], atol=1e-3, rtol=0)
    with pytest.raises(DatasetError, match=r"only the multi-camera recordings of HO3D version 3.*frame='camera'"):
        HO3D(root, 'val', frame='world', held_out=['SM2'])


@pytest.mark.parametrize('frame', ['camera', 'world'])
def test_the_clips_hand_has_its_mean_shape(tmp_path, frame):
    """Shapes that change by the frame, and joints that are not MANO's: the wrist is still where the files put it."""
    files.write_plain(tmp_path)
    model, side = MANO(tmp_path, flat_hand_mean=True), torch.tensor(1)
    root = files.write_root(tmp_path / 'root', 3, train=('ABF10',), frames=3, name=None)
    calibration = root / 'calibration' / 'ABF1' / 'calibration'
    calibration.mkdir(parents=True)
    (calibration / 'cam_orders.txt').write_text('1 0\n')
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = Rotation.from_rotvec([0.3, -1.0, 0.4]).as_matrix(), (0.1, 0.2, 0.3)
    np.savetxt(calibration / 'trans_0.txt', np.eye(4))
    np.savetxt(calibration / 'trans_1.txt', turned)
    wrists, betas = [], []
    for index in range(3):
        values = files.labels(index)
        values['handBeta'] = np.linspace(-1, 1, 10) * (index - 0.5)
        files.write_label(files.label_file(root, 'ABF10', index), values)
        betas.append(torch.from_numpy(values['handBeta']).float())
        wrist = model.rest_wrist(betas[-1], side).double().numpy() + values['handTrans']
        wrist = wrist * (1, -1, -1)
        wrists.append(wrist if frame == 'camera' else turned[:3, :3] @ wrist + turned[:3, 3])
    rests = [model.rest_wrist(beta, side) for beta in betas]
    assert (rests[0] - rests[2]).abs().max() > 1e-3  # else the shape would not matter
    clip = HO3D(root, hand_model=model, frame=frame, sampling=centred(3, across_gaps=True))[1]
    torch.testing.assert_close(clip.hand_shape[0], torch.stack(betas).mean(0))
    shape = clip.hand_shape.expand(3, 10)
    joints = model(clip.hand_pose[:, 0], shape, clip.hand_transl[:, 0], side.expand(3)).joints
    np.testing.assert_allclose(joints[:, 0], wrists, atol=1e-6)


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self):
        return os.system, ('touch bomb_went_off',)


def _save(path, **changes):
    values = {**files.labels(1), **changes}
    files.write_label(path, {k: v for k, v in values.items() if not isinstance(v, str) or v != 'absent'})


BROKEN_LABELS = {
    'code': (lambda p: p.write_bytes(pickle.dumps(Bomb(), protocol=2)), r'was refused: .*system.* nothing was run'),
    'truncated': (lambda p: p.write_bytes(p.read_bytes()[:300]), r'cannot be read'),
    'empty': (lambda p: p.write_bytes(b''), 'cannot be read: it is no pickle'),
    'a list': (lambda p: files.write_label(p, [1, 2]), 'holds a list, not a dict'),
    'other keys': (lambda p: files.write_label(p, {'handJoints': 1}), r'lacks handJoints3D \(its keys: handJoints\)'),
    'missing key': (lambda p: _save(p, handTrans='absent'), "has no 'handTrans'"),
    'other shape': (lambda p: _save(p, handPose=np.zeros(45)), r"'handPose' must have shape \(48,\), got \(45,\)"),
    'wrist alone': (lambda p: _save(p, handJoints3D=np.zeros(3)), r"'handJoints3D' must have shape \(21, 3\)"),
    'NaN': (lambda p: _save(p, camMat=np.full((3, 3), np.nan)), "'camMat' holds NaN"),
    'axes': (lambda p: _save(p, handJoints3D=files.joints(1) * (1, -1, -1)), 'behind the camera.*OpenGL'),
}  # fmt: skip


@pytest.mark.parametrize('case', BROKEN_LABELS)
def test_broken_label_files(tmp_path, case, monkeypatch):
    monkeypatch.chdir(tmp_path)
    breaks, sentence = BROKEN_LABELS[case]
    root = files.write_root(tmp_path / 'root', train=('SM2',), frames=3)
    breaks(files.label_file(root, 'SM2', 1))
    with pytest.raises(DatasetError, match=rf'meta/0001.pkl.*{sentence}'):
        HO3D(root, sampling=centred(1, across_gaps=True))[1]
    dataset = HO3D(root, on_broken='skip', sampling=centred(3, across_gaps=True))
    assert dataset[2].hand_valid[:, 0].tolist() == [False, True, False] and dataset.skipped == ['SM2 frame 2']
    track = HO3D(root, on_broken='skip')
    assert track[0].hand_valid[:, 0].tolist() == [True, False, True] and track.skipped == ['SM2']
    assert HO3D(root, on_broken='skip', sampling=centred(1, across_gaps=True))[1].meta['frame_indices'] == [
        2
    ]  # nothing left of the second
    assert not (tmp_path / 'bomb_went_off').exists()


def test_listed_frames_that_are_missing(tmp_path):
    root = files.write_root(tmp_path, train=('SM2',), frames=4)
    files.label_file(root, 'SM2', 1).unlink()
    (root / 'train' / 'SM2' / 'rgb' / '0003.png').unlink()
    with pytest.raises(
        DatasetError, match=r'2 listed frames without files.*lists SM2/0001, but .*meta/0001.pkl is missing.*skip'
    ):
        HO3D(root)
    dataset = HO3D(root, on_broken='skip', sampling=centred(1, across_gaps=True))
    assert [clip.meta['frame_indices'] for clip in dataset] == [[0], [2]] and len(dataset.skipped) == 2


@pytest.mark.parametrize(
    'options, sentence',
    [
        (dict(data_root='nowhere'), r'nowhere, which does not exist.*github.com/shreyashampali/ho3d.*make-data'),
        (dict(split='test'), "split must be one of 'train', 'val', 'evaluation', got 'test'"),
        (dict(version=4), 'version must be one of None, 2, 3, got 4'),
        (dict(version=3), r'holds .png images, as HO3D version 2 does, but version=3 was asked for'),
        (dict(split='val'), r"no validation split.*held_out=\['SM2'\]"),
        (dict(held_out=['ABF2']), "held_out names 'ABF2', which the training part.*Did you mean 'ABF1'"),
        (dict(held_out=['ABF1', 'SM2']), 'none is left to train on'),
        (dict(split='evaluation'), "the wrist and a box alone, no meshes.*labels='joints_only'"),
        (dict(truth_file='x.json'), "truth_file is of the evaluation part; split 'train'"),
        (dict(split='evaluation', labels='joints_only', truth_file='x.json'), 'x.json does not exist'),
        (dict(frame='world'), 'ABF1.*only the multi-camera recordings of HO3D version 3'),
    ],
)
def test_wrong_options(tmp_path, options, sentence):
    root = files.write_root(tmp_path, frames=1)
    with pytest.raises(ValueError, match=sentence):
        HO3D(**{'data_root': root, **options})


def test_roots_that_do_not_fit(tmp_path):
    root = files.write_root(tmp_path / 'a', frames=2, name='procedural-0')
    with pytest.raises(DatasetError, match=r"'procedural-0', but hand_model is 'procedural-1'.*joints_only"):
        HO3D(root)
    (root / 'hand_model.yml').unlink()  # as a real root
    with pytest.raises(DatasetError, match=r"hand model 'mano', but hand_model is 'procedural-1'"):
        HO3D(root)
    clip = HO3D(root, labels='joints_only')[0].validate()
    assert clip.meta['hand_model'] == 'mano' and clip.hand_pose is None and clip.hand_valid.any()
    for text, sentence in (
        ('ABF10 0000', r'line 1: expected SEQUENCE/FRAME such as ABF10/0000, got .ABF10'),
        ('ABF10/0000\nABF10/0000', 'line 2: ABF10/0000 is in the list twice'),
        ('', 'lists no frames'),
        ('ABF99/0000', 'ABF99/rgb holds no .png'),
    ):
        (root / 'train.txt').write_text(text)
        with pytest.raises(DatasetError, match=sentence):
            HO3D(root, labels='joints_only')
    (root / 'train.txt').unlink()
    with pytest.raises(DatasetError, match=r'train\.txt does not exist; it lists the annotated frames'):
        HO3D(root, labels='joints_only')
    (root / 'evaluation_xyz.json').write_text('[[[0, 0, 0]]]')
    with pytest.raises(DatasetError, match=r'must have shape \(4, 21, 3\)'):
        HO3D(root, 'evaluation', labels='joints_only', truth_file='evaluation_xyz.json')
