"""Clips of the same frames seen by several cameras, on built-in data whose cameras are calibrated."""

import numpy as np
import pytest
import torch
from samplings import centred

from handpose.datasets import HO3D, ClipSampling, DatasetError, DexYCB, InterHand26M
from handpose.datasets.io import cameras
from handpose.geometry import project_points, transform_points
from handpose.structures import HandSequence
from handpose.synthesis import MultiViewOptions, write_dataset

PER_CAMERA = ('intrinsics', 'boxes', 'object_boxes', 'joints_2d', 'joints_2d_valid', 'occlusion')
OF_CAMERA_0 = ('joints_3d', 'joints_valid', 'hand_valid', 'hand_pose', 'hand_shape', 'hand_transl', 'hand_pose_valid')
READERS = {
    'dexycb': (DexYCB, dict(setup='all'), centred(5, 2, 7)),
    'ho3d': (HO3D, dict(version=3), centred(5, 2, 7, across_gaps=True)),
    'interhand': (InterHand26M, {}, ClipSampling(9, clip_step=9)),
}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    made = {}
    for layout in READERS:
        made[layout] = tmp_path_factory.mktemp('cameras') / layout
        options = dict(sequences=5, frames=24, cameras=3, size=64, workers=1, seed=1)
        write_dataset(
            MultiViewOptions(str(made[layout]), layout=layout, subjects=3 if layout == 'interhand' else 1, **options)
        )
    return made


def open_reader(roots, layout, **options):
    reader, own, sampling = READERS[layout]
    return reader(roots[layout], **{'sampling': sampling, **own, **options})


@pytest.mark.parametrize('layout', READERS)
def test_each_view_is_the_one_of_its_camera_alone(roots, layout):
    pairs, single = open_reader(roots, layout, cameras_per_clip=2), open_reader(roots, layout)
    alone = {}
    for index in range(len(single)):
        clip = single[index]
        for t, frame in enumerate(clip.meta['frame_indices']):
            alone[clip.meta['sequence'], clip.meta['cameras'][0], frame] = clip, t
    checked = 0
    for index in range(len(pairs)):
        clip = pairs[index].validate()
        assert clip.frame == 'camera' and len(clip.meta['cameras']) == 2
        sequence = clip.meta['sequence']
        for t, frame in enumerate(clip.meta['frame_indices']):
            for k, camera in enumerate(clip.meta['cameras']):
                name = f'{sequence[:-1]}{camera}' if layout == 'ho3d' else sequence
                other, u = alone.get((name, camera, frame), (None, None))
                if other is None or not (clip.frame_valid[t] and other.frame_valid[u]):
                    continue
                for field in PER_CAMERA:
                    value = getattr(clip, field)
                    if value is not None and (field not in ('boxes', 'intrinsics') or clip.hand_valid[t].any()):
                        same = getattr(other, field)[u, 0]
                        torch.testing.assert_close(value[t, k], same, rtol=1e-5, atol=2e-3, equal_nan=True)
                if k == 0:
                    assert torch.equal(clip.joints_3d[t], other.joints_3d[u])
                checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    ('layout', 'frame'),
    [(name, frame) for name in READERS for frame in ('camera', 'world') if name != 'interhand']
    + [('interhand', 'camera')],
)
def test_extrinsics_lead_to_each_camera(roots, layout, frame):
    where = {} if layout == 'interhand' else {'frame': frame}
    dataset = open_reader(roots, layout, cameras_per_clip=3, **where)
    clip = dataset[len(dataset) // 2].validate()
    assert clip.frame == frame and clip.extrinsics.shape[1:] == (3, 4, 4)
    if frame == 'camera':
        assert torch.equal(clip.extrinsics[:, 0], torch.eye(4).expand(len(clip.frame_valid), 4, 4))
    for k in range(3):
        points = transform_points(clip.joints_3d.double(), clip.extrinsics[:, None, k].double())
        pixels = project_points(points, clip.intrinsics[:, None, k].double())
        valid = clip.joints_2d_valid[:, k] & clip.joints_valid
        assert valid.any()
        assert (pixels - clip.joints_2d[:, k])[valid].abs().max() < 0.05


@pytest.mark.parametrize('layout', ['dexycb', 'ho3d'])
def test_images_have_a_path_for_each_camera(roots, layout):
    dataset = open_reader(roots, layout, cameras_per_clip=2, pipeline=[dict(type='LoadImages')])
    clip = dataset[0].validate()
    assert clip.images.shape[:3] == (5, 2, 3) and all(len(row) == 2 for row in clip.meta['paths'])
    assert set(np.array(clip.meta['paths']).ravel()) <= set(dataset.image_paths())
    assert clip.occlusion.shape == (5, 2, 1) and clip.object_boxes.shape == (5, 2, 4)
    if layout == 'dexycb':
        meta = dataset.read(0).meta
        assert meta['image_sizes'] == [(64, 64), (64, 64)] and 'image_size' not in meta
    assert HandSequence.stack([clip, dataset[1]]).validate().images.shape[:3] == (2, 5, 2)


@pytest.mark.parametrize('layout', ['dexycb', 'ho3d'])
def test_rotated_crops_of_each_camera(roots, layout):
    crop = dict(type='HandCrop', size=128, rotation=np.pi)
    clip = open_reader(roots, layout, cameras_per_clip=2, pipeline=[dict(type='LoadImages'), crop])[0].validate()
    points = transform_points(clip.joints_3d[:, None].double(), clip.extrinsics[:, :, None].double())
    valid = clip.joints_2d_valid & clip.joints_valid[:, None]
    error = (project_points(points, clip.intrinsics[:, :, None].double()) - clip.joints_2d)[valid].abs().max()
    assert clip.images.shape == (5, 2, 3, 128, 128) and valid.any() and error < 0.3  # labels are rounded to 0.05 pixels


@pytest.mark.parametrize('layout', READERS)
def test_cameras_that_are_left_over_and_too_many(roots, layout, monkeypatch):
    messages = []
    monkeypatch.setattr(cameras, 'print_log', lambda message, **_: messages.append(message))
    assert '+' in open_reader(roots, layout, cameras_per_clip=2).sample_name(0)
    assert len(messages) == 1 and 'left over from groups of 2 cameras' in messages[0]
    for number in (4, 0, 1.5):
        with pytest.raises(DatasetError, match=r'cameras_per_clip must be from 1 to the 3 chosen cameras of .*, got'):
            open_reader(roots, layout, cameras_per_clip=number)


def test_version_2_of_ho3d_has_no_calibration(tmp_path):
    import ho3d_files

    root = ho3d_files.write_root(tmp_path / 'root')
    with pytest.raises(DatasetError, match='only the multi-camera recordings of HO3D version 3 are calibrated'):
        HO3D(root, cameras_per_clip=2)
