"""Wheels of what a machine with PyTorch lacks: python -m cuda_check.wheels pack|install FOLDER [--target SITE]

Uses the standard library alone: it runs before the project's dependencies are there.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON_VERSION = '3.12'
LIMIT = 60 * 2**20  # bytes of all wheels
# Module: distribution. All are pure Python, so their wheels fit every machine.
CARRIED = {
    'mmengine': 'mmengine',
    'mmcv': 'mmcv-lite',
    'smplx': 'smplx',
    'addict': 'addict',
    'termcolor': 'termcolor',
    'yapf': 'yapf',
    'platformdirs': 'platformdirs',
}
# What has compiled parts, or comes with PyTorch: the machine must have it.
EXPECTED = [
    'torch',
    'numpy',
    'scipy',
    'cv2',
    'yaml',
    'rich',
    'safetensors',
    'tensorboard',
    'matplotlib',
    'PIL',
    'packaging',
    'pytest',
    'pytest_timeout',
]


def pack(folder):
    """Downloads the wheels of `CARRIED` at the versions of constraints.txt; what has no wheel is built.

    Args:
        folder: where they go; wheels that are there already are kept.

    Returns:
        the paths of the wheels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for distribution in CARRIED.values():
        if not find_wheel(folder, distribution):
            fetch_wheel(folder, distribution)
    wheels = [find_wheel(folder, distribution) for distribution in CARRIED.values()]
    size = sum(wheel.stat().st_size for wheel in wheels)
    if size > LIMIT:
        raise SystemExit(f'{folder}: the wheels have {size / 2**20:.1f} MiB, more than {LIMIT / 2**20:.0f} MiB')
    return wheels


def fetch_wheel(folder, distribution):
    """Downloads or builds the wheel of one distribution."""
    options = ['--quiet', '--disable-pip-version-check', '--no-deps', '-c', str(ROOT / 'constraints.txt')]
    binary = ['--only-binary=:all:', '--python-version', PYTHON_VERSION, '-d', str(folder)]
    if pip('download', *options, *binary, distribution).returncode:
        built = pip('wheel', *options, '-w', str(folder), distribution)
        if built.returncode:
            raise SystemExit(f'{distribution}: neither downloaded nor built as a wheel:\n{built.stdout[-1000:]}')
    if not find_wheel(folder, distribution):
        raise SystemExit(f'{distribution}: pip left no wheel for every platform (*-none-any.whl) in {folder}')


def find_wheel(folder, distribution):
    """The wheel of a distribution in a folder, or None."""
    found = sorted(folder.glob(f'{distribution.replace("-", "_")}-*-none-any.whl'))
    return found[-1] if found else None


def install(folder, target):
    """Installs those of `CARRIED` that cannot be imported from the wheels of `folder` into `target`, with no network.

    Returns:
        the names of the distributions that were installed.
    """
    importlib.invalidate_caches()
    absent = [name for name in EXPECTED if importlib.util.find_spec(name) is None]
    sys.path.append(str(target))  # what an earlier run installed
    missing = [name for module, name in CARRIED.items() if importlib.util.find_spec(module) is None]
    wheels = {name: find_wheel(folder, name) for name in missing}
    unpacked = [name for name, wheel in wheels.items() if wheel is None]
    if unpacked:
        raise SystemExit(
            f'{folder} has no wheel of {", ".join(unpacked)}, which this Python lacks: run `tools/cuda_check.sh pack` '
            'on a machine with a network and copy the folder here'
        )
    if missing:
        options = ['--quiet', '--no-index', '--no-deps', '--no-compile', '--disable-pip-version-check']
        done = pip('install', *options, '--target', str(target), *map(str, wheels.values()))
        if done.returncode:
            raise SystemExit(f'pip could not install {", ".join(missing)} into {target}:\n{done.stdout[-1000:]}')
    if absent:
        raise SystemExit(f'{sys.executable} lacks {", ".join(absent)}, which are not carried: install them')
    return missing


def pip(*words):
    """Runs pip of this Python; its output is in `stdout`."""
    command = [sys.executable, '-m', 'pip', *words]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('action', choices=['pack', 'install'])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--target', type=Path, default=ROOT / 'build' / 'cuda_check' / 'site')
    arguments = parser.parse_args()
    if arguments.action == 'pack':
        wheels = pack(arguments.folder)
        size = sum(wheel.stat().st_size for wheel in wheels) / 2**20
        print(f'{len(wheels)} wheels, {size:.1f} MiB, in {arguments.folder}')
    else:
        installed = install(arguments.folder, arguments.target)
        print(f'installed: {", ".join(installed) or "nothing, all is there"}')


if __name__ == '__main__':
    main()
