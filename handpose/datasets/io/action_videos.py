"""What the readers of annotated actions share: clips and whole videos of segments, in one camera's frame, with labels.

A video is one annotated segment of a recording: V neighbouring frames in which one action happens.
Legend: V frames of a video, T frames of a clip, H hands, A actions, O objects.
"""

import os
from typing import NamedTuple

import numpy as np
import torch

from handpose.datasets.base import DatasetError, VideoDataset, check_choice, mark_padding, nearest_known
from handpose.datasets.io.errors import UNPACK
from handpose.datasets.io.json_files import LARGEST
from handpose.datasets.io.packed_format import MISSING
from handpose.datasets.io.packed_frames import open_packed
from handpose.datasets.io.pose_recordings import Camera, Recording, camera_clip
from handpose.datasets.transforms.load import decode_image, read_image
from handpose.files.reading import read_text, visible_names
from handpose.geometry.boxes import boxes_from_points
from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.registry import did_you_mean

SUFFIXES = ('.png', '.jpg', '.jpeg')


class Segment(NamedTuple):
    """One annotated action: frames `first` to `stop` - 1 of a `recording`, a path under the root.

    `number` is the segment's own in the data set's list, `action` the label, -1 where it is withheld.
    """

    recording: str
    number: int
    action: int
    first: int
    stop: int


class VideoLabels(NamedTuple):
    """What a reader knows of one video.

    `recording`: Recording in the camera's own frame, one row for each of the V frames. `camera` (3, 3), pixels of
    pictures of `camera_size` (w, h). `objects` (V,) labels, or None: the action's.
    """

    recording: Recording
    camera: np.ndarray
    camera_size: tuple
    objects: np.ndarray | None = None


