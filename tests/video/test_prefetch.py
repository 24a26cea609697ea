"""`prefetch`: frames in their order, errors after the frames before them, no thread left behind."""

import threading
import time

import numpy as np
import pytest

from handpose.video import VideoError, VideoFrame
from handpose.video.prefetch import prefetch


def frames_until(count, error=None, read=None):
    for index in range(count):
        if read is not None:
            read.append(index)
        yield VideoFrame(index, index / 30, np.zeros((2, 2, 3), np.uint8))
    if error is not None:
        raise error


def threads():
    return [thread for thread in threading.enumerate() if thread.name == 'prefetch']


@pytest.mark.parametrize('count', [0, 1, 3, 50])
@pytest.mark.parametrize('size', [1, 4])
def test_all_frames_in_their_order(count, size):
    assert [frame.index for frame in prefetch(frames_until(count), size)] == list(range(count))
    assert threads() == []


@pytest.mark.parametrize('error', [VideoError('damaged'), MemoryError(), KeyboardInterrupt()])
def test_errors_arrive_after_the_frames_before_them(error):
    seen = []
    with pytest.raises(type(error)) as raised:
        for frame in prefetch(frames_until(7, error), 4):
            seen.append(frame.index)
    assert raised.value is error and seen == list(range(7))
    assert threads() == []


def test_at_most_so_many_frames_are_read_ahead():
    read = []
    frames = prefetch(frames_until(100, read=read), 3)
    for taken in range(1, 6):
        next(frames)
        deadline = time.monotonic() + 5
        while len(read) < taken + 4 and time.monotonic() < deadline:  # three wait, and one waits to be put
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(read) == taken + 4
    frames.close()
    assert threads() == []


def test_closing_early_ends_the_thread():
    frames = prefetch(frames_until(10**9), 2)
    next(frames)
    assert len(threads()) == 1
    frames.close()
    assert threads() == []
    with pytest.raises(StopIteration):
        next(frames)


def test_closing_before_the_first_frame_starts_nothing():
    read = []
    prefetch(frames_until(5, read=read)).close()
    assert read == [] and threads() == []
