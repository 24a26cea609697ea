"""The faults of docs/guides/model_zoo.md: whatever goes wrong, the result is the right file or an error message."""

import errno
import os
import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from zoo_server import good, hang, make_entry, serve, status, write_index

from handpose.zoo import cache, fetch
from handpose.zoo.cache import LOCK, PARTIAL, stored_name
from handpose.zoo.download import DownloadOptions
from handpose.zoo.errors import ZooError

DATA = bytes(range(256)) * 4096  # 1 MiB
OTHER = DATA[::-1]
HALF = len(DATA) // 2
QUICK = DownloadOptions(timeout=0.5, attempts=3, backoff=0.01)


@pytest.fixture
def server():
    with serve() as files:
        yield files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the cache."""
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'cache'))
    for name in ('HANDPOSE_ZOO', 'HANDPOSE_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / 'cache' / 'zoo'


@pytest.fixture
def zoo(tmp_path, folder, server):
    """An index with one entry, `net`, whose sources are paths of the server."""
    return lambda *paths: write_index(tmp_path, net=make_entry(DATA, [server.url + path for path in paths]))


def get(index):
    return fetch.get('net', index, QUICK)


def left(folder):
    """The names in the cache's folder, the lock aside."""
    return sorted(path.name for path in folder.glob('*') if path.name != LOCK)


def test_download(zoo, server, folder):
    server.answers['/a'] = [good(DATA)]
    index, reports = zoo('/a'), []
    path = fetch.get('net', index, report=lambda *report: reports.append(report))
    assert path.read_bytes() == DATA and path == folder / stored_name(index['net'])
    assert reports[-1] == ('net', len(DATA), len(DATA)) and left(folder) == [path.name]
    assert get(index) == path and server.requests == [('/a', None)]


RIGHT_IN_THE_END = {
    'answers 503, then the file': ([status(503), good(DATA)], [None, None]),
    'ends early, continues': ([good(DATA, send=HALF), good(DATA)], [None, f'bytes={HALF}-']),
    'hangs in the middle, continues': ([good(DATA, send=HALF, then_hang=True), good(DATA)], [None, f'bytes={HALF}-']),
    'hangs, then the file': ([hang, good(DATA)], [None, None]),
    'ends early, ignores Range': ([good(DATA, send=HALF), good(DATA, ranges=False)], [None, f'bytes={HALF}-']),
    'ends early, the file changes meanwhile': (
        [good(OTHER, send=HALF), good(DATA), good(DATA)],
        [None, f'bytes={HALF}-', None],
    ),
    'ends early, without a length': ([good(DATA, send=HALF, length=False), good(DATA)], [None, f'bytes={HALF}-']),
    'redirects': ([status(302, Location='/b')], [None, None]),
}


@pytest.mark.parametrize('answers, ranges', RIGHT_IN_THE_END.values(), ids=RIGHT_IN_THE_END)
def test_the_right_file_in_the_end(zoo, server, folder, answers, ranges):
    server.answers |= {'/a': list(answers), '/b': [good(DATA)]}
    path = get(zoo('/a'))
    assert path.read_bytes() == DATA and left(folder) == [path.name]
    assert [wish for _, wish in server.requests] == ranges


PAGE = b'<html>please log in</html>'
REFUSED = {
    'corrupt bytes': ([good(OTHER)], 'has the sha256 .*, expected', 1, False),
    'always ends early': ([good(DATA, send=1000)], 'ended after 3,000 of 1,048,576 bytes', 3, True),
    'not found': ([status(404)], r'answers 404 \(Not Found\)', 1, False),
    'always busy': ([status(500)], r'answers 500 \(Internal Server Error\)', 3, False),
    'hangs for ever': ([hang], 'does not answer in time', 3, False),
    'a web page': ([good(PAGE, kind='text/html; charset=utf-8')], 'sends a web page instead of the file', 1, False),
    'another length': ([good(DATA[:-1])], 'has 1,048,575 bytes, expected 1,048,576', 1, False),
    'a shorter file than before': ([good(DATA, send=HALF), status(416)], 'has fewer bytes than expected', 2, False),
    'endless': ([good(DATA + OTHER, length=False)], 'sends more than the 1,048,576 bytes', 1, False),
    'redirects to a file': ([status(302, Location='file:///etc/passwd')], 'redirects elsewhere|answers 302', 1, False),
    'redirects without encryption': ([status(302, Location='http://example.org/')], 'is not encrypted', 1, False),
    'redirects for ever': ([status(302, Location='/a')], 'answers 302', None, False),
}


@pytest.mark.parametrize('answers, message, requests, keeps', REFUSED.values(), ids=REFUSED)
def test_an_error_message_and_no_file(zoo, server, folder, answers, message, requests, keeps):
    server.answers['/a'] = list(answers)
    index = zoo('/a')
    with pytest.raises(ZooError, match=f'net cannot be downloaded: .*{message}.*put the file, with the sha256'):
        get(index)
    # What can be continued is kept under its own name; nothing else.
    assert left(folder) == ([PARTIAL + stored_name(index['net'])] if keeps else [])
    assert requests is None or len(server.requests) == requests


