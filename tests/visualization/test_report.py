"""The pictures of a test: which tracks and moments are chosen, and that the drawn frames are those of the records."""

import cv2
import numpy as np
import pytest
import torch

from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.evaluation import HandPoseMetric, load_records
from handpose.evaluation.pose import MPJPE
from handpose.models import Estimator, Gives, Reads
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.visualization import draw_frames, error_timeline
from handpose.visualization.report import choose_moments, draw_numbers, draw_test, draw_worst_tracks, worst_tracks

ERROR = MPJPE['pa']
CURVES = [spec for spec in MPJPE.values() if spec.curve_max]
OFFSETS = {'calm': 0.0, 'wild': 1.0, 'middling': 0.5}


class Recordings:
    """Three sequences of 8 frames with one camera; every picture is one grey that names its sequence and frame."""

    def __len__(self):
        return len(OFFSETS)

    def read(self, index):
        return self[index].replace(images=None)

    def __getitem__(self, index):
        frames, sequence = 8, list(OFFSETS)[index]
        spread = torch.tensor([[0.04 * (f - 2), 0.02 - 0.03 * k, 0.5] for f in range(5) for k in range(4)])
        joints = torch.cat([torch.tensor([[0.0, 0.08, 0.5]]), spread]).expand(frames, 1, 21, 3)
        grey = 20 * index + torch.arange(frames) * 3 + 40
        return HandSequence(
            meta=dict(
                dataset='d', sequence=sequence, cameras=['c'], frame_indices=list(range(10, 10 + frames)), fps=30.0
            ),
            frame_valid=torch.ones(frames, dtype=torch.bool),
            hand_side=torch.tensor([1]),
            hand_valid=torch.ones(frames, 1, dtype=torch.bool),
            images=grey[:, None, None, None, None].expand(frames, 1, 3, 60, 80).to(torch.uint8),
            intrinsics=torch.tensor([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]]).expand(frames, 1, 3, 3),
            joints_3d=joints,
            joints_valid=torch.ones(frames, 1, 21, dtype=torch.bool),
            occlusion=torch.linspace(0, 0.9, frames)[:, None, None],
        )


class Shaky(Estimator):
    """The truth with an error that grows over the frames, by how wild the sequence is."""

    @property
    def reads(self):
        return Reads(fields=('joints_3d',))

    @property
    def gives(self):
        return Gives(frame='camera')

    def loss(self, batch, step):
        raise NotImplementedError

    def predict(self, batch, *, num_samples=None, generator=None):
        growing = torch.linspace(0, 1, batch.joints_3d.shape[1])[:, None, None, None]
        wild = torch.tensor([OFFSETS[meta['sequence']] for meta in batch.meta])[:, None, None, None, None]
        noise = torch.randn(21, 3, generator=torch.Generator().manual_seed(0)) * 0.02
        return HandSequence(
            meta=batch.meta,
            frame='camera',
            batched=True,
            frame_valid=batch.frame_valid,
            hand_side=batch.hand_side,
            hand_valid=batch.hand_valid,
            joints_3d=batch.joints_3d + wild * growing * noise,
            joints_valid=batch.joints_valid,
        )


@pytest.fixture
def records(tmp_path):
    metric, dataset = HandPoseMetric(keep_records=tmp_path / 'records' / 'model.npz'), Recordings()
    for index in range(len(dataset)):
        metric.process(None, EstimatorAdapter(Shaky())(collate([dataset[index]])['batch'], mode='predict'))
    metric.evaluate(len(dataset))
    return load_records(tmp_path / 'records' / 'model.npz')


def test_records_hold_every_joint(records):
    assert records['pa_mpjpe_mm/joints'].shape == (24, 21)
    np.testing.assert_allclose(records['pa_mpjpe_mm/joints'].mean(1), records['pa_mpjpe_mm'], rtol=1e-5)


def test_worst_sequences_come_first_and_once(records):
    assert [track.sequence for track in worst_tracks(records, ERROR.name, 2)] == ['wild', 'middling']
    twice = {name: np.concatenate([values, values]) for name, values in records.items()}
    twice['camera'] = np.repeat(['a', 'b'], len(records['frame']))
    twice['pa_mpjpe_mm'] = twice['pa_mpjpe_mm'] * np.repeat([1, 2], len(records['frame']))
    assert [(t.sequence, t.camera) for t in worst_tracks(twice, ERROR.name, 9)] == [
        ('wild', 'b'),
        ('middling', 'b'),
        ('calm', 'b'),
    ]


