import os
from pathlib import Path

import numpy as np
import pytest
import torch
from predicted_hands import hand_motion

from handpose.geometry import project_points, rotvec_to_rotmat
from handpose.hands import ProceduralHand, from_common
from handpose.structures import (
    PredictionsError,
    from_hamer,
    from_interhand,
    from_joints,
    from_mano,
    from_mediapipe,
    from_wilor,
)

REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'hand_video' / 'mediapipe_world_landmarks.npz'


def test_mediapipe_one_hand():
    points = hand_motion(20) - hand_motion(20).mean(1, keepdims=True)  # the origin is in the hand
    points[3], points[7] = 0, np.nan
    predictions = from_mediapipe(points, 'Right', fps=30).check()
    assert predictions.frame == 'wrist' and predictions.hand_side.tolist() == [1]
    assert np.flatnonzero(~predictions.valid[:, 0]).tolist() == [3, 7]
    expected = hand_motion(20) - hand_motion(20)[:, :1]
    np.testing.assert_allclose(predictions.joints[:3, 0], expected[:3], atol=1e-6)
    np.testing.assert_allclose(predictions.timestamps[-1], 19 / 30)
    assert from_mediapipe(points, 'right', fps=30, swap_handedness=True).hand_side.tolist() == [0]


def test_mediapipe_two_hands_in_any_order():
    left, right = hand_motion(4, 'left'), hand_motion(4, 'right', seed=1)
    points = np.stack([right, left], 1)
    names = np.array([['Right', 'Left'], ['Left', 'Right'], ['Right', ''], ['Left', 'Left']])
    points[1] = points[1, ::-1]
    points[3] = left[3], left[3] + np.linspace(0, 0.01, 63).reshape(21, 3)
    score = np.array([[0.9, 0.8], [0.9, 0.8], [0.9, 0], [0.6, 0.7]])
    predictions = from_mediapipe(points, names, timestamps=[0, 0.03, 0.06, 0.1], score=score)
    assert predictions.valid.tolist() == [[True, True], [True, True], [False, True], [True, False]]
    for t in range(2):
        np.testing.assert_allclose(predictions.joints[t, 0], left[t] - left[t, :1], atol=1e-6)
        np.testing.assert_allclose(predictions.joints[t, 1], right[t] - right[t, :1], atol=1e-6)
    surer = points[3, 1] - points[3, 1, :1]  # two left hands: the one that MediaPipe is surer of
    np.testing.assert_allclose(predictions.joints[3, 0], surer, atol=1e-6)
    assert predictions.confidence[3, 0, 0] == pytest.approx(0.7)
    first = from_mediapipe(points, names, fps=30)
    np.testing.assert_allclose(first.joints[3, 0], left[3] - left[3, :1], atol=1e-6)
    each = from_mediapipe(np.stack([right, left], 1), ['right', 'left'], fps=30)
    np.testing.assert_allclose(each.joints[:, 0], left - left[:, :1], atol=1e-6)


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        ((np.ones((4, 20, 3)), 'left'), r'\(T, 21, 3\) or \(T, H, 21, 3\)'),
        ((np.ones((4, 21, 3)), 'both'), "'left' or 'right' .*got 'both'"),
        ((np.ones((4, 2, 21, 3)), ['left', 'right', 'left']), 'handedness must have shape'),
        ((np.zeros((4, 21, 3)), 'left'), 'no hand in any frame'),
    ],
)
def test_mediapipe_refuses(arguments, sentence):
    with pytest.raises(PredictionsError, match=sentence):
        from_mediapipe(*arguments, fps=30)


@pytest.mark.parametrize('times', [{}, dict(fps=30, timestamps=np.arange(4) / 30)])
def test_one_way_to_say_the_time(times):
    with pytest.raises(PredictionsError, match='either timestamps'):
        from_mediapipe(hand_motion(4), 'left', **times)


@pytest.mark.skipif(not REAL.is_file(), reason='needs HANDPOSE_REAL_DATA with hand_video/')
def test_mediapipe_on_a_real_video():
    predictions = from_mediapipe(np.load(REAL)['joints'], 'right', fps=30).check()
    assert predictions.valid.shape == (621, 1) and predictions.valid.all()
    lengths = np.linalg.norm(predictions.joints[:, 0, 9], axis=-1)  # wrist to the middle finger's knuckle
    assert 0.06 < np.median(lengths) < 0.12


