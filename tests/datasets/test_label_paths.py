"""Label files that name files outside their data set: refused before anything is opened."""

import dexycb_files
import fpha_files
import h2o_files
import pytest
import torch
import yaml

from handpose.datasets import DatasetError, DexYCB
from handpose.datasets.dexycb.layout import read_betas, read_extrinsics
from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.fpha.layout import read_splits
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.h2o.layout import read_segments
from handpose.datasets.transforms import LoadPredictions
from handpose.structures import HandSequence

NAMES = ['../outside', 'a/../../outside', '..\\outside', 'C:outside', './a', 'a//b', 'a\0b']
WORDS = 'expected a path below .*nothing was opened'


@pytest.mark.parametrize('name', [*NAMES, '/etc', '', '..'])
@pytest.mark.parametrize('read', [read_extrinsics, read_betas])
def test_calibration_of_dexycb(tmp_path, read, name):
    with pytest.raises(DatasetError, match=f'meta.yml of a sequence .*{WORDS}'):
        read(tmp_path, name)


@pytest.mark.parametrize('key', ['mano_calib', 'extrinsics', 'serials'])
def test_meta_of_dexycb(tmp_path, key):
    """A shape and cameras outside the root, which would be read if the name were believed."""
    root = dexycb_files.write_root(tmp_path / 'data', sequences=1)
    (tmp_path / 'data' / 'calibration' / 'mano_..').mkdir()
    path = next(root.glob('*/*/meta.yml'))
    meta = yaml.safe_load(path.read_text())
    meta[key] = '../../../outside' if key == 'extrinsics' else ['../../../outside']
    dexycb_files.write_yaml(path, meta)
    with pytest.raises(DatasetError, match=WORDS):
        DexYCB(root, setup='all', split='train', frame='world')


@pytest.mark.parametrize('name', NAMES)
def test_list_of_h2o(tmp_path, name):
    root = h2o_files.write_root(tmp_path)
    path = root / 'label_split' / 'action_train.txt'
    lines = path.read_text().splitlines()
    recording = lines[1].split()[1]
    path.write_text('\n'.join(lines).replace(recording, name))
    with pytest.raises(DatasetError, match=f'action_train.txt, line 2 .*{WORDS}'):
        read_segments(path, H2O_ACTIONS)


@pytest.mark.parametrize('name', ['../put_salt/1', 'Subject_1/put_salt/..', '/put_salt/1', 'Subject_1\\x/put_salt/1'])
def test_list_of_fpha(tmp_path, name):
    root = fpha_files.write_root(tmp_path)
    path = root / 'data_split_action_recognition.txt'
    path.write_text(path.read_text().replace('Subject_1/put_salt/1', name, 1))
    with pytest.raises(DatasetError, match=WORDS):
        read_splits(root, FPHA_ACTIONS)


@pytest.mark.parametrize('name', ['a\0b', '..\\..\\outside', 'C:outside'])
def test_sequences_that_name_predictions(tmp_path, name):
    clip = HandSequence(meta={'sequence': name, 'cameras': ['0']}, hand_side=torch.tensor([1]))
    with pytest.raises(DatasetError, match=WORDS):
        LoadPredictions(tmp_path).path_of(clip)
    clip = HandSequence(meta={'sequence': '../a', 'cameras': ['0']}, hand_side=torch.tensor([1]))
    assert LoadPredictions(tmp_path).path_of(clip) == tmp_path / '.._a_0.npz'
