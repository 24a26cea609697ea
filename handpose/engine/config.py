"""Reading a config: Python files with `_base_`, options from the command line, and values that parts share."""

import ast
import copy
from pathlib import Path

from mmengine.config import Config, DictAction

from handpose.registry import did_you_mean


class ConfigError(ValueError):
    """A config file, key or option that cannot be used; the sentence says which and what to write instead."""


class OptionsAction(DictAction):
    """`--cfg-options key=value ...` of argparse: numbers, strings, lists, None, and dicts written as in Python."""

    @staticmethod
    def _parse_iterable(val):
        text = val.strip()
        if text.startswith('{'):
            try:
                return ast.literal_eval(text)
            except (ValueError, SyntaxError) as error:
                raise ConfigError(f'{text} is not a Python dict such as {{"type": "ProceduralHand"}}') from error
        return DictAction._parse_iterable(val)


def load_config(path, options=None):
    """Reads a config file and settles it.

    A string value `'$name'` anywhere in the file stands for the top-level value `name`. It is put in after the
    options, so `data_root=...` on the command line reaches the dataset of every split.

    Args:
        path: the config file.
        options: {'a.b.0.c': value} overrides. A path that the config lacks is refused, unless it starts with '+'.

    Returns:
        mmengine `Config`.

    Raises:
        ConfigError: no such file, an unknown key (with the nearest right one), or an unknown `$name`.
    """
    if not Path(path).is_file():
        known = [str(p) for p in Path('configs').glob('*/*.py') if not p.name.startswith('_')]
        raise ConfigError(f'no config file {path}.{did_you_mean(path, known)}')
    config = Config.fromfile(str(path))
    plain = {}
    for key, value in (options or {}).items():
        if not key.startswith('+'):
            _check_path(config, key, path)
        plain[key.removeprefix('+')] = copy.deepcopy(value)  # merging takes `_delete_` out of it
    config.merge_from_dict(plain)
    filename, text = config.filename, config.text
    return Config(_resolve(config.to_dict(), config), cfg_text=text, filename=filename)


def _check_path(config, option, path):
    node, walked = config, []
    for key in option.split('.'):
        here = '.'.join(walked) or 'the top level'
        if isinstance(node, (list, tuple)):
            if not key.lstrip('-').isdigit() or int(key) >= len(node):
                raise ConfigError(
                    f'{option}: {here} is a list of {len(node)} in {path}; {key!r} is not one of its places'
                )
            node = node[int(key)]
        elif hasattr(node, 'keys') and key in node:
            node = node[key]
        else:
            known = list(node.keys()) if hasattr(node, 'keys') else []
            raise ConfigError(
                f'{option}: {key!r} is not a key of {here} in {path}.{did_you_mean(key, known)}'
                f' To add a new key, write +{option}=...'
            )
        walked.append(key)


def _resolve(value, config):
    if isinstance(value, dict):
        return {key: _resolve(item, config) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item, config) for item in value)
    if isinstance(value, str) and value.startswith('$'):
        name = value[1:]
        if name not in config:
            raise ConfigError(f'{value!r} names no top-level value of the config.{did_you_mean(name, config.keys())}')
        return _resolve(config[name], config)
    return value


def run_settings(config, work_dir=None, launcher='none'):
    """Sets `work_dir` (default work_dirs/<system>_<dataset>) and `launcher` of a loaded config, and returns it."""
    path = Path(config.filename)
    config.work_dir = str(work_dir or config.get('work_dir') or Path('work_dirs') / f'{path.parent.name}_{path.stem}')
    config.launcher = launcher
    return config
