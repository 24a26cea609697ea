"""Several datasets as one, with one list of actions: what a system trained on all of them together reads."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from handpose.datasets.io.action_labels import ActionTaxonomy, join_taxonomies
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.datasets.io.errors import DatasetError
from handpose.registry import DATASETS
from handpose.structures import HandSequence

_LABELS = {'action_label': 'actions', 'verb_label': 'verbs', 'object_label': 'objects'}


class MixMember(Protocol):
    """A dataset that can be a part of a `DatasetMix`; every `VideoDataset` is one."""

    seed: int

    @property
    def metainfo(self) -> dict[str, Any]:
        """See `VideoDataset.metainfo`."""

    @property
    def skipped(self) -> list[str]:
        """See `VideoDataset.skipped`."""

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`; of `vars(dataset)` too."""

    def set_epoch(self, epoch: int) -> None:
        """See `VideoDataset.set_epoch`."""

    def sample_name(self, index: int) -> str:
        """See `VideoDataset.sample_name`."""

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int) -> HandSequence:
        """Sample `index`, after the transforms."""


@DATASETS.register_module()
class DatasetMix(Dataset):
    """The samples of several datasets, one dataset after the other; training shuffles them.

    Labels follow joint lists of names: those of the first dataset, then those of the second that the first lacks, and
    so on. Equal names are one action. Samples that share a batch must have the same coordinate frame and, where no mask
    can say that one is missing, the same fields; see `HandSequence.stack`.

    Args:
        datasets: readers or their configs.
        names_of: configs of the datasets whose names the joint lists have; they are not opened. None takes
            `datasets` themselves. So the training data and the tests of single datasets number the actions alike.

    Raises:
        DatasetError: no dataset, or one whose names are not in the joint lists.
    """

    def __init__(
        self,
        datasets: Sequence[Mapping[str, Any] | MixMember],
        names_of: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        if not datasets:
            raise DatasetError('DatasetMix needs at least one dataset, got none')
        self.datasets: list[MixMember] = [
            DATASETS.build(item) if isinstance(item, Mapping) else item for item in datasets
        ]
        self.names_of = names_of
        self.actions = self.configured_taxonomy(vars(self))
        self._ends = list(accumulate(len(dataset) for dataset in self.datasets))
        self._places = [self._joint_labels(dataset) for dataset in self.datasets]

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`: the joint lists; None where no dataset has actions."""
        found = [_taxonomy_of(item) for item in config.get('names_of') or config['datasets']]
        known = [taxonomy for taxonomy in found if taxonomy is not None]
        return join_taxonomies(known) if known else None

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the first dataset, with the joint lists of names and the verb of each action."""
        joint = {} if self.actions is None else self.actions.metainfo()
        return {**self.datasets[0].metainfo, 'dataset': type(self).__name__, **joint}

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
        number, place = self._locate(index)
        return self._relabel(self.datasets[number][place], number)

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`."""
        number, place = self._locate(index)
        return self._relabel(self.datasets[number].read(place), number)

    def sample_name(self, index: int) -> str:
        """Names sample `index` in messages."""
        number, place = self._locate(index)
        return self.datasets[number].sample_name(place)

    def _locate(self, index: int) -> tuple[int, int]:
        """The number of the dataset that sample `index` is in, and its place there."""
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a mix of {len(self)} samples')
        index %= len(self)
        number = bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def _relabel(self, sample: HandSequence, number: int) -> HandSequence:
        labels = {field: value for field, value in sample.present().items() if field in _LABELS}
        return sample.replace(**{field: self._places[number][field][value] for field, value in labels.items()})

    def _joint_labels(self, dataset: MixMember) -> dict[str, Tensor]:
        """{field: the joint label of each of a dataset's}, with -1 at the end, where label -1 finds it."""
        tables: dict[str, Tensor] = {}
        info = dataset.metainfo
        for field, kind in _LABELS.items():
            joint = {name: place for place, name in enumerate(self.metainfo.get(kind, []))}
            names = info.get(kind, [])
            if missing := [name for name in names if name not in joint]:
                raise DatasetError(
                    f'DatasetMix: {info["dataset"]} has {kind} that no dataset of names_of has, such as '
                    f'{missing[0]!r}: list this dataset in names_of too'
                )
            tables[field] = torch.tensor([*(joint[name] for name in names), -1])
        return tables


def _taxonomy_of(dataset: Mapping[str, Any] | MixMember) -> ActionTaxonomy | None:
    if isinstance(dataset, Mapping):
        return configured_taxonomy(dataset)
    return dataset.configured_taxonomy(vars(dataset))
