"""Rounds of MVExoNet on a recording: regions of distorted images, the same joints as from whole images, bad input."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from annotated_recordings import make_recording
from multi_view import small_config

from handpose.geometry import boxes_from_points
from handpose.inference.annotation.recording_reader import RecordingReader, cut_region, open_images, region_around
from handpose.inference.annotation.volume_rounds import estimate_rounds, load_volume_model
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.structures.annotated_recording import RecordingError
from handpose.structures.calibration import CameraCalibration
from handpose.video import VideoError

LENS = (0.1, -0.05, 0.001, 0.002, 0.01)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MODELS.build(small_config(first_centre='input_joints')).eval()


def write_images(folder, recording):
    """A folder of images for each camera: joints as dots. Returns the images (T, K, 3, h, w)."""
    width, height = recording.calibration.cameras[0].image_size
    frames, cameras = recording.frame_indices.shape
    images = torch.full((frames, cameras, 3, height, width), 40, dtype=torch.uint8)
    colours = torch.randint(60, 256, (42, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = torch.from_numpy(recording.project(recording.joints_3d)).flatten(2, 3)
    for image, points in zip(images.flatten(0, 1), pixels.flatten(0, 1), strict=True):
        for (u, v), colour in zip(points.round().int().tolist(), colours, strict=False):
            cv2_image = image.permute(1, 2, 0).numpy().copy()
            cv2.circle(cv2_image, (u, v), 6, colour.tolist(), -1)
            image.copy_(torch.from_numpy(cv2_image).permute(2, 0, 1))
    for k, name in enumerate(recording.videos):
        (folder / name).mkdir()
        for t in range(frames):
            bgr = images[t, k].permute(1, 2, 0).numpy()[..., ::-1]
            cv2.imwrite(str(folder / name / f'{t:03}.png'), np.ascontiguousarray(bgr))
    return images


def recording_of(tmp_path, frames=3, cameras=3, **changes):
    recording = make_recording(frames, cameras, videos=[f'cam{k}' for k in range(cameras)], **changes)
    return recording, write_images(tmp_path, recording)


def test_regions_show_what_their_cameras_say():
    """An image whose red and green are the pixel's own coordinates, behind a lens."""
    v, u = np.mgrid[:200, :240].astype(np.uint8)
    ramp = np.stack([u, v, v], -1)
    matrix = torch.tensor([[220.0, 0, 118], [0, 215, 101], [0, 0, 1]])
    for kind, lens in (('pinhole', ()), ('radial_tangential', LENS), ('fisheye', (0.05, 0.01, 0.0, 0.0))):
        camera = CameraCalibration('c', (240, 200), matrix, kind, torch.tensor(lens))
        square = region_around(torch.tensor([100.0, 60, 150, 140]), 1.5, camera.image_size)
        assert square.tolist() == [65.0, 40.0, 185.0, 160.0]
        region = cut_region(ramp, camera, square, 96)
        rays = torch.tensor([[0.05, -0.1, 1.0], [-0.1, 0.1, 1.0], [0.2, 0.2, 1.0]], dtype=torch.float64)
        place = (rays @ region.intrinsics.T)[:, :2]
        x, y = place.float().numpy().T.reshape(2, 3, 1)
        found = cv2.remap(region.image, x, y, cv2.INTER_LINEAR)[:, 0, :2]
        np.testing.assert_allclose(found, camera.project(rays).numpy(), atol=1.0)


def test_regions_stay_in_the_image():
    size = (240, 200)
    box = torch.tensor([5.0, 150, 45, 190])
    assert region_around(box, 2.0, size).tolist() == [-0.5, 119.5, 79.5, 199.5]
    wide = region_around(box, 5.5, size)  # wider than the image is high
    assert wide[[0, 2]].tolist() == [-0.5, 219.5] and wide[[1, 3]].tolist() == [60.0, 280.0]


