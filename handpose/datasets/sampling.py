"""Which frames of a track make up each sample: clips for training, whole tracks for testing.

Every reader takes one of these objects, or its config, as `sampling`. Two terms mean the same everywhere: `frame_step`
counts frames of the track from one position of a clip to the next, `clip_step` those from the start of one clip to the
start of the next. Legend: T frames of a clip, N frames of a track, S samples of a track.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.io.errors import DatasetError
from handpose.registry import SAMPLINGS
from handpose.structures import centred_windows

Frames = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Track:
    """One sequence as one or several cameras see it: what a reader lists, and samples are cut from.

    Attributes:
        name: names the track in messages.
        sequence: identifies the sequence, for `meta['sequence']`.
        cameras: ids of the K cameras, for `meta['cameras']`.
        fps: frames per second.
        annotated: (N,), frames that a clip may be made for.
        readable: (N,), frames that can be read; None means all.
        span: first frame and last frame + 1 of the whole track; None means from the first annotated frame to the last.
        first_number: the number, in `meta['frame_indices']`, of the track's frame 0.
        source: what the reader needs to find the track's files and labels.
    """

    name: str
    sequence: str
    cameras: tuple[str, ...]
    fps: float
    annotated: Mask
    readable: Mask | None = None
    span: tuple[int, int] | None = None
    first_number: int = 0
    source: Any = None

    # Both are read for every sample, so going through the track each time would make an epoch quadratic in its length.
    @cached_property
    def limits(self) -> tuple[int, int]:
        """First frame and last frame + 1 of the whole track; both 0 where nothing is annotated."""
        if self.span is not None:
            return self.span
        annotated = np.flatnonzero(self.annotated)
        return (int(annotated[0]), int(annotated[-1]) + 1) if len(annotated) else (0, 0)

    @cached_property
    def usable(self) -> Mask:
        """(N,): annotated frames that can be read."""
        return self.annotated if self.readable is None else self.annotated & self.readable

    def frames(self) -> Frames:
        """The readable frames of the whole track."""
        frames = np.arange(*self.limits)
        return frames if self.readable is None else frames[self.readable[frames]]


class Sampling(ABC):
    """Cuts samples from tracks. A sample is given by its start, a frame of the track."""

    whole_tracks: ClassVar[bool] = False  # samples are tracks: one may lose frames

    @abstractmethod
    def starts(self, track: Track) -> Frames:
        """The starts (S,) of a track's samples."""

    @abstractmethod
    def frames(self, track: Track, start: int, rng: np.random.Generator) -> tuple[Frames, Mask]:
        """The frames (T,) of the sample that begins at `start`, and which of them are no padding (T,)."""

    def sample_name(self, track: Track, start: int) -> str:
        """Names a sample in messages."""
        return f'{track.name} from frame {track.first_number + start}'


@SAMPLINGS.register_module()
@dataclass(frozen=True)
class Tracks(Sampling):
    """One sample per track, for testing: every readable frame, once and in order.

    Random draws do not change with the epoch, and a track that has broken frames is read without them where the reader
    may skip them.
    """

    whole_tracks = True

    def starts(self, track: Track) -> Frames:
        """See `Sampling.starts`."""
        return np.zeros(int(track.annotated.any()), np.int64)

    def frames(self, track: Track, start: int, rng: np.random.Generator) -> tuple[Frames, Mask]:
        """See `Sampling.frames`."""
        frames = track.frames()
        return frames, np.ones(len(frames), bool)

    def sample_name(self, track: Track, start: int) -> str:
        """See `Sampling.sample_name`."""
        return track.name


WHOLE_TRACKS = Tracks()


