"""AssemblyHands' images: cameras around the table and on a headset, in files of the official layout written by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from assemblyhands_files import (
    EGO,
    EXO,
    EXO_SIZE,
    FIRST,
    IMAGE_FRAMES,
    NOT_SHOWN,
    expected_pixels,
    grey_of,
    true_joints,
    world_to_camera,
    write_images,
)

from handpose.datasets import AssemblyHands, ClipSampling, DatasetError
from handpose.datasets.io.packing import pack_frames
from handpose.datasets.io.recoding import Recoding
from handpose.datasets.io.video_frames import frame_path, read_video_frames
from handpose.datasets.transforms import LoadImages
from handpose.engine import load_config
from handpose.geometry.camera import project_points
from handpose.geometry.rigid import transform_points
from handpose.registry import DATASETS
from handpose.structures import HandSequence

LOAD = [dict(type='LoadImages')]
VIEWS = ['v1', 'v6', 'e1', 'e3']  # of the fixture's cameras


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('assemblyhands') / 'data'
    write_images(root)
    write_images(root, 'test', joints=False)
    return root


@pytest.fixture
def root(data, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(data, tmp_path / 'copy')


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('frame', ['world', 'camera'])
def test_all_views_of_a_sequence(data, frame):
    clip = AssemblyHands(data, views=VIEWS, frame=frame, pipeline=LOAD)[0].validate()
    assert clip.meta['views'] == VIEWS and clip.meta['cameras'] == [*EXO, *EGO] and clip.frame == frame
    assert clip.meta['official_indices'] == [FIRST + 2 * t for t in range(IMAGE_FRAMES)]
    assert clip.meta['frame_indices'] == [FIRST // 2 + t for t in range(IMAGE_FRAMES)] and clip.meta['fps'] == 30
    assert clip.images.shape == (IMAGE_FRAMES, 4, 3, 40, 64) and clip.hand_side.tolist() == [0, 1]
    assert clip.meta['image_sizes'] == [EXO_SIZE, EXO_SIZE, (48, 40), (48, 40)]
    joints = true_joints()[:IMAGE_FRAMES]
    for t in range(IMAGE_FRAMES):
        expected = joints[t]
        if frame == 'camera':
            matrix = world_to_camera(EXO[0], t)
            expected = expected @ matrix[:3, :3].T + matrix[:3, 3]
        assert clip.hand_valid[t].tolist() == [t != 5, True]  # the fixture has no left hand in frame 5
        valid = clip.joints_valid[t].numpy()
        np.testing.assert_allclose(clip.joints_3d[t].numpy()[valid], expected[valid], atol=2e-6)
        for k, name in enumerate((*EXO, *EGO)):
            shown = (name, t) not in NOT_SHOWN
            image = clip.images[t, k].float()
            assert abs(float(image[:, :36, :48].mean()) - (grey_of(t) if shown else 0)) < 3
            seen = clip.joints_2d_valid[t, k].numpy()
            assert seen.any() == shown and (clip.boxes[t, k].any() == shown)
            np.testing.assert_allclose(clip.joints_2d[t, k].numpy()[seen], expected_pixels(name, t)[seen], atol=2e-3)
            assert not clip.joints_2d[t, k][~clip.joints_2d_valid[t, k]].any()
            if name in EGO and shown:
                assert not seen[1, 8] and clip.boxes[t, k, 1].tolist() == [1.5, 2, 20, 30 + t]
    # Extrinsics lead from the joints' frame to each camera's pixels.
    points = transform_points(clip.joints_3d[:, None].double(), clip.extrinsics[:, :, None].double())
    pixels = project_points(points, clip.intrinsics[:, :, None].double())
    assert (pixels - clip.joints_2d)[clip.joints_2d_valid].abs().max() < 5e-3
    assert clip.occlusion[:, 0].eq(0.25).all() and clip.occlusion[2, 2].isnan().tolist() == [True, False]
    assert clip.occlusion[:, 1].isnan().all()  # nothing is known about v6
    assert clip.occlusion[1, 3].isnan().all() and clip.occlusion[2, 3].eq(0.25).all()


def test_boxes_around_the_joints(data):
    tight = AssemblyHands(data, views=['v1', 'v6'])[0]
    wide = AssemblyHands(data, views=['v1', 'v6'], box_margin=0.25)[0]
    for t, k, h in np.ndindex(*tight.boxes.shape[:3]):
        seen = tight.joints_2d_valid[t, k, h]
        pixels = tight.joints_2d[t, k, h][seen]
        expected = torch.cat([pixels.amin(0), pixels.amax(0)]) if seen.any() else torch.zeros(4)
        torch.testing.assert_close(tight.boxes[t, k, h], expected)
        size = expected[2:] - expected[:2]
        torch.testing.assert_close(wide.boxes[t, k, h], expected + 0.25 * torch.cat([-size, size]))


def test_one_view_of_a_headset_has_the_frames_and_hands_that_it_shows(data):
    tracks = AssemblyHands(data, views='ego', cameras_per_clip=1, pipeline=LOAD)
    assert [track.meta['cameras'] for track in tracks] == [[EGO[0]], [EGO[1]]]
    first, second = (track.validate() for track in tracks)
    assert second.meta['official_indices'] == [FIRST + 2 * t for t in (2, 3, 4, 6, 7)]
    assert second.images.shape == (5, 1, 3, 40, 48) and torch.equal(second.images[:, :, 0], second.images[:, :, 2])
    assert first.hand_valid.tolist() == [[t not in (3, 5), True] for t in range(8)]  # 3: no box, 5: no label
    assert not first.joints_valid[3, 0].any() and not first.joints_2d_valid[3, 0, 0].any()
    assert torch.equal(first.extrinsics, torch.eye(4).expand(8, 1, 4, 4)) and first.frame == 'camera'
    clips = AssemblyHands(data, views=['e3'], sampling=ClipSampling(2, clip_step=1), pipeline=LOAD)
    assert HandSequence.stack([clip.validate() for clip in clips]).images.shape[1:3] == (2, 1)


def test_eight_views_of_which_a_sequence_has_two(data):
    clip = AssemblyHands(data, views='exo', pipeline=LOAD)[0].validate()
    there = [view in ('v1', 'v6') for view in clip.meta['views']]
    assert len(there) == 8 and (clip.joints_2d_valid[0].any((1, 2))).tolist() == there
    assert (clip.images[:, ~torch.tensor(there)] == 0).all() and clip.boxes[0].any((1, 2)).tolist() == there
    assert clip.meta['cameras'][:2] == ['C10095_rgb', 'v2']
    assert len(AssemblyHands(data, views='exo', cameras_per_clip=1)) == 2
    pairs = AssemblyHands(data, views='exo', cameras_per_clip=2)
    assert [clip.meta['views'] for clip in pairs] == [['v1', 'v2'], ['v5', 'v6']]
    # A clip whose first view is missing is in the frame of the first one that is there.
    clip = pairs[1].validate()
    matrix = world_to_camera(EXO[1])
    expected = true_joints()[0, 1] @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(clip.joints_3d[0, 1].numpy()[:4], expected[:4], atol=2e-6)


def test_videos_that_are_ahead(data):
    clip = AssemblyHands(data, views=['v1'], frame_offset=2, pipeline=LOAD)[0].validate()
    assert clip.meta['official_indices'] == [FIRST + 2 * t for t in range(IMAGE_FRAMES - 1)]
    found = clip.images.float().mean((1, 2, 3, 4))
    assert (found - torch.tensor([float(grey_of(t + 1)) for t in range(IMAGE_FRAMES - 1)])).abs().max() < 3
    np.testing.assert_allclose(clip.joints_2d[2, 0, 1, 0], expected_pixels(EXO[0], 2)[1, 0], atol=2e-3)
    behind = AssemblyHands(data, views=['v1'], frame_offset=-4)[0]
    assert behind.meta['official_indices'] == [FIRST + 2 * t for t in range(2, IMAGE_FRAMES)]


def test_manual_labels(root):
    path = root / 'annotations' / 'train' / 'assemblyhands_train_joint_3d_v1-1.json'
    folder = shutil.copytree(path.parent, root / 'annotations_manual' / 'train')
    change(folder / path.name, lambda c: c['annotations'].update(
        a={key: value for key, value in c['annotations']['a'].items() if int(key) % 6 == 0}))  # fmt: skip
    clip = AssemblyHands(root, label_set='manual', views=['v1', 'e1'], pipeline=LOAD)[0].validate()
    assert clip.meta['official_indices'] == [6, 12, 18] and clip.meta['frame_indices'] == [3, 6, 9]
    assert [round(float(clip.images[t, 0].float().mean() / 25)) for t in range(3)] != [0, 0, 0]
    np.testing.assert_allclose(clip.joints_3d[1, 1, 0], _in_camera(true_joints()[3, 1, 0]), atol=2e-6)
    assert abs(float(clip.images[1, 1, :, :40, :48].float().mean()) - grey_of(3)) < 3
    single = AssemblyHands(root, label_set='manual', views=['v1'], sampling=ClipSampling(1, centred=True))
    assert [clip.meta['official_indices'] for clip in single] == [[6], [12], [18]]


def _in_camera(point):
    matrix = world_to_camera(EXO[0])
    return matrix[:3, :3] @ point + matrix[:3, 3]


def test_the_test_split_without_joints(data):
    clip = AssemblyHands(data, 'test', views='ego', pipeline=LOAD)[0].validate()
    assert clip.joints_3d is None and clip.joints_2d is None and len(clip.frame_valid) == IMAGE_FRAMES
    assert clip.hand_valid.tolist() == [[t != 3 or ((EGO[1], t) not in NOT_SHOWN and False), True] for t in range(8)]
    assert clip.boxes[4, 0, 1].tolist() == [1.5, 2, 20, 34]


def test_packed_frames_of_videos(data, tmp_path):
    dataset = AssemblyHands(data, views=['v1', 'v6'], pipeline=LOAD)
    paths = dataset.image_paths()
    assert len(paths) == 2 * IMAGE_FRAMES and paths[0].endswith('a/C10095_rgb.mp4#0')
    packed = pack_frames(tmp_path / 'store', data, paths, recoding=Recoding((32, 18)))
    assert packed.frames == 2 * IMAGE_FRAMES and not packed.missing
    clip = AssemblyHands(data, views=['v1', 'v6'], packed=tmp_path / 'store', pipeline=LOAD)[0].validate()
    assert clip.images.shape[-2:] == (18, 32)
    assert (clip.images.float().mean((2, 3, 4)) - dataset[0].images.float().mean((2, 3, 4))).abs().max() < 3
    torch.testing.assert_close(clip.intrinsics[:, :, 0, 0], dataset[0].intrinsics[:, :, 0, 0] / 2)


def test_frames_of_a_video_in_any_order(data):
    video = data / 'videos' / 'exo_videos_rectified' / 'a' / f'{EXO[0]}.mp4'
    for order in ((7, 2), (3,), (0, 1), (6, 5, 4)):
        for path, image, error in read_video_frames([frame_path(video, t) for t in order]):
            assert error is None and abs(image.mean() - grey_of(int(path[-1]))) < 3
    ((_, image, error),) = read_video_frames([frame_path(video, 8)])
    assert image is None and 'frame 8 of the video' in str(error)


def test_views_without_any_image():
    paths = [['', '']] * 2
    clip = HandSequence(meta={'paths': paths, 'image_sizes': [(8, 6), (4, 9)]}, frame_valid=torch.ones(2).bool())
    loaded = LoadImages()(clip, None).validate()
    assert loaded.images.shape == (2, 2, 3, 9, 8) and not loaded.images.any()
    with pytest.raises(DatasetError, match='view 0 of the clip has no image, and'):
        LoadImages()(clip.replace(meta={'paths': paths}), None)


@pytest.mark.parametrize('labels, samples', [('automatic', IMAGE_FRAMES), ('manual', 3), ('both', IMAGE_FRAMES + 3)])
def test_base_of_configs(root, tmp_path, labels, samples):
    folder = shutil.copytree(root / 'annotations' / 'train', root / 'annotations_manual' / 'train')
    joints = folder / 'assemblyhands_train_joint_3d_v1-1.json'
    change(joints, lambda c: c['annotations'].update(
        a={key: value for key, value in c['annotations']['a'].items() if int(key) % 6 == 0}))  # fmt: skip
    base = Path(__file__).parents[2] / 'configs' / '_base_' / 'assemblyhands.py'
    (tmp_path / 'config.py').write_text(
        f"_base_ = ['{base}']\ndata_root, views, cameras_per_clip = '{root}', ['v1', 'v6'], None\n"
        f"num_frames, batch_size, num_workers, train_dataset = 1, 4, 0, '${labels}'\n"
        "train_pipeline = test_pipeline = [dict(type='LoadImages')]\n"
    )
    config = load_config(tmp_path / 'config.py')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert len(dataset) == samples and dataset[samples - 1].images.shape == (1, 2, 3, 36, 64)
    assert len(DATASETS.build(dict(config.test_dataloader.dataset, split='train'))) == IMAGE_FRAMES


CALIBRATION = 'videos/exo_videos_rectified/a/calib.txt'
DATA, CAMERAS = (f'annotations/train/assemblyhands_train_{kind}_v1-1.json' for kind in ('ego_data', 'ego_calib'))
DAMAGE = {
    'seven lines': (CALIBRATION, lambda t: t.replace('0 0\n', ''), '8 lines that are not blank for each camera'),
    'letters': (CALIBRATION, lambda t: t.replace('60.0', 'sixty', 1), r'calib\.txt, line 2: expected 3 numbers'),
    'no rotation': (CALIBRATION, lambda t: t.replace('1.0 0.0', '3.0 0.0'), 'calib.txt, line 1, camera C10095_rgb'),
    'another camera': (CALIBRATION, lambda t: t.replace('C10095', 'C1'), 'has no camera C10095_rgb, of which'),
    'width': (DATA, lambda t: t.replace('[1.5, 2, 20, 30]', '[1.5, 2, 1, 30]'), 'must be x0, y0, x1, y1, the corners'),
    'no camera': (CAMERAS, lambda t: t.replace('HMC_21110305', 'HMC_1'), 'ego_calib lacks a camera that ego_data has'),
    'outside': (DATA, lambda t: t.replace('ego_images_rectified', '../x'), r'annotations|images 0'),
    'twice': (DATA, lambda t: t.replace('"frame_idx": 8', '"frame_idx": 6'), 'two images of the same frame'),
    'no annotation': (
        DATA,
        lambda t: t.replace('"image_id": 10,', '"image_id": 99,'),
        'no annotation belongs to image',
    ),
}


@pytest.mark.parametrize('case', DAMAGE)
def test_damaged_files(root, case):
    name, edit, message = DAMAGE[case]
    path = root / name
    assert edit(path.read_text()) != path.read_text()
    path.write_text(edit(path.read_text()))
    with pytest.raises(DatasetError, match=message):
        AssemblyHands(root, views=VIEWS)


def test_missing_files(root):
    videos = root / 'videos/exo_videos_rectified/a'
    (videos / f'{EXO[1]}.mp4').write_bytes(b'no video')
    with pytest.raises(DatasetError, match=rf"1 cameras without usable files; .*{EXO[1]}\.mp4 .*on_broken='skip'"):
        AssemblyHands(root, views='exo')
    kept = AssemblyHands(root, views='exo', on_broken='skip')
    assert len(kept.skipped) == 1 and kept[0].boxes[0].any((1, 2)).tolist() == [True] + [False] * 7
    shutil.rmtree(videos)
    with pytest.raises(DatasetError, match='has no videos; unpack them there'):
        AssemblyHands(root, views='exo')
    next((root / 'images').rglob('train/*/*/000006.jpg')).unlink()
    with pytest.raises(DatasetError, match=r'000006\.jpg cannot be read'):
        AssemblyHands(root, views='ego', pipeline=LOAD)[0]
    (root / DATA).unlink()
    with pytest.raises(DatasetError, match=r'has no file assemblyhands_train_ego_data\*\.json\. Download'):
        AssemblyHands(root, views='ego')


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(views='all'), "views must be 'exo', 'ego' or a list of different views"),
        (dict(views=['v1', 'v1']), 'a list of different views'),
        (dict(views=['v9']), "views names 'v9', which is no view or camera"),
        (dict(views=['v1'], cameras_per_clip=2), 'cameras_per_clip must be from 1 to the 1 chosen cameras'),
        (dict(frame_offset=1), 'must be a multiple of 2'),
        (dict(box_margin=-0.1), 'box_margin must be a share'),
        (dict(label_set='hand'), 'label_set must be one of'),
        (dict(label_set='manual'), 'annotations_manual/train does not exist'),
        (dict(split='val'), 'annotations/val does not exist. Download the annotations'),
        (dict(sequences=['b']), "sequences names 'b', which"),
    ],
)
def test_wrong_options(data, options, message):
    with pytest.raises(DatasetError, match=message):
        AssemblyHands(data, **options)
