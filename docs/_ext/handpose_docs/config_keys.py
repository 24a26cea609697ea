"""Pages of the config keys: every registered type with the arguments that a config may give it."""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handpose import registry
from handpose.registry import Registry
from handpose_docs import rst

_SECTION = re.compile(r'^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)', re.MULTILINE)
_ENTRY = re.compile(r'^ {4}(\w+): (.*(?:\n {5,}.*|\n(?=\n {5,}))*)', re.MULTILINE)


@dataclass(frozen=True)
class Key:
    """An argument of a registered type.

    Args:
        name: of the argument.
        default: its default as text; '' if a value is required.
        meaning: from the docstring of the class, or of a base class that declares it; '' if neither describes it.
    """

    name: str
    default: str
    meaning: str


def registries() -> dict[str, Registry]:
    """Returns the registries of the library by the names of their constants, filled."""
    found = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
    for item in found.values():
        item.import_from_location()
    return found


def own_types(item: Registry) -> dict[str, Callable[..., Any]]:
    """Returns the types of a registry that this library defines.

    Args:
        item: a filled registry.
    """
    return {name: value for name, value in item.module_dict.items() if value.__module__.startswith('handpose')}


def keys_of(component: Callable[..., Any]) -> list[Key]:
    """Returns the arguments of a registered type.

    Args:
        component: a class or function.
    """
    documented = argument_docs(component)
    return [
        Key(name, '' if p.default is p.empty else _default(p.default), documented.get(name, ''))
        for name, p in inspect.signature(component).parameters.items()
    ]


def argument_docs(component: Callable[..., Any]) -> dict[str, str]:
    """Returns the texts of the arguments in the docstrings of a type and its bases; those of the type come first.

    Args:
        component: a class or function.
    """
    docs: dict[str, str] = {}
    for item in inspect.getmro(component) if inspect.isclass(component) else [component]:
        constructor = vars(item).get('__init__') if inspect.isclass(item) else None
        for text in (item.__doc__, constructor and constructor.__doc__):
            for section in _SECTION.findall(inspect.cleandoc(text or '')):
                for name, meaning in _ENTRY.findall(section):
                    docs.setdefault(name, ' '.join(meaning.split()))
    return docs


def pages() -> dict[str, str]:
    """Returns the reStructuredText of the pages by their names."""
    groups: dict[str, tuple[str, dict[str, Callable[..., Any]]]] = {}
    for constant, item in registries().items():
        for kind, types in _kinds(constant, own_types(item)).items():
            groups[kind] = (constant, types)
    return {kind: _page(kind, constant, types) for kind, (constant, types) in groups.items()}


def _kinds(constant: str, types: dict[str, Callable[..., Any]]) -> dict[str, dict[str, Callable[..., Any]]]:
    """The many models on several pages, by the package that defines them; other registries on one."""
    if constant != 'MODELS':
        return {constant.lower(): dict(sorted(types.items()))}
    kinds: dict[str, dict[str, Callable[..., Any]]] = defaultdict(dict)
    for name, component in sorted(types.items()):
        package = component.__module__.split('.')
        kinds[package[2] if package[1] == 'models' else 'other_models'][name] = component
    return dict(sorted(kinds.items()))


def _page(kind: str, constant: str, types: dict[str, Callable[..., Any]]) -> str:
    parts = [rst.heading(f'Keys of {kind.replace("_", " ")}', '=')]
    parts.append(f'Types of the registry :py:obj:`{constant} <handpose.registry.{constant}>`.\n')
    for name, component in types.items():
        doc = ' '.join(inspect.cleandoc(component.__doc__ or '').split('\n\n')[0].split())
        parts += [f'.. _config-{name}:\n', rst.heading(name, '-'), rst.plain(doc) + '\n']
        parts.append(f'Defined in :py:obj:`{component.__module__}.{name}`.\n')
        rows = [
            (rst.code(key.name), rst.code(key.default) or 'required', rst.plain(key.meaning))
            for key in keys_of(component)
        ]
        parts.append(rst.table(('key', 'default', 'meaning'), rows, (22, 22, 56)) if rows else 'It has no keys.\n')
    return '\n'.join(parts)


def _default(value: Any) -> str:
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__name__
    text = repr(value)
    return re.sub(r' at 0x[0-9a-f]+', '', text)
