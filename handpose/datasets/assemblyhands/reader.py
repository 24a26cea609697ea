"""AssemblyHands' poses: two hands that assemble toys, without images; docs/action_datasets.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.datasets.assembly101 import layout as action_files
from handpose.datasets.assembly101.labels import listed_taxonomy
from handpose.datasets.assemblyhands import layout
from handpose.datasets.base import DatasetError
from handpose.datasets.io.action_labels import ActionTaxonomy, own_taxonomy
from handpose.datasets.io.action_videos import check_names
from handpose.datasets.io.pose_recordings import timeline, without_other_rates
from handpose.datasets.io.pose_segments import (
    HandJoints,
    LabelledRecording,
    LabelledSegment,
    PoseSegments,
    object_of,
)
from handpose.registry import DATASETS


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class AssemblyHandsPoses(PoseSegments):
    """AssemblyHands' annotated joints: both hands (H = 2, left first), metres, `frame='world'`, 30 frames a second.

    A track is a sequence, which has the name of an Assembly101 recording; frames that are not annotated have their
    masks False. `meta['frame_indices']` count at 30 a second, as Assembly101's lists of actions do: the official frame
    numbers, at 60 a second, are twice as large. With Assembly101's annotations the actions are known.

    Args:
        data_root: folder with `annotations/<split>/assemblyhands_<split>_joint_3d_v1-1.json`.
        split: 'train', 'val' or 'test', whose joints are not public.
        sequences: names; None takes all.
        assembly101: folder of Assembly101 with `fine-grained-annotations`, which segments='trimmed' needs; None: no
            actions.
        segments: 'untrimmed' sequences, or 'trimmed' actions; see `PoseSegments`. Actions without an annotated frame
            are left out, and so are those that are too short, with `on_broken='skip'`.
        taxonomy: None, Assembly101's own `actions.csv`; or see `PoseSegments`, as all other options.

    Raises:
        DatasetError: a missing or damaged file, an unknown sequence or option, joints at another frame rate.
    """

    name = 'assemblyhands'
    choices = {**PoseSegments.choices, 'split': layout.SPLITS}

    segments: str = 'untrimmed'
    sequences: Sequence[str] | None = None
    assembly101: str | Path | None = None

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`; Assembly101's list, where its folder is given."""
        if config.get('assembly101') is None:
            return None
        action_files.check_root(config['assembly101'])
        own = config.get('taxonomy')
        return listed_taxonomy(config['assembly101']) if own is None else own_taxonomy(own)

    def list_recordings(self) -> list[LabelledRecording]:
        """See `PoseSegments.list_recordings`; reads the joints."""
        if self.segments == 'trimmed' and self.assembly101 is None:
            raise DatasetError(
                "segments='trimmed' needs assembly101, the folder of Assembly101 with fine-grained-annotations, which "
                'has the actions of these recordings'
            )
        path = layout.find_joint_file(self.root, self.split)
        found = layout.read_joints(path)
        if self.sequences is not None:
            check_names('sequences', self.sequences, list(found), path)
            found = {name: joints for name, joints in found.items() if name in self.sequences}
        kept = without_other_rates({name: joints.numbers for name, joints in found.items()}, layout.STEP, path)
        segments = self._read_segments()
        return [self._recording(name, found[name], segments.get(name, [])) for name in kept]

    def read_recording(self, recording: LabelledRecording) -> HandJoints:
        """See `PoseSegments.read_recording`."""
        return recording.source

    def _read_segments(self) -> dict[str, list[action_files.Segment]]:
        """{recording: its actions}, whichever of Assembly101's splits they are in."""
        found: dict[str, list[action_files.Segment]] = {}
        if self.assembly101 is None:
            return found
        for name in action_files.SPLIT_FILES.values():
            path = Path(self.assembly101) / action_files.ANNOTATIONS / name
            for segment in action_files.read_segments(path) if path.exists() else ():
                found.setdefault(segment.recording, []).append(segment)
        return found

    def _recording(
        self, name: str, found: layout.AnnotatedJoints, segments: list[action_files.Segment]
    ) -> LabelledRecording:
        rows = timeline(found.numbers, layout.STEP)
        there = rows >= 0
        joints = np.zeros((len(rows), 2, 21, 3), np.float32)
        valid = np.zeros((len(rows), 2, 21), bool)
        joints[there], valid[there] = found.joints, found.valid
        placed = (self._segment(segment, found.numbers, np.flatnonzero(there)) for segment in segments)
        return LabelledRecording(
            name=name,
            annotated=np.asarray(valid.any((1, 2))),
            fps=layout.FPS,
            segments=[segment for segment in placed if segment is not None],
            first_number=int(found.numbers[0]) // layout.STEP,
            meta={'subject': action_files.person_of(name)},
            source=HandJoints(joints, valid),
        )

    def _segment(
        self, segment: action_files.Segment, numbers: np.ndarray, places: np.ndarray
    ) -> LabelledSegment | None:
        """An action on the timeline, from its first annotated frame to its last; None where it has none.

        Args:
            segment: the action, in frames at 30 a second.
            numbers: (N,) official numbers of the annotated frames, at 60 a second.
            places: (N,) their places on the timeline.
        """
        first, stop = np.searchsorted(numbers, (layout.STEP * segment.first, layout.STEP * segment.stop))
        if first == stop or self.actions is None:
            return None
        action = -1 if segment.action < 0 else self.actions.label_of(segment.action, segment.recording)
        label = object_of(self.actions, action)
        return LabelledSegment(segment.number, action, label, int(places[first]), int(places[stop - 1]) + 1)
