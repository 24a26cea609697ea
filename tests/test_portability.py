"""What would keep the library from working on Windows or macOS, as far as Linux can tell."""

import ast
import itertools
import ntpath
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from handpose.datasets.assembly101.pose_cache import PoseCache
from handpose.datasets.dexycb import index
from handpose.datasets.io import packed_frames
from handpose.datasets.io.errors import DatasetError
from handpose.files.names import file_stem
from handpose.structures.predictions_file import track_file_name
from handpose.zoo.index import default_index

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'handpose'
POSIX_MODULES = ('fcntl', 'grp', 'posix', 'pty', 'pwd', 'resource', 'syslog', 'termios', 'tty')
WINDOWS_MODULES = ('msvcrt', 'winreg', '_winapi')
# Names of Windows' devices, and characters that its file names cannot have.
DEVICES = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[ .](/|$)')


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


def test_one_module_alone_imports_what_some_systems_lack():
    wrong = [
        f'{path.relative_to(ROOT)}:{node.lineno} imports {name}'
        for path in PACKAGE.rglob('*.py')
        if path != PACKAGE / 'system.py'
        for name, node in imports(ast.parse(path.read_text(encoding='utf-8')))
        if name.split('.')[0] in (*POSIX_MODULES, *WINDOWS_MODULES)
    ]
    assert wrong == []


def test_one_module_alone_asks_for_the_system():
    asks = re.compile(r'sys\.platform|os\.name\b|platform\.system\(')
    found = {str(p.relative_to(ROOT)) for p in PACKAGE.rglob('*.py') if asks.search(p.read_text(encoding='utf-8'))}
    assert found == {'handpose/system.py', 'handpose/experiments/benchmarks/results.py'}  # this one writes it down


def test_every_module_imports_without_modules_of_posix():
    """They are missing for this library only: others have their own ways."""
    code = """
import builtins, importlib, pkgutil, sys
original, missing = builtins.__import__, set(sys.argv[1].split())
def without(name, globals=None, locals=None, fromlist=(), level=0):
    if name in missing and (globals or {}).get('__name__', '').startswith('handpose'):
        raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    return original(name, globals, locals, fromlist, level)
builtins.__import__ = without
import handpose
optional, count = {'av', 'viser', 'rerun', 'pyarrow', 'h5py', 'lmdb', 'simplejpeg', 'webdataset', 'mmcv'}, 0
for module in pkgutil.walk_packages(handpose.__path__, 'handpose.'):
    if module.name.startswith(('handpose.configs', 'handpose.__main__')):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.split('.')[0] not in optional:
            raise
    count += 1
print(count)
"""
    command = [sys.executable, '-c', code, ' '.join(POSIX_MODULES)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 500


def tracked_files():
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip('needs a clone of the repository, with git')
    return [name for name in done.stdout.split('\0') if name]


def test_names_of_files_exist_on_every_system():
    files = tracked_files()
    folders = {str(parent) for name in files for parent in Path(name).parents}
    assert [name for name in files if FORBIDDEN.search(name)] == []
    assert [name for name in files if any(DEVICES.fullmatch(part) for part in Path(name).parts)] == []
    assert same_but_for_case([*files, *folders]) == []
    assert [name for name in files if len(name) > 150] == []  # Windows' limit of 260 is for the folder of the clone too


def test_names_of_the_zoo_and_its_files_differ_by_more_than_case():
    zoo = default_index()
    entries = [zoo[name] for name in zoo]
    assert same_but_for_case({entry.name for entry in entries}) == []
    assert [entry.file for entry in entries if FORBIDDEN.search(entry.file)] == []


def same_but_for_case(names):
    by_lower = itertools.groupby(sorted(set(names), key=lambda name: (name.lower(), name)), key=str.lower)
    return [group for _, same in by_lower if len(group := list(same)) > 1]


def test_the_checks_of_names_see_what_they_should():
    assert same_but_for_case(['a/B', 'a/b', 'c']) == [['a/B', 'a/b']]
    assert DEVICES.fullmatch('Aux.py') and DEVICES.fullmatch('com1') and not DEVICES.fullmatch('auxiliary.py')
    assert FORBIDDEN.search('a:b') and FORBIDDEN.search('a./b') and not FORBIDDEN.search('a.b/c-1_x')


@pytest.mark.parametrize(
    'name, stem',
    [
        ('20200709-subject-01/20200709_141754', '20200709-subject-01_20200709_141754'),
        ('12:30 "left" <a|b>?*\\c\n', '12_30 _left_ _a_b____c_'),
        ('con', '_con'),
        ('NUL.1', '_NUL.1'),
        ('contour', 'contour'),
        ('ünïcode 手', 'ünïcode 手'),
    ],
)
def test_names_of_sequences_become_names_of_files(name, stem):
    assert file_stem(name) == stem
    assert track_file_name({'sequence': name, 'cameras': ['0']}) == f'{file_stem(f"{name}_0")}.npz'


def test_names_in_a_packed_store_have_slashes(monkeypatch):
    monkeypatch.setattr(packed_frames, 'os', SimpleNamespace(sep='\\', path=ntpath))
    root = r'C:\data\frames'
    for path in (r'C:\data\frames\v1\0.jpg', 'C:/data/frames/v1/0.jpg', r'C:\data\frames/v1\.\0.jpg'):
        assert packed_frames.name_under(root, path) == 'v1/0.jpg'
    with pytest.raises(DatasetError, match='does not lie in C:/data/frames/'):
        packed_frames.name_under(root, r'C:\data\other\0.jpg')


def test_text_files_have_an_encoding():
    """Without one it is the system's, which is another on Windows."""
    pytest.importorskip('ruff', reason='needs the extra "test"')
    command = [sys.executable, '-m', 'ruff', 'check', '--isolated', '--preview', '--select', 'PLW1514', '--no-cache']
    done = subprocess.run(
        [*command, 'handpose', 'tools', 'configs', 'setup.py'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_console_that_lacks_characters():
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'ascii'}
    command = [sys.executable, '-m', 'handpose', 'zoo', 'list']
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and 'deformer_synthetic' in done.stdout and '?' in done.stdout, done.stderr


def test_tables_end_their_lines_as_elsewhere():
    """`csv` writes its own ends of lines: a text file would make two of each on Windows."""
    for path in PACKAGE.rglob('*.py'):
        text = path.read_text(encoding='utf-8')
        for call in re.findall(r'csv\.(?:DictW|w)riter\([^)]*\)', text):
            assert "lineterminator='\\n'" in call, path
            assert 'StringIO()' in text, path


def test_jobs_of_pools_can_be_spawned(tmp_path):
    """What other processes are given is pickled where they are not forked."""
    for work in (index._read_tracks, PoseCache(tmp_path, tmp_path / 'made').renew):
        assert pickle.loads(pickle.dumps(work)).__name__ == work.__name__
