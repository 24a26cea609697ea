import errno
import os
import stat
import subprocess

import pytest

from handpose.files.atomic import TEMPORARY, atomic_file, atomic_write, remove_unfinished


def test_replaces_and_keeps_ordinary_rights(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    atomic_write(path, 'first')
    atomic_write(path, b'second')
    plain = tmp_path / 'plain'
    plain.write_text('')
    assert path.read_bytes() == b'second'
    assert path.stat().st_mode == plain.stat().st_mode
    assert [p.name for p in path.parent.iterdir()] == ['a.txt']


def test_an_error_leaves_the_old_file_and_no_trace(tmp_path):
    path = tmp_path / 'a.txt'
    atomic_write(path, 'old')
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b'half of the new')
        raise RuntimeError
    assert path.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


def test_a_kill_leaves_the_old_file_and_a_remnant_that_is_removed(tmp_path):
    path = tmp_path / 'a.txt'
    atomic_write(path, 'old')
    child = os.fork()
    if not child:
        with atomic_file(path) as file:
            file.write(b'half')
            os._exit(0)  # as a kill: nothing is cleaned up
    os.waitpid(child, 0)
    assert path.read_text() == 'old'
    assert len(list(tmp_path.glob(f'{TEMPORARY}*'))) == 1
    remove_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def refuse_folders(monkeypatch, number):
    plain = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        plain(handle)

    monkeypatch.setattr('handpose.files.atomic.os.fsync', fsync)


@pytest.mark.parametrize('number', [errno.EINVAL, errno.EOPNOTSUPP, errno.EACCES])
def test_a_file_system_that_cannot_flush_folders(tmp_path, monkeypatch, number):
    refuse_folders(monkeypatch, number)
    atomic_write(tmp_path / 'a.txt', 'new')
    assert (tmp_path / 'a.txt').read_text() == 'new'


def test_a_folder_that_fails_to_flush_is_reported(tmp_path, monkeypatch):
    refuse_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        atomic_write(tmp_path / 'a.txt', 'new')


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """On a real file system of 64 KiB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f'no right to mount a small disk: {mounted.stderr.decode().strip()}')
    try:
        atomic_write(disk / 'a', b'old' * 1000)
        with pytest.raises(OSError, match='No space left'):
            atomic_write(disk / 'a', b'new' * 100_000)
        assert (disk / 'a').read_bytes() == b'old' * 1000
        assert [p.name for p in disk.iterdir()] == ['a']
    finally:
        subprocess.run(['umount', str(disk)], check=True)
