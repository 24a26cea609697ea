"""Frames of a video at any time, against reading the whole file."""

import numpy as np
import pytest

from handpose.video import SeekableVideo, VideoError, VideoReader, VideoWriter
from handpose.video.decoders import import_pyav


@pytest.fixture(params=['pyav', 'opencv'])
def backend(request):
    if request.param == 'pyav':
        pytest.importorskip('av')
    return request.param


def write(path, times):
    """Frames that differ: a bar that moves, on a background that gets brighter."""
    with VideoWriter(path, 10) as writer:
        for t, time in enumerate(times):
            image = np.full((48, 64, 3), t % 200, np.uint8)
            image[:, t % 60 : t % 60 + 4] = 255
            writer.write(image, time)
    return path


@pytest.mark.parametrize('ending', ['.mp4', '.webm', '.avi'])
def test_any_order_gives_the_frames_of_the_whole_file(tmp_path, backend, ending):
    if ending == '.mp4':
        pytest.importorskip('av')
    steps = np.full(299, 1 / 10)
    variable = ending != '.avi' and import_pyav() is not None
    if variable:
        steps[[20, 100, 200]] = 1.5, 0.03, 4.0
    path = write(tmp_path / f'a{ending}', np.concatenate([[0], np.cumsum(steps)]))
    frames = list(VideoReader(path, backend))
    assert len(frames) == 300
    video = SeekableVideo(path, backend)
    order = np.random.default_rng(0).permutation(300)[:40].tolist()
    for t in [0, 1, 2, 150, 151, 149, 299, *order, 0]:
        np.testing.assert_array_equal(video.read(frames[t].time), frames[t].image)
        np.testing.assert_array_equal(video.read(frames[t].time + 0.002), frames[t].image)
    np.testing.assert_array_equal(video.read(1e4), frames[-1].image)
    np.testing.assert_array_equal(video.read(-1.0), frames[0].image)
    if variable:
        np.testing.assert_array_equal(video.read(frames[20].time + 1.2), frames[20].image)  # on display in the pause
    video.check_times(frames[-1].time)
    if backend == 'pyav':
        with pytest.raises(VideoError, match=r'lasts \d+\.\d\d s, and the last timestamp is 99.00 s'):
            video.check_times(99.0)
    video.close()


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / 'a.mp4').write_text('text')
    with pytest.raises(VideoError, match='cannot be read as a video'):
        SeekableVideo(tmp_path / 'a.mp4')
