"""Predictions files of a dataset's tracks, with a scripted detector whose errors are known."""

import json
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from scripted_hands import number_of, numbered_image

from handpose.datasets import DatasetError, Track, VideoDataset
from handpose.inference.dataset_predictions import DatasetPredictor, error_summary, label_sides, open_tracks
from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.tracker import next_region
from handpose.registry import DATASETS
from handpose.structures import HandSequence, load_predictions
from handpose.structures.predictions_file import tracks_without_hand

SIZE = 112, 64
CAMERA = np.array([[300.0, 0, 55], [0, 300.0, 31], [0, 0, 1]])
FRAMES = 12
EMPTY = 1  # the track in which nothing is found
SCALE = 1.1  # the detector takes hands to be so much larger
SHIFT = 2.0  # pixels by which its joints are off, to the right


def true_joints(number):
    """(21, 3) of a left hand in the camera; `number` is that of the image over all tracks."""
    rng = np.random.default_rng(5)
    shape = rng.uniform(-0.5, 0.5, (21, 3)) * [0.04, 0.05, 0.02]
    shape[0] = [0, 0.04, 0]
    return shape + [0.01 * np.sin(0.3 * number), 0.005 * np.cos(0.2 * number), 0.6]


def projected(number):
    points = true_joints(number) @ CAMERA.T
    return points[:, :2] / points[:, 2:]


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class NumberedHands(VideoDataset):
    """Three tracks of numbered images of one left hand; the last frame of each has no hand."""

    name = 'numbered_hands'

    def list_tracks(self):
        annotated = np.arange(FRAMES) < FRAMES - 1
        for t in range(3):
            yield Track(f'track {t}', f'anna/{t}', ('0',), 30.0, annotated, span=(0, FRAMES), source=t)

    def frame_paths(self, track, frames):
        return [[f'{self.root}/{track.source * FRAMES + f}.png'] for f in frames.tolist()]

    def read_frames(self, track, frames):
        numbers = (track.source * FRAMES + frames).tolist()
        valid = torch.from_numpy(track.annotated[frames])[:, None]
        joints_2d = torch.from_numpy(np.stack([projected(n) for n in numbers])).float()
        return HandSequence(
            meta={'image_size': SIZE},
            hand_side=torch.tensor([0]),
            hand_valid=valid,
            intrinsics=torch.from_numpy(CAMERA).float().expand(len(frames), 1, 3, 3).clone(),
            joints_3d=torch.from_numpy(np.stack([true_joints(n) for n in numbers])).float()[:, None],
            joints_valid=valid[..., None].repeat(1, 1, 21),
            joints_2d=joints_2d[:, None, None],
            joints_2d_valid=valid[:, None, :, None].repeat(1, 1, 1, 21),
        )


class WrongSide:
    """Finds the hand with known errors, takes it for a right one, and finds another hand that is none."""

    info = EstimatorInfo('a scripted estimator', licence='CC0')

    def __init__(self, stop=None):
        self.images, self.stop = 0, stop

    def detect(self, image):
        return [] if number_of(image) // FRAMES == EMPTY else [next_region(self._joints(number_of(image)))]

    def estimate(self, frame, regions):
        number = number_of(frame.image)
        self.images += bool(regions)
        if self.stop is not None and number >= self.stop:
            raise KeyboardInterrupt
        joints = true_joints(number)
        found = HandEstimate(self._joints(number), (SCALE * (joints - joints[:1])).astype(np.float32), 0.9, 0.97)
        return [found for _ in regions]

    def reset(self, intrinsics=None):
        pass

    def context_start(self, times):
        return len(times)

    def _joints(self, number):
        return (projected(number) + [SHIFT, 0]).astype(np.float32)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    for number in range(3 * FRAMES):
        cv2.imwrite(f'{folder}/{number}.png', numbered_image(number, SIZE))
    return folder


def predictor_of(folder, stop=None, networks='full'):
    script = WrongSide(stop)
    return DatasetPredictor(folder, Session(script, script, name='a script'), networks), script


def config_of(root, **options):
    return dict(type='NumberedHands', data_root=str(root), **options)


def run(root, folder, numbers=(0, 1, 2), stop=None):
    predictor, script = predictor_of(folder, stop)
    return list(predictor.tracks(open_tracks(config_of(root)), numbers)), script


