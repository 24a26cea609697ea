"""`RecordingMarks`: the frames of an annotated recording that a person found to be bad, as JSON next to the recording.

{"format": "handpose-recording-marks", "version": 1,
 "marks": [{"first": 120, "last": 180, "cameras": ["cam0"], "action": "exclude"}]}
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_write
from handpose.files.reading import kind_of, message, read_json
from handpose.text import did_you_mean

FORMAT, VERSION = 'handpose-recording-marks', 1
ACTIONS = ('redo', 'exclude')
_KEYS = ('first', 'last', 'cameras', 'action')
_LARGEST_FRAME = 2**31 - 1
_MOST_MARKS = 10_000


class MarksError(ValueError):
    """Marks that cannot be used; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class RecordingMark:
    """A range of frames, of some cameras or of all, and what is to be done about it.

    Args:
        first: the first frame, an index into the T frames of the recording.
        last: the last frame, included.
        cameras: names of the cameras whose images are bad; None means all cameras.
        action: 'redo' (find the hands of these images again, without what neighbouring frames suggest) or 'exclude'
            (do without these images).

    Raises:
        MarksError: a range that ends before it begins, a name that is none, or an unknown action.
    """

    first: int
    last: int
    cameras: tuple[str, ...] | None = None
    action: str = 'exclude'

    def __post_init__(self) -> None:
        if type(self.first) is not int or type(self.last) is not int:
            raise MarksError(f'first and last must be whole numbers, got {self.first!r} and {self.last!r}')
        if not 0 <= self.first <= self.last <= _LARGEST_FRAME:
            raise MarksError(f'the frames of a mark must be FIRST-LAST, counted from 0, got {self.first}-{self.last}')
        if self.action not in ACTIONS:
            raise MarksError(f'action must be {" or ".join(map(repr, ACTIONS))}, got {str(self.action)[:80]!r}')
        if self.cameras is not None:
            object.__setattr__(self, 'cameras', tuple(self.cameras))
            if not self.cameras or not all(isinstance(name, str) and name.isprintable() for name in self.cameras):
                raise MarksError('cameras must be None for all cameras, or the names of one or more')
            if len(set(self.cameras)) < len(self.cameras):
                raise MarksError(f'cameras must be different, got {", ".join(self.cameras)[:120]}')

    def __str__(self) -> str:
        frames = f'frame {self.first}' if self.first == self.last else f'frames {self.first} to {self.last}'
        return f'{frames}, {"all cameras" if self.cameras is None else ", ".join(self.cameras)}: {self.action}'


@dataclass(frozen=True)
class RecordingMarks:
    """All marks of a recording, in the order in which they were made.

    Args:
        marks: the marks.
    """

    marks: tuple[RecordingMark, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'marks', tuple(self.marks))

    def __len__(self) -> int:
        return len(self.marks)

    def with_mark(self, mark: RecordingMark) -> 'RecordingMarks':
        """Adds a mark.

        Args:
            mark: the mark; one that is there already is not added again.

        Returns:
            All marks.
        """
        return self if mark in self.marks else RecordingMarks((*self.marks, mark))

    def without(self, index: int) -> 'RecordingMarks':
        """Deletes a mark.

        Args:
            index: of the mark, from 0.

        Returns:
            The other marks.

        Raises:
            MarksError: there is no such mark.
        """
        if not 0 <= index < len(self.marks):
            raise MarksError(f'there is no mark {index}: the recording has {len(self.marks)}')
        return RecordingMarks(self.marks[:index] + self.marks[index + 1 :])

    def check(self, num_frames: int, cameras: Sequence[str]) -> 'RecordingMarks':
        """Refuses marks of another recording.

        Args:
            num_frames: T of the recording.
            cameras: names of its cameras.

        Returns:
            Itself.

        Raises:
            MarksError: a mark is beyond the last frame, or of a camera that the recording does not have.
        """
        for mark in self.marks:
            if mark.last >= num_frames:
                raise MarksError(f'{mark}: the recording has only the frames 0 to {num_frames - 1}')
            for name in mark.cameras or ():
                if name not in cameras:
                    raise MarksError(
                        f'{mark}: the recording has no camera {name!r}, it has {", ".join(cameras)}.'
                        f'{did_you_mean(name, cameras)}'
                    )
        return self

    def mask(self, action: str, num_frames: int, cameras: Sequence[str]) -> NDArray[np.bool_]:
        """Tells which images are marked with an action.

        Args:
            action: 'redo' or 'exclude'.
            num_frames: T of the recording.
            cameras: names of its K cameras, in their order.

        Returns:
            (T, K) bool.

        Raises:
            MarksError: an unknown action, or marks of another recording, see `check`.
        """
        if action not in ACTIONS:
            raise MarksError(f'action must be {" or ".join(map(repr, ACTIONS))}, got {action!r}')
        found = np.zeros((num_frames, len(cameras)), bool)
        for mark in self.check(num_frames, cameras).marks:
            if mark.action == action:
                columns = slice(None) if mark.cameras is None else [list(cameras).index(name) for name in mark.cameras]
                found[mark.first : mark.last + 1, columns] = True
        return found


