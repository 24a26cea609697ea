"""Frames of a video sorted into the frame periods of a model."""

import numpy as np
import pytest

from handpose.inference.frame_assignment import assign_frames
from handpose.inference.hand_plausibility import plausible_hands


def slots(times, **options):
    found = assign_frames(times, 30.0, options.get('max_pause', 1.0))
    assert sorted(found.frames[found.assigned].tolist()) == list(range(len(times)))  # each frame is answered once
    return found


@pytest.mark.parametrize('rate', [29.97, 30.0, 30.3])
def test_the_rate_of_the_model_is_left_as_it_is(rate):
    found = slots(np.round(np.arange(900) / rate, 3))
    np.testing.assert_array_equal(found.frames, np.arange(900)[None])


@pytest.mark.parametrize('multiple', [2, 3, 4])
def test_a_multiple_is_so_many_videos(multiple):
    found = slots(np.round(np.arange(40 * multiple) / (30 * multiple), 3))
    np.testing.assert_array_equal(found.frames, np.arange(40 * multiple).reshape(40, multiple).T)
    assert found.assigned.all()


def test_slower_and_variable_rates_show_the_frame_that_is_nearest_in_time():
    for times in (
        np.arange(30) / 24,
        np.arange(20) / 15,
        np.concatenate([np.arange(24) / 30, 0.8 + np.arange(24) / 15]),
        np.cumsum(np.random.default_rng(0).integers(20, 48, 200)) / 1000,
    ):
        found = slots(times)
        shown = np.asarray(times)[found.frames] - times[0]
        wanted = np.arange(shown.shape[1]) * found.period
        assert np.abs(shown[0] - wanted).max() <= 0.036  # half the longest interval, and half a slot


def test_dropped_frames_and_pauses():
    times = np.delete(np.arange(40), [7, 8]) / 30
    found = slots(times)
    assert found.frames.shape == (1, 40) and found.frames[0, 6:10].tolist() == [6, 6, 7, 7]
    assert slots([0, 1 / 30, 2 / 30, 100.0, 100 + 1 / 30]).frames.shape == (1, 34)
    assert slots([0.0]).frames.tolist() == [[0]]
    assert slots([0.0, 7200.0]).frames.shape[1] <= 31


def test_plausible_hands():
    import torch

    camera = torch.tensor([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    hand = torch.zeros(21, 3)
    for finger in range(5):
        for k in range(4):
            hand[1 + 4 * finger + k] = torch.tensor([0.02 * (finger - 2), -0.08 - 0.03 * k, 0])

    def check(joints):
        pixels = (joints @ camera.T)[..., :2] / joints[..., 2:]
        return bool(plausible_hands(joints, pixels, (320, 240)))

    near = torch.tensor([0, 0.05, 0.5])
    assert check(hand + near) and check(hand + torch.tensor([0.2, 0.05, 0.5]))  # partly outside
    assert not check(hand + torch.tensor([0.6, 0.05, 0.5]))  # outside
    assert not check(3 * hand + near) and not check(0.2 * hand + near)
    assert not check(hand + torch.tensor([0, 0, -0.5])) and not check(hand + torch.tensor([0, 0, 8.0]))
    assert not check(torch.where(torch.arange(21)[:, None] == 3, torch.nan, hand + near))
