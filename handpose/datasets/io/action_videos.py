"""What the readers of annotated actions share: segments of recordings, in one camera's frame, with class labels.

A track is one annotated segment of a recording: neighbouring frames in which one action happens.
Legend: N frames of a segment, T frames of a sample, H hands, A actions, O objects.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from handpose.datasets.base import DatasetError, Track, VideoDataset
from handpose.datasets.io.action_labels import ActionTaxonomy, taxonomy_of
from handpose.datasets.io.errors import UNPACK
from handpose.datasets.io.json_files import LARGEST
from handpose.datasets.io.label_frames import mark_padding, nearest_valid
from handpose.datasets.io.packed_format import MISSING
from handpose.datasets.io.packed_frames import open_packed
from handpose.datasets.io.pose_recordings import Camera, Recording, camera_clip
from handpose.datasets.sampling import Frames
from handpose.datasets.transforms.load import decode_image, read_image
from handpose.files.reading import read_text, visible_names
from handpose.geometry.boxes import boxes_from_points
from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.hands import HandModel
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.text import did_you_mean

SUFFIXES = ('.png', '.jpg', '.jpeg')
Size = tuple[int, int]  # width, height


@runtime_checkable
class KnowsActions(Protocol):
    """A dataset's class that can say which actions it would have, without opening it."""

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`."""


class ActionSegment(NamedTuple):
    """One annotated action: frames `first` to `stop` - 1 of a recording.

    Attributes:
        recording: path under the root.
        number: the segment's own in the dataset's list, from 1.
        action: label, -1 where it is withheld.
        first: first frame.
        stop: last frame + 1.
    """

    recording: str
    number: int
    action: int
    first: int
    stop: int


class SegmentLabels(NamedTuple):
    """The labels of one segment.

    Attributes:
        recording: in the camera's own frame, one row for each of the N frames.
        intrinsics: (3, 3), pixels of images of `size`.
        size: (w, h).
        objects: (N,) labels; None means the action's object.
        hand_model: of the recording's hand-model parameters, if it has any.
        hand_model_name: of the dataset, for `meta['hand_model']`.
    """

    recording: Recording
    intrinsics: NDArray
    size: Size
    objects: NDArray | None = None
    hand_model: HandModel | None = None
    hand_model_name: str | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class ActionVideos(VideoDataset):
    """Annotated actions; a track is one segment.

    A reader defines `list_segments`, `image_folder`, `read_segment` and the attributes below. Samples have K = 1,
    `action_label`, `verb_label`, and `object_label` for every frame; `meta['segment']` is the segment's number in the
    dataset's list. Boxes are tight around the projected joints.

    A frame whose image is missing stops the reader; with `on_broken='skip'` it keeps its place and shows the nearest
    readable image, with `frame_valid` and its other masks False.

    Args:
        taxonomy: None, the dataset's own actions; an `ActionTaxonomy`, or the path of a YAML list (`read_taxonomy`).
        sampling: see `VideoDataset`, as all other options.

    Attributes:
        official_taxonomy: the dataset's own actions.
        sides: (H,) 0 left, 1 right.
        image_prefix: images are called `<image_prefix><frame number>`, with any suffix.
        fps: frames per second.
    """

    official_taxonomy: ClassVar[ActionTaxonomy]
    sides: ClassVar[tuple[int, ...]] = (0, 1)
    image_prefix: ClassVar[str] = ''
    fps: ClassVar[float] = 30.0

    taxonomy: ActionTaxonomy | str | Path | None = None

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`."""
        return taxonomy_of(config.get('taxonomy'), cls.official_taxonomy)

    @property
    def metainfo(self) -> dict[str, Any]:
        """See `VideoDataset`; and the names of actions, verbs and objects."""
        return {**super().metainfo, **self.actions.metainfo()}

    @property
    def camera_id(self) -> str:
        """What `meta['cameras']` says."""
        raise NotImplementedError(f'{type(self).__name__} must define camera_id')

    def list_segments(self) -> list[ActionSegment]:
        """Opens the dataset and lists the segments of the split."""
        raise NotImplementedError(f'{type(self).__name__} must define list_segments()')

    def image_folder(self, recording: str) -> str:
        """The folder of a recording's images."""
        raise NotImplementedError(f'{type(self).__name__} must define image_folder(recording)')

    def read_segment(self, segment: ActionSegment) -> SegmentLabels:
        """Reads the labels of a segment, which are kept."""
        raise NotImplementedError(f'{type(self).__name__} must define read_segment(segment)')

    def segment_name(self, segment: ActionSegment) -> str:
        """Names a segment, unlike every other; it becomes `meta['sequence']`."""
        return f'{segment.recording}/{segment.first:06d}-{segment.stop - 1:06d}'

    def list_tracks(self) -> list[Track]:
        """See `VideoDataset.list_tracks`; looks for every image."""
        self.actions = taxonomy_of(self.taxonomy, self.official_taxonomy)
        self._images: dict[str, dict[int, str]] = {}  # of each recording
        self._sizes: dict[str, Size] = {}
        self._labels: dict[ActionSegment, SegmentLabels] = {}
        self._packed_names: dict[str, list[str]] | None = None
        segments = self.list_segments()
        if not segments:
            raise DatasetError(f'split {self.split!r} of {self.root} has no action; see the list of segments there')
        tracks, missing = [], []
        for segment in segments:
            images = self._images_of(segment.recording)
            present = np.array([number in images for number in range(segment.first, segment.stop)])
            name = self.segment_name(segment)
            where = self.image_folder(segment.recording) if self.packed is None else self.packed
            lost = segment.first + np.flatnonzero(~present)
            missing += [f'{name}: the image of frame {number} is not in {where}' for number in lost]
            tracks.append(
                Track(
                    name=name,
                    sequence=name,
                    cameras=(self.camera_id,),
                    fps=self.fps,
                    annotated=present,
                    span=(0, len(present)),
                    first_number=segment.first,
                    source=segment,
                )
            )
        self.leave_out(missing, 'missing images')
        return tracks

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        return f'none of the images of split {self.split!r} is in {self.root}; unpack them there'

    def frame_paths(self, track: Track, frames: Frames) -> list[list[str]]:
        """See `VideoDataset.frame_paths`; in place of a missing image comes the nearest one."""
        if not track.annotated.any():
            return []
        images = self._images_of(track.source.recording)
        shown = track.first_number + nearest_valid(track.annotated)[frames]
        return [[images[number]] for number in shown.tolist()]

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """See `VideoDataset.read_frames`."""
        segment = track.source
        if segment not in self._labels:
            self._labels[segment] = self.read_segment(segment)
        labels = self._labels[segment]
        path = self.frame_paths(track, frames[:1])[0][0]
        size = self._size(segment.recording, path)
        camera = Camera(scale_camera(labels.intrinsics, labels.size, size, path), np.eye(4))
        clip = camera_clip(labels.recording, frames, [camera], self.sides, labels.hand_model)
        assert clip.joints_2d is not None and clip.joints_2d_valid is not None
        clip = clip.replace(
            meta={
                'recording': segment.recording,
                'segment': segment.number,
                'subject': segment.recording.split('/')[0],
                'image_size': size,
                'hand_model': labels.hand_model_name,
            },
            boxes=boxes_from_points(clip.joints_2d, clip.joints_2d_valid),
            **self._class_labels(segment, labels.objects, frames),
        )
        return mark_padding(clip, torch.from_numpy(track.annotated[frames]))

    def _class_labels(self, segment: ActionSegment, objects: NDArray | None, frames: Frames) -> dict[str, Tensor]:
        action, actions = segment.action, self.actions
        if objects is None:
            objects = np.full(segment.stop - segment.first, -1 if action < 0 else actions.action_object[action])
        return {
            'action_label': torch.tensor(action),
            'verb_label': torch.tensor(-1 if action < 0 else actions.action_verb[action]),
            'object_label': torch.from_numpy(objects.astype(np.int64)[frames]),
        }

    def _images_of(self, recording: str) -> dict[int, str]:
        """{frame number: path} of a recording's images."""
        if recording not in self._images:
            folder = self.image_folder(recording)
            names = visible_names(folder) if self.packed is None else self._names_in_store(folder)
            self._images[recording] = numbered_images(folder, names, self.image_prefix)
        return self._images[recording]

    def _names_in_store(self, folder: str) -> list[str]:
        """The files of a folder as the packed store has them: the files themselves may be gone."""
        if self._packed_names is None:
            assert self.packed is not None
            table, self._packed_names = open_packed(self.packed, self.root).table, {}
            states = table.records['state'].tolist()
            for name, state in zip(table.all_names(), states, strict=True):
                if state != MISSING:
                    parent, name = os.path.split(name)
                    self._packed_names.setdefault(parent, []).append(name)
        return self._packed_names.get(os.path.relpath(folder, self.root), [])

    def _size(self, recording: str, path: str) -> Size:
        """The size of a recording's images, read from one of them; of packed ones, the size before packing."""
        if recording not in self._sizes:
            self._sizes[recording] = read_image(path).shape[1::-1] if self.packed is None else self._packed_size(path)
        return self._sizes[recording]

    def _packed_size(self, path: str) -> Size:
        assert self.packed is not None
        store = open_packed(self.packed, self.root)
        if store.image_changes is not None and store.image_changes['source_size'] is not None:
            return tuple(store.image_changes['source_size'])
        _, data, error = next(store.read([path]))
        if data is None:
            raise error or DatasetError(f'{path} is not in {store.folder}')
        return decode_image(data, path).shape[1::-1]


