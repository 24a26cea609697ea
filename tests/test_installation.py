"""The wheel and the source distribution, and the command as they install it, far away from the repository."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import release_check

import handpose

ROOT = Path(__file__).parents[1]
SOURCES = ('handpose', 'configs', *sorted(release_check.TOP_LEVEL))
pytest.importorskip('setuptools', minversion='70.1', reason='building a wheel needs setuptools 70.1')


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of what is packed, without anything that earlier builds have left."""
    folder = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def tracked(source):
    """The files of the repository that are packed, relative to its root."""
    return [path.relative_to(source).as_posix() for path in sorted(source.rglob('*')) if path.is_file()]


@pytest.fixture(scope='module')
def wheel(source, tracked, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--no-index']
    done = subprocess.run([*command, '-w', str(folder), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """A folder into which the wheel was unpacked, as pip does."""
    site = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run(installed, folder, *words):
    """Runs the installed command in a folder."""
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    command = [sys.executable, '-m', 'handpose', *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel, installed, tracked):
    with zipfile.ZipFile(wheel) as archive:
        assert release_check.wheel_problems(archive.namelist(), tracked) == []
    (scripts,) = installed.glob('*.dist-info/entry_points.txt')
    assert 'handpose = handpose.cli:main' in scripts.read_text()


def test_the_metadata_of_the_wheel(installed):
    (path,) = installed.glob('*.dist-info/METADATA')
    metadata = email.message_from_bytes(path.read_bytes())
    assert release_check.metadata_problems(metadata, handpose.__version__) == []
    assert 'Programming Language :: Python :: 3.13' in metadata.get_all('Classifier')


def test_the_source_distribution_has_every_file_and_nothing_else(source, tracked, tmp_path):
    build = 'import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])'
    done = subprocess.run([sys.executable, '-c', build, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(path) as archive:
        names = [member.name.partition('/')[2] for member in archive.getmembers() if member.isfile()]
    assert release_check.sdist_problems(names, tracked) == []


def test_configs_are_found_by_name_in_an_empty_folder(installed, tmp_path):
    done = run(installed, tmp_path, 'configs', 'show', 'deformer/synthetic')
    assert done.returncode == 0 and "data_root = 'data/synthetic_dexycb'  # deformer/synthetic.py" in done.stdout
    assert str(ROOT) not in done.stdout + done.stderr
    done = run(installed, tmp_path, 'train', 'deformer/synthetik')
    assert done.returncode == 1 and "Did you mean 'deformer/synthetic'?" in done.stderr


def test_the_quick_start_trains_in_an_empty_folder(installed, tmp_path):
    """With tiny data: the command makes them itself, where the config's own folder is missing."""
    tiny = ['synthetic_data.subjects=3', 'synthetic_data.sequences=5', 'synthetic_data.frames=24', 'epochs=1']
    tiny += ['synthetic_data.cameras=1', 'synthetic_data.size=64', 'num_workers=0', 'train_cfg.val_interval=5']
    done = run(installed, tmp_path, 'train', 'deformer/synthetic', '--cfg-options', *tiny)
    assert done.returncode == 0, done.stderr
    assert 'making the built-in data of deformer/synthetic' in done.stdout
    assert (tmp_path / 'work_dirs' / 'deformer_synthetic' / 'epoch_1.pth').is_file()
