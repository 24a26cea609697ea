"""Several datasets as one, with one list of actions: what a system trained on all of them together reads."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from handpose.datasets.io.errors import DatasetError
from handpose.registry import DATASETS
from handpose.structures import HandSequence

_LISTS = {'action_label': 'actions', 'verb_label': 'verbs', 'object_label': 'objects'}


@DATASETS.register_module()
class DatasetMix(Dataset):
    """The samples of several datasets, one dataset after the other; training shuffles them.

    Labels follow joint lists of names: those of the first dataset, then those of the second that the first lacks, and
    so on. Equal names are one action.

    Args:
        datasets: readers or their configs. Samples must have the same fields and coordinate frame, where they share a
            batch; see `HandSequence.stack`.

    Raises:
        DatasetError: no dataset.
    """

    def __init__(self, datasets: Sequence[Mapping[str, Any] | Dataset]) -> None:
        super().__init__()
        if not datasets:
            raise DatasetError('DatasetMix needs at least one dataset, got none')
        self.datasets = [DATASETS.build(item) if isinstance(item, Mapping) else item for item in datasets]
        self._ends = list(accumulate(len(dataset) for dataset in self.datasets))
        self._names = {name: self._join(name) for name in _LISTS.values()}
        self._maps = [
            {field: self._map(dataset.metainfo.get(name, []), name) for field, name in _LISTS.items()}
            for dataset in self.datasets
        ]

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the first dataset, with the joint lists of names and the verb of each action."""
        info = {**self.datasets[0].metainfo, 'dataset': type(self).__name__, **self._names}
        if self._names['actions']:
            verbs = {}
            for dataset in self.datasets:
                own = dataset.metainfo
                for action, verb in zip(own.get('actions', []), own.get('action_verb', []), strict=True):
                    verbs.setdefault(action, self._names['verbs'].index(own['verbs'][verb]))
            info['action_verb'] = [verbs[action] for action in self._names['actions']]
        return info

    @property
    def seed(self) -> int:
        """Of the random draws of all datasets."""
        return self.datasets[0].seed

    @seed.setter
    def seed(self, value: int) -> None:
        for dataset in self.datasets:
            dataset.seed = value

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that random draws depend on."""
        for dataset in self.datasets:
            dataset.set_epoch(epoch)

    @property
    def skipped(self) -> list[str]:
        """What the datasets skipped."""
        return [line for dataset in self.datasets for line in dataset.skipped]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> HandSequence:
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a mix of {len(self)} samples')
        number, place = self._locate(index % len(self))
        sample = self.datasets[number][place]
        present = sample.present()
        maps = self._maps[number].items()
        return sample.replace(**{field: table[present[field]] for field, table in maps if field in present})

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`."""
        number, place = self._locate(index)
        return self.datasets[number].read(place)

    def sample_name(self, index: int) -> str:
        """Names sample `index` in messages."""
        number, place = self._locate(index)
        return self.datasets[number].sample_name(place)

    def _locate(self, index: int) -> tuple[int, int]:
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def _join(self, name: str) -> list[str]:
        return list(dict.fromkeys(x for dataset in self.datasets for x in dataset.metainfo.get(name, [])))

    def _map(self, names: Sequence[str], kind: str) -> Tensor:
        """Labels of a dataset to joint ones, with -1 at the end, where label -1 finds it."""
        places = {name: place for place, name in enumerate(self._names[kind])}
        return torch.tensor([*(places[name] for name in names), -1])
