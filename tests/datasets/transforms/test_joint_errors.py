import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from handpose.datasets.transforms.joint_errors import delayed, frozen_frames, joint_errors, joint_jumps
from handpose.datasets.transforms.noise_options import SILENT, NoiseOptions
from handpose.datasets.transforms.noise_processes import SLOW

FPS = 30.0
RAY = np.array([0.6, 0.0, 0.8])


def sample(count, frames=40, fps=FPS, **changes):
    """Errors (count, T, 21, 3) of independent clips, total and persistent."""
    options = NoiseOptions(**{**vars(SILENT), 'depth_ratio': 1.0, **changes})
    palm, ray = np.broadcast_to(np.eye(3), (frames, 3, 3)), np.broadcast_to(RAY, (frames, 1, 3))
    clips = [joint_errors(np.random.default_rng(seed), palm, ray, fps, options) for seed in range(count)]
    return np.stack([clip.total for clip in clips]), np.stack([clip.persistent for clip in clips])


@pytest.mark.parametrize('fps', [30.0, 10.0])
def test_drift_has_the_autocorrelation_of_its_processes_in_seconds(fps):
    times, fractions = (2.0, 0.2), (3.0, 1.0)
    assert times[1] < SLOW <= times[0]
    total, persistent = sample(60, fps=fps, joint_drift=0.004, joint_drift_times=times, joint_drift_fractions=fractions)
    assert total.std() == pytest.approx(0.004, rel=0.05)
    for lag in (1, 5, 15):
        wanted = 0.75 * np.exp(-lag / fps / 2.0) + 0.25 * np.exp(-lag / fps / 0.2)
        found = (total[:, lag:] * total[:, :-lag]).mean() / 0.004**2
        assert found == pytest.approx(wanted, abs=0.04)
        slow = (persistent[:, lag:] * persistent[:, :-lag]).mean() / 0.004**2
        assert slow == pytest.approx(0.75 * np.exp(-lag / fps / 2.0), abs=0.04)
    fast = (total - persistent).std()
    assert fast == pytest.approx(0.004 * np.sqrt(0.25), rel=0.05)


def test_shares_are_the_correlations_between_joints():
    """Same finger: its share and the hand's; other fingers and the wrist: the hand's."""
    total, _ = sample(400, joint_noise=0.002, jitter_freedom=np.inf, joint_shares=(2.0, 1.0, 1.0))
    x = total.reshape(-1, 21, 3).transpose(1, 0, 2).reshape(21, -1)
    correlation = np.corrcoef(x)
    finger = np.array([-1, *np.repeat(np.arange(5), 4)])
    wanted = np.where(finger[:, None] == finger, 0.5, 0.25) + 0.5 * np.eye(21)
    np.testing.assert_allclose(correlation, wanted, atol=0.03)
    np.testing.assert_allclose(x.std(1), 0.002, rtol=0.03)


def test_noise_is_white_with_students_tails():
    total, persistent = sample(60, joint_noise=0.002, jitter_freedom=3.0)
    assert not persistent.any()
    assert abs(np.corrcoef(total[:, 1:].ravel(), total[:, :-1].ravel())[0, 1]) < 0.02
    law = stats.t(3.0)
    scaled = total[:, ::7, 9, 0].ravel() / 0.002 * law.ppf(0.75) / stats.norm.ppf(0.75)
    assert stats.kstest(scaled, law.cdf).pvalue > 1e-3


def test_spread_is_that_of_the_joints_sizes():
    total, _ = sample(100, frames=400, joint_noise=0.002, jitter_freedom=np.inf, joint_spread=0.5)
    sizes = np.log(total.std((1, 3)) / 0.002)
    assert sizes.std() == pytest.approx(0.5, abs=0.03) and sizes.mean() == pytest.approx(0, abs=0.04)


def test_errors_along_the_ray_are_larger():
    total, _ = sample(60, joint_drift=0.004, depth_ratio=2.0)
    along = total @ RAY
    across = np.linalg.norm(total - along[..., None] * RAY, axis=-1) / np.sqrt(2)
    ratio = np.sqrt((along**2).mean() / (across**2).mean())
    assert ratio == pytest.approx(2, rel=0.1)


def test_jumps_are_poisson_bursts_of_single_joints():
    options = NoiseOptions(**{**vars(SILENT), 'joint_jump_rate': 0.8, 'joint_jump_duration': 0.25})
    errors = np.stack([joint_jumps(np.random.default_rng(seed), 60, FPS, options) for seed in range(150)])
    moved = errors.any(-1)
    assert moved.mean() == pytest.approx(1 - np.exp(-0.8 * 0.25), rel=0.05)  # of M/G/infinity, each joint on its own
    # Bursts under way at one of two times are Poisson with this mean: those at both share exponential durations.
    either = 0.8 * 0.25 * (2 - np.exp(-5 / FPS / 0.25))
    assert (~moved[:, 5:] & ~moved[:, :-5]).mean() == pytest.approx(np.exp(-either), rel=0.02)
    both = (moved[:, :, 5] & moved[:, :, 6]).mean()
    assert both == pytest.approx((1 - np.exp(-0.2)) ** 2, rel=0.25)  # neighbours are independent


def test_an_offset_turns_with_the_palm():
    options = NoiseOptions(**{**vars(SILENT), 'joint_offset': 0.003})
    palm = Rotation.from_rotvec([[0, 0, 0], [0.3, -1, 0.4]]).as_matrix()
    ray = np.broadcast_to(RAY, (2, 1, 3))
    errors = joint_errors(np.random.default_rng(0), palm, ray, FPS, options)
    np.testing.assert_allclose(errors.total[0] @ palm[0], errors.total[1] @ palm[1], atol=1e-12)
    np.testing.assert_array_equal(errors.total, errors.persistent)
    many, _ = sample(200, frames=1, joint_offset=0.003)
    assert many.std() == pytest.approx(0.003, rel=0.05)


def test_nothing_is_drawn_for_errors_of_zero():
    rng = np.random.default_rng(5)
    palm, ray = np.broadcast_to(np.eye(3), (9, 3, 3)), np.broadcast_to(RAY, (9, 1, 3))
    errors = joint_errors(rng, palm, ray, FPS, SILENT)
    assert not errors.total.any() and not errors.persistent.any()
    np.testing.assert_array_equal(frozen_frames(rng, 9, FPS, SILENT), np.arange(9))
    assert rng.random() == np.random.default_rng(5).random()


def test_a_lag_shows_what_was():
    line = np.arange(10.0)[:, None, None] * np.ones((10, 21, 3))
    late = delayed(line, 0.05, FPS)  # one and a half frames
    np.testing.assert_allclose(late[:, 0, 0], [0, 0, *np.arange(0.5, 8)], atol=1e-12)
    assert delayed(line, 0.0, FPS) is line
    np.testing.assert_allclose(delayed(line, 100.0, FPS), 0)


def test_frozen_frames_repeat_the_last_answer_for_their_share_of_time():
    options = NoiseOptions(**{**vars(SILENT), 'frozen_rate': 0.7, 'frozen_duration': 0.3})
    shown = np.stack([frozen_frames(np.random.default_rng(seed), 60, FPS, options) for seed in range(1500)])
    own = np.arange(60)
    assert (shown <= own).all() and (np.diff(shown, axis=1) >= 0).all()
    repeated = shown[:, 1:] < own[1:]
    assert repeated.mean() == pytest.approx(1 - np.exp(-0.7 * 0.3), abs=0.02)
    # Within a burst the shown frame stays the same.
    assert (shown[:, 1:][repeated] == shown[:, :-1][repeated]).all()