class ActionVideos(VideoDataset):
    """Clips (training) or whole videos (testing) of annotated actions.

    A reader subclasses it, sets `segments`, calls `list_samples` at the end of its constructor, and defines
    `picture_folder`, `read_labels`, `video_name` and `meta`. Samples have K = 1, `frame='camera'`, `action_label`,
    `verb_label`, and `object_label` for every frame. `meta['segment']` is the segment's number in the data set's list.

    A frame whose picture is missing stops the reader; with `on_broken='skip'` it keeps its place and shows the nearest
    readable frame, with `frame_valid` and its other masks False. Boxes are tight around the projected joints.

    Args:
        taxonomy: `ActionTaxonomy`, or the path of a YAML list of own actions (`read_taxonomy`).
        mode: 'clips', or 'videos': all V frames of a segment, in order.
        num_frames: T. spacing: from one frame of a clip to the next, in frames of the video.
        window: frames of a clip by which clips are moved against each other: a clip starts at every frame whose place
            in its block of `num_frames * spacing` frames is below `window * spacing` (HTT, Wen et al., CVPR 2023, its
            published training). A clip that the video ends before repeats its last frame, with `frame_valid` False.
        clip_stride: take every n-th of these starts.
        starts: 'all'; or 'random': in each epoch one of the starts of each block.
        pipeline, seed, on_broken, packed: as in `VideoDataset`.

    Raises:
        DatasetError: an unknown option, numbers that make no clip, files or labels that are not as they should be.
    """

    sides = (0, 1)
    picture_prefix = ''
    hand_model = None  # of the labels, where the reader gives hand-model parameters

    def __init__(
        self,
        taxonomy,
        mode='clips',
        num_frames=128,
        spacing=2,
        window=16,
        clip_stride=1,
        starts='all',
        packed=None,
        pipeline=(),
        seed=0,
        on_broken='error',
    ):
        check_choice('mode', mode, ('clips', 'videos'))
        check_choice('starts', starts, ('all', 'random'))
        if min(num_frames, spacing, window, clip_stride) < 1 or window > num_frames:
            raise DatasetError(
                f'num_frames, spacing, window and clip_stride must be at least 1 and window at most num_frames, got '
                f'{num_frames}, {spacing}, {window} and {clip_stride}'
            )
        super().__init__(pipeline=pipeline, seed=seed, on_broken=on_broken, keep_rest=mode == 'videos', packed=packed)
        self.taxonomy, self.mode, self.starts = taxonomy, mode, starts
        self.num_frames, self.spacing, self.window, self.clip_stride = num_frames, spacing, window, clip_stride
        self.segments = []
        self._items = []  # (place of the segment, first frame of the clip or of its block, counted in the segment)
        self._missing = []  # sentences about frames without a picture
        self._left_out = []  # sentences about segments that are left out
        self._pictures, self._sizes, self._labels = {}, {}, {}
        self._packed_folders = None

    @property
    def metainfo(self):
        """See `VideoDataset`; and the names of actions, verbs and objects."""
        return {**super().metainfo, **self.taxonomy.metainfo()}

    @property
    def skipped(self):
        """Sentences about segments and frames, and names of the samples, that were left out so far."""
        return self._left_out + self._missing + super().skipped

    def picture_folder(self, recording):
        """The folder of a recording's pictures, `<picture_prefix><frame number>` and a suffix."""
        raise NotImplementedError(f'{type(self).__name__} must define picture_folder(recording)')

    def read_labels(self, segment, index):
        """`VideoLabels` of a segment; `index` is the sample's, for `_report`."""
        raise NotImplementedError(f'{type(self).__name__} must define read_labels(segment, index)')

    def video_name(self, segment):
        """Names a segment, unlike every other; it becomes `meta['sequence']`."""
        raise NotImplementedError(f'{type(self).__name__} must define video_name(segment)')

    def meta(self, segment):
        """What the reader adds to `meta`: dataset, cameras, fps, hand_model, split, subject."""
        raise NotImplementedError(f'{type(self).__name__} must define meta(segment)')

    def list_samples(self):
        """Lists the samples of `segments`; looks for every picture that they need."""
        if not self.segments:
            raise DatasetError(f'split {self.split!r} of {self.root} has no action; see the list of segments there')
        shown = [self._shown(segment) for segment in self.segments]
        if self._missing and self.on_broken == 'error':
            more = f' ({len(self._missing)} frames in all)' if len(self._missing) > 1 else ''
            raise DatasetError(
                f"{self._missing[0]}{more}; unpack the data set again, or leave such frames out by on_broken='skip'"
            )
        for place, present in enumerate(shown):
            self._items += [(place, start) for start in self._starts(present)]
        if not self._items:
            raise DatasetError(f'none of the pictures of split {self.split!r} is in {self.root}; unpack them there')
        self.finish_opening()

    def __len__(self):
        return len(self._items)

    def sample_name(self, index):
        """Names sample `index`: its video and, of a clip, where it starts."""
        place, start = self._items[index]
        name = self.video_name(self.segments[place])
        return name if self.mode == 'videos' else f'{name} from frame {self.segments[place].first + start}'

    def read(self, index):
        """Returns sample `index` without images; `meta['paths']` names them."""
        place, start = self._items[index]
        segment = self.segments[place]
        frames, real = self._frames(segment, start, index)
        present = self._shown(segment)
        if place not in self._labels:
            self._labels[place] = self.read_labels(segment, index)
        labels = self._labels[place]
        files, numbers = self._files(segment.recording), segment.first + np.arange(len(present))
        shown = numbers[nearest_known(present)][frames]
        size = self._size(segment.recording, files[shown[0]])
        camera = Camera(scale_camera(labels.camera, labels.camera_size, size, files[shown[0]]), np.eye(4))
        clip = camera_clip(labels.recording, frames, camera, self.sides, self.hand_model)
        fixed = self.meta(segment)
        meta = {
            **fixed,
            'sequence': self.video_name(segment),
            'recording': segment.recording,
            'segment': segment.number,
            'frame_indices': numbers[frames].tolist(),
            'paths': [files[number] for number in shown.tolist()],
            'image_size': size,
            'split': self.split,
        }
        clip = clip.replace(
            meta=meta,
            timestamps=torch.from_numpy(numbers[frames] / fixed['fps']),
            boxes=boxes_from_points(clip.joints_2d, clip.joints_2d_valid),
            **self._class_labels(segment, labels.objects, frames),
        )
        return mark_padding(clip, real & present[frames])

    def image_paths(self):
        """See `VideoDataset.image_paths`."""
        found = {}
        for segment in self.segments:
            files = self._files(segment.recording)
            found.update((files[number], None) for number in range(segment.first, segment.stop) if number in files)
        return list(found)

    def _frames(self, segment, start, index):
        """Which frames (T,) of a segment a sample is made of, and which of them are no padding."""
        count = segment.stop - segment.first
        if self.mode == 'videos':
            return np.arange(count), np.ones(count, bool)
        if self.starts == 'random':
            # Not the stream that the transforms draw from, or the two would go together.
            rng = np.random.default_rng([self.seed, int(self._epoch), index, 1])
            start += int(rng.integers(min(self.window * self.spacing, count - start)))
        frames = start + self.spacing * np.arange(self.num_frames)
        real = frames < count
        return np.where(real, frames, frames[real][-1]), real

    def _starts(self, present):
        """Where the samples of a video start, whose pictures are there where `present` (V,) says so."""
        if not present.any():
            return []
        block, count = self.num_frames * self.spacing, len(present)
        if self.mode == 'videos':
            return [0]
        if self.starts == 'random':
            return list(range(0, count, block))[:: self.clip_stride]
        starts = np.arange(count)
        starts = starts[starts % block < self.window * self.spacing][:: self.clip_stride]
        return [int(s) for s in starts if present[s : s + block : self.spacing].any()]

    def _class_labels(self, segment, objects, frames):
        action, taxonomy = segment.action, self.taxonomy
        if objects is None:
            objects = np.full(segment.stop - segment.first, -1 if action < 0 else taxonomy.action_object[action])
        return {
            'action_label': torch.tensor(action),
            'verb_label': torch.tensor(-1 if action < 0 else taxonomy.action_verb[action]),
            'object_label': torch.from_numpy(objects.astype(np.int64)[frames]),
        }

    def _shown(self, segment):
        """(V,) bool: which frames of a segment have a picture; missing ones are noted once, at opening."""
        files = self._files(segment.recording)
        present = np.array([number in files for number in range(segment.first, segment.stop)])
        if self._broken is None:
            lost = segment.first + np.flatnonzero(~present)
            where = self.picture_folder(segment.recording) if self.packed is None else self.packed
            self._missing += [f'{self.video_name(segment)}: the picture of frame {n} is not in {where}' for n in lost]
        return present

    def _files(self, recording):
        if recording not in self._pictures:
            folder = self.picture_folder(recording)
            names = file_names(folder) if self.packed is None else self._packed_names(folder)
            self._pictures[recording] = number_pictures(folder, names, self.picture_prefix)
        return self._pictures[recording]

    def _packed_names(self, folder):
        """The files of a folder as the packed store has them: the files themselves may be gone."""
        if self._packed_folders is None:
            table, self._packed_folders = open_packed(self.packed, self.root).table, {}
            states = table.records['state'].tolist()
            for name, state in zip(table.all_names(), states, strict=True):
                if state != MISSING:
                    parent, name = os.path.split(name)
                    self._packed_folders.setdefault(parent, []).append(name)
        return self._packed_folders.get(os.path.relpath(folder, self.root), [])

    def _size(self, recording, path):
        """The size (w, h) of a recording's pictures, read from one of them."""
        if recording not in self._sizes:
            self._sizes[recording] = self._packed_size(path) if self.packed else read_image(path).shape[1::-1]
        return self._sizes[recording]

    def _packed_size(self, path):
        """The size that a packed picture had before it was packed."""
        store = open_packed(self.packed, self.root)
        if store.pictures is not None and store.pictures['source_size'] is not None:
            return tuple(store.pictures['source_size'])
        _, data, error = next(store.read([path]))
        if error is not None:
            raise error
        return decode_image(data, path).shape[1::-1]


