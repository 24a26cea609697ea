"""Rules of the code base that a machine can check: layers, sizes, signatures, names."""

import ast
import difflib
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'handpose'
# A module may import modules of lower layers and of its own package; in layers 0 and 1 also its neighbours.
LAYERS = (
    ('deprecation', 'files', 'geometry', 'hands', 'runtime', 'system', 'text'),
    ('registry', 'structures'),
    ('datasets', 'evaluation', 'models', 'video'),
    ('zoo',),
    ('engine', 'export', 'synthesis', 'visualization'),
    ('inference',),
    ('experiments',),  # benchmarks measure what users call
    ('cli',),
    ('__main__',),
)
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
# The module `handpose` itself: everybody reads its version, so it is below all others; what it offers to users it
# imports from any layer, but only when it is called.
LAYER_OF[''] = -1
SHARED_LAYERS = (0, 1)
# mmengine's own signature, and one whose names are checked against the fields.
MAY_HAVE_KWARGS = {'build_logger', 'replace'}
FILES = sorted(PACKAGE.rglob('*.py'))
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_name(path): path for path in FILES}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


@cache
def home(module, name):
    """The module in which `from module import name` finds `name`: a package passes on what its modules define."""
    if f'{module}.{name}' in MODULES:
        return f'{module}.{name}'
    for node in ast.walk(TREES[module]) if MODULES[module].stem == '__init__' else ():
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith('handpose'):
            for alias in node.names:
                if name in (alias.name, alias.asname) and node.module in MODULES:
                    return home(node.module, alias.name)
    return module


def imported_modules(name):
    """Modules of this library that a module imports, those imported inside functions included."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{name} has a relative import'
            if node.module in MODULES:
                yield from (home(node.module, alias.name) for alias in node.names)


IMPORTS = {name: sorted(set(imported_modules(name)) - {name}) for name in MODULES}


def package_of(module):
    return module.split('.')[1] if '.' in module else ''


def test_every_package_has_a_layer():
    assert {package_of(module) for module in MODULES} <= set(LAYER_OF)


def may_import(package, other):
    layer, below = LAYER_OF[package], LAYER_OF[other]
    return package in ('', other) or below < layer or (below == layer and layer in SHARED_LAYERS)


def test_imports_only_go_down():
    wrong = [
        f'{module} imports {other}'
        for module in MODULES
        for other in IMPORTS[module]
        if not may_import(package_of(module), package_of(other))
    ]
    assert not wrong, '\n'.join(wrong)


def test_the_top_module_imports_when_it_is_called():
    imports = (ast.Import, ast.ImportFrom)
    at_once = [node.module for node in TREES['handpose'].body if isinstance(node, imports)]
    assert at_once == ['typing']


def test_no_import_cycles():
    """Tarjan's strongly connected components. A package passes names on and is no link of a chain itself."""
    graph = {m: [o for o in others if MODULES[o].stem != '__init__'] for m, others in IMPORTS.items()}
    order, lowest, stack, cycles = {}, {}, [], []

    def visit(module):
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == order[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1:
                cycles.append(' <-> '.join(component))

    for module in graph:
        if module not in order:
            visit(module)
    assert not cycles, '\n'.join(cycles)


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count('\n') <= 400
    for node in functions(ast.parse(text)):
        assert node.end_lineno - node.lineno < 60 + 30 * bool(ast.get_docstring(node)), node.name
        assert node.args.kwarg is None or node.name in MAY_HAVE_KWARGS, f'{node.name} has **kwargs'


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def public_functions(tree):
    """Functions of a module and methods of its classes that a user may call, and the constructors."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
            yield node, False
        elif isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and (method.name == '__init__' or method.name[0] != '_'):
                    static = any(isinstance(d, ast.Name) and d.id == 'staticmethod' for d in method.decorator_list)
                    yield method, not static


def untyped(tree):
    """Names of parameters and results without a type in the public signatures of a module."""
    for function, is_method in public_functions(tree):
        arguments = function.args
        parameters = [*arguments.posonlyargs, *arguments.args][is_method:] + arguments.kwonlyargs
        parameters += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
        yield from (f'{function.name}({p.arg})' for p in parameters if p.annotation is None)
        if function.returns is None:
            yield f'{function.name} -> ?'


def test_public_signatures_are_typed():
    missing = [f'{module}: {what}' for module, tree in TREES.items() for what in untyped(tree)]
    assert not missing, '\n'.join(missing)


def test_class_names_are_unique():
    places = defaultdict(list)
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def argument_names(node):
    """The arguments that the docstring of a function or class can describe."""
    if isinstance(node, ast.FunctionDef):
        return {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
    fields = {m.target.id for m in node.body if isinstance(m, ast.AnnAssign) and isinstance(m.target, ast.Name)}
    constructors = (m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == '__init__')
    return fields.union(*map(argument_names, constructors))


def test_docstrings_have_one_argument_per_line():
    wrong = []
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else None
            found = re.search(r'^Args:\n(.*?)(\n\n|\Z)', text or '', flags=re.DOTALL | re.MULTILINE)
            names = '|'.join(argument_names(node)) if found else ''
            if names and re.search(rf'[.;]\s({names}): |^ +({names}), ({names})(, |: )', found[1], flags=re.MULTILINE):
                wrong.append(f'{module}.{node.name}')
    assert wrong == []


def test_no_two_configs_are_copies():
    texts = {p: [line for line in p.read_text().splitlines() if line.strip()] for p in CONFIGS}
    for a in CONFIGS:
        assert len(texts[a]) <= 120
        for b in CONFIGS:
            if a < b:
                assert difflib.SequenceMatcher(None, texts[a], texts[b]).ratio() < 0.9, (a, b)


def test_import_is_light():
    """Importing the package loads none of the heavy libraries."""
    packages = 'handpose, handpose.models, handpose.datasets, handpose.evaluation, handpose.structures'
    code = f'import sys, {packages}; print([m for m in %r if m in sys.modules])'
    heavy = ['mmcv', 'smplx', 'matplotlib', 'mmengine.runner', 'scipy']
    out = subprocess.run([sys.executable, '-c', code % heavy], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == '[]'
