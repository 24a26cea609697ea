"""The public interface is that of the snapshots, and the documentation imports nothing else."""

import difflib
import importlib
import re
from pathlib import Path

import pytest
import snapshots

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r'^from (handpose[\w.]*) import (\([^)]*\)|.*)$', re.MULTILINE)


@pytest.mark.parametrize('file', snapshots.SNAPSHOTS)
def test_the_public_interface_is_that_of_the_snapshot(file):
    expected = (snapshots.FOLDER / file).read_text(encoding='utf-8')
    changes = list(
        difflib.unified_diff(expected.splitlines(), snapshots.SNAPSHOTS[file]().splitlines(), n=0, lineterm='')
    )
    assert not changes, (
        f'the public interface differs from tests/release/snapshots/{file}:\n'
        + '\n'.join(changes[2:])
        + '\n\nIf this is intended, run: python tests/release/snapshots.py\n'
        'and write a line into CHANGELOG.md. What was released is deprecated before it is removed or renamed '
        '(docs/project/releases.md).'
    )


def test_no_name_is_exported_twice():
    for module, names in snapshots.public_names().items():
        assert len(names) == len(set(names)), f'{module}.__all__ has a name twice'


def test_the_documentation_imports_public_names_only():
    public = snapshots.public_names()
    wrong = []
    for page in [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]:
        for module, imported in IMPORT.findall(page.read_text(encoding='utf-8')):
            for name in re.findall(r'\w+', re.sub(r' as \w+|#.*', '', imported)):
                packages = [p for p in public if f'{module}.'.startswith(f'{p}.')]
                if not any(name in public[package] for package in packages):
                    wrong.append(f'{page.relative_to(ROOT)}: from {module} import {name}')
    assert wrong == [], 'neither in the `__all__` of a package nor in DOCUMENTED of snapshots.py:\n' + '\n'.join(wrong)


def test_documented_names_exist():
    for module, names in snapshots.DOCUMENTED.items():
        assert [name for name in names if name not in vars(importlib.import_module(module))] == []


def test_rendering_of_signatures():
    def function(a, /, b, c=(1,), *, d='x', e=len, f=Path('y/z'), **g):
        pass

    assert snapshots.signature_text(function) == "(a, /, b, c=(1,), *, d='x', e=len, f=Path('y/z'), **g)"