def file_names(folder):
    """The names in a folder, sorted; none without a folder."""
    return visible_names(folder)


def number_pictures(folder, names, prefix=''):
    """{number: path} of the pictures `<prefix><number>` among the files `names` of a folder, whatever their suffix."""
    found = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        number = stem.removeprefix(prefix)
        if suffix.lower() in SUFFIXES and stem.startswith(prefix) and number.isdigit():
            found[int(number)] = f'{folder}/{name}'
    return found


def scale_camera(matrix, size, new_size, where):
    """Intrinsics (3, 3) of pictures of `new_size` (w, h) that were made smaller from those of `size`.

    Raises:
        DatasetError: the two differ in shape, so that the picture is no smaller copy; `where` names it.
    """
    (width, height), (new_width, new_height) = size, new_size
    if abs(new_width * height - new_height * width) > max(width, height):  # a pixel's rounding
        raise DatasetError(
            f'{where} is {new_width}x{new_height}, which is not the shape of the {width}x{height} that its camera is '
            f'calibrated for; give pictures that were made smaller as a whole'
        )
    affine = resize_affine(size, new_size)
    return transform_intrinsics(torch.from_numpy(np.asarray(matrix, np.float32)), affine).numpy()


def read_numbers(path, count, meaning):
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


def check_names(kind, wanted, known, where):
    """Raises a `DatasetError` for the first of the `wanted` names that is not among the `known` ones of `where`."""
    for name in wanted:
        if name not in known:
            raise DatasetError(f'{kind} names {name!r}, which {where} lacks.{did_you_mean(name, known)}')