@SAMPLINGS.register_module()
@dataclass(frozen=True)
class ClipSampling(Sampling):
    """Clips of a fixed number of frames, for training.

    By default clips cover a track: they start every `clip_step` frames from its first annotated frame, and one more
    ends with it. A track shorter than a clip gives one clip, which repeats its last frame as padding. A clip without an
    annotated frame is left out.

    Args:
        num_frames: T.
        frame_step: frames of the track from one position of a clip to the next.
        clip_step: frames of the track from the start of one clip to the start of the next.
        centred: each clip has an annotated frame at its centre instead, so T must be odd. Only annotated frames enter;
            in place of others the one before (towards the centre) is repeated as padding, as published with Deformer
            (Fu et al., ICCV 2023). The next clip is that of the first annotated frame at least `clip_step` later.
        across_gaps: with `centred`, an annotated frame beyond a gap still enters, as published with Deformer for HO3D;
            otherwise everything from the gap outward is padding, as published for DexYCB.

    Raises:
        DatasetError: numbers that make no clip, or that would leave frames of a track out of every clip.
    """

    num_frames: int
    frame_step: int = 1
    clip_step: int = 1
    centred: bool = False
    across_gaps: bool = False

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.centred and self.num_frames % 2 == 0:
            raise DatasetError(f'ClipSampling: a centred clip needs an odd num_frames, got {self.num_frames}')
        if self.across_gaps and not self.centred:
            raise DatasetError('ClipSampling: across_gaps is an option of centred clips; give centred=True too')
        if not self.centred and self.clip_step > self.num_frames * self.frame_step:
            raise DatasetError(
                f'ClipSampling: clip_step must be at most num_frames * frame_step = '
                f'{self.num_frames * self.frame_step}, or frames would be in no clip, got {self.clip_step}'
            )

    def starts(self, track: Track) -> Frames:
        """See `Sampling.starts`; of centred clips, the frames at the centre."""
        if self.centred:
            return _apart(np.flatnonzero(track.usable), self.clip_step)
        first, stop = track.limits
        extent = (self.num_frames - 1) * self.frame_step + 1
        starts = np.arange(first, max(stop - extent, first) + 1, self.clip_step)
        if starts[-1] + extent < stop:
            starts = np.append(starts, stop - extent)
        return starts[_has_annotated(track, starts, self.num_frames, self.frame_step)]

    def frames(self, track: Track, start: int, rng: np.random.Generator) -> tuple[Frames, Mask]:
        """See `Sampling.frames`."""
        if not self.centred:
            return _repeat_last(start, self.num_frames, self.frame_step, track.limits[1])
        usable = track.usable
        index, valid = centred_windows(
            len(usable), self.num_frames, self.frame_step, usable, [start], across_gaps=self.across_gaps
        )
        return index[0], valid[0]

    def sample_name(self, track: Track, start: int) -> str:
        """See `Sampling.sample_name`."""
        if not self.centred:
            return super().sample_name(track, start)
        return f'{track.name} frame {track.first_number + start}'


@SAMPLINGS.register_module()
@dataclass(frozen=True)
class ActionClips(Sampling):
    """HTT's training clips of action videos (Wen et al., CVPR 2023): clips shifted against each other by a few frames.

    A video is cut into blocks as long as a clip, `num_frames * frame_step` frames. A clip starts at every frame whose
    position in its block is below `window * frame_step`, so that the windows of the network's pose block begin at every
    frame. A clip that the video ends before repeats its last frame as padding.

    Args:
        num_frames: T.
        frame_step: frames of the video from one position of a clip to the next.
        clip_step: frames of the video from the start of one clip to the start of the next, at least.
        window: positions of a clip by which the clips of a block are shifted against each other.
        random_start: in each epoch one of the starts of each block, instead of all.

    Raises:
        DatasetError: numbers that make no clip.
    """

    num_frames: int
    frame_step: int = 1
    clip_step: int = 1
    window: int = 1
    random_start: bool = False

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.window > self.num_frames:
            raise DatasetError(f'ActionClips: window must be at most num_frames = {self.num_frames}, got {self.window}')

    def starts(self, track: Track) -> Frames:
        """See `Sampling.starts`; with `random_start`, the starts of the blocks."""
        if not track.annotated.any():
            return np.zeros(0, np.int64)
        first, stop = track.limits
        block = self.num_frames * self.frame_step
        if self.random_start:
            return _apart(np.arange(first, stop, block), self.clip_step)
        starts = np.arange(first, stop)
        starts = _apart(starts[(starts - first) % block < self.window * self.frame_step], self.clip_step)
        return starts[_has_annotated(track, starts, self.num_frames, self.frame_step)]

    def frames(self, track: Track, start: int, rng: np.random.Generator) -> tuple[Frames, Mask]:
        """See `Sampling.frames`."""
        stop = track.limits[1]
        if self.random_start:
            start += int(rng.integers(min(self.window * self.frame_step, stop - start)))
        return _repeat_last(start, self.num_frames, self.frame_step, stop)


