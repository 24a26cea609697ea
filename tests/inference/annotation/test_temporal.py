"""Temporal refinement of a recording: the world, missing joints, what it states, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from annotated_recordings import make_recording

from handpose.inference import load_refiner
from handpose.inference.annotation.temporal import measure_change, open_refiner, refine_recording
from handpose.inference.refiner import Refiner
from handpose.registry import MODELS
from handpose.structures.annotated_recording import RecordingError


def noisy_recording(noise=0.004, **changes):
    recording = make_recording(frames=60, **changes)
    shaken = recording.joints_3d + noise * np.random.default_rng(0).normal(size=recording.joints_3d.shape)
    return replace(recording, joints_3d=shaken), recording.joints_3d


def error(recording, truth):
    return np.linalg.norm(recording.joints_3d - truth, axis=-1)[recording.joints_valid].mean()


def test_a_filter_in_the_world():
    recording, truth = noisy_recording()
    refined = refine_recording(recording, open_refiner('gaussian'))
    assert error(refined, truth) < 0.6 * error(recording, truth)
    assert (refined.joints_valid == recording.joints_valid).all() and refined.hand_pose is None
    assert refined.method == 'truth; refined by GaussianFilter'
    before, after = (np.nanmedian(r.reprojection_errors()) for r in (recording, refined))
    assert f'reprojection error {before:.2f} px before and {after:.2f} px after' in refined.notes[-1]
    assert after < before and 'less well' not in refined.notes[-1]


def test_the_world_does_not_matter():
    """The same cameras and hands, turned: the same refined hands, turned."""
    recording, _ = noisy_recording(cameras=4)
    names = recording.calibration.names
    order = [2, 0, 1, 3]
    other = replace(
        recording,
        calibration=recording.calibration.select([names[k] for k in order]),
        joints_2d=recording.joints_2d[:, order],
    )
    first, second = (refine_recording(r, load_refiner(method='gaussian')).joints_3d for r in (recording, other))
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_missing_joints_and_gaps_stay_missing():
    recording, truth = noisy_recording()
    valid = recording.joints_valid.copy()
    valid[10:12] = False
    valid[20:50, 0, 7] = False
    recording = replace(recording, joints_valid=valid)
    refined = refine_recording(recording, open_refiner('savitzky_golay'))
    assert (refined.joints_valid == valid).all() and error(refined, truth) < 0.7 * error(recording, truth)


def test_a_learned_refiner_takes_whole_hands():
    """An untrained refiner on frames with all joints; the others keep what they had."""
    recording, _ = noisy_recording(sides=(1,))
    valid = recording.joints_valid.copy()
    valid[:40, 0, 7] = False
    recording = replace(recording, joints_valid=valid)
    network = dict(channels=32, depth=1, num_heads=2, groups=2, frame_rate=30.0, num_frames=9, stride=4)
    model = dict(type='PDTM', hand_model=dict(type='ProceduralHand'), **network)
    refiner = Refiner(MODELS.build(model))
    refined = refine_recording(recording, refiner)
    same = np.abs(refined.joints_3d - recording.joints_3d).max(-1) == 0
    assert same[:40][valid[:40]].all() and not same[40:].all()
    with pytest.raises(RecordingError, match='needs frames with all 21 joints'):
        valid[..., 7] = False
        refine_recording(replace(recording, joints_valid=valid), refiner)


def test_a_note_warns_of_joints_that_fit_worse():
    recording = make_recording(frames=60, noise=0.3)
    fast = recording.joints_3d.copy()
    fast[::2, ..., 0] += 0.01
    pixels = recording.project(fast)
    recording = replace(recording, joints_3d=fast, joints_2d=pixels + 0.3)
    refined = refine_recording(recording, open_refiner('gaussian'))
    assert 'fit the images less well than before' in refined.notes[-1]
    change = measure_change(recording, fast)
    assert change.moved < 1e-3 and change.error_before == pytest.approx(change.error_after)


def test_bad_input():
    recording = make_recording()
    with pytest.raises(RecordingError, match='nothing to refine'):
        refine_recording(replace(recording, joints_valid=np.zeros((12, 2, 21), bool)), open_refiner('gaussian'))
    with pytest.raises(ValueError, match='gaussain'):
        open_refiner('gaussain')
