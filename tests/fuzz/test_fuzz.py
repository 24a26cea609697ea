"""Damaged files of every kind: refused by an error of this library that names the file, or read as they were.

`HANDPOSE_FUZZ_INPUTS=10000` tries more than the 2,000 inputs of every run.
"""

import os
import re
from dataclasses import asdict, is_dataclass

import numpy as np
import pytest
import torch
from mutations import mutate
from targets import make_targets

INPUTS = int(os.environ.get('HANDPOSE_FUZZ_INPUTS', 2000))
# What Python, numpy and others say, which must not be shown as a message of ours.
FOREIGN = re.compile(
    r"Errno|codec can't|could not convert|invalid literal|NoneType|object is not|object has no|Expecting |inhomogeneous"
    r'|unpack requires|list index|not subscriptable|unhashable|Traceback|<class|allow_pickle|unexpected keyword'
)


def flat(value):
    """A nested value as a list of leaves, which numpy's comparison takes."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in (str(key), *flat(item))]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def same(a, b):
    a, b = flat(a), flat(b)
    return len(a) == len(b) and all(np.array_equal(x, y) or str(x) == str(y) for x, y in zip(a, b, strict=True))


def finite(value):
    """Whether all numbers that are not marked missing are finite: NaN as such may stand for unknown occlusion."""
    numbers = [np.asarray(leaf) for leaf in flat(value)]
    return not any(array.dtype.kind == 'f' and np.isinf(array).any() for array in numbers)


def verdict(target, path, truth, as_bytes):
    """None, or what is wrong with how a reader takes a damaged file."""
    try:
        found = target.read()
    except ValueError as error:
        text, ours = str(error), type(error).__module__.startswith('handpose')
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        if not ours and not trace.tb_frame.f_globals.get('__name__', '').startswith('handpose'):
            return f'a foreign {type(error).__name__}: {text[:100]}'
        if not any(name in text for name in (path.name, path.parent.name)):
            return f'a message without the name of the file: {text[:100]}'
        return f'the words of another library: {text[:200]}' if FOREIGN.search(text) else None
    except Exception as error:
        return f'a foreign {type(error).__name__}: {str(error)[:100]}'
    if same(found, truth):
        return None
    if target.checked and as_bytes:
        return 'other values in spite of a checksum'
    return None if finite(found) or target.name in ('records', 'ablation table') else 'infinite values'


@pytest.mark.filterwarnings('ignore')
def test_damaged_files(tmp_path):
    targets = make_targets(tmp_path)
    truths = [target.read() for target in targets]
    for target, truth in zip(targets, truths, strict=True):
        assert same(target.read(), truth), target.name
    failures = {}
    for number in range(INPUTS):
        place, rng = number % len(targets), np.random.default_rng([7, number])
        target, truth = targets[place], truths[place]
        path = target.files[number // len(targets) % len(target.files)]
        whole = path.read_bytes()
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        try:
            data, as_bytes = mutate(whole, path.suffix, rng)
            path.write_bytes(data)
            wrong = verdict(target, path, truth, as_bytes)
        finally:
            path.write_bytes(whole)
            os.utime(path, ns=times)
        if wrong:
            failures.setdefault(target.name, []).append(f'input {number}: {wrong}')
    report = [f'{name}: {len(found)}, {found[0]}' for name, found in failures.items()]
    assert not failures, f'{sum(map(len, failures.values()))} of {INPUTS} failed\n' + '\n'.join(report)
