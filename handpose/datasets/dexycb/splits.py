"""DexYCB's published splits: which subjects, cameras or sequences are for training, validation and testing.

Legend: M tracks of an index.
"""

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.dexycb import layout
from handpose.datasets.dexycb.index import DexYCBIndex
from handpose.datasets.io.errors import DatasetError

SPLITS = ('train', 'val', 'test')
SETUPS = ('s0', 's1', 's2', 's3', 'all')
SUBJECTS = {'train': (0, 1, 2, 3, 4, 5, 9), 'val': (6,), 'test': (7, 8)}  # s1
CAMERAS = {'train': (0, 1, 2, 3, 4, 5), 'val': (6,), 'test': (7,)}  # s2
HELD_OUT_GRASPS = {'val': (3, 19), 'test': (7, 11, 15)}  # s3, position // 5: a subject's sequences come in fives


def in_split(setup: str, split: str, subject: int, position: int, camera: int) -> bool:
    """Says whether a track (one camera's view of one sequence) belongs to a split.

    Args:
        setup: 's0' unseen sequences, 's1' unseen subjects, 's2' unseen cameras, 's3' unseen grasps, or 'all':
            everything, whatever the split.
        split: 'train', 'val' or 'test'.
        subject: number from 0.
        position: number from 0 of the sequence among its subject's, sorted by name.
        camera: number from 0.
    """
    if setup == 's0':
        held_out = position % 5 == 4
        return {'train': not held_out, 'val': held_out and subject < 2, 'test': held_out and subject >= 2}[split]
    if setup == 's1':
        return subject in SUBJECTS[split]
    if setup == 's2':
        return camera in CAMERAS[split]
    if setup == 's3':
        grasp = position // 5
        if split == 'train':
            return not any(grasp in grasps for grasps in HELD_OUT_GRASPS.values())
        return grasp in HELD_OUT_GRASPS[split]
    return True


def camera_numbers(serials: list[str]) -> dict[str, int]:
    """The number of each camera in the splits of s2: the published order, or sorted serials for other cameras."""
    official = set(serials) <= set(layout.SERIALS)
    return {serial: i for i, serial in enumerate(layout.SERIALS if official else sorted(serials))}


def split_tracks(index: DexYCBIndex, numbers: dict[str, int], setup: str, split: str) -> NDArray[np.bool_]:
    """(M,), the tracks of a split; `numbers` are the cameras' (`camera_numbers`)."""
    rows = [(s.subject, s.position, numbers[serial]) for s in index.sequences for serial in s.serials]
    return np.array([in_split(setup, split, *row) for row in rows])


def official_starts(index: DexYCBIndex, tracks: NDArray[np.bool_], numbers: dict[str, int]) -> NDArray[np.int64]:
    """The number (M,) that the first frame of each track of a split has in official result files.

    They number all frames of a split: subject, sequence, camera (in the published order), frame.

    Args:
        index: of all tracks.
        tracks: (M,), those of the split.
        numbers: of the cameras, from `camera_numbers`.
    """
    order = np.lexsort((np.array([numbers[s] for s in index.track_serial]), index.track_sequence))
    order = order[tracks[order]]
    lengths = np.diff(index.track_start)[order]
    starts = np.full(len(tracks), -1)
    starts[order] = np.cumsum(lengths) - lengths
    return starts


def is_official_split(index: DexYCBIndex, numbers: dict[str, int], setup: str, split: str) -> bool:
    """Whether every subject, position and camera of a published split is on disk: official numbers count them all."""
    present = {(s.subject, s.position, numbers[serial]) for s in index.sequences for serial in s.serials}
    every = product(range(layout.SUBJECTS), range(layout.SEQUENCES_PER_SUBJECT), range(len(layout.SERIALS)))
    return all(track in present for track in every if in_split(setup, split, *track))


def check_complete_subjects(root: Path, index: DexYCBIndex, setup: str) -> None:
    """Refuses subjects with sequences missing: positions decide s0 and s3, which would differ from the published ones.

    Raises:
        DatasetError: names the first such subject.
    """
    if setup not in ('s0', 's3'):
        return
    listed = layout.read_sequence_list(root)
    if listed is None:
        subjects = [s.name.split('/')[0] for s in index.sequences]
        counts = {subject: subjects.count(subject) for subject in sorted(set(subjects))}
    else:
        counts = {subject: len(names) for subject, names in sorted(listed.items())}
    for subject, count in counts.items():
        if count != layout.SEQUENCES_PER_SUBJECT:
            where = root if listed is None else root / layout.SEQUENCE_LIST
            raise DatasetError(
                f'{where}: {subject} has {count} of its {layout.SEQUENCES_PER_SUBJECT} sequences, so the splits of '
                f'{setup} would differ from the published ones; complete it, name all its sequences in '
                f"{root}/{layout.SEQUENCE_LIST}, or use setup='all'"
            )
