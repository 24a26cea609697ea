"""Detections of several cameras as input: triangulated, simulated, loaded; and fewer cameras."""

import numpy as np
import pytest
import torch
from multi_view import HEIGHT, WIDTH, multi_view_batch

from handpose.datasets import DatasetError
from handpose.datasets.transforms import ChooseViews, LoadDetections, SimulatedDetections
from handpose.datasets.transforms.detections import DetectedHands, with_detections
from handpose.structures import Predictions, save_predictions

SILENT = dict(joint_error=0.0, hand_error=0.0, lost=0.0, lost_hidden=0.0, swapped=0.0)


@pytest.fixture
def sample():
    """Two frames of both hands in six cameras, world frame; without input."""
    clip = multi_view_batch(clips=1, frames=2, cameras=6).unstack()[0]
    cameras = [f'c{k}' for k in range(6)]
    meta = {**clip.meta, 'cameras': cameras, 'fps': 30.0, 'image_sizes': [(WIDTH, HEIGHT)] * 6}
    times = torch.arange(2).double() / 30
    return clip.replace(meta=meta, timestamps=times, input_joints_3d=None, input_valid=None)


def draw(seed=0):
    return np.random.default_rng(seed)


def errors(clip, found):
    """(T, H, J) metres."""
    return (found.input_joints_3d - clip.joints_3d).norm(dim=-1)


def test_exact_detections_give_the_joints(sample):
    found = SimulatedDetections(**SILENT)(sample, draw()).validate()
    assert found.input_valid.all() and (found.input_confidence == 1).all()
    assert errors(sample, found).max() < 1e-4
    torch.testing.assert_close(found.boxes, sample.boxes, atol=1e-3, rtol=0)


def test_wrong_views_do_not_agree(sample):
    """One view is far off and one has no detection: four of six agree, and the joints are exact."""
    joints, valid = sample.joints_2d.clone(), torch.ones(2, 6, 2, dtype=torch.bool)
    joints[:, 1] += 40.0
    joints[:, 4], valid[:, 4] = torch.nan, False
    found = with_detections(sample, DetectedHands(joints, valid), 0.15).validate()
    assert errors(sample, found).max() < 1e-4
    torch.testing.assert_close(found.input_confidence, torch.full((2, 2, 21), 4 / 6))
    assert not found.boxes[:, 4].any() and found.boxes[:, 0].any()


def test_the_threshold_is_in_sides_of_the_box(sample):
    """Views disagree by 10 % of the hand, however large the images are."""
    joints, valid = sample.joints_2d.clone(), torch.ones(2, 6, 2, dtype=torch.bool)
    side = (sample.boxes[..., 2:] - sample.boxes[..., :2]).amax(-1)[..., None]
    joints[:, 0, :, :, 0] += 0.1 * side[:, 0]
    strict, loose = (with_detections(sample, DetectedHands(joints, valid), t) for t in (0.05, 0.3))
    assert strict.input_confidence.max() < 1 and errors(sample, strict).max() < 1e-4
    assert loose.input_confidence.min() == 1 and errors(sample, loose).max() > 1e-3


def test_joints_without_agreement_are_fitted_to_all_views(sample):
    """Two cameras that do not agree: a position, with no confidence. One camera: no hand."""
    joints, valid = sample.joints_2d.clone(), torch.zeros(2, 6, 2, dtype=torch.bool)
    valid[:, :2], valid[0, 1, 0] = True, False
    joints[:, 0, :, 3, 1] += 30.0
    found = with_detections(sample, DetectedHands(joints, valid), 0.1).validate()
    assert found.input_valid.tolist() == [[False, True], [True, True]]
    assert (found.input_confidence[1, :, 3] == 0).all() and (found.input_confidence[1, :, 4] > 0).all()
    assert found.input_joints_3d[1].isfinite().all() and not found.input_joints_3d[0, 0].any()


def test_errors_are_as_large_as_said(sample):
    """Median distances of joints and deviations of hands, in sides of the box, of many draws."""
    joints = sample.joints_2d.double().numpy()
    known, hidden = np.ones((2, 6, 2), bool), np.zeros((2, 6, 2))
    side = np.ptp(joints, axis=-2).max(-1)[..., None, None]

    def relative(**options):
        transform = SimulatedDetections(**{**SILENT, 'difficulty': 0.0, **options})
        return np.stack([(transform._joints(draw(i), joints, known, hidden) - joints) / side for i in range(150)])

    jitter = np.median(np.linalg.norm(relative(joint_error=0.05), axis=-1), axis=(0, 1, 2, 3))
    assert jitter[0] == pytest.approx(0.05, rel=0.1)
    np.testing.assert_allclose(jitter[[5, 9, 13, 17]] / jitter[[8, 12, 16, 20]], 0.75 / 1.35, rtol=0.1)
    shift = relative(hand_error=0.04)
    assert np.ptp(shift, axis=-2).max() < 1e-9 and shift.std() == pytest.approx(0.04, rel=0.05)
    hidden[:] = 1.0
    assert relative(hand_error=0.04, occlusion_gain=2.0).std() == pytest.approx(0.12, rel=0.05)


