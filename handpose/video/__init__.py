"""Reading and writing videos with the times of their frames, live cameras, and crops of their images.

    for frame in VideoReader('pour.mp4'):
        frame.index, frame.time, frame.image        # 0, seconds from the first frame, (h, w, 3) uint8 RGB

`CameraReader` iterates over a live camera in the same way. PyAV (`pip install 'handpose[video]'`) reads and writes
files if it is installed, otherwise OpenCV.
"""

from handpose.video.camera import CameraReader
from handpose.video.containers import VideoError
from handpose.video.crop import crop_square
from handpose.video.frames_at_times import VideoFrames
from handpose.video.letterbox import letterbox
from handpose.video.reader import VideoFrame, VideoReader
from handpose.video.seeking import SeekableVideo
from handpose.video.timing import frame_period
from handpose.video.writer import VideoWriter, save_clip_video

__all__ = [
    'CameraReader',
    'SeekableVideo',
    'VideoError',
    'VideoFrame',
    'VideoFrames',
    'VideoReader',
    'VideoWriter',
    'crop_square',
    'frame_period',
    'letterbox',
    'save_clip_video',
]
