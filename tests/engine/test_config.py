import argparse

import pytest

from handpose.engine import ConfigError, OptionsAction, load_config


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


def test_options_may_be_dicts():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    given = parser.parse_args(['--cfg-options', 'a=1', "b={'type': 'X', 'size': (3, 4)}", 'c=[1,x]', 'd=None'])
    assert given.cfg_options == {'a': 1, 'b': {'type': 'X', 'size': (3, 4)}, 'c': [1, 'x'], 'd': None}
    with pytest.raises(ConfigError, match='not a Python dict'):
        parser.parse_args(['--cfg-options', 'b={type: X}'])


def test_options_can_be_used_again(tmp_path):
    """Merging must not take `_delete_` out of what the caller gave."""
    path = tmp_path / 'a.py'
    path.write_text('part = dict(type="A", size=1)')
    options = {'part': dict(type='B', _delete_=True)}
    for _ in range(2):
        assert load_config(str(path), options).part == dict(type='B')
