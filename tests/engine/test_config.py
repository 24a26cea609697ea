import argparse

import pytest

from handpose.engine import ConfigError, OptionsAction, load_config
from handpose.engine.config import config_origins
from handpose.engine.config_files import config_names, configs_folder, is_base, read_layers
from handpose.engine.options import split_options
from handpose.engine.references import is_reference
from handpose.registry import MODELS

BASES = [path for path in sorted(configs_folder().rglob('*.py')) if is_base(path)]


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(
        "data_root = 'here'\n"
        "loader = dict(dataset=dict(root='$data_root', steps=[dict(size=3), dict(size='$size')]))\n"
        'size = 4\n'
    )
    return path


def test_shared_values_follow_the_options(config_file):
    config = load_config(config_file, {'data_root': 'there', 'loader.dataset.steps.0.size': 9})
    assert config.loader.dataset.root == 'there'
    assert [step.size for step in config.loader.dataset.steps] == [9, 4]


@pytest.mark.parametrize(
    'option, sentence',
    [
        ('loader.datset.root', "Did you mean 'dataset'"),
        ('data_rot', "Did you mean 'data_root'"),
        ('loader.dataset.steps.5.size', 'list of 2'),
    ],
)
def test_unknown_option(config_file, option, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(config_file, {option: 1})


def test_new_key_on_request(config_file):
    assert load_config(config_file, {'+loader.fresh': 1}).loader.fresh == 1


def test_unknown_shared_value(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("a = '$data_rot'\ndata_root = 1\n")
    with pytest.raises(ConfigError, match="Did you mean 'data_root'"):
        load_config(path)


def test_missing_file_names_the_nearest(monkeypatch, tmp_path):
    (tmp_path / 'configs' / 'deformer').mkdir(parents=True)
    (tmp_path / 'configs' / 'deformer' / 'dexycb.py').write_text('')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"Did you mean 'configs/deformer/dexycb\.py'"):
        load_config('configs/deformer/dexicb.py')


CONFIG = """
data_root = 'here'
labels = dict(root='$data_root', size=3, names=['a', 'b'], scales=(1, 2), extra=None)
train = dict(_include_='$labels', split='train')
test = dict(_include_='$labels', split='test', size=5)
copied = dict(depth=1)
model = dict(**copied)
loss = dict(weight=1.0)
part = dict(loss='$loss')
"""


def from_command_line(tmp_path, *words):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    return load_config(path, parser.parse_args(['--cfg-options', *words]).cfg_options)


@pytest.mark.parametrize('text', ['my data', '20240101', '1e5', 'my,data', 'data [new]', '[x', 'a=b', "it's", 'True'])
def test_a_string_stays_as_it_was_typed(tmp_path, text):
    config = from_command_line(tmp_path, f'data_root={text}')
    assert config.train.root == config.test.root == text
    assert from_command_line(tmp_path, f'train.root={text}').train.root == text


@pytest.mark.parametrize(
    'key, text, value',
    [
        ('labels.size', '7', 7),
        ('labels.size', '1e-3', 1e-3),
        ('labels.size', 'false', False),
        ('labels.size', 'None', None),
        ('data_root', 'None', None),
        ('labels.extra', 'my data', 'my data'),
        ('labels.extra', '20240101', 20240101),
        ('labels.extra', "'20240101'", '20240101'),
        ('labels.extra', '[1, x y, (2,3)]', [1, 'x y', (2, 3)]),
        ('labels.extra', 'a,b', ['a', 'b']),
        ('labels.extra', "{'type': 'X', 'size': (3, 4)}", {'type': 'X', 'size': (3, 4)}),
        ('labels.extra', '[]', []),
        ('labels.names', '[840412060917,c d]', ['840412060917', 'c d']),
        ('labels.names', "['a, b',c]", ['a, b', 'c']),
        ('labels.scales', '(3,4)', (3, 4)),
    ],
)
def test_values_are_read_by_what_they_replace(tmp_path, key, text, value):
    found = from_command_line(tmp_path, f'{key}={text}')
    for part in key.split('.'):
        found = found[part]
    assert (found == value and type(found) is type(value)) or (isinstance(value, dict) and found == value)


@pytest.mark.parametrize(
    'words, message',
    [
        (['labels.extra={type: X}'], 'not a Python dict'),
        (['labels.extra=[1,(2]'], 'brackets of .* do not match'),
        (['copied.depth=2'], r"line 7 of .*config\.py copies 'copied'.*_include_='\$copied'"),
        (['part.loss.weight=2'], r"part\.loss is '\$loss' .*write loss\.weight="),
        (['labels.size=2', 'labels=None'], 'labels.size would have no effect'),
        (['labels.names.5=x'], 'list of 2'),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        from_command_line(tmp_path, *words)


def test_included_values_follow_the_options(tmp_path):
    config = from_command_line(tmp_path, 'labels.size=9', 'train.names.1=z')
    assert (config.train.size, config.test.size) == (9, 5)
    assert '_include_' not in config.train
    nested = from_command_line(tmp_path, 'labels.names.0=x')
    assert nested.train.names == nested.test.names == ['x', 'b']


def test_the_second_stage_can_start_from_the_first():
    first, second = (
        MODELS.build(load_config(f'configs/deformer/{name}.py').model).state_dict()
        for name in ('synthetic_frames', 'synthetic')
    )
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in second.items()}


@pytest.mark.parametrize(
    'config, option',
    [
        ('deformer/synthetic_paper', 'transformer.num_layers=3'),
        ('deformer/synthetic_paper', 'transformer.query_self_attention=True'),
        ('deformer/synthetic_paper', 'model.spatial_transformer.num_layers=2'),
        ('deformer/synthetic_paper', 'rotation_space=so3_compose'),
        ('deformer/synthetic_paper', 'model.head.mode=average'),
        ('htt/synthetic', 'transformer.num_layers=1'),
        ('htt/synthetic', 'num_layers=1'),
        ('htt/synthetic', 'window=1'),
        ('htt/synthetic', 'num_frames=16'),
        ('htt/synthetic', 'model.tokenizer.inputs=[pose,object]'),
        ('pdtm/synthetic', 'model.insertion=head'),
        ('pdtm/synthetic', 'model.memory_update=vit_token'),
        ('pdtm/synthetic', 'model=$dstformer'),
        ('pdtm/synthetic', 'loss.vertex_frames=None'),
    ],
)
def test_overrides_of_shipped_configs_reach_the_model(config, option):
    path = f'configs/{config}.py'
    assert load_config(path, split_options([option])).model != load_config(path).model


@pytest.mark.parametrize('config', ['deformer/dexycb', 'htt/h2o', 'pdtm/dexycb_motion'])
def test_overrides_of_labelled_reach_every_split(config):
    key, value = ('on_broken', 'skip') if 'htt' in config else ('hand_model', {'type': 'X'})
    given = {**value, '_delete_': True} if isinstance(value, dict) else value
    loaded = load_config(f'configs/{config}.py', {f'labelled.{key}': given})
    assert all(loaded[f'{split}_dataset'][key] == value for split in ('train', 'val', 'test'))


def test_options_can_be_used_again(tmp_path):
    """Merging must not take `_delete_` out of what the caller gave."""
    path = tmp_path / 'a.py'
    path.write_text('part = dict(type="A", size=1)')
    options = {'part': dict(type='B', _delete_=True)}
    for _ in range(2):
        assert load_config(str(path), options).part == dict(type='B')


def references(value):
    if isinstance(value, dict):
        return {name for item in value.values() for name in references(item)}
    if isinstance(value, (list, tuple)):
        return {name for item in value for name in references(item)}
    return {value[1:]} if is_reference(value) else set()


@pytest.mark.parametrize('path', BASES, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_bases_list_the_names_that_they_expect(path):
    """All that they use and do not define themselves, and nothing else, with a comment on each."""
    base = read_layers(path)[-1]
    assert base.text.count('_expects_ = [') == 1
    assert len(base.expects) == len(set(base.expects))
    assert set(base.expects) == references(base.values) - set(base.values)
    for name in base.expects:
        assert f"    '{name}',  # " in base.text


@pytest.mark.parametrize('name', config_names())
def test_shipped_configs_load(name):
    assert load_config(name).to_dict() == load_config(f'configs/{name}.py').to_dict()


def write_files(folder, **texts):
    for name, text in texts.items():
        (folder / f'{name}.py').write_text(text)
    return folder / 'config.py'


BASE = "_expects_ = ['image_size']\nsteps = [dict(size='$image_size')]\n"


@pytest.mark.parametrize(
    'texts, message',
    [
        (
            dict(base=BASE, config="_base_ = './base.py'\nimage_sise = 3\n"),
            r"config\.py does not define 'image_size', which .*base\.py expects .*Did you mean 'image_sise'",
        ),
        (dict(config="steps = [dict(size='$image_size')]\n"), r"config\.py: steps\.0\.size: '\$image_size' names no"),
        (dict(base=BASE, config="_base_ = './bas.py'\n"), r'config\.py: its base \./bas\.py does not exist'),
        (dict(a='x = 1\n', b='x = 2\n', config="_base_ = ['a.py', 'b.py']\n"), r"a\.py and .*b\.py both define 'x'"),
        (dict(config="_base_ = './config.py'\n"), 'is its own base'),
        (dict(config='_base_ = [name]\n'), 'line 1: _base_ must be a path or a list of paths'),
        (dict(config='a = 1\nb = unknown\n'), r"config\.py, line 2: NameError: name 'unknown' is not defined"),
        (dict(config='a = (\n'), r'config\.py, line 1: '),
        (dict(config='_expects_ = 3\n'), '_expects_ must be a list of names, got 3'),
        (dict(config="a = '$b'\nb = '$a'\n"), "'.a' stands for itself|'.b' stands for itself"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, texts, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write_files(tmp_path, **texts))


def test_a_base_expects_what_any_other_file_or_option_defines(tmp_path):
    path = write_files(tmp_path, base=BASE, sizes='image_size = 5\n', config="_base_ = ['base.py', 'sizes.py']\n")
    assert load_config(path).steps[0].size == 5 and '_expects_' not in load_config(path)
    path = write_files(tmp_path, base=BASE, config="_base_ = ['base.py']\n")
    assert load_config(path, {'+image_size': 7}).steps[0].size == 7


def test_values_of_a_base_and_shipped_bases(tmp_path):
    """`_base_.name` is the value of a base; 'handpose::' names a base that comes with the package."""
    text = "_base_ = 'handpose::_base_/runtime.py'\nseeds = [_base_.randomness.seed, 1]\n"
    config = load_config(write_files(tmp_path, config=text))
    assert config.seeds == [0, 1] and config.default_hooks.logger.interval == 20
    with pytest.raises(ConfigError, match="copies 'randomness'"):
        load_config(tmp_path / 'config.py', {'randomness.seed': 3})


def test_an_option_for_an_included_list_changes_one_place(tmp_path):
    config = from_command_line(tmp_path, 'train.names.1=z', 'labels.names.0=x')
    assert config.train.names == ['a', 'z'] and config.test.names == ['x', 'b']


def test_origins_of_places_in_lists(config_file):
    origins = {o.key: o for o in config_origins(config_file, {'loader.dataset.steps.-2.size': 9, 'size': 5})}
    found = {key: (o.source_key, o.path) for key, o in origins.items()}
    assert found['loader.dataset.steps.0.size'] == ('loader.dataset.steps.0.size', None)
    assert found['loader.dataset.steps.1.size'] == ('size', None)
    assert found['loader.dataset.root'] == ('data_root', config_file)
