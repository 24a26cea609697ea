"""Predicting a longer track asks the device no more questions: none is asked for each window.

A number that Python needs (`.item()`, `if tensor:`, the size of a selection by a mask) makes it wait for a GPU.
"""

from collections import Counter

import pytest
import test_interface
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from handpose.structures import SPECS, HandSequence

QUESTIONS = ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::masked_select', 'aten::equal', 'aten::is_nonzero')
SELECTIONS = ('aten::index', 'aten::index_put', 'aten::index_put_')
# Those that ask for each batch of images, or for each step of an optimization, and why they may.
EXCEPTIONS = {
    'MVExoNet': 'chooses the views in which a hand is seen, once a batch of images and round',
    'SVEgoNet': 'chooses the hands that are seen, once a batch of images',
    'HandModelTrackFit': 'an optimization, which ends when it has converged',
    'KernelSmoother': 'its hand is fitted by HandModelTrackFit',
    'SmoothNet': 'its hand is fitted by HandModelTrackFit',
}
LENGTHS = (13, 30)  # frames: one batch of images, and several windows


class Questions(TorchDispatchMode):
    """Counts operations for whose result Python waits."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation._schema.name
        if name in QUESTIONS or (name in SELECTIONS and any(is_mask(index) for index in args[1])):
            self.asked[name] += 1
        return operation(*args, **(kwargs or {}))


def is_mask(index):
    return index is not None and index.dtype == torch.bool


def of_length(batch, length):
    """The first clip, its frames repeated until there are `length`."""
    clip = batch.unstack()[0]
    frames = torch.arange(length) % int(clip.frame_valid.sum())
    fields = {name: value[frames] for name, value in clip.present().items() if SPECS[name].shape[:1] == ('T',)}
    fields['timestamps'] = torch.arange(length, dtype=torch.float64) / 30
    meta = {**clip.meta, 'frame_indices': list(range(length)), 'fps': 30.0}
    return HandSequence.stack([clip.replace(meta=meta, future=None, **fields)])


def questions(estimator, batch):
    estimator.predict(batch, generator=torch.Generator().manual_seed(0))  # the first time may fill caches
    with Questions() as counted:
        estimator.predict(batch, generator=torch.Generator().manual_seed(0))
    return counted.asked


@pytest.mark.parametrize('name', [name for name in test_interface.registered() if name not in EXCEPTIONS])
def test_no_question_for_each_window(name):
    estimator, batch, _ = test_interface.build(name)
    short, long = (questions(estimator.eval(), of_length(batch, length)) for length in LENGTHS)
    assert long == short


def test_questions_are_noticed():
    x = torch.arange(4)
    with Questions() as counted:
        assert x.sum().item() == 6 and bool(x[1])
        x[x > 1] = 0
        x.nonzero()
    assert counted.asked == {'aten::_local_scalar_dense': 2, 'aten::index_put_': 1, 'aten::nonzero': 1}
