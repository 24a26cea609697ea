"""Several datasets as one: joint lists of names, labels, places of samples, and batches of all together."""

import pytest
import three_datasets
import torch
from torch.utils.data import Dataset

from handpose.datasets import DatasetError
from handpose.datasets.dataset_mix import DatasetMix
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.io.action_labels import join_taxonomies, make_taxonomy
from handpose.datasets.io.action_videos import configured_taxonomy
from handpose.engine import load_config
from handpose.engine.epochs import SeededDataset
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.zoo.publish import class_names, data_name

KITCHEN = make_taxonomy(
    'kitchen',
    [('pour milk', 'pour', 'milk'), ('wave', 'wave', None), ('open jar', 'open', 'jar')],
    ['wave', 'open', 'pour'],
    ['jar', 'milk'],
)
TABLE = make_taxonomy(
    'table', [('open jar', 'twist', 'lid'), ('pour milk', 'pour', 'milk')], ['pour', 'twist'], ['lid', 'milk']
)


class Clips(Dataset):
    """`count` clips without hands; the labels of clip i are `labels[i]`: (action, verb, object)."""

    def __init__(self, name, taxonomy, labels):
        self.name, self.taxonomy, self.labels, self.seed, self.epoch = name, taxonomy, labels, 0, 0

    @property
    def metainfo(self):
        return {'dataset': self.name, 'joints': [], **({} if self.taxonomy is None else self.taxonomy.metainfo())}

    @property
    def skipped(self):
        return [f'{self.name}: a file']

    @classmethod
    def configured_taxonomy(cls, config):
        return config['taxonomy']

    def set_epoch(self, epoch):
        self.epoch = epoch

    def sample_name(self, index):
        return f'{self.name} {index}'

    def read(self, index):
        action, verb, thing = self.labels[index]
        return HandSequence(
            meta=dict(dataset=self.name, sequence=str(index)),
            frame='world',
            frame_valid=torch.ones(2, dtype=torch.bool),
            action_label=torch.tensor(action),
            verb_label=torch.tensor(verb),
            object_label=torch.tensor([thing, -1]),
        )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.read(index)


def mix():
    first = Clips('first', KITCHEN, [(0, 2, 1), (1, 0, -1), (-1, -1, -1)])
    second = Clips('second', TABLE, [(0, 1, 0), (1, 0, 1)])
    third = Clips('third', None, [(-1, -1, -1)])
    return DatasetMix([first, second, third])


def test_joint_lists_of_names():
    info = mix().metainfo
    assert info['actions'] == ['pour milk', 'wave', 'open jar'] and info['objects'] == ['jar', 'milk', 'lid']
    assert info['verbs'] == ['wave', 'open', 'pour', 'twist']
    assert info['action_verb'] == [2, 0, 1]  # of equal names that of the first dataset
    assert info['dataset'] == 'DatasetMix'
    joint = join_taxonomies([TABLE, KITCHEN])
    assert joint.actions == ('open jar', 'pour milk', 'wave') and joint.objects == ('lid', 'milk', 'jar')
    assert joint.action_object == (0, 1, -1) and joint.name == 'table and kitchen'
    assert 'actions' not in DatasetMix([Clips('third', None, [(-1, -1, -1)])]).metainfo


def test_labels_become_joint_ones_and_unknown_ones_stay():
    names = [
        ('pour milk', 'pour', 'milk'), ('wave', 'wave', None), (None,) * 3,
        ('open jar', 'twist', 'lid'), ('pour milk', 'pour', 'milk'), (None,) * 3,
    ]  # fmt: skip
    dataset = mix()
    info = {kind: [*dataset.metainfo[kind], None] for kind in ('actions', 'verbs', 'objects')}
    for index, expected in enumerate(names):
        for sample in (dataset[index], dataset.read(index)):
            action, verb = int(sample.action_label), int(sample.verb_label)
            found = info['actions'][action], info['verbs'][verb], info['objects'][int(sample.object_label[0])]
            assert found == expected and sample.object_label[1] == -1


def test_places_of_samples():
    dataset = mix()
    names = ['first 0', 'first 1', 'first 2', 'second 0', 'second 1', 'third 0']
    assert len(dataset) == 6 and [dataset.sample_name(i) for i in range(6)] == names
    assert [f'{s.meta["dataset"]} {s.meta["sequence"]}' for s in (dataset[i] for i in range(-6, 0))] == names
    for index in (6, -7):
        with pytest.raises(IndexError, match=f'sample {index} of a mix of 6 samples'):
            dataset[index]
    assert dataset.skipped == ['first: a file', 'second: a file', 'third: a file']


def test_seed_and_epoch_reach_every_dataset():
    dataset = mix()
    assert isinstance(dataset, SeededDataset)  # so the engine sets both
    dataset.seed = 7
    dataset.set_epoch(3)
    assert [(member.seed, member.epoch) for member in dataset.datasets] == [(7, 3)] * 3 and dataset.seed == 7


def test_what_is_refused():
    with pytest.raises(DatasetError, match='DatasetMix needs at least one dataset, got none'):
        DatasetMix([])
    h2o = dict(type='H2OPoses', data_root='nowhere')
    with pytest.raises(DatasetError, match="kitchen-data has actions that no dataset of names_of has, such as 'wave'"):
        DatasetMix([Clips('kitchen-data', KITCHEN, [(0, 0, 0)])], names_of=[h2o])


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    options = three_datasets.write_roots(tmp_path_factory.mktemp('data'))
    return load_config('ghtt/action', {**options, 'actions': ['-'], 'objects': ['-']})


@pytest.mark.parametrize('name', ['train_dataset', 'train_actions', 'val_actions', 'val_dataset'])
def test_samples_of_real_layouts_share_a_batch(config, name):
    dataset = DATASETS.build(config[name])
    samples = [dataset[i].validate() for i in range(len(dataset))]
    expected = {'val_actions': {'h2o', 'assemblyhands'}, 'val_dataset': {'assemblyhands'}}
    found = {sample.meta['dataset'] for sample in samples}
    assert found == expected.get(name, {'assembly101', 'h2o', 'assemblyhands'})
    batch = HandSequence.stack(samples).validate()
    assert batch.frame == 'world' and batch.joints_3d.shape[2:] == (2, 21, 3)
    assert batch.joints_valid.any((1, 2, 3)).all()


def test_all_datasets_of_the_config_number_actions_alike(config):
    names = ['pick up wheel', 'screw cab', 'pick up cab', *H2O_ACTIONS.actions]
    for name in ('train_dataset', 'train_actions', 'h2o_val', 'assemblyhands_val'):
        assert list(configured_taxonomy(config[name]).actions) == names
        if name != 'h2o_val':
            assert DATASETS.build(config[name]).metainfo['actions'] == names
    dataset = DATASETS.build(config.train_actions)
    labels = {dataset[i].meta['sequence']: names[int(dataset[i].action_label)] for i in range(len(dataset))}
    assert {name.split('/')[-1]: action for name, action in labels.items()} == {
        '000000-000047': 'screw cab',
        '000048-000095': 'pick up cab',
        '000012-000029': H2O_ACTIONS.actions[22],
        '000003-000042': 'screw cab',
    }
    assert class_names(config)['actions'] == names
    assert data_name(config) == 'AssemblyHandsPoses val, from the folder assemblyhands'
