"""Files out of a package's wheel, which pip downloads and nobody installs."""

import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from handpose.zoo.cache import BLOCK
from handpose.zoo.errors import SourceError

# One wheel for all: the files in it are data, and the same on every platform and Python.
PLATFORM = (
    '--platform',
    'manylinux_2_28_x86_64',
    '--python-version',
    '311',
    '--implementation',
    'cp',
    '--abi',
    'cp311',
)
LONGEST = 1800  # seconds for pip, which has its own timeouts and retries


@contextmanager
def downloaded_wheel(requirement: str) -> Iterator[zipfile.ZipFile]:
    """Downloads a wheel with pip, with the user's configuration of pip, and deletes it afterwards.

    Args:
        requirement: 'name==version'.

    Yields:
        The wheel.

    Raises:
        SourceError: pip is missing or does not find the wheel, or it is damaged.
    """
    with _temporary_folder() as folder:
        _run_pip(requirement, folder)
        wheels = sorted(Path(folder).glob('*.whl'))
        if len(wheels) != 1:
            raise SourceError(f'pip downloaded {len(wheels)} wheels for {requirement}, expected one')
        try:
            wheel = zipfile.ZipFile(wheels[0])
        except (zipfile.BadZipFile, OSError) as error:
            raise SourceError(f'the wheel of {requirement} is damaged ({error})') from error
        with wheel:
            yield wheel


def member_blocks(wheel: zipfile.ZipFile, member: str, size: int, where: str) -> Iterator[bytes]:
    """Reads a file of a wheel. Nothing is unpacked by the names that the wheel holds.

    Args:
        wheel: the wheel.
        member: path of the file.
        size: bytes that it must have.
        where: names it in messages.

    Yields:
        Its bytes, at most one block more than `size` even if the wheel states a wrong size.

    Raises:
        SourceError: it is missing, damaged, or of another size.
    """
    try:
        stated = wheel.getinfo(member).file_size
        if stated != size:
            raise SourceError(f'{where} has {stated:,} bytes, expected {size:,}')
        file: IO[bytes]
        with wheel.open(member) as file:
            read = 0
            while read <= size and (block := file.read(BLOCK)):
                read += len(block)
                yield block
    except KeyError:
        raise SourceError(f'{where} does not exist') from None
    # What zipfile raises for damage, and for methods of compression and encryption that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise SourceError(f'{where} is damaged ({error})') from error


@contextmanager
def _temporary_folder() -> Iterator[str]:
    try:
        folder = tempfile.TemporaryDirectory(prefix='handpose-')
    except OSError as error:
        raise SourceError(f'{tempfile.gettempdir()} cannot be written ({error.strerror}); set TMPDIR') from error
    with folder as name:
        yield name


def _run_pip(requirement: str, folder: str) -> None:
    options = ['--no-deps', '--only-binary=:all:', *PLATFORM, '--no-input', '--disable-pip-version-check']
    command = [sys.executable, '-m', 'pip', 'download', *options, '--dest', folder, requirement]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise SourceError(f'pip did not download {requirement} within {LONGEST} seconds') from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ['no reason given']
        if 'No module named pip' in lines[-1]:
            raise SourceError(
                f'{requirement} is downloaded with pip, which {sys.executable} lacks: install it with '
                f'`{sys.executable} -m ensurepip`'
            )
        problems = [line.removeprefix('ERROR: ') for line in lines if line.startswith('ERROR: ')]
        raise SourceError(f'pip cannot download {requirement}: {(problems or lines)[-1]}')
