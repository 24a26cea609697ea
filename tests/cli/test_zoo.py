"""The command `handpose zoo`, with a stand-in index and a server on 127.0.0.1."""

import pytest
from zoo_server import good, make_entry, serve, write_index

from handpose.cli import main, zoo
from handpose.zoo import fetch
from handpose.zoo.cache import stored_name

FREE, BOUND = b'free' * 1000, b'bound' * 1000


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('COLUMNS', '200')
    for name in ('HANDPOSE_ZOO', 'HANDPOSE_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
    with serve() as server:
        server.answers |= {'/free': [good(FREE)], '/bound': [good(BOUND)]}
        found = write_index(
            tmp_path,
            free=make_entry(FREE, [server.url + '/free'], file='free.tflite'),
            bound=make_entry(
                BOUND, [server.url + '/bound'], file='bound.tflite', commercial_use=False, licence='CC-BY-NC-4.0'
            ),
        )
        for module in (zoo, fetch):
            monkeypatch.setattr(module, 'default_index', lambda: found)
        yield found


def run(*words):
    main('zoo', words)


def fails(capsys, code, *words):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == code or (code == 1 and isinstance(end.value.code, str))
    return capsys.readouterr().err + str(end.value.code)


def test_get_list_verify(index, tmp_path, capsys):
    run('list')
    listed = capsys.readouterr().out
    assert 'CC-BY-NC-4.0' in listed and '0.0 MB' in listed and listed.count(' no ') == 3  # bound; neither is here
    run('verify')
    assert 'no files of the model zoo are on this machine' in capsys.readouterr().out
    run('get', 'free', 'bound', 'free')
    paths = {name: tmp_path / 'cache' / 'zoo' / stored_name(index[name]) for name in index}
    assert capsys.readouterr().out == ''.join(f'{name}  {path}\n' for name, path in paths.items())
    run('get', '--all')
    run('list')
    assert capsys.readouterr().out.count(' no ') == 1
    run('verify')
    assert capsys.readouterr().out.count(' is right\n') == 2
    paths['free'].write_bytes(FREE[:-1] + b'x')
    error = fails(capsys, 1, 'verify')
    assert 'error: damaged: free; `handpose zoo get NAME` downloads a file again' in error
    run('get', 'free')
    assert paths['free'].read_bytes() == FREE


def test_commercial_ok(index, tmp_path, capsys):
    run('list', '--commercial-ok')
    listed = capsys.readouterr().out
    assert 'free' in listed and 'bound' not in listed
    error = fails(capsys, 1, 'get', 'free', 'bound', '--commercial-ok')
    assert 'the licence does not allow commercial use: bound (CC-BY-NC-4.0)' in error
    assert not (tmp_path / 'cache').exists()
    run('get', '--all', '--commercial-ok')
    assert capsys.readouterr().out.startswith('free  ')
    assert not (tmp_path / 'cache' / 'zoo' / stored_name(index['bound'])).exists()


def test_card(index, capsys):
    run('card', 'bound')
    card = capsys.readouterr().out
    for words in ('bound: the title', 'the preprocessing', 'CC-BY-NC-4.0, no commercial use', 'the citation'):
        assert words in card


def test_table(index, capsys):
    run('table')
    assert '| [`bound`](#bound) | the title | 0.0 MB | CC-BY-NC-4.0 | no | – |' in capsys.readouterr().out


def test_errors(index, capsys):
    assert "error: the model zoo has no 'fre'. Did you mean 'free'?" in fails(capsys, 1, 'get', 'fre')
    assert 'Did you mean' in fails(capsys, 1, 'card', 'boun')
    assert 'give the names of files, or --all' in fails(capsys, 2, 'get')
    assert 'give the names of files, or --all' in fails(capsys, 2, 'get', 'free', '--all')
