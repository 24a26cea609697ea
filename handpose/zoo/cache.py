"""The files of the model zoo on this machine: where they lie, whether they are whole, and writing them."""

import errno
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from handpose.files.atomic import atomic_file
from handpose.files.reading import FileError, check_regular, reason
from handpose.system import NO_LOCKS, try_lock
from handpose.zoo.errors import SourceError, ZooError
from handpose.zoo.index import ZooEntry

CACHE = 'HANDPOSE_CACHE'  # environment variable: the folder for downloaded files
MIRROR = 'HANDPOSE_ZOO'  # environment variable: a folder that already holds files of the zoo
OFFLINE = 'HANDPOSE_OFFLINE'  # environment variable: 1 forbids downloads
BLOCK = 1 << 18
LOCK = '.lock'
PARTIAL = '.partial-'  # how the name of an unfinished download begins
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of all that can be made or downloaded again: `HANDPOSE_CACHE`, or the platform's folder for caches."""
    chosen = os.environ.get(CACHE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path('handpose', appauthor=False)


def zoo_folder() -> Path:
    """The folder of downloaded files: `zoo` in `cache_folder`."""
    return cache_folder() / 'zoo'


def mirror_folder() -> Path | None:
    """The folder that `HANDPOSE_ZOO` names, or None."""
    chosen = os.environ.get(MIRROR)
    return Path(chosen).expanduser() if chosen else None


def is_offline() -> bool:
    """Whether `HANDPOSE_OFFLINE` forbids downloads."""
    return os.environ.get(OFFLINE, '').lower() not in ('', '0', 'false', 'no')


def stored_name(entry: ZooEntry) -> str:
    """The name of an entry's file in the cache and in a mirror.

    It ends in the first digits of the sha256, so that two versions never share a file.
    """
    stem, suffix = Path(entry.file).stem, Path(entry.file).suffix
    ending = f'-{entry.sha256[:8]}'
    return f'{stem.removesuffix(ending)}{ending}{suffix}'


def file_problem(path: Path, entry: ZooEntry) -> str | None:
    """Compares a file with its entry.

    Args:
        path: of the file.
        entry: what it must hold.

    Returns:
        What is wrong with it, a predicate, or None.
    """
    digest = hashlib.sha256()
    try:
        check_regular(path)
        size = path.stat().st_size
        if size != entry.size:
            return f'has {size:,} bytes, expected {entry.size:,}'
        with open(path, 'rb') as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except (OSError, FileError) as problem:
        return reason(problem)
    return None if digest.hexdigest() == entry.sha256 else wrong_hash(digest.hexdigest(), entry)


def wrong_hash(found: str, entry: ZooEntry) -> str:
    """The predicate of messages about a file that holds other bytes.

    Args:
        found: its sha256.
        entry: what was expected.

    Returns:
        The predicate.
    """
    return f'has the sha256 {found}, expected {entry.sha256}'


def store(entry: ZooEntry, blocks: Iterable[bytes], where: str, folder: Path) -> Path:
    """Writes the file of an entry atomically, and only if it is the right one.

    Args:
        entry: the entry.
        blocks: its bytes.
        where: names their source in messages.
        folder: of the file.

    Returns:
        The path of the file.

    Raises:
        SourceError: the bytes are others; nothing is left in the folder.
        OSError: the folder cannot be written.
    """
    path, digest, size = folder / stored_name(entry), hashlib.sha256(), 0
    with atomic_file(path) as file:
        for block in blocks:
            size += len(block)
            if size > entry.size:
                raise SourceError(f'{where} is larger than the {entry.size:,} bytes expected')
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != entry.sha256:
            raise SourceError(f'{where} {wrong_hash(digest.hexdigest(), entry)}')
    return path


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Lets one process at a time write into the folder; others wait. The lock of a killed process is free.

    Where the file system has no locks, a warning says so: files are still written atomically, but several processes
    may download the same file.

    Args:
        folder: of the downloaded files; made if missing.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _wait_for_lock(handle, folder)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            _log.warning('%s is on a file system without locks; download in one process at a time', folder)
        yield
    finally:
        os.close(handle)


def _wait_for_lock(handle: int, folder: Path) -> None:
    # Not the library filelock: the versions that torch allows wait for ever on some file systems without locks.
    waited = False
    while not try_lock(handle):
        if not waited:
            _log.warning('waiting for another process that downloads to %s', folder)
        waited = True
        time.sleep(0.1)


@contextmanager
def disk_errors(entry: ZooEntry, folder: Path) -> Iterator[None]:
    """Turns errors of the disk into messages that say what to do.

    Args:
        entry: what is being written.
        folder: where to.

    Raises:
        ZooError: the folder cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ZooError(
                f'the disk of {folder} is full, and {entry.name} needs {entry.size / 1e6:.1f} MB: make room, or set '
                f'{CACHE} to a folder on another disk'
            ) from error
        raise ZooError(
            f'{entry.name} cannot be stored: {error.filename or folder} cannot be written '
            f'({error.strerror or error}); set {CACHE} to a folder that can be written'
        ) from error
