import signal

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True, scope='session')
def interruptible():
    """Ctrl-C ends processes that tests start, even if the tests run in the background of a shell, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def in_torch(monkeypatch):
    """Predictions in torch, unless a test asks for another runtime: exporting takes seconds."""
    monkeypatch.setenv('HANDPOSE_RUNTIME', 'torch')


@pytest.fixture(autouse=True)
def seeded():
    """The same random draws in every run, whatever ran before: a test that fails, fails again."""
    torch.manual_seed(0)
    np.random.seed(0)
