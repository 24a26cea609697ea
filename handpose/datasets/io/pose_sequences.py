"""What the readers of pose sequences share: clips and tracks of hand poses, without pictures.

A track is one recording of one or two hands, seen from one camera: what a refiner of motion works on.
Legend: T frames.
"""

import numpy as np

from handpose.datasets.base import DatasetError, VideoDataset, check_choice, mark_padding
from handpose.structures import overlapping_windows


class PoseSequences(VideoDataset):
    """Clips (training) or whole tracks (testing) of hand poses.

    A reader subclasses it, makes its list of tracks, calls `list_clips` at the end of its constructor, and defines
    `annotated`, `read_frames` and `track_name`.

    Args:
        mode: 'clips', windows of `num_frames` neighbouring frames; or 'tracks', all frames of a track from the first
            annotated to the last.
        num_frames: frames in a clip. A shorter track gives one clip that repeats its last frame, with `frame_valid`
            False.
        clip_stride: frames from the start of one clip to that of the next.
        pipeline, seed, on_broken: as in `VideoDataset`.

    Raises:
        DatasetError: an unknown mode, or numbers that make no clip.
    """

    def __init__(self, mode='clips', num_frames=27, clip_stride=9, pipeline=(), seed=0, on_broken='error'):
        check_choice('mode', mode, ('clips', 'tracks'))
        if min(num_frames, clip_stride) < 1 or clip_stride > num_frames:
            raise DatasetError(
                f'num_frames must be at least 1 and clip_stride from 1 to num_frames, got {num_frames} and '
                f'{clip_stride}'
            )
        super().__init__(pipeline=pipeline, seed=seed, on_broken=on_broken, keep_rest=mode == 'tracks')
        self.mode, self.num_frames, self.clip_stride = mode, num_frames, clip_stride
        self._items = []  # (track, first frame, last frame + 1)

    def annotated(self, track):
        """(T,) bool: which frames of track number `track` have any hand."""
        raise NotImplementedError(f'{type(self).__name__} must define annotated(track)')

    def read_frames(self, track, frames):
        """The clip made of the frames `frames` (numpy numbers from 0 to T - 1) of a track, `frame_valid` all True."""
        raise NotImplementedError(f'{type(self).__name__} must define read_frames(track, frames)')

    def track_name(self, track):
        """Names a track in sentences."""
        raise NotImplementedError(f'{type(self).__name__} must define track_name(track)')

    def list_clips(self, num_tracks):
        """Lists the samples of tracks 0 to `num_tracks` - 1; a clip without any annotated frame is none."""
        for track in range(num_tracks):
            annotated = self.annotated(track)
            places = np.flatnonzero(annotated)
            if not len(places):
                continue
            first, stop = int(places[0]), int(places[-1]) + 1
            if self.mode == 'tracks':
                self._items.append((track, first, stop))
                continue
            index, _ = overlapping_windows(stop - first, self.num_frames, self.clip_stride)
            for start, end in first + index[:, [0, -1]]:
                if annotated[start : end + 1].any():
                    self._items.append((track, int(start), int(end) + 1))
        self.finish_opening()

    def __len__(self):
        return len(self._items)

    def sample_name(self, index):
        """Names sample `index`: its track and, of a clip, its first frame."""
        track, first, _ = self._items[index]
        name = self.track_name(track)
        return name if self.mode == 'tracks' else f'{name} from frame {first}'

    def read(self, index):
        """Returns sample `index` before the transforms."""
        track, first, stop = self._items[index]
        frames = np.arange(first, stop)
        missing = self.num_frames - len(frames) if self.mode == 'clips' else 0
        clip = self.read_frames(track, np.pad(frames, (0, missing), mode='edge'))
        if not missing:
            return clip
        return mark_padding(clip, np.arange(self.num_frames) < len(frames))
