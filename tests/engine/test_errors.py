"""Errors that end a command with a message instead of a traceback."""

import importlib
import os
import signal
import sys

import pytest
from torch.utils.data import DataLoader, Dataset

from handpose.engine.errors import sentences


@pytest.mark.parametrize('package, extra', [('mmcv', 'mmcv'), ('tensorboard', 'train'), ('matplotlib', 'train')])
def test_a_missing_extra_is_named(monkeypatch, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(SystemExit, match=rf"needs the Python package {package}: pip install 'handpose\[{extra}\]'"),
        sentences(),
    ):
        try:
            importlib.import_module(package)
        except ImportError:
            raise ImportError('Please run "pip install future"')  # noqa: B904  (as mmengine does)


class KillsItsLoader(Dataset):
    """Its second sample kills the process that loads it."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_killed_loader_ends_in_a_message():
    with pytest.raises(SystemExit, match=r'num_workers=0.*--shm-size.*--resume'), sentences():
        list(DataLoader(KillsItsLoader(), num_workers=1))
