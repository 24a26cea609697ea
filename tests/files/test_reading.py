import errno
import os
from pathlib import Path

import pytest

from handpose.files.reading import (
    FileError,
    inside_root,
    read_bytes,
    read_json,
    read_text,
    visible_names,
    visible_paths,
)
from handpose.files.yaml_files import read_yaml

READERS = [read_bytes, read_text, read_json, read_yaml]


class OwnError(ValueError):
    pass


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize('read', READERS)
def test_what_is_no_file(tmp_path, read):
    loop, pipe, under = tmp_path / 'loop', tmp_path / 'pipe', write(tmp_path / 'a.txt', 'x') / 'b'
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    cases = {
        tmp_path / 'none': 'does not exist',
        tmp_path: 'is a folder',
        loop: 'leads back to itself',
        under: 'a component of its path is a file',
        pipe: 'not a regular file',
        tmp_path / ('n' * 300): 'longer than the file system allows',
        tmp_path / 'a\0b': 'a character that no file system allows',
    }
    for path, words in cases.items():
        with pytest.raises(OwnError, match=words) as found:
            read(path, error=OwnError, advice='unpack it again')
        text = str(found.value)
        assert text.startswith(str(path).replace('\0', r'\x00')) and text.endswith('; unpack it again')
        assert 'Errno' not in text and 'codec' not in text


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Also where root may read everything."""

    def refuse(path):
        raise PermissionError(errno.EACCES, 'Permission denied', str(path))

    path = write(tmp_path / 'a.txt', 'x')
    monkeypatch.setattr(Path, 'read_bytes', refuse)
    with pytest.raises(FileError, match='permission is denied'):
        read_text(path)


def test_text_without_its_byte_order_mark(tmp_path):
    assert read_text(write(tmp_path / 'a', b'\xef\xbb\xbfid path\r\n1 x\r')) == 'id path\n1 x\n'
    assert read_json(write(tmp_path / 'b', b'\xef\xbb\xbf{"a": 1}')) == {'a': 1}
    assert read_yaml(write(tmp_path / 'c', b'\xef\xbb\xbfa: 1')) == {'a': 1}


@pytest.mark.parametrize('read', READERS[1:])
def test_text_that_is_not_utf8(tmp_path, read):
    with pytest.raises(FileError, match=r'must be UTF-8 text, but line 2 is not \(byte 5 of the file\)'):
        read(write(tmp_path / 'a', b'abc\n\xe9'))


def test_the_name_of_a_file_is_printed_whole_and_harmless(tmp_path):
    path = tmp_path / '[red]a\x1b[31m\n[/]'
    with pytest.raises(FileError) as found:
        read_text(path)
    assert str(found.value) == f'{tmp_path}/[red]a\\x1b[31m\\n[/] does not exist'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{"a": 1,\n "b": }', r'is not valid JSON \(line 2, column 7\)'),
        (' ', 'must be JSON, but is empty'),
        ('[1]', 'must hold keys with values, but holds a list'),
        ('null', 'but holds nothing'),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "has the key 'c' twice"),
        ('{"a": NaN}', 'holds NaN'),
        ('{"a": -Infinity}', 'holds -Infinity'),
        ('{"a": ' + '9' * 5000 + '}', r'does not fit into 64 bits \(999999999999..., 5000 digits\)'),
        ('{"a": 9223372036854775808}', 'does not fit into 64 bits'),
        ('[' * 100_000, 'nested too deeply'),
    ],
)
def test_json_that_is_refused(tmp_path, text, words):
    path = write(tmp_path / 'a.json', text)
    with pytest.raises(OwnError, match=words) as found:
        read_json(path, error=OwnError, advice='unpack it again')
    assert str(found.value).startswith(f'{path} ') and str(found.value).endswith('; unpack it again')
    assert len(str(found.value)) < len(str(path)) + 120


def test_json_that_is_read(tmp_path):
    path = write(tmp_path / 'a.json', '[-9223372036854775808, 1e3, NaN]')
    smallest, thousand, nan = read_json(path, list, allow_nan=True)
    assert (smallest, thousand) == (-(2**63), 1000) and nan != nan
    assert read_json(write(path, '"x"'), (list, str)) == 'x'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: 1\nb: [1, 2\n', r'is not valid YAML \(line 3, column 1\)'),
        ('a: 1\n\x00', 'is not valid YAML'),
        ('- 1', 'must hold keys with values, but holds a list'),
        ('', 'but holds nothing'),
        ('a: 1\nb: 2\na: 3', "has the key 'a' twice in one mapping, again in line 3"),
        ('a: !!python/object/apply:os.getcwd []', r'is not valid YAML \(line 1, column 4\)'),
        ('a: 2001-13-45', 'is not valid YAML'),
        ('a: !!timestamp x', 'is not valid YAML'),
        ('a: !!int x', 'is not valid YAML'),
        ('a: !!float x', 'is not valid YAML'),
        ('? [1]\n: 2', 'is not valid YAML'),
        ('a: ' + '9' * 5000, 'does not fit into 64 bits'),
        ('a: ' + '[' * 100_000, 'nested more than 100 levels deep'),
        ('- ' * 100_000, 'nested more than 100 levels deep'),
        ('{a: ' * 100_000, 'nested more than 100 levels deep'),
        ('a: &x [*x]', 'refers from within a value to the value itself'),
        (
            'a: &a [1, 1]\n'
            + '\n'.join(f'{n}: &{n} [{f"*{p}, " * 9}]' for p, n in zip('abcdefgh', 'bcdefghi', strict=True)),
            'repeats',
        ),
    ],
    ids=range(17),
)
def test_yaml_that_is_refused(tmp_path, text, words):
    path = write(tmp_path / 'a.yml', text)
    with pytest.raises(OwnError, match=words) as found:
        read_yaml(path, error=OwnError, advice='unpack it again')
    assert str(found.value).startswith(f'{path} ') and str(found.value).endswith('; unpack it again')


def test_yaml_that_is_read(tmp_path):
    text = 'base: &b {x: 1, y: [1.5, true]}\nc:\n  <<: *b\n  x: 2\nd: *b\n'
    base = {'x': 1, 'y': [1.5, True]}
    assert read_yaml(write(tmp_path / 'a.yml', text)) == {'base': base, 'c': {**base, 'x': 2}, 'd': base}


def test_hidden_names_are_no_names(tmp_path):
    for name in ('b.yml', '._b.yml', 'a.txt', '.git/c.yml', 'd/._e.yml', 'd/e.yml'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, '')
    assert visible_names(tmp_path) == ['a.txt', 'b.yml', 'd'] and visible_names(tmp_path / 'none') == []
    assert visible_paths(tmp_path, '**/*.yml') == [tmp_path / 'b.yml', tmp_path / 'd' / 'e.yml']
    (tmp_path / '.hidden').mkdir()
    write(tmp_path / '.hidden' / 'a.txt', '')
    assert visible_paths(tmp_path / '.hidden') == [tmp_path / '.hidden' / 'a.txt']


@pytest.mark.parametrize('name', ['a', 'a/b.png', '20200709-subject-01/x', '..a/b..', 'mit Leerzeichen/ä.png'])
def test_paths_that_stay_inside(tmp_path, name):
    assert inside_root(tmp_path, name, 'list.txt, line 3') == tmp_path / name


@pytest.mark.parametrize(
    'name',
    ['..', 'a/..', '../a', '/a', 'a/', 'a//b', './a', '', '..\\a', 'C:/a', 'a\0', 'a\n', '\ufffd', 3, None, ['a']],
)
def test_paths_that_lead_out(tmp_path, name):
    with pytest.raises(OwnError, match=r'^list\.txt, line 3 names .* expected a path below .*nothing was opened'):
        inside_root(tmp_path, name, 'list.txt, line 3', error=OwnError)