def test_hands_are_lost_and_swapped(sample):
    sample.occlusion = torch.zeros(2, 6, 2)
    sample.occlusion[:, 3] = 1.0
    lossy = SimulatedDetections(**{**SILENT, 'lost': 0.2, 'lost_hidden': 0.6})
    there = torch.stack([lossy(sample, draw(i)).boxes.any(-1) for i in range(200)]).float().mean((0, 1, 3))
    np.testing.assert_allclose(there, [0.8, 0.8, 0.8, 0.2, 0.8, 0.8], atol=0.06)
    swapping = SimulatedDetections(**{**SILENT, 'swapped': 1.0})(sample, draw())
    torch.testing.assert_close(swapping.boxes, sample.boxes.flip(2), atol=1e-3, rtol=0)
    outside = sample.replace(joints_2d=sample.joints_2d + torch.tensor([500.0, 0]))
    assert not SimulatedDetections(**SILENT)(outside, draw()).boxes.any()


def test_draws_depend_on_the_generator(sample):
    transform = SimulatedDetections()
    first, again, other = (transform(sample, draw(i)).input_joints_3d for i in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_detections_from_files(sample, tmp_path):
    """Hands by their side, frames by their time; a camera lacks the right hand in the first frame of the clip."""
    side = ['right', 'left']
    sample = sample.replace(meta={**sample.meta, 'frame_indices': [41, 42], 'track_start': 40})
    folder = tmp_path / 'clip 0'
    folder.mkdir()
    for k, camera in enumerate(sample.meta['cameras']):
        valid = np.ones((3, 2), bool)
        valid[1, 0] = k != 2
        joints = np.zeros((3, 2, 21, 2), np.float32)
        joints[1:] = sample.joints_2d[:, k].flip(1)
        predictions = Predictions(
            joints=np.tile(np.linspace(0, 0.18, 21)[:, None], (3, 2, 1, 3)).astype(np.float32),
            valid=valid,
            timestamps=np.arange(3) / 30,
            hand_side=np.array(side),
            frame='wrist',
            joints_2d=joints,
        )
        save_predictions(folder / f'{camera}.npz', predictions)
    found = LoadDetections(tmp_path)(sample, None).validate()
    assert errors(sample, found).max() < 1e-4
    assert not found.boxes[0, 2, 1].any() and found.boxes[0, 2, 0].any() and found.boxes[1, 2].any()
    paths = [[f'{c}.mp4#{frame}' for c in sample.meta['cameras']] for frame in (2, 1)]
    backwards = LoadDetections(tmp_path)(sample.replace(meta={**sample.meta, 'paths': paths}), None)
    torch.testing.assert_close(backwards.input_joints_3d.flip(0), found.input_joints_3d)
    (folder / 'c5.npz').unlink()
    with pytest.raises(DatasetError, match=r'clip 0/c5.npz does not exist.*missing_ok=True'):
        LoadDetections(tmp_path)(sample, None)
    without = LoadDetections(tmp_path, missing_ok=True)(sample, None).validate()
    assert not without.boxes[:, 5].any() and without.input_confidence.max() < 0.9
    assert errors(sample, without).max() < 1e-4


def test_fewer_views(sample):
    chosen = ChooseViews(views=[4, 1])(sample, draw()).validate()
    assert chosen.meta['cameras'] == ['c4', 'c1'] and len(chosen.meta['image_sizes']) == 2
    assert torch.equal(chosen.images, sample.images[:, [4, 1]]) and torch.equal(chosen.joints_3d, sample.joints_3d)
    assert torch.equal(chosen.extrinsics, sample.extrinsics[:, [4, 1]])
    drawn = {tuple(ChooseViews(count=3)(sample, draw(i)).meta['cameras']) for i in range(40)}
    assert len(drawn) > 10 and all(len(set(cameras)) == 3 for cameras in drawn)
    in_camera = sample.replace(frame='camera')
    assert all(ChooseViews(count=2)(in_camera, draw(i)).meta['cameras'][0] == 'c0' for i in range(20))
    assert ChooseViews(count=9)(sample, draw()).images.shape == sample.images.shape
    paths = sample.replace(meta={**sample.meta, 'paths': [['a', 'b', 'c', 'd', 'e', 'f']] * 2})
    assert ChooseViews(views=[2])(paths, draw()).meta['paths'] == ['c', 'c']
    assert ChooseViews(views=[2, 0])(paths, draw()).meta['paths'] == [['c', 'a']] * 2
    with pytest.raises(DatasetError, match='must begin with 0'):
        ChooseViews(views=[1, 0])(in_camera, draw())
    with pytest.raises(DatasetError, match='the clip has 6 cameras'):
        ChooseViews(views=[6])(sample, draw())


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: SimulatedDetections(lost=1.5), 'lost must be from 0 to 1.0, got 1.5'),
        (lambda: SimulatedDetections(joint_error=-1), 'joint_error must be from 0'),
        (lambda: SimulatedDetections(freedom=2), 'freedom must be above 2'),
        (lambda: LoadDetections('x', threshold=0), 'threshold must be above 0'),
        (lambda: ChooseViews(), 'either count or views'),
        (lambda: ChooseViews(count=0), 'count must be at least 1'),
        (lambda: ChooseViews(views=[1, 1]), 'different numbers from 0'),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(DatasetError, match=message):
        build()


def test_clips_that_cannot_be_triangulated(sample):
    with pytest.raises(DatasetError, match='at least 2 cameras, got 1'):
        SimulatedDetections()(ChooseViews(views=[0])(sample, draw()), draw())
    with pytest.raises(DatasetError, match='needs extrinsics'):
        SimulatedDetections()(sample.replace(extrinsics=None), draw())
    with pytest.raises(DatasetError, match='needs joints_2d'):
        SimulatedDetections()(sample.replace(joints_2d=None, joints_2d_valid=None), draw())
