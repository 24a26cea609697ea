"""The house rules that a machine can check."""

import ast
import difflib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'handpose'
LAYERS = {
    'geometry': 0,
    'hands': 0,
    'files': -1,
    'structures': 1,
    'registry': 1,
    'models': 2,
    'datasets': 2,
    'evaluation': 2,
    'video': 2,
    'zoo': 3,
    'engine': 4,
    'visualization': 4,
    'synthesis': 4,
    'inference': 5,
    'experiments': 5,
    'cli': 6,
    '__main__': 7,
}
FILES = sorted(PACKAGE.rglob('*.py'))
# mmengine's own signature, and one whose names are checked against the fields.
MAY_HAVE_KWARGS = {'build_logger', 'replace'}
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            parts = name.split('.')
            if parts[0] == 'handpose' and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_go_down(path):
    package = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
    if package == '__init__':
        assert not list(imported_packages(path))
        return
    for other in imported_packages(path):
        if other == package:
            continue
        # hands may use geometry, the registry is for all, and the packages of layer 2 do not know each other.
        allowed = LAYERS[other] < LAYERS[package] or (package, other) == ('hands', 'geometry') or other == 'registry'
        allowed = allowed or (package, other) in {('engine', 'visualization'), ('visualization', 'engine')}
        assert allowed, f'{package} imports {other}'


def test_no_circles():
    graph = {}
    for path in FILES:
        package = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
        graph.setdefault(package, set()).update(other for other in imported_packages(path) if other != package)

    def reaches(start, goal, seen):
        return any(n == goal or (n not in seen and reaches(n, goal, seen | {n})) for n in graph.get(start, ()))

    assert [package for package in graph if reaches(package, package, {package})] == []


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count('\n') <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60 + 30 * bool(ast.get_docstring(node)), node.name
            assert node.args.kwarg is None or node.name in MAY_HAVE_KWARGS, f'{node.name} has **kwargs'


def test_no_two_configs_are_copies():
    texts = {p: [line for line in p.read_text().splitlines() if line.strip()] for p in CONFIGS}
    for a in CONFIGS:
        assert len(texts[a]) <= 120
        for b in CONFIGS:
            if a < b:
                assert difflib.SequenceMatcher(None, texts[a], texts[b]).ratio() < 0.9, (a, b)


def test_import_is_light():
    """Importing the package loads none of the heavy libraries."""
    code = 'import sys, handpose, handpose.models, handpose.structures; print([m for m in %r if m in sys.modules])'
    heavy = ['mmcv', 'smplx', 'matplotlib', 'mmengine.runner']
    out = subprocess.run([sys.executable, '-c', code % heavy], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == '[]'
