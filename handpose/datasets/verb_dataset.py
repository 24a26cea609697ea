"""The actions of a dataset with their verbs as labels: what a verb classifier is trained and tested on."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from handpose.datasets.dataset_mix import MixMember
from handpose.datasets.io.action_labels import ActionTaxonomy, make_taxonomy
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.registry import DATASETS
from handpose.structures import HandSequence

Verbs = Sequence[str] | Mapping[str, Sequence[str]]


@DATASETS.register_module()
class VerbDataset(Dataset):
    """The samples of a dataset whose action has one of some verbs, which takes the place of the action.

    `action_label` and `verb_label` are both the number of the class, and `metainfo['actions']` and `['verbs']` both the
    names of the classes, so that metrics and recognizers of actions work as they are. Other samples, and those whose
    action is unknown, are left out. Opening it reads the labels of every sample once.

    Args:
        dataset: a reader of actions, or its config, such as `AssemblyHandsPoses` with segments='trimmed'.
        verbs: names of the verbs; or {class: verbs that it comprises}, which merges verbs to one class. None takes
            all verbs of the dataset.
        repeats: {class: how often each of its samples occurs in an epoch}, 1 for all others. AssemblyHands (Ohkawa et
            al., section 6) augments the training data of 'screw' and 'unscrew', which are rare, and does not say how.

    Attributes:
        index: numbers of the samples of `dataset`, one for each sample of this one.
        counts: {class: samples}, repeats not counted.

    Raises:
        DatasetError: a dataset without actions, an unknown verb or class, a verb in two classes, a number of repeats
            below 1, or no sample.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any] | MixMember,
        verbs: Verbs | None = None,
        repeats: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.dataset: MixMember = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        self.verbs = verbs
        info = self.dataset.metainfo
        if 'actions' not in info:
            raise DatasetError(f'VerbDataset: {info["dataset"]} has no actions; give a dataset that has')
        classes = _classes(verbs, info['verbs'])
        self.actions = _class_taxonomy(list(classes))
        repeats = dict(repeats or {})
        for name, count in repeats.items():
            check_choice('VerbDataset: the class of repeats', name, list(classes))
            if type(count) is not int or count < 1:
                raise DatasetError(f'VerbDataset: repeats of {name!r} must be a whole number from 1, got {count!r}')
        class_of = {verb: number for number, merged in enumerate(classes.values()) for verb in merged}
        of_action = [class_of.get(info['verbs'][verb], -1) for verb in info['action_verb']]
        self._class_of_action = torch.tensor([*of_action, -1])  # label -1 finds the last one
        labels = [self._class_of(self.dataset.read(i)) for i in range(len(self.dataset))]
        self.counts = {name: labels.count(number) for number, name in enumerate(classes)}
        times = [repeats.get(name, 1) for name in classes]
        self.index = [i for i, label in enumerate(labels) if label >= 0 for _ in range(times[label])]
        if not self.index:
            raise DatasetError(
                f'VerbDataset: none of the {len(labels)} samples of {info["dataset"]} has one of the verbs '
                f'{", ".join(map(repr, class_of))}; choose another split or other verbs'
            )

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`: the verbs; None where the dataset has no actions."""
        dataset = config['dataset']
        known = (
            configured_taxonomy(dataset) if isinstance(dataset, Mapping) else dataset.configured_taxonomy(vars(dataset))
        )
        return None if known is None else _class_taxonomy(list(_classes(config.get('verbs'), known.verbs)))

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the dataset, with the classes in place of its actions and verbs."""
        objects = self.dataset.metainfo.get('objects', [])
        return {**self.dataset.metainfo, **self.actions.metainfo(), 'objects': objects}

    @property
    def seed(self) -> int:
        """Of the random draws of the dataset."""
        return self.dataset.seed

    @seed.setter
    def seed(self, value: int) -> None:
        self.dataset.seed = value

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that random draws depend on."""
        self.dataset.set_epoch(epoch)

    @property
    def skipped(self) -> list[str]:
        """What the dataset skipped."""
        return self.dataset.skipped

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> HandSequence:
        return self._relabel(self.dataset[self._place(index)])

    def read(self, index: int) -> HandSequence:
        """See `VideoDataset.read`."""
        return self._relabel(self.dataset.read(self._place(index)))

    def sample_name(self, index: int) -> str:
        """Names sample `index` in messages."""
        return self.dataset.sample_name(self._place(index))

    def _place(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a dataset of {len(self)} samples')
        return self.index[index]

    def _relabel(self, sample: HandSequence) -> HandSequence:
        # By the sample's own label: in place of a broken sample the dataset gives another one.
        label = torch.tensor(self._class_of(sample))
        return sample.replace(action_label=label, verb_label=label.clone())

    def _class_of(self, sample: HandSequence) -> int:
        return -1 if sample.action_label is None else int(self._class_of_action[sample.action_label])


def _classes(verbs: Verbs | None, known: Sequence[str]) -> dict[str, list[str]]:
    """{class: its verbs}, checked."""
    chosen = known if verbs is None else verbs
    classes = {name: list(chosen[name]) if isinstance(chosen, Mapping) else [name] for name in chosen}
    merged = [verb for group in classes.values() for verb in group]
    for verb in merged:
        check_choice('VerbDataset: a verb', verb, list(known))
        if merged.count(verb) > 1:
            raise DatasetError(f'VerbDataset: verb {verb!r} is listed twice; every verb can be in one class')
    if not classes:
        raise DatasetError('VerbDataset: verbs must name at least one class, got none')
    return classes


def _class_taxonomy(classes: Sequence[str]) -> ActionTaxonomy:
    return make_taxonomy('verbs', [(name, name, None) for name in classes], classes, [])
