"""Files of the model zoo that tests need; tests download nothing."""

from pathlib import Path

import cv2
import pytest

from handpose.inference.tracking.network import MIN_OPENCV
from handpose.zoo.fetch import find
from handpose.zoo.index import default_index

needs_opencv = pytest.mark.skipif(
    int(cv2.__version__.split('.')[0]) < MIN_OPENCV, reason=f'networks need OpenCV {MIN_OPENCV}'
)


def network_or_skip(name: str) -> Path:
    """The verified file of an entry; skips the test where it is not on this machine."""
    path = find(default_index()[name])
    if path is None:
        pytest.skip(f'{name} is not on this machine; get it with: handpose zoo get {name}')
    return path
