"""References in configs: `'$name'` stands for the top-level value `name`, `_include_` for the entries of a dict."""

from collections.abc import Mapping, Sequence
from typing import Any

from handpose.text import did_you_mean

INCLUDE = '_include_'
DELETE = '_delete_'
_MISSING = object()


class ConfigError(ValueError):
    """A config file, key or option that cannot be used; the message says which and what to write instead."""


def merge(current: Any, value: Any) -> Any:
    """Merges a dict into a dict, key by key, unless it has `_delete_=True`; any other value replaces.

    Args:
        current: the value so far; it is not changed.
        value: the value that goes on top; it is not changed.

    Returns:
        The merged value, without any key `_delete_`.
    """
    if not isinstance(value, dict):
        return value
    replaces = value.get(DELETE, False) or not isinstance(current, dict)
    old = {} if replaces else current
    return {**old, **{key: merge(old.get(key), item) for key, item in value.items() if key != DELETE}}


def is_reference(value: Any) -> bool:
    """Whether a value of a config stands for a top-level value: a string that starts with '$'."""
    return isinstance(value, str) and value.startswith('$')


def follow(value: Any, config: Mapping[str, Any]) -> Any:
    """Looks up the top-level value that a reference stands for.

    Args:
        value: any value of a config.
        config: the config, unresolved.

    Returns:
        The value that `'$name'` stands for, through references to references; other values unchanged.

    Raises:
        ConfigError: there is no such top-level value, or references form a circle.
    """
    names: list[str] = []
    while is_reference(value):
        name = value[1:]
        if name not in config:
            raise ConfigError(f'{value!r} names no top-level value of the config.{did_you_mean(name, config)}')
        if name in names:
            raise ConfigError(f'{value!r} stands for itself: {" -> ".join([*names, name])}')
        names.append(name)
        value = config[name]
    return value


def entries_of(node: Any, config: Mapping[str, Any], _names: tuple[str, ...] = ()) -> Any:
    """Merges a dict of a config into the one that it includes.

    Args:
        node: any value of a config.
        config: the config, unresolved.

    Returns:
        A dict with `_include_` merged into the dict that it names; other values unchanged.

    Raises:
        ConfigError: `_include_` does not name another top-level dict.
    """
    if not (isinstance(node, dict) and INCLUDE in node):
        return node
    name = node[INCLUDE]
    included = follow(name, config)
    if not isinstance(included, dict) or not is_reference(name) or name in _names:
        raise ConfigError(f"{INCLUDE}={name!r} must be '$' and the name of another top-level dict of the config")
    own = {key: value for key, value in node.items() if key != INCLUDE}
    return merge(entries_of(included, config, (*_names, name)), own)


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Replaces every reference and `_include_` of a config.

    Args:
        config: the config, unresolved; it is not changed.

    Returns:
        The resolved config.

    Raises:
        ConfigError: a reference or `_include_` that cannot be resolved; the message names the key that holds it.
    """
    return _resolve(config, config, ())


def _resolve(value: Any, config: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    try:
        value = entries_of(follow(value, config), config)
    except ConfigError as error:
        raise ConfigError(f'{".".join(keys)}: {error}') from None
    if isinstance(value, dict):
        return {key: _resolve(item, config, (*keys, str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item, config, (*keys, str(place))) for place, item in enumerate(value))
    return value


def source_keys(config: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """Finds where a value of the resolved config is written.

    Args:
        config: the config, unresolved.
        keys: of the value in the resolved config; the places of lists are numbers as text.

    Returns:
        Its keys in the unresolved config, references and `_include_` followed:
        ('train_dataset', 'data_root') -> ('data_root',).
    """
    nodes: list[tuple[Any, tuple[str, ...]]] = [(config, ())]
    for key in keys:
        found = []
        for node, source in _with_included(nodes, config):
            value = child(node, key)
            if value is not _MISSING:
                found.append((value, (*source, key)))
                if not isinstance(value, dict):  # it replaces what is below
                    break
        nodes = [_follow_with_source(value, source, config) for value, source in found]
    return nodes[0][1]


def child(node: Any, key: str) -> Any:
    """The entry of a dict, list or tuple under a key of an option, or `_MISSING`."""
    if isinstance(node, (list, tuple)):
        return node[int(key)] if is_list_place(key, node) else _MISSING
    return node.get(key, _MISSING) if isinstance(node, Mapping) else _MISSING


def is_list_place(key: str, items: Sequence[Any]) -> bool:
    """Whether a key of an option is a valid place in a list: a number, negative ones from the end."""
    digits = key.removeprefix('-')
    return digits.isascii() and digits.isdigit() and -len(items) <= int(key) < len(items)


def _follow_with_source(value: Any, source: tuple[str, ...], config: Mapping[str, Any]) -> tuple[Any, tuple[str, ...]]:
    while is_reference(value):
        source = (value[1:],)
        value = config[value[1:]]
    return value, source


def _with_included(
    nodes: list[tuple[Any, tuple[str, ...]]], config: Mapping[str, Any]
) -> list[tuple[Any, tuple[str, ...]]]:
    """The nodes, each followed by the dicts that it includes, in the order in which they win."""
    found = []
    for node, source in nodes:
        found.append((node, source))
        while isinstance(node, dict) and INCLUDE in node:
            node, source = _follow_with_source(node[INCLUDE], source, config)
            found.append((node, source))
    return found


def defines(values: Any, keys: Sequence[str]) -> bool:
    """Whether a file with these own values sets the value at `keys` of the unresolved config, or one that holds it.

    Args:
        values: the own values of one file, or of one option.
        keys: of the value; the places of lists are numbers as text.
    """
    for key in keys:
        if not isinstance(values, Mapping):
            return True
        if key not in values:
            return False
        values = values[key]
    return True
