"""Filling missing frames against numpy.interp, coordinate by coordinate."""

import numpy as np
import pytest
import torch

from handpose.models.layers.missing_frames import fill_missing


def interpolated(values, valid):
    """(T, C), (T,) bool -> (T, C) by `numpy.interp`, which keeps the nearest value at the ends."""
    frames = np.arange(len(valid))
    columns = [np.interp(frames, frames[valid], column[valid]) for column in values.T]
    return np.stack(columns, 1)


@pytest.mark.parametrize('num_frames', [1, 2, 9, 40])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.9, 1.0])
def test_is_linear_interpolation(num_frames, share):
    values = torch.randn(6, num_frames, 7, 3, dtype=torch.float64)
    valid = torch.rand(6, num_frames) < share
    valid[torch.arange(6), torch.randint(num_frames, (6,))] = True
    shown = values.masked_fill(~valid[..., None, None], torch.nan)
    filled = fill_missing(shown, valid)
    for hand in range(6):
        wanted = interpolated(values[hand].flatten(1).numpy(), valid[hand].numpy())
        np.testing.assert_allclose(filled[hand].flatten(1).numpy(), wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(filled[valid], values[valid])  # to the bit


def test_a_hand_that_is_never_there_is_zero():
    values = torch.full((2, 4, 21, 3), torch.nan)
    values[1] = 1.0
    filled = fill_missing(values, torch.tensor([[False] * 4, [False, True, False, False]]))
    assert torch.equal(filled[0], torch.zeros(4, 21, 3)) and torch.equal(filled[1], torch.ones(4, 21, 3))


def test_values_alone_as_well_as_points():
    values, valid = torch.tensor([[0.0, 9.0, 9.0, 3.0]]), torch.tensor([[True, False, False, True]])
    torch.testing.assert_close(fill_missing(values, valid), torch.tensor([[0.0, 1.0, 2.0, 3.0]]))
