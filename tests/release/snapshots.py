"""The public interface as text: what users import, what they type, and what they write into configs.

`python tests/release/snapshots.py` writes the files in tests/release/snapshots/, which `test_snapshots.py` compares
with the code. Annotations are left out: how they print depends on the version of Python.
"""

import argparse
import dataclasses
import enum
import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import handpose
from handpose import registry
from handpose.cli import COMMANDS
from handpose.engine import load_config
from handpose.engine.config_files import config_names
from handpose.zoo.index import default_index

PACKAGE = Path(handpose.__file__).parent
FOLDER = Path(__file__).with_name('snapshots')
# Public although they are not in the `__all__` of a package: the documentation imports them.
DOCUMENTED = {
    'handpose.datasets.io.packed_frames': ['PackedFrames'],
    'handpose.datasets.motion.motion_file': ['read_motion', 'write_motion'],
    'handpose.deprecation': ['deprecated', 'renamed_argument'],
    'handpose.experiments.benchmarks.case': ['Work', 'case'],
    'handpose.experiments.benchmarks.sweeps': ['register_sweep'],
    'handpose.experiments.refiner_comparison': ['compare_refiners'],
    'handpose.inference.live': ['LiveHands'],
    'handpose.inference.runtimes': ['use_runtime'],
    'handpose.inference.tracking.clip_estimator': ['ClipEstimator'],
    'handpose.inference.tracking.results_estimator': ['ResultsEstimator'],
    'handpose.registry': [name for name, value in vars(registry).items() if isinstance(value, registry.Registry)],
    'handpose.structures.recording_marks': ['load_recording_marks', 'marks_path'],
    'handpose.zoo.fetch': ['get'],
}
ACTIONS = {argparse._StoreAction: None, argparse._StoreTrueAction: 'flag', argparse._AppendAction: 'append'}
FACTORY = inspect.signature(dataclasses.make_dataclass('_', [('x', list, dataclasses.field(default_factory=list))]))


def public_names() -> dict[str, list[str]]:
    """{module: names} of what users may import."""
    packages = [module.name for module in pkgutil.walk_packages(handpose.__path__, 'handpose.') if module.ispkg]
    listed = {name: vars(importlib.import_module(name)).get('__all__') for name in ['handpose', *packages]}
    return {name: sorted(names) for name, names in sorted({**listed, **DOCUMENTED}.items()) if names}


def value_text(value: Any) -> str:
    """A default value: as it is written if it is plain, otherwise its type."""
    if value is FACTORY.parameters['x'].default:
        return '<made anew>'
    if isinstance(value, enum.Enum):
        return f'{type(value).__name__}.{value.name}'
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__name__
    if isinstance(value, Path):
        return f'Path({value.as_posix()!r})'
    if isinstance(value, str):
        return repr(value.replace(str(PACKAGE), '<handpose>').replace(sys.executable, '<python>'))
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, float):
        return repr(float(value))  # NumPy's have a type in their text, in some versions
    if isinstance(value, dict):
        return '{' + ', '.join(f'{value_text(k)}: {value_text(v)}' for k, v in value.items()) + '}'
    if isinstance(value, list):
        return f'[{", ".join(map(value_text, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(value_text, value))}{"," * (len(value) == 1)})'
    if isinstance(value, (set, frozenset)):
        return '{' + ', '.join(sorted(map(value_text, value))) + '}'
    return f'<{type(value).__name__}>'


def signature_text(function: Callable[..., Any], skip: int = 0) -> str:
    """Names, kinds and defaults of the arguments, without the first `skip`."""
    words: list[str] = []
    kind = None
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if kind is parameter.POSITIONAL_ONLY and parameter.kind is not kind:
            words.append('/')
        if parameter.kind is parameter.KEYWORD_ONLY and kind not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            words.append('*')
        kind = parameter.kind
        stars = {parameter.VAR_POSITIONAL: '*', parameter.VAR_KEYWORD: '**'}.get(kind, '')
        default = '' if parameter.default is parameter.empty else f'={value_text(parameter.default)}'
        words.append(f'{stars}{parameter.name}{default}')
    if kind is inspect.Parameter.POSITIONAL_ONLY:
        words.append('/')
    return f'({", ".join(words)})'


def own_classes(cls: type) -> list[type]:
    """The class and those of its bases that this library defines."""
    return [base for base in cls.__mro__ if base.__module__.split('.')[0] == 'handpose']


def constructor_text(cls: type) -> str:
    """The arguments of a class; empty where this library does not define them (enumerations, exceptions, Protocols)."""
    maker = next(base for base in cls.__mro__ if {'__init__', '__new__'} & set(vars(base)))
    protocol = vars(cls).get('_is_protocol', False)
    return '' if protocol or issubclass(cls, enum.Enum) or maker not in own_classes(cls) else signature_text(cls)