def test_hamer_puts_left_hands_where_the_picture_shows_them():
    camera = torch.tensor([[25000.0, 0, 640], [0, 25000, 360], [0, 0, 1]])
    hands = {side: hand_motion(6, side) for side in ('left', 'right')}
    shift = {'left': np.array([-0.2, 0.1, 21.0]), 'right': np.array([0.3, 0.1, 20.0])}
    rows = []  # as HaMeR gives them: every hand a right one, about the origin
    for t in range(6):
        for side, joints in hands.items():
            if (t, side) == (4, 'left'):
                continue
            local = joints[t] - joints[t].mean(0)
            rows.append((local * ([-1, 1, 1] if side == 'left' else [1, 1, 1]), shift[side], side == 'right', t))
    keypoints, cam_t, is_right, frames = (np.array(column) for column in zip(*rows, strict=True))
    predictions = from_hamer(keypoints, cam_t, is_right, frames, image_size=(1280, 720), fps=30).check()
    assert predictions.valid[:, 0].tolist() == [t != 4 for t in range(6)] and predictions.valid[:, 1].all()
    for h, side in enumerate(('left', 'right')):
        local = hands[side][2] - hands[side][2].mean(0)
        np.testing.assert_allclose(predictions.joints[2, h], local + shift[side], atol=1e-5)
    np.testing.assert_allclose(predictions.intrinsics, camera)
    # With the camera's own focal length hands come near, and stay where they were in the picture.
    near = from_hamer(keypoints, cam_t, is_right, frames, (1280, 720), fps=30, camera_focal_length=1000).check()
    assert near.joints[2, 0, 0, 2] == pytest.approx(0.84, abs=0.1)
    pixels = [
        project_points(torch.from_numpy(p.joints[2].mean(1)), torch.from_numpy(p.intrinsics).float())
        for p in (predictions, near)
    ]
    assert (pixels[0] - pixels[1]).abs().max() < 12


def test_hamer_refuses_what_does_not_fit():
    rows = dict(keypoints_3d=np.ones((3, 21, 3)), cam_t=np.ones((3, 3)), is_right=np.ones(3), image_size=(640, 480))
    with pytest.raises(PredictionsError, match=r'frame_index must have shape \(3,\)'):
        from_hamer(**rows, frame_index=[0, 1], fps=30)
    with pytest.raises(PredictionsError, match='from 0 to 1, got 0 to 2'):
        from_hamer(**rows, frame_index=[0, 1, 2], num_frames=2, fps=30)
    with pytest.raises(PredictionsError, match='is_right must be'):
        from_hamer(**{**rows, 'is_right': [0, 1, 2]}, frame_index=[0, 1, 2], fps=30)


@pytest.mark.parametrize('matrices', [False, True])
def test_mano_parameters_become_joints(matrices):
    model = ProceduralHand()
    generator = torch.Generator().manual_seed(0)
    pose = 0.3 * torch.randn(5, 2, 16, 3, generator=generator)
    shape, transl = torch.randn(2, 10, generator=generator), torch.randn(5, 2, 3, generator=generator) + 2
    given = rotvec_to_rotmat(pose) if matrices else pose
    transl[3, 1] = torch.nan
    predictions = from_mano(given, shape, transl, ['left', 'right'], model, fps=30)
    expected = model(pose, shape.expand(5, 2, 10), transl, torch.tensor([0, 1]).expand(5, 2)).joints
    assert predictions.valid.tolist() == [[True, (t != 3)] for t in range(5)]
    valid = predictions.valid
    np.testing.assert_allclose(predictions.joints[valid], expected[torch.from_numpy(valid)], atol=1e-5)
    wrist = from_mano(given, shape, transl, ['left', 'right'], model, fps=30, frame='wrist')
    np.testing.assert_allclose(wrist.joints[0], (expected - expected[:, :, :1])[0], atol=1e-5)


def test_mano_left_hands_as_mirrored_right_ones():
    model = ProceduralHand()
    pose, shape = 0.3 * torch.randn(5, 1, 16, 3), torch.randn(5, 1, 10)
    transl = torch.tensor([[[0.1, 0.2, 2.0]]]).expand(5, 1, 3)
    predictions = from_mano(pose, shape, transl, ['left'], model, fps=30, mirrored_left=True)
    right = model(pose, shape, torch.zeros(5, 1, 3), torch.ones(5, 1, dtype=torch.long)).joints
    np.testing.assert_allclose(predictions.joints, right * torch.tensor([-1, 1, 1]) + transl[:, :, None], atol=1e-5)


