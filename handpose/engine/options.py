"""Options of the command line: `--cfg-options key=value ...`, how a value is read, and where it goes in a config."""

import argparse
import ast
import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from handpose.text import did_you_mean

INCLUDE = '_include_'  # the key of a config's dict that takes over the entries of another one; see `load_config`
OPENING, CLOSING = '([{', ')]}'


class ConfigError(ValueError):
    """A config file, key or option that cannot be used; the message says which and what to write instead."""


class OptionText(str):
    """The value of an option as it was typed; `load_config` reads it by the type of the value that it replaces."""


class OptionsAction(argparse.Action):
    """`--cfg-options key=value ...` of argparse, as {key: `OptionText`}; see `read_value` for what a value may be."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds options to those given before.

        Raises:
            ConfigError: an option has no value.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        options.update(split_options([values] if isinstance(values, str) else list(values or [])))
        setattr(namespace, self.dest, options)


def split_options(words: Sequence[str]) -> dict[str, OptionText]:
    """Splits words 'key=value' at their first '='.

    Args:
        words: of the command line.

    Returns:
        {key: value as typed}

    Raises:
        ConfigError: a word is not of the form key=value.
    """
    options = {}
    for word in words:
        key, equals, text = word.partition('=')
        if not equals or not key:
            raise ConfigError(
                f'{word!r} is not an option: write key=value, and quote the whole where the value has spaces, as in '
                '"data_root=my data"'
            )
        options[key] = OptionText(text)
    return options


def read_value(text: str, current: Any = None) -> Any:
    """Reads the value of an option.

    Args:
        text: as typed.
        current: the value that it replaces; None for none.

    Returns:
        Where `current` is a string: the text as typed, except that the word None is None. Elsewhere a number, True or
        False in any case, None, a Python list, tuple, dict or quoted string; `a,b` and `[a, b]` are lists whose words
        need no quotes; everything else is a string. Where `current` is a list of strings, so is the new one, and
        numbers in it stay text.

    Raises:
        ConfigError: brackets that do not match, or a dict that is not written as in Python.
    """
    if isinstance(current, str):
        return None if text == 'None' else str(text)
    strings = isinstance(current, (list, tuple)) and bool(current) and all(isinstance(item, str) for item in current)
    return _read(text.strip(), strings)


def _read(text: str, strings: bool) -> Any:
    if text[:1] in ('"', "'", '{'):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            if text.startswith('{'):
                raise ConfigError(f'{text} is not a Python dict such as {{"type": "ProceduralHand"}}') from error
            return str(text)
    parts = _split_at_commas(text)
    if len(parts) > 1:
        return [_read_item(part, strings) for part in parts if part]
    if text[:1] in ('(', '[') and text[-1:] == CLOSING[OPENING.index(text[0])]:
        items = [_read_item(part, strings) for part in _split_at_commas(text[1:-1]) if part]
        return tuple(items) if text[0] == '(' else items
    return _read_scalar(text)


def _read_item(text: str, strings: bool) -> Any:
    bare = text[:1] not in ('"', "'", *OPENING)
    return str(text) if strings and bare else _read(text, strings)


def _read_scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {'true': True, 'false': False}.get(text.lower(), None if text == 'None' else str(text))


def _split_at_commas(text: str) -> list[str]:
    """Splits at commas outside brackets and quotes, and strips spaces around the parts."""
    parts, expected, quote, start = [], [], '', 0
    for place, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
        elif char in '"\'' and not text[start:place].strip(' ' + OPENING):
            quote = char  # an apostrophe within a word is no quote
        elif char in OPENING:
            expected.append(CLOSING[OPENING.index(char)])
        elif char in CLOSING and (not expected or expected.pop() != char):
            raise ConfigError(f'the brackets of {text!r} do not match')
        elif char == ',' and not expected:
            parts.append(text[start:place].strip())
            start = place + 1
    if expected:
        raise ConfigError(f'the brackets of {text!r} do not match')
    return parts + [text[start:].strip()]


def apply_options(config: dict[str, Any], options: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Puts options into a config, one after the other.

    Args:
        config: as it is in the file, references `'$name'` and `_include_` unresolved; it is not changed.
        options: {'a.b.0.c': value}; `OptionText` is read by the value it replaces, other values are taken as they are.
        path: of the config file, for messages.

    Returns:
        The config with the options.

    Raises:
        ConfigError: a key that the config lacks, or an option that replaces what another one before it changed.
    """
    done: list[str] = []
    for option, value in options.items():
        key = option.removeprefix('+')
        keys = key.split('.')
        if not option.startswith('+'):
            check_key(config, key, path)
        current = value_at(config, keys)
        if isinstance(value, OptionText):
            value = read_value(value, current)
        lost = next((other for other in done if other.startswith(f'{key}.')), None)
        if lost is not None and not (isinstance(value, dict) and not value.get('_delete_')):
            raise ConfigError(
                f'{lost} would have no effect, because {key} after it replaces the whole: give {key} first'
            )
        config = _put(config, keys, copy.deepcopy(value), option)
        done.append(key)
    return config


