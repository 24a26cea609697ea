"""Files of the model zoo that tests need; tests download nothing."""

from pathlib import Path

import pytest

from handpose.zoo.fetch import find
from handpose.zoo.index import default_index


def network_or_skip(name: str) -> Path:
    """The verified file of an entry; skips the test where it is not on this machine."""
    path = find(default_index()[name])
    if path is None:
        pytest.skip(f'{name} is not on this machine; get it with: handpose zoo get {name}')
    return path
