"""What mmengine's Runner needs from this library: config loading, the model adapter, safe checkpoints, progress."""

from handpose.engine.config import ConfigError, OptionsAction, load_config, run_settings
from handpose.engine.runner import build_runner
from handpose.engine.weights import load_weights, read_header

__all__ = [
    'ConfigError',
    'OptionsAction',
    'build_runner',
    'load_config',
    'load_weights',
    'read_header',
    'run_settings',
]