@SAMPLINGS.register_module()
@dataclass(frozen=True)
class ForecastSegments(Sampling):
    """Observed frames and what follows them, for forecasting: one sample for each segment of a track.

    A track is cut into consecutive segments of `num_observed` frames from its first frame on, as G-HTT is evaluated
    (arXiv 2311.17366, section 4.2). A segment that at least `min_future` frames of the track follow gives a sample: the
    frames of the segment and up to `max_future` frames after it. The transform `SplitFuture` separates the two. Samples
    near the end of a track are shorter; nothing is repeated there. A frame inside a sample that cannot be read repeats
    the one before as padding, so that equal steps stay equal times.

    Segments without an annotated frame, or without one among the frames that follow, are left out, and so are those
    whose last frame cannot be read, since a forecast goes on from there.

    Args:
        num_observed: frames of a segment.
        max_future: most frames after it; the paper's 96.
        min_future: fewest frames after it.
        frame_step: frames of the track from one position of a sample to the next.
        segment_step: segments of the track from that of one sample to that of the next; above 1 a test is shorter.

    Raises:
        DatasetError: numbers below 1, or `min_future` above `max_future`.
    """

    num_observed: int = 16
    max_future: int = 96
    min_future: int = 1
    frame_step: int = 1
    segment_step: int = 1

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.min_future > self.max_future:
            raise DatasetError(
                f'ForecastSegments: min_future must be at most max_future = {self.max_future}, got {self.min_future}'
            )

    def starts(self, track: Track) -> Frames:
        """See `Sampling.starts`."""
        first, stop = track.limits
        segment = self.num_observed * self.frame_step * self.segment_step
        needed = self.num_observed + self.min_future - 1
        starts = np.arange(first, max(stop - needed * self.frame_step, first), segment)
        usable = track.usable
        kept = []
        for start in starts.tolist():
            frames = self._positions(track, start)
            observed, future = usable[frames[: self.num_observed]], usable[frames[self.num_observed :]]
            last = frames[self.num_observed - 1]
            if observed.any() and future.any() and (track.readable is None or track.readable[last]):
                kept.append(start)
        return np.array(kept, np.int64)

    def frames(self, track: Track, start: int, rng: np.random.Generator) -> tuple[Frames, Mask]:
        """See `Sampling.frames`."""
        frames = self._positions(track, start)
        if track.readable is None:
            return frames, np.ones(len(frames), bool)
        readable = track.readable[frames]
        last = np.maximum.accumulate(np.where(readable, np.arange(len(frames)), -1))
        return frames[np.where(last < 0, readable.argmax(), last)], readable

    def _positions(self, track: Track, start: int) -> Frames:
        """The frames (T,) of a sample, readable or not."""
        most = (self.num_observed + self.max_future) * self.frame_step
        return np.arange(start, min(start + most, track.limits[1]), self.frame_step)


def build_sampling(sampling: Sampling | dict) -> Sampling:
    """Builds a sampling from its config, `dict(type='Tracks')` for example; an object is returned as it is.

    Raises:
        DatasetError: it is neither.
    """
    if isinstance(sampling, dict):
        return SAMPLINGS.build(sampling)
    if not isinstance(sampling, Sampling):
        raise DatasetError(
            f"sampling must be dict(type='Tracks'), dict(type='ClipSampling', num_frames=7, ...) or such an object, "
            f'got {sampling!r}'
        )
    return sampling


def _check_counts(sampling: Any) -> None:
    """Refuses numbers of frames that are no whole numbers of at least 1."""
    for field in fields(sampling):
        value = getattr(sampling, field.name)
        if field.type in ('int', int) and (type(value) is not int or value < 1):
            name = type(sampling).__name__
            raise DatasetError(f'{name}: {field.name} must be a whole number of at least 1, got {value!r}')


def _apart(frames: Frames, step: int) -> Frames:
    """Those of rising frames that are at least `step` after the one taken before."""
    if step == 1:
        return frames
    kept: list[int] = []
    for frame in frames.tolist():
        if not kept or frame - kept[-1] >= step:
            kept.append(frame)
    return np.array(kept, np.int64)


def _has_annotated(track: Track, starts: Frames, num_frames: int, frame_step: int) -> Mask:
    """(S,): which clips have an annotated frame."""
    frames = starts[:, None] + frame_step * np.arange(num_frames)
    annotated = track.annotated[np.minimum(frames, len(track.annotated) - 1)]
    return (annotated & (frames < track.limits[1])).any(1)


def _repeat_last(start: int, num_frames: int, frame_step: int, stop: int) -> tuple[Frames, Mask]:
    """The frames (T,) of a clip, the last one before `stop` repeated, and which of them are no padding (T,)."""
    frames = start + frame_step * np.arange(num_frames)
    inside = frames < stop
    return np.where(inside, frames, frames[inside][-1]), inside
