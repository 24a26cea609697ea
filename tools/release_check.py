"""Checks everything that a release needs: `make release-check` (docs/project/releases.md).

Builds the source distribution and the wheel from the tracked files, checks metadata and contents, installs the wheel
into empty virtual environments with the highest and the lowest versions, runs a quick test there, outside the
repository, and verifies every file of the model zoo. A second run keeps the environments if the requirements are the
same.
"""

import argparse
import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUICK_TEST = ROOT / 'tests' / 'release' / 'installed_check.py'
TOP_LEVEL = {'CITATION.cff', 'LICENSE', 'MANIFEST.in', 'README.md', 'pyproject.toml', 'setup.py'}
LARGEST = 30e6  # bytes of a wheel or source distribution; PyPI takes 100 MB
PYTHONS = ('3.10', '3.11', '3.12', '3.13')
# Later Pythons have no wheels of the lowest versions of NumPy and SciPy.
LOWEST_PYTHONS = ('3.10', '3.11')
VERSIONS = {'highest': 'constraints.txt', 'lowest': 'constraints-lowest.txt'}


class CheckFailed(Exception):
    """A check that failed; the message says what was expected and found."""


def wheel_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """What is missing from a wheel, and what should not be in it.

    Args:
        names: the files of the wheel.
        tracked: the files of the repository, relative to its root.

    Returns:
        A line for each file.
    """
    expected = {name for name in tracked if name.startswith('handpose/')}
    expected |= {f'handpose/{name}' for name in tracked if re.match(r'configs/.*\.py$', name)}
    metadata = {'METADATA', 'RECORD', 'WHEEL', 'entry_points.txt', 'licenses/LICENSE', 'top_level.txt'}
    found = set(names)
    in_info = {name.partition('.dist-info/')[2] for name in found if '.dist-info/' in name}
    in_package = {name for name in found if '.dist-info/' not in name}
    return _differences(in_package, expected) + _differences(in_info, metadata)


def sdist_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """What is missing from a source distribution, and what should not be in it.

    Args:
        names: its files, relative to its top folder.
        tracked: the files of the repository, relative to its root.

    Returns:
        A line for each file.
    """
    expected = {n for n in tracked if n in TOP_LEVEL or n.startswith('handpose/') or re.match(r'configs/.*\.py$', n)}
    made = {'PKG-INFO', 'setup.cfg'}
    return _differences({n for n in names if n not in made and '.egg-info/' not in n}, expected | TOP_LEVEL)


def _differences(found: set[str], expected: set[str]) -> list[str]:
    missing = [f'missing: {name}' for name in sorted(expected - found)]
    return missing + [f'should not be there: {name}' for name in sorted(found - expected)]


def metadata_problems(metadata: Message, version: str) -> list[str]:
    """What is wrong with the metadata of a wheel beyond what `twine check` finds.

    Args:
        metadata: the wheel's METADATA.
        version: that it should have.

    Returns:
        A line for each problem.
    """
    found = [] if metadata['Version'] == version else [f'the version is {metadata["Version"]}, expected {version}']
    found += [f'no {key}' for key in ('Summary', 'License', 'Requires-Python', 'Keywords') if not metadata[key]]
    links = re.findall(r'\]\((?!https?://|#)([^)]*)\)', str(metadata.get_payload()))
    return found + [f'the description links to {link}, which package indexes do not have' for link in links]


def tracked_files() -> list[str]:
    """The files of the repository that git tracks, relative to its root."""
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split('\0') if name]


def run(command: list[str], folder: Path, limit: float = 3600) -> str:
    """The output of a program that works; it sees no other packages than those of its own environment."""
    environment = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME', 'VIRTUAL_ENV')}
    environment['OMP_NUM_THREADS'] = '1'
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=limit)
    if done.returncode:
        raise CheckFailed(
            f'{" ".join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
        )
    return done.stdout


@contextmanager
def step(title: str) -> Iterator[list[str]]:
    """Prints a step, how long it took, and the facts that are put into the list."""
    begin, facts = time.monotonic(), list[str]()
    print(f'{title} ...', flush=True)
    try:
        yield facts
    except CheckFailed as problem:
        raise SystemExit(f'{title}: FAILED\n{problem}\n\nThe same command continues.') from None
    print(f'  ok, {time.monotonic() - begin:.0f} s' + ''.join(f'\n  {fact}' for fact in facts), flush=True)


def build(work_dir: Path, tools: Path) -> tuple[Path, Path]:
    """Builds the source distribution from the tracked files, and the wheel from the source distribution."""
    source, dist = work_dir / 'source', work_dir / 'dist'
    for folder in (source, dist):
        shutil.rmtree(folder, ignore_errors=True)
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run([str(tools), '-m', 'build', '--outdir', str(dist), str(source)], work_dir)
    (wheel,), (sdist,) = dist.glob('*.whl'), dist.glob('*.tar.gz')
    return wheel, sdist