def test_files_have_the_known_errors(root, tmp_path):
    reports, _ = run(root, tmp_path)
    assert [report.file for report in reports] == ['anna_0_0.npz', 'anna_1_0.npz', 'anna_2_0.npz']
    assert [report.found for report in reports] == [True, False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['anna_0_0.npz', 'anna_2_0.npz', 'tracks.json']
    assert tracks_without_hand(tmp_path) == {'anna_1_0.npz'}
    errors = error_summary(reports)
    assert (errors.annotated, errors.found) == (3 * (FRAMES - 1), 2 * (FRAMES - 1))
    size = np.ptp(projected(0), axis=0).max()
    assert errors.median_2d == pytest.approx(SHIFT / size, rel=0.02)  # the size changes by less with the distance
    # A hand that is larger and further away by the same factor has the same image: only the length is wrong. The shift
    # turns it a little when it is placed: by 2 / 300 rad.
    joints = true_joints(0)
    length = 1000 * (SCALE - 1) * np.linalg.norm(joints - joints[:1], axis=-1).mean()
    assert errors.mean_3d == pytest.approx(length, rel=0.08)


def test_a_hand_has_the_labelled_side_and_is_in_the_camera(root, tmp_path):
    run(root, tmp_path, [0])
    found = load_predictions(tmp_path / 'anna_0_0.npz')
    assert found.hand_side.tolist() == [0] and found.frame == 'camera' and found.scale == 'relative'
    assert 'numbered_hands anna_0_0, by a script' in found.source
    np.testing.assert_allclose(found.timestamps, np.arange(FRAMES) / 30)
    np.testing.assert_allclose(found.intrinsics, CAMERA)
    np.testing.assert_allclose(found.joints_2d[0, 0], projected(0) + [SHIFT, 0], atol=1e-4)
    image = found.joints[0, 0] @ CAMERA.T
    np.testing.assert_allclose(image[:, :2] / image[:, 2:], found.joints_2d[0, 0], atol=0.1)


def test_an_interrupted_run_continues(root, tmp_path):
    run(root, tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / 'parts', stop=2 * FRAMES + 3)
    assert not (tmp_path / 'parts' / 'anna_2_0.npz').exists()
    reports, _ = run(root, tmp_path / 'parts')
    assert [report.kept for report in reports] == [True, True, False]
    for name in ('anna_0_0.npz', 'anna_2_0.npz'):
        whole, parts = (load_predictions(tmp_path / folder / name) for folder in ('whole', 'parts'))
        np.testing.assert_array_equal(whole.joints, parts.joints)
    reports, script = run(root, tmp_path / 'parts')
    assert all(report.kept for report in reports) and script.images == 0
    assert error_summary(reports).found == 2 * (FRAMES - 1)


def test_folders_of_other_origin_are_refused(root, tmp_path):
    run(root, tmp_path / 'a', [0])
    with pytest.raises(DatasetError, match="networks='full', and this run has 'lite'"):
        predictor_of(tmp_path / 'a', networks='lite')
    (tmp_path / 'a' / 'tracks.json').unlink()
    with pytest.raises(DatasetError, match='did not write'):
        predictor_of(tmp_path / 'a')
    run(root, tmp_path / 'b', [0])
    (tmp_path / 'b' / 'anna_0_0.npz').rename(tmp_path / 'b' / 'anna_2_0.npz')
    predictions = load_predictions(tmp_path / 'b' / 'anna_2_0.npz')
    from handpose.structures import save_predictions

    save_predictions(tmp_path / 'b' / 'anna_2_0.npz', predictions.select(slice(0, 5)))
    run(root, tmp_path / 'b', [2])  # images that could not be read have no prediction
    save_predictions(tmp_path / 'b' / 'anna_2_0.npz', replace(predictions, timestamps=predictions.timestamps + 0.01))
    with pytest.raises(DatasetError, match='is of another track'):
        run(root, tmp_path / 'b', [2])


def test_a_dataset_leaves_out_tracks_without_a_file(root, tmp_path):
    run(root, tmp_path, [0, 1])
    pipeline = [dict(type='EstimatorNoise')]  # does nothing where there are predictions
    dataset = DATASETS.build(config_of(root, predictions=str(tmp_path), pipeline=pipeline))
    assert [track.sequence for track in dataset.tracks] == ['anna/0'] and len(dataset) == 1
    assert '2 of 3 tracks' in dataset.skipped[0]
    assert '(in 1 no hand was found, 1 were not processed)' in dataset.skipped[0]
    clip = dataset[0].validate()
    found = load_predictions(tmp_path / 'anna_0_0.npz')
    np.testing.assert_array_equal(clip.input_joints_3d[:-1], found.joints[:-1])
    assert clip.input_valid.shape == (FRAMES, 1) and clip.input_valid[:-1].all()
    without = DATASETS.build(config_of(root, pipeline=pipeline))
    assert len(without) == 3 and not torch.equal(without[0].input_joints_3d, clip.input_joints_3d)


def test_a_folder_without_any_file_is_refused(root, tmp_path):
    run(root, tmp_path, [1])
    with pytest.raises(DatasetError, match=r'no predictions file of any of the 3 tracks.*anna_0_0.npz'):
        DATASETS.build(config_of(root, predictions=str(tmp_path)))


def test_a_damaged_list_is_refused(root, tmp_path):
    run(root, tmp_path, [0])
    (tmp_path / 'tracks.json').write_text(json.dumps(dict(networks='full')))
    with pytest.raises(ValueError, match="'without_hand' must be a list of names"):
        DATASETS.build(config_of(root, predictions=str(tmp_path)))


def test_tracks_get_the_side_of_the_hand_that_they_show():
    """Of three tracks, one shows the left hand, one the right hand, and one nothing."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 20, (21, 2))
    labels = np.stack([shape + 10, shape + 100])  # left and right
    places = {7: labels[1], 3: labels[0], 5: labels[0] + 200}
    estimates = {
        name: HandEstimate(place.astype(np.float32), np.zeros((21, 3), np.float32), 0.9, 0.5)
        for name, place in places.items()
    }
    from handpose.inference.tracking.tracker import HandTracker

    times, hands = [0.0, 0.1], [[], []]
    tracker = HandTracker()
    for t, time in enumerate(times):
        hands[t] = tracker.restore(time, list(estimates.items()), True)
    records = TrackRecords.of_frames(times, [True, True], hands)
    clip = HandSequence(
        hand_side=torch.tensor([0, 1]),
        joints_2d=torch.from_numpy(np.tile(labels, (2, 1, 1, 1, 1)).reshape(2, 1, 2, 21, 2)).float(),
        joints_2d_valid=torch.ones(2, 1, 2, 21, dtype=torch.bool),
    )
    kept = label_sides(records, clip)
    assert {i: kept.right[kept.track_id == i].tolist() for i in (3, 5, 7)} == {3: [0.0, 0.0], 5: [], 7: [1.0, 1.0]}
    assert kept.frame.tolist() == [0, 0, 1, 1] and len(kept) == 2
