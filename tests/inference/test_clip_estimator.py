"""`ClipEstimator` against the estimator's own prediction of what the readers and pipelines of testing give it."""

import json

import cv2
import numpy as np
import pytest
import torch
from clip_estimators import (
    RATE,
    WHOLE,
    ScriptedTracking,
    frames_of,
    published_deformer,
    published_htt,
    region,
    tracks,
)

from handpose.geometry import project_points
from handpose.hands.sides import Side
from handpose.inference.journal import Journal
from handpose.inference.session import Session
from handpose.inference.tracking.clip_estimator import ClipEstimator
from handpose.inference.tracking.frame_memory import FrameMemory
from handpose.inference.video_hands import find_hands
from handpose.models import EncodedFrames, Reads
from handpose.registry import FRAME_ESTIMATORS
from handpose.structures import HandSequence
from handpose.synthesis import MultiViewOptions, write_dataset
from handpose.video import VideoFrame

CLOSE = dict(atol=2e-5, rtol=1e-4)
LOAD = dict(type='LoadImages')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Tracks of left and right hands: built-in images and their labels."""
    root = tmp_path_factory.mktemp('data')
    write_dataset(MultiViewOptions(str(root), subjects=2, sequences=5, frames=24, cameras=1, size=96, workers=1))
    return root


def hand_tracks(data, pipeline):
    """{side: a track whose hand is in every frame}."""
    found = {}
    for track in tracks(data, pipeline):
        if track.hand_valid.all():
            found.setdefault(Side(int(track.hand_side[0])), track)
    return found


@pytest.fixture(scope='module')
def samples(data):
    found = hand_tracks(data, [LOAD])
    assert set(found) == set(Side)
    return found


@pytest.fixture(scope='module')
def deformer(tmp_path_factory):
    return published_deformer(tmp_path_factory.mktemp('deformer'))


@pytest.fixture(scope='module')
def htt(tmp_path_factory):
    return published_htt(tmp_path_factory.mktemp('htt'))


@pytest.fixture(scope='module')
def cropped(data):
    """The same tracks as the Deformer is tested on them."""
    return hand_tracks(data, [LOAD, dict(type='HandCrop', size=48, scale=1.4, union_object=False)])


def predict_last(estimator, sample, frames):
    """The hand in the last of some frames of a sample, and its camera: joints (21, 3) and pixels (21, 2)."""
    clip = sample.select_frames(frames)
    output = estimator.predict(HandSequence.stack([clip])).unstack()[0]
    return output.joints_3d[-1], output.joints_2d[-1, 0], clip.intrinsics[-1, 0]


def in_video(pixels, crop, video):
    """Pixels of one camera as those of another in the same place: a crop back into its image."""
    rays = torch.cat([pixels, torch.ones(*pixels.shape[:-1], 1)], -1) @ torch.linalg.inv(crop).mT
    return project_points(rays, video)


@pytest.mark.parametrize('side', list(Side))
def test_deformer_sees_what_the_test_pipeline_shows(samples, cropped, deformer, side):
    """Windows of 3 frames, shorter at the beginning; left hands are mirrored by the model."""
    estimator, path = deformer
    clip_estimator = ClipEstimator(path)
    sample = samples[side]
    for t, frame in enumerate(frames_of(sample)[:6]):
        (found,) = clip_estimator.estimate(frame, [region(sample, t)])
        joints, pixels, crop = predict_last(estimator, cropped[side], list(range(max(0, t - 2), t + 1)))
        torch.testing.assert_close(torch.from_numpy(found.joints_3d), joints[0] - joints[0, :1], **CLOSE)
        expected = in_video(pixels[0], crop, sample.intrinsics[t, 0])
        torch.testing.assert_close(torch.from_numpy(found.joints_2d), expected, atol=5e-3, rtol=0)
        assert found.joints_valid.all() and found.right == side


def test_the_model_gets_left_hands_as_left_ones(samples, deformer):
    """The mirrored image of a left hand, called a right one, gives the mirrored joints: the model mirrors by itself."""
    sample = samples[Side.LEFT]
    frames, width = frames_of(sample), sample.images.shape[-1]
    left, right = ClipEstimator(deformer[1]), ClipEstimator(deformer[1])
    for t in range(3):
        shown = region(sample, t)
        (found,) = left.estimate(frames[t], [shown])
        points = shown.joints_2d * [-1, 1] + [width - 1, 0]
        image = VideoFrame(t, t / RATE, np.ascontiguousarray(frames[t].image[:, ::-1]))
        (mirrored,) = right.estimate(image, [shown._replace(side=Side.RIGHT, joints_2d=points.astype(np.float32))])
    np.testing.assert_allclose(mirrored.joints_2d * [-1, 1] + [width - 1, 0], found.joints_2d, atol=0.05)
    np.testing.assert_allclose(mirrored.joints_3d * [-1, 1, 1], found.joints_3d, atol=2e-3)


def test_windows_have_the_frame_step_of_the_model(samples, cropped, tmp_path):
    estimator, path = published_deformer(tmp_path, frame_step=3)
    clip_estimator = ClipEstimator(path)
    sample, one_phase = samples[Side.RIGHT], cropped[Side.RIGHT]
    for t, frame in enumerate(frames_of(sample)[:9]):
        (found,) = clip_estimator.estimate(frame, [region(sample, t)])
    # Of the frames 2 to 8 only the phase of the last one counts: its shape would be the mean of all phases.
    hand_valid = one_phase.hand_valid.clone()
    hand_valid[[3, 4, 6, 7]] = False
    joints, _, _ = predict_last(estimator, one_phase.replace(hand_valid=hand_valid), list(range(2, 9)))
    torch.testing.assert_close(torch.from_numpy(found.joints_3d), joints[0] - joints[0, :1], **CLOSE)


def test_two_hands_do_not_mix(samples, deformer):
    """Two tracks in turn in the same images give what each of them gives alone."""
    left, right = samples[Side.LEFT], samples[Side.RIGHT]
    together, alone = ClipEstimator(deformer[1]), [ClipEstimator(deformer[1]) for _ in range(2)]
    for t, frame in enumerate(frames_of(right)[:4]):
        regions = [region(right, t, track_id=7), region(left, t, track_id=3)]
        both = together.estimate(frame, regions if t % 2 else regions[::-1])
        both = both if t % 2 else both[::-1]
        for found, single, one in zip(both, alone, regions, strict=True):
            np.testing.assert_array_equal(found.joints_3d, single.estimate(frame, [one])[0].joints_3d)


def test_a_track_that_begins_knows_nothing_of_others(samples, deformer):
    sample = samples[Side.RIGHT]
    frames = frames_of(sample)
    used, fresh = ClipEstimator(deformer[1]), ClipEstimator(deformer[1])
    for t in range(3):
        used.estimate(frames[t], [region(sample, t, track_id=0)])
    with_context = used.estimate(frames[3], [region(sample, 3, track_id=0)])[0]
    new = used.estimate(frames[4], [region(sample, 4, track_id=1)])[0]
    np.testing.assert_array_equal(new.joints_3d, fresh.estimate(frames[4], [region(sample, 4)])[0].joints_3d)
    assert np.abs(new.joints_3d - with_context.joints_3d).max() > 1e-4
    # A window has 3 frames: after as many without it, nothing of a track is left.
    for t in (5, 6, 7):
        assert used.estimate(frames[t], []) == []
    again = used.estimate(frames[8], [region(sample, 8, track_id=1)])[0]
    fresh.reset()
    np.testing.assert_array_equal(again.joints_3d, fresh.estimate(frames[8], [region(sample, 8)])[0].joints_3d)


def test_a_hand_that_was_lost_for_one_frame(samples, cropped, deformer):
    """The missing frame is masked, as the reader masks frames without a hand."""
    estimator, path = deformer
    sample, clip_estimator = samples[Side.RIGHT], ClipEstimator(path)
    for t in (0, 1, 2):
        found = clip_estimator.estimate(frames_of(sample)[t], [region(sample, t)] if t != 1 else [])
    hand_valid = cropped[Side.RIGHT].hand_valid.clone()
    hand_valid[1] = False
    joints, _, _ = predict_last(estimator, cropped[Side.RIGHT].replace(hand_valid=hand_valid), [0, 1, 2])
    torch.testing.assert_close(torch.from_numpy(found[0].joints_3d), joints[0] - joints[0, :1], **CLOSE)


def test_reset_and_another_side_discard_what_was_seen(samples, deformer):
    sample = samples[Side.RIGHT]
    frames = frames_of(sample)
    used, fresh = ClipEstimator(deformer[1]), ClipEstimator(deformer[1])
    expected = fresh.estimate(frames[3], [region(sample, 3)])[0].joints_3d
    for t in range(3):
        used.estimate(frames[t], [region(sample, t)])
    used.reset()
    np.testing.assert_array_equal(used.estimate(frames[3], [region(sample, 3)])[0].joints_3d, expected)
    used.reset()
    for t in range(3):
        used.estimate(frames[t], [region(sample, t, side=Side.LEFT)])
    np.testing.assert_array_equal(used.estimate(frames[3], [region(sample, 3)])[0].joints_3d, expected)


def test_htt_sees_whole_images_at_its_frame_rate(samples, data, htt):
    """8 frames that are 2 apart at 30 per second, of a video that has 60: every fourth one."""
    estimator, path = htt
    sample = samples[Side.RIGHT]
    resized = hand_tracks(data, [LOAD, dict(type='ResizeFrames', size=WHOLE)])[Side.RIGHT]
    clip_estimator = ClipEstimator(path)
    clip_estimator.reset(sample.intrinsics[0, 0].double().numpy())
    for t, frame in enumerate(frames_of(sample, rate=60)):
        found = clip_estimator.estimate(frame, [region(sample, t)] if t >= 8 else [])
        if t not in (10, 22):
            continue
        window = list(range(t % 4, t + 1, 4))
        clip = resized.select_frames(window)
        images, intrinsics = clip.images[None, :, 0], clip.intrinsics[None, :, 0]
        padding = 8 - len(window)
        shown = torch.arange(8)[None] < len(window)
        with torch.no_grad():
            output = estimator(*(torch.cat([x, x[:, -1:].repeat(1, padding, *[1] * (x.ndim - 2))], 1) for x in
                                 (images, intrinsics)), frame_valid=shown)  # fmt: skip
        joints = output.joints[0, len(window) - 1, Side.RIGHT]
        torch.testing.assert_close(torch.from_numpy(found[0].joints_3d), joints - joints[:1], **CLOSE)
        expected = project_points(joints, sample.intrinsics[t, 0])
        torch.testing.assert_close(torch.from_numpy(found[0].joints_2d), expected, atol=2e-2, rtol=1e-4)
    assert clip_estimator.info.notes[1:] == []


def test_htt_of_tracks_of_one_side_shows_the_nearest(samples, htt):
    sample = samples[Side.RIGHT]
    clip_estimator = ClipEstimator(htt[1], field_of_view=60)
    frame = frames_of(sample)[0]
    (only,) = clip_estimator.estimate(frame, [region(sample, 0)])
    far, near = region(sample, 0, track_id=1), region(sample, 0, track_id=2)._replace(joints_2d=only.joints_2d)
    clip_estimator.reset()
    left, missing, found = clip_estimator.estimate(frame, [region(sample, 0, 0, Side.LEFT), far, near])
    np.testing.assert_array_equal(found.joints_3d, only.joints_3d)
    assert left.joints_valid.all() and not np.allclose(left.joints_3d, found.joints_3d)
    assert not missing.joints_valid.any() and np.isnan(missing.joints_2d).all()
    assert 'a field of view of 60 degrees across is assumed' in clip_estimator.info.notes[1]


def test_a_model_of_right_hands_says_nothing_of_left_ones(samples, tmp_path):
    clip_estimator = ClipEstimator(published_htt(tmp_path, hands=1)[1])
    sample = samples[Side.RIGHT]
    left, right = clip_estimator.estimate(
        frames_of(sample)[0], [region(sample, 0, 0, Side.LEFT), region(sample, 0, 1, Side.RIGHT)]
    )
    assert right.joints_valid.all() and not left.joints_valid.any()


def test_a_wide_video_gets_borders(samples, htt):
    """Black bars around the image and a camera that follows them change no joint."""
    sample = samples[Side.RIGHT]
    frame, camera = frames_of(sample)[0], sample.intrinsics[0, 0].double().numpy()
    square, wide = ClipEstimator(htt[1]), ClipEstimator(htt[1])
    square.reset(camera)
    # The same content as 96 x 48 pixels: the middle rows of the image.
    cut = np.ascontiguousarray(frame.image[24:72])
    moved = camera.copy()
    moved[1, 2] -= 24
    wide.reset(moved)
    padded = cv2.copyMakeBorder(cut, 24, 24, 0, 0, cv2.BORDER_CONSTANT)
    (expected,) = square.estimate(VideoFrame(0, 0.0, padded), [region(sample, 0)])
    (found,) = wide.estimate(VideoFrame(0, 0.0, cut), [region(sample, 0)])
    np.testing.assert_allclose(found.joints_3d, expected.joints_3d, atol=1e-5)
    np.testing.assert_allclose(found.joints_2d + [0, 24], expected.joints_2d, atol=1e-2)


def session(sample, path, count, tracking=None):
    points = sample.joints_2d[:, 0, 0].numpy()[:count]
    tracking = tracking or ScriptedTracking(points, np.arange(count) / RATE, right=float(sample.hand_side[0]))
    return Session(tracking, tracking, ClipEstimator(path))


def write_images(folder, sample, count):
    folder.mkdir()
    for frame in frames_of(sample)[:count]:
        cv2.imwrite(str(folder / f'{frame.index:03d}.png'), frame.image[..., ::-1])
    return folder


def test_a_session_gives_the_joints_of_the_estimator(samples, deformer, tmp_path):
    sample = samples[Side.LEFT]
    found = find_hands(write_images(tmp_path / 'images', sample, 6), session(sample, deformer[1], 6), fps=RATE)
    alone = ClipEstimator(deformer[1])
    expected = [alone.estimate(frame, [region(sample, t)])[0] for t, frame in enumerate(frames_of(sample)[:6])]
    hands = found.predictions
    assert hands.valid.all() and hands.hand_side.tolist() == [Side.LEFT] and hands.scale == 'relative'
    np.testing.assert_allclose(hands.joints[:, 0], [hand.joints_3d for hand in expected], atol=1e-6)
    np.testing.assert_allclose(hands.joints_2d[:, 0], [hand.joints_2d for hand in expected], atol=1e-4)
    low = sample.joints_2d[:6, 0, 0].amin(1).numpy()
    assert (hands.boxes[:, 0, :2] <= low).all(), 'boxes are those of the hands that are tracked'
    assert f'by Deformer ({deformer[1].name}), hands found by' in hands.source and hands.licence == 'CC0'
    assert any('DexYCB s0 test' in note and 'can be wrong in every frame' in note for note in found.notes)


def test_images_without_a_hand_are_in_the_window_of_whole_images(samples, htt):
    """A session shows the estimator all images, also those before the first hand."""
    sample, count = samples[Side.RIGHT], 10
    points, times = sample.joints_2d[:count, 0, 0].numpy(), np.arange(count) / RATE
    running = session(sample, htt[1], count, ScriptedTracking(points, times, present=np.arange(count) >= 6))
    alone = ClipEstimator(htt[1])
    for t, frame in enumerate(frames_of(sample)[:count]):
        hands = running.push(frame)
        expected = alone.estimate(frame, [region(sample, t)] if t >= 6 else [])
        assert len(hands) == len(expected) == (t >= 6)
        for hand, estimate in zip(hands, expected, strict=True):
            np.testing.assert_array_equal(hand.estimate.joints_3d, estimate.joints_3d)


def test_the_camera_file_reaches_the_estimator(samples, htt, tmp_path):
    sample, count = samples[Side.RIGHT], 4
    camera = sample.intrinsics[0, 0].double()
    (tmp_path / 'k.json').write_text(json.dumps(dict(intrinsics=camera.tolist(), image_size=[96, 96])))
    images = write_images(tmp_path / 'images', sample, count)
    with_camera = session(sample, htt[1], count)
    shown = []
    with_camera.push, push = lambda frame: shown.append(push(frame)) or shown[-1], with_camera.push
    found = find_hands(images, with_camera, fps=RATE, camera=tmp_path / 'k.json')
    alone = ClipEstimator(htt[1])
    alone.reset(camera.numpy())
    expected = [alone.estimate(frame, [region(sample, t)])[0] for t, frame in enumerate(frames_of(sample)[:count])]
    for hands, estimate in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(hands.hands[0].estimate.joints_3d, estimate.joints_3d)
    assert found.predictions.frame == 'camera' and found.predictions.scale == 'relative'
    assert not any('field of view' in note for note in found.notes)
    without = find_hands(images, session(sample, htt[1], count), fps=RATE)
    assert any('field of view' in note for note in without.notes)
    assert np.abs(without.predictions.joints[0, 0] - expected[0].joints_3d).max() > 0.01


@pytest.mark.parametrize('kind', ['deformer', 'htt'])
def test_an_interrupted_video_goes_on_as_if_it_had_not_been(samples, request, tmp_path, kind):
    """The last window before the interruption is seen again; images before it are not."""
    sample, path, count, done = samples[Side.RIGHT], request.getfixturevalue(kind)[1], 22, 18
    images = write_images(tmp_path / 'images', sample, count)
    whole = session(sample, path, count)
    expected = find_hands(images, whole, fps=RATE).predictions

    first = session(sample, path, count)
    for frame in frames_of(sample)[:done]:
        first.push(frame)
    journal = Journal(tmp_path / 'journal', {})
    journal.load()
    journal.append(first.records())

    second = session(sample, path, count)
    shown = []
    encode = second.estimator.estimator.encode_frames

    def counted(*arguments):
        shown.append(1)
        return encode(*arguments)

    second.estimator.estimator.encode_frames = counted
    found = find_hands(images, second, fps=RATE, journal=Journal(tmp_path / 'journal', {}))
    assert found.resumed == done
    assert len(shown) == count - done + {'deformer': 2, 'htt': 16}[kind]
    for name in ('joints', 'joints_2d', 'valid', 'track_ids', 'boxes'):
        np.testing.assert_array_equal(getattr(found.predictions, name), getattr(expected, name))


def test_revisiting_what_was_not_restored(samples, deformer):
    with pytest.raises(ValueError, match='there is no image to revisit'):
        session(samples[Side.RIGHT], deformer[1], 3).revisit(frames_of(samples[Side.RIGHT])[0])


def test_it_is_registered_and_does_not_follow_hands(samples, deformer):
    built = FRAME_ESTIMATORS.build(dict(type='ClipEstimator', weights=str(deformer[1])))
    bare = region(samples[Side.RIGHT], 0)._replace(joints_2d=None)
    with pytest.raises(ValueError, match='give it to Session as estimator, not as tracking_estimator'):
        built.estimate(frames_of(samples[Side.RIGHT])[0], [bare])


def positions(reads, times):
    """Which of the frames at some positions a window has, None where one is missing; between them nothing is valid."""
    memory = FrameMemory(reads)
    for n, time in enumerate(times):
        memory.add(time, EncodedFrames(torch.tensor([[float(n)]])))
    encoded, valid = memory.window()
    assert valid.sum() == valid[:: reads.frame_step].sum() and valid[0] and valid[-1]
    rows = encoded.features[:: reads.frame_step, 0].int().tolist()
    return [row if there else None for row, there in zip(rows, valid[:: reads.frame_step].tolist(), strict=True)]


@pytest.mark.parametrize(
    'rate, step, times, expected',
    [
        (None, 1, [0], [0]),
        (None, 1, [0, 1, 2, 3, 4], [1, 2, 3, 4]),
        (None, 1, [0, 1, 3], [0, 1, None, 2]),
        (None, 2, [0, 1, 2, 3, 4, 5, 6], [0, 2, 4, 6]),
        (None, 2, [1, 2, 3, 6], [1, None, 3]),  # 2, 4 and 6; nothing at 0
        (30.0, 2, [0, 1.1, 1.9, 4.0], [0, 2, 3]),  # jitter
        (30.0, 2, [0, 0.5, 1, 1.5, 2, 2.5, 3], [2, 6]),  # twice the rate; -1 is before the first frame
        (30.0, 2, [0, 20.0, 22.0], [1, 2]),  # a pause
        (30.0, 2, [0, 2.8, 5.6], [0, None, 1, 2]),  # a slower video: none within half a step of 1.6
    ],
)
def test_windows(rate, step, times, expected):
    reads = Reads(fields=('images',), num_frames=4, frame_step=step, frame_rate=rate)
    assert positions(reads, times) == expected


def test_memory_is_bounded():
    memory = FrameMemory(Reads(fields=('images',), num_frames=4, frame_step=3))
    for n in range(100):
        memory.add(float(n), EncodedFrames(torch.zeros(1, 2)))
        assert len(memory) <= 11


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(test_pipeline=None), 'does not describe how images are prepared'),
        (dict(test_pipeline=[dict(type='LoadImages')]), 'its test pipeline has no HandCrop'),
        (
            dict(test_pipeline=[dict(type='HandCrop'), dict(type='ColorJitter')]),
            'images are prepared by ColorJitter in its test pipeline, which is not known for videos',
        ),
        (dict(test_pipeline=[dict(type='HandCrop', size=10**9)]), 'must have a size from 1 to 2048 pixels'),
        (dict(test_pipeline=[dict(type='HandCrop', zise=3)]), "no argument 'zise'.*Did you mean 'size'"),
    ],
)
def test_weights_whose_images_are_unknown(deformer, tmp_path, change, message):
    from safetensors.torch import load_file, save_file

    from handpose.zoo.load import HEADER_KEY, read_header

    header = {**read_header(deformer[1]), **change}
    save_file(load_file(deformer[1]), tmp_path / 'a.safetensors', {HEADER_KEY: json.dumps(header)})
    with pytest.raises(ValueError, match=message):
        ClipEstimator(tmp_path / 'a.safetensors')


def test_the_smallest_session_with_a_hand_that_has_no_joints(samples, tmp_path):
    """A tracked hand that the model does not see is not valid in predictions, and a note counts it."""
    sample = samples[Side.LEFT]
    running = session(sample, published_htt(tmp_path, hands=1)[1], 4)
    hands = [running.push(frame) for frame in frames_of(sample)[:4]]
    assert all(len(found) == 1 and not found.hands[0].estimate.joints_valid.any() for found in hands)
    assert np.isfinite(hands[0].hands[0].box()).all() and not hands[0].to_predictions().valid.any()
    predictions = running.finish()
    assert not predictions.valid.any()
    assert any('gives no joints for 4 of 4 hands that were found' in note for note in running.notes)
