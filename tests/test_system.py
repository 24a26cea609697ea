"""handpose.system on this machine, and as it behaves where Windows' modules are or where modules of POSIX are missing.

The stand-in for Windows has `sys.platform` and a `msvcrt` that locks bytes of files, as there: for one process only.
"""

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import run_random_clips

from handpose import system
from handpose.cli import main
from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.packed_frames import PackedFrames
from handpose.datasets.io.packing import pack_frames
from handpose.engine.guards import WorkDirLock


@pytest.fixture
def windows(monkeypatch):
    """Windows, as far as the module asks for it; the value holds the locked bytes: {(inode, place)}."""
    held = set()

    def locking(handle, mode, count):
        assert mode == 'LK_NBLCK' and count == 1
        byte = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        if byte in held:
            raise PermissionError(errno.EACCES, 'Permission denied')
        held.add(byte)

    monkeypatch.setitem(sys.modules, 'msvcrt', SimpleNamespace(LK_NBLCK='LK_NBLCK', locking=locking))
    monkeypatch.setattr(system, 'sys', SimpleNamespace(platform='win32'))
    return held


@pytest.mark.parametrize('per_process', [False, True])
def test_a_lock_excludes_another_process_and_ends_with_its_own(tmp_path, per_process):
    file = tmp_path / 'lock'
    code = (
        'import os, sys\nfrom handpose.system import try_lock\n'
        f'handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\nprint(try_lock(handle, {per_process}), flush=True)\n'
        'sys.stdin.read()'
    )
    command = [sys.executable, '-c', code, str(file)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'True\n'
        with open(file, 'r+b') as mine:
            assert not system.try_lock(mine.fileno(), per_process)
            other.kill()
            other.wait()
            assert system.try_lock(mine.fileno(), per_process)
    finally:
        other.kill()
        other.communicate()


def test_a_lock_on_windows_leaves_the_file_readable(tmp_path, windows):
    lock = WorkDirLock(tmp_path)
    ((_, place),) = windows
    text = (tmp_path / '.lock').read_text()
    assert text.startswith(f'process {os.getpid()} on ') and place > 2**20  # that byte alone cannot be read
    with pytest.raises(ValueError, match=f'is in use: process {os.getpid()} on .* is training there'):
        WorkDirLock(tmp_path)
    assert (tmp_path / '.lock').read_text() == text
    lock.release()


def test_a_store_on_windows_is_locked_by_a_file_in_it(tmp_path, windows):
    path = tmp_path / 'data' / 'v' / '0.jpg'
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * 10)
    pack_frames(tmp_path / 'store', tmp_path / 'data', [str(path)])
    assert len(windows) == 1 and (tmp_path / 'store' / '.lock').is_file()
    ((_, data, error),) = PackedFrames(tmp_path / 'store').read([str(path)])
    assert error is None and bytes(data) == path.read_bytes()
    with pytest.raises(DatasetError, match='another process is packing into'):  # the stand-in never unlocks
        pack_frames(tmp_path / 'store', tmp_path / 'data', [str(path)])


def test_other_errors_of_locks_are_passed_on(tmp_path, monkeypatch):
    def fail(handle, operation):
        raise OSError(errno.ENOLCK, 'no locks')

    monkeypatch.setattr('fcntl.flock', fail)
    with open(tmp_path / 'x', 'wb') as file, pytest.raises(OSError) as caught:
        system.try_lock(file.fileno())
    assert caught.value.errno in system.NO_LOCKS
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    with open(tmp_path / 'x', 'wb') as file, pytest.raises(OSError, match='no locks of files') as caught:
        system.try_lock(file.fileno(), per_process=True)
    assert caught.value.errno in system.NO_LOCKS


def test_threads_on_windows_read_their_own_places(tmp_path, windows):
    """There, reading moves the one position of the file."""
    (tmp_path / 'x').write_bytes(b''.join(n.to_bytes(4, 'little') for n in range(4096)))
    wrong = []
    with open(tmp_path / 'x', 'rb', buffering=0) as file:

        def read(first):
            for n in range(first, 4096, 8):
                if system.read_at(file.fileno(), 4, 4 * n) != n.to_bytes(4, 'little'):
                    wrong.append(n)

        threads = [threading.Thread(target=read, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert system.read_at(file.fileno(), 100, 4 * 4095) == (4095).to_bytes(4, 'little')
        system.ask_ahead(file.fileno(), 100, 0)


@pytest.mark.parametrize('platform, method', [('linux', 'fork'), ('darwin', 'spawn'), ('win32', 'spawn')])
def test_start_methods(monkeypatch, platform, method):
    monkeypatch.setattr(system, 'sys', SimpleNamespace(platform=platform))
    assert system.start_method() == method


def test_another_system_has_windows_without_these_variables(monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(system, 'sys', SimpleNamespace(platform='linux'))
    assert not system.has_display()
    monkeypatch.setattr(system, 'sys', SimpleNamespace(platform='darwin'))
    assert system.has_display()


def test_ctrl_c_is_kept_from_a_process(monkeypatch):
    code = 'import os, sys; sys.exit(os.getpgid(0) != os.getpid())'
    assert subprocess.run([sys.executable, '-c', code], **system.own_console()).returncode == 0
    monkeypatch.setattr(subprocess, 'CREATE_NEW_PROCESS_GROUP', 0x200, raising=False)
    monkeypatch.setattr(system, 'sys', SimpleNamespace(platform='win32'))
    assert system.own_console() == {'creationflags': 0x200}


def test_measuring_on_windows_is_refused(monkeypatch, windows, tmp_path):
    with pytest.raises(SystemExit, match='measuring needs Linux or macOS: run it in WSL'):
        main('benchmark', ['--out', str(tmp_path / 'x.json')])
    for function in (system.lead_group, system.children_seconds, system.total_memory, system.load_average):
        with pytest.raises(system.UnsupportedSystem, match=r'needs? Linux or macOS'):
            function()


@pytest.fixture
def any_start_method():
    before = multiprocessing.get_start_method(allow_none=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_spawned_workers_load_the_same_clips(tmp_path, any_start_method):
    """Training with loader workers that were spawned, as on macOS and Windows, or none: bit-identical weights."""
    weights = []
    for name, options in (('none', {}), ('spawn', {'num_workers': 2, 'env_cfg.mp_cfg.mp_start_method': 'spawn'})):
        runner = run_random_clips.train(tmp_path / name, 1, {**run_random_clips.clips(4), **options})
        weights.append(runner.model.state_dict())
    assert multiprocessing.get_start_method() == 'spawn'
    assert all((weights[0][key] == value).all() for key, value in weights[1].items())