def interhand(points):
    """(T, 21, 3) metres, common -> InterHand's order and millimetres."""
    return 1000 * from_common(torch.from_numpy(points), 'interhand')[0].numpy()


def test_interhand_has_the_right_hand_first():
    left, right = hand_motion(5, 'left'), hand_motion(5, 'right')
    joints = np.concatenate([interhand(right), interhand(left)], 1)
    valid = np.ones((5, 42))
    valid[2, 30] = 0
    predictions = from_interhand(joints, valid, 'camera', fps=5).check()
    np.testing.assert_allclose(predictions.joints[:2, 0], left[:2], atol=1e-6)
    np.testing.assert_allclose(predictions.joints[:, 1], right, atol=1e-6)
    assert predictions.valid[:, 0].tolist() == [True, True, False, True, True]
    one = from_interhand(interhand(left), valid[:, :21], 'wrist', hand_side='left', fps=5)
    np.testing.assert_allclose(one.joints[:, 0], left - left[:, :1], atol=1e-6)


def test_interhand_world_coordinates_go_into_the_camera():
    rotation = rotvec_to_rotmat(torch.tensor([0.3, 0.2, 0.1], dtype=torch.float64)).numpy()
    position = np.array([100.0, 200, 300])
    right = hand_motion(5)
    world = interhand(right) @ rotation + position
    predictions = from_interhand(
        world, np.ones((5, 21)), 'world', 'right', fps=5, camera_rotation=rotation, camera_position=position
    )
    np.testing.assert_allclose(predictions.joints[:, 0], right, atol=1e-6)
    with pytest.raises(PredictionsError, match='needs camera_rotation'):
        from_interhand(world, np.ones((5, 21)), 'world', 'right', fps=5)
    with pytest.raises(PredictionsError, match=r'\(T, 42, 3\) or \(T, 21, 3\)'):
        from_interhand(np.ones((5, 20, 3)), np.ones((5, 20)), 'camera', 'right', fps=5)
    with pytest.raises(PredictionsError, match='hand_side goes with'):
        from_interhand(world, np.ones((5, 21)), 'camera', fps=5)


def hamer_rows(frames=6, **changed):
    given = dict(
        keypoints_3d=hand_motion(frames) - hand_motion(frames)[:, :1],
        cam_t=np.tile([0.0, 0.0, 20.0], (frames, 1)),
        is_right=np.ones(frames),
        frame_index=np.arange(frames),
        image_size=(640, 480),
        fps=30,
    )
    return given | changed


@pytest.mark.parametrize(
    'changed',
    [
        dict(frame_index=np.arange(6.0)),
        dict(frame_index=np.array([f'{i:06d}' for i in range(6)])),
        dict(frame_index=np.array([f'{i:06d}' for i in range(6)]).astype('S')),
        dict(frame_index=np.arange(6)[:, None]),
        dict(is_right=np.ones(6, bool)),
        dict(is_right=np.ones((6, 1))),
    ],
)
def test_forms_of_hamer_numbers(changed):
    wanted, found = from_hamer(**hamer_rows()), from_hamer(**hamer_rows(**changed))
    np.testing.assert_array_equal(found.joints, wanted.joints)
    assert found.valid.all() and found.hand_side.tolist() == [1]


@pytest.mark.parametrize(
    'changed, words',
    [
        (dict(frame_index=np.arange(6) + 0.5), r'frame_index must be whole numbers, .*got 0\.5'),
        (dict(frame_index=np.array(['a1', *'23456'])), "frame_index must be whole numbers, .*'a1'"),
        (dict(frame_index=np.full(6, np.nan)), 'frame_index must be whole numbers, .*nan'),
        (dict(is_right=np.full(6, 0.5)), r'is_right must be 1 \(right\) or 0 \(left\), got 0\.5'),
        (dict(is_right=np.full(6, np.nan)), 'is_right must be 1 .* got nan'),
        (dict(is_right=np.array(['right'] * 6)), 'is_right must be 1'),
        (dict(cam_t=[['x'] * 3] * 6), 'cam_t must be an array of numbers'),
    ],
)
def test_hamer_numbers_that_are_refused(changed, words):
    with pytest.raises(PredictionsError, match=words):
        from_hamer(**hamer_rows(**changed))


def test_hamer_rows_with_nan_are_no_hands():
    shift = np.tile([0.0, 0.0, 20.0], (6, 1))
    shift[3, 1] = np.nan
    assert from_hamer(**hamer_rows(cam_t=shift)).valid[:, 0].tolist() == [True, True, True, False, True, True]


