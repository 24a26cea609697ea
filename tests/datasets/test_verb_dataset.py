"""Actions with their verbs as labels: which samples are kept, their labels, merged verbs and repeats."""

import pytest
import three_datasets
import torch

from handpose.datasets import DatasetError, VerbDataset
from handpose.datasets.io.action_labels import make_taxonomy
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.engine.epochs import SeededDataset
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.zoo.publish import data_name

TOYS = make_taxonomy(
    'toys',
    [('screw on wheel', 'screw on', 'wheel'), ('pick up wheel', 'pick up', 'wheel'), ('screw bolt', 'screw', 'bolt')],
    ['pick up', 'screw', 'screw on', 'clap'],
    ['wheel', 'bolt'],
)


class Actions(torch.utils.data.Dataset):
    """Clips with the given action labels, None for none."""

    def __init__(self, labels=(1, 0, 2, -1, 1, None), taxonomy=TOYS):
        self.labels, self.taxonomy, self.seed, self.epoch, self.skipped = labels, taxonomy, 0, 0, ['a file']

    @property
    def metainfo(self):
        return {'dataset': 'Toys', **({} if self.taxonomy is None else self.taxonomy.metainfo())}

    @classmethod
    def configured_taxonomy(cls, config):
        return config['taxonomy']

    def set_epoch(self, epoch):
        self.epoch = epoch

    def sample_name(self, index):
        return f'toys {index}'

    def read(self, index):
        label = self.labels[index]
        return HandSequence(
            meta=dict(dataset='toys', sequence=str(index)),
            frame='world',
            frame_valid=torch.ones(2, dtype=torch.bool),
            action_label=None if label is None else torch.tensor(label),
        )

    def __len__(self):
        return len(self.labels)

    __getitem__ = read


def labels_of(dataset):
    for sample in (dataset[i] for i in range(len(dataset))):
        sample.validate()
        assert sample.action_label == sample.verb_label
    return [(dataset[i].meta['sequence'], int(dataset[i].action_label)) for i in range(len(dataset))]


def test_samples_of_some_verbs():
    dataset = VerbDataset(Actions(), ['screw', 'pick up'])
    assert labels_of(dataset) == [('0', 1), ('2', 0), ('4', 1)]
    assert dataset.metainfo['actions'] == dataset.metainfo['verbs'] == ['screw', 'pick up']
    assert dataset.metainfo['action_verb'] == [0, 1] and dataset.metainfo['objects'] == ['wheel', 'bolt']
    assert dataset.counts == {'screw': 1, 'pick up': 2}
    assert int(dataset.read(-1).verb_label) == 1 and dataset.sample_name(1) == 'toys 2'
    with pytest.raises(IndexError, match='sample 3 of a dataset of 3'):
        dataset[3]


def test_merged_verbs_and_repeats():
    dataset = VerbDataset(Actions(), {'turn': ['screw', 'screw on'], 'pick up': ['pick up']}, repeats={'turn': 3})
    assert labels_of(dataset) == [('0', 1), *[('1', 0)] * 3, *[('2', 0)] * 3, ('4', 1)]
    assert dataset.counts == {'turn': 2, 'pick up': 2}
    everything = VerbDataset(Actions())
    assert everything.metainfo['actions'] == list(TOYS.verbs) and len(everything) == 4


def test_it_stands_in_for_its_dataset():
    actions = Actions()
    dataset = VerbDataset(actions, ['screw'])
    assert isinstance(dataset, SeededDataset) and dataset.skipped == ['a file']
    dataset.seed = 7
    dataset.set_epoch(3)
    assert (actions.seed, actions.epoch) == (7, 3)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(verbs=['scew']), "must be one of .* got 'scew'.*Did you mean 'screw'"),
        (dict(verbs={'a': ['screw'], 'b': ['screw']}), "'screw' is listed twice"),
        (dict(verbs=[]), 'at least one class'),
        (dict(verbs=['clap']), "none of the 6 samples of Toys has one of the verbs 'clap'"),
        (dict(verbs=['screw'], repeats={'pick up': 2}), "class of repeats must be one of 'screw', got 'pick up'"),
        (dict(verbs=['screw'], repeats={'screw': 0}), "repeats of 'screw' must be a whole number from 1, got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(DatasetError, match=message):
        VerbDataset(Actions(), **options)


def test_a_dataset_without_actions():
    with pytest.raises(DatasetError, match='Toys has no actions'):
        VerbDataset(Actions(taxonomy=None), ['screw'])
    assert VerbDataset.configured_taxonomy(dict(dataset=Actions(taxonomy=None))) is None


def test_readers(tmp_path):
    """With real readers, from configs; the names are known without opening them. Context widens the actions."""
    roots = three_datasets.write_roots(tmp_path)
    kinds = [
        dict(type='Assembly101', data_root=roots['assembly101_root']),
        dict(
            type='AssemblyHandsPoses',
            data_root=roots['assemblyhands_root'],
            assembly101=roots['assembly101_root'],
            segments='trimmed',
            min_frames=1,
        ),
    ]
    for reader in kinds:
        plain = DATASETS.build(reader)
        config = dict(type='VerbDataset', dataset=reader)
        dataset = DATASETS.build(config)
        assert configured_taxonomy(config).metainfo()['actions'] == dataset.metainfo['actions']
        assert data_name({'test_dataset': config}).startswith(f'{reader["type"]}, from the folder assembly')
        assert [int(dataset[i].verb_label) for i in range(len(dataset))] == [
            int(plain[i].verb_label) for i in range(len(plain))
        ]
        with pytest.raises(DatasetError, match='context_frames must be a whole number of at least 0, got -1'):
            DATASETS.build(dict(reader, context_frames=-1))


def test_context_of_assembly101(tmp_path):
    root = three_datasets.write_roots(tmp_path)['assembly101_root']
    plain, wide = (
        DATASETS.build(dict(type='Assembly101', data_root=root, context_frames=context)) for context in (0, 3)
    )
    assert [clip.meta['sequence'] for clip in wide] == [clip.meta['sequence'] for clip in plain]
    assert [clip.meta['frame_indices'] for clip in wide] == [list(range(51)), list(range(45, 99))]
    torch.testing.assert_close(wide[1].joints_3d[3:-3], plain[1].joints_3d)
