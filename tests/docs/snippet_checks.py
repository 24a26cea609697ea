"""Checks of code that is not run: names, arguments, options and files that it mentions exist."""

import argparse
import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from setup_extras import read_extras
from snippet_pages import ROOT

from handpose import registry
from handpose.cli import COMMANDS
from handpose.engine import load_config

REGISTRIES = [found for found in vars(registry).values() if isinstance(found, registry.Registry)]
OURS = re.compile(r'^\.\[(?P<extras>[\w,]+)\]$')  # what pip is asked to install
EXTRAS = {*read_extras(), 'all'}
MAKE_TARGETS = set(re.findall(r'^([\w-]+):(?!=)', (ROOT / 'Makefile').read_text(), re.MULTILINE))


def handpose_words(words: Sequence[str]) -> list[str] | None:
    """The words of a subcommand of handpose that a command runs, or None."""
    if words[:1] == ['handpose']:
        return list(words[1:])
    if words[:3] == ['python', '-m', 'handpose']:
        return list(words[3:])
    if words[:1] == ['python'] and words[1:2] and words[1].startswith('tools/'):
        path = ROOT / words[1]
        assert path.is_file(), f'there is no {words[1]}'
        (command,) = re.findall(r"main\('([\w-]+)'\)", path.read_text())
        return [command, *words[2:]]
    return None


def check_command(words: Sequence[str]) -> None:
    """Checks a command without running it.

    Args:
        words: of the command line.

    Raises:
        AssertionError: an argument, a config, an extra, a target or a file does not exist.
    """
    ours = handpose_words(words)
    program, *rest = words
    if ours is not None:
        _check_subcommand(*ours)
    elif program.endswith('pip'):
        _check_pip(rest)
    elif program == 'make':
        _check_make(rest)
    elif program in ('tools/dist_train.sh', 'tools/dist_test.sh'):
        assert rest[1].isdigit(), 'the second argument is the number of processes'
        _check_subcommand(program[11:-3], rest[0], *rest[2:], '--launcher', 'pytorch')
    elif program == 'tools/slurm_train.sh':
        _check_subcommand('train', rest[2], '--work-dir', rest[3], *rest[4:])
    elif program in ('torchrun', 'sbatch'):
        _check_launcher(rest)
    elif program == 'docker':
        _check_docker(rest)
    elif program == 'mlflow':
        assert rest[0] == 'ui', 'expected mlflow ui'
    else:
        assert (ROOT / program).is_file() or program == '.venv/bin/pre-commit', f'{program} is not known'


def parse(command: str, *words: str) -> argparse.Namespace:
    """Parses the words of a subcommand as `handpose` does."""
    assert command in COMMANDS, f'{command} is not a command of handpose'
    module = importlib.import_module(f'handpose.cli.{command.replace("-", "_")}')
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    try:
        return parser.parse_args(words)
    except SystemExit as end:
        assert end.code == 0, f'handpose {command} does not take {" ".join(words)}'
        return argparse.Namespace()  # an option that does all there is to do, as --help
    except argparse.ArgumentError as error:
        raise AssertionError(f'handpose {command} does not take {" ".join(words)}: {error}') from error


def _check_subcommand(command: str, *words: str) -> None:
    arguments = parse(command, *words)
    config = vars(arguments).get('config')
    if isinstance(config, str):
        load_config(config, vars(arguments).get('cfg_options'))


def _check_pip(words: Sequence[str]) -> None:
    assert words[0] == 'install', 'expected pip install'
    for word in words[1:]:
        found = OURS.match(word)
        assert not word.startswith('handpose'), 'handpose is not on PyPI: install from a clone'
        if found:
            unknown = set(found['extras'].split(',')) - EXTRAS
            assert not unknown, f'setup.py has no extras {sorted(unknown)}'
        assert not word.endswith('.txt') or (ROOT / word).is_file(), f'there is no {word}'


def _check_make(words: Sequence[str]) -> None:
    assert words[0] in MAKE_TARGETS, f'the Makefile has no target {words[0]}'
    for word in words[1:]:
        name, _, value = word.partition('=')
        assert re.search(rf'^{name} \?=', (ROOT / 'Makefile').read_text(), re.MULTILINE), f'{name} is not an option'
        if name == 'CONFIG':
            load_config(value)


def _check_launcher(words: Sequence[str]) -> None:
    """What torchrun or sbatch starts: the rest of the line, or a text after --wrap."""
    if '--wrap' in words:
        words = words[words.index('--wrap') + 1].split()
    starts = [k for k, word in enumerate(words) if word == 'handpose' or word.startswith('tools/')]
    assert starts, 'nothing of handpose is started'
    check_command(words[starts[0] :])


def _check_docker(words: Sequence[str]) -> None:
    """The arguments of the Dockerfile, or the command that runs in the image `handpose`."""
    if words[0] == 'build':
        known = re.findall(r'^ARG (\w+)', (ROOT / 'Dockerfile').read_text(), re.MULTILINE)
        for option, value in pairwise(words):
            assert option != '--build-arg' or value.partition('=')[0] in known, f'the Dockerfile has no {value}'
        return
    (image,) = (k for k, word in enumerate(words) if re.fullmatch(r'handpose(:\w+)?', word))
    if not words[image + 1].startswith('-'):
        _check_subcommand(*words[image + 1 :])


def check_python(text: str, place: str) -> None:
    """Checks Python code without running it: imports of handpose, and `dict(type='Component', ...)`.

    Args:
        text: the code.
        place: where it is.

    Raises:
        SyntaxError: it is not Python.
        AssertionError: it names something that does not exist.
    """
    tree = ast.parse(text, place)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith('handpose'):
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('handpose'):
            for alias in node.names:
                _check_import(node.module, alias.name)
    for name, arguments in components_in(tree):
        _check_component(name, arguments)


def _check_import(module: str, name: str) -> None:
    try:
        getattr(importlib.import_module(module), name)
    except AttributeError:
        importlib.import_module(f'{module}.{name}')


def components_in(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """The components that dicts in the code describe, and the arguments that they are given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            kind = given.pop('type', None)
            if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
                yield kind.value, set(given)


def _check_component(name: str, arguments: set[str]) -> None:
    for found in REGISTRIES:
        component = found.get(name.removeprefix('handpose.'))
        if component is not None:
            break
    else:
        raise AssertionError(f'{name} is not registered')
    unknown = arguments - set(inspect.signature(component).parameters)
    assert not unknown, f'{name} has no arguments {sorted(unknown)}'
