"""Lists, downloads and verifies the files of the model zoo.

handpose zoo list
handpose zoo get NAME [NAME ...] | --all     download what is missing; prints the path of every file
handpose zoo verify                          compare every file on this machine with its sha256
handpose zoo card NAME                       what a file is, how to use it, its licence and citation
handpose zoo table                           the text of model_zoo.md

docs/guides/model_zoo.md explains the cache, mirrors, and work without a network.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from handpose.cli.errors import UsageError, UserError
from handpose.zoo import card
from handpose.zoo.cache import file_problem, zoo_folder
from handpose.zoo.download import Report
from handpose.zoo.fetch import get, local_paths
from handpose.zoo.index import ZooEntry, ZooIndex, default_index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='list | get | verify | card | table')
    _add_commercial(actions.add_parser('list', help='list the files'))
    download = actions.add_parser('get', help='download files')
    download.add_argument('names', nargs='*', metavar='NAME', help='as `handpose zoo list` shows them')
    download.add_argument('--all', action='store_true', help='all files')
    _add_commercial(download)
    actions.add_parser('verify', help='compare every file on this machine with its sha256')
    actions.add_parser('card', help='what a file is, and how to use it').add_argument('name', metavar='NAME')
    actions.add_parser('table', help='print the text of model_zoo.md')


def _add_commercial(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--commercial-ok', action='store_true', help='only files whose licence allows commercial use')


def run(arguments: argparse.Namespace) -> None:
    """Lists, downloads, verifies or describes.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ZooError: an unknown name, or a file that cannot be had.
        UserError: a file is damaged, or its licence does not allow commercial use.
        UsageError: `get` without names.
    """
    index = default_index()
    if arguments.action == 'list':
        entries = [entry for entry in index.values() if entry.commercial_use or not arguments.commercial_ok]
        Console().print(list_table(entries))
    elif arguments.action == 'get':
        if bool(arguments.names) == arguments.all:
            raise UsageError('give the names of files, or --all')
        get_files(select_entries(index, arguments.names, arguments.commercial_ok))
    elif arguments.action == 'verify':
        verify(index)
    elif arguments.action == 'card':
        print_card(index[arguments.name])
    else:
        print(card.zoo_markdown(index), end='')


def select_entries(index: ZooIndex, names: list[str], commercial_only: bool) -> list[ZooEntry]:
    """The entries that a command line asks for.

    Args:
        index: the index.
        names: of the entries; none means all.
        commercial_only: whether the licences must allow commercial use.

    Returns:
        The entries, each once.

    Raises:
        ZooError: an unknown name.
        UserError: the licence of a named entry does not allow commercial use.
    """
    if not names:
        return [entry for entry in index.values() if entry.commercial_use or not commercial_only]
    entries = [index[name] for name in dict.fromkeys(names)]
    refused = [f'{entry.name} ({entry.licence})' for entry in entries if commercial_only and not entry.commercial_use]
    if refused:
        raise UserError(
            f'the licence does not allow commercial use: {", ".join(refused)}; `handpose zoo list --commercial-ok` '
            'shows what may be used'
        )
    return entries


def get_files(entries: list[ZooEntry]) -> None:
    """Downloads what is missing, with a progress bar, and prints the path of every file.

    Args:
        entries: what to get.

    Raises:
        ZooError: a file cannot be had.
    """
    for entry in entries:
        with progress_bar() as report:
            path = get(entry.name, report=report)
        print(f'{entry.name}  {path}')


@contextmanager
def progress_bar() -> Iterator[Report]:
    """Draws the progress of downloads on the terminal's error output.

    Yields:
        The function that downloads call with their progress.
    """
    columns = (TextColumn('{task.description}'), BarColumn(), TextColumn('{task.fields[size]}'))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(label: str, done: int, total: int | None) -> None:
            text = '' if total is None else f'{done / 1e6:.1f} of {total / 1e6:.1f} MB'
            if label not in tasks:
                tasks[label] = progress.add_task(label, size=text)
            progress.update(tasks[label], completed=done, total=total, size=text)

        yield report


def list_table(entries: list[ZooEntry]) -> Table:
    """A table of entries.

    Args:
        entries: the rows.

    Returns:
        Name, what it is, size, licence, whether commercial use is allowed, and whether it is on this machine (not
        verified).
    """
    table = Table(box=box.SIMPLE)
    for heading in ('name', 'what it is', 'size', 'licence', 'commercial', 'here'):
        table.add_column(heading, no_wrap=heading != 'what it is', justify='right' if heading == 'size' else 'left')
    for entry in entries:
        here = any(path.is_file() for path in local_paths(entry))
        allowed = 'yes' if entry.commercial_use else 'no'
        table.add_row(entry.name, entry.title, card.size(entry), entry.licence, allowed, 'yes' if here else 'no')
    return table


def verify(index: ZooIndex) -> None:
    """Verifies every file of the zoo on this machine and prints a line about each.

    Args:
        index: the index.

    Raises:
        UserError: files are damaged.
    """
    here = [(entry, path) for entry in index.values() for path in local_paths(entry, index) if path.exists()]
    damaged = []
    for entry, path in here:
        problem = file_problem(path, entry)
        print(f'{entry.name}  {path} {problem or "is right"}')
        if problem:
            damaged.append(entry.name)
    if not here:
        print(f'no files of the model zoo are on this machine ({zoo_folder()} has none)')
    if damaged:
        raise UserError(f'damaged: {", ".join(damaged)}; `handpose zoo get NAME` downloads a file again')


def print_card(entry: ZooEntry) -> None:
    """Prints the card of an entry.

    Args:
        entry: the entry.
    """
    table = Table(box=box.SIMPLE, show_header=False, title=f'{entry.name}: {entry.title}', title_justify='left')
    table.add_column(no_wrap=True, style='bold')
    table.add_column(overflow='fold')
    for row in card.rows(entry):
        table.add_row(*row)
    Console().print(table)
