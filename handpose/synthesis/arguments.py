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
    types: dict[str, Any] = {}
    texts: dict[str, dict[str, list[str]]] = {}  # {option: {its meaning: the kinds of data that it is of}}
    for options in OPTIONS:
        meanings = _documentation(options)
        for name, annotation in inspect.get_annotations(options).items():
            types[name] = annotation
            texts.setdefault(name, {}).setdefault(meanings[name], []).append(options.kind.removeprefix('the '))
    for name, kinds in texts.items():
        of_all = sum(map(len, kinds.values())) == len(OPTIONS) and len(kinds) == 1
        parts = [text if of_all else f'{" and ".join(who)}: {text}' for text, who in kinds.items()]
        parser.add_argument(
            f'--{name.replace("_", "-")}',
            type=types[name] if types[name] in (int, float) else str,
            nargs=None if types[name] in (int, float, str) else '+',
            help=' | '.join(parts).replace('%', '%%'),
        )


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
