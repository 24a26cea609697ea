"""The solver of the hand fit: its optimum against small changes of the unknowns, and the smoothness."""

import numpy as np
import pytest
import torch
from viewed_recordings import viewed_recording

from handpose.hands import ProceduralHand
from handpose.hands.fit import SkeletonPose
from handpose.inference.annotation.fit_skeleton import FitSkeleton
from handpose.inference.annotation.fit_solver import FitPart, Robust, minimize, total_cost
from handpose.inference.annotation.fit_start import find_segments, start_pose
from handpose.inference.annotation.fit_views import smoothness_bands, viewed_hand


@pytest.mark.parametrize(('redescending', 'side'), [(False, 1), (True, 0)])
def test_no_small_change_lowers_the_cost(redescending, side):
    """Pose, shape and displaced joints, with smoothness, behind a lens."""
    truth = viewed_recording(5, 2, sides=(side,), noise=0.004, lens=(0.1, -0.05, 0.001, 0.002, 0.01))
    frames, recording = np.arange(5), truth.recording
    skeleton = FitSkeleton(ProceduralHand(), side, own_joints=True)
    views = viewed_hand(recording, 0, skeleton.mirror, frames)
    views = views._replace(bands=smoothness_bands(recording.timestamps, 0.2))
    joints = torch.from_numpy(recording.triangulated[:, 0]).double() * skeleton.mirror
    start = start_pose(skeleton, joints, torch.ones(5, 21, dtype=torch.bool), None, recording.timestamps)
    part, robust = FitPart(skeleton, views, start), Robust(0.01, redescending)
    depths = [views.depths(skeleton.pose(start)[0])]
    (state,), shared = minimize([part], robust, True, 200)
    least = total_cost([part], [state], depths, robust)
    assert least < 0.95 * total_cost([part], [start], depths, robust)
    rng = torch.Generator().manual_seed(0)
    for _ in range(40):
        change = 2e-3 * torch.randn(5, 48, generator=rng, dtype=torch.float64)
        moved = SkeletonPose(
            state.rotation,
            state.position + 0.1 * change[:, :3],
            state.angles + change[:, 3:].unflatten(1, (5, 3, 3)),
            shared + 2e-3 * torch.randn(len(shared), generator=rng, dtype=torch.float64),
        )
        assert total_cost([part], [moved], depths, robust) > least * (1 - 1e-6)


def test_smoothness_is_that_of_second_differences():
    rng = np.random.default_rng(0)
    bands = smoothness_bands(np.arange(7) / 30, 0.5)
    matrix = sum(torch.diag(band, k) + (torch.diag(band, -k) if k else 0) for k, band in enumerate(bands)).numpy()
    values = rng.normal(size=7)
    np.testing.assert_allclose(values @ matrix @ values, 0.25 * (np.diff(values, 2) ** 2).sum())
    assert smoothness_bands(np.arange(2) / 30, 0.5) is None and smoothness_bands(np.arange(7) / 30, 0.0) is None


def test_smoothness_does_not_depend_on_the_frame_rate():
    """A constant acceleration has the same cost a second at 30, at 120, and at uneven frames per second."""
    uneven = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.05, 40))
    for times in (np.arange(31) / 30, np.arange(121) / 120, uneven):
        values = 0.5 * 9.0 * times**2
        bands = smoothness_bands(times, 1.0)
        matrix = sum(torch.diag(band, k) + (torch.diag(band, -k) if k else 0) for k, band in enumerate(bands)).numpy()
        seconds = (times[2:] - times[:-2]).sum() / 2
        np.testing.assert_allclose(values @ matrix @ values, (9.0 / 900) ** 2 * 30 * seconds)


def test_passages():
    seen = np.zeros(40, bool)
    seen[[3, 4, 8, 30, 31]] = True
    assert find_segments(np.arange(40) / 30, seen, 0.5) == [slice(3, 9), slice(30, 32)]
    assert find_segments(np.arange(40) / 30, seen, 0.05) == [slice(3, 5), slice(8, 9), slice(30, 32)]
    assert find_segments(np.arange(40) / 30, np.zeros(40, bool), 0.5) == []
