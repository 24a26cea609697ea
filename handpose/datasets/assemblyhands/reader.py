"""AssemblyHands: two hands that assemble toys.

`AssemblyHandsPoses` reads their poses without images (docs/data/action_datasets.md), `AssemblyHands` the images of the
cameras around the table and on the headset (docs/data/pose_datasets.md).
Legend: T frames of a sample, K views.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handpose.datasets.assembly101 import layout as action_files
from handpose.datasets.assembly101.labels import listed_taxonomy
from handpose.datasets.assemblyhands import image_files, layout
from handpose.datasets.assemblyhands.cameras import VIEW_OF
from handpose.datasets.assemblyhands.images import ImageFiles, chosen_views
from handpose.datasets.assemblyhands.views import CameraView, ViewedSequence, clip_of_views
from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.io.action_labels import ActionTaxonomy, own_taxonomy
from handpose.datasets.io.action_videos import check_names
from handpose.datasets.io.cameras import group_cameras
from handpose.datasets.io.pose_recordings import timeline, without_other_rates
from handpose.datasets.io.pose_segments import (
    HandJoints,
    LabelledRecording,
    LabelledSegment,
    PoseSegments,
    object_of,
)
from handpose.datasets.sampling import Frames
from handpose.registry import DATASETS
from handpose.structures import HandSequence


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
        assembly101: folder of Assembly101 with `fine-grained-annotations`, which segments='trimmed' needs; None reads
            no actions.
        segments: 'untrimmed' sequences, or 'trimmed' actions; see `PoseSegments`. Actions without an annotated frame
            are left out, and so are those that are too short, with `on_broken='skip'`.
        taxonomy: None takes Assembly101's own `actions.csv`; otherwise see `PoseSegments`, as for all other options.

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
        path = layout.find_annotations(self.root / layout.ANNOTATIONS / self.split, self.split, 'joint_3d')
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


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class AssemblyHands(VideoDataset):
    """AssemblyHands' images: both hands (H = 2, left first) in K views, metres and pixels, OpenCV axes.

    A track is a sequence seen by K views. Views are 'v1' to 'v8', the cameras around the table (rectified videos at 30
    frames a second), and 'e1' to 'e4', those of the headset (monochrome images, read as three equal channels); the
    serial numbers of the two headsets differ. `meta['views']` and `meta['cameras']` name both.

    A frame of the track is annotated where a hand is labelled and one of the views has an image. The release has no
    image of a headset's camera that shows no hand: such a view has no box (zeros) and no 2D joints in that frame, its
    path is empty, and `LoadImages` makes it black; so it is with a camera that a sequence lacks. Clips of one view have
    the frames alone of which it has an image, and only the hands that it sees are valid in them.

    `boxes` of headset's views are those of the files; those of other views are around the joints in the image.
    `joints_2d` are the projected 3D joints, valid where they are in the image. `occlusion` is there for built-in data.
    `meta['frame_indices']` count at 30 a second, and `meta['official_indices']`, at 60, are twice as large, -1 where
    nothing is annotated. Where the joints of the test split are missing, `joints_3d` and `joints_2d` are None.

    Args:
        data_root: folder with `annotations`, and `images` or `videos`.
        split: 'train', 'val' or 'test'.
        views: 'exo', the eight views around the table; 'ego', the four of the headset; or a list of views or cameras.
        cameras_per_clip: K; views are grouped in their order, and every group is a track. None puts all in one.
        label_set: 'automatic', the labels of the release, 30 a second; 'manual', those in `annotations_manual`, which
            the built-in data have, one a second.
        frame: 'camera' (of the first view, which moves with a headset), or 'world'.
        sequences: names; None takes all.
        box_margin: share of the size by which boxes around joints are enlarged on each side.
        frame_offset: official frames, 60 a second, by which the videos are ahead of the annotations; 2 if video frame j
            shows what annotation j + 1 says. The rectified videos need none; those extracted otherwise may. Compare by
            drawing the joints: `handpose browse`.
        on_broken: 'skip' leaves out cameras whose video or calibration is missing or damaged; see `VideoDataset`, as
            all other options.

    Raises:
        DatasetError: a missing or damaged file, an unknown option, sequence or view, an empty split.
    """

    name = 'assemblyhands'
    choices = {
        'split': layout.SPLITS,
        'label_set': tuple(image_files.LABEL_FOLDERS),
        'frame': ('camera', 'world'),
    }

    views: str | Sequence[str] = 'exo'
    cameras_per_clip: int | None = None
    label_set: str = 'automatic'
    frame: str = 'camera'
    sequences: Sequence[str] | None = None
    box_margin: float = 0.0
    frame_offset: int = 0

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`; reads the annotations."""
        names = chosen_views(self.views)
        size = self._checked_size(len(names))
        found = ImageFiles(self.root, self.split, self.label_set, names, self.frame_offset)
        groups = group_cameras([names], size, self.root)[0]
        tracks, problems = [], []
        for sequence in found.read_sequences(self._choose):
            views, messages = found.read_views(sequence)
            problems += messages
            for group in groups:
                of_group = [views.get(name) for name in group]
                if any(view is not None for view in of_group):
                    tracks.append(self._track(sequence, of_group, group))
        self.leave_out(problems, 'cameras without usable files')
        return tracks

    def frame_paths(self, track: Track, frames: Frames) -> list[list[str]]:
        """See `VideoDataset.frame_paths`; an empty path is a view without an image in this frame."""
        _, views = track.source
        return [['' if view is None else view.path(frame) for view in views] for frame in frames.tolist()]

    def image_paths(self) -> list[str]:
        """See `VideoDataset.image_paths`."""
        return [path for path in super().image_paths() if path]

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        sequence, views = track.source
        rows, there = sequence.rows[frames], [view for view in views if view is not None]
        return clip_of_views(sequence, views, frames, self.frame, self.box_margin).replace(
            meta={
                'views': [VIEW_OF.get(name, name) for name in track.cameras],
                'label_set': self.label_set,
                'subject': action_files.person_of(sequence.name),
                'official_indices': np.where(rows >= 0, sequence.numbers[rows], -1).tolist(),
                'image_sizes': [(view or there[0]).size for view in views],
            }
        )

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return (
            f'split {self.split!r} of {self.root} has no labelled frame (label_set={self.label_set!r}) with an image '
            f'of the views {self.views!r}; choose others, or unpack the images'
        )

    def _checked_size(self, count: int) -> int:
        """K, with the other numbers checked too."""
        if type(self.frame_offset) is not int or self.frame_offset % layout.STEP:
            raise DatasetError(
                f'frame_offset counts frames at 60 a second and must be a multiple of {layout.STEP}, got '
                f'{self.frame_offset!r}'
            )
        if not 0 <= self.box_margin <= 10:
            raise DatasetError(f'box_margin must be a share of the size of a box, 0 to 10, got {self.box_margin!r}')
        return count if self.cameras_per_clip is None else self.cameras_per_clip

    def _choose(self, names: list[str], path: Path) -> list[str]:
        """The chosen sequences among those of a file."""
        if self.sequences is None:
            return names
        check_names('sequences', self.sequences, names, path)
        return [name for name in names if name in self.sequences]

    def _track(self, sequence: ViewedSequence, views: list[CameraView | None], names: Sequence[str]) -> Track:
        there = [view for view in views if view is not None]
        annotated = np.any([view.hands(sequence).any(1) for view in there], axis=0)
        readable = np.any([view.places >= 0 for view in there], axis=0)
        if self.label_set == 'manual' or len(views) == 1:
            readable &= annotated  # what is between rare labels need not be read
        cameras = tuple(name if view is None else view.camera for name, view in zip(names, views, strict=True))
        return Track(
            name=f'{sequence.name}/{"+".join(cameras)}',
            sequence=sequence.name,
            cameras=cameras,
            fps=layout.FPS,
            annotated=annotated,
            readable=readable,
            first_number=int(sequence.numbers[0]) // layout.STEP,
            source=(sequence, views),
        )
