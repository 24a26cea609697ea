"""The index of the model zoo: what there is, where it comes from and what its files must hold."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from handpose.files.reading import is_path_below, kind_of
from handpose.files.yaml_files import read_yaml
from handpose.text import did_you_mean
from handpose.zoo.errors import ZooError
from handpose.zoo.sources import Source, parse_source

INDEX_FILE = Path(__file__).with_name('index.yml')
INDEX_FORMAT = 1
KINDS = {'network': 'a network file that cv2.dnn runs', 'estimator': 'weights that `handpose.load` builds'}
NAME = re.compile(r'[a-z][a-z0-9_]*')


@dataclass(frozen=True)
class ZooMetric:
    """A number that was measured with a file of the zoo.

    Attributes:
        name: of the metric, as in tables: 'PA-MPJPE'.
        value: the number.
        unit: 'mm', or '' where there is none.
        data: what it was measured on.
        command: what measures it again.
        baseline: what simple methods reach on the same data, in the same unit: 'input 6.75, Gaussian filter 5.64'.
    """

    name: str
    value: float
    unit: str
    data: str
    command: str
    baseline: str = ''


@dataclass(frozen=True)
class ZooEntry:
    """A file of the model zoo and its card; every attribute is a key of the index.

    Attributes:
        name: lower case, digits and underscores.
        kind: a key of `KINDS`.
        title: a few words.
        summary: a sentence or two: what it is and what it is for.
        file: name of the file.
        size: bytes.
        sha256: 64 hexadecimal digits.
        sources: where to get the file, the first choice first; see `handpose.zoo.sources.SCHEMES`.
        licence: SPDX identifier, or the terms in words.
        commercial_use: whether the licence of the weights, and of the data that they were trained on, allows it.
        preprocessing: what has to be done with an image or a motion first.
        output: what it gives.
        units: of the output.
        joint_order: of the output.
        frame_rate: that it needs, or 'any'.
        limitations: what it is not good at.
        citation: of the publication.
        licence_url: where the terms can be read.
        config: of an estimator: the config that trained it, such as 'deformer/synthetic'.
        training: of an estimator: the command that reproduces the weights.
        metrics: what was measured.
    """

    name: str
    kind: str
    title: str
    summary: str
    file: str
    size: int
    sha256: str
    sources: tuple[Source, ...]
    licence: str
    commercial_use: bool
    preprocessing: str
    output: str
    units: str
    joint_order: str
    frame_rate: str
    limitations: str
    citation: str
    licence_url: str = ''
    config: str = ''
    training: str = ''
    metrics: tuple[ZooMetric, ...] = ()


class ZooIndex(Mapping[str, ZooEntry]):
    """The entries of an index by name.

    Args:
        entries: the entries.
        folder: of the index; files that ship with the package are found from there.
    """

    def __init__(self, entries: Mapping[str, ZooEntry], folder: Path) -> None:
        self._entries = dict(entries)
        self.folder = folder

    def __getitem__(self, name: str) -> ZooEntry:
        if name not in self._entries:
            raise ZooError(
                f'the model zoo has no {name!r}.{did_you_mean(name, self._entries)} `handpose zoo list` shows what it '
                'has'
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@cache
def default_index() -> ZooIndex:
    """Reads the index that ships with the package, once."""
    return read_index(INDEX_FILE)


def read_index(path: str | Path) -> ZooIndex:
    """Reads an index.

    Args:
        path: a YAML file with `format: 1` and `entries`, a mapping of names to the keys of `ZooEntry`.

    Returns:
        The index.

    Raises:
        ZooError: the file cannot be read, or an entry is not as `ZooEntry` describes it; names the entry and the key.
    """
    found = read_yaml(path, error=ZooError)
    if found.get('format') != INDEX_FORMAT:
        raise ZooError(f"{path}: 'format' must be {INDEX_FORMAT}, got {found.get('format')!r}; update handpose")
    entries = found.get('entries')
    if not isinstance(entries, dict):
        raise ZooError(f"{path}: 'entries' must be a mapping of names to entries, got {kind_of(entries)}")
    return ZooIndex(
        {name: _entry(name, values, f'{path}: entry {name!r}') for name, values in entries.items()}, Path(path).parent
    )


def _entry(name: Any, values: Any, where: str) -> ZooEntry:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ZooError(f'{where}: a name must be lower case letters, digits and underscores')
    checked = _checked(ZooEntry, {'name': name, **_mapping(values, where)}, where)
    checked['sources'] = tuple(_source(source, where) for source in checked['sources'])
    checked['metrics'] = tuple(
        _metric(values, f'{where}, metric {place}') for place, values in enumerate(checked.get('metrics', ()), 1)
    )
    entry = ZooEntry(**checked)
    if entry.kind not in KINDS:
        raise ZooError(f"{where}: 'kind' must be one of {', '.join(KINDS)}, got {entry.kind!r}")
    if not is_path_below(entry.file) or '/' in entry.file:
        raise ZooError(f"{where}: 'file' must be the name of a file, without a folder, got {entry.file!r}")
    if not re.fullmatch('[0-9a-f]{64}', entry.sha256):
        raise ZooError(f"{where}: 'sha256' must be 64 hexadecimal digits in lower case, got {entry.sha256!r}")
    if entry.size <= 0:
        raise ZooError(f"{where}: 'size' must be the number of bytes, got {entry.size}")
    if not entry.sources:
        raise ZooError(f"{where}: 'sources' is empty; give at least one")
    return entry


def _metric(values: Any, where: str) -> ZooMetric:
    return ZooMetric(**_checked(ZooMetric, _mapping(values, where), where))


def _mapping(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ZooError(f'{where} must hold keys with values, but holds {kind_of(values)}')
    return values


def _source(text: Any, where: str) -> Source:
    if not isinstance(text, str):
        raise ZooError(f"{where}: 'sources' must hold texts, but holds {kind_of(text)}")
    try:
        return parse_source(text)
    except ZooError as error:
        raise ZooError(f"{where}: 'sources': {error}") from None


def _checked(cls: type[ZooEntry] | type[ZooMetric], values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values of a dataclass, after a check of their keys and types."""
    known = {field.name: field for field in fields(cls)}
    for key in values:
        if key not in known:
            raise ZooError(f'{where} has the unknown key {key!r}.{did_you_mean(key, known)}')
    lacking = [name for name, field in known.items() if field.default is MISSING and name not in values]
    if lacking:
        raise ZooError(f'{where} lacks {", ".join(map(repr, lacking))}')
    for key, value in values.items():
        expected: Any = known[key].type if known[key].type in (str, int, float, bool) else list
        allowed = (int, float) if expected is float else (expected,)
        if type(value) not in allowed:
            quotes = '; put it in quotes' if expected is str and type(value) in (int, float) else ''
            raise ZooError(f'{where}: {key!r} must be {kind_of(expected())}, but is {kind_of(value)}{quotes}')
    return values
