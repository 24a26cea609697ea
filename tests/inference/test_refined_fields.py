"""`Refiner` on 2D joints, boxes, track ids and skeletons that lack joints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from predicted_hands import make_predictions
from test_refiner import WINDOW, Mixer

from handpose.geometry import project_points
from handpose.inference import METHODS, Refiner, load_refiner
from handpose.structures import Predictions, PredictionsError, infer_missing_joints
from handpose.structures.predictions import PER_HAND

CAMERA = torch.tensor([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]], dtype=torch.float64)
FIELDS = [name for name in PER_HAND if name not in ('joints_valid', 'joints_inferred')]


def with_pixels(frames=60, sides=('left', 'right'), **known):
    """Predictions with 2D joints, boxes around them and one track a hand."""
    given = make_predictions(frames, sides, **known)
    pixels = project_points(torch.from_numpy(given.joints).double(), CAMERA).numpy()
    boxes = np.concatenate([pixels.min(2) - 10, pixels.max(2) + 10], -1)
    ids = np.broadcast_to(np.arange(len(sides)), given.valid.shape)
    return replace(given, joints_2d=pixels, boxes=boxes, track_ids=ids)


def partial(given, missing=(4, 8)):
    """The predictions without some joints in any frame, and without joint 12 in two frames more."""
    mask = given.given_joints()
    mask[..., list(missing)] = False
    mask[20:22, 0, 12] = False
    return replace(given, joints_valid=mask)


def pushed(refiner, given):
    answers = [refiner.push(given.select([t])) for t in range(len(given))]
    answers = [answer for answer in answers if answer is not None] + refiner.finish()
    return {
        name: np.concatenate([getattr(a, name) for a in answers])
        for name in PER_HAND
        if getattr(given, name) is not None
    }


def assert_same(found, whole, atol=1e-5):
    for name, value in found.items():
        scale = 1000 if name in ('joints_2d', 'boxes') else 1
        np.testing.assert_allclose(value, getattr(whole, name), atol=atol * scale, rtol=1e-6, err_msg=name)


def test_linear_filters_treat_pixels_like_metres():
    """With all depths equal, the refined pixels are the projection of the refined joints."""
    given = make_predictions(60, missing=[20, 21])
    joints = given.joints.copy()
    joints[..., 2] = 0.5
    given = replace(given, joints=joints)
    given = replace(given, joints_2d=project_points(torch.from_numpy(joints).double(), CAMERA).numpy())
    for method in ('gaussian', 'savitzky_golay', 'interpolate'):
        refined = load_refiner(method=method).refine(given)
        expected = project_points(torch.from_numpy(refined.joints).double(), CAMERA).numpy()
        np.testing.assert_allclose(refined.joints_2d, expected, atol=0.02)


def test_a_filter_that_responds_to_speed_does_not_depend_on_the_resolution():
    given = with_pixels(60)
    large = replace(given, joints_2d=4 * given.joints_2d)
    refiner = load_refiner(method='one_euro')
    small, refined = refiner.refine(given).joints_2d, refiner.refine(large).joints_2d
    np.testing.assert_allclose(refined / 4, small, atol=0.01)
    assert np.abs(small - given.joints_2d).mean() > 0.3  # and it does smooth
    # In the same units as the joints: what remains of the noise is the same share.
    clean = with_pixels(60, noise=0)
    shares = [
        np.linalg.norm(now - truth, axis=-1).mean() / np.linalg.norm(before - truth, axis=-1).mean()
        for now, before, truth in (
            (small, given.joints_2d, clean.joints_2d),
            (refiner.refine(given).joints[..., :2], given.joints[..., :2], clean.joints[..., :2]),
        )
    ]
    assert abs(shares[0] - shares[1]) < 0.1


@pytest.mark.parametrize('method', METHODS)
def test_filled_frames_have_every_field(method):
    given = with_pixels(50, missing=[8, 9, (30, 1)], confidence=np.ones((50, 2, 21)))
    refined = load_refiner(method=method).refine(given)
    assert refined.valid.all() and np.isfinite(refined.joints_2d).all() and np.isfinite(refined.boxes).all()
    np.testing.assert_array_equal(refined.boxes[given.valid], given.boxes[given.valid])
    between = given.boxes[7, 0] + (given.boxes[10, 0] - given.boxes[7, 0]) / 3
    np.testing.assert_allclose(refined.boxes[8, 0], between, rtol=1e-4)
    assert (refined.track_ids == [0, 1]).all() and refined.confidence[8, 0].max() == 0
    assert refined.scale == given.scale


def test_learned_refiners_leave_pixels_to_the_gaussian_filter():
    given = with_pixels(40, missing=[8])
    refined = Refiner(Mixer()).refine(given)
    np.testing.assert_array_equal(refined.joints_2d, load_refiner(method='gaussian').refine(given).joints_2d)
    assert np.abs(refined.joints - load_refiner(method='gaussian').refine(given).joints).max() > 0.01


@pytest.mark.parametrize('method', ['savitzky_golay', 'gaussian', 'one_euro', 'interpolate'])
@pytest.mark.parametrize('incomplete', [False, True])
def test_live_fields_are_those_of_the_whole_track(method, incomplete):
    given = with_pixels(70, missing=[30, 31, (40, 1)], confidence=np.ones((70, 2, 21)))
    ids = given.track_ids.copy()
    ids[55:, 1] = 7
    given = replace(given, track_ids=ids, joints_inferred=np.random.default_rng(0).random((70, 2, 21)) < 0.2)
    given = partial(given).select(slice(18, 62)) if incomplete else given
    whole = load_refiner(method=method, longest_gap=5 / 30).refine(given)
    exact = load_refiner(method=method, longest_gap=5 / 30, fps=30).exact_latency
    refiner = load_refiner(method=method, longest_gap=5 / 30, latency=exact + 6)
    assert_same(pushed(refiner, given), whole)
    if not incomplete:  # and again, after finish(); with single joints it takes long
        assert_same(pushed(refiner, given), whole)


@pytest.mark.parametrize('length', [4, 40])
def test_live_fields_of_learned_refiners(length):
    given = with_pixels(length)
    refiner = Refiner(Mixer(), fps=30)
    assert refiner.exact_latency == WINDOW - 1
    refiner.push(given.select([0]))
    assert refiner.exact_latency == refiner.latency == 10  # that of the Gaussian filter, which the pixels take
    refiner.reset()
    assert_same(pushed(refiner, given), refiner.refine(given))
    assert refiner.exact_latency == WINDOW - 1


def test_another_track_is_another_hand():
    given = with_pixels(60, sides=('right',), missing=range(28, 32))
    ids = np.where(np.arange(60) < 30, 3, 5)[:, None]
    refined = load_refiner(method='gaussian').refine(replace(given, track_ids=ids))
    assert np.flatnonzero(~refined.valid[:, 0]).tolist() == [28, 29, 30, 31]
    parts = [load_refiner(method='gaussian').refine(given.select(part)).joints for part in (slice(0, 28), slice(32, 60))]
    np.testing.assert_allclose(refined.joints[refined.valid], np.concatenate(parts)[:, 0], atol=1e-6)
    assert load_refiner(method='gaussian').refine(given).valid.all()  # of one track, the gap is filled
    adjacent = with_pixels(60, sides=('right',))
    refined = load_refiner(method='gaussian').refine(replace(adjacent, track_ids=ids))
    parts = [load_refiner(method='gaussian').refine(adjacent.select(part)).joints_2d for part in (slice(0, 30), slice(30, 60))]
    np.testing.assert_allclose(refined.joints_2d, np.concatenate(parts), atol=0.01)


@pytest.mark.parametrize('method', METHODS)
def test_filters_refine_the_joints_that_are_there(method):
    given = with_pixels(60, missing=[(33, 1)])
    refined = load_refiner(method=method).refine(partial(given))
    assert refined.valid.all()
    assert not refined.joints_valid[..., [4, 8]].any() and refined.joints_valid[20:22, 0, 12].all()  # a short gap
    if method != 'one_euro':  # linear: a joint by itself is as one of 21
        whole = load_refiner(method=method).refine(given)
        same = np.ones((60, 2, 21), bool)
        same[..., [4, 8]], same[8:34, 0, 12] = False, False
        np.testing.assert_allclose(refined.joints[same], whole.joints[same], atol=1e-5)
        np.testing.assert_allclose(refined.joints_2d[same], whole.joints_2d[same], atol=0.02)


def test_a_skeleton_without_a_wrist():
    given = make_predictions(40)
    mask = given.given_joints()
    mask[..., 0] = False
    refined = load_refiner(method='gaussian').refine(replace(given, joints_valid=mask)).check()
    np.testing.assert_allclose(refined.joints[:, :, 1:], load_refiner(method='gaussian').refine(given).joints[:, :, 1:], atol=1e-6)
    assert np.isnan(refined.joints[:, :, 0]).all()


def test_learned_refiners_name_the_joints_that_are_missing():
    given = partial(with_pixels(30))
    message = (
        r'Mixer needs all 21 joints, .* lack thumb_tip, index_tip, middle_tip: infer_missing_joints.*--infer-missing'
    )
    with pytest.raises(PredictionsError, match=message):
        Refiner(Mixer()).refine(given)
    with pytest.raises(PredictionsError, match='lack thumb_tip, index_tip: '):
        Refiner(Mixer()).push(given.select([0]))
    complete = infer_missing_joints(given)
    refined = Refiner(Mixer()).refine(complete)
    np.testing.assert_array_equal(refined.joints_inferred, complete.joints_inferred)
    masked = replace(complete, joints_valid=complete.given_joints())
    np.testing.assert_array_equal(Refiner(Mixer()).refine(masked).joints, refined.joints)


def test_filled_frames_take_the_marks_of_the_last_detection():
    given = make_predictions(20, missing=[8, 9])
    inferred = np.zeros((20, 1, 21), bool)
    inferred[7, 0, 3] = inferred[10, 0, 5] = True
    refined = load_refiner(method='gaussian').refine(replace(given, joints_inferred=inferred))
    assert np.argwhere(refined.joints_inferred[:, 0]).tolist() == [[7, 3], [8, 3], [9, 3], [10, 5]]


def test_refining_a_whole_track_does_not_disturb_a_live_one():
    given = with_pixels(30, missing=[12])
    given = replace(given, joints_inferred=np.random.default_rng(0).random((30, 2, 21)) < 0.3)
    refiner = load_refiner(method='gaussian', latency=12)
    expected = refiner.refine(given)
    answers = []
    for t in range(30):
        answers.append(refiner.push(given.select([t])))
        if t == 20:
            refiner.refine(with_pixels(25))
    answers = [answer for answer in answers if answer is not None] + refiner.finish()
    np.testing.assert_array_equal(np.concatenate([a.joints_inferred for a in answers]), expected.joints_inferred)


def test_live_frames_have_the_same_fields():
    given = with_pixels(5)
    refiner = load_refiner(method='gaussian')
    refiner.push(given.select([0]))
    with pytest.raises(PredictionsError, match='all frames of a track have the same'):
        refiner.push(replace(given.select([1]), boxes=None))


def test_one_joint_in_pixels():
    """Nothing tells how large a pixel is; filters still take it."""
    given = with_pixels(10, sides=('right',))
    mask = np.zeros((10, 1, 21), bool)
    mask[..., 0] = True
    first = replace(given, joints_valid=mask)
    refined = load_refiner(method='one_euro')
    tracks = Predictions(**{**vars(first), 'joints': first.joints})
    with pytest.raises(PredictionsError, match='hand is 0 m long'):
        refined.refine(tracks)
