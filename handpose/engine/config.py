"""Reading a config: Python files with `_base_`, options from the command line, and values that the files share."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from handpose.engine.config_files import (
    BASE,
    ConfigFile,
    base_paths,
    check_expected_names,
    find_config,
    merge_layers,
    parse_config,
    read_layers,
)
from handpose.engine.options import OptionsAction, apply_options, option_layer
from handpose.engine.references import ConfigError, defines, resolve, source_keys

__all__ = ['ConfigError', 'OptionsAction', 'Origin', 'config_origins', 'load_config', 'run_settings']


@dataclass(frozen=True)
class Origin:
    """A value of a resolved config and where it was set.

    Attributes:
        key: its key, as an option names it: 'train_dataloader.dataset.data_root'.
        value: the value.
        source_key: the key where it is written, references followed: 'data_root'.
        path: the file that set it; None for the command line.
    """

    key: str
    value: Any
    source_key: str
    path: Path | None


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and resolves it.

    A string value `'$name'` anywhere in the file stands for the top-level value `name`, and a dict with the key
    `_include_='$name'` has the entries of the top-level dict `name` too, its own going first. Both are put in after the
    options, so `data_root=...` on the command line reaches the dataset of every split. Values that Python itself copies
    while it reads the file (`**name`, or `name` in an expression) cannot follow an option; such an option is refused.

    A file may list, as `_expects_`, the names that it uses as `'$name'` and leaves to the config that has it as a base.

    Args:
        path: the config file, or the name of a shipped config such as 'deformer/synthetic'.
        options: {'a.b.0.c': value} overrides, later ones on top. A path that the config lacks is refused, unless it
            starts with '+'. Values of `OptionsAction` are read as `read_value` says, others are taken as they are.

    Returns:
        mmengine `Config`.

    Raises:
        ConfigError: no such file, an unknown key (with the closest valid one), an option without effect, an expected
            name that no file defines, or an unknown `$name`.
    """
    layers, values = _read(path, options)
    _import_modules(values)
    text = '\n'.join(f'{layer.path}\n{layer.text}' for layer in layers)
    return Config(_resolved(layers, values), cfg_text=text, filename=str(layers[-1].path))


def config_origins(path: str | Path, options: Mapping[str, Any] | None = None) -> list[Origin]:
    """Lists every value of a resolved config with the file that set it.

    Args:
        path: as in `load_config`.
        options: as in `load_config`.

    Returns:
        One entry for each value that is not itself a dict, or a list of dicts.

    Raises:
        ConfigError: as in `load_config`.
    """
    layers, values = _read(path, options)
    set_by = [(layer.path, layer.values) for layer in layers]
    overrides = [option_layer(values, option) for option in options or {}]
    origins = []
    for keys, value in _leaves(_resolved(layers, values), ()):
        source = source_keys(values, keys)
        file = None
        if not any(defines(layer, source) for layer in overrides):
            file = next(file for file, own in reversed(set_by) if defines(own, source))
        origins.append(Origin('.'.join(keys), value, '.'.join(source), file))
    return origins


def _read(path: str | Path, options: Mapping[str, Any] | None) -> tuple[list[ConfigFile], dict[str, Any]]:
    """The files of a config, and its values with the options, references unresolved."""
    file = find_config(path)
    layers = read_layers(file)
    values = merge_layers(layers)
    if options:
        _refuse_copied(values, options, file)
        values = apply_options(values, options, str(file))
    check_expected_names(layers, values)
    return layers, values


def _resolved(layers: list[ConfigFile], values: dict[str, Any]) -> dict[str, Any]:
    try:
        return resolve(values)
    except ConfigError as error:
        raise ConfigError(f'{layers[-1].path}: {error}') from None


def _import_modules(values: Mapping[str, Any]) -> None:
    """Imports the modules of `custom_imports`, which register components of other packages."""
    imports = values.get('custom_imports')
    if imports:
        import_modules_from_strings(imports['imports'], imports.get('allow_failed_imports', False))


def _leaves(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    items: Mapping[str, Any] = {}
    if isinstance(value, dict):
        items = value
    elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
        items = {str(place): item for place, item in enumerate(value)}
    if not items:
        yield keys, value
    for key, item in items.items():
        yield from _leaves(item, (*keys, key))


def _refuse_copied(config: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Refuses options for top-level values that the file copies into other values while it is read."""
    copies: dict[str, tuple[Path, int]] = {}
    for option in options:
        name = option.removeprefix('+').split('.')[0]
        if name in config:
            copies = copies or copied_names(path)
            if name in copies:
                file, line = copies[name]
                raise ConfigError(
                    f'{option} would not reach everything that is made from it: line {line} of {file} copies {name!r} '
                    f"while the file is read. Set the keys that it is copied to; or write '${name}', or "
                    f"_include_='${name}' instead of **{name}, in that file"
                )


def copied_names(path: Path) -> dict[str, tuple[Path, int]]:
    """Finds the names that a config file or one of its bases uses in expressions.

    Args:
        path: path of the config file.

    Returns:
        {name: (file, line)} of the first use.
    """
    found: dict[str, tuple[Path, int]] = {}
    tree = parse_config(path, path.read_text(encoding='utf-8'))
    for base in base_paths(tree, path):
        found.update(copied_names(base))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != BASE:
            found.setdefault(node.id, (path, node.lineno))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == BASE:
            found.setdefault(node.attr, (path, node.lineno))
    return found


def run_settings(config: Config, work_dir: str | Path | None = None, launcher: str = 'none') -> Config:
    """Sets where and how a loaded config runs.

    Args:
        config: the loaded config; it is changed.
        work_dir: folder of the run; default the config's own, or work_dirs/<system>_<dataset>.
        launcher: what started the processes: 'none' or 'pytorch'.

    Returns:
        The config.
    """
    path = Path(config.filename).absolute()
    config.work_dir = str(work_dir or config.get('work_dir') or Path('work_dirs') / f'{path.parent.name}_{path.stem}')
    config.launcher = launcher
    return config
