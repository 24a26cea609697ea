import subprocess
import sys

import cv2
import numpy as np
import pytest

from handpose.video import VideoError, VideoReader, VideoWriter, save_clip_video
from handpose.video.decoders import import_pyav
from handpose.visualization import save_contact_sheet

has_pyav = import_pyav() is not None
RED_THEN_BLUE = [np.full((64, 96, 3), color, np.uint8) for color in [(220, 30, 30)] * 4 + [(30, 30, 220)] * 4]


def read_back(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = capture.read()
        if not there:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


@pytest.fixture(params=['pyav', 'opencv'])
def backend(request):
    if request.param == 'pyav':
        pytest.importorskip('av')
    return request.param


@pytest.mark.parametrize('ending', ['.webm', '.mp4', '.avi'])
def test_frames_come_back_in_number_order_and_colour(tmp_path, ending, backend, capfd):
    if ending == '.mp4' and backend == 'opencv':
        pytest.skip('OpenCV has no H.264 encoder')
    path = tmp_path / 'new' / f'clip{ending}'
    with VideoWriter(path, 10, backend) as writer:
        for frame in RED_THEN_BLUE:
            writer.write(frame)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ''
    frames, fps = read_back(path)
    assert len(frames) == 8 and fps == pytest.approx(10)
    for frame, expected in zip(frames, RED_THEN_BLUE, strict=True):
        assert np.abs(frame.reshape(-1, 3).mean(0) - expected[0, 0]).max() < 25
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize('ending', ['.webm', '.mp4', '.avi'])
def test_odd_sizes_are_made_even(tmp_path, ending):
    if ending == '.mp4' and not has_pyav:
        pytest.skip('an MP4 takes PyAV')
    path = tmp_path / f'odd{ending}'
    save_clip_video(path, [frame[:61, :95] for frame in RED_THEN_BLUE], fps=10)
    assert read_back(path)[0][0].shape == (62, 96, 3)


def test_an_interrupted_video_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / 'clip.webm'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 10) as writer:
        writer.write(RED_THEN_BLUE[0])
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'must end in one of \.mp4'):
        VideoWriter(tmp_path / 'clip.gif', 10)
    with pytest.raises(ValueError, match='fps must be above 0'):
        VideoWriter(tmp_path / 'clip.webm', 0)
    with pytest.raises(VideoError, match='no frame was written'):
        save_clip_video(tmp_path / 'clip.webm', [], fps=10)
    with pytest.raises(ValueError, match='as the first one'):
        save_clip_video(tmp_path / 'clip.webm', [RED_THEN_BLUE[0], RED_THEN_BLUE[1][:32]], fps=10)
    with pytest.raises(ValueError, match=r'must end in \.png'):
        save_contact_sheet(tmp_path / 'sheet.bmp', RED_THEN_BLUE, 4)
    assert not list(tmp_path.iterdir())


def test_a_codec_that_does_not_open_is_an_error(tmp_path, monkeypatch):
    class Closed:
        def __init__(self, *arguments):
            pass

        def isOpened(self):
            return False

    Closed.fourcc = cv2.VideoWriter.fourcc
    monkeypatch.setattr(cv2, 'VideoWriter', Closed)
    with (
        pytest.raises(VideoError, match=r'no codec for it opens here \(VP80, VP90, 96x64 pixels\)'),
        VideoWriter(tmp_path / 'clip.webm', 10, 'opencv') as writer,
    ):
        writer.write(RED_THEN_BLUE[0])
    assert not list(tmp_path.iterdir())


def test_frames_keep_their_times(tmp_path):
    """With PyAV exactly; with OpenCV the frame on display at each period of a constant rate."""
    times = np.array([0, 0.1, 0.2, 0.5, 0.54, 0.9])
    greys = np.arange(6) * 40
    for backend in ('pyav', 'opencv'):
        if backend == 'pyav' and not has_pyav:
            continue
        path = tmp_path / f'{backend}.webm'
        with VideoWriter(path, 10, backend) as writer:
            for time, grey in zip(times, greys, strict=True):
                writer.write(np.full((64, 96, 3), grey, np.uint8), 5 + time)
        frames = list(VideoReader(path))
        found = [round(frame.image.mean() / 40) for frame in frames]
        if backend == 'pyav':
            np.testing.assert_allclose([frame.time for frame in frames], times, atol=0.001)
            assert found == [0, 1, 2, 3, 4, 5]
        else:  # the one at 0.5 s is followed too soon
            np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 10, atol=0.001)
            assert found == [0, 1, 2, 2, 2, 4, 4, 4, 4, 5]
    with pytest.raises(VideoError, match='must increase'), VideoWriter(path, 10) as writer:
        writer.write(RED_THEN_BLUE[0], 1.0)
        writer.write(RED_THEN_BLUE[0], 1.0)


