"""`actions.csv`: which actions the recordings of a folder show, and which part of the dataset they belong to.

Columns: file, start, end, action, and optionally object and split; docs/guides/your_own_actions.md has an example.
"""

import csv
import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from handpose.datasets.io.errors import DatasetError, check_choice
from handpose.files.reading import read_text
from handpose.text import did_you_mean

ACTIONS_FILE = 'actions.csv'
SPLITS = ('train', 'val', 'test')
_REQUIRED = ('file', 'start', 'end', 'action')
_COLUMNS = (*_REQUIRED, 'object', 'split')


class ActionRow(NamedTuple):
    """One row of the list.

    Attributes:
        number: of the row, from 1.
        file: name of the recording, without '.npz'.
        start: seconds, None for the beginning of the recording.
        end: seconds, None for its end.
        action: name, '' where the row only says a recording's split.
        object: name, '' for the action's own.
        split: 'train', 'val' or 'test'; '' where the list has no such column.
        where: the file and the line, for messages.
    """

    number: int
    file: str
    start: float | None
    end: float | None
    action: str
    object: str
    split: str
    where: str


def read_actions(path: Path, files: Collection[str]) -> list[ActionRow]:
    """Reads the list.

    Args:
        path: the list, separated by commas or semicolons.
        files: names of the recordings, without '.npz'.

    Returns:
        its rows.

    Raises:
        DatasetError: other columns, a recording that there is not, times that are no seconds, an unknown split, or two
            splits for one recording; names the line.
    """
    text = read_text(path, error=DatasetError)
    header = text.partition('\n')[0]
    reader = csv.reader(text.splitlines(), delimiter=';' if header.count(';') > header.count(',') else ',')
    lines = [([cell.strip() for cell in cells], reader.line_num) for cells in reader]
    columns = lines[0][0] if lines else []
    _check_columns(columns, f'{path}, line 1')
    rows: list[ActionRow] = []
    for cells, line in lines[1:]:
        if not any(cells):
            continue
        where = f'{path}, line {line}'
        if len(cells) != len(columns):
            raise DatasetError(f'{where}: expected {len(columns)} columns ({", ".join(columns)}), got {len(cells)}')
        rows.append(_row(dict(zip(columns, cells, strict=True)), len(rows) + 1, files, where))
    if 'split' in columns:
        _check_splits(rows, files, path)
    return rows


def _check_columns(columns: list[str], where: str) -> None:
    wanted = ', '.join(_COLUMNS)
    for name in columns:
        if name not in _COLUMNS or columns.count(name) > 1:
            raise DatasetError(
                f'{where}: the columns must be named {wanted} (the last two are optional), each once, got {name!r}.'
                f'{did_you_mean(name, _COLUMNS)}'
            )
    for name in _REQUIRED:
        if name not in columns:
            raise DatasetError(
                f'{where}: the columns must be named {wanted} (the last two are optional), and {name!r} is missing; '
                f'got {", ".join(columns) or "an empty file"}'
            )


def _row(found: dict[str, str], number: int, files: Collection[str], where: str) -> ActionRow:
    name = found['file'].removesuffix('.npz').replace('\\', '/')
    if name not in files:
        raise DatasetError(f'{where}: there is no recording {found["file"]!r}.{did_you_mean(name, files)}')
    if 'split' in found:
        check_choice(f'{where}: split', found['split'], SPLITS)
    start, end = _seconds(found['start'], 'start', where), _seconds(found['end'], 'end', where)
    if start is not None and end is not None and not start < end:
        raise DatasetError(f'{where}: start must be before end, got {start:g} and {end:g} s')
    return ActionRow(
        number=number,
        file=name,
        start=start,
        end=end,
        action=found['action'],
        object=found.get('object', ''),
        split=found.get('split', ''),
        where=where,
    )


def _seconds(text: str, name: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f'{where}: {name} must be a time in seconds, such as 12.5, got {text!r}')
    return value


def _check_splits(rows: list[ActionRow], files: Collection[str], path: Path) -> None:
    """Every recording must be in one split, or frames of one take could be in training and in tests."""
    split_of: dict[str, str] = {}
    for row in rows:
        if split_of.setdefault(row.file, row.split) != row.split:
            raise DatasetError(
                f'{row.where}: {row.file!r} is in split {row.split!r} here and in {split_of[row.file]!r} above; a '
                f'recording belongs to one split as a whole'
            )
    if missing := sorted(set(files) - set(split_of)):
        raise DatasetError(
            f'{path} has the column split but no row for {missing[0]!r}; add one (start, end and action may be empty)'
        )
