"""Golden files: exact numbers in JSON, the machine that made them, and the comparison with new ones."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handpose.experiments.machine import cpu_name

FOLDER = Path(__file__).parent
RELATIVE, ABSOLUTE = 1e-4, 1e-7  # tolerance on another machine or with other library versions
# Gradients jump where a ReLU's input, or the error in an L1 loss, passes zero: rounding decides, and losses stay.
RELATIVE_OF_GRADIENTS = 1e-2
MAX_DIFFERENCES = 10  # reported at once


def machine() -> dict[str, str]:
    """What decides the last bits of a number: the CPU model and the versions of torch and numpy."""
    return {'cpu': cpu_name(), 'torch': torch.__version__, 'numpy': np.__version__}


def golden_path(name: str) -> Path:
    return FOLDER / f'{name}.json'


def write_golden(name: str, content: dict[str, Any]) -> Path:
    """Writes a golden file. Python writes the shortest decimals that give the same float64 back."""
    golden_path(name).write_text(as_json({'machine': machine(), **content}) + '\n')
    return golden_path(name)


def read_golden(name: str) -> tuple[bool, dict[str, Any]]:
    """Reads a golden file: whether it was made on a machine like this one, and its content."""
    content = json.loads(golden_path(name).read_text())
    return content.pop('machine') == machine(), content


def as_json(value: Any, indent: int = 0) -> str:
    """JSON with one line per dict entry and lists on one line, so that diffs can be read."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = ' ' * (indent + 1)
    entries = (f'{inner}{json.dumps(key)}: {as_json(item, indent + 1)}' for key, item in value.items())
    return '{\n' + ',\n'.join(entries) + '\n' + ' ' * indent + '}'


def assert_golden(name: str, content: dict[str, Any], entry: str | None = None) -> None:
    """Asserts that new content is the golden file's, bit-equal on the same machine and close on another one.

    Args:
        name: of the golden file.
        content: what it should hold.
        entry: the entry of the file that `content` is; None: all of it.
    """
    exact, expected = read_golden(name)
    expected = expected if entry is None else expected[entry]
    found = json.loads(as_json(content))  # with JSON's types: lists instead of tuples
    differences = list_differences(expected, found, exact)
    assert not differences, (
        f'{len(differences)} numbers differ from {golden_path(name)} '
        f'({"bit-equality expected" if exact else f"made on another machine, relative tolerance {RELATIVE}"}):\n'
        + '\n'.join(differences[:MAX_DIFFERENCES])
        + f'\nIf the change is intended: `python tests/golden/record.py {name}`, and explain it in the commit.'
    )


def list_differences(expected: Any, found: Any, exact: bool, where: str = '') -> list[str]:
    """Lists the entries that differ as `path: expected ..., found ...`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        differences = [f'{where}/{key}: missing now' for key in expected if key not in found]
        differences += [f'{where}/{key}: not in the golden file' for key in found if key not in expected]
        both = [key for key in expected if key in found]
        return differences + [d for k in both for d in list_differences(expected[k], found[k], exact, f'{where}/{k}')]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [d for i, (e, f) in pairs for d in list_differences(e, f, exact, f'{where}[{i}]')]
    relative = RELATIVE_OF_GRADIENTS if where.startswith('/gradient_norms') else RELATIVE
    if is_same(expected, found, exact, relative):
        return []
    return [f'{where}: expected {expected!r}, found {found!r}{relative_difference(expected, found)}']


def is_same(expected: Any, found: Any, exact: bool, relative: float = RELATIVE) -> bool:
    if not (isinstance(expected, float) and isinstance(found, float)):
        return type(expected) is type(found) and expected == found
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    return expected == found if exact else math.isclose(expected, found, rel_tol=relative, abs_tol=ABSOLUTE)


def relative_difference(expected: Any, found: Any) -> str:
    if not (isinstance(expected, float) and isinstance(found, float)) or expected == 0:
        return ''
    return f' (relative difference {abs(found / expected - 1):.1e})'


def tensor_digest(value: torch.Tensor, first: int = 8) -> dict[str, Any]:
    """Shape, first values, mean and mean magnitude of a tensor, as float64."""
    flat = value.detach().double().flatten()
    return {
        'shape': list(value.shape),
        'first': flat[:first].tolist(),
        'mean': float(flat.nanmean()),
        'magnitude': float(flat.abs().nanmean()),
    }
