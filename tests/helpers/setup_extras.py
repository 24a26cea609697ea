"""The extras of setup.py, read without running it."""

import ast
from pathlib import Path

SETUP = (Path(__file__).parents[2] / 'setup.py').read_text(encoding='utf-8')


def read_extras():
    """{extra: [requirement]}, but for 'all', which joins others."""
    extras = {}
    for node in ast.walk(ast.parse(SETUP)):
        if isinstance(node, ast.Assign) and node.targets[0].id == 'EXTRAS':
            extras |= ast.literal_eval(node.value)
        if isinstance(node, ast.Dict):
            extras |= {k.value: ast.literal_eval(v) for k, v in zip(node.keys, node.values, strict=True) if is_test(k)}
    return extras


def is_test(key):
    return isinstance(key, ast.Constant) and key.value == 'test'