def test_the_worst_moment_is_shown():
    errors = np.array([1.0, 2, np.nan, 9, 1, 1, 1, 1, 1, 1])
    moments = choose_moments(errors, 4)
    assert 3 in moments and 2 not in moments and 0 in moments and 9 in moments and list(moments) == sorted(moments)
    assert list(choose_moments(np.array([np.nan, 5.0]), 4)) == [1]


def test_pictures_of_a_test(tmp_path, records):
    said = []
    draw_numbers(tmp_path, {'model': records, 'mean_hand': records}, CURVES, said.append)
    draw_worst_tracks(tmp_path, {'model': records}, ERROR, Shaky(), Recordings(), 1)
    assert not said
    assert {p.name for p in tmp_path.glob('*.png')} == {
        'pck.png',
        'error_per_joint.png',
        'error_by_occlusion.png',
        'worst_1_wild_c.png',
    }
    drawn = cv2.imread(str(tmp_path / 'worst_1_wild_c.png'))
    greys = {int(v) for v in np.unique(drawn.reshape(-1, 3), axis=0).min(1)}
    assert {60, 81} <= greys  # the first and the last frame of the second sequence, and no other sequence's last
    assert (drawn == 101).all(-1).sum() < (drawn == 81).all(-1).sum() / 100


def test_metrics_of_a_test_are_drawn(tmp_path, records):
    metric, said = HandPoseMetric(), []
    metric.records = records
    draw_test(tmp_path, {'model': [metric], 'untrained': [metric]}, Shaky(), Recordings(), 1, said.append)
    assert not said and len(list(tmp_path.glob('*.png'))) == 4
    draw_test(tmp_path, {'model': [HandPoseMetric()]}, Shaky(), Recordings(), 1, said.append)
    assert 'no metric of test_evaluator keeps the errors of single joints' in said[0]


def test_unknown_occlusion_is_said(tmp_path, records):
    said = []
    draw_numbers(tmp_path, {'model': {**records, 'occlusion': np.full(24, np.nan)}}, CURVES, said.append)
    assert not (tmp_path / 'error_by_occlusion.png').exists() and 'how much of a hand is hidden' in said[0]
    said.clear()
    draw_numbers(tmp_path, {'model': {k: v for k, v in records.items() if '/joints' not in k}}, CURVES, said.append)
    assert 'errors of single joints' in said[0]


def test_records_of_another_split_are_refused(tmp_path, records):
    records['frame'] = records['frame'] + 100
    with pytest.raises(ValueError, match='the records are of another test split'):
        draw_worst_tracks(tmp_path, {'model': records}, ERROR, Shaky(), Recordings(), 1)


def test_a_frame_is_drawn_with_prediction_and_truth():
    clip = Recordings()[1]
    moved = clip.replace(joints_3d=clip.joints_3d + 0.05)
    ((predicted, true), again) = draw_frames(moved, clip, [2, 2], panel_size=120)
    assert predicted.shape == true.shape == (120, 160, 3) and (predicted != true).any()
    np.testing.assert_array_equal(again[0], predicted)


def test_constant_hands_have_records_of_the_same_samples(tmp_path, records):
    hand = MODELS.build(dict(type='ConstantHand'))
    metric = HandPoseMetric(keep_records=tmp_path / 'hand.npz')
    for index in range(3):
        metric.process(None, EstimatorAdapter(hand)(collate([Recordings()[index]])['batch'], mode='predict'))
    metric.evaluate(3)
    other = load_records(tmp_path / 'hand.npz')
    assert all((other[key] == records[key]).all() for key in ('sequence', 'camera', 'frame', 'hand'))


def test_a_timeline_breaks_where_frames_are_missing():
    times = np.array([0, 1, 2, 10, 11, 12])
    errors = np.array([5.0, 5, 5, 5, 5, 5])
    whole = error_timeline(np.arange(6), {'model': errors})
    broken = error_timeline(times, {'model': errors})
    row = lambda image: (image == (31, 119, 180)).all(-1).sum()  # noqa: E731  (Matplotlib's first colour)
    assert row(broken) < 0.7 * row(whole)
    picture = np.full((20, 20, 3), 7, np.uint8)
    longer = error_timeline(times, {'model': errors}, 0.1 * np.arange(6), [(1, picture, picture)])
    assert len(longer) > len(broken) and (longer == 7).all(-1).sum() > 1000
    with pytest.raises(ValueError, match='for each model errors'):
        error_timeline(times, {'model': errors[:3]})
