"""Text features of labels: from names, from tables, and from published weights without the tables."""

import pytest
import torch
from mmengine.config import Config
from smooth_clips import smooth_batch

from handpose.models import TrainingStep
from handpose.registry import MODELS
from handpose.structures import TextFeatures, TextFeaturesError
from handpose.zoo.estimators import load_estimator
from handpose.zoo.load import load_weights, model_differences, read_header
from handpose.zoo.publish import make_header, publish

BLOCK = dict(channels=16, num_layers=1, num_heads=2, feedforward_channels=16)
ACTIONS, OBJECTS = ['stir', 'pour milk'], ['spoon', 'milk']
CONFIGS = {
    'GHTT': dict(type='GHTT', pose_block=BLOCK, action_block=dict(num_layers=1, num_heads=2, feedforward_channels=16)),
    'FlatMotionVAE': dict(type='FlatMotionVAE', block=BLOCK),
}


@pytest.fixture
def tables(tmp_path):
    """Features that no compositional ones equal; one table of each list, and one of all in another order."""
    paths = {}
    for name, names, seed in (('actions', ACTIONS, 5), ('objects', OBJECTS, 6), ('all', [*OBJECTS, *ACTIONS, 'x'], 7)):
        paths[name] = str(tmp_path / f'{name}.npz')
        TextFeatures.compositional(names, seed).save(paths[name])
    return paths


def published(model, settings, folder):
    (folder / 'mine.py').write_text(f'model = {settings!r}\n')
    header = make_header(model, Config.fromfile(folder / 'mine.py'), 'CC0')
    return publish(model, header, folder / 'a.safetensors')[0]


def rows(path, names):
    return torch.from_numpy(TextFeatures.load(path).select(names).features)


@pytest.mark.parametrize('name', CONFIGS)
def test_names_alone(name):
    model = MODELS.build(dict(**CONFIGS[name], actions=ACTIONS, objects=OBJECTS))
    assert model.action_names == ACTIONS and model.object_names == OBJECTS
    torch.testing.assert_close(model.action_text, torch.from_numpy(TextFeatures.compositional(ACTIONS).features))
    assert {'action_text', 'object_text'} <= set(model.state_dict())


@pytest.mark.parametrize('name', CONFIGS)
def test_a_table_of_each_list(name, tables):
    model = MODELS.build(dict(**CONFIGS[name], actions=tables['actions'], objects=tables['objects']))
    assert model.action_names == ACTIONS and model.object_names == OBJECTS
    torch.testing.assert_close(model.action_text, rows(tables['actions'], ACTIONS))
    torch.testing.assert_close(model.object_text, rows(tables['objects'], OBJECTS))


@pytest.mark.parametrize('name', CONFIGS)
def test_one_table_for_lists_of_names(name, tables):
    """It is read when training starts, and its order does not matter."""
    settings = dict(**CONFIGS[name], actions=ACTIONS, objects=OBJECTS, text_features=tables['all'])
    model = MODELS.build(settings)
    with pytest.raises(ValueError, match=r'the text features of .*all\.npz are not read yet: call init_weights'):
        model.loss(smooth_batch(2, 32), TrainingStep())
    model.init_weights()
    torch.testing.assert_close(model.action_text, rows(tables['all'], ACTIONS))
    torch.testing.assert_close(model.object_text, rows(tables['all'], OBJECTS))
    assert model.loss(smooth_batch(2, 32), TrainingStep())
    with pytest.raises(TextFeaturesError, match=r"has no 'pour milks'\. Did you mean 'pour milk'"):
        MODELS.build({**settings, 'actions': ['stir', 'pour milks']}).init_weights()


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('one_table', [False, True])
def test_published_weights_need_no_table(name, one_table, tables, tmp_path):
    lists = dict(actions=ACTIONS, objects=OBJECTS, text_features=tables['all'])
    settings = {**CONFIGS[name], **(lists if one_table else {k: tables[k] for k in ('actions', 'objects')})}
    model = MODELS.build(settings)
    model.init_weights()
    path = published(model, settings, tmp_path)
    load_weights(MODELS.build(settings), path, settings)
    for table in tables.values():
        (tmp_path / table).unlink()
    header = read_header(path)['model']
    assert header['actions'] == ACTIONS and header['objects'] == OBJECTS
    assert header['text_features'] == 'in the weights'
    loaded = load_estimator(path)
    assert loaded.action_names == ACTIONS
    torch.testing.assert_close(loaded.action_text, model.action_text)
    torch.testing.assert_close(loaded.object_text, model.object_text)
    assert loaded.action_text.any()


def test_names_of_a_file_are_compared_with_those_of_a_config(tables, tmp_path):
    settings = dict(**CONFIGS['GHTT'], actions=tables['actions'], objects=tables['objects'])
    model = MODELS.build(settings)
    path = published(model, settings, tmp_path)
    other = {**settings, 'actions': ACTIONS[::-1]}
    differences = []
    for changed in (settings, other):
        built = MODELS.build(changed)
        differences.append(model_differences(read_header(path)['model'], built.published_config(changed)))
    assert differences[0] == [] and any('actions' in line for line in differences[1])
