"""What the readers of two-hand poses with actions share: whole recordings, or their annotated actions, without images.

Legend: N frames of a recording, T frames of a sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.io.action_labels import ActionTaxonomy
from handpose.datasets.sampling import Frames
from handpose.structures import HandSequence

SEGMENTS = ('untrimmed', 'trimmed')


class LabelledSegment(NamedTuple):
    """One annotated action of a recording: its frames `first` to `stop` - 1.

    Attributes:
        number: the segment's own in the dataset's list.
        action: label, -1 unknown.
        object: label of the object, -1 none or unknown.
        first: first frame, counted from the recording's first one.
        stop: last frame + 1.
    """

    number: int
    action: int
    object: int
    first: int
    stop: int


class HandJoints(NamedTuple):
    """The poses of a recording.

    Attributes:
        joints: (N, 2, 21, 3) metres, left first, common order; anything where not valid.
        joints_valid: (N, 2, 21).
    """

    joints: NDArray[np.float32]
    joints_valid: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledRecording:
    """One recording, before its poses are read.

    Attributes:
        name: of the recording, unlike every other.
        annotated: (N,) frames that have a hand, as far as is known before they are read.
        fps: frames per second.
        segments: its annotated actions.
        cameras: the id of its camera, for `meta['cameras']`; empty where there is none.
        first_number: the number, in `meta['frame_indices']`, of its first frame.
        meta: more entries of `meta`.
        source: what the reader needs to read the poses.
    """

    name: str
    annotated: NDArray[np.bool_]
    fps: float
    segments: Sequence[LabelledSegment] = ()
    cameras: tuple[str, ...] = ()
    first_number: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: Any = None


@dataclass(kw_only=True, eq=False, repr=False)
class PoseSegments(VideoDataset):
    """Poses of both hands (H = 2) with actions, without images and cameras.

    A reader defines `list_recordings`, `read_recording`, and, where it has actions, `configured_taxonomy`. A hand or
    joint that is not annotated has its masks False, and frames without a hand stay in the track. Samples have
    `action_label` and `verb_label` (both -1 in untrimmed recordings), and `object_label` of every frame; in `meta`,
    'recording' is the recording's name, and 'segment' the number of a trimmed action in the dataset's list.

    Args:
        segments: 'untrimmed': a track is a whole recording; 'trimmed': a track is one annotated action.
        min_frames: a track of fewer frames stops the reader, or is left out with `on_broken='skip'`; 16 frames are the
            fewest that G-HTT observes.
        context_frames: frames of the recording before and after a trimmed action that belong to its track, as far as
            there are any.
        taxonomy: None, the dataset's own actions; an `ActionTaxonomy`, or the path of a YAML list (`read_taxonomy`).
        sampling: see `VideoDataset`, as all other options.

    Attributes:
        actions: the `ActionTaxonomy`, or None where the dataset has no actions.
    """

    choices = {'segments': SEGMENTS}

    segments: str = 'trimmed'
    min_frames: int = 16
    context_frames: int = 0
    taxonomy: ActionTaxonomy | str | Path | None = None

    @property
    def coordinate_frame(self) -> str:
        """The coordinate frame of the joints, `HandSequence.frame`."""
        return 'world'

    @property
    def metainfo(self) -> dict[str, Any]:
        """See `VideoDataset`; and the names of actions, verbs and objects, where there are any."""
        return {**super().metainfo, **({} if self.actions is None else self.actions.metainfo())}

    def list_recordings(self) -> list[LabelledRecording]:
        """Opens the dataset and lists the recordings of the split."""
        raise NotImplementedError(f'{type(self).__name__} must define list_recordings()')

    def read_recording(self, recording: LabelledRecording) -> HandJoints:
        """Reads the poses of a recording, which are kept."""
        raise NotImplementedError(f'{type(self).__name__} must define read_recording(recording)')

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`."""
        if type(self.min_frames) is not int or self.min_frames < 1:
            raise DatasetError(f'min_frames must be a whole number of at least 1, got {self.min_frames!r}')
        check_context(self.context_frames)
        self.actions = self.configured_taxonomy(vars(self))
        self._motion: dict[str, HandJoints] = {}
        tracks, short = [], []
        for recording in self.list_recordings():
            for segment in self._segments_of(recording):
                track = self._track(recording, segment)
                length = track.limits[1]
                if length < self.min_frames:
                    short.append(f'{track.name} has {length} frames ({length / recording.fps:.2f} s)')
                else:
                    tracks.append(track)
        self.leave_out(
            short,
            f'tracks are shorter than min_frames = {self.min_frames} frames',
            advice='remove what is too short or give a smaller min_frames',
        )
        return tracks

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        what = 'action' if self.segments == 'trimmed' else 'recording'
        return (
            f'split {self.split!r} of {self.root} has no {what} of at least {self.min_frames} frames with a hand; '
            f'choose another split or other options'
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        recording, segment = track.source
        if recording.name not in self._motion:
            self._motion[recording.name] = self.read_recording(recording)
        motion = self._motion[recording.name]
        rows = frames + segment.first
        valid = motion.joints_valid[rows]
        trimmed = {'segment': segment.number} if self.segments == 'trimmed' else {}
        return HandSequence(
            meta={'recording': recording.name, 'hand_model': None, **trimmed, **recording.meta},
            frame=self.coordinate_frame,
            hand_side=torch.tensor([0, 1]),
            hand_valid=torch.from_numpy(valid.any(-1)),
            joints_3d=torch.from_numpy(np.where(valid[..., None], motion.joints[rows], 0).astype(np.float32)),
            joints_valid=torch.from_numpy(valid),
            action_label=torch.tensor(segment.action),
            verb_label=torch.tensor(self._verb_of(segment.action)),
            object_label=torch.from_numpy(_objects(recording, segment, self.segments)[frames]),
        )

    def _segments_of(self, recording: LabelledRecording) -> Sequence[LabelledSegment]:
        if self.segments == 'trimmed':
            return recording.segments
        return [LabelledSegment(0, -1, -1, 0, len(recording.annotated))]

    def _track(self, recording: LabelledRecording, segment: LabelledSegment) -> Track:
        name = recording.name
        first, stop = recording.first_number + segment.first, recording.first_number + segment.stop
        if self.segments == 'trimmed':
            name = f'{name}/{first:06d}-{stop - 1:06d}'
            segment = segment._replace(
                first=max(segment.first - self.context_frames, 0),
                stop=min(segment.stop + self.context_frames, len(recording.annotated)),
            )
        return Track(
            name=name,
            sequence=name,
            cameras=recording.cameras,
            fps=recording.fps,
            annotated=recording.annotated[segment.first : segment.stop],
            span=(0, segment.stop - segment.first),
            first_number=recording.first_number + segment.first,
            source=(recording, segment),
        )

    def _verb_of(self, action: int) -> int:
        return -1 if action < 0 or self.actions is None else self.actions.action_verb[action]


def check_context(context_frames: int) -> None:
    """Raises DatasetError unless `context_frames` is a whole number from 0."""
    if type(context_frames) is not int or context_frames < 0:
        raise DatasetError(f'context_frames must be a whole number of at least 0, got {context_frames!r}')


def object_of(actions: ActionTaxonomy, action: int) -> int:
    """The label of an action's object; -1 where it has none or is not known itself."""
    return -1 if action < 0 else int(actions.action_object[action])


def _objects(recording: LabelledRecording, segment: LabelledSegment, segments: str) -> NDArray[np.int64]:
    """The object's label in each frame of a track; in untrimmed recordings that of the action that a frame is in."""
    if segments == 'trimmed':
        return np.full(segment.stop - segment.first, segment.object)
    labels = np.full(len(recording.annotated), -1)
    for action in recording.segments:
        labels[action.first : action.stop] = action.object
    return labels
