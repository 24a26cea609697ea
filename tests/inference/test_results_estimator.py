"""`ResultsEstimator`: which result belongs to which tracked hand, and what becomes of hands without one."""

import numpy as np
import pytest
from clip_estimators import ScriptedTracking

from handpose.hands.sides import Side
from handpose.inference.session import Session
from handpose.inference.tracking.results_estimator import ResultsError, ResultsEstimator
from handpose.inference.tracking.tracker import next_region
from handpose.registry import FRAME_ESTIMATORS
from handpose.structures import Predictions, save_predictions
from handpose.video import VideoFrame

WIDTH, HEIGHT = 320, 240
FOCAL = 300.0
CAMERA = np.array([[FOCAL, 0, 160.0], [0, FOCAL, 120.0], [0, 0, 1]])


def hand_2d(x, y, size=60.0):
    """(21, 2): a hand whose fingers point up, with its wrist at (x, y)."""
    points = [[0.0, 0.0]]
    for finger in range(5):
        points += [[(finger - 2) * 0.15, -0.4 - 0.15 * k] for k in range(4)]
    return (np.array(points) * size + [x, y]).astype(np.float32)


def hand_3d(pixels, depth=0.5):
    """(21, 3) metres in the camera's frame, seen at `pixels`, each joint at another depth."""
    z = depth + 0.01 * np.arange(21)
    return np.concatenate([(pixels - CAMERA[:2, 2]) / FOCAL * z[:, None], z[:, None]], -1).astype(np.float32)


def results(path, pixels, sides=('left', 'right'), valid=None, rate=30, **changes):
    """Writes results (T, H, 21, 2) in frame 'camera', with 2D joints."""
    pixels = np.asarray(pixels, np.float32)
    joints = np.stack([[hand_3d(hand) for hand in frame] for frame in pixels])
    values = dict(
        joints=joints,
        valid=np.ones(pixels.shape[:2], bool) if valid is None else np.array(valid),
        timestamps=np.arange(len(pixels)) / rate,
        hand_side=np.array(sides),
        frame='camera',
        joints_2d=pixels,
        image_size=np.array([WIDTH, HEIGHT]),
        source='HaMeR',
        licence='non-commercial',
        scale='metric',
    )
    predictions = Predictions(**{**values, **changes})
    save_predictions(path, predictions)
    return predictions


def region(points, side, track_id=0):
    return next_region(points, track_id)._replace(side=side, joints_2d=points)


def image(time=0.0, size=(WIDTH, HEIGHT)):
    return VideoFrame(0, time, np.zeros((size[1], size[0], 3), np.uint8))


LEFT_AT, RIGHT_AT = hand_2d(80, 200), hand_2d(240, 200)


def is_of(estimate, written, frame, hand):
    """Whether an estimate is the hand of a file, relative to its wrist."""
    expected = written.joints[frame, hand] - written.joints[frame, hand, :1]
    same = estimate.joints_valid.all() and np.allclose(estimate.joints_3d, expected, atol=1e-6)
    return same and np.allclose(estimate.joints_2d, written.joints_2d[frame, hand], atol=1e-4)


def test_the_nearest_result_whatever_the_order(tmp_path):
    written = results(tmp_path / 'a.npz', [[LEFT_AT + 3, RIGHT_AT - 4]])
    estimator = ResultsEstimator(tmp_path / 'a.npz')
    left, right = region(LEFT_AT, Side.LEFT, 5), region(RIGHT_AT, Side.RIGHT, 2)
    for regions, hands in (([left, right], (0, 1)), ([right, left], (1, 0))):
        found = estimator.estimate(image(), regions)
        assert all(is_of(estimate, written, 0, hand) for estimate, hand in zip(found, hands, strict=True))
    assert estimator.info.name == 'HaMeR (a.npz)' and estimator.info.scale == 'metric'
    assert estimator.info.licence == 'non-commercial' and estimator.info.notes == []


