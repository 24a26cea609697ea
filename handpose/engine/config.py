"""Reading a config: Python files with `_base_`, options from the command line, and values that parts share."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from handpose.engine.options import ConfigError, OptionsAction, apply_options, entries_of, follow
from handpose.text import did_you_mean

__all__ = ['ConfigError', 'OptionsAction', 'load_config', 'run_settings']


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and resolves it.

    A string value `'$name'` anywhere in the file stands for the top-level value `name`, and a dict with the key
    `_include_='$name'` has the entries of the top-level dict `name` too, its own going first. Both are put in after the
    options, so `data_root=...` on the command line reaches the dataset of every split. Values that Python itself copies
    while it reads the file (`**name`, or `name` in an expression) cannot follow an option; such an option is refused.

    Args:
        path: the config file.
        options: {'a.b.0.c': value} overrides, later ones on top. A path that the config lacks is refused, unless it
            starts with '+'. Values of `OptionsAction` are read as `read_value` says, others are taken as they are.

    Returns:
        mmengine `Config`.

    Raises:
        ConfigError: no such file, an unknown key (with the nearest right one), an option without effect, or an unknown
            `$name`.
    """
    if not Path(path).is_file():
        known = [str(p) for p in Path('configs').glob('*/*.py') if not p.name.startswith('_')]
        raise ConfigError(f'no config file {path}.{did_you_mean(path, known)}')
    config = Config.fromfile(str(path))
    plain = config.to_dict()
    if options:
        _refuse_copied(plain, options, Path(path))
        plain = apply_options(plain, options, str(path))
    return Config(_resolve(plain, plain), cfg_text=config.text, filename=config.filename)


def _refuse_copied(config: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Refuses options for top-level values that the file copies into other values while it is read."""
    copies = {}
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
    """The names that a config file or one of its bases uses in expressions.

    Args:
        path: of the config file.

    Returns:
        {name: (file, line)} of the first use.
    """
    found: dict[str, tuple[Path, int]] = {}
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ['_base_']:
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if '::' not in base:  # mmengine's name of a config of another package
                    found.update(copied_names((path.parent / base).resolve()))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.setdefault(node.id, (path, node.lineno))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == '_base_':
            found.setdefault(node.attr, (path, node.lineno))
    return found


def _resolve(value: Any, config: Mapping[str, Any]) -> Any:
    value = entries_of(follow(value, config), config)
    if isinstance(value, dict):
        return {key: _resolve(item, config) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item, config) for item in value)
    return value


def run_settings(config: Config, work_dir: str | Path | None = None, launcher: str = 'none') -> Config:
    """Sets `work_dir` (default work_dirs/<system>_<dataset>) and `launcher` of a loaded config, and returns it."""
    path = Path(config.filename)
    config.work_dir = str(work_dir or config.get('work_dir') or Path('work_dirs') / f'{path.parent.name}_{path.stem}')
    config.launcher = launcher
    return config
