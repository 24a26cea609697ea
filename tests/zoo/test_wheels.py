"""Files out of wheels that the real pip downloads, from a folder instead of the network."""

import struct
import sys
import zipfile

import pytest
from zoo_server import make_entry, write_index

from handpose.zoo import wheels
from handpose.zoo.errors import ZooError
from handpose.zoo.fetch import get

DATA, SECOND = b'first' * 1000, b'second' * 1000
TAG = 'cp311-cp311-manylinux_2_28_x86_64'


@pytest.fixture
def wheel_folder(tmp_path, monkeypatch):
    """The folder in which pip looks for wheels."""
    folder = tmp_path / 'wheels'
    folder.mkdir()
    for name, value in {
        'HANDPOSE_CACHE': tmp_path / 'cache',
        'PIP_NO_INDEX': '1',
        'PIP_FIND_LINKS': folder,
        'PIP_CONFIG_FILE': '/dev/null',
        'TMPDIR': tmp_path,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr('tempfile.tempdir', None)
    for name in ('HANDPOSE_ZOO', 'HANDPOSE_OFFLINE'):
        monkeypatch.delenv(name, raising=False)
    return folder


def write_wheel(wheel_folder, members, compression=zipfile.ZIP_DEFLATED):
    path = wheel_folder / f'standin-1.0-{TAG}.whl'
    with zipfile.ZipFile(path, 'w', compression) as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr('standin-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: standin\nVersion: 1.0\n')
        wheel.writestr('standin-1.0.dist-info/WHEEL', f'Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {TAG}\n')
        wheel.writestr('standin-1.0.dist-info/RECORD', '')
    return path


def index_of(tmp_path, **members):
    """An index of files in the wheel: {name: (path in the wheel, bytes)}."""
    entries = {
        name: make_entry(data, [f'pypi:standin==1.0#{path}'], file=f'{name}.tflite')
        for name, (path, data) in members.items()
    }
    return write_index(tmp_path, **entries)


def left(tmp_path):
    """All files but the index, the wheels and the lock; also what is in temporary folders."""
    files = [path for path in tmp_path.rglob('*') if path.is_file()]
    return sorted(path.name for path in files if path.suffix not in ('.yml', '.whl', '.lock') and path.name != '.lock')


def test_members_of_a_wheel(wheel_folder, tmp_path, monkeypatch):
    """All of a wheel come with one download; names that lead elsewhere do nothing; nothing else stays."""
    write_wheel(wheel_folder, {'a/one.tflite': DATA, 'a/two.tflite': SECOND, '../../escape': b'x', '/tmp/escape': b'x'})
    index = index_of(tmp_path, one=('a/one.tflite', DATA), two=('a/two.tflite', SECOND))
    reports = []
    assert get('one', index, report=lambda *report: reports.append(report)).read_bytes() == DATA
    assert reports == [('the wheel of standin==1.0', 0, None)]
    monkeypatch.setattr(wheels, '_run_pip', lambda *arguments: pytest.fail('downloaded twice'))
    assert get('two', index).read_bytes() == SECOND
    assert len(left(tmp_path)) == 2 and not list(tmp_path.glob('handpose-*'))


def test_a_wrong_neighbour_does_no_harm(wheel_folder, tmp_path, caplog):
    write_wheel(wheel_folder, {'one': DATA, 'two': DATA})
    assert get('one', index_of(tmp_path, one=('one', DATA), two=('two', SECOND))).read_bytes() == DATA
    assert 'two: two in the wheel of standin==1.0 has 5,000 bytes, expected 6,000' in caplog.text


FAULTS = {
    'another file': ({'one': DATA[::-1]}, 'one in the wheel of standin==1.0 has the sha256'),
    'a larger file': ({'one': bytes(50_000_000)}, 'has 50,000,000 bytes, expected 5,000'),
    'no such file': ({'two': DATA}, 'one in the wheel of standin==1.0 does not exist'),
    'no such wheel': (None, 'pip cannot download standin==1.0: No matching distribution found for standin==1.0'),
}


@pytest.mark.parametrize('members, message', FAULTS.values(), ids=FAULTS)
def test_wrong_wheels(wheel_folder, tmp_path, members, message):
    if members is not None:
        write_wheel(wheel_folder, members)
    with pytest.raises(ZooError, match=f'one cannot be downloaded: .*{message}'):
        get('one', index_of(tmp_path, one=('one', DATA)))
    assert left(tmp_path) == []


def test_a_zip_bomb(wheel_folder, tmp_path):
    """A file that unpacks to far more than the wheel states."""
    path = write_wheel(wheel_folder, {'one': bytes(50_000_000)})
    data = path.read_bytes()
    size = struct.pack('<I', 50_000_000)
    assert data.count(size) == 2  # before the file, and in the table of contents
    path.write_bytes(data.replace(size, struct.pack('<I', len(DATA))))
    with pytest.raises(ZooError, match=r'one in the wheel of standin==1\.0 is damaged'):
        get('one', index_of(tmp_path, one=('one', DATA)))
    assert left(tmp_path) == []


@pytest.mark.parametrize('place', [40, 4000])
def test_damaged_wheels(wheel_folder, tmp_path, place):
    path = write_wheel(wheel_folder, {'one': DATA}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(ZooError, match=r'one in the wheel of standin==1\.0 is damaged'):
        get('one', index_of(tmp_path, one=('one', DATA)))
    assert left(tmp_path) == []


def test_without_pip(wheel_folder, tmp_path, monkeypatch):
    (tmp_path / 'pip.py').write_text('import sys; sys.exit("/usr/bin/python: No module named pip")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(ZooError, match=f'is downloaded with pip, which {sys.executable} lacks: install it'):
        get('one', index_of(tmp_path, one=('one', DATA)))


def test_pip_that_hangs(wheel_folder, tmp_path, monkeypatch):
    (tmp_path / 'pip.py').write_text('import time; time.sleep(60)')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setattr(wheels, 'LONGEST', 1)
    with pytest.raises(ZooError, match=r'pip did not download standin==1\.0 within 1 seconds'):
        get('one', index_of(tmp_path, one=('one', DATA)))
    assert left(tmp_path) == ['pip.py']


def test_a_full_disk(wheel_folder, tmp_path, monkeypatch):
    import errno
    import os

    write_wheel(wheel_folder, {'one': DATA})

    def refuse(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('handpose.files.atomic.os.fsync', refuse)
    with pytest.raises(ZooError, match=r'the disk of .* is full, and one needs 0\.0 MB'):
        get('one', index_of(tmp_path, one=('one', DATA)))
    assert left(tmp_path) == []
