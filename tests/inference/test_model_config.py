import json

import pytest
import safetensors.torch
import torch

from handpose.inference import load_action_recognizer, load_refiner
from handpose.inference.model_config import model_config
from handpose.zoo.load import FORMAT, FORMAT_VERSION, HEADER_FIELDS, HEADER_KEY

PDTM = {'type': 'PDTM', 'hand_model': {'type': 'ProceduralHand'}}


def write(path, model):
    """A published file whose header describes `model`."""
    header = {**dict.fromkeys(HEADER_FIELDS), 'format': FORMAT, 'format_version': FORMAT_VERSION, 'model': model}
    path.write_bytes(safetensors.torch.save({'x': torch.zeros(1)}, {HEADER_KEY: json.dumps(header)}))
    return path


@pytest.mark.parametrize('load', [load_refiner, load_action_recognizer])
@pytest.mark.parametrize('place', ['model', 'hand_model', 'list', 'loss'])
def test_a_header_cannot_run_a_command(tmp_path, load, place):
    attack = {'type': 'subprocess.getoutput', 'cmd': f'touch {tmp_path.name}'}
    models = {
        'model': {'type': 'subprocess.getoutput', 'cmd': f'touch {tmp_path}/trace'},
        'hand_model': {**PDTM, 'hand_model': attack},
        'list': {**PDTM, 'head': {'layers': [attack]}},
        'loss': {**PDTM, 'loss': {'type': 'RefinementLoss', 'point_loss': attack}},
    }
    path = write(tmp_path / 'a.safetensors', models[place])
    with pytest.raises(ValueError, match=r'a\.safetensors was refused: .*subprocess\.getoutput'):
        load(path)
    assert [file.name for file in tmp_path.iterdir()] == ['a.safetensors']


def test_a_header_names_no_files(tmp_path):
    path = write(tmp_path / 'a.safetensors', {**PDTM, 'hand_model': {'type': 'MANO', 'model_path': 'data/mano'}})
    with pytest.raises(ValueError, match='whose files are not distributed with weights: give hand_model'):
        model_config(path)
    own = {'type': 'MANO', 'model_path': '/where/mano/is'}
    assert model_config(path, hand_model=own) == {**PDTM, 'hand_model': own}
    backbone = {'type': 'ResNetFPN', 'pretrained': {'url': 'https://example.org/x.pth', 'sha256': '0' * 64}}
    path = write(tmp_path / 'b.safetensors', {'type': 'Deformer', 'backbone': backbone})
    assert 'example' not in str(model_config(path)) and model_config(path)['backbone']['pretrained']


@pytest.mark.parametrize('model', [None, 'PDTM', [], {}, 3])
def test_a_header_without_a_model(tmp_path, model):
    with pytest.raises(ValueError, match='describes no model'):
        model_config(write(tmp_path / 'a.safetensors', model))


@pytest.mark.parametrize(
    'fields',
    [
        {'joint_order': 3},
        {'joint_order': [3]},
        {'image_mean': 'x'},
        {'image_std': [None]},
        {'classes': []},
        {'classes': {'actions': ['a']}},
        {'classes': {'actions': 'abc', 'objects': []}},
        {'classes': {'actions': [], 'objects': [1]}},
    ],
)
def test_header_fields_of_another_kind(tmp_path, fields):
    header = {
        **dict.fromkeys(HEADER_FIELDS),
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'model': PDTM,
        **fields,
    }
    path = tmp_path / 'a.safetensors'
    path.write_bytes(safetensors.torch.save({'x': torch.zeros(1)}, {HEADER_KEY: json.dumps(header)}))
    with pytest.raises(ValueError, match=r'a\.safetensors: .* in its header must .*; publish the weights again'):
        load_refiner(path)
