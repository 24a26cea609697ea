"""An index of a DexYCB tree, so that 582,000 small label files are opened once and not in every epoch.

The index lies in `<root>/.handpose_index/` (or in a folder of the user's choice): `tracks.json` (sequences, cameras,
messages about broken files), `status.bin` (one byte a frame) and `labels.bin` (one record of `LABEL` a frame, read
a track at a time: mapped into memory, it would count towards every loader worker).
A track is one camera's view of one sequence. Frames are numbered through in the official order: subject, sequence,
camera, frame.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from rich.progress import track as progress_bar

from handpose.datasets.dexycb import layout
from handpose.datasets.io.errors import DatasetError
from handpose.files.atomic import flush_folder
from handpose.files.reading import inside_root
from handpose.text import did_you_mean

VERSION = 2
LABELS_FILE, STATUS_FILE = 'labels.bin', 'status.bin'
NUM_FRAMES, SERIALS = (layout.SequenceInfo._fields.index(name) for name in ('num_frames', 'serials'))
ABANDONED_AFTER = 86_400  # seconds
ABSENT, BROKEN, NO_HAND, HAND = 0, 1, layout.NO_HAND, layout.HAND
Labels = tuple[NDArray, NDArray, dict[int, str]]  # of frames: status, records, {position: message} of broken ones
PARALLEL_FROM = 20_000  # frames; below that, starting processes costs more than it saves


@dataclass
class DexYCBIndex:
    """Legend: N frames, M tracks.

    `track_sequence` (M,) points into `sequences`, `track_serial` (M,) names the camera, `track_start` (M + 1,) says
    which frames are the track's; `status` (N,) is ABSENT, BROKEN, NO_HAND or HAND; `broken` {frame: message}.
    """

    folder: Path
    checksums: list[int]
    sequences: list[layout.SequenceInfo]
    track_sequence: np.ndarray
    track_serial: list[str]
    track_start: np.ndarray
    status: np.ndarray
    broken: dict[int, str]

    def track_labels(self, track: int) -> NDArray:
        """Reads the labels of one track: (n,) records of `LABEL`."""
        start, stop = (int(frame) for frame in self.track_start[track : track + 2])
        labels = np.fromfile(
            self.folder / LABELS_FILE, layout.LABEL, stop - start, offset=start * layout.LABEL.itemsize
        )
        if zlib.crc32(labels.tobytes()) != self.checksums[track]:
            raise DatasetError(
                f'{self.folder / LABELS_FILE} has changed since it was opened, or cannot be read; start again, which '
                f'checks the index and builds it anew'
            )
        return labels


def open_index(root: str | Path, intrinsics: layout.Intrinsics, cache_dir: str | Path | None = None) -> DexYCBIndex:
    """Opens the index of `root`, building it first where there is none or the tree has changed since.

    A damaged index is built anew: checksums cover everything that is read from it.
    Changes are seen by the times of meta.yml, pose.npz and the camera folders, and in the list of sequences; after
    editing a label file in place, delete the index folder. Build it in one process before starting several.

    Args:
        root: folder of the dataset.
        intrinsics: from `layout.read_intrinsics`.
        cache_dir: folder for the index where `root` cannot be written.
    """
    root = Path(root)
    folder = _folder(root, cache_dir)
    fingerprint = _fingerprint(root)
    index = _load(folder, fingerprint)
    if index is None:
        _build(root, intrinsics, folder, fingerprint)
        index = _load(folder, fingerprint)
        if index is None:
            raise DatasetError(
                f'{folder} cannot be read right after it was written; give the dataset another cache_dir'
            )
    for sequence in index.sequences:
        _check_serials(root, sequence, intrinsics)
    return index


def _folder(root: Path, cache_dir: str | Path | None) -> Path:
    if cache_dir is None:
        return root / '.handpose_index'
    return Path(cache_dir) / f'{root.name}-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}'


def _fingerprint(root: str | Path) -> str:
    listed = layout.read_sequence_list(root)
    seen: list = [] if listed is None else [listed]
    for folder, _, _ in layout.sequence_folders(root):
        with os.scandir(folder) as entries:
            seen += sorted([f'{folder.name}/{e.name}', e.stat().st_mtime_ns] for e in entries)
    return hashlib.sha256(json.dumps([VERSION, seen]).encode()).hexdigest()


def _load(folder: Path, fingerprint: str) -> DexYCBIndex | None:
    try:
        tracks = json.loads((folder / 'tracks.json').read_text(encoding='utf-8'))
        if tracks['content']['fingerprint'] != fingerprint:
            return None
        content = tracks['content']
        if tracks['sha256'] != _digest(content):
            return None
        status_bytes = (folder / STATUS_FILE).read_bytes()
        status = np.frombuffer(status_bytes, np.uint8)
        if hashlib.sha256(status_bytes).hexdigest() != content['status'] or not _labels_are_complete(folder, content):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    tracks = content
    sequences = [layout.SequenceInfo(*row) for row in tracks['sequences']]
    lengths = [s.num_frames for s in sequences for _ in s.serials]
    return DexYCBIndex(
        folder=folder,
        checksums=tracks['labels'],
        sequences=sequences,
        track_sequence=np.array([i for i, s in enumerate(sequences) for _ in s.serials]),
        track_serial=[serial for s in sequences for serial in s.serials],
        track_start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        status=status,
        broken={int(frame): message for frame, message in tracks['broken'].items()},
    )


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _labels_are_complete(folder: Path, content: dict[str, Any]) -> bool:
    """Whether the labels of every track have the checksum that was noted when they were written."""
    lengths = [row[NUM_FRAMES] for row in content['sequences'] for _ in row[SERIALS]]
    path = folder / LABELS_FILE
    if path.stat().st_size != sum(lengths) * layout.LABEL.itemsize or len(lengths) != len(content['labels']):
        return False
    with open(path, 'rb') as file:
        return all(
            zlib.crc32(file.read(length * layout.LABEL.itemsize)) == checksum
            for length, checksum in zip(lengths, content['labels'], strict=True)
        )


def _build(root: str | Path, intrinsics: layout.Intrinsics, folder: Path, fingerprint: str) -> None:
    """Reads every label file and writes the index beside its final place, then moves it there in one step."""
    _remove_abandoned(folder)
    temporary = _make_temporary(folder)
    try:
        sequences = [layout.read_sequence(*row) for row in layout.sequence_folders(root)]
        for sequence in sequences:
            _check_serials(root, sequence, intrinsics)
        parts, checksums, broken, start = [], [], {}, 0
        with open(temporary / LABELS_FILE, 'wb') as file:
            for sequence, (status, labels, messages) in zip(
                sequences, _read_all(root, sequences, intrinsics), strict=True
            ):
                for camera in np.split(labels, len(sequence.serials)):
                    file.write(camera.tobytes())
                    checksums.append(zlib.crc32(camera.tobytes()))
                parts.append(status)
                broken.update({start + position: message for position, message in messages.items()})
                start += len(status)
            _sync(file)
        status_bytes = np.concatenate(parts).tobytes()
        content = {
            'fingerprint': fingerprint,
            'status': hashlib.sha256(status_bytes).hexdigest(),
            'labels': checksums,
            'sequences': sequences,
            'broken': {str(frame): message for frame, message in broken.items()},
        }
        _write(temporary / STATUS_FILE, status_bytes)
        _write(temporary / 'tracks.json', json.dumps({'content': content, 'sha256': _digest(content)}).encode())
        flush_folder(temporary)
        if _load(folder, fingerprint) is None:  # else another process was faster, and its files may be in use
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(temporary, folder)
            flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: str | Path, data: bytes) -> None:
    with open(path, 'wb') as file:
        file.write(data)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove_abandoned(folder: Path) -> None:
    """Deletes the temporary folders of processes that were killed; a day is longer than any index takes to build."""
    for path in folder.parent.glob(f'{folder.name}.*'):
        try:
            if (
                path.is_dir()
                and time.time() - max(p.stat().st_mtime for p in (path, *path.iterdir())) > ABANDONED_AFTER
            ):
                shutil.rmtree(path)
        except OSError as error:
            print_log(f'{path} cannot be removed ({error.strerror})', logger='current', level=logging.WARNING)


def _make_temporary(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f'{folder.name}.', dir=folder.parent))
    except OSError as error:
        raise DatasetError(
            f'the index of the labels cannot be written to {folder} ({error.strerror}); '
            f'give the dataset a cache_dir that can be written'
        ) from error


def _check_serials(root: str | Path, sequence: layout.SequenceInfo, intrinsics: layout.Intrinsics) -> None:
    # Names may come from an index that lay in the dataset's own folder.
    inside_root(root, sequence.name, f'the index of {root}', error=DatasetError)
    for serial in sequence.serials:
        inside_root(root, serial, f'{root}/{sequence.name}/meta.yml (serials)', error=DatasetError)
        if serial not in intrinsics:
            raise DatasetError(
                f'{root}/{sequence.name}/meta.yml names camera {serial}, which has no file in '
                f'{root}/calibration/intrinsics.{did_you_mean(serial, intrinsics)}'
            )


def _read_all(
    root: str | Path, sequences: list[layout.SequenceInfo], intrinsics: layout.Intrinsics
) -> Iterator[Labels]:
    """Yields what `_read_tracks` returns for each sequence, in order."""
    num_frames = sum(s.num_frames * len(s.serials) for s in sequences)
    jobs = [(Path(root), sequence, intrinsics) for sequence in sequences]
    workers = min(multiprocessing.cpu_count(), 16)
    if num_frames < PARALLEL_FROM or workers == 1:
        yield from map(_read_tracks, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(_read_tracks, jobs)
        yield from progress_bar(results, f'Indexing {num_frames} label files of {root}', total=len(jobs))


def _read_tracks(job: tuple[Path, layout.SequenceInfo, layout.Intrinsics]) -> Labels:
    """Reads the labels of one sequence in all its cameras: status (n,), labels (n,) and {position: message}."""
    root, sequence, intrinsics = job
    size = sequence.num_frames * len(sequence.serials)
    status, labels, broken = np.full(size, ABSENT, np.uint8), np.zeros(size, layout.LABEL), {}
    for camera, serial in enumerate(sequence.serials):
        folder = Path(root) / sequence.name / serial
        present = set(os.listdir(folder)) if folder.is_dir() else set()
        focal = float(intrinsics[serial][0][0, 0])
        for frame in range(sequence.num_frames):
            if not {f'labels_{frame:06d}.npz', f'color_{frame:06d}.jpg'} <= present:
                continue
            position = camera * sequence.num_frames + frame
            path = layout.label_path(root, sequence.name, serial, frame)
            try:
                status[position], labels[position] = layout.read_label(path, sequence.grasped, focal)
            except DatasetError as error:
                status[position], broken[position] = BROKEN, str(error)
    return status, labels, broken