def test_an_mp4_plays_in_browsers(tmp_path):
    """H.264 with the pixel format that browsers support, standard colours, and its index before its frames."""
    av = pytest.importorskip('av')
    times = [0, 0.1, 0.2, 0.5, 0.54, 0.9]
    with VideoWriter(tmp_path / 'a.mp4', 10) as writer:
        for time, image in zip(times, RED_THEN_BLUE, strict=False):
            writer.write(image[:61, :95], time)
    with av.open(str(tmp_path / 'a.mp4')) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ('h264', 'yuv420p', 96, 62)
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0)  # the last frame has its period
        decoded = list(container.decode(stream))
    assert [frame.time for frame in decoded] == pytest.approx(times, abs=1e-6)
    for frame, expected in zip(decoded, RED_THEN_BLUE, strict=False):
        luma = 16 + 219 / 255 * expected[0, 0] @ (0.2126, 0.7152, 0.0722)  # of BT.709
        assert abs(frame.to_ndarray()[:62].mean() - luma) < 2
    assert boxes((tmp_path / 'a.mp4').read_bytes())[:2] == [b'ftyp', b'moov']


def boxes(data):
    """The types of the outermost boxes of an MP4 file."""
    at, found = 0, []
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], 'big')
    return found


def test_without_pyav_an_mp4_is_refused_before_any_frame(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    for backend in (None, 'opencv'):
        with pytest.raises(VideoError, match=r"clip\.mp4: .* \(H\.264\) .* 'handpose\[video\]'; or write \.webm"):
            VideoWriter(tmp_path / 'clip.mp4', 10, backend)
    with pytest.raises(VideoError, match=r"PyAV is not installed: pip install 'handpose\[video\]'"):
        VideoWriter(tmp_path / 'clip.mp4', 10, 'pyav')
    save_clip_video(tmp_path / 'clip.webm', RED_THEN_BLUE, 10)
    assert [p.name for p in tmp_path.iterdir()] == ['clip.webm']


def test_pyav_without_h264_is_refused_before_any_frame(tmp_path, monkeypatch):
    av = pytest.importorskip('av')
    monkeypatch.setattr(av, 'codecs_available', {'libvpx', 'mpeg4'})
    with pytest.raises(VideoError, match=r'was built without libx264 or libopenh264; write \.webm or \.avi'):
        VideoWriter(tmp_path / 'clip.mp4', 10)
    VideoWriter(tmp_path / 'clip.webm', 10)


FULL_DISK = """
import resource, sys
import numpy as np
from handpose.video import VideoError, VideoWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 30, sys.argv[2]) as writer:
        for _ in range(40):
            writer.write(noise.integers(0, 255, (120, 160, 3), dtype=np.uint8))
except VideoError as error:
    print(error)
"""


@pytest.mark.parametrize('limit', [2_000, 100_000])
@pytest.mark.parametrize('ending', ['.webm', '.mp4', '.avi'])
def test_a_full_disk_is_an_error_and_keeps_the_old_file(tmp_path, ending, backend, limit):
    """A limit of the file size stands for the end of the disk."""
    pytest.importorskip('resource')
    if ending == '.mp4' and backend == 'opencv':
        pytest.skip('OpenCV has no H.264 encoder')
    path = tmp_path / f'clip{ending}'
    path.write_bytes(b'old')
    command = [sys.executable, '-c', FULL_DISK, str(path), backend, str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = 'File too large' if backend == 'pyav' and ending != '.avi' else 'is the disk full?'
    assert said.startswith(f'{path}: ') and expected in said
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_webm_by_opencv_is_webm(tmp_path):
    path = tmp_path / 'clip.webm'
    with VideoWriter(path, 10, 'opencv') as writer:
        writer.write(RED_THEN_BLUE[0])
    head = path.read_bytes()[:64]
    assert b'\x42\x82\x84webm' in head and b'matroska' not in head
    assert [p.name for p in tmp_path.iterdir()] == ['clip.webm']


def test_contact_sheet_keeps_colours(tmp_path):
    save_contact_sheet(tmp_path / 'sheet.png', RED_THEN_BLUE, columns=4)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / 'sheet.png')), cv2.COLOR_BGR2RGB)
    assert sheet.shape == (2 * 72 + 8, 4 * 104 + 8, 3)
    assert tuple(sheet[20, 20]) == (220, 30, 30) and tuple(sheet[100, 20]) == (30, 30, 220)
