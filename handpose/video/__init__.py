"""Reading and writing video files with the times of their frames.

    for frame in VideoReader('pour.mp4'):
        frame.index, frame.time, frame.image        # 0, seconds from the first frame, (h, w, 3) uint8 RGB

PyAV (`pip install 'handpose[video]'`) reads and writes where it is installed, OpenCV where it is not.
"""

from handpose.video.containers import VideoError
from handpose.video.frames_at_times import VideoFrames
from handpose.video.reader import VideoFrame, VideoReader
from handpose.video.timing import frame_period
from handpose.video.writer import VideoWriter, save_clip_video

__all__ = [
    'VideoError',
    'VideoFrame',
    'VideoFrames',
    'VideoReader',
    'VideoWriter',
    'frame_period',
    'save_clip_video',
]
