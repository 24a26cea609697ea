"""Times, rotation, damage and refusals of `VideoReader`, with both libraries; and `VideoFrames`."""

import struct
from fractions import Fraction

import cv2
import numpy as np
import pytest

from handpose.video import VideoError, VideoFrames, VideoReader, VideoWriter, frame_period, save_clip_video
from handpose.video.decoders import OpenCVDecoder

# From 30 to 15 frames per second.
TIMES = np.concatenate([np.arange(12) / 30, 0.4 + np.arange(12) / 15])
RATE_HEADER = b'\x23\xe3\x83'  # the element DefaultDuration of a WebM track


def grey(t, size=(96, 64)):
    return np.full((size[1], size[0], 3), 10 * t, np.uint8)


def write(path, times=TIMES, size=(96, 64)):
    with VideoWriter(path, 30) as writer:
        for t, time in enumerate(times):
            writer.write(grey(t, size), time)
    return path


@pytest.fixture(params=['pyav', 'opencv'])
def backend(request):
    if request.param == 'pyav':
        pytest.importorskip('av')
    return request.param


@pytest.mark.parametrize('ending', ['.webm', '.mp4'])
def test_times_of_a_variable_rate(tmp_path, backend, ending):
    pytest.importorskip('av')  # writes it
    frames = list(VideoReader(write(tmp_path / f'a{ending}'), backend))
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=0.001)
    assert [frame.index for frame in frames] == list(range(24))
    assert [round(frame.image.mean() / 10) for frame in frames] == list(range(24))


def test_a_browser_recording_without_rate_and_duration(tmp_path, backend):
    """As MediaRecorder writes: OpenCV states 1000 frames per second of it."""
    av = pytest.importorskip('av')
    times = np.cumsum(np.random.default_rng(0).integers(20, 48, 24)) / 1000
    with av.open(str(tmp_path / 'a.webm'), 'w', options={'live': '1'}) as container:
        stream = container.add_stream('libvpx', rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for t, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(grey(t), format='rgb24')
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray((tmp_path / 'a.webm').read_bytes())
    at = data.find(RATE_HEADER)
    if at >= 0:  # the element becomes an empty one
        length = data[at + 3] & 0x7F
        data[at : at + 4 + length] = bytes([0xEC, 0x80 | (length + 2)]) + bytes(length + 2)
        (tmp_path / 'a.webm').write_bytes(data)
    reader = VideoReader(tmp_path / 'a.webm', backend)
    found = np.array([frame.time for frame in reader])
    np.testing.assert_allclose(found, times - times[0], atol=0.0011)
    assert reader.duration is None and reader.notes == []


@pytest.mark.parametrize('ending', ['.avi', '.webm'])
def test_a_constant_rate_with_opencv_alone(tmp_path, ending):
    with VideoWriter(tmp_path / f'a{ending}', 10, 'opencv') as writer:
        for t in range(7):
            writer.write(grey(t))
    reader = VideoReader(tmp_path / f'a{ending}', 'opencv')
    np.testing.assert_allclose([frame.time for frame in reader], np.arange(7) / 10, atol=0.001)
    assert reader.backend == 'OpenCV' and reader.fps == pytest.approx(10) and reader.duration == pytest.approx(0.7)
    assert len(list(reader)) == 7  # a second time, from the beginning


def test_one_frame(tmp_path, backend):
    (frame,) = VideoReader(write(tmp_path / 'a.avi', times=[0.0]), backend)
    assert frame.index == 0 and frame.time == 0


def test_a_telephone_held_upright(tmp_path, backend):
    """The matrix in the track header of an MP4 turns its frames by 90 degrees, clockwise."""
    pytest.importorskip('av')
    with VideoWriter(tmp_path / 'a.mp4', 30) as writer:
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :48] = 255  # the left half becomes the upper one
        writer.write(image)
    data = bytearray((tmp_path / 'a.mp4').read_bytes())
    matrix = data.find(b'tkhd') + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30)
    (tmp_path / 'a.mp4').write_bytes(data)
    (frame,) = VideoReader(tmp_path / 'a.mp4', backend)
    assert frame.image.shape == (96, 64, 3)
    assert frame.image[:40].mean() > 230 and frame.image[56:].mean() < 25


