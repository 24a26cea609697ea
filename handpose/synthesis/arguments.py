"""The command line of the built-in data, derived from the options: their names, types and documentation."""

import inspect
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from handpose.synthesis.options import OPTIONS, DatasetOptions, MultiViewOptions, RecordedOptions, options_from_dict


def add_arguments(parser: ArgumentParser) -> None:
    """Adds an argument for every option; what they have in common is described once.

    Args:
        parser: of the command.
    """
    meanings: dict[str, dict[str, list[str]]] = {}
    types: dict[str, Any] = {}
    for options in OPTIONS:
        documented = _documentation(options)
        for name, annotation in inspect.get_annotations(options).items():
            types[name] = annotation
            meanings.setdefault(name, {}).setdefault(documented[name], []).append(options.kind.removeprefix('the '))
    for name, kinds in meanings.items():
        if len(kinds) == 1 and len(OPTIONS) == sum(map(len, kinds.values())):
            text = next(iter(kinds))
        else:
            text = ' | '.join(f'{" and ".join(who)}: {meaning}' for meaning, who in kinds.items())
        flag, text = f'--{name.replace("_", "-")}', text.replace('%', '%%')
        if types[name] is int:
            parser.add_argument(flag, type=int, help=text)
        else:
            parser.add_argument(flag, nargs=None if types[name] is str else '+', help=text)


def options_from_arguments(arguments: Namespace, config: Mapping[str, Any] | None = None) -> DatasetOptions:
    """Makes the options of a command line.

    Args:
        arguments: parsed with the arguments of `add_arguments`.
        config: options that those of the command line win over, such as a config's `synthetic_data`; with `--motion`
            only its root counts, since the others are about hands that nobody recorded.

    Raises:
        ValueError: a name or value is not an option's.
    """
    names = dict.fromkeys(name for options in OPTIONS for name in options.names())
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    values = dict(config or {})
    if 'motion' in given:
        values = {'root': values['root']} if 'root' in values else {}
    values |= given
    values.setdefault('root', default_root(values))
    return options_from_dict(values)


def default_root(values: Mapping[str, Any]) -> str:
    """The folder that data goes to when nobody names one."""
    if 'motion' in values:
        return f'data/{RecordedOptions.layout}'
    return f'data/synthetic_{values.get("layout", MultiViewOptions.layout)}'


def _documentation(options: type[DatasetOptions]) -> dict[str, str]:
    """{option: its meaning, and its default} of the class's docstring."""
    text = inspect.getdoc(options) or ''
    found = re.findall(r'^ {4}(\w+): (.*?)(?=\n {4}\w|\n\n|\Z)', text, re.MULTILINE | re.DOTALL)
    meanings = {name: ' '.join(meaning.split()) for name, meaning in found}
    for name in options.names():
        default = getattr(options, name, None)
        if default not in (None, ()):
            meanings[name] += f' (default {default})'
    return meanings
