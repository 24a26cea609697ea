"""Errors that end a command with a message instead of a traceback."""

import importlib
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from random_clips import RandomClips
from torch.utils.data import DataLoader, Dataset

from handpose.cli.errors import exit_on_user_error
from handpose.engine.adapter import collate


@pytest.mark.parametrize('package, extra', [('mmcv', 'mmcv'), ('tensorboard', 'train'), ('matplotlib', 'train')])
def test_a_missing_extra_is_named(monkeypatch, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(SystemExit, match=rf"needs the Python package {package}: pip install 'handpose\[{extra}\]'"),
        exit_on_user_error(),
    ):
        try:
            importlib.import_module(package)
        except ImportError:
            raise ImportError('Please run "pip install future"')  # noqa: B904  (as mmengine does)


@pytest.mark.parametrize(
    'body, expected',
    [
        ('raise ValueError("expected 3")', SystemExit),
        ("try:\n        int('x')\n    except ValueError as e:\n        raise KeyError('a word') from e", SystemExit),
        ('int("x")', ValueError),
        ('try:\n        [].remove(1)\n    finally:\n        1 + 1', ValueError),
    ],
)
def test_what_python_says_inside_our_code_is_no_message_of_ours(body, expected):
    names = {'__name__': 'handpose.part'}
    exec(f'def work():\n    {body}', names)
    with pytest.raises(expected), exit_on_user_error():
        names['work']()


class KillsItsLoader(Dataset):
    """Its second sample kills the process that loads it."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_killed_loader_ends_in_a_message():
    with pytest.raises(SystemExit, match=r'num_workers=0.*--shm-size.*--resume'), exit_on_user_error():
        list(DataLoader(KillsItsLoader(), num_workers=1))


SHORT = r'shared memory \(/dev/shm\) is too small .*num_workers=0.*--shm-size.*--resume'


def refuse(self):
    raise RuntimeError('unable to write to file </torch_1_2_3>: No space left on device (28)')


def test_a_batch_that_shared_memory_cannot_hold_ends_in_a_message(monkeypatch):
    clips = RandomClips(length=2)
    monkeypatch.setattr(torch.Tensor, 'share_memory_', refuse)
    assert len(list(DataLoader(clips, batch_size=2, collate_fn=collate))) == 1  # in one process none is needed
    loader = DataLoader(clips, batch_size=2, collate_fn=collate, num_workers=1, multiprocessing_context='fork')
    with pytest.raises(SystemExit, match=SHORT), exit_on_user_error():
        list(loader)


def test_batches_of_loading_processes_are_in_shared_memory():
    (batch,) = DataLoader(RandomClips(length=2), batch_size=2, collate_fn=collate, num_workers=1)
    assert all(value.is_shared() for value in batch['batch'].present().values())
    assert torch.equal(batch['batch'].images[1], RandomClips(length=2).read(1).images)


LOAD = """
import sys
from torch.utils.data import DataLoader
from random_clips import RandomClips
from handpose.engine.adapter import collate
from handpose.cli.errors import exit_on_user_error
with exit_on_user_error():
    list(DataLoader(RandomClips(length=8, size=128), batch_size=4, collate_fn=collate, num_workers=2))
"""
SMALL = 'mount -t tmpfs -o size=256k tmpfs /dev/shm && exec "$@"'


def can_mount():
    if shutil.which('unshare') is None:
        return False
    command = ['unshare', '-m', 'bash', '-c', SMALL, 'bash', 'true']
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason='this user cannot mount a small /dev/shm')
def test_a_small_shared_memory_ends_in_a_message():
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        ['unshare', '-m', 'bash', '-c', SMALL, 'bash', sys.executable, '-c', LOAD],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': paths},
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ') and 'num_workers=0' in last and '--shm-size' in last, done.stderr
