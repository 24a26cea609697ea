import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import trapezoid

from handpose.evaluation import (
    acceleration_errors,
    auc,
    auc_scores,
    f_score,
    joint_mean,
    mpjpe,
    mpvpe,
    pck,
    pck_scores,
    point_errors,
)
from handpose.evaluation.alignment import ALIGNMENTS


def hands(count=6, joints=21, seed=0):
    """A target and a prediction that is turned, scaled, moved and noisy, in millimetres."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(count, joints, 3)) * [30, 60, 20] + [10, 20, 600]
    turned = target @ np.linalg.qr(rng.normal(size=(3, 3)))[0].T
    return 0.9 * turned + 40 + rng.normal(size=target.shape) * 8, target


def scipy_aligned(prediction, target):
    """The official evaluators' way: unit Frobenius norms, scipy's orthogonal Procrustes, one sample at a time."""
    centred, goal = prediction - prediction.mean(0), target - target.mean(0)
    size, goal_size = np.linalg.norm(centred), np.linalg.norm(goal)
    rotation, scale = scipy.linalg.orthogonal_procrustes(goal / goal_size, centred / size)
    return centred / size @ rotation.T * scale * goal_size + target.mean(0)


def looped(prediction, target, align):
    """Joint mean of errors, by loops."""
    means = []
    for j in range(target.shape[1]):
        means.append(
            sum(np.sqrt(((align(p, t)[j] - t[j]) ** 2).sum()) for p, t in zip(prediction, target, strict=True))
        )
    return sum(means) / len(means) / len(target)


def wrist_to_wrist(p, t):
    return p - p[0] + t[0]


def bone_scaled(p, t):
    return (p - p[0]) * np.linalg.norm(t[9] - t[0]) / np.linalg.norm(p[9] - p[0]) + t[0]


@pytest.mark.parametrize(
    'alignment, reference',
    [
        ('none', lambda p, t: p),
        ('wrist', wrist_to_wrist),
        ('wrist_bone_scaled', bone_scaled),
        ('procrustes', scipy_aligned),
    ],
)
def test_mpjpe_equals_the_loop(alignment, reference):
    prediction, target = hands()
    assert mpjpe(prediction, target, alignment=alignment) == pytest.approx(
        looped(prediction, target, reference), rel=1e-6
    )


def test_a_mirrored_hand_is_perfect_only_where_reflection_is_allowed():
    _, target = hands()
    mirrored = target * [-1, 1, 1]
    assert mpjpe(mirrored, target, alignment='procrustes') < 1e-4
    assert mpjpe(mirrored, target, alignment='procrustes_rotation') > 5


def test_rotation_alignment_never_beats_reflection_and_equals_it_for_a_small_turn():
    _, target = hands()
    noisy = target + np.random.default_rng(1).normal(size=target.shape) * 3
    both = [point_errors(noisy, target, alignment=name) for name in ('procrustes', 'procrustes_rotation')]
    np.testing.assert_allclose(*both, atol=1e-9)


def test_invalid_points_neither_count_nor_pull():
    prediction, target = hands()
    valid = np.random.default_rng(2).random(target.shape[:2]) > 0.3
    valid[:, [0, 9]] = True
    broken = np.where(valid[..., None], prediction, np.nan)
    for alignment, reference in (('wrist', wrist_to_wrist), ('procrustes', scipy_aligned)):
        errors = point_errors(broken, target, valid, alignment)
        assert (np.isnan(errors) == ~valid).all()
        for n, keep in enumerate(valid):
            expected = np.linalg.norm(reference(prediction[n, keep], target[n, keep]) - target[n, keep], axis=-1)
            np.testing.assert_allclose(errors[n, keep], expected, atol=1e-4)


@pytest.mark.parametrize(
    'alignment, invalid',
    [('wrist', [0]), ('wrist_bone_scaled', [0]), ('wrist_bone_scaled', [9]), ('procrustes', range(2, 21))],
)
def test_what_an_alignment_needs_and_lacks_is_nan(alignment, invalid):
    prediction, target = hands(count=1)
    valid = np.ones((1, 21), bool)
    valid[:, list(invalid)] = False
    assert np.isnan(point_errors(prediction, target, valid, alignment)).all()


@pytest.mark.parametrize('alignment', ['none', 'wrist', 'wrist_bone_scaled', 'procrustes', 'procrustes_rotation'])
def test_a_collapsed_prediction_is_an_error_not_a_nan(alignment):
    _, target = hands()
    assert mpjpe(np.zeros_like(target), target, alignment=alignment) > 10


def test_joint_mean_averages_joints_first():
    assert joint_mean([[1.0, 10.0], [3.0, np.nan]]) == 6.0
    assert np.isnan(joint_mean(np.full((2, 3), np.nan)))


def test_mpvpe_uses_the_joints_beside_the_mesh():
    prediction, target = hands(joints=50)
    joints = hands(seed=7)
    plain, scaled = [], []
    for mesh, true_mesh, hand, true_hand in zip(prediction, target, *joints, strict=True):
        ratio = np.linalg.norm(true_hand[9] - true_hand[0]) / np.linalg.norm(hand[9] - hand[0])
        for vertex, true_vertex in zip(mesh, true_mesh, strict=True):
            plain.append(np.linalg.norm((vertex - hand[0]) - (true_vertex - true_hand[0])))
            scaled.append(np.linalg.norm(ratio * (vertex - hand[0]) - (true_vertex - true_hand[0])))
    assert mpvpe(prediction, target, 'wrist', *joints) == pytest.approx(np.mean(plain))
    assert mpvpe(prediction, target, 'wrist_bone_scaled', *joints) == pytest.approx(np.mean(scaled))
    assert abs(np.mean(plain) - np.mean(scaled)) > 1
    assert mpvpe(prediction, target, 'procrustes') == pytest.approx(looped(prediction, target, scipy_aligned), rel=1e-6)
    with pytest.raises(ValueError, match='needs prediction_joints and target_joints'):
        mpvpe(prediction, target, 'wrist')
    with pytest.raises(ValueError, match=r'expected \(6, 21, 3\) for vertices \(6, 50, 3\), got \(5, 21, 3\)'):
        mpvpe(prediction, target, 'wrist', *(hand[:5] for hand in joints))


def test_a_mesh_of_the_wrong_size_alone_is_perfect_once_scaled():
    _, joints = hands()
    _, mesh = hands(joints=50)
    assert mpvpe(1.2 * mesh, mesh, 'wrist_bone_scaled', 1.2 * joints, joints) == pytest.approx(0, abs=1e-9)
    assert mpvpe(1.2 * mesh, mesh, 'wrist', 1.2 * joints, joints) > 10


@pytest.mark.parametrize('alignment', list(ALIGNMENTS))
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize('name', ['prediction', 'target'])
def test_a_point_that_is_no_number_is_an_error_and_never_left_out(alignment, value, name):
    pair = dict(zip(('prediction', 'target'), hands(), strict=True))
    pair[name][2, 5, 1] = value
    with pytest.raises(ValueError, match=rf'{name}: 1 of 126 valid points .* first at index \(2, 5\)'):
        mpjpe(**pair, alignment=alignment)
    pair[name][:] = value
    with pytest.raises(ValueError, match=f'{name}: 126 of 126 valid points are NaN, infinite'):
        mpjpe(**pair, alignment=alignment)
    assert np.isnan(mpjpe(**pair, valid=np.zeros((6, 21), bool), alignment=alignment))


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_other_metrics_refuse_what_is_no_number(value):
    prediction, target = hands()
    joints = hands(seed=7)
    broken = np.array(prediction)
    broken[4, 3, 2] = value
    with pytest.raises(ValueError, match=r'prediction: 1 of 126 valid points'):
        acceleration_errors(broken, target, np.arange(6))
    with pytest.raises(ValueError, match='f_score: prediction has points that are NaN or infinite'):
        f_score(broken[4], target[4], [5])
    with pytest.raises(ValueError, match='f_score: target has points'):
        f_score(target[4], broken[4], [5])
    for alignment in ('wrist', 'wrist_bone_scaled', 'procrustes'):
        with pytest.raises(ValueError, match='prediction: 1 of 126 valid'):
            mpvpe(broken, target, alignment, *joints)
    joints[0][1, 0] = value
    with pytest.raises(ValueError, match='prediction: 1 of 126 valid joints'):
        mpvpe(prediction, target, 'wrist', *joints)


def test_nothing_to_score_is_nan_and_never_a_number():
    nothing = np.zeros((0, 21, 3))
    for alignment in ALIGNMENTS:
        assert np.isnan(mpjpe(nothing, nothing, alignment=alignment))
    assert np.isnan(pck([], 20)) and np.isnan(auc(np.zeros((0, 21)), 0, 50, 100))
    with pytest.raises(ValueError, match=r'prediction must be \(V, 3\) with at least one point, got \(0, 3\)'):
        f_score(np.zeros((0, 3)), np.zeros((1, 3)), [5])
    with pytest.raises(ValueError, match='at least one threshold'):
        f_score(np.zeros((1, 3)), np.zeros((1, 3)), [])


@pytest.mark.parametrize(
    'errors, threshold, expected',
    [([[20.0]], 20, 1), ([[20.01]], 20, 0), ([[0.0, 30.0]], 0, 0.5), ([[5.0, np.nan]], 5, 1)],
)
def test_pck_counts_the_threshold_itself(errors, threshold, expected):
    assert pck(errors, threshold) == expected


@pytest.mark.parametrize('low, high, steps', [(0, 50, 100), (20, 50, 21), (0, 80, 33), (0, 1, 2)])
def test_auc_equals_the_trapezoid_of_the_curve(low, high, steps):
    errors = np.random.default_rng(3).gamma(2, 12, (200, 21))
    errors[0, :3] = [low, high, (low + high) / 2]
    thresholds = np.linspace(low, high, steps)
    areas = [trapezoid([(errors[:, j] <= t).mean() for t in thresholds], thresholds) for j in range(21)]
    assert auc(errors, low, high, steps) == pytest.approx(np.mean(areas) / (high - low))


@pytest.mark.parametrize('error, expected', [(0, 1), (50, 0.5 / 99), (50.1, 0), (np.nan, np.nan)])
def test_auc_of_one_error(error, expected):
    assert auc_scores([error], 0, 50, 100)[0] == pytest.approx(expected, nan_ok=True)


def test_scores_of_missing_errors_are_missing():
    assert np.isnan(pck_scores([np.nan], 20)).all()
    with pytest.raises(ValueError, match='at least 2 steps'):
        auc_scores([1.0], 0, 50, 1)


def test_f_score_equals_the_double_loop_and_is_strict():
    rng = np.random.default_rng(4)
    prediction, target = rng.random((40, 3)) * 30, rng.random((55, 3)) * 30
    distances = np.linalg.norm(prediction[:, None] - target[None], axis=-1)
    for threshold in (2.0, 5.0):
        precision, recall = (distances.min(1) < threshold).mean(), (distances.min(0) < threshold).mean()
        expected = 2 * precision * recall / (precision + recall)
        assert f_score(prediction, target, [threshold])[0] == pytest.approx(expected)
    np.testing.assert_array_equal(f_score(np.zeros((1, 3)), np.array([[5.0, 0, 0]]), [5, 5.01, 1]), [0, 1, 0])


def accelerations_by_loop(prediction, target, frames, tracks, valid):
    place = {(t, f): n for n, (t, f) in enumerate(zip(tracks, frames, strict=True))}
    errors = np.full(valid.shape, np.nan)
    for (track, frame), n in place.items():
        before, after = place.get((track, frame - 1)), place.get((track, frame + 1))
        if before is None or after is None:
            continue
        for j in range(valid.shape[1]):
            if valid[[before, n, after], j].all():
                both = [x[before, j] - 2 * x[n, j] + x[after, j] for x in (prediction, target)]
                errors[n, j] = np.sqrt(((both[0] - both[1]) ** 2).sum())
    return errors


def test_acceleration_equals_the_loop_across_cuts_gaps_and_order():
    rng = np.random.default_rng(5)
    frames = np.array([3, 4, 5, 6, 8, 9, 10, 11, 12, 1, 2, 3, 7, 8])
    tracks = np.array([0] * 9 + [1] * 5)
    order = rng.permutation(len(frames))
    frames, tracks = frames[order], tracks[order]
    prediction, target = rng.normal(size=(2, len(frames), 4, 3))
    valid = rng.random((len(frames), 4)) > 0.15
    errors = acceleration_errors(prediction, target, frames, tracks, valid)
    np.testing.assert_allclose(errors, accelerations_by_loop(prediction, target, frames, tracks, valid))
    assert 0 < np.isfinite(errors).sum() < 24


def test_acceleration_has_the_unit_it_says():
    frames, seconds = np.arange(31), np.arange(31) / 30
    speeding = np.zeros((31, 1, 3))
    speeding[:, 0, 0] = 0.5 * 900 * seconds**2  # 900 mm/s^2 = 1 mm/frame^2 at 30 fps
    steady = np.broadcast_to(seconds[:, None, None] * 70, speeding.shape)
    assert joint_mean(acceleration_errors(speeding, steady, frames)) == pytest.approx(1)
    assert joint_mean(acceleration_errors(steady, 0 * steady, frames)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize('count', [0, 1, 2])
def test_too_short_tracks_have_no_acceleration(count):
    assert np.isnan(acceleration_errors(np.zeros((count, 2, 3)), np.zeros((count, 2, 3)), np.arange(count))).all()


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match='alignment must be one of'):
        point_errors(np.zeros((1, 21, 3)), np.zeros((1, 21, 3)), alignment='root')
    with pytest.raises(ValueError, match=r'got \(1, 21, 3\), \(1, 20, 3\)'):
        point_errors(np.zeros((1, 21, 3)), np.zeros((1, 20, 3)))
    with pytest.raises(ValueError, match='same frame of a track twice'):
        acceleration_errors(np.zeros((3, 1, 3)), np.zeros((3, 1, 3)), [1, 1, 2])
    with pytest.raises(ValueError, match='needs whole frame numbers'):
        acceleration_errors(np.zeros((3, 1, 3)), np.zeros((3, 1, 3)), [0.0, 0.5, 1.0])
