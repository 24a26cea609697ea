"""Pages of the command line: one for each command, from its own argument parser."""

import argparse
import importlib
import inspect

from handpose.cli import COMMANDS
from handpose_docs import rst


class _Formatter(argparse.HelpFormatter):
    """Lines of one length, whatever the terminal of the build."""

    def __init__(self, prog: str):
        super().__init__(prog, width=84)


def parser_of(command: str) -> argparse.ArgumentParser:
    """Returns the parser of a command.

    Args:
        command: a key of `COMMANDS`.
    """
    module = importlib.import_module(f'handpose.cli.{command.replace("-", "_")}')
    parser = argparse.ArgumentParser(prog=f'handpose {command}', description=module.__doc__, formatter_class=_Formatter)
    module.add_arguments(parser)
    return parser


def pages() -> dict[str, str]:
    """Returns the reStructuredText of the pages by their names."""
    return {command: _page(command) for command in COMMANDS}


def _page(command: str) -> str:
    parser = parser_of(command)
    return '\n'.join([rst.heading(f'handpose {command}', '='), *_describe(parser)])


def _describe(parser: argparse.ArgumentParser) -> list[str]:
    parts = [_description(inspect.cleandoc(parser.description or ''))]
    parts.append('.. code-block:: text\n\n' + rst.indent(parser.format_usage().removeprefix('usage: ').rstrip()) + '\n')
    parts.append(f'.. program:: {parser.prog}\n')
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                parts += ['', rst.heading(name, '-'), *_describe(subparser)]
        elif not isinstance(action, argparse._HelpAction):
            parts.append(_option(action, parser))
    return parts


def _description(text: str) -> str:
    """The docstring of a command: paragraphs, and examples that are indented."""
    parts = []
    for paragraph in text.split('\n\n'):
        if paragraph.startswith('    '):
            parts.append('.. code-block:: text\n\n' + rst.indent(inspect.cleandoc(paragraph)) + '\n')
        else:
            parts.append(rst.link_pages(rst.escape(paragraph)) + '\n')
    return '\n'.join(parts)


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    if action.option_strings:
        value = '' if action.nargs == 0 else ' ' + formatter._format_args(action, action.dest.upper())
        names = ', '.join(f'{name}{value}' for name in action.option_strings)
    else:
        names = formatter._format_args(action, str(action.metavar or action.dest))
    text = rst.link_pages(rst.escape(formatter._expand_help(action) if action.help else ''))
    facts = []
    if action.required and action.option_strings:
        facts.append('Required.')
    if action.choices is not None and action.metavar is not None:
        facts.append(f'One of {", ".join(rst.code(str(choice)) for choice in action.choices)}.')
    if action.default not in (None, False, argparse.SUPPRESS, [], ()):
        facts.append(f'Default: {rst.code(str(action.default))}.')
    return '\n'.join([f'.. option:: {names}', '', rst.indent('\n\n'.join(filter(None, [text, ' '.join(facts)]))), ''])
