"""A reader outside the package: what a user writes for a dataset of their own, in at most 40 lines."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from handpose.datasets import ClipSampling, DatasetError, VideoDataset
from handpose.datasets.io.packing import pack_frames
from handpose.registry import DATASETS

SOURCE = Path(__file__).parents[1] / 'helpers' / 'outside_reader.py'


@pytest.fixture
def reader():
    yield importlib.import_module('outside_reader').TinyHands
    DATASETS.module_dict.pop('TinyHands')
    sys.modules.pop('outside_reader')


@pytest.fixture
def root(tmp_path):
    for name in ('a', 'b'):
        folder = tmp_path / 'data' / 'train' / name
        folder.mkdir(parents=True)
        joints = np.random.default_rng(0).normal(0, 0.05, (8, 21, 3)).astype(np.float32) + np.float32([0, 0, 0.5])
        joints[[0, 3]] = np.nan
        np.save(folder / 'joints.npy', joints)
        np.save(folder / 'camera.npy', np.float64([[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1]]))
        for frame in range(8):
            cv2.imwrite(str(folder / f'{frame:04d}.png'), np.full((48, 64, 3), 10 * frame, np.uint8))
    return tmp_path / 'data'


def test_forty_lines_are_enough(reader, root):
    assert len(SOURCE.read_text().splitlines()) <= 40 and issubclass(reader, VideoDataset)
    config = dict(type='TinyHands', data_root=str(root), pipeline=[dict(type='LoadImages')])
    dataset = DATASETS.build(config)
    assert len(dataset) == 2 and dataset.sample_name(1).endswith('train/b')
    track = dataset[1].validate()
    assert track.meta['frame_indices'] == list(range(1, 8)) and track.meta['sequence'] == 'b'
    assert track.timestamps.tolist() == [frame / 25 for frame in range(1, 8)]
    assert track.hand_valid[:, 0].tolist() == [True, True, False, True, True, True, True]
    assert track.images.shape == (7, 1, 3, 48, 64) and track.images[:, 0, 0, 0, 0].tolist() == list(range(10, 80, 10))


def test_it_has_all_that_the_base_gives(reader, root, tmp_path):
    sampling = dict(type='ClipSampling', num_frames=3, frame_step=2, clip_step=2)
    load = [dict(type='LoadImages')]
    dataset = DATASETS.build(dict(type='TinyHands', data_root=str(root), sampling=sampling, pipeline=load))
    clips = list(DataLoader(dataset, batch_size=None, num_workers=1))
    assert [clip.meta['frame_indices'] for clip in clips][:2] == [[1, 3, 5], [3, 5, 7]]
    pack_frames(tmp_path / 'store', root, dataset.image_paths(), workers=1)
    packed = reader(root, sampling=ClipSampling(3, 2, 2), pipeline=load, packed=tmp_path / 'store')
    assert torch.equal(packed[0].images, clips[0].images)
    (root / 'train' / 'a' / '0004.png').write_bytes(b'no image')
    tracks = reader(root, pipeline=load, on_broken='skip')
    assert tracks[0].meta['frame_indices'] == [1, 2, 3, 5, 6, 7] and tracks.skipped == [tracks.sample_name(0)]
    for options, message in (
        (dict(split='trian'), "split must be one of 'train', 'test'.*Did you mean 'train'"),
        (dict(sampling=3), 'sampling must be dict'),
        (dict(on_broken='ignore'), 'on_broken must be one of'),
    ):
        with pytest.raises(DatasetError, match=message):
            reader(root, **options)
    with pytest.raises(TypeError, match=r"TinyHands has no argument 'frame_rate' \(it takes: data_root, split, samp"):
        DATASETS.build(dict(type='TinyHands', data_root=str(root), frame_rate=30))


def test_a_step_of_the_pipeline_that_is_no_transform(reader, root):
    with pytest.raises(DatasetError, match='expected transforms or dicts'):
        reader(root, pipeline=["dict(type='LoadImages')"])
