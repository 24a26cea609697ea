"""Reading YAML that may be missing, damaged or hostile."""

import re
from pathlib import Path
from typing import Any

import yaml

from handpose.files.reading import FileError, check_kind, message, read_text, reason

DEEPEST = 100  # levels of nesting; no format that this library reads has more than ten
LARGEST_YAML = 10_000_000  # values, where aliases repeat parts of the file
# The loader in C is faster, but not every build of PyYAML has it.
_SafeLoader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


def read_yaml(
    path: str | Path,
    kind: type | tuple[type, ...] = dict,
    *,
    error: type[Exception] = FileError,
    advice: str = '',
) -> Any:
    """Reads a YAML file, which may hold plain values only.

    Args:
        path: the file, UTF-8 with or without a byte-order mark.
        kind: what the file must hold.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        What the file holds.

    Raises:
        error: the file cannot be read; is not YAML (the message gives line and column); asks for a Python object; has
            a key twice or too many levels; or holds something else than `kind`.
    """
    return parse_yaml(read_text(path, error=error, advice=advice), path, kind, error=error, advice=advice)


def parse_yaml(
    text: str,
    path: str | Path,
    kind: type | tuple[type, ...] = dict,
    *,
    error: type[Exception] = FileError,
    advice: str = '',
) -> Any:
    """Parses YAML in memory; see `read_yaml`.

    Args:
        text: the YAML text.
        path: names the source in messages.
        kind: what the text must hold.
        error: what is raised; it is called with the message.
        advice: what the user should do; ends every message.

    Returns:
        What the text holds.

    Raises:
        error: as in `read_yaml`.
    """
    try:
        repeats = _check_events(text)
        found = yaml.load(text, Loader=_YAMLLoader)
        if repeats and _count(found, {}) > LARGEST_YAML:
            raise FileError(f'repeats its own parts to more than {LARGEST_YAML:,} values')
    except FileError as problem:
        raise error(message(path, str(problem), advice)) from problem
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        position = f' (line {mark.line + 1}, column {mark.column + 1})' if mark else ''
        raise error(message(path, f'is not valid YAML{position}', advice)) from problem
    # Constructors of dates, numbers and binary values raise whatever their parsers do.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise error(message(path, 'is not valid YAML', advice)) from problem
    except MemoryError as problem:
        raise error(message(path, reason(problem), advice)) from problem
    return check_kind(found, path, kind, error, advice)


class _YAMLLoader(_SafeLoader):
    """PyYAML's safe loader; a key that comes twice, of which it keeps the last, is an error."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != 'tag:yaml.org,2002:merge':
                key = key_node.tag, key_node.value
                if key in seen:
                    line = _line(key_node.start_mark)
                    raise FileError(f'has the key {key_node.value!r} twice in one mapping, again in line {line}')
                seen.add(key)
        return super().construct_mapping(node, deep)


def _line(mark: Any) -> int:
    return mark.line + 1


def _check_events(text: str) -> bool:
    """Refuses deep nesting, on which PyYAML's C parser overflows the stack. Returns whether the text has aliases."""
    depth, repeats = 0, False
    for event in yaml.parse(text, Loader=_YAMLLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            repeats = True
        elif isinstance(event, yaml.ScalarEvent) and re.fullmatch(r'[-+]?[\d_:]{40,}', event.value):
            raise FileError(f'holds an integer that does not fit into 64 bits (line {_line(event.start_mark)})')
        if depth > DEEPEST:
            raise FileError(f'is nested more than {DEEPEST} levels deep (line {_line(event.start_mark)})')
    return repeats


def _count(value: Any, counted: dict[int, int | None]) -> int:
    """How many values a structure has when its repeated parts are written out; `counted` remembers them by identity."""
    if not isinstance(value, (dict, list, set, tuple)):
        return 1
    if id(value) not in counted:
        counted[id(value)] = None  # being counted
        items = [*value, *value.values()] if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(item, counted) for item in items)
    total = counted[id(value)]
    if total is None:
        raise FileError('refers from within a value to the value itself')
    return total
