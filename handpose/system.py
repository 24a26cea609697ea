"""What differs between Linux, macOS and Windows. No other module of the library asks for the system it runs on.

Modules that only some systems have (`fcntl`, `msvcrt`, `resource`) are imported where they are used.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Errors of file systems and systems that have no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
# Windows lets nobody else read a locked byte: one far behind the end of the file leaves its contents readable.
_LOCKED_BYTE = 2**30
_reading = threading.Lock()


class UnsupportedSystem(ValueError):
    """Something that this system does not have; the message says which have it."""


def try_lock(handle: int, per_process: bool = False) -> bool:
    """Locks an open file against other processes if it is free; closing the file or the end of the process unlocks it.

    Args:
        handle: descriptor of a file that is open for writing.
        per_process: on Linux and macOS, processes forked from this one do not share the lock, but neither is it one
            against other parts of this process, and closing any descriptor of the file here unlocks it.

    Returns:
        Whether the lock was free.

    Raises:
        OSError: with a number of `NO_LOCKS` where the system or its file system has no locks.
    """
    try:
        if sys.platform == 'win32':
            import msvcrt

            place = os.lseek(handle, 0, os.SEEK_CUR)
            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(handle, place, os.SEEK_SET)
        else:
            try:
                import fcntl
            except ImportError:
                raise OSError(errno.ENOSYS, 'this system has no locks of files') from None
            lock = fcntl.lockf if per_process else fcntl.flock
            lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def open_to_lock(folder: str | Path) -> int:
    """Opens what stands for a folder in `try_lock`: itself, or a file `.lock` in it on Windows, which opens no folders.

    Args:
        folder: the folder.

    Returns:
        A descriptor, to be closed with `os.close`.

    Raises:
        OSError: it cannot be opened.
    """
    if sys.platform == 'win32':
        return os.open(Path(folder) / '.lock', os.O_RDWR | os.O_CREAT)
    return os.open(folder, os.O_RDONLY)


def read_at(handle: int, size: int, offset: int) -> bytes:
    """Reads bytes at a place of a file that other threads, and on Linux and macOS other processes, read too.

    Args:
        handle: descriptor of the file.
        size: number of bytes.
        offset: of the first one.

    Returns:
        Up to `size` bytes; none behind the end of the file.

    Raises:
        OSError: they cannot be read.
    """
    if sys.platform != 'win32':
        return os.pread(handle, size, offset)
    with _reading:  # `os.read` begins where the file's position is
        os.lseek(handle, offset, os.SEEK_SET)
        return os.read(handle, size)


def ask_ahead(handle: int, size: int, offset: int) -> None:
    """Lets the system begin to read bytes that will be needed soon, where it takes such requests (Linux).

    Args:
        handle: descriptor of the file.
        size: number of bytes.
        offset: of the first one.
    """
    if sys.platform == 'linux':
        with suppress(OSError):  # reading will say it
            os.posix_fadvise(handle, offset, size, os.POSIX_FADV_WILLNEED)


def available_cores() -> int:
    """CPU cores that this process may use."""
    if sys.platform == 'linux':
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_display() -> bool:
    """Whether a window can be opened: on Linux, Qt ends the process where there is no display."""
    return sys.platform != 'linux' or bool(os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY'))


def start_method() -> str:
    """How data loader workers start: forked on Linux; spawned where forking is unsafe (macOS) or missing (Windows)."""
    return 'fork' if sys.platform == 'linux' else 'spawn'


def own_console() -> dict[str, Any]:
    """Options of `subprocess.Popen` that keep Ctrl-C from the process: only its parent gets it and decides."""
    if sys.platform == 'win32':
        return {'creationflags': subprocess.CREATE_NEW_PROCESS_GROUP}
    return {'start_new_session': True}


def check_posix(purpose: str) -> None:
    """Refuses what works on Linux and macOS alone.

    Args:
        purpose: the subject of the message.

    Raises:
        UnsupportedSystem: this is Windows.
    """
    if sys.platform == 'win32':
        raise UnsupportedSystem(f'{purpose} needs Linux or macOS: run it in WSL, the Linux inside Windows')


def lead_group() -> None:
    """Makes this process the leader of a group that gets no Ctrl-C of the terminal; `end_group` ends all of it."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('groups of processes need Linux or macOS')
    os.setsid()


def end_group(leader: int) -> None:
    """Kills a process that called `lead_group`, and all that it started.

    Args:
        leader: its number; one that has ended already is no error.
    """
    if sys.platform == 'win32':
        raise UnsupportedSystem('groups of processes need Linux or macOS')
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@contextmanager
def delayed_interrupt() -> Iterator[None]:
    """Delays Ctrl-C until the end of the block."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('delaying Ctrl-C needs Linux or macOS')
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def children_seconds() -> float:
    """Processor time of the ended processes that this one started, seconds."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('the processor time of other processes needs Linux or macOS')
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def peak_memory() -> tuple[float, float]:
    """Resident memory of this process now and at its peak, MB; where there is no /proc, the peak twice.

    `ru_maxrss` would be wrong on Linux: a new process inherits its parent's peak.
    """
    status = Path('/proc/self/status')
    if status.exists():
        lines = dict(line.split(':', 1) for line in status.read_text(encoding='utf-8').splitlines())
        now, peak = (int(lines[name].split()[0]) / 1024 for name in ('VmRSS', 'VmHWM'))
        return now, peak
    if sys.platform == 'win32':
        raise UnsupportedSystem('the peak of memory needs Linux or macOS')
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == 'darwin' else 1024)
    return peak, peak


def total_memory() -> int:
    """Bytes of memory of this machine."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('the size of the memory needs Linux or macOS')
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def load_average() -> float:
    """Number of processes that were running or waiting to, on average over the last minute."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('the load needs Linux or macOS')
    return os.getloadavg()[0]


def flush_disks() -> None:
    """Waits until all that was written is on the disks."""
    if sys.platform == 'win32':
        raise UnsupportedSystem('flushing the disks needs Linux or macOS')
    os.sync()


def forget_pages(path: str | Path) -> None:
    """Drops a file from memory, if it is on the disk, so that the next one to read it waits for the disk (Linux).

    Args:
        path: the file.
    """
    if sys.platform != 'linux':
        raise UnsupportedSystem('dropping a file from memory needs Linux')
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
