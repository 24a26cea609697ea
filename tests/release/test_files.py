"""What earlier releases wrote is read by this version, with the contents that it had."""

import json
from pathlib import Path

import pytest
from file_contents import CONTENTS, exported, resumed

FOLDERS = sorted(Path(__file__).parent.glob('files_*'))
LARGEST = 300_000  # bytes of all files of a release
TOLERANCE = 1e-4  # of sums over an array: one joint that moves by a millimetre is noticed


def expected(folder, kind):
    return json.loads((folder / 'contents.json').read_text(encoding='utf-8'))[kind]


def differences(found, wanted, path=''):
    """Where two nested values differ: floats by more than the tolerance, others at all."""
    if isinstance(wanted, dict):
        missing = [f'{path} lacks {key}' for key in wanted if key not in found]
        return missing + [
            d for key in wanted if key in found for d in differences(found[key], wanted[key], f'{path}.{key}')
        ]
    if isinstance(wanted, list) and isinstance(found, (list, tuple)) and len(found) == len(wanted):
        return [d for n, value in enumerate(wanted) for d in differences(found[n], value, f'{path}[{n}]')]
    same = found == (pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE) if isinstance(wanted, float) else wanted)
    return [] if same else [f'{path} is {found!r}, was {wanted!r}']


def test_there_are_files_of_every_release():
    assert FOLDERS[0].name == 'files_0_2_0'
    for folder in FOLDERS:
        assert sum(path.stat().st_size for path in folder.rglob('*')) < LARGEST


@pytest.mark.parametrize('kind', CONTENTS)
@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_a_file_is_read(folder, kind):
    assert differences(CONTENTS[kind](folder), expected(folder, kind), kind) == []


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_a_checkpoint_is_resumed(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    found = resumed(tmp_path / 'run')
    assert differences(found, expected(folder, 'resumed'), 'resumed') == [] and found['epoch'] == 2


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: folder.name)
def test_an_exported_network_runs(folder):
    pytest.importorskip('onnxruntime', reason='exported networks need ONNX Runtime')
    assert differences(exported(folder), expected(folder, 'exported'), 'exported') == []


def test_differences_are_found():
    wanted = {'a': [1, 2.0], 'b': 'x', 'c': {'sum': 10.0}}
    assert differences({'a': (1, 2.00001), 'b': 'x', 'c': {'sum': 10.0005}, 'new': 1}, wanted) == []
    found = differences({'a': [1, 2.1], 'b': 'y', 'c': {'sum': 10.1}}, wanted)
    assert len(found) == 3 and '.c.sum is 10.1, was 10.0' in found
    assert differences({'a': [1], 'c': {}}, wanted) == [' lacks b', '.a is [1], was [1, 2.0]', '.c lacks sum']