def check_contents(wheel: Path, sdist: Path) -> list[str]:
    """Compares the contents of wheel and source distribution with the repository; returns facts about them."""
    tracked = tracked_files()
    with zipfile.ZipFile(wheel) as archive:
        problems = wheel_problems(archive.namelist(), tracked)
        (info,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        problems += metadata_problems(email.message_from_bytes(archive.read(info)), version_of_the_code())
        count = len(archive.namelist())
    with tarfile.open(sdist) as archive:
        files = [member.name.partition('/')[2] for member in archive.getmembers() if member.isfile()]
    problems += [f'source distribution: {line}' for line in sdist_problems(files, tracked)]
    problems += [f'{p.name} has {p.stat().st_size} bytes' for p in (wheel, sdist) if p.stat().st_size > LARGEST]
    if problems:
        raise CheckFailed('\n'.join(problems))
    counts = ((wheel, count), (sdist, len(files)))
    return [f'{path.name}: {number} files, {path.stat().st_size / 1e6:.2f} MB' for path, number in counts]


def version_of_the_code() -> str:
    """The version in handpose/__init__.py, which is not imported."""
    (version,) = re.findall(r"^__version__ = '(.+)'$", (ROOT / 'handpose' / '__init__.py').read_text(), re.MULTILINE)
    return version


def find_python(version: str) -> str | None:
    """The interpreter of a version: the running one, or one on PATH that works."""
    if version == '.'.join(map(str, sys.version_info[:2])):
        return sys.executable
    path = shutil.which(f'python{version}')
    works = path and subprocess.run([path, '--version'], capture_output=True).returncode == 0
    return path if works else None


def environment(folder: Path, interpreter: str, constraints: str, requirements: list[list[str]], key: str) -> Path:
    """Makes a virtual environment, unless one for the same requirements is there; returns its interpreter."""
    python, stamp = folder / 'bin' / 'python', folder / 'requirements.sha256'
    text = f'{key}\n{interpreter}\n{requirements}\n{(ROOT / constraints).read_text()}'
    digest = hashlib.sha256(text.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    run([interpreter, '-m', 'venv', str(folder)], ROOT)
    for words in requirements:
        pip(python, '-c', str(ROOT / constraints), *words)
    stamp.write_text(digest)
    return python


def pip(python: Path, *words: str) -> None:
    """Installs packages."""
    run([str(python), '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', *words], ROOT)


def install(work_dir: Path, wheel: Path, version: str, interpreter: str, which: str) -> Path:
    """Installs the wheel into an environment that holds nothing but what it requires; returns its interpreter."""
    index = os.environ.get('TORCH_INDEX')
    requirements = [['torch', *(['--index-url', index] if index else [])], [str(wheel)]]
    with zipfile.ZipFile(wheel) as archive:
        (info,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        required = str(email.message_from_bytes(archive.read(info)).get_all('Requires-Dist'))
    folder = work_dir / f'python{version}-{which}'
    python = environment(folder, interpreter, VERSIONS[which], requirements, required)
    pip(python, '--force-reinstall', '--no-deps', str(wheel))
    run([str(python), '-m', 'pip', 'uninstall', '--yes', '--quiet', 'mmcv-lite'], ROOT)  # from an earlier run
    run([str(python), '-m', 'pip', 'check'], ROOT)
    return python


def quick_test(work_dir: Path, python: Path, *options: str) -> list[str]:
    """Runs the quick test outside the repository; returns what it reports."""
    empty = work_dir / 'empty'
    shutil.rmtree(empty, ignore_errors=True)
    empty.mkdir()
    printed = run([str(python), '-I', str(QUICK_TEST), str(empty), *options], empty)
    return [line.strip() for line in printed.splitlines()]


def verify_zoo(work_dir: Path, python: Path) -> list[str]:
    """Downloads what is missing of the model zoo, and compares every file with its checksum."""
    command = str(python.with_name('handpose'))
    names = {line.split()[0] for line in run([command, 'zoo', 'get', '--all'], work_dir).splitlines()}
    verified = run([command, 'zoo', 'verify'], work_dir).splitlines()
    right = {line.split()[0] for line in verified if line.endswith(' is right')}
    if not names or names - right:
        raise CheckFailed(
            f'not verified: {", ".join(sorted(names - right)) or "no row at all"}\n' + '\n'.join(verified)
        )
    return [f'{len(right)} rows are right']


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs' / 'release', help='default %(default)s')
    parser.add_argument('--skip-install', action='store_true', help='end after the checks of the built files')
    arguments = parser.parse_args()
    work_dir = arguments.work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    with step('tools: build and twine'):
        tools = environment(work_dir / 'tools', sys.executable, 'constraints.txt', [['build', 'twine']], 'tools')
    with step('build the source distribution and the wheel'):
        wheel, sdist = build(work_dir, tools)
    with step('metadata: twine check --strict'):
        run([str(tools), '-m', 'twine', 'check', '--strict', str(wheel), str(sdist)], work_dir)
    with step('contents') as facts:
        facts += check_contents(wheel, sdist)
    if not arguments.skip_install:
        check_installations(work_dir, wheel)
    print(f'everything is right: {wheel.parent}')


def check_installations(work_dir: Path, wheel: Path) -> None:
    """Installs and tests the wheel with every Python that is there, and verifies the model zoo."""
    running = '.'.join(map(str, sys.version_info[:2]))
    for version in PYTHONS:
        interpreter = find_python(version)
        if interpreter is None:
            print(f'Python {version}: no python{version} on PATH, not tested')
            continue
        for which in VERSIONS if version in LOWEST_PYTHONS else ('highest',):
            with step(f'Python {version}, {which} versions: install into an empty environment'):
                python = install(work_dir, wheel, version, interpreter, which)
            with step(f'Python {version}, {which} versions: quick test') as facts:
                facts += quick_test(work_dir, python)
            with step(f'Python {version}, {which} versions: add the extra mmcv, all weights') as facts:
                pip(python, '-c', str(ROOT / VERSIONS[which]), f'{wheel}[mmcv]')
                facts += quick_test(work_dir, python, '--all-weights')
            if version == running and which == 'highest':
                with step('model zoo: download and verify every row') as facts:
                    facts += verify_zoo(work_dir, python)
    if not any(find_python(version) for version in LOWEST_PYTHONS):
        print(f'the lowest versions need Python {" or ".join(LOWEST_PYTHONS)}: not tested')


if __name__ == '__main__':
    main()
