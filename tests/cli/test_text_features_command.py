"""`handpose text-features`."""

import sys

import pytest

from handpose.cli import main
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


@pytest.mark.parametrize('words', [[], ['names.txt', '--taxonomy', 'h2o']])
def test_names_or_a_taxonomy(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main('text-features', [*words, '-o', 'table.npz'])
    assert stopped.value.code == 2 and 'give NAMES.txt or --taxonomy FILE, and not both' in capsys.readouterr().err