def class_lines(name: str, cls: type, public: set[type]) -> Iterator[str]:
    """A class, the public bases whose methods it has too, and what it adds to them."""
    bases = [base.__name__ for base in own_classes(cls) if base in public and base is not cls]
    yield f'class {name}{constructor_text(cls)}' + (f' is a {", ".join(bases)}' if bases else '')
    if issubclass(cls, enum.Enum):
        yield from (f'  {member.name} = {value_text(member.value)}' for member in cls)
    members: dict[str, str] = {}
    for base in own_classes(cls):
        if base is cls or base not in public:
            arguments = inspect.signature(cls).parameters if constructor_text(cls) else ()
            members = {**{key: key for key in inspect.get_annotations(base) if key not in arguments}, **members}
            members = {
                **{key: text for key, value in vars(base).items() if (text := member_text(key, value))},
                **members,
            }
    yield from (f'  {text}' for key, text in sorted(members.items()) if key[0] != '_' or key == '__call__')


def member_text(name: str, value: Any) -> str | None:
    """A method or property; None for other values."""
    if isinstance(value, (property, functools.cached_property)):
        return name
    if isinstance(value, staticmethod):
        return f'{name}{signature_text(value.__func__)}'
    if isinstance(value, classmethod):
        return f'{name}{signature_text(value.__func__, skip=1)}'
    return f'{name}{signature_text(value, skip=1)}' if inspect.isfunction(value) else None


def api_text() -> str:
    """What every package exports, one line for each name and method."""
    names = public_names()
    values = {
        (module, name): getattr(importlib.import_module(module), name) for module in names for name in names[module]
    }
    public = {value for value in values.values() if isinstance(value, type)}
    lines: list[str] = []
    shown: dict[int, str] = {}  # where a value that several packages export is described
    for module in names:
        lines += ['', module]
        for name in names[module]:
            value = values[module, name]
            described = isinstance(value, type) or inspect.isfunction(value)
            if described and id(value) in shown:
                lines.append(f'  {name}: as in {shown[id(value)]}')
                continue
            shown[id(value)] = module
            if isinstance(value, type):
                lines += [f'  {line}' for line in class_lines(name, value, public)]
            else:
                lines.append(f'  {name}' + (signature_text(value) if described else f' is a {type(value).__name__}'))
    return '\n'.join(lines[1:]) + '\n'


def option_text(action: argparse.Action) -> str:
    """One argument of a command: how it is written, and what it takes."""
    words = [', '.join(action.option_strings) or action.dest]
    facts = {
        'action': ACTIONS.get(type(action), type(action).__name__),
        'nargs': action.nargs,
        'type': getattr(action.type, '__name__', None),
        'choices': action.choices and list(action.choices),
        'default': action.default if action.default not in (None, argparse.SUPPRESS) else None,
    }
    words += [
        f'{key}={value if key in ("action", "type") else value_text(value)}' for key, value in facts.items() if value
    ]
    return ' '.join(words) + (' required' if action.required and action.option_strings else '')


def parser_lines(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    """A command and its subcommands, with their arguments."""
    yield f'\n{name}'
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = dict(action.choices)
        elif not isinstance(action, argparse._HelpAction):
            yield f'  {option_text(action)}'
    for group in parser._mutually_exclusive_groups:
        yield f'  one of {", ".join(a.option_strings[-1] for a in group._group_actions)}' + ' required' * group.required
    for word, subparser in below.items():
        yield from parser_lines(subparser, f'{name} {word}')


def commands_text() -> str:
    """Every command with its arguments."""
    lines: list[str] = []
    for command in sorted(COMMANDS):
        parser = argparse.ArgumentParser()
        importlib.import_module(f'handpose.cli.{command.replace("-", "_")}').add_arguments(parser)
        lines += parser_lines(parser, f'handpose {command}')
    return '\n'.join(lines).lstrip() + '\n'


def names_text() -> str:
    """What a config can name: registered names with their keys, the shipped configs with theirs, files of the zoo."""
    lines: list[str] = []
    for name in DOCUMENTED['handpose.registry']:
        kind = getattr(registry, name)
        kind.import_from_location()
        ours = {key: value for key, value in kind.module_dict.items() if value.__module__.split('.')[0] == 'handpose'}
        lines += ['', f'type of a {kind.name} ({name})']
        lines += [f'  {key}{signature_text(value)}' for key, value in sorted(ours.items())]
    lines += ['', 'configs']
    keys = {name: {key for key in load_config(name) if not key.startswith('_')} for name in config_names()}
    common = set.intersection(*keys.values())
    lines.append(f'  every config: {", ".join(sorted(common))}')
    lines += [f'  {name}: {", ".join(sorted(found - common))}' for name, found in keys.items()]
    lines += ['', 'model zoo'] + [f'  {name}' for name in sorted(default_index())]
    return '\n'.join(lines[1:]) + '\n'


SNAPSHOTS = {'api.txt': api_text, 'commands.txt': commands_text, 'names.txt': names_text}

if __name__ == '__main__':
    FOLDER.mkdir(exist_ok=True)
    for file, text in SNAPSHOTS.items():
        (FOLDER / file).write_text(text(), encoding='utf-8')
        print(FOLDER / file)
