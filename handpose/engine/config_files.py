"""Config files: finding them by name, and reading a file and its `_base_` files one by one."""

import ast
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

import handpose
from handpose.engine.references import ConfigError, merge
from handpose.text import did_you_mean

BASE = '_base_'
EXPECTS = '_expects_'
SHIPPED = 'handpose::'  # prefix of a base that is one of the shipped configs


@dataclass(frozen=True)
class ConfigFile:
    """What one file contributes to a config.

    Attributes:
        path: path of the file.
        values: its own values, without those of its bases; references unresolved.
        expects: the names that it uses as `'$name'` and leaves to other files.
        text: its text.
    """

    path: Path
    values: dict[str, Any]
    expects: tuple[str, ...]
    text: str


def configs_folder() -> Path:
    """The folder of the shipped configs: inside an installed package, or at the top of the repository.

    Raises:
        ConfigError: neither is there.
    """
    package = Path(handpose.__file__).parent
    for folder in (package / 'configs', package.parent / 'configs'):
        if (folder / '_base_').is_dir():
            return folder
    raise ConfigError(f'{package} was installed without its configs; install handpose again')


def config_names() -> list[str]:
    """The names of the shipped configs, such as 'deformer/dexycb', sorted; bases are left out."""
    paths = configs_folder().glob('*/*.py')
    return sorted(f'{path.parent.name}/{path.stem}' for path in paths if not is_base(path))


def is_base(path: Path) -> bool:
    """Whether a file of a folder of configs is a part of others: its name, or that of its folder, starts with '_'."""
    return path.name.startswith('_') or path.parent.name.startswith('_')


def find_config(name: str | Path) -> Path:
    """Finds a config file.

    Args:
        name: path of a file; or, where no such file exists, the name of a shipped config, with or without `configs/`
            before it and `.py` behind it: 'deformer/synthetic'.

    Returns:
        The path of the file.

    Raises:
        ConfigError: there is neither; names the closest ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = configs_folder() / path.as_posix().removeprefix('configs/').removesuffix('.py')
    shipped = shipped.with_name(f'{shipped.name}.py')
    if not path.is_absolute() and shipped.is_file():
        return shipped
    if path.as_posix().startswith('configs/') or path.suffix:
        local = [str(p) for p in Path('configs').glob('*/*.py') if not is_base(p)]
        known = local or [f'configs/{shipped_name}.py' for shipped_name in config_names()]
    else:
        known = config_names()
    raise ConfigError(f'no config file {name}, and no shipped config of that name.{did_you_mean(name, known)}')


def read_layers(path: Path, _children: tuple[Path, ...] = ()) -> list[ConfigFile]:
    """Reads a config file and its bases.

    Args:
        path: path of the file.

    Returns:
        One layer for each file, bases before the files that use them: later ones win.

    Raises:
        ConfigError: a file that does not exist or fails, bases that define the same name or form a circle.
    """
    if path.resolve() in _children:
        raise ConfigError(f'{path} is its own base, through {" -> ".join(map(str, _children))}')
    text = path.read_text(encoding='utf-8')
    tree = parse_config(path, text)
    layers: list[ConfigFile] = []
    defined: dict[str, Path] = {}
    for base in base_paths(tree, path):
        added = read_layers(base, (*_children, path.resolve()))
        for name in {name for layer in added for name in layer.values}:
            if name in defined:
                raise ConfigError(
                    f'{path}: its bases {defined[name]} and {base} both define {name!r}; bases must not override each '
                    'other, so define it in one of them'
                )
            defined[name] = base
        layers += added
    values = _execute(tree, path, merge_layers(layers))
    return [*layers, ConfigFile(path, values, _expected_names(values.pop(EXPECTS, []), path), text)]


def merge_layers(layers: list[ConfigFile]) -> dict[str, Any]:
    """Merges the values of files, later ones on top."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer.values)
    return merged


def check_expected_names(layers: list[ConfigFile], config: Mapping[str, Any]) -> None:
    """Checks that every name that a base expects is defined.

    Args:
        layers: the files of a config, itself last.
        config: the config with the options, unresolved.

    Raises:
        ConfigError: names the name, the base that expects it, and the closest name that is defined.
    """
    for layer in layers:
        for name in layer.expects:
            if name not in config:
                raise ConfigError(
                    f'{layers[-1].path} does not define {name!r}, which {layer.path} expects '
                    f'({EXPECTS}).{did_you_mean(name, config)}'
                )


def parse_config(path: Path, text: str) -> ast.Module:
    """Parses the text of a config file.

    Raises:
        ConfigError: it is not Python.
    """
    try:
        return ast.parse(text, str(path))
    except SyntaxError as error:
        raise ConfigError(f'{path}, line {error.lineno}: {error.msg}') from error


def base_paths(tree: ast.Module, path: Path) -> list[Path]:
    """The bases of a config file: relative to its folder, absolute, or 'handpose::' and the name of a shipped file.

    Args:
        tree: the parsed file.
        path: its path.

    Raises:
        ConfigError: `_base_` is not a path or a list of paths, or one does not exist.
    """
    bases: list[str] = []
    for node in tree.body:
        if _assigns_bases(node):
            try:
                value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                value = None
            bases = [value] if isinstance(value, str) else value
            if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
                raise ConfigError(f'{path}, line {node.lineno}: {BASE} must be a path or a list of paths')
    found = []
    for base in bases:
        shipped = base.startswith(SHIPPED)
        place = configs_folder() / base.removeprefix(SHIPPED) if shipped else path.parent / base
        if not place.is_file():
            raise ConfigError(f'{path}: its base {base} does not exist')
        found.append(place)
    return found


def _assigns_bases(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [BASE]


def _execute(tree: ast.Module, path: Path, bases: dict[str, Any]) -> dict[str, Any]:
    """The values that a file assigns itself; `_base_.name` in it is the value of its bases."""
    body = [node for node in tree.body if not _assigns_bases(node)]
    namespace: dict[str, Any] = {BASE: ConfigDict(bases)}
    try:
        exec(compile(ast.Module(body, tree.type_ignores), str(path), 'exec'), namespace)
    except Exception as error:
        lines = [frame.tb_lineno for frame in _frames(error) if frame.tb_frame.f_code.co_filename == str(path)]
        raise ConfigError(f'{path}, line {lines[-1] if lines else "?"}: {type(error).__name__}: {error}') from error
    hidden = (types.ModuleType, types.FunctionType)
    return {
        name: _plain(value)
        for name, value in namespace.items()
        if name != BASE and not name.startswith('__') and not isinstance(value, hidden)
    }


def _frames(error: BaseException) -> list[types.TracebackType]:
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames


def _plain(value: Any) -> Any:
    """Copies containers, mmengine's dicts as plain ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _expected_names(names: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{path}: {EXPECTS} must be a list of names, got {names!r}')
    return tuple(names)
