"""What mmengine's Runner needs from this library: config loading, the model adapter, safe checkpoints, progress."""

from typing import Any

from handpose.engine.config import ConfigError, OptionsAction, load_config, run_settings
from handpose.zoo.load import load_weights, read_header

__all__ = [
    'ConfigError',
    'OptionsAction',
    'build_runner',
    'load_config',
    'load_weights',
    'read_header',
    'run_settings',
]


def __getattr__(name: str) -> Any:
    # mmengine's Runner takes seconds to import, and whoever loads weights or a config does not need it.
    if name == 'build_runner':
        from handpose.engine.runner import build_runner

        return build_runner
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
