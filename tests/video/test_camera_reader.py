"""`CameraReader` with a device that only exists here."""

import cv2
import numpy as np
import pytest

from handpose.video import CameraReader, VideoError

FPS = 25.0


class FakeClock:
    """Seconds that pass when something waits."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class FakeCapture:
    """Delivers blue images of growing brightness, one every 40 ms; a number of `failing` cannot be decoded."""

    def __init__(self, clock, count=100, sizes=((64, 48),), failing=(), stated_fps=FPS, opened=True):
        self.clock, self.count, self.sizes, self.failing, self.opened = clock, count, sizes, failing, opened
        self.properties = {cv2.CAP_PROP_FPS: stated_fps}
        self.grabbed = -1

    def isOpened(self):
        return self.opened

    def get(self, key):
        return self.properties.get(key, 0.0)

    def set(self, key, value):
        self.properties[key] = value
        return True

    def grab(self):
        self.grabbed += 1
        self.clock.now += 1 / FPS
        return self.opened and self.grabbed < self.count

    def retrieve(self):
        self.clock.now += 0.005  # decoding takes time, which is not the camera's
        if self.grabbed in self.failing:
            return False, None
        width, height = self.sizes[min(self.grabbed, len(self.sizes) - 1)]
        image = np.zeros((height, width, 3), np.uint8)
        image[..., 0] = 100 + self.grabbed
        return True, image

    def release(self):
        self.opened = False


def make(**options):
    clock = FakeClock()
    reader_options = {key: options.pop(key) for key in ('size', 'fps') if key in options}
    capture = FakeCapture(clock, **options)
    return CameraReader(3, **reader_options, open_capture=lambda device: capture, clock=clock), capture


def test_frames_have_the_times_at_which_they_arrive():
    camera, capture = make()
    with camera:
        frames = []
        for frame in camera:
            frames.append(frame)
            if frame.index == 1:
                capture.clock.now += 0.2  # a slow loop
            if frame.index == 3:
                break
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.045, 0.29, 0.335])
    assert frames[2].image[0, 0].tolist() == [0, 0, 102] and frames[0].image.shape == (48, 64, 3)
    assert camera.fps == FPS and camera.duration is None and camera.notes == [] and not capture.opened


def test_a_second_iteration_begins_at_time_zero_and_closing_ends_it():
    camera, _ = make()
    next(iter(camera))
    times = []
    for frame in camera:
        times.append(frame.time)
        if len(times) == 3:
            camera.close()
    assert times == pytest.approx([0, 0.045, 0.09]) and list(camera) == []


def test_requests_and_what_the_camera_makes_of_them():
    camera, capture = make(size=(640, 480), fps=60.0, stated_fps=0.0)
    assert capture.properties[cv2.CAP_PROP_FRAME_WIDTH] == 640 and capture.properties[cv2.CAP_PROP_FPS] == 60
    assert capture.properties[cv2.CAP_PROP_BUFFERSIZE] == 1 and camera.fps == 60
    next(iter(camera))
    assert camera.notes == ['640x480 pixels were requested, and the camera delivers 64x48']
    assert make(stated_fps=0.0)[0].fps is None


def test_frames_that_cannot_be_decoded_are_skipped_and_noted():
    camera, _ = make(failing=(1, 2))
    frames = iter(camera)
    found = [next(frames) for _ in range(3)]
    assert [frame.index for frame in found] == [0, 1, 2] and found[1].image[0, 0, 2] == 103
    assert found[1].time == pytest.approx(0.135)
    assert camera.notes == ['frames that could not be decoded, skipped: 2']


def test_failures():
    with pytest.raises(VideoError, match='camera 3 cannot be opened; check'):
        make(opened=False)
    with pytest.raises(VideoError, match='camera 3 delivers no more frames after 5; was it disconnected'):
        list(make(count=5)[0])
    with pytest.raises(VideoError, match='the frames changed from 64x48 to 32x24 pixels'):
        list(make(sizes=((64, 48), (32, 24)))[0])
