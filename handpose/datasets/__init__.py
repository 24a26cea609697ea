"""Datasets of clips (`HandSequence`), and the transforms between the files and the model.

Every folder with a `reader.py` is a dataset: its readers, the classes registered in `DATASETS`, are imported and
exported here. So adding a dataset touches its own folder, its config and its tests.
"""

import importlib
from pathlib import Path
from typing import Any

from handpose.datasets import transforms
from handpose.datasets.base import BrokenFrames, DatasetError, Track, VideoDataset
from handpose.datasets.cached_dataset import CachedDataset
from handpose.datasets.dataset_mix import DatasetMix
from handpose.datasets.sampling import ActionClips, ClipSampling, ForecastSegments, Sampling, Tracks
from handpose.datasets.verb_dataset import VerbDataset
from handpose.registry import DATASETS
from handpose.text import did_you_mean

for _path in sorted(Path(__file__).parent.glob('*/reader.py')):
    importlib.import_module(f'{__name__}.{_path.parent.name}.reader')
_READERS = {
    name: reader
    for name, reader in DATASETS.module_dict.items()
    if reader.__module__.startswith(f'{__name__}.') and reader.__module__.count('.') > 2  # of a folder
}
globals().update(_READERS)

__all__ = [
    'ActionClips',
    'BrokenFrames',
    'CachedDataset',
    'ClipSampling',
    'DatasetError',
    'DatasetMix',
    'ForecastSegments',
    'Sampling',
    'Track',
    'Tracks',
    'VerbDataset',
    'VideoDataset',
    'transforms',
    *_READERS,
]


def __getattr__(name: str) -> Any:
    raise AttributeError(f'{__name__} has no {name!r}.{did_you_mean(name, __all__)}')
