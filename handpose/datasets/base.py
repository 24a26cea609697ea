"""The base of every reader: it samples the tracks that a reader lists, and runs the transforms.

A reader is a dataclass: the fields are its options, those of the base are inherited and not repeated. It lists its
tracks (`list_tracks`) and reads frames of one (`read_frames`); tests/datasets/test_own_reader.py has an example.
Legend: T frames of a sample, K cameras.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import Dataset

from handpose.datasets.io.action_labels import ActionTaxonomy
from handpose.datasets.io.errors import BrokenFrames, DatasetError, check_choice
from handpose.datasets.io.label_frames import mark_padding
from handpose.datasets.io.packed_frames import open_packed
from handpose.datasets.sampling import WHOLE_TRACKS, Frames, Sampling, Track, build_sampling
from handpose.hands import COMMON_JOINTS
from handpose.registry import TRANSFORMS
from handpose.structures import HandSequence
from handpose.structures.predictions_file import track_file_name, tracks_without_hand

__all__ = ['BrokenFrames', 'DatasetError', 'Track', 'VideoDataset']


@dataclass(eq=False, repr=False)
class VideoDataset(Dataset):
    """A list of `HandSequence` samples, cut from the tracks of a dataset and passed through transforms.

    A subclass is decorated with `@dataclass(eq=False, repr=False)`, declares its options as fields, and defines
    `list_tracks` and `read_frames`; one with images defines `frame_paths` too.

    Args:
        data_root: folder (or file) of the dataset.
        split: part of the dataset, such as 'train'.
        sampling: how samples are cut from tracks: `Tracks()` (default), `ClipSampling(...)` or `ActionClips(...)`, or
            the config of one.
        pipeline: transforms, or configs of transforms, called in turn as `transform(sample, rng)`.
        seed: with the epoch and the index it decides every random draw of a sample, whichever worker makes it.
        on_broken: 'error' raises on a file that cannot be read; 'skip' logs it once, lists it in `skipped`, and takes
            the next readable sample, or, of whole tracks, the same track without the broken frames.
        packed: store of packed frames (docs/data/packed_frames.md) that `LoadImages` reads instead of the image files.
        predictions: folder with the predictions files of an estimator, one for each track. `LoadPredictions` then comes
            before the pipeline, in which `EstimatorNoise` does nothing. Tracks without a file are left out and counted
            in a warning.

    Attributes:
        tracks: what `list_tracks` returned.
        name: what `meta['dataset']` says.
        choices: {option: its allowed values}, checked before anything is opened.

    Raises:
        DatasetError: an unknown option, missing or damaged files, no sample, no predictions file of any track, or a
            packed store that is damaged or older than the images.
    """

    name: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple]] = {}

    data_root: str | Path
    split: str = 'train'
    _: KW_ONLY
    sampling: Sampling | dict = WHOLE_TRACKS
    pipeline: Sequence[Any] = ()
    seed: int = 0
    on_broken: str = 'error'
    packed: str | Path | None = None
    predictions: str | Path | None = None

    def __post_init__(self) -> None:
        for option, choices in {**self.choices, 'on_broken': ('error', 'skip')}.items():
            check_choice(option, getattr(self, option), choices)
        self.root = Path(self.data_root)
        self.sampling = self._sampling = build_sampling(self.sampling)
        steps = [] if self.predictions is None else [{'type': 'LoadPredictions', 'folder': str(self.predictions)}]
        self.pipeline = [_build_step(step) for step in [*steps, *self.pipeline]]
        # Shared memory: data loader workers, which hold a copy of the dataset, read the epoch and report what broke.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._left_out: list[str] = []
        self._current = -1  # the sample that is being read
        self.tracks: list[Track] = self._predicted(list(self.list_tracks()))
        starts = [self._sampling.starts(track) for track in self.tracks]
        numbers = np.repeat(np.arange(len(starts)), [len(s) for s in starts])
        # One array: a list of tuples would take 100 MB for DexYCB, and be copied into every worker.
        self._samples = np.stack([numbers, np.concatenate(starts or [numbers])], 1).astype(np.int64)
        if not len(self._samples):
            raise DatasetError(self.empty_message())
        if self.packed is not None:
            open_packed(self.packed, self.root).check_sources()  # here, so that workers inherit it
        self._broken = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def list_tracks(self) -> Sequence[Track]:
        """Opens the dataset and lists the tracks of the split."""
        raise NotImplementedError(f'{type(self).__name__} must define list_tracks()')

    def read_frames(self, track: Track, frames: Frames) -> HandSequence:
        """Reads the labels of frames (T,) of a track, which may repeat.

        The base adds what it knows: `timestamps`, and in `meta` the dataset, split, sequence, cameras, frame indices,
        the number of the track's first frame, fps and paths of images; padding becomes invalid in every mask.
        `frame_valid` may be left out.
        """
        raise NotImplementedError(f'{type(self).__name__} must define read_frames(track, frames)')

    def frame_paths(self, track: Track, frames: Frames) -> list[list[str]]:
        """The image files of frames (T,) of a track: T lists of K paths; empty where the dataset has no images."""
        return []

    def empty_message(self) -> str:
        """The error message where the split has no sample."""
        return (
            f'split {self.split!r} of {self.root} has no annotated frame among {len(self.tracks)} tracks; choose other '
            f'options'
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """What mmengine shows to metrics and visualisers: the dataset's name and the order of joints."""
        return {'dataset': type(self).__name__, 'joints': list(COMMON_JOINTS)}

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """The actions that a dataset of these options would have, without opening it; None: it has no actions.

        Args:
            config: the options.

        Raises:
            DatasetError: a list of actions cannot be read.
        """
        return None

    @property
    def skipped(self) -> list[str]:
        """Messages about what `on_broken='skip'` left out at opening, and names of samples that it skipped since."""
        return self._left_out + [self.sample_name(i) for i in self._broken.nonzero()[:, 0].tolist()]

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that random draws depend on; running data loader workers see it too."""
        self._epoch.fill_(epoch)

    def sample_name(self, index: int) -> str:
        """Names sample `index` in messages: its track and, of a clip, its frame."""
        number, start = self._samples[index].tolist()
        return self._sampling.sample_name(self.tracks[number], start)

    def image_paths(self) -> list[str]:
        """The paths of all images that the samples may need, for packing."""
        rows = (row for track in self.tracks for row in self.frame_paths(track, track.frames()))
        return list(dict.fromkeys(path for row in rows for path in row))

    def read(self, index: int) -> HandSequence:
        """Returns sample `index` without images, before the transforms; `meta['paths']` names its images."""
        number, start = self._samples[index].tolist()
        track, self._current = self.tracks[number], index
        # Not the stream that the transforms draw from, or the two would be correlated.
        rng = np.random.default_rng([self.seed, int(self._epoch), index, 1])
        frames, valid = self._sampling.frames(track, start, rng)
        clip = self.read_frames(track, frames)
        numbers = track.first_number + frames
        meta = {
            'dataset': self.name,
            'split': self.split,
            'sequence': track.sequence,
            'cameras': list(track.cameras),
            'frame_indices': numbers.tolist(),
            'track_start': track.first_number + track.limits[0],
            'fps': track.fps,
            **dict(clip.meta),
        }
        if paths := self.frame_paths(track, frames):
            meta['paths'] = [row[0] for row in paths] if len(track.cameras) == 1 else paths
        timestamps = torch.from_numpy(numbers / track.fps)
        return mark_padding(clip.replace(meta=meta, timestamps=timestamps), torch.from_numpy(valid))

    def leave_out(self, messages: Sequence[str], what: str, advice: str = 'unpack what is missing or broken') -> None:
        """Keeps account of files that cannot be read, found at opening.

        Args:
            messages: one for each.
            what: says what they are, such as 'missing images'.
            advice: what the user can do about them.

        Raises:
            DatasetError: there are some, and `on_broken='error'`.
        """
        if not messages:
            return
        summary = f'{len(messages)} {what}; the first: {messages[0]}'
        if self.on_broken == 'error':
            raise DatasetError(f"{summary}; {advice}, or leave it out by on_broken='skip'")
        print_log(f'Skipped: {summary}', logger='current', level=logging.WARNING)
        self._left_out += messages

    def report_broken(self, error: DatasetError) -> None:
        """Keeps account of a file of the sample that is being read, which cannot be read.

        Raises:
            DatasetError: `error` itself, where `on_broken='error'`.
        """
        if self.on_broken == 'error':
            raise error
        if not self._broken[self._current]:
            self._broken[self._current] = True
            print_log(f'Skipped: {error}', logger='current', level=logging.WARNING)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> HandSequence:
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of a dataset with {len(self)} samples')
        index %= len(self)
        for attempt in range(len(self)):
            candidate, sample = (index + attempt) % len(self), None
            try:
                sample = self.read(candidate)
                return self._transform(sample, index)
            except BrokenFrames as error:
                self.report_broken(error)
                num_frames = 0 if sample is None or sample.frame_valid is None else len(sample.frame_valid)
                intact = sorted(set(range(num_frames)) - set(error.positions))
                if self._sampling.whole_tracks and sample is not None and intact:
                    return self._transform(sample.select_frames(intact), index)
        raise DatasetError(f'every one of the {len(self)} samples is broken; the log names the first files')

    def _predicted(self, tracks: list[Track]) -> list[Track]:
        """The tracks that have a predictions file, if `predictions` are to be read; the others are counted."""
        if self.predictions is None or not tracks:
            return tracks
        folder = Path(self.predictions)
        names = [track_file_name({'sequence': track.sequence, 'cameras': track.cameras}) for track in tracks]
        there = {path.name for path in folder.glob('*.npz')}
        found = [track for track, name in zip(tracks, names, strict=True) if name in there]
        if not found:
            raise DatasetError(
                f'{folder} has no predictions file of any of the {len(tracks)} tracks of split {self.split!r} of '
                f'{self.root}; the first would be {names[0]}: `handpose predict-dataset` and `handpose test --results` '
                'write them'
            )
        lost = set(names) - there
        if lost:
            empty = len(lost & tracks_without_hand(folder))
            message = (
                f'Left out: {len(lost)} of {len(tracks)} tracks of split {self.split!r} have no predictions in '
                f'{folder} (in {empty} no hand was found, {len(lost) - empty} were not processed)'
            )
            print_log(message, logger='current', level=logging.WARNING)
            self._left_out.append(message)
        return found

    def _transform(self, sample: HandSequence, index: int) -> HandSequence:
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        if self.packed is not None:
            sample = sample.replace(meta={**dict(sample.meta), 'packed': str(self.packed), 'data_root': str(self.root)})
        for transform in self.pipeline:
            sample = transform(sample, rng)
        return sample


def _build_step(step: Any) -> Any:
    """Builds a step of a pipeline, unless it is a transform already."""
    if isinstance(step, dict):
        return TRANSFORMS.build(step)
    if not callable(step):
        raise DatasetError(
            f'pipeline: expected transforms or dicts such as {{"type": "LoadImages"}}, got {step!r}; on the command '
            'line, a dict is written as in Python, with its keys in quotes'
        )
    return step