def test_the_place_decides_where_the_sides_are_in_doubt(tmp_path):
    """Sides that the tracker takes for exchanged: hands stay where they are."""
    written = results(tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]])
    found = ResultsEstimator(tmp_path / 'a.npz').estimate(
        image(), [region(LEFT_AT, Side.RIGHT), region(RIGHT_AT, Side.LEFT)]
    )
    assert is_of(found[0], written, 0, 0) and is_of(found[1], written, 0, 1)


def test_of_two_hands_in_one_place_the_side_decides(tmp_path):
    """Interlocked hands: both results are near to both tracks."""
    written = results(tmp_path / 'a.npz', [[LEFT_AT, LEFT_AT + [6, 0]]])
    middle = LEFT_AT + np.float32([3, 0])
    found = ResultsEstimator(tmp_path / 'a.npz').estimate(
        image(), [region(middle, Side.RIGHT, 0), region(middle, Side.LEFT, 1)]
    )
    assert is_of(found[0], written, 0, 1) and is_of(found[1], written, 0, 0)


def test_hands_without_a_result_have_no_valid_joint(tmp_path):
    written = results(
        tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]] * 3, valid=[[True, True], [True, False], [False, False]]
    )
    estimator = ResultsEstimator(tmp_path / 'a.npz')
    regions = [region(LEFT_AT, Side.LEFT), region(RIGHT_AT, Side.RIGHT)]
    given = [[hand.joints_valid.any() for hand in estimator.estimate(image(t / 30), regions)] for t in range(3)]
    assert given == [[True, True], [True, False], [False, False]]
    missing = estimator.estimate(image(1 / 30), regions)[1]
    assert np.isnan(missing.joints_3d).all() and np.isnan(missing.joints_2d).all()
    far = region(hand_2d(240, 100), Side.RIGHT)
    assert not estimator.estimate(image(), [far])[0].joints_valid.any(), 'another hand, which has no result'
    # Of three hands, two have results.
    three = [*regions, region(hand_2d(160, 100), Side.RIGHT, 9)]
    assert [hand.joints_valid.all() for hand in estimator.estimate(image(), three)] == [True, True, False]
    assert estimator.estimate(image(), []) == [] and len(written) == 3


@pytest.mark.parametrize(
    'time, frame', [(0.0, 0), (0.02, 0), (0.04, 0), (0.06, 1), (0.1, 1), (0.2, 2), (0.24, 2), (0.26, None)]
)
def test_frames_are_matched_by_time(tmp_path, time, frame):
    """10 results a second: each stands for the images within half of a tenth."""
    written = results(tmp_path / 'a.npz', [[RIGHT_AT + shift] for shift in (0, 2, 4)], sides=('right',), rate=10)
    (found,) = ResultsEstimator(tmp_path / 'a.npz').estimate(image(time), [region(RIGHT_AT, Side.RIGHT)])
    assert not found.joints_valid.any() if frame is None else is_of(found, written, frame, 0)


def test_joints_are_projected_where_there_is_a_camera(tmp_path):
    written = results(tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]], joints_2d=None, intrinsics=CAMERA)
    estimator = ResultsEstimator(tmp_path / 'a.npz')
    found = estimator.estimate(image(), [region(RIGHT_AT, Side.RIGHT), region(LEFT_AT, Side.LEFT)])
    for estimate, pixels, hand in zip(found, (RIGHT_AT, LEFT_AT), (1, 0), strict=True):
        np.testing.assert_allclose(estimate.joints_2d, pixels, atol=1e-3)
        np.testing.assert_allclose(estimate.joints_3d, written.joints[0, hand] - written.joints[0, hand, 0], atol=1e-6)


