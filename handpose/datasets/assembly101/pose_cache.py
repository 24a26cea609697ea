"""Arrays of the pose files: JSON is slow to read, and a recording is too large to be read for every clip.

Beside each pose file's folder, or in a folder of the user's choice, `.handpose_poses/<recording>-<key>.npy` holds its
poses; the key changes with the size and the time of the JSON file. Arrays are mapped into memory, so that the workers
of a data loader share them. Legend: N frames.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from handpose.datasets.assembly101.layout import NUM_POINTS, RecordedPoses, read_poses
from handpose.datasets.io.errors import DatasetError
from handpose.files.atomic import atomic_file
from handpose.files.garbage import garbage_collection_paused

VERSION = 1
FOLDER = '.handpose_poses'
_PARALLEL_FROM = 100_000_000  # bytes of JSON; below that, starting processes costs more than it saves
_NUMBERS = 3 * NUM_POINTS + 1  # of a hand: its joints and the confidence


class PoseCache:
    """The poses of recordings as arrays, made of their JSON files where they are missing or older.

    Args:
        folder: of the JSON files.
        cache_dir: folder for the arrays where that of the JSON files cannot be written; None puts them there.
    """

    def __init__(self, folder: Path, cache_dir: str | Path | None = None) -> None:
        self.folder = folder
        self.arrays = folder / FOLDER
        if cache_dir is not None:
            digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
            self.arrays = Path(cache_dir) / f'{folder.name}-{digest}'

    def source(self, recording: str) -> Path:
        """The JSON file of a recording."""
        return self.folder / f'{recording}.json'

    def update(self, recordings: Sequence[str]) -> dict[str, DatasetError]:
        """Makes the arrays that are missing.

        Args:
            recordings: names of those whose JSON files there are.

        Returns:
            {recording: what is wrong with its file} of those that cannot be read.

        Raises:
            DatasetError: the arrays cannot be written.
        """
        old = [name for name in recordings if self._open(name) is None]
        if not old:
            return {}
        print_log(f'Reading {len(old)} pose files of {self.folder}, once', logger='current', level=logging.INFO)
        size = sum(self.source(name).stat().st_size for name in old)
        workers = min(multiprocessing.cpu_count(), 16) if size >= _PARALLEL_FROM else 1
        if workers == 1 or multiprocessing.current_process().daemon:
            found = [self.renew(name) for name in old]
        else:
            with ProcessPoolExecutor(workers) as pool:
                found = list(pool.map(self.renew, old, chunksize=4))
        return {name: error for name, error in zip(old, found, strict=True) if error is not None}

    def renew(self, recording: str) -> DatasetError | None:
        """Makes the array of a recording anew; returns what is wrong with its JSON file, if it cannot be read.

        Raises:
            DatasetError: the array cannot be written.
        """
        try:
            with garbage_collection_paused():
                poses = read_poses(self.source(recording))
        except DatasetError as error:
            return error
        self._write(recording, poses)
        return None

    def open(self, recording: str) -> RecordedPoses:
        """The poses of a recording, mapped into memory.

        Raises:
            DatasetError: the JSON file has changed since the dataset was opened, or its array is gone.
        """
        found = self._open(recording)
        if found is None:
            raise DatasetError(
                f'{self.source(recording)} or its array in {self.arrays} has changed since the dataset was opened; '
                f'open the dataset again, which reads the file anew'
            )
        return RecordedPoses(found[..., :-1].reshape(*found.shape[:2], NUM_POINTS, 3), found[..., -1])

    def _path(self, recording: str) -> Path:
        state = os.stat(self.source(recording))
        key = hashlib.sha256(json.dumps([VERSION, state.st_size, state.st_mtime_ns]).encode()).hexdigest()[:16]
        return self.arrays / f'{recording}-{key}.npy'

    def _open(self, recording: str) -> NDArray | None:
        """The array (N, 2, 64) of a recording; None where it is missing or damaged."""
        try:
            found = np.load(self._path(recording), mmap_mode='r', allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        whole = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape[1:] == (2, _NUMBERS)
        return found if whole else None

    def _write(self, recording: str, poses: RecordedPoses) -> None:
        flat = poses.joints.reshape(*poses.joints.shape[:2], -1)
        path = self._path(recording)
        try:
            with atomic_file(path) as file:
                np.save(file, np.concatenate([flat, poses.confidence[..., None]], -1), allow_pickle=False)
            older = re.compile(re.escape(recording) + r'-[0-9a-f]{16}\.npy')
            for name in os.listdir(self.arrays):
                if older.fullmatch(name) and name != path.name:
                    os.unlink(self.arrays / name)
        except OSError as error:
            raise DatasetError(
                f'{self.arrays} cannot be written ({error.strerror}), but arrays of the pose files are kept there; '
                f'give the dataset another folder: cache_dir=...'
            ) from error
