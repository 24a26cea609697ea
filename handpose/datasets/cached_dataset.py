"""A dataset whose samples stay in memory, for data that takes longer to read than to learn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from handpose.datasets.dataset_mix import MixMember
from handpose.datasets.io.action_labels import ActionTaxonomy
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.registry import DATASETS, TRANSFORMS
from handpose.structures import HandSequence


@DATASETS.register_module()
class CachedDataset(Dataset):
    """Keeps each sample of a dataset in memory once it has been read.

    The dataset's own transforms run once for each sample, so they should draw nothing at random; those of `pipeline`
    run every time. Worker processes would each have a cache of their own: use num_workers=0.

    Args:
        dataset: a reader, or its config; its pipeline ends with what takes long, such as `LoadImages`.
        pipeline: further transforms, or their configs.
    """

    def __init__(self, dataset: Mapping[str, Any] | MixMember, pipeline: Sequence[Any] = ()) -> None:
        super().__init__()
        self.dataset: MixMember = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.pipeline = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        self._samples: dict[int, HandSequence] = {}
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`: that of the dataset."""
        dataset = config['dataset']
        if isinstance(dataset, Mapping):
            return configured_taxonomy(dataset)
        return dataset.configured_taxonomy(vars(dataset))

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the dataset."""
        return self.dataset.metainfo

    @property
    def seed(self) -> int:
        """Of the random draws."""
        return self.dataset.seed

    @seed.setter
    def seed(self, value: int) -> None:
        self.dataset.seed = value

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that random draws of `pipeline` depend on."""
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> list[str]:
        """What the dataset skipped."""
        return self.dataset.skipped

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> HandSequence:
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a dataset with {len(self)} samples')
        index %= len(self)
        if index not in self._samples:
            self._samples[index] = self.dataset[index]
        sample = self._samples[index]
        rng = np.random.default_rng([self.seed, int(self._epoch), index, 2])
        for transform in self.pipeline:
            sample = transform(sample, rng)
        return sample

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`."""
        return self.dataset.read(index)

    def sample_name(self, index: int) -> str:
        """Names sample `index` in messages."""
        return self.dataset.sample_name(index)
