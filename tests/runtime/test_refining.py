"""Refining with NumPy and an exported network gives what torch gives."""

import numpy as np
import onnx_parts
import pytest
import torch

from handpose.export.network import export_network
from handpose.runtime import ExportedModel, refine_track, refining

pytestmark = [
    pytest.mark.skipif(
        not onnx_parts.CAN_EXPORT,
        reason=onnx_parts.NEEDS,
    ),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope='module')
def refiner(tmp_path_factory):
    path = tmp_path_factory.mktemp('refiner') / 'model.onnx'
    estimator = onnx_parts.build('DSTformer')
    export_network(estimator, path)
    return estimator, ExportedModel(path, 'onnxruntime')


@pytest.mark.parametrize('side', [0, 1])
@pytest.mark.parametrize(('frames', 'rate'), [(31, None), (5, None), (40, 30.0), (40, 50.0), (20, 11.0)])
def test_a_track_is_refined_as_in_torch(refiner, frames, rate, side):
    estimator, model = refiner
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 0.05, (frames, 21, 3)) + [0, 0, 0.5]
    given = rng.random(frames) < 0.8
    times = None if rate is None else np.arange(frames) / rate
    found = refine_track(model, joints, side, times, given)
    expected = estimator.refine(
        torch.from_numpy(joints).float()[:, None],
        torch.from_numpy(given)[:, None],
        torch.tensor([side]),
        times=None if times is None else torch.from_numpy(times),
    ).joints[:, 0]
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)
    assert np.abs(found - joints).max() > 1e-3


def test_long_tracks_are_refined_a_bounded_number_of_windows_at_a_time(refiner, monkeypatch):
    _, model = refiner
    joints = np.random.default_rng(0).normal(0, 0.05, (700, 21, 3))
    monkeypatch.setattr(refining, 'WINDOWS_AT_ONCE', 10_000)
    expected = refine_track(model, joints, 1)
    monkeypatch.undo()
    np.testing.assert_allclose(refine_track(model, joints, 1), expected, atol=1e-6)
    counts = []

    class Copying:
        """A network that gives its input, and notes how many windows it gets."""

        outputs, metadata = model.outputs, model.metadata

        def run(self, inputs):
            counts.append(len(inputs['joints']))
            return {'refined_joints': inputs['joints']}

    track = np.random.default_rng(1).normal(0, 0.05, (10_000, 21, 3))
    np.testing.assert_allclose(refine_track(Copying(), track, 0), track, atol=1e-6)
    assert max(counts) == refining.WINDOWS_AT_ONCE and sum(counts) > 1000


def test_what_does_not_fit_is_refused(refiner):
    _, model = refiner
    with pytest.raises(ValueError, match=r'joints must be \(T, 21, 3\)'):
        refine_track(model, np.zeros((4, 20, 3)), 1)
    with pytest.raises(ValueError, match='with 0'):
        refine_track(model, np.zeros((4, 21, 3)), 1, given=np.zeros(4, bool))
    with pytest.raises(ValueError, match=r'times must have the shape \(4,\)'):
        refine_track(model, np.zeros((4, 21, 3)), 1, np.zeros(3))
    for times in ([0, 0.1, 0.1, 0.2], [0, 0.2, 0.1, 0.3], [0, 0.1, 0.2, np.nan]):
        with pytest.raises(ValueError, match='times must be finite and increase'):
            refine_track(model, np.zeros((4, 21, 3)), 1, times)
    lost = np.zeros((4, 21, 3))
    lost[1, 3] = np.nan
    with pytest.raises(ValueError, match='joints of given frames must be finite'):
        refine_track(model, lost, 1)
    assert np.isfinite(refine_track(model, lost, 1, given=[True, False, True, True])).all()
