"""Jobs on videos of every kind, good and bad, with scripted hands: what is written, noted or refused."""

import errno
import gc
import os
import struct

import cv2
import numpy as np
import pytest
from scripted_hands import (
    Hand,
    joints_of,
    low_hand,
    moving_right_hand,
    number_of,
    numbered_image,
    session_of,
    two_hands,
    write_video,
)

import handpose
from handpose.inference import video_hands, video_job
from handpose.inference.journal import JournalError
from handpose.inference.session import Session
from handpose.inference.video_hands import find_hands, stream
from handpose.inference.video_job import DrawingError, NoHandError, VideoJob, run_job
from handpose.structures import load_predictions
from handpose.video import CameraReader, VideoError, VideoReader, VideoWriter

FPS = 30.0
TALL = (112, 128)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def infer(source, out, script=moving_right_hand, **options):
    return run_job(VideoJob(str(source), out, **options), session=session_of(script))


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / 'video.avi', 40)


def test_a_video(tmp_path, video):
    report = run_job(VideoJob(str(video), tmp_path / 'a.npz'), session=session_of(two_hands, licence='CC0'))
    saved = load_predictions(tmp_path / 'a.npz')
    assert report.files == [tmp_path / 'a.npz'] and report.notes == [] and report.processed == 40
    assert saved.valid.shape == (40, 2) and saved.valid.all()
    assert (saved.frame, saved.scale, saved.licence) == ('wrist', 'relative', 'CC0')
    assert saved.source == 'video.avi, by a script'
    np.testing.assert_array_equal(saved.joints_2d[7, 1], joints_of(two_hands(7)[0]))
    np.testing.assert_allclose(saved.timestamps, np.arange(40) / FPS, atol=1e-3)
    assert names(tmp_path) == ['a.npz', 'video.avi']


def test_refining_keeps_the_unrefined_hands(tmp_path, video):
    report = infer(video, tmp_path / 'a.npz', refine='gaussian')
    assert report.files == [tmp_path / 'a.npz', tmp_path / 'a_unrefined.npz']
    saved, unrefined = (load_predictions(path) for path in report.files)
    assert np.abs(saved.joints - unrefined.joints).max() > 0
    np.testing.assert_array_equal(unrefined.joints, report.unrefined.joints)


def test_drawing(tmp_path):
    """The hands of each frame on that frame."""
    video = write_video(tmp_path / 'video.avi', 40, TALL)
    report = infer(video, tmp_path / 'a.npz', low_hand, draw=tmp_path / 'drawn.avi')
    assert report.files == [tmp_path / 'a.npz', tmp_path / 'drawn.avi']
    drawn = list(VideoReader(tmp_path / 'drawn.avi'))
    assert [number_of(frame.image) for frame in drawn] == list(range(40))
    for frame in drawn[::13]:
        before = numbered_image(frame.index, TALL)
        changed = np.abs(frame.image.astype(int) - before).max(-1) > 60
        x, y = joints_of(low_hand(frame.index)[0]).round().astype(int).T
        assert changed[y, x].mean() > 0.8 and changed.mean() < 0.4


# What a video shows


def test_no_hand_at_all(tmp_path, video):
    with pytest.raises(NoHandError, match=r'video\.avi: no hand was found in 40 frames, so .*a\.npz was not written'):
        infer(video, tmp_path / 'a.npz', lambda t: [], draw=tmp_path / 'b.avi')
    assert names(tmp_path) == ['video.avi']


def test_nothing_but_an_uncertain_hand(tmp_path, video):
    with pytest.raises(NoHandError, match=r'one track was dropped as spurious, .*0\.55\); no hand was found in 40'):
        infer(video, tmp_path / 'a.npz', lambda t: [Hand(50, 40, presence=0.55)])


def test_three_hands(tmp_path, video):
    report = infer(video, tmp_path / 'a.npz', lambda t: [*two_hands(t), Hand(60, 15, 12, presence=0.8)])
    assert load_predictions(tmp_path / 'a.npz').valid.all()
    assert report.notes == ['track 2 (right, 40 frames) was dropped: a second right hand; predictions hold one of each']


