"""Own recordings as predictions files, with their actions; docs/guides/your_own_actions.md."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from handpose.datasets.base import DatasetError
from handpose.datasets.io.action_labels import ActionTaxonomy, own_taxonomy
from handpose.datasets.io.plausibility import plausible_joints
from handpose.datasets.io.pose_segments import (
    HandJoints,
    LabelledRecording,
    LabelledSegment,
    PoseSegments,
    object_of,
)
from handpose.datasets.pose_files.actions_file import ACTIONS_FILE, SPLITS, ActionRow, read_actions
from handpose.datasets.pose_files.resampling import resample
from handpose.files.reading import visible_paths
from handpose.registry import DATASETS
from handpose.structures import Predictions, PredictionsError, load_predictions
from handpose.text import did_you_mean

CAMERA = 'camera'  # the id of the camera that a file's frame belongs to


@DATASETS.register_module()
@dataclass(kw_only=True, eq=False, repr=False)
class PoseFiles(PoseSegments):
    """A folder of predictions files (docs/data/predictions_file.md), whose hands are taken as the truth.

    The files, in sub-folders too, hold one or two hands at any frame rate, in frame 'camera' or all in frame 'wrist'.
    They are resampled to `frame_rate`; a hand or joint that a file lacks is masked out. A recording is named by its
    path in the folder without '.npz'. `actions.csv` in the folder, if there is one, lists the actions, their times in
    seconds of the file's `timestamps`, and the splits. Timestamps of samples begin at 0 with each recording.

    Args:
        data_root: the folder.
        split: 'train', 'val' or 'test': by the column `split` of `actions.csv`, or by `held_out`.
        held_out: names of recordings, or patterns ('anna_*'), that are split 'val' and split 'test'; the others are
            'train'. Only where `actions.csv` has no column `split`. Without either, all recordings are 'train'.
        frame_rate: frames per second of the samples.
        segments: 'untrimmed', or 'trimmed', which needs `actions.csv` and `taxonomy`; see `PoseSegments`.
        taxonomy: an `ActionTaxonomy`, or the path of a YAML list of the actions in `actions.csv`; with None,
            actions are not read.
        on_broken: with 'skip', files that cannot be read and tracks that are too short are left out, listed in
            `skipped` and in the log; see `PoseSegments`, as all other options.

    Raises:
        DatasetError: no files, files in different coordinate frames, hands of impossible size, an `actions.csv` that is
            not as described, an action or object that the taxonomy lacks, times outside the recording.
    """

    name = 'pose_files'
    choices = {**PoseSegments.choices, 'split': SPLITS}

    segments: str = 'untrimmed'
    held_out: Sequence[str] = ()
    frame_rate: float = 30.0

    @property
    def coordinate_frame(self) -> str:
        """See `PoseSegments`; that of the files."""
        return self._frame

    @classmethod
    def configured_taxonomy(cls, config: Mapping[str, Any]) -> ActionTaxonomy | None:
        """See `VideoDataset.configured_taxonomy`."""
        taxonomy = config.get('taxonomy')
        return None if taxonomy is None else own_taxonomy(taxonomy)

    def list_recordings(self) -> list[LabelledRecording]:
        """See `PoseSegments.list_recordings`; reads all files of the split."""
        if not (isinstance(self.frame_rate, (int, float)) and 0 < self.frame_rate < math.inf):
            raise DatasetError(f'frame_rate must be a positive number of frames per second, got {self.frame_rate!r}')
        if self.segments == 'trimmed' and self.actions is None:
            raise DatasetError(
                "segments='trimmed' needs taxonomy, the path of a YAML list of the actions whose order "
                'gives them their labels (docs/guides/your_own_actions.md)'
            )
        paths = self._paths()
        rows = self._rows(list(paths))
        files = self._files_of_split(list(paths), rows)
        found = self._load({name: paths[name] for name in files})
        self._frame = self._common_frame(found)
        return [self._recording(name, found[name], rows or []) for name in found]

    def empty_message(self) -> str:
        """See `VideoDataset.empty_message`."""
        if self.split != 'train' and not self.held_out:
            return (
                f'no recording of {self.root} is in split {self.split!r}: name recordings by held_out, or give '
                f'{ACTIONS_FILE} a column split'
            )
        if self.segments == 'trimmed':
            return (
                f"split {self.split!r} of {self.root} has no action in {ACTIONS_FILE}, which segments='trimmed' needs"
            )
        return super().empty_message()

    def read_recording(self, recording: LabelledRecording) -> HandJoints:
        """See `PoseSegments.read_recording`."""
        return recording.source

    def _paths(self) -> dict[str, Path]:
        """{name: file} of all recordings."""
        if not self.root.is_dir():
            raise DatasetError(f'{self.root} must be a folder of predictions files (docs/data/predictions_file.md)')
        found = visible_paths(self.root, '**/*.npz')
        if not found:
            raise DatasetError(
                f'{self.root} has no .npz file; put predictions files there (docs/data/predictions_file.md), such as '
                f'those of `handpose infer` and `handpose convert`'
            )
        return {path.relative_to(self.root).with_suffix('').as_posix(): path for path in found}

    def _rows(self, files: list[str]) -> list[ActionRow] | None:
        """The rows of `actions.csv`, or None without one."""
        path = self.root / ACTIONS_FILE
        return read_actions(path, files) if path.exists() else None

    def _files_of_split(self, files: list[str], rows: list[ActionRow] | None) -> list[str]:
        split_of = {row.file: row.split for row in rows or () if row.split}
        if isinstance(self.held_out, str):
            raise DatasetError(f'held_out must be a list of names, got {self.held_out!r}')
        if split_of and self.held_out:
            raise DatasetError(
                f'{self.root / ACTIONS_FILE} has a column split, and held_out is given too; use one of them'
            )
        if split_of:
            return [name for name in files if split_of[name] == self.split]
        patterns = [name.removesuffix('.npz') for name in self.held_out]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in files):
                raise DatasetError(
                    f'held_out names {pattern!r}, and {self.root} has no such recording.{did_you_mean(pattern, files)}'
                )
        held_out = [name for name in files if any(fnmatchcase(name, pattern) for pattern in patterns)]
        return [name for name in files if (name in held_out) == (self.split != 'train')]

    def _load(self, paths: dict[str, Path]) -> dict[str, Predictions]:
        """The predictions of files that can be read."""
        found, broken = {}, []
        for name, path in paths.items():
            try:
                found[name] = load_predictions(path)
            except PredictionsError as error:
                broken.append(str(error))
        self.leave_out(broken, 'predictions files that cannot be used', advice='correct or remove what is wrong')
        return found

    def _common_frame(self, found: dict[str, Predictions]) -> str:
        by_frame = {predictions.frame: name for name, predictions in found.items()}
        if len(by_frame) > 1:
            (one, name), (other, other_name), *_ = by_frame.items()
            raise DatasetError(
                f'all files must be in one coordinate frame, but {name!r} is in {one!r} and {other_name!r} in '
                f'{other!r}; put them into different folders'
            )
        return next(iter(by_frame), CAMERA)

    def _recording(self, name: str, predictions: Predictions, rows: list[ActionRow]) -> LabelledRecording:
        given, there = resample(predictions, self.frame_rate)
        joints, valid = np.zeros((len(given), 2, 21, 3), np.float32), np.zeros((len(given), 2, 21), bool)
        joints[:, predictions.hand_side], valid[:, predictions.hand_side] = given, there
        valid = plausible_joints(joints, valid, self.root / f'{name}.npz')
        segments = []
        if self.actions is not None:
            of_file = [row for row in rows if row.file == name and row.action]
            segments = [self._segment(row, predictions.timestamps, len(valid), self.actions) for row in of_file]
        return LabelledRecording(
            name=name,
            annotated=np.asarray(valid.any((1, 2))),
            fps=float(self.frame_rate),
            segments=segments,
            cameras=(CAMERA,),
            source=HandJoints(joints, valid),
        )

    def _segment(self, row: ActionRow, times: np.ndarray, count: int, actions: ActionTaxonomy) -> LabelledSegment:
        """The frames of a row: those at `start` or later, and before `end`."""
        if row.action not in actions.actions:
            raise DatasetError(
                f'{row.where}: {row.action!r} is not among the {len(actions.actions)} actions of {actions.name}.'
                f'{did_you_mean(row.action, actions.actions)}'
            )
        action = actions.index(row.action)
        if row.object and row.object not in actions.objects:
            raise DatasetError(
                f'{row.where}: {row.object!r} is not among the {len(actions.objects)} objects of {actions.name}.'
                f'{did_you_mean(row.object, actions.objects)}'
            )
        label = actions.objects.index(row.object) if row.object else object_of(actions, action)
        tolerance = 1.5 / self.frame_rate
        first_time, last_time = float(times[0]), float(times[-1])
        start = first_time if row.start is None else row.start
        end = last_time + 1 / self.frame_rate if row.end is None else row.end
        if start < first_time - tolerance or end > last_time + tolerance or start >= end:
            raise DatasetError(
                f'{row.where}: the action lasts from {start:g} to {end:g} s, which is outside the recording '
                f'{row.file!r}, whose timestamps are {first_time:g} to {last_time:g} s'
            )
        first, stop = (math.ceil((t - first_time) * self.frame_rate - 1e-6) for t in (start, end))
        return LabelledSegment(row.number, action, label, max(first, 0), min(stop, count))
