"""`handpose text-features`."""

import sys

import pytest
import three_datasets

from handpose.cli import main
from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.structures import TextFeatures


def test_a_list_of_names(tmp_path, capsys):
    (tmp_path / 'names.txt').write_bytes(
        b'\xef\xbb\xbfpour milk\r\n# a comment\r\n\r\nopen milk  # another\r\nmilk\r\n'
    )
    main('text-features', [str(tmp_path / 'names.txt'), '-o', str(tmp_path / 'table.npz'), '--seed', '4'])
    table = TextFeatures.load(tmp_path / 'table.npz')
    assert table.names == ('pour milk', 'open milk', 'milk') and table.model == 'compositional, seed 4'
    assert '3 names, compositional, seed 4\n' in capsys.readouterr().out


def test_own_actions(tmp_path):
    (tmp_path / 'mine.yml').write_text('actions: [open jar, close jar, {name: stir it, verb: stir, object: pot}]')
    main('text-features', ['--taxonomy', str(tmp_path / 'mine.yml'), '-o', str(tmp_path / 'table.npz')])
    assert TextFeatures.load(tmp_path / 'table.npz').names == ('open jar', 'close jar', 'stir it', 'jar', 'pot')


@pytest.mark.parametrize('name, count', [('h2o', 36 + 8), ('fpha', 45 + 26)])
def test_official_actions(tmp_path, name, count):
    main('text-features', ['--taxonomy', name, '-o', str(tmp_path / 'table.npz')])
    table = TextFeatures.load(tmp_path / 'table.npz')
    assert len(table) == count
    cosine = table.features @ table.features.T
    assert sorted(cosine[~(cosine > 0.9999)])[-1] < 0.95  # no two are alike


@pytest.mark.parametrize(
    'words, message',
    [
        (['names.txt', '--model', 'transformers:x'], r"Python package transformers: pip install 'handpose\[transf"),
        (['names.txt', '--model', 'openclip:x/y'], r"Python package open_clip: pip install 'handpose\[openclip\]'"),
        (['names.txt', '--model', 'compositionel'], "error: the text model must be .*Did you mean 'compositional'"),
        (['none.txt'], 'error: none.txt does not exist'),
        (['empty.txt'], r'error: empty\.txt must have a name'),
        (['--taxonomy', 'none.yml'], r'error: none\.yml does not exist'),
    ],
)
def test_error_messages(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'transformers', None)
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    (tmp_path / 'names.txt').write_text('pour milk\n')
    (tmp_path / 'empty.txt').write_text('# nothing\n')
    with pytest.raises(SystemExit, match=message):
        main('text-features', [*words, '-o', 'table.npz'])
    assert not (tmp_path / 'table.npz').exists()


def test_names_of_a_config(tmp_path):
    """In the order of its training dataset, of which only the list of actions is there."""
    three_datasets.write_assembly101(tmp_path / 'data')
    for poses in (tmp_path / 'data').glob('poses*/*'):
        poses.unlink()
    for kind, names in (
        ('actions', ('pick up wheel', 'screw cab', 'pick up cab', *H2O_ACTIONS.actions)),
        ('objects', ('cab', 'wheel', *H2O_ACTIONS.objects)),
    ):
        options = ['--cfg-options', f'assembly101_root={tmp_path / "data"}']
        out = str(tmp_path / 'table.npz')
        main('text-features', ['--config', 'ghtt/action', '--only', kind, '-o', out, *options])
        assert TextFeatures.load(out).names == names
    main('text-features', ['--taxonomy', 'h2o', '--only', 'objects', '-o', out])
    assert TextFeatures.load(out).names == H2O_ACTIONS.objects
    with pytest.raises(SystemExit, match='the training dataset of ghtt/dexycb_motion has no actions'):
        main('text-features', ['--config', 'ghtt/dexycb_motion', '-o', out])


@pytest.mark.parametrize('words', [[], ['names.txt', '--taxonomy', 'h2o'], ['--taxonomy', 'h2o', '--config', 'x']])
def test_names_or_a_taxonomy_or_a_config(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main('text-features', [*words, '-o', 'table.npz'])
    assert (
        stopped.value.code == 2
        and 'give one of NAMES.txt, --taxonomy FILE and --config CONFIG' in capsys.readouterr().err
    )