def test_hands_that_leave_and_come_back(tmp_path):
    video = write_video(tmp_path / 'a.avi', 80)
    report = infer(video, tmp_path / 'a.npz', lambda t: two_hands(t)[: 2 - (20 <= t < 55)])
    saved = load_predictions(tmp_path / 'a.npz')
    assert report.notes == [] and saved.valid[:, 1].all()
    assert np.flatnonzero(~saved.valid[:, 0]).tolist() == list(range(20, 56))  # the detector looks now and then
    assert np.unique(saved.track_ids[:, 0]).tolist() == [-1, 1, 2]


def test_one_frame(tmp_path):
    report = infer(write_video(tmp_path / 'a.avi', 1), tmp_path / 'a.npz', draw=tmp_path / 'b.avi')
    assert load_predictions(tmp_path / 'a.npz').valid.tolist() == [[True]]
    assert report.notes == [] and len(list(VideoReader(tmp_path / 'b.avi'))) == 1


# What a video is


def test_4k(tmp_path):
    size = (3840, 2160)
    video = write_video(tmp_path / 'a.avi', 3, size)
    infer(video, tmp_path / 'a.npz', lambda t: [Hand(3000 + t, 1500, 600)])
    saved = load_predictions(tmp_path / 'a.npz')
    assert saved.image_size.tolist() == list(size) and saved.valid.all()
    np.testing.assert_array_equal(saved.joints_2d[2, 0], joints_of(Hand(3002, 1500, 600)))


def test_a_telephone_held_upright(tmp_path):
    """The frames are stored on their side; pixels, size and drawing are those of the upright video."""
    pytest.importorskip('av')
    path, size = tmp_path / 'a.mp4', (112, 160)
    with VideoWriter(path, FPS) as writer:
        for number in range(20):
            writer.write(np.ascontiguousarray(np.rot90(numbered_image(number, size))))
    data = bytearray(path.read_bytes())
    matrix, one = data.find(b'tkhd') + 40 + 4, 1 << 16
    data[matrix : matrix + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, size[0] * one, 0, 1 << 30)
    path.write_bytes(data)
    script = lambda t: [Hand(60, 100 + t)]  # noqa: E731
    infer(path, tmp_path / 'a.npz', script, draw=tmp_path / 'drawn.mp4')
    saved = load_predictions(tmp_path / 'a.npz')
    assert saved.image_size.tolist() == list(size) and saved.valid.all()
    np.testing.assert_array_equal(saved.joints_2d[19, 0], joints_of(Hand(60, 119)))
    assert next(iter(VideoReader(tmp_path / 'drawn.mp4'))).image.shape == (160, 112, 3)


@pytest.mark.parametrize('kind', ['grey', 'alpha', '16 bits', '16 bits with alpha'])
def test_images_of_every_kind(tmp_path, kind):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(12):
        image = numbered_image(number)
        if kind == 'grey':
            image = image[..., 0]
        if 'alpha' in kind:
            image = np.dstack([image, np.zeros_like(image[..., :1])])
        if '16' in kind:
            image = image.astype(np.uint16) * 257
        cv2.imwrite(str(folder / f'{number:03d}.png'), image)
    infer(folder, tmp_path / 'a.npz', fps=10, draw=tmp_path / 'drawn.avi')
    saved = load_predictions(tmp_path / 'a.npz')
    assert saved.valid.all()
    np.testing.assert_allclose(saved.timestamps, np.arange(12) / 10)
    np.testing.assert_array_equal(saved.joints_2d[7, 0], joints_of(moving_right_hand(7)[0]))


def test_one_image(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), numbered_image(4))
    infer(tmp_path / 'a.png', tmp_path / 'a.npz')
    saved = load_predictions(tmp_path / 'a.npz')
    np.testing.assert_array_equal(saved.joints_2d[0, 0], joints_of(moving_right_hand(4)[0]))


def test_images_without_a_rate(tmp_path):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f'{number}.png'), numbered_image(number))
    with pytest.raises(VideoError, match=r'2 images have no times; give the images per second \(--fps\)'):
        infer(tmp_path, tmp_path / 'a.npz')