def _put(node: Any, keys: Sequence[str], value: Any, option: str) -> Any:
    """A copy of `node` with `value` at the place that `keys` name; dicts are merged."""
    if not keys:
        return merge(node, value)
    key, rest = keys[0], keys[1:]
    if isinstance(node, (list, tuple)):
        if not _is_place(key, node):
            raise ConfigError(f'{option}: {key!r} is not a place in a list of {len(node)}')
        items = list(node)
        items[int(key)] = _put(items[int(key)], rest, value, option)
        return type(node)(items)
    if node is not None and not isinstance(node, dict):
        raise ConfigError(f'{option}: {key!r} cannot be put into {node!r}, which is no dict or list')
    node = node or {}
    return {**node, key: _put(node.get(key), rest, value, option)}


def merge(current: Any, value: Any) -> Any:
    """A dict merged into a dict, key by key, unless it says `_delete_=True`; any other value replaces."""
    if not isinstance(value, dict):
        return value
    replaced = value.get('_delete_', False) or not isinstance(current, dict)
    old = {} if replaced else current
    return {**old, **{key: merge(old.get(key), item) for key, item in value.items() if key != '_delete_'}}


def value_at(config: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value at a path of keys, references followed; None where there is none."""
    node: Any = config
    for key in keys:
        node = entries_of(node, config)
        if isinstance(node, (list, tuple)):
            node = node[int(key)] if _is_place(key, node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return follow(node, config)


def follow(value: Any, config: Mapping[str, Any]) -> Any:
    """The top-level value that a reference `'$name'` stands for; other values as they are.

    Raises:
        ConfigError: no such value, or references that go in a circle.
    """
    seen = []
    while isinstance(value, str) and value.startswith('$'):
        name = value[1:]
        if name not in config:
            raise ConfigError(f'{value!r} names no top-level value of the config.{did_you_mean(name, config)}')
        if name in seen:
            raise ConfigError(f'{value!r} stands for itself: {" -> ".join([*seen, name])}')
        seen.append(name)
        value = config[name]
    return value


def entries_of(node: Any, config: Mapping[str, Any], seen: tuple = ()) -> Any:
    """A dict with the entries that it includes, its own first; other values as they are.

    Raises:
        ConfigError: `_include_` names no dict, or itself.
    """
    if not (isinstance(node, dict) and INCLUDE in node):
        return node
    name = node[INCLUDE]
    included = follow(name, config)
    if not isinstance(included, dict) or not str(name).startswith('$') or name in seen:
        raise ConfigError(f"{INCLUDE}={name!r} must be '$' and the name of another top-level dict of the config")
    return merge(entries_of(included, config, (*seen, name)), {k: v for k, v in node.items() if k != INCLUDE})


def check_key(config: dict[str, Any], option: str, path: str) -> None:
    """Refuses an option whose key the config lacks, and names the nearest.

    Raises:
        ConfigError: see above.
    """
    node, walked = config, []
    for key in option.split('.'):
        here = '.'.join(walked) or 'the top level'
        node = entries_of(node, config)
        if isinstance(node, str) and node.startswith('$') and isinstance(follow(node, config), (dict, list, tuple)):
            rest = option.split('.')[len(walked) :]
            raise ConfigError(f'{option}: {here} is {node!r} in {path}; write {".".join([node[1:], *rest])}=...')
        if isinstance(node, (list, tuple)):
            if not _is_place(key, node):
                raise ConfigError(
                    f'{option}: {here} is a list of {len(node)} in {path}; {key!r} is not one of its places'
                )
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            known = list(node) if isinstance(node, dict) else []
            raise ConfigError(
                f'{option}: {key!r} is not a key of {here} in {path}.{did_you_mean(key, known)}'
                f' To add a new key, write +{option}=...'
            )
        walked.append(key)


def _is_place(key: str, items: Sequence[Any]) -> bool:
    return re.fullmatch(r'-?[0-9]+', key) is not None and -len(items) <= int(key) < len(items)