def test_lists_of_mediapipe_hands():
    hands = hand_motion(3)
    found = from_mediapipe([[hands[0]], [], [hands[2], None]], 'Right', fps=30, score=[[0.5], [], [0.7, 0.1]])
    assert found.valid[:, 0].tolist() == [True, False, True] and found.hand_side.tolist() == [1]
    np.testing.assert_allclose(found.confidence[:, 0, 0], [0.5, 0, 0.7])


@pytest.mark.parametrize(
    'landmarks, names, words',
    [
        ([[np.zeros((21, 3))] * 3, []], 'Right', 'frame 0 of world_landmarks must be a list of 0 to 2 hands'),
        ([[np.ones((20, 3))], []], 'Right', r'21 points .*got shape \(1, 20, 3\)'),
        ([[np.ones((21, 3))], []], [['Right', 'Left'], []], 'frame 0 must have one value for each of its 1 hands'),
        ([[np.ones((21, 3))], []], ['Right'] * 3, 'one for all frames or 2, one for each, got 3'),
        ([[np.ones((21, 3))], []], 'upper', "handedness must be 'left' or 'right'"),
    ],
)
def test_lists_of_mediapipe_hands_that_are_refused(landmarks, names, words):
    with pytest.raises(PredictionsError, match=words):
        from_mediapipe(landmarks, names, fps=30)


def test_mediapipe_landmarks_become_pixels():
    """MediaPipe's landmarks are fractions of the image, and go where the detection goes."""
    left, right = hand_motion(4, 'left'), hand_motion(4, 'right', seed=1)
    points, image = np.stack([right, left], 1), np.stack([right + 0.3, left + 0.1], 1)
    names = ['right', 'left']
    found = from_mediapipe(points, names, fps=30, landmarks=image, image_size=(640, 480))
    assert found.scale == 'relative' and found.image_size.tolist() == [640, 480]
    np.testing.assert_allclose(found.joints_2d, (image[:, ::-1, :, :2] * [640, 480]), rtol=1e-5)
    pixels = image[..., :2] * [640, 480]
    also = from_mediapipe(points, names, fps=30, landmarks=pixels, landmarks_in_pixels=True)
    np.testing.assert_array_equal(also.joints_2d, found.joints_2d)
    one = from_mediapipe(right, 'right', fps=30, landmarks=image[:, 0], image_size=(640, 480))
    np.testing.assert_array_equal(one.joints_2d, found.joints_2d[:, 1:])
    listed = from_mediapipe(
        [[right[0], left[0]], []],
        [['right', 'left'], []],
        fps=30,
        landmarks=[list(image[0]), []],
        image_size=(640, 480),
    )
    np.testing.assert_array_equal(listed.joints_2d[0], found.joints_2d[0])


@pytest.mark.parametrize(
    'changed, words',
    [
        (dict(image_size=None), 'become pixels with image_size'),
        (dict(landmarks=100 * hand_motion(4)), 'must be from 0 to 1, .*landmarks_in_pixels'),
        (dict(landmarks=hand_motion(3)), r'must have the shape of world_landmarks, \(4, 21, 3\)'),
        (dict(landmarks=np.ones((4, 21, 4))), 'with 2 or 3 coordinates'),
        (dict(image_size=640), r'image_size must have shape \(2,\)'),
    ],
)
def test_mediapipe_landmarks_that_are_refused(changed, words):
    given = dict(landmarks=hand_motion(4), image_size=(640, 480)) | changed
    with pytest.raises(PredictionsError, match=words):
        from_mediapipe(hand_motion(4), 'right', fps=30, **given)


def test_lists_of_landmarks_must_fit():
    hands = hand_motion(2)
    with pytest.raises(PredictionsError, match='frame 1 has 0 hands in world_landmarks and 1 in landmarks'):
        from_mediapipe([[hands[0]], []], 'Right', fps=30, landmarks=[[hands[0]], [hands[1]]], image_size=(64, 48))


