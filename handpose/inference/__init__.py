"""The user-facing API: refiners for files and live frames; hands and actions of a video file."""

from typing import Any

from handpose.inference.action_file import action_record, save_actions, uncertainty_reasons
from handpose.inference.refiner import DEFAULT_METHOD, METHODS, Refiner, load_refiner

__all__ = [
    'DEFAULT_METHOD',
    'METHODS',
    'ActionRecognizer',
    'EncodedVideo',
    'Refiner',
    'action_record',
    'load_action_recognizer',
    'load_refiner',
    'save_actions',
    'uncertainty_reasons',
]


def __getattr__(name: str) -> Any:
    # It imports the datasets, which take a second to import; refiners do not need them.
    if name in ('ActionRecognizer', 'EncodedVideo', 'load_action_recognizer'):
        from handpose.inference import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