def configured_taxonomy(dataset: Mapping[str, Any] | None) -> ActionTaxonomy | None:
    """The actions that a dataset's config means, without opening the dataset; None where it has no actions.

    Raises:
        DatasetError: its own list of actions cannot be read.
    """
    if dataset is None:
        return None
    reader = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else None
    if not (isinstance(reader, type) and issubclass(reader, KnowsActions)):
        return None
    return reader.configured_taxonomy(dataset)


def numbered_images(folder: str, names: list[str], prefix: str = '') -> dict[int, str]:
    """{number: path} of the images `<prefix><number>` among the files `names` of a folder, whatever their suffix."""
    found = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        number = stem.removeprefix(prefix)
        if suffix.lower() in SUFFIXES and stem.startswith(prefix) and number.isdigit():
            found[int(number)] = f'{folder}/{name}'
    return found


def scale_camera(matrix: ArrayLike, size: Size, new_size: Size, where: object) -> NDArray:
    """Intrinsics (3, 3) of images that were resized from those that a camera is calibrated for.

    Args:
        matrix: (3, 3) intrinsics of images of `size`.
        size: (w, h).
        new_size: (w, h).
        where: names the image in messages.

    Raises:
        DatasetError: the two sizes differ in shape, so that the image is no smaller copy.
    """
    (width, height), (new_width, new_height) = size, new_size
    if abs(new_width * height - new_height * width) > max(width, height):  # a pixel's rounding
        raise DatasetError(
            f'{where} is {new_width}x{new_height}, which is not the shape of the {width}x{height} that its camera is '
            f'calibrated for; give images that were made smaller as a whole'
        )
    affine = resize_affine(size, new_size)
    return transform_intrinsics(torch.from_numpy(np.asarray(matrix, np.float32)), affine).numpy()


def read_numbers(path: str | Path, count: int, meaning: str) -> NDArray:
    """The `count` numbers of a text file, float64.

    Raises:
        DatasetError: no such file, another count, text, NaN or infinity; `meaning` says what they should be.
    """
    words = read_text(path, error=DatasetError, advice=UNPACK).split()
    try:
        found = np.array(words, np.float64)
    except ValueError as error:
        raise DatasetError(f'{path} must hold {count} numbers ({meaning}), but holds other text; {UNPACK}') from error
    if len(found) != count or not (np.abs(found) < LARGEST).all():
        got = f'{len(found)} numbers' if len(found) != count else f'NaN, infinity or a number beyond {LARGEST:g}'
        raise DatasetError(f'{path} must hold {count} numbers ({meaning}), got {got}')
    return found


def check_names(kind: str, wanted: Iterable[str], available: Collection[str], where: object) -> None:
    """Raises a `DatasetError` for the first of the `wanted` names that is not among the `available` ones of `where`."""
    for name in wanted:
        if name not in available:
            raise DatasetError(f'{kind} names {name!r}, which {where} lacks.{did_you_mean(name, available)}')