def wilor_rows(**changed):
    """WiLoR-mini's output for a left and a right hand in each of 5 frames, and the pixels of its joints."""
    hands = np.concatenate([hand_motion(5, 'left'), hand_motion(5, 'right', seed=1)])
    shift = np.array([0.1, 0.05, 20.0])
    keypoints = hands - hands.mean(1, keepdims=True)
    focal = 5000 / 256 * 1280
    camera = torch.tensor([[focal, 0, 640], [0, focal, 360], [0, 0, 1]], dtype=torch.float64)
    pixels = project_points(torch.from_numpy(keypoints + shift).double(), camera).numpy()
    rows = dict(
        keypoints_3d=keypoints,
        cam_t=np.tile(shift, (10, 1)),
        is_right=np.repeat([0.0, 1.0], 5),
        frame_index=np.tile(np.arange(5), 2),
        image_size=(1280, 720),
        keypoints_2d=pixels,
        boxes=np.concatenate([pixels.min(1), pixels.max(1)], -1),
        fps=30,
    )
    return rows | changed


def test_wilor_has_pixels_and_boxes():
    rows = wilor_rows()
    found = from_wilor(**rows).check()
    assert found.scale == 'relative' and found.source == 'WiLoR' and found.valid.all()
    expected = (rows['keypoints_3d'] + rows['cam_t'][:, None]).reshape(2, 5, 21, 3).swapaxes(0, 1)
    np.testing.assert_allclose(found.joints, expected, rtol=1e-6)
    np.testing.assert_allclose(found.joints_2d, rows['keypoints_2d'].reshape(2, 5, 21, 2).swapaxes(0, 1), rtol=1e-5)
    np.testing.assert_allclose(found.boxes, rows['boxes'].reshape(2, 5, 4).swapaxes(0, 1), rtol=1e-5)
    projected = from_wilor(**wilor_rows(keypoints_2d=None, boxes=None))
    np.testing.assert_allclose(projected.joints_2d, found.joints_2d, atol=1e-2)
    assert projected.boxes is None
    near = from_wilor(**rows, camera_focal_length=1000)
    assert near.scale == 'metric' and near.joints[0, 0, 0, 2] < 1
    np.testing.assert_array_equal(near.joints_2d, found.joints_2d)


def test_hamer_gives_left_hands_as_right_ones():
    rows = wilor_rows()
    mirror = np.where(rows['is_right'][:, None, None] == 1, [1.0, 1, 1], [-1.0, 1, 1])
    found = from_hamer(**rows | dict(keypoints_3d=rows['keypoints_3d'] * mirror))
    np.testing.assert_allclose(found.joints, from_wilor(**rows).joints, rtol=1e-6)
    assert found.scale == 'relative' and found.source == 'HaMeR'


@pytest.mark.parametrize(
    'changed, words',
    [
        (dict(mirrored_left=True), 'keypoints_2d of left hands are not where .*mirrored_left says'),
        (dict(keypoints_2d=np.random.default_rng(0).uniform(-0.5, 0.5, (10, 21, 2))), 'pixels of the whole image'),
        (dict(keypoints_2d=np.ones((10, 20, 2))), r'keypoints_2d must have shape \(10, 21, 2\)'),
        (dict(boxes=np.ones((9, 4))), r'boxes must have shape \(10, 4\)'),
        (dict(boxes=np.ones((10, 4)) * [5, 5, 1, 1]), 'boxes must be pixels'),
    ],
)
def test_wilor_refuses_what_does_not_fit(changed, words):
    with pytest.raises(PredictionsError, match=words):
        from_wilor(**wilor_rows(**changed))


def test_joints_in_any_order_with_single_ones_missing():
    right = hand_motion(6)
    stored = 1000 * from_common(torch.from_numpy(right), 'ho3d')[0].numpy()
    stored[2, 16] = np.nan  # the thumb's tip
    stored[4] = np.nan
    found = from_joints(stored, 'right', 'ho3d', 'millimetre', 'camera', fps=30).check()
    assert found.valid[:, 0].tolist() == [t != 4 for t in range(6)]
    assert np.argwhere(~found.joints_valid[:, 0] & found.valid).tolist() == [[2, 4]]
    np.testing.assert_allclose(found.joints[:2, 0], right[:2], atol=1e-6)
    two = np.stack([hand_motion(6, 'left'), right], 1)
    both = from_joints(two, ['left', 'right'], 'common', 'metre', 'camera', fps=30, track_ids=np.ones((6, 2), int))
    assert both.joints_valid is None and both.track_ids.shape == (6, 2) and both.scale == 'metric'
    with pytest.raises(PredictionsError, match=r'joints must have shape \(T, H, J, 3\)'):
        from_joints(right[0], 'right', 'common', 'metre', 'camera', fps=30)
    with pytest.raises(PredictionsError, match='confidence must be an array'):
        from_joints(right, 'right', 'common', 'metre', 'camera', fps=30, confidence=0.5)