def test_nobody_listens(zoo, server, folder, tmp_path):
    with serve() as gone:
        url = gone.url
    index = write_index(tmp_path, net=make_entry(DATA, [url + '/a']))
    with pytest.raises(ZooError, match='cannot be reached'):
        get(index)
    assert left(folder) == []


def test_certificates(folder, tmp_path, monkeypatch):
    if shutil.which('openssl') is None:
        pytest.skip('the program openssl, which makes the certificate, is not installed')
    key, certificate = tmp_path / 'key.pem', tmp_path / 'certificate.pem'
    options = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=test']
    options += ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', str(key), '-out', str(certificate)]
    subprocess.run(['openssl', 'req', *options], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serve(tls) as server:
        server.answers['/a'] = [good(DATA)]
        index = write_index(tmp_path, net=make_entry(DATA, [server.url + '/a']))
        with pytest.raises(ZooError, match=r'/a has a certificate that cannot be verified \(self.signed certificate'):
            get(index)
        assert not server.requests
        monkeypatch.setenv('SSL_CERT_FILE', str(certificate))
        assert get(index).read_bytes() == DATA


def test_the_next_source_is_tried(zoo, server, folder, caplog):
    server.answers |= {'/a': [status(404)], '/b': [good(OTHER)], '/c': [good(DATA)]}
    assert get(zoo('/a', '/b', '/c')).read_bytes() == DATA
    assert [record.message.split(server.url)[1][:2] for record in caplog.records] == ['/a', '/b']
    assert all('trying the next source' in record.message for record in caplog.records)


def test_mirror(zoo, server, folder, tmp_path, monkeypatch, caplog):
    """A right file is used where it lies; a wrong one is named, and the next source is tried."""
    server.answers['/a'] = [good(DATA)]
    index = zoo('/a')
    monkeypatch.setenv('HANDPOSE_ZOO', str(tmp_path / 'mirror'))
    file = tmp_path / 'mirror' / stored_name(index['net'])
    file.parent.mkdir()
    file.write_bytes(DATA)
    assert get(index) == file and not server.requests
    file.write_bytes(OTHER)
    assert get(index).parent == folder and file.read_bytes() == OTHER
    assert f'{file} has the sha256' in caplog.text and 'it is not used' in caplog.text


def test_a_file_that_ships_with_the_package(folder, tmp_path, server, caplog):
    server.answers['/a'] = [good(DATA)]
    file = tmp_path / 'weights' / 'net.bin'
    file.parent.mkdir()
    file.write_bytes(DATA)
    index = write_index(tmp_path, net=make_entry(DATA, ['package:weights/net.bin', server.url + '/a']))
    assert get(index) == file and not server.requests
    file.write_bytes(DATA[:-1])
    assert get(index).parent == folder and 'has 1,048,575 bytes, expected' in caplog.text
    only = write_index(tmp_path, net=make_entry(DATA, ['package:weights/net.bin'], sha256='a' * 64))
    with pytest.raises(ZooError, match='ships with the package, but its file is missing or damaged; install handpose'):
        get(only)


def test_a_cached_file_is_damaged_later(zoo, server, folder, monkeypatch, caplog):
    server.answers['/a'] = [good(DATA)]
    index = zoo('/a')
    path = get(index)
    path.write_bytes(DATA[:-1] + b'x')
    monkeypatch.setenv('HANDPOSE_OFFLINE', '1')
    with pytest.raises(ZooError, match='HANDPOSE_OFFLINE forbids downloads'):
        get(index)
    assert 'has the sha256' in caplog.text
    monkeypatch.delenv('HANDPOSE_OFFLINE')
    assert get(index).read_bytes() == DATA and len(server.requests) == 2


def test_offline(zoo, server, folder, monkeypatch, tmp_path):
    """The message says what to run, and the file that this makes elsewhere is found where it says."""
    index = zoo('/a')
    monkeypatch.setenv('HANDPOSE_OFFLINE', '1')
    with pytest.raises(ZooError) as error:
        get(index)
    target = folder / stored_name(index['net'])
    assert '`handpose zoo get net`' in str(error.value) and f'{target} here' in str(error.value)
    assert not server.requests and not folder.exists()
    target.parent.mkdir(parents=True)
    target.write_bytes(DATA)
    assert get(index) == target


def test_full_disk(zoo, server, folder):
    """Linux has a device on which every write fails as on a full disk."""
    if not Path('/dev/full').exists():
        pytest.skip('this system has no /dev/full')
    server.answers['/a'] = [good(DATA)]
    index = zoo('/a')
    folder.mkdir(parents=True)
    (folder / (PARTIAL + stored_name(index['net']))).symlink_to('/dev/full')
    with pytest.raises(ZooError, match=r'the disk of .*zoo is full, and net needs 1\.0 MB: make room, or set HANDPOSE'):
        get(index)
    assert left(folder) == []
    assert get(index).read_bytes() == DATA


@pytest.mark.parametrize(
    'number, reason', [(errno.EROFS, 'Read-only file system'), (errno.EACCES, 'Permission denied')]
)
def test_read_only_cache(zoo, server, folder, monkeypatch, number, reason):
    """Files are read from it; a file that is missing gives an error message."""
    server.answers['/a'] = [good(DATA)]
    index = zoo('/a')
    path = get(index)

    def refuse(name, *options):
        raise OSError(number, os.strerror(number), str(name))

    monkeypatch.setattr(cache, 'os', SimpleNamespace(open=refuse, O_RDWR=0, O_CREAT=0, environ=os.environ))
    assert get(index) == path
    path.unlink()
    with pytest.raises(ZooError, match=rf'cannot be written \({reason}\); set HANDPOSE_CACHE to a folder'):
        get(index)


def test_the_cache_is_no_folder(zoo, folder):
    folder.parent.write_text('a file')
    with pytest.raises(
        ZooError, match=r'net cannot be stored: .* cannot be written .*; set HANDPOSE_CACHE to a folder'
    ):
        get(zoo('/a'))


def test_a_file_system_without_locks(zoo, server, folder, monkeypatch, caplog):
    import fcntl

    def refuse(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', refuse)
    server.answers['/a'] = [good(DATA)]
    assert get(zoo('/a')).read_bytes() == DATA
    assert 'file system without locks' in caplog.text


def start(index, folder):
    code = 'import sys; from handpose.zoo import fetch, index; print(fetch.get("net", index.read_index(sys.argv[1])))'
    command = [sys.executable, '-c', code, str(index.folder / 'index.yml')]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes_download_once(zoo, server, folder):
    def slow(handler, files):
        time.sleep(1)
        good(DATA)(handler, files)

    server.answers['/a'] = [slow]
    index = zoo('/a')
    processes = [start(index, folder) for _ in range(8)]
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        assert Path(out.strip()).read_bytes() == DATA
    assert server.requests == [('/a', None)] and len(left(folder)) == 1


def test_killed_in_the_middle_and_continued(zoo, server, folder):
    server.answers['/a'] = [good(DATA, send=HALF, then_hang=True), good(DATA)]
    index = zoo('/a')
    partial = folder / (PARTIAL + stored_name(index['net']))
    with start(index, folder) as process:
        while not (partial.exists() and partial.stat().st_size == HALF):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.kill()
    assert get(index).read_bytes() == DATA
    assert server.requests == [('/a', None), ('/a', f'bytes={HALF}-')] and len(left(folder)) == 1


def test_unfinished_files_of_killed_processes_are_removed(zoo, server, folder):
    server.answers['/a'] = [good(DATA)]
    folder.mkdir(parents=True)
    (folder / '.writing-net-00000000.tflite.12345678').write_bytes(b'x')
    (folder / (PARTIAL + stored_name(zoo('/a')['net']))).write_bytes(DATA + b'too long')
    path = get(zoo('/a'))
    assert path.read_bytes() == DATA and left(folder) == [path.name]


def test_hub(folder, tmp_path, monkeypatch):
    """With a stand-in for the Hub's library, whose function has the arguments of the real one."""
    wishes = []

    def hf_hub_download(repo_id, filename, *, revision=None, local_dir=None):
        wishes.append((repo_id, filename, revision))
        path = Path(local_dir, filename)
        path.parent.mkdir(parents=True)
        path.write_bytes(DATA if revision == 'v1' else OTHER)
        return str(path)

    monkeypatch.setitem(sys.modules, 'huggingface_hub', SimpleNamespace(hf_hub_download=hf_hub_download))
    index = write_index(
        tmp_path, net=make_entry(DATA, ['hf://owner/hands@v2/a/net.bin', 'hf://owner/hands@v1/a/net.bin'])
    )
    assert get(index).read_bytes() == DATA
    assert wishes == [('owner/hands', 'a/net.bin', 'v2'), ('owner/hands', 'a/net.bin', 'v1')]


def test_hub_faults(folder, tmp_path, monkeypatch):
    index = write_index(tmp_path, net=make_entry(DATA, ['hf://owner/hands@v1/net.bin']))
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ZooError, match=r"needs the Hub's library: pip install 'handpose\[hf\]'"):
        get(index)

    def hf_hub_download(*names, **options):
        raise ConnectionError('no route')

    monkeypatch.setitem(sys.modules, 'huggingface_hub', SimpleNamespace(hf_hub_download=hf_hub_download))
    with pytest.raises(ZooError, match=r'owner/hands@v1/net.bin cannot be downloaded \(ConnectionError: no route\)'):
        get(index)
    assert left(folder) == []
