"""Getting files of the model zoo: found on this machine, or downloaded; always verified.

path = get('mediapipe_hand_full')
"""

import logging
from pathlib import Path

from handpose.files.atomic import flush_folder, remove_unfinished
from handpose.zoo.cache import (
    CACHE,
    MIRROR,
    OFFLINE,
    PARTIAL,
    disk_errors,
    file_problem,
    is_offline,
    mirror_folder,
    store,
    stored_name,
    writer_lock,
    zoo_folder,
)
from handpose.zoo.download import DownloadOptions, Report, download
from handpose.zoo.errors import SourceError, ZooError
from handpose.zoo.hub import hub_blocks
from handpose.zoo.index import ZooEntry, ZooIndex, default_index
from handpose.zoo.sources import HubFile, PackageFile, Source, WebFile, WheelMember, describe
from handpose.zoo.wheels import downloaded_wheel, member_blocks

_log = logging.getLogger(__name__)


def _no_report(label: str, done: int, total: int | None) -> None:
    """Reports nothing."""


def get(
    name: str, index: ZooIndex | None = None, options: DownloadOptions | None = None, report: Report = _no_report
) -> Path:
    """Finds the file of an entry on this machine, or downloads it; its sha256 is checked in both cases.

    Looked for, in this order: the file that ships with the package, the cache, the folder that `HANDPOSE_ZOO` names;
    then the entry's sources on the network, unless `HANDPOSE_OFFLINE` is set. Any number of processes may call it.

    Args:
        name: of the entry.
        index: the index; default the one that ships with the package.
        options: timeouts and attempts of downloads; default `DownloadOptions()`.
        report: called with the progress of downloads.

    Returns:
        The path of the verified file. It is not to be written to.

    Raises:
        ZooError: no such entry, no source gives the right file, or the cache cannot be written.
    """
    index = default_index() if index is None else index
    entry = index[name]
    path = find(entry, index)
    if path is not None:
        return path
    folder = zoo_folder()
    remote: list[Source] = [source for source in entry.sources if not isinstance(source, PackageFile)]
    if is_offline() or not remote:
        raise ZooError(_not_here(entry))
    with disk_errors(entry, folder), writer_lock(folder):
        target = folder / stored_name(entry)
        if file_problem(target, entry) is None:  # another process has downloaded it meanwhile
            return target
        remove_unfinished(folder)
        return _fetch(entry, remote, index, options or DownloadOptions(), report)


def find(entry: ZooEntry, index: ZooIndex | None = None) -> Path | None:
    """Finds a file on this machine, without the network.

    Args:
        entry: the entry.
        index: that it belongs to; default the one that ships with the package.

    Returns:
        The path of the verified file, or None. Files with other contents are named in a warning.
    """
    for path in local_paths(entry, index):
        if path.exists():
            problem = file_problem(path, entry)
            if problem is None:
                return path
            _log.warning('%s %s; it is not used', path, problem)
    return None


def local_paths(entry: ZooEntry, index: ZooIndex | None = None) -> list[Path]:
    """Lists where a file is looked for on this machine, whether it is there or not.

    Args:
        entry: the entry.
        index: that it belongs to; default the one that ships with the package.

    Returns:
        Paths: of the file that ships with the package, in the cache, in the folder that `HANDPOSE_ZOO` names.
    """
    root = (default_index() if index is None else index).folder
    paths = [root / source.path for source in entry.sources if isinstance(source, PackageFile)]
    folders = [zoo_folder(), mirror_folder()]
    return paths + [folder / stored_name(entry) for folder in folders if folder is not None]


def _fetch(entry: ZooEntry, sources: list[Source], index: ZooIndex, options: DownloadOptions, report: Report) -> Path:
    """Tries the sources in order; the caller holds the lock of the cache."""
    problems = []
    for source in sources:
        try:
            _fetch_from(source, entry, index, options, report)
        except SourceError as error:
            problems.append(str(error))
            if source is not sources[-1]:
                _log.warning('%s: %s; trying the next source', entry.name, error)
            continue
        path = zoo_folder() / stored_name(entry)
        problem = file_problem(path, entry)
        if problem is None:
            return path
        problems.append(f'{path} {problem} after it was written: the disk may be failing')
    raise ZooError(
        f'{entry.name} cannot be downloaded: {"; ".join(problems)}. Try again later, or put the file, with the sha256 '
        f'{entry.sha256}, at {zoo_folder() / stored_name(entry)}'
    )


def _fetch_from(source: Source, entry: ZooEntry, index: ZooIndex, options: DownloadOptions, report: Report) -> None:
    folder = zoo_folder()
    if isinstance(source, WebFile):
        partial = folder / f'{PARTIAL}{stored_name(entry)}'
        download(source.url, entry, partial, options, report)
        partial.replace(folder / stored_name(entry))
        flush_folder(folder)
    elif isinstance(source, HubFile):
        report(entry.name, 0, None)
        store(entry, hub_blocks(source), describe(source), folder)
        report(entry.name, entry.size, entry.size)
    elif isinstance(source, WheelMember):
        _fetch_wheel(source, entry, index, report)


def _fetch_wheel(source: WheelMember, entry: ZooEntry, index: ZooIndex, report: Report) -> None:
    """Takes all that the index has of one wheel, so that it is downloaded once."""
    folder = zoo_folder()
    wanted = [(entry, source)]
    for other in index.values():
        found = [s for s in other.sources if isinstance(s, WheelMember) and s.requirement == source.requirement]
        if other is not entry and found and file_problem(folder / stored_name(other), other) is not None:
            wanted.append((other, found[0]))
    report(f'the wheel of {source.requirement}', 0, None)
    with downloaded_wheel(source.requirement) as wheel:
        for member_entry, member in wanted:
            where = describe(member)
            try:
                store(member_entry, member_blocks(wheel, member.member, member_entry.size, where), where, folder)
            except SourceError as error:
                if member_entry is entry:
                    raise
                _log.warning('%s: %s', member_entry.name, error)


def _not_here(entry: ZooEntry) -> str:
    """The message about a file that is not on this machine and may not be downloaded."""
    target = zoo_folder() / stored_name(entry)
    if not any(not isinstance(source, PackageFile) for source in entry.sources):
        return f'{entry.name} ships with the package, but its file is missing or damaged; install handpose again'
    return (
        f'{entry.name} is not on this machine, and {OFFLINE} forbids downloads. Run `handpose zoo get {entry.name}` on '
        f'a machine with a network, with {CACHE} set to an empty folder, and copy {target.name} from the folder zoo '
        f'there to {target} here; or set {MIRROR} to a folder that holds it'
    )
