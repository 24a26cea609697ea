"""Assembly101 (Sener et al., CVPR 2022): the poses of two hands and their actions; docs/data/action_datasets.md."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.assembly101 import layout
from handpose.datasets.assembly101.labels import listed_taxonomy
from handpose.datasets.assembly101.pose_cache import PoseCache
from handpose.datasets.base import Track, VideoDataset
from handpose.datasets.io.action_labels import ActionTaxonomy, own_taxonomy
from handpose.datasets.io.action_videos import check_names
from handpose.datasets.io.errors import check_choice
from handpose.datasets.io.pose_segments import check_context
from handpose.datasets.sampling import Frames
from handpose.hands.sides import Side
from handpose.registry import DATASETS
from handpose.structures import HandSequence


class PoseTrack(NamedTuple):
    """What a track is of: frame 0 of the track is frame `first` of the recording, at 30 or 60 a second."""

    recording: str
    first: int
    segment: layout.Segment | None


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class Assembly101(VideoDataset):
    """Assembly101's pose sequences: both hands (H = 2, left first), metres, `frame='world'`, without images.

    The thumb's base (slot 1) is not in the files: `joints_valid` is False there. A hand that was lost is absent: its
    masks are False. Poses are read when the dataset is opened, once, into arrays beside the files.

    Args:
        data_root: folder with `fine-grained-annotations` and `poses@60fps`.
        split: 'train', 'val' or 'test': `fine-grained-annotations/{train,validation,test}.csv`.
        segments: 'trimmed', a track is one action, with `action_label`, `verb_label` and `object_label` (its noun; -1
            in lists that withhold them); or 'untrimmed', a track is a whole recording, without labels.
        context_frames: frames, at `fps` per second, of the recording before and after an action that belong to its
            track, as far as there are any.
        fps: 30, every second frame of the files, at which actions are annotated; or 60.
        poses: folder of the pose files below the root; None takes the first of `layout.POSE_FOLDERS` that there is.
        min_confidence: hands that the tracker trusts less are absent, and those of confidence 0 always.
        people: ids, as in the names of recordings before `_user_id`; None takes all.
        taxonomy: None, the dataset's own `actions.csv`; an `ActionTaxonomy`, or the path of a YAML list, whose numbers
            the lists of segments then use.
        cache_dir: folder for the arrays; None puts them in the folder of the pose files.
        on_broken: with 'skip', a recording whose file is damaged is left out. Recordings without a file, of which the
            dataset has 25, always are, and are listed in `skipped`.
        sampling: see `VideoDataset`, as all other options.

    Raises:
        DatasetError: a missing root, list or folder, a damaged file, an unknown option, a split without poses.
    """

    name = 'assembly101'
    choices = {'split': tuple(layout.SPLIT_FILES), 'segments': ('trimmed', 'untrimmed')}

    segments: str = 'trimmed'
    context_frames: int = 0
    fps: int = layout.ACTION_RATE
    poses: str | None = None
    min_confidence: float = 0.0
    people: Sequence[str] | None = None
    taxonomy: ActionTaxonomy | str | Path | None = None
    cache_dir: str | Path | None = None

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy:
        """See `VideoDataset.configured_taxonomy`; the dataset's own list lies in its folder."""
        own = config.get('taxonomy')
        return listed_taxonomy(config['data_root']) if own is None else own_taxonomy(own)

    @property
    def metainfo(self) -> dict[str, Any]:
        """See `VideoDataset.metainfo`; and the names of actions, verbs and objects."""
        return {**super().metainfo, **self.actions.metainfo()}

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`; reads the pose files that are not in the cache."""
        check_choice('fps', self.fps, (layout.ACTION_RATE, layout.POSE_RATE))
        check_context(self.context_frames)
        layout.check_root(self.root)
        self.actions = self.configured_taxonomy({'data_root': self.root, 'taxonomy': self.taxonomy})
        path = self.root / layout.ANNOTATIONS / layout.SPLIT_FILES[self.split]
        segments = layout.read_segments(path)
        for segment in segments:
            if segment.action >= 0:
                self.actions.label_of(segment.action, path)
        if self.people is not None:
            check_names('people', self.people, sorted({layout.person_of(s.recording) for s in segments}), path)
            segments = [s for s in segments if layout.person_of(s.recording) in self.people]
        self._cache = PoseCache(layout.pose_folder(self.root, self.poses), self.cache_dir)
        present = self._recordings_with_poses(list(dict.fromkeys(s.recording for s in segments)))
        annotated = {name: np.asarray(self._hands_of(name, None)[1].any((1, 2))) for name in present}
        if self.segments == 'untrimmed':
            return [self._track(PoseTrack(recording, 0, None), annotated[recording]) for recording in present]
        tracks, late = [], []
        for segment in segments:
            if segment.recording not in annotated:
                continue
            each = self.fps // layout.ACTION_RATE
            frames = annotated[segment.recording][each * segment.first : each * segment.stop]
            if len(frames):
                first = max(each * segment.first - self.context_frames, 0)
                around = annotated[segment.recording][first : each * segment.stop + self.context_frames]
                tracks.append(self._track(PoseTrack(segment.recording, first, segment), around))
            else:
                late.append(f'{segment.recording}: segment {segment.number} begins after the last pose')
        self._report(late, 'segments without poses')
        return tracks

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'split {self.split!r} of {self.root} has no frame with a hand in {self._cache.folder}; unpack the pose '
            f'files of its recordings there, or choose other options'
        )

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        source: PoseTrack = track.source
        joints, valid = self._hands_of(source.recording, source.first + frames)
        segment = source.segment
        labels: dict[str, Any] = {}
        meta: dict[str, Any] = {
            'recording': source.recording,
            'subject': layout.person_of(source.recording),
            'hand_model': None,
        }
        if segment is not None:
            meta |= {'segment': segment.number, 'toy': segment.toy}
            action = -1 if segment.action < 0 else self.actions.label_of(segment.action, track.name)
            known, actions = action >= 0, self.actions
            labels = {
                'action_label': torch.tensor(action),
                'verb_label': torch.tensor(actions.action_verb[action] if known else -1),
                'object_label': torch.full((len(frames),), actions.action_object[action] if known else -1),
            }
        return HandSequence(
            frame='world',
            meta=meta,
            hand_side=torch.tensor([Side.LEFT, Side.RIGHT]),
            hand_valid=torch.from_numpy(valid.any(-1)),
            joints_3d=torch.from_numpy(np.where(valid[..., None], joints, np.float32(0))),
            joints_valid=torch.from_numpy(valid),
            **labels,
        )

    def _track(self, source: PoseTrack, annotated: NDArray) -> Track:
        name = source.recording
        if source.segment is not None:
            name += f'/{source.segment.first:06d}-{source.segment.stop - 1:06d}'
        return Track(
            name=name,
            sequence=name,
            cameras=(),
            fps=float(self.fps),
            annotated=annotated,
            span=(0, len(annotated)),
            first_number=source.first,
            source=source,
        )

    def _hands_of(self, recording: str, frames: NDArray | None) -> tuple[NDArray, NDArray]:
        """Joints (T, 2, 21, 3) of frames, None all, of a recording at the dataset's rate, and which can be used."""
        found, step = self._cache.open(recording), layout.POSE_RATE // self.fps
        rows = slice(None, None, step) if frames is None else step * frames
        joints, confidence = found.joints[rows], found.confidence[rows]
        trusted = (confidence > 0) & (confidence >= self.min_confidence)  # of NaN neither is true
        return joints, trusted[..., None] & np.isfinite(joints).all(-1)

    def _recordings_with_poses(self, recordings: list[str]) -> list[str]:
        """Those of the recordings whose poses can be read; the others are reported."""
        missing = [name for name in recordings if not self._cache.source(name).exists()]
        self._report(
            [f'{self._cache.source(name)} does not exist' for name in missing], 'recordings without pose files'
        )
        present = [name for name in recordings if name not in set(missing)]
        broken = self._cache.update(present)
        self.leave_out([str(error) for error in broken.values()], 'pose files that cannot be read')
        return [name for name in present if name not in broken]

    def _report(self, messages: list[str], what: str) -> None:
        """Keeps account of what the dataset itself lacks, whatever `on_broken` says."""
        if messages:
            summary = f'{len(messages)} {what}; the first: {messages[0]}'
            print_log(f'Skipped: {summary}', logger='current', level=logging.WARNING)
            self._left_out += messages
