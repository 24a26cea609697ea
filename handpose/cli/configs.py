"""Lists, copies or shows the configs that come with the package.

handpose configs list
handpose configs copy deformer/synthetic [FOLDER]     the config and its bases, to run and to edit
handpose configs show deformer/synthetic [--cfg-options KEY=VALUE ...]     every value and where it is set
"""

import argparse
import os
import sys
from pathlib import Path

from handpose.cli import arguments as shared
from handpose.cli.errors import UserError
from handpose.engine.config import Origin, config_origins
from handpose.engine.config_files import config_names, configs_folder, find_config, read_layers
from handpose.files.atomic import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    actions = parser.add_subparsers(dest='action', required=True, metavar='list | copy | show')
    actions.add_parser('list', help='list the configs, with a line about each')
    copy = actions.add_parser('copy', help='copy a config and its bases, to run and to edit')
    shared.add_config(copy)
    copy.add_argument('folder', nargs='?', default='configs', metavar='FOLDER', help='default %(default)s')
    copy.add_argument('--force', action='store_true', help='overwrite files that differ')
    show = actions.add_parser('show', help='print every value of a config, and the file that sets it')
    shared.add_config(show)
    shared.add_cfg_options(show)


def run(arguments: argparse.Namespace) -> None:
    """Lists, copies or shows.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ConfigError: no such config, or one that cannot be loaded.
        UserError: a copy would overwrite files.
    """
    if arguments.action == 'list':
        names = config_names()
        width = max(map(len, names))
        for name in names:
            print(f'{name:{width}}  {description(find_config(name))}')
    elif arguments.action == 'copy':
        path = copy_config(find_config(arguments.config), Path(arguments.folder), arguments.force)
        print(f'copied; train it with: handpose train {path}')
    else:
        origins = config_origins(arguments.config, arguments.cfg_options)
        try:
            print_origins(origins)
            sys.stdout.flush()
        except BrokenPipeError:  # whatever reads the output, such as `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def description(path: Path) -> str:
    """The first sentence of the comment at the top of a config file."""
    words: list[str] = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        words += line.removeprefix('#').split()
        if words and words[-1].endswith(('.', ':')):
            break
    text = ' '.join(words)
    return text.split('. ')[0].rstrip('.')


def copy_config(path: Path, folder: Path, force: bool = False) -> Path:
    """Copies a config and its bases; where they lie relative to each other stays the same.

    Args:
        path: the config file.
        folder: where to; a shipped config becomes <folder>/<system>/<dataset>.py.
        force: overwrite files that differ.

    Returns:
        The path of the copy.

    Raises:
        UserError: files that differ are there already, and `force` is not set; nothing is written.
    """
    files = {layer.path.resolve(): layer.text for layer in read_layers(path)}
    root = configs_folder().resolve()
    if not path.resolve().is_relative_to(root):  # a user's config finds its shipped bases as `handpose::...`
        files = {file: text for file, text in files.items() if not file.is_relative_to(root)}
        root = Path(os.path.commonpath([file.parent for file in files]))
    copies = {folder / file.relative_to(root): text for file, text in files.items()}
    differing = [copy for copy, text in copies.items() if copy.exists() and copy.read_text(encoding='utf-8') != text]
    if differing and not force:
        raise UserError(
            f'{", ".join(map(str, differing))} would be overwritten; choose another folder, or give --force to '
            'overwrite'
        )
    for copy, text in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(copy, text)
        print(copy)
    return folder / path.resolve().relative_to(root)


def print_origins(origins: list[Origin]) -> None:
    """Prints `key = value  # file`, and behind the file the key there, where the value is a reference."""
    shipped = configs_folder()
    for origin in origins:
        where = 'command line'
        if origin.path is not None:
            path = Path(os.path.normpath(origin.path))
            where = str(path.relative_to(shipped) if path.is_relative_to(shipped) else path)
        reference = '' if origin.source_key == origin.key else f': {origin.source_key}'
        print(f'{origin.key} = {origin.value!r}  # {where}{reference}')