def test_a_truncated_file(tmp_path, backend):
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 96, 3), dtype=np.uint8)
    save_clip_video(tmp_path / 'a.webm', noise, fps=30)
    whole = (tmp_path / 'a.webm').read_bytes()
    (tmp_path / 'cut.webm').write_bytes(whole[: len(whole) // 2])
    reader = VideoReader(tmp_path / 'cut.webm', backend)
    assert 15 < len(list(reader)) < 45
    assert 'of the 2.00 s that the file states: the rest may be missing or damaged' in reader.notes[-1]


def test_an_mp4_without_the_index_of_its_frames(tmp_path, backend):
    pytest.importorskip('av')
    save_clip_video(tmp_path / 'a.mp4', [grey(t) for t in range(10)], fps=30)
    (tmp_path / 'cut.mp4').write_bytes((tmp_path / 'a.mp4').read_bytes().replace(b'moov', b'skip'))
    with pytest.raises(VideoError, match=r'cut\.mp4 cannot be read as a video: it is damaged or incomplete \(an MP4'):
        VideoReader(tmp_path / 'cut.mp4', backend)


def test_damaged_bytes_give_frames_or_an_error_of_ours(tmp_path, backend):
    save_clip_video(tmp_path / 'a.webm', [grey(t) for t in range(20)], fps=30)
    whole = (tmp_path / 'a.webm').read_bytes()
    draw = np.random.default_rng(1)
    for k in range(40):
        data = bytearray(whole)
        for at in draw.integers(4, len(data), 12):
            data[at] = draw.integers(256)
        path = tmp_path / f'{k}.webm'
        path.write_bytes(data)
        try:
            times = [frame.time for frame in VideoReader(path, backend)]
        except VideoError as error:
            assert path.name in str(error)
        else:
            assert (np.diff(times) > 0).all() and times[0] == 0


@pytest.mark.parametrize(
    'content, words',
    [
        (b'', 'the file is empty'),
        (b'text, not a video', r"got one that begins with b'text, no'"),
        (b'#EXTM3U\n#EXTINF:1,\nother.mp4\n', 'expected an MP4'),  # playlists name other files
        (b'ffconcat version 1.0\nfile other.mp4\n', 'expected an MP4'),
        (b'\x1a\x45\xdf\xa3' + bytes(200), 'it is damaged or incomplete$'),
        (None, 'does not exist'),
    ],
)
def test_files_that_are_no_videos(tmp_path, backend, content, words):
    path = tmp_path / 'a.mp4'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=words):
        list(VideoReader(path, backend))
    with pytest.raises(VideoError, match='is a folder'):
        VideoReader(tmp_path, backend)


def test_a_codec_that_opencv_lacks_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.avi', np.arange(3) / 30)
    monkeypatch.setattr(cv2.VideoCapture, 'read', lambda self: (False, None), raising=False)
    with pytest.raises(VideoError, match=r'no frame that OpenCV can decode \(codec MJPG\); PyAV reads more'):
        list(VideoReader(path, 'opencv'))


@pytest.mark.parametrize(
    'given, expected, repaired',
    [
        ([0, 33, 67, 100], [0, 33, 67, 100], 0),
        ([1500, 1533, 1567], [0, 33, 67], 0),
        ([0, 33, 33, 67], [0, 33, 50, 67], 1),
        ([0, None, None, 90], [0, 30, 60, 90], 2),
        ([0, 0, 0, 0, 0, 0, 0, 0], [0, 40, 80, 120, 160, 200, 240, 280], 7),  # a container without times
        ([0, 33, 20, None], [0, 33, 73, 113], 2),
    ],
)
def test_missing_and_repeated_times(tmp_path, monkeypatch, given, expected, repaired):
    path = tmp_path / 'a.avi'
    save_clip_video(path, [grey(0)], fps=25)
    stamps = [None if ms is None else ms / 1000 for ms in given]
    monkeypatch.setattr(OpenCVDecoder, 'frames', lambda self: ((stamp, grey(0)) for stamp in stamps))
    reader = VideoReader(path, 'opencv')
    np.testing.assert_allclose([1000 * frame.time for frame in reader], expected, atol=1e-6)
    assert [f'valid time in the file: {repaired};' in note for note in reader.notes] == [True] * bool(repaired)


def test_frames_of_other_sizes_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.avi', [0.0])
    images = iter([(0.0, grey(0)), (0.1, grey(0, (48, 32)))])
    monkeypatch.setattr(OpenCVDecoder, 'frames', lambda self: images)
    with pytest.raises(VideoError, match='frame 1 is 48x32 pixels and those before it 96x64'):
        list(VideoReader(path, 'opencv'))


def test_the_period_of_frames():
    assert frame_period([1.0]) is None
    assert frame_period([0, 0.033, 0.067, 0.1, 0.3, 0.333]) == pytest.approx((0.1 + 0.033) / 4)
    assert frame_period([0, 0.1, 2.3]) == pytest.approx(0.1)


def test_frames_are_those_of_their_times(tmp_path):
    path = tmp_path / 'a.avi'
    save_clip_video(path, [grey(k) for k in range(20)], fps=10)
    frames = VideoFrames(path, np.array([0.1, 0.48, 0.52, 1.9]))
    assert [round(frames.read(t).mean() / 10) for t in range(4)] == [1, 5, 5, 19] and frames.notes == []
    for times, words in (
        ([0.0, 9.0], r'lasts 2\.00 s, and the timestamps range from 0\.00 to 9\.00 s'),
        ([-1.0, 0.0], 'must be relative to the first frame'),
    ):
        with pytest.raises(VideoError, match=words):
            VideoFrames(path, times)
    late = VideoFrames(path, [0.0, 0.1, 2.3])
    with pytest.raises(VideoError, match=r'ends with its frame at 1\.90 s, but a timestamp is 2\.30 s'):
        late.read(2)


def test_frames_of_a_variable_rate_are_found_by_time_and_made_up_times_are_noted(tmp_path):
    pytest.importorskip('av')
    path = write(tmp_path / 'a.webm')
    own = VideoFrames(path, TIMES)
    assert [round(own.read(t).mean() / 10) for t in range(24)] == list(range(24)) and own.notes == []
    counted = VideoFrames(path, np.arange(24) / 30)  # half as long as the video
    shown = [round(counted.read(t).mean() / 10) for t in range(24)]
    assert shown[:12] == list(range(12)) and shown[23] == 17
    assert any('has no frame at' in note for note in counted.notes)
