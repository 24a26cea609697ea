"""Accuracy of recognition without images by the share of a track that is observed."""

import numpy as np
import torch
from forecasts import RandomTracks

from handpose.datasets.transforms import ObserveFraction
from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.evaluation import ActionMetric
from handpose.models.estimators.base import Estimator, Gives, Reads


class CountsFrames(Estimator):
    """Takes the number of real frames for the action: right where it is at least 20 frames per class."""

    reads = Reads(fields=('joints_3d',), num_hands=2)
    gives = Gives(frame=None, classes={'actions': 4})

    def loss(self, batch, step):
        raise NotImplementedError

    def predict(self, batch, *, num_samples=None, generator=None):
        action = batch.frame_valid.sum(1) // 20
        return batch.replace(action_scores=torch.nn.functional.one_hot(action, 4).float())


def test_accuracy_of_two_hand_tracks_by_fraction_observed():
    accuracy = {}
    for fraction in (0.25, 0.5, 0.75, 1):
        tracks = RandomTracks(
            '.', sampling=dict(type='Tracks'), pipeline=[ObserveFraction(fraction)], lengths=(18, 39, 56, 60)
        )
        metric = ActionMetric(top=2)
        metric.dataset_meta = {'actions': ['a', 'b', 'c', 'd']}
        for batch in ([0, 1], [2], [3], [3]):  # batches pad; a repeated track counts once
            pairs = EstimatorAdapter(CountsFrames())(collate([tracks[i] for i in batch])['batch'], mode='predict')
            metric.process(None, pairs)
        numbers = metric.evaluate(5)
        assert numbers['num_videos'] == 4 and np.array_equal(metric.records['label'], [0, 1, 2, 3])
        accuracy[fraction] = numbers['action_accuracy']
    assert accuracy == {0.25: 0.25, 0.5: 0.5, 0.75: 0.75, 1: 1.0}
