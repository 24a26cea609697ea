"""The dataset bases of refiners' configs build, with `$name` values in place, on the built-in data."""

from pathlib import Path

import pytest
from pose_layouts import CAMERAS, write

from handpose.datasets import Tracks
from handpose.engine import load_config
from handpose.registry import DATASETS

BASES = Path(__file__).parents[2] / 'configs' / '_base_'


@pytest.mark.parametrize(
    ('name', 'options', 'tracks'),
    [
        ('interhand', {}, {'val': 5, 'test': 5}),
        ('reinterhand', {}, {'val': 5, 'test': 5}),
        ('hanco', {'train_sequences': 10, 'held_out': 2}, {'val': 2, 'test': 5}),
    ],
)
def test_base(tmp_path, name, options, tracks):
    write(tmp_path / 'data', name)
    path = tmp_path / 'config.py'
    path.write_text(
        f"_base_ = ['{BASES / name}.py']\ndata_root = '{tmp_path / 'data'}'\n"
        "hand_model = dict(type='ProceduralHand')\nbatch_size, num_workers, num_frames = 4, 0, 27\n"
        'flip, train_pipeline, test_pipeline = 0.0, [], []\n'
    )
    config = load_config(path, options)
    assert config.train_dataloader.batch_size == 4 and config.test_dataloader.batch_size == 1
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        sample = dataset[0].validate()
        assert sample.meta['split'] == split and sample.meta['hand_model'] == 'procedural-1'
        if split == 'train':
            assert len(sample.frame_valid) == 27 and dataset.sampling.clip_step == 9
        else:
            assert len(dataset) == tracks[split] * CAMERAS and dataset.sampling == Tracks()
    own = ['InterHandMetric'] if name == 'interhand' else []
    assert [e.type for e in config.test_evaluator] == ['HandPoseMetric', 'HandMeshMetric', *own]
