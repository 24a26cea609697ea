"""`CachedDataset`: each sample is read once; random transforms differ in every epoch."""

import pytest
import torch
from torch.utils.data import Dataset

from handpose.datasets import CachedDataset
from handpose.structures import HandSequence


class Counting(Dataset):
    """Three samples; counts how often each is read."""

    seed = 7
    metainfo = {'dataset': 'counting'}
    skipped = ['one']

    def __init__(self):
        self.reads = [0, 0, 0]

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.reads[index] += 1
        return HandSequence(meta={'sequence': str(index)}, frame='world', joints_3d=torch.zeros(1, 1, 21, 3))

    def read(self, index):
        return self[index]

    def sample_name(self, index):
        return f'sample {index}'

    @classmethod
    def configured_taxonomy(cls, config):
        return None


def add_noise(sample, rng):
    return sample.replace(joints_3d=sample.joints_3d + float(rng.standard_normal()))


def test_samples_are_read_once_and_drawn_anew():
    source = Counting()
    cached = CachedDataset(source, pipeline=[add_noise])
    values = {}
    for epoch in (0, 1, 0):
        cached.set_epoch(epoch)
        values.setdefault(epoch, []).append([float(cached[i].joints_3d[0, 0, 0, 0]) for i in range(3)])
    assert source.reads == [1, 1, 1]
    assert values[0][0] == values[0][1] != values[1][0] and len(set(values[0][0])) == 3
    assert cached[-1].meta['sequence'] == '2'
    with pytest.raises(IndexError, match='sample 3 of a dataset with 3'):
        cached[3]


def test_it_passes_on_what_the_dataset_says():
    source = Counting()
    cached = CachedDataset(source)
    assert len(cached) == 3 and cached.metainfo is source.metainfo and cached.skipped == ['one']
    assert cached.sample_name(1) == 'sample 1' and cached.read(2).meta['sequence'] == '2'
    assert CachedDataset.configured_taxonomy({'dataset': source}) is None
    cached.seed = 3
    assert source.seed == 3
