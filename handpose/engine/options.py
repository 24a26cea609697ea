"""Options of the command line: `--cfg-options key=value ...`, how a value is read, and where it goes in a config."""

import argparse
import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from handpose.engine.references import (
    ConfigError,
    child,
    entries_of,
    follow,
    is_list_place,
    is_reference,
    merge,
)
from handpose.text import did_you_mean

OPENING, CLOSING = '([{', ')]}'


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

        Args:
            parser: the parser that has the option.
            namespace: what it has read so far.
            values: the words after the option.
            option_string: the option as it was typed.

        Raises:
            argparse.ArgumentError: an option has no value.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        try:
            options.update(split_options([values] if isinstance(values, str) else list(values or [])))
        except ConfigError as error:
            raise argparse.ArgumentError(self, str(error)) from None
        setattr(namespace, self.dest, options)


def split_options(words: Sequence[str]) -> dict[str, OptionText]:
    """Splits words 'key=value' at their first '='.

    Args:
        words: words of the command line.

    Returns:
        {key: value as typed}.

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
        text: the value as typed.
        current: the value that it replaces, or None.

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
    """Applies options to a config, one after the other.

    Args:
        config: the values of the files, references `'$name'` and `_include_` unresolved; it is not changed.
        options: {'a.b.0.c': value}; `OptionText` is read by the value it replaces, other values are taken as they are.
        path: path of the config file, for error messages.

    Returns:
        The config with the options.

    Raises:
        ConfigError: a key that the config lacks, or an option that replaces what another one before it changed.
    """
    applied: list[str] = []
    for option, value in options.items():
        key = option.removeprefix('+')
        keys = key.split('.')
        if not option.startswith('+'):
            check_key(config, key, path)
        current = value_at(config, keys)
        if isinstance(value, OptionText):
            value = read_value(value, current)
        lost = next((other for other in applied if other.startswith(f'{key}.')), None)
        if lost is not None and not (isinstance(value, dict) and not value.get('_delete_')):
            raise ConfigError(
                f'{lost} would have no effect, because {key} after it replaces the whole value: give {key} first'
            )
        config = _put(config, keys, copy.deepcopy(value), option, config)
        applied.append(key)
    return config


def _put(node: Any, keys: Sequence[str], value: Any, option: str, config: Mapping[str, Any]) -> Any:
    """A copy of `node` with `value` at the place that `keys` name; dicts are merged."""
    if not keys:
        return merge(node, value)
    key, rest = keys[0], keys[1:]
    if isinstance(node, (list, tuple)):
        if not is_list_place(key, node):
            raise ConfigError(f'{option}: {key!r} is not a place in a list of {len(node)}')
        items = list(node)
        items[int(key)] = _put(items[int(key)], rest, value, option, config)
        return type(node)(items)
    if node is not None and not isinstance(node, dict):
        raise ConfigError(f'{option}: {key!r} cannot be put into {node!r}, which is not a dict or a list')
    node = node or {}
    current = node.get(key)
    if key not in node and rest and isinstance(included := child(entries_of(node, config), key), (list, tuple)):
        current = included  # a list is replaced as a whole, so the changed one starts as a copy
    return {**node, key: _put(current, rest, value, option, config)}


def value_at(config: dict[str, Any], keys: Sequence[str]) -> Any:
    """Looks up a value of an unresolved config.

    Args:
        config: the config.
        keys: of the value; the places of lists are numbers as text.

    Returns:
        The value, with references and `_include_` on the way and at its end followed; None where there is none.
    """
    node: Any = config
    for key in keys:
        node = entries_of(node, config)
        if isinstance(node, (list, tuple)):
            node = node[int(key)] if is_list_place(key, node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return follow(node, config)


def check_key(config: dict[str, Any], option: str, path: str) -> None:
    """Refuses an option whose key the config lacks.

    Args:
        config: the config, unresolved.
        option: the key of the option, 'a.b.0.c'.
        path: path of the config file, for error messages.

    Raises:
        ConfigError: names the part of the key that is wrong, and the closest valid one.
    """
    node: Any = config
    walked: list[str] = []
    for key in option.split('.'):
        here = '.'.join(walked) or 'the top level'
        node = entries_of(node, config)
        if is_reference(node) and isinstance(follow(node, config), (dict, list, tuple)):
            rest = option.split('.')[len(walked) :]
            raise ConfigError(f'{option}: {here} is {node!r} in {path}; write {".".join([node[1:], *rest])}=...')
        if isinstance(node, (list, tuple)):
            if not is_list_place(key, node):
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


def option_layer(config: Mapping[str, Any], option: str) -> dict[str, Any]:
    """The nested dict that an option sets, for `references.defines`.

    Args:
        config: the config with the options, unresolved.
        option: the key of the option, 'a.b.-1.c' or '+a.b'.

    Returns:
        {'a': {'b': {'1': {'c': True}}}}, where places in lists count from their start.
    """
    node: Any = config
    keys: list[str] = []
    for key in option.removeprefix('+').split('.'):
        node = entries_of(node, config)
        keys.append(str(int(key) % len(node)) if isinstance(node, (list, tuple)) else key)
        node = child(node, key)
    layer: Any = True
    for key in reversed(keys):
        layer = {key: layer}
    return layer