def test_a_variable_frame_rate(tmp_path):
    """From 30 to 10 frames per second: the times of frames count, in the drawn video too."""
    pytest.importorskip('av')
    times = np.concatenate([np.arange(15) / 30, 0.5 + np.arange(15) / 10])
    video = write_video(tmp_path / 'a.mp4', 30, TALL, times=times)
    infer(video, tmp_path / 'a.npz', low_hand, draw=tmp_path / 'drawn.mp4')
    np.testing.assert_allclose(load_predictions(tmp_path / 'a.npz').timestamps, times, atol=1e-3)
    drawn = list(VideoReader(tmp_path / 'drawn.mp4'))
    np.testing.assert_allclose([frame.time for frame in drawn], times, atol=1e-3)
    assert [number_of(frame.image) for frame in drawn] == list(range(30))


def test_a_video_that_is_cut_off(tmp_path):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / 'a.webm', FPS) as writer:
        for number in range(60):
            image = numbered_image(number)
            image[10:] = rng.integers(0, 256, image[10:].shape)  # so that no frame takes few bytes
            writer.write(image)
    whole = (tmp_path / 'a.webm').read_bytes()
    (tmp_path / 'cut.webm').write_bytes(whole[: len(whole) // 2])
    report = infer(tmp_path / 'cut.webm', tmp_path / 'a.npz', draw=tmp_path / 'drawn.webm')
    saved = load_predictions(tmp_path / 'a.npz')
    assert 15 < len(saved) < 45 and saved.valid.all()
    assert 'the rest may be missing or damaged' in report.notes[-1]
    assert len(list(VideoReader(tmp_path / 'drawn.webm'))) == len(saved)


def test_a_video_that_is_damaged_in_the_middle(tmp_path):
    """As many hands as there are frames that can be read, each at its time; a note counts what is damaged."""
    pytest.importorskip('av')
    video = write_video(tmp_path / 'a.avi', 60)
    data = bytearray(video.read_bytes())
    # The chunks of the frames; those of other data are empty.
    frames = [at for at in range(len(data)) if data[at : at + 4] == b'00dc' and any(data[at + 4 : at + 8])][:60]
    for at in frames[25:30]:
        data[at + 8 : at + 200] = bytes(192)
    video.write_bytes(data)
    report = infer(video, tmp_path / 'a.npz')
    saved = load_predictions(tmp_path / 'a.npz')
    assert len(saved) == 55 and saved.valid[:, 0].sum() >= 50
    times = np.delete(np.arange(60), range(25, 30)) / FPS
    np.testing.assert_allclose(saved.timestamps, times, atol=1e-3)
    assert any(note.startswith('damaged packets or frames, skipped or concealed: ') for note in report.notes)


class BreakingReader:
    """Frames that end with an error, as those of a file whose frames change their size."""

    backend, duration = 'stand-in', 2.0
    notes = ['a note of the reader']

    def __init__(self, path, count, error):
        self.frames, self.count, self.error = list(VideoReader(path))[:count], count, error

    def __iter__(self):
        yield from self.frames
        raise self.error


def test_a_source_that_breaks_off(tmp_path, monkeypatch):
    """The hands before are written and drawn."""
    video = write_video(tmp_path / 'video.avi', 40)
    error = VideoError('video.avi: frame 23 is 64x112 pixels and those before it 112x64')
    opened = lambda source, fps=None: BreakingReader(source, 23, error)  # noqa: E731
    monkeypatch.setattr(video_hands, 'open_source', opened)
    monkeypatch.setattr(video_job, 'open_source', opened)
    report = infer(video, tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    assert len(load_predictions(tmp_path / 'a.npz')) == 23
    assert report.notes == [f'the images end after 23: {error}', 'a note of the reader']
    assert len(list(VideoReader(tmp_path / 'drawn.avi'))) == 23
    assert names(tmp_path) == ['a.npz', 'drawn.avi', 'video.avi']


def test_a_source_that_breaks_off_at_once(tmp_path, monkeypatch):
    opened = lambda source, fps=None: BreakingReader(source, 0, VideoError('nothing to read'))  # noqa: E731
    monkeypatch.setattr(video_hands, 'open_source', opened)
    with pytest.raises(VideoError, match='nothing to read'):
        infer(write_video(tmp_path / 'video.avi', 2), tmp_path / 'a.npz')
    assert names(tmp_path) == ['video.avi']


def test_images_whose_size_changes(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(20):
        cv2.imwrite(str(folder / f'{number:03d}.png'), numbered_image(number, (112, 64 if number < 13 else 80)))
    report = infer(folder, tmp_path / 'a.npz', fps=30)
    assert len(load_predictions(tmp_path / 'a.npz')) == 13
    assert report.notes[0].startswith('the images end after 13: ') and '013.png is 112x80 pixels' in report.notes[0]


def test_a_video_that_is_none(tmp_path):
    (tmp_path / 'a.mp4').write_text('hello')
    with pytest.raises(VideoError, match=r'a\.mp4 cannot be read as a video: expected an MP4'):
        infer(tmp_path / 'a.mp4', tmp_path / 'a.npz')
    assert names(tmp_path) == ['a.mp4']


# Outputs


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(out='a.json'), r'a\.json: a predictions file must end in \.npz'),
        (dict(out='folder.npz'), r'folder\.npz is a folder; give the name of a predictions file'),
        (dict(out='video.avi/a.npz'), r'a\.npz cannot be written: .*; choose another folder'),
        (dict(out='a.npz', draw='a.gif'), r'a\.gif: the name of a video must end in one of \.mp4'),
        (dict(out='a.npz', draw='folder.npz/../video.avi'), r'video\.avi is the video itself; give another name'),
        (dict(out='a.npz', refine='smoothest'), 'smoothest'),
        (dict(out='a.npz', camera='K.json'), r'K\.json does not exist; a camera file is JSON'),
    ],
)
def test_what_is_refused_before_the_work(tmp_path, video, options, message):
    (tmp_path / 'folder.npz').mkdir()
    session = session_of(moving_right_hand)
    before = video.read_bytes()
    paths = {key: tmp_path / value for key, value in options.items() if key != 'refine'}
    with pytest.raises(ValueError, match=message):
        run_job(VideoJob(str(video), **{**options, **paths}), session=session)
    assert session.detector.calls == 0
    assert names(tmp_path) == ['folder.npz', 'video.avi'] and video.read_bytes() == before


def test_a_folder_that_may_not_be_written(tmp_path, video, monkeypatch):
    def refuse(dir):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(video_job.tempfile, 'TemporaryFile', refuse)
    with pytest.raises(ValueError, match=r'a\.npz cannot be written: Permission denied; choose another folder'):
        infer(video, tmp_path / 'a.npz')


def fill_disk(monkeypatch, writes):
    """The disk is full after so many files of arrays; returns a function that makes room."""
    save, left = np.savez_compressed, [writes]

    def limited(file, **arrays):
        left[0] -= 1
        if left[0] < 0:
            file.write(b'a few bytes')
            raise FULL
        save(file, **arrays)

    monkeypatch.setattr(np, 'savez_compressed', limited)
    return lambda: monkeypatch.setattr(np, 'savez_compressed', save)


def test_a_full_disk_while_hands_are_found(tmp_path, monkeypatch):
    video = write_video(tmp_path / 'video.avi', 330)
    make_room = fill_disk(monkeypatch, 2)
    with pytest.raises(
        JournalError,
        match=r'partial cannot be written: No space left on device; it has the hands of 200 images: make room, and the',
    ):
        infer(video, tmp_path / 'a.npz')
    make_room()
    assert names(tmp_path / 'a.npz.partial') == ['images_00000000.npz', 'images_00000100.npz', 'settings.json']
    assert infer(video, tmp_path / 'a.npz').processed == 130
    assert names(tmp_path) == ['a.npz', 'video.avi']


@pytest.mark.parametrize('refine', [None, 'gaussian'])
def test_a_full_disk_when_the_result_is_written(tmp_path, video, monkeypatch, refine):
    """No image is processed again once there is room; a result of an earlier run stays until then."""
    (tmp_path / 'a.npz').write_text('an earlier result')
    make_room = fill_disk(monkeypatch, 1)
    with pytest.raises(OSError, match='No space left on device'):
        infer(video, tmp_path / 'a.npz', refine=refine)
    make_room()
    assert (tmp_path / 'a.npz').read_text() == 'an earlier result'
    assert names(tmp_path) == ['a.npz', 'a.npz.partial', 'video.avi']
    assert infer(video, tmp_path / 'a.npz', refine=refine).processed == 0
    assert load_predictions(tmp_path / 'a.npz').valid.all()


class FullWriter(VideoWriter):
    """The disk is full at the sixth frame, or when the file is closed."""

    at_end = False

    def write(self, frame, time=None):
        super().write(frame, time)
        if not self.at_end and time is not None and time > 5 / FPS - 1e-3:
            raise VideoError(f'{self.path}: the video could not be written: No space left on device')

    def __exit__(self, kind, value, traceback):
        super().__exit__(VideoError if self.at_end else kind, value, traceback)
        if self.at_end and kind is None:
            raise VideoError(f'{self.path}: the video could not be written: No space left on device')


@pytest.mark.parametrize('at_end', [False, True])
def test_a_full_disk_while_drawing(tmp_path, video, monkeypatch, at_end):
    monkeypatch.setattr(FullWriter, 'at_end', at_end)
    monkeypatch.setattr(video_job, 'VideoWriter', FullWriter)
    with pytest.raises(
        DrawingError,
        match=r'drawn\.avi: .*No space left on device; the hands are in .*a\.npz, and the same command draws them wit',
    ):
        infer(video, tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    assert load_predictions(tmp_path / 'a.npz').valid.all()
    assert names(tmp_path) == ['a.npz', 'a.npz.partial', 'video.avi']
    monkeypatch.undo()
    assert infer(video, tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi').processed == 0
    assert names(tmp_path) == ['a.npz', 'drawn.avi', 'video.avi']


@pytest.mark.parametrize('step', ['finding hands', 'drawing'])
def test_ctrl_c(tmp_path, video, step):
    """The message says what is there; the same command goes on from it."""

    def interrupt(name, done, total):
        if name == step and done > 0.5:
            raise KeyboardInterrupt

    job = VideoJob(str(video), tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    with pytest.raises(KeyboardInterrupt) as raised:
        run_job(job, interrupt, session_of(moving_right_hand))
    drawing = step == 'drawing'
    expected = (
        f'the hands are in {job.out}; the same command draws them'
        if drawing
        else f'the hands of 17 images are in {job.out}.partial; the same command goes on from there'
    )
    assert str(raised.value) == expected
    assert names(tmp_path) == ['a.npz'] * drawing + ['a.npz.partial', 'video.avi']
    report = run_job(job, session=session_of(moving_right_hand))
    assert report.processed == (0 if drawing else 23)
    assert names(tmp_path) == ['a.npz', 'drawn.avi', 'video.avi']


# Cameras


class NumberedCapture:
    """A camera that is unplugged after so many images; each takes 1/30 s."""

    def __init__(self, count, size):
        self.count, self.size, self.grabbed, self.now = count, size, -1, 0.0
        self.released = False

    def __call__(self):  # the clock
        return self.now

    def isOpened(self):
        return True

    def get(self, key):
        return 0.0

    def set(self, key, value):
        return True

    def grab(self):
        self.grabbed += 1
        self.now += 1 / FPS
        return self.grabbed < self.count

    def retrieve(self):
        return True, numbered_image(self.grabbed, self.size)

    def release(self):
        self.released = True


@pytest.fixture
def camera(monkeypatch):
    """Makes source '0' a camera with so many images."""

    def plug_in(count, size=(112, 64)):
        def opened(source, fps=None):
            assert source == '0'
            return CameraReader(0, open_capture=lambda number: device, clock=device)

        device = NumberedCapture(count, size)
        monkeypatch.setattr(video_hands, 'open_source', opened)
        return device

    return plug_in


def test_a_camera_for_some_seconds(tmp_path, camera):
    camera(10_000, TALL)
    report = infer('0', tmp_path / 'a.npz', low_hand, seconds=0.99, draw=tmp_path / 'drawn.avi')
    saved = load_predictions(tmp_path / 'a.npz')
    assert len(saved) == 31 and saved.valid.all() and saved.source == 'camera 0, by a script'
    assert report.notes == [] and report.files == [tmp_path / 'a.npz', tmp_path / 'drawn.avi']
    assert [number_of(frame.image) for frame in VideoReader(tmp_path / 'drawn.avi')] == list(range(31))
    assert names(tmp_path) == ['a.npz', 'drawn.avi']


def test_a_camera_is_released(tmp_path, camera):
    device = camera(10)
    infer('0', tmp_path / 'a.npz')
    assert device.released
    device = camera(10)
    for hands in stream('0', session_of(moving_right_hand, keep=False)):
        if hands.frame.index == 3:
            break
    del hands
    gc.collect()
    assert device.released


def test_a_camera_that_is_unplugged(tmp_path, camera):
    camera(20)
    report = infer('0', tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    assert len(load_predictions(tmp_path / 'a.npz')) == 20
    assert report.notes == ['the images end after 20: camera 0 delivers no more frames after 20; was it disconnected?']
    assert len(list(VideoReader(tmp_path / 'drawn.avi'))) == 20


def test_a_camera_that_delivers_nothing(tmp_path, camera):
    camera(0)
    with pytest.raises(VideoError, match='delivers no more frames after 0'):
        infer('0', tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    assert names(tmp_path) == []


def test_ctrl_c_ends_the_recording_of_a_camera(tmp_path, camera):
    """Its hands are the result: there is nothing to resume."""
    camera(10_000)

    def interrupt(name, done, total):
        if done > 0.5:
            raise KeyboardInterrupt

    job = VideoJob('0', tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    report = run_job(job, interrupt, session_of(moving_right_hand))
    assert len(report.predictions) == 17 and names(tmp_path) == ['a.npz', 'drawn.avi']


@pytest.mark.parametrize('at_end', [False, True])
def test_a_full_disk_while_a_camera_is_drawn(tmp_path, camera, monkeypatch, at_end):
    """The recording goes on, and its hands are written."""
    camera(25)
    monkeypatch.setattr(FullWriter, 'at_end', at_end)
    monkeypatch.setattr(video_job, 'VideoWriter', FullWriter)
    with pytest.raises(DrawingError, match=r'drawn\.avi: .*No space left on device; the hands are in .*a\.npz'):
        infer('0', tmp_path / 'a.npz', draw=tmp_path / 'drawn.avi')
    assert len(load_predictions(tmp_path / 'a.npz')) == 25 and names(tmp_path) == ['a.npz']


def test_a_camera_without_a_hand(tmp_path, camera):
    camera(10)
    with pytest.raises(NoHandError):
        infer('0', tmp_path / 'a.npz', lambda t: [], draw=tmp_path / 'drawn.avi')
    assert names(tmp_path) == []


# From Python


def test_a_stream(video):
    found = list(stream(video, session_of(two_hands, keep=False)))
    assert [hands.frame.index for hands in found] == list(range(40))
    assert all([hand.track_id for hand in hands] == [0, 1] for hands in found)


def test_the_names_of_the_package(video):
    assert handpose.Session is Session
    found = list(handpose.stream(video, session_of(two_hands, keep=False)))
    assert [len(hands) for hands in found] == [2] * 40
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        handpose.Sesion  # noqa: B018


def test_a_camera_file_places_the_hands(tmp_path, video):
    (tmp_path / 'K.json').write_text(
        '{"intrinsics": [[120, 0, 55.5], [0, 120, 31.5], [0, 0, 1]], "image_size": [112, 64]}'
    )
    found = find_hands(video, session_of(moving_right_hand), camera=tmp_path / 'K.json')
    assert found.predictions.frame == 'camera' and found.predictions.scale == 'relative'
    assert (found.predictions.joints[..., 2] > 0).all()
    with pytest.raises(ValueError, match='another aspect ratio'):
        (tmp_path / 'K.json').write_text(
            '{"intrinsics": [[120, 0, 55.5], [0, 120, 31.5], [0, 0, 1]], "image_size": [112, 112]}'
        )
        find_hands(video, session_of(moving_right_hand), camera=tmp_path / 'K.json')