def test_the_same_joints_as_from_whole_images(tmp_path):
    """Regions instead of whole images: the network sees the same up to interpolation."""
    torch.manual_seed(0)
    model = MODELS.build(small_config(crop_size=128)).eval()  # as many pixels as the images have
    recording, images = recording_of(tmp_path)
    progress = []
    rounds = estimate_rounds(recording, model, folder=tmp_path, progress=lambda *step: progress.append(step))
    assert progress == [(1, 3), (2, 3), (3, 3)] and rounds.estimated.all() and len(rounds.recordings) == 3
    cameras = list(recording.calibration)
    pixels = torch.from_numpy(recording.joints_2d)
    frames = len(recording)
    whole = HandSequence(
        meta=[{'dataset': 'dots', 'sequence': 'whole', 'frame_indices': list(range(frames))}],
        frame='world',
        batched=True,
        frame_valid=torch.ones(1, frames, dtype=torch.bool),
        hand_side=torch.tensor([[0, 1]]),
        images=images[None],
        intrinsics=torch.stack([c.intrinsics.float() for c in cameras]).expand(1, frames, -1, 3, 3),
        extrinsics=torch.stack([c.extrinsics.float() for c in cameras]).expand(1, frames, -1, 4, 4),
        boxes=boxes_from_points(pixels)[None],
        input_joints_3d=torch.from_numpy(recording.joints_3d)[None],
        input_valid=torch.ones(1, frames, 2, dtype=torch.bool),
    )
    for found, expected in zip(rounds.recordings, model.predict_rounds(whole), strict=True):
        difference = torch.from_numpy(found.joints_3d) - expected.joints_3d[0]
        assert difference.norm(dim=-1).max() < 5e-4
    last = rounds.recordings[-1]
    assert last.method == 'truth; MVExoNet, round 3' and last.hand_pose is None and last.joints_valid.all()


def test_a_lens_is_taken_out(tmp_path, model):
    """The same scene through a lens and without one gives about the same joints."""
    found = []
    for number, lens in enumerate(((), LENS)):
        folder = tmp_path / str(number)
        folder.mkdir()
        recording, _ = recording_of(folder, frames=2, distortion=lens)
        found.append(estimate_rounds(recording, model, folder=folder).recordings[0].joints_3d)
    assert np.linalg.norm(found[0] - found[1], axis=-1).mean() < 0.003


def test_views_without_the_hand(tmp_path, model):
    """A camera without an image or a detection has no say; with fewer than two views there are no joints."""
    seen = np.ones((3, 3, 2), bool)
    seen[1, 2, 0] = seen[2, 1:, 1] = False
    recording, _ = recording_of(tmp_path, joints_2d_valid=seen)
    indices = recording.frame_indices.copy()
    indices[1, 2] = -1
    seen[1, 2] = False
    recording = replace(recording, frame_indices=indices, joints_2d_valid=seen)
    rounds = estimate_rounds(recording, model, folder=tmp_path)
    assert rounds.estimated.tolist() == [[True, True], [True, True], [True, False]]
    assert not rounds.recordings[0].joints_valid[2, 1].any()
    assert 'gives no joints for 1 hands' in rounds.recordings[0].notes[-1]
    # What is left of the second frame is a recording of two cameras.
    names = recording.calibration.names[:2]
    two = replace(
        recording,
        calibration=recording.calibration.select(names),
        videos=names,
        frame_indices=indices[:, :2],
        joints_2d=recording.joints_2d[:, :2],
        joints_2d_valid=seen[:, :2],
        detection_confidence=recording.detection_confidence[:, :2],
        views_used=recording.views_used[:, :2],
    )
    other = estimate_rounds(two, model, folder=tmp_path)
    for ours, theirs in zip(rounds.recordings, other.recordings, strict=True):
        np.testing.assert_allclose(ours.joints_3d[1], theirs.joints_3d[1], atol=1e-5)


def test_images_in_order(tmp_path):
    recording, _ = recording_of(tmp_path, sides=(1,))
    with open_images(recording, tmp_path) as images:
        assert images.read(0, 1).shape == (480, 640, 3) and images.read(2, 1) is not None
        with pytest.raises(RecordingError, match='must not decrease'):
            images.read(1, 1)
    late = replace(recording, frame_indices=recording.frame_indices + 1)
    with pytest.raises(RecordingError, match='ends before image 3, which the recording has of camera cam0'):
        RecordingReader(late, tmp_path).read(2, 0)
    with pytest.raises(VideoError):
        RecordingReader(recording, tmp_path / 'nowhere')


def test_bad_input(tmp_path, model):
    recording, _ = recording_of(tmp_path, frames=2, sides=(1,))
    unknown = replace(recording, joints_valid=np.zeros((2, 1, 21), bool))
    with pytest.raises(RecordingError, match='hands whose middle MCP is triangulated'):
        estimate_rounds(unknown, model, folder=tmp_path)
    many = MODELS.build(small_config(min_views=4))
    with pytest.raises(RecordingError, match='needs 4 cameras, and the recording has 3'):
        estimate_rounds(recording, many, folder=tmp_path)
    with pytest.raises(ValueError, match='PDTM, which does not estimate hands from several cameras'):
        load_volume_model('pdtm_synthetic')
