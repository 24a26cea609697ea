"""Observed frames and ground-truth futures: of samples, of batches, beside transforms, and as a runner pairs them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from forecasts import RandomTracks, clip_of, moving_hands

from handpose.datasets import DatasetError, ForecastSegments
from handpose.datasets.io.label_frames import mark_padding
from handpose.datasets.transforms import EstimatorNoise, MotionAugmentation, ObserveFraction, SplitFuture
from handpose.datasets.transforms.labels import rotate_cameras
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.models.estimators.base import Estimator, Gives, Reads
from handpose.structures import HandSequence, SequenceError

SEGMENTS = dict(type='ForecastSegments', max_future=30)


class RepeatsLastFrame(Estimator):
    """Samples two futures, both the last observed pose."""

    reads = Reads(fields=('joints_3d',))
    gives = Gives(frame=None)

    def loss(self, batch, step):
        raise NotImplementedError

    def predict(self, batch, *, num_samples=None, generator=None):
        futures = []
        for clip in batch.unstack():
            ahead = clip.future.unstack()[0]
            joints = clip.joints_3d[-1:].expand(len(ahead.timestamps), -1, -1, -1)
            futures += 2 * [ahead.replace(joints_3d=joints)]
        return batch.replace(future=HandSequence.stack(futures))


def dataset(*pipeline, **options):
    return RandomTracks('.', sampling=options.pop('sampling', SEGMENTS), pipeline=pipeline, **options)


def test_each_segment_with_frames_after_it_gives_a_sample():
    samples = list(dataset(SplitFuture()))
    assert [(s.meta['sequence'], s.meta['frame_indices'][0], s.meta['phase']) for s in samples] == [
        ('0', 100, 0), ('0', 116, 1), ('2', 100, 0), ('2', 116, 1), ('2', 132, 2)]  # fmt: skip
    assert [len(s.timestamps) for s in samples] == [16] * 5
    assert [s.future.joints_3d.shape[:2] for s in samples] == [(1, 24), (1, 8), (1, 30), (1, 29), (1, 13)]
    for sample in samples:
        sample.validate()
        whole = moving_hands(61 if sample.meta['sequence'] == '2' else 40, seed=int(sample.meta['sequence']))
        first = sample.meta['frame_indices'][0] - 100
        assert np.array_equal(sample.joints_3d.numpy(), whole[first : first + 16])
        assert np.array_equal(sample.future.joints_3d[0].numpy(), whole[first + 16 :][:30])
        ahead = sample.future.meta[0]['frame_indices']
        assert ahead == list(range(first + 116, first + 116 + sample.future.joints_3d.shape[1]))
        assert sample.future.timestamps[0, 0].item() == pytest.approx(sample.timestamps[-1].item() + 1 / 30)
    assert len(dataset(sampling=dict(SEGMENTS, min_future=25))) == 2


def test_every_other_frame():
    samples = list(dataset(SplitFuture(), sampling=dict(SEGMENTS, frame_step=2)))
    assert [(s.meta['frame_indices'][:2], s.meta['phase']) for s in samples] == [([100, 102], 0), ([100, 102], 0)]
    assert samples[1].future.meta[0]['frame_indices'] == list(range(132, 161, 2))
    short = dataset(SplitFuture(4), sampling=ForecastSegments(4, 96, 1, frame_step=2))
    assert [s.meta['phase'] for s in short][:5] == [0, 1, 2, 3, 0]


def test_what_cannot_be_read_is_padding():
    sample = dataset(SplitFuture(), unreadable=(0, 5, 20, 39))[0].validate()
    assert sample.frame_valid.nonzero()[:, 0].tolist() == [1, 2, 3, 4, *range(6, 16)]
    assert sample.meta['frame_indices'][:7] == [101, 101, 102, 103, 104, 104, 106] and sample.meta['phase'] == 0
    assert sample.future.frame_valid[0].tolist() == [i not in (4, 23) for i in range(24)]
    assert not sample.future.joints_valid[0, 4].any() and not sample.joints_valid[5].any()


def test_a_segment_without_labels_gives_no_sample():
    track = dataset().tracks[0]
    annotated = track.annotated.copy()
    annotated[16:32] = False
    track = replace(track, annotated=annotated)
    assert ForecastSegments(max_future=16).starts(track).tolist() == []  # nothing to compare with, nothing observed
    assert ForecastSegments(max_future=17).starts(track).tolist() == [0]


def test_a_segment_whose_last_frame_cannot_be_read_gives_no_sample():
    samples = dataset(SplitFuture(), unreadable=(15,))
    assert [(s.meta['sequence'], s.meta['phase']) for s in samples] == [('0', 1), ('2', 1), ('2', 2)]


def test_a_future_has_no_input_whatever_the_order():
    before = dataset(EstimatorNoise(), SplitFuture())[0].validate()
    after = dataset(SplitFuture(), EstimatorNoise())[0].validate()
    clean = dataset(SplitFuture())[0]
    for sample in (before, after):
        assert sample.input_joints_3d.shape == (16, 2, 21, 3)
        assert not torch.equal(sample.input_joints_3d, sample.joints_3d)
        assert torch.equal(sample.future.joints_3d, clean.future.joints_3d)
        assert not [name for name in sample.future.present() if name.startswith('input')]


def test_noise_after_the_split_does_not_depend_on_the_future():
    clip = clip_of(moving_hands(40))
    clip.joints_valid[8:20, 0, 4] = False  # filled from neighbouring frames
    clip.joints_3d[8:20, 0, 4] = 0
    other = clip.replace(joints_3d=torch.cat([clip.joints_3d[:16], clip.joints_3d[16:] + 0.1]))
    noisy = [EstimatorNoise()(SplitFuture()(c, None), np.random.default_rng(3)).input_joints_3d for c in (clip, other)]
    assert torch.equal(*noisy)


def test_transforms_that_would_move_only_the_observed_frames_refuse():
    split = SplitFuture()(clip_of(moving_hands(20)), None)
    with pytest.raises(DatasetError, match='has future'):
        MotionAugmentation()(split, np.random.default_rng(0))
    with pytest.raises(SequenceError, match='place SplitFuture after'):
        rotate_cameras(split, torch.eye(3))


def test_batches_pad_futures_and_a_runner_pairs_them():
    samples = list(dataset(SplitFuture(), EstimatorNoise()))
    batch = collate(samples)['batch'].validate()
    lengths = [24, 8, 30, 29, 13]
    assert batch.future.frame_valid.sum(1).tolist() == lengths and batch.future.joints_3d.shape[:2] == (5, 30)
    pairs = EstimatorAdapter(RepeatsLastFrame())(batch, mode='predict')
    for pair, sample, length in zip(pairs, samples, lengths, strict=True):
        truth, futures = pair['target'].future, pair['prediction'].future
        assert len(truth.meta) == 1 and len(futures.meta) == 2 and futures.joints_3d.shape == (2, 30, 2, 21, 3)
        assert truth.frame_valid[0].tolist() == [True] * length + [False] * (30 - length)
        assert torch.equal(truth.joints_3d[:, :length], sample.future.joints_3d)
        assert torch.equal(futures.joints_3d[1, 0], sample.joints_3d[-1])


def test_padding_of_the_clip_leaves_the_future_as_it_is():
    split = SplitFuture()(clip_of(moving_hands(20)), None)
    padded = mark_padding(split, torch.arange(16) < 10).validate()
    assert padded.frame_valid.sum() == 10 and padded.future.frame_valid.all() and padded.future.joints_valid.all()


def test_the_padding_of_a_short_training_clip_goes_into_the_future():
    clips = dataset(SplitFuture(), sampling=dict(type='ClipSampling', num_frames=32, clip_step=32), lengths=(20, 64))
    assert [clip.future.frame_valid.sum().item() for clip in clips] == [4, 16, 16]
    assert [clip.meta['phase'] for clip in clips] == [0, 0, 2]


@pytest.mark.parametrize(('fraction', 'kept'), [(0.25, 16), (0.5, 31), (0.75, 46), (1, 61), (0.1, 16)])
def test_the_first_part_of_a_track(fraction, kept):
    tracks = dataset(ObserveFraction(fraction), sampling=dict(type='Tracks'))
    assert [len(track.timestamps) for track in tracks] == [max(int(np.ceil(40 * fraction)), 16), 16, kept]
    assert tracks[2].validate().meta['frame_indices'] == list(range(100, 100 + kept))


def test_padding_is_no_part_of_a_track():
    padded = mark_padding(clip_of(moving_hands(60)), torch.arange(60) < 40)
    assert len(ObserveFraction(0.5, min_frames=1)(padded, None).timestamps) == 20
    assert len(ObserveFraction(1.0)(padded, None).timestamps) == 40


def test_wrong_options_and_clips_are_refused():
    with pytest.raises(DatasetError, match='needs more than num_observed = 16 frames, got 16 of s'):
        SplitFuture()(clip_of(moving_hands(16)), None)
    with pytest.raises(DatasetError, match='split a clip once'):
        SplitFuture(4)(SplitFuture()(clip_of(moving_hands(20)), None), None)
    for wrong in (0, 1.5, True):
        with pytest.raises(DatasetError, match='num_observed must be a whole number'):
            SplitFuture(wrong)
    for wrong in (0, 1.2, -1):
        with pytest.raises(DatasetError, match='above 0 and at most 1'):
            ObserveFraction(wrong)
    with pytest.raises(DatasetError, match='min_future must be at most max_future = 96, got 97'):
        ForecastSegments(min_future=97)
    with pytest.raises(DatasetError, match='num_observed must be a whole number'):
        ForecastSegments(0)