def marks_path(recording: str | Path) -> Path:
    """Names the file of the marks of a recording: `recording_marks.json` next to `recording.npz`.

    Args:
        recording: the file of the annotated recording.

    Returns:
        The path of its marks.
    """
    return Path(recording).with_name(f'{Path(recording).stem}_marks.json')


def load_recording_marks(path: str | Path) -> RecordingMarks:
    """Reads the marks of a recording.

    Args:
        path: the file, see `marks_path`; without it there are no marks.

    Returns:
        The marks.

    Raises:
        MarksError: the file cannot be read, or holds something else; the message names the mark and the key.
    """
    if not Path(path).exists():
        return RecordingMarks()
    advice = 'correct the file, or delete it: it then counts as no marks'
    found = read_json(path, error=MarksError, advice=advice)
    try:
        return _from_json(found)
    except MarksError as error:
        raise MarksError(f'{message(path, "", "").rstrip()}: {error}; {advice}') from error


def save_recording_marks(path: str | Path, marks: RecordingMarks) -> None:
    """Writes the marks of a recording, completely or not at all; `load_recording_marks` reads them back.

    Args:
        path: the file, see `marks_path`.
        marks: what is written.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is as it was.
    """
    found = {'format': FORMAT, 'version': VERSION, 'marks': [asdict(mark) for mark in marks.marks]}
    atomic_write(path, json.dumps(found, indent=1) + '\n')


def _from_json(found: dict[str, Any]) -> RecordingMarks:
    if found.get('format') != FORMAT:
        raise MarksError(f'format must be {FORMAT!r}, found {str(found.get("format"))[:80]!r}')
    version = found.get('version')
    if type(version) is not int or not 1 <= version <= VERSION:
        raise MarksError(f'version is {str(version)[:80]!r}, and this library reads up to {VERSION}: update handpose')
    if extra := sorted(set(found) - {'format', 'version', 'marks'}):
        raise MarksError(f'expected the keys format, version and marks, found {extra[0][:80]!r} too')
    entries = found.get('marks')
    if not isinstance(entries, list):
        raise MarksError(f'marks must be a list, found {kind_of(entries)}')
    if len(entries) > _MOST_MARKS:
        raise MarksError(f'marks must be at most {_MOST_MARKS:,}, found {len(entries):,}')
    return RecordingMarks(tuple(_mark(entry, f'mark {number}') for number, entry in enumerate(entries)))


def _mark(entry: Any, where: str) -> RecordingMark:
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        keys = ', '.join(entry)[:120] if isinstance(entry, dict) else kind_of(entry)
        raise MarksError(f'{where}: expected the keys {", ".join(_KEYS)}, found {keys or "none"}')
    cameras = entry['cameras']
    if cameras is not None and not isinstance(cameras, list):
        raise MarksError(f'{where}, cameras: expected null or a list of names, found {kind_of(cameras)}')
    try:
        names = None if cameras is None else tuple(cameras)
        return RecordingMark(entry['first'], entry['last'], names, entry['action'])
    except (MarksError, TypeError) as error:  # what is in a list of names may be anything
        raise MarksError(f'{where}: {error}') from error