def test_sides_alone(tmp_path):
    """Without pixels the oldest track of a side gets its result, and 2D joints are those of the tracker."""
    written = results(tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]], joints_2d=None)
    estimator = ResultsEstimator(tmp_path / 'a.npz')
    left, right, younger = estimator.estimate(
        image(), [region(LEFT_AT, Side.LEFT), region(RIGHT_AT, Side.RIGHT), region(LEFT_AT, Side.RIGHT)]
    )
    np.testing.assert_array_equal(right.joints_2d, RIGHT_AT)
    np.testing.assert_allclose(left.joints_3d, written.joints[0, 0] - written.joints[0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(right.joints_3d, written.joints[0, 1] - written.joints[0, 1, 0], atol=1e-6)
    assert not younger.joints_valid.any()
    assert 'neither 2D joints nor a camera' in estimator.info.notes[0]


def test_results_of_the_video_in_another_size(tmp_path):
    """Twice the size: pixel x of the small image covers 2 x and 2 x + 1."""
    results(tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]])
    large = (2 * RIGHT_AT + 0.5).astype(np.float32)
    estimator = ResultsEstimator(tmp_path / 'a.npz')
    (found,) = estimator.estimate(image(size=(640, 480)), [region(large, Side.RIGHT)])
    np.testing.assert_allclose(found.joints_2d, large, atol=1e-4)
    with pytest.raises(ResultsError, match=r'is of images of 320x240 pixels, and the video has 240x320'):
        estimator.estimate(image(size=(240, 320)), [region(RIGHT_AT, Side.RIGHT)])


@pytest.mark.parametrize('frame', ['camera', 'wrist'])
def test_joints_that_a_result_lacks(tmp_path, frame):
    given = np.ones((1, 1, 21), bool)
    given[..., [4, 8]] = False
    joints = hand_3d(RIGHT_AT)[None, None]
    joints = joints - joints[:, :, :1] if frame == 'wrist' else joints
    results(tmp_path / 'a.npz', [[RIGHT_AT]], sides=('right',), joints_valid=given, joints=joints, frame=frame)
    (found,) = ResultsEstimator(tmp_path / 'a.npz').estimate(image(), [region(RIGHT_AT, Side.RIGHT)])
    np.testing.assert_array_equal(found.joints_valid, given[0, 0])
    np.testing.assert_allclose(found.joints_3d[given[0, 0]], (joints - joints[:, :, :1])[given], atol=1e-6)
    assert np.isnan(found.joints_3d[[4, 8]]).all() and np.isnan(found.joints_2d[[4, 8]]).all()


def test_a_whole_video(tmp_path):
    """Predictions have the results, their scale and licence; an image without one has no hand, and a note says so."""
    count = 12
    valid = np.ones((count, 1), bool)
    valid[[3, 4, 11]] = False
    points = np.stack([RIGHT_AT + np.float32([t, 0]) for t in range(count)])
    written = results(tmp_path / 'a.npz', points[:, None] + 2, sides=('right',), valid=valid)
    tracking = ScriptedTracking(points, np.arange(count) / 30)
    session = Session(tracking, tracking, ResultsEstimator(tmp_path / 'a.npz'))
    for t in range(count):
        hands = session.push(image(t / 30))
        assert len(hands) == 1 and hands.to_predictions().scale == 'metric'
        np.testing.assert_allclose(hands.hands[0].box(), np.concatenate([points[t].min(0), points[t].max(0)]))
    found = session.finish()
    np.testing.assert_array_equal(found.valid, valid)
    np.testing.assert_allclose(found.joints, written.joints - written.joints[:, :, :1], atol=1e-6)
    np.testing.assert_allclose(found.joints_2d, written.joints_2d, atol=1e-4)
    assert found.scale == 'metric' and session.licence == 'non-commercial'
    assert 'HaMeR (a.npz) gives no joints for 3 of 12 hands that were found' in session.notes


def test_it_is_registered_and_does_not_follow_hands(tmp_path):
    results(tmp_path / 'a.npz', [[LEFT_AT, RIGHT_AT]])
    built = FRAME_ESTIMATORS.build(dict(type='ResultsEstimator', path=str(tmp_path / 'a.npz')))
    with pytest.raises(ValueError, match='give it to Session as estimator, not as tracking_estimator'):
        built.estimate(image(), [next_region(LEFT_AT)])
