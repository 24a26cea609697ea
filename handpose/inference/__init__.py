"""The user-facing API: refiners for files and live frames; hands and actions of a video file; futures of motion."""

from typing import Any

from handpose.inference.action_file import action_record, save_actions, uncertainty_reasons
from handpose.inference.forecaster import forecast_motion, load_forecaster
from handpose.inference.refiner import DEFAULT_METHOD, DEFAULT_REFINER, METHODS, Refiner, load_refiner

__all__ = [
    'DEFAULT_METHOD',
    'DEFAULT_REFINER',
    'METHODS',
    'ActionRecognizer',
    'EncodedVideo',
    'MotionRecognizer',
    'Refiner',
    'action_record',
    'forecast_motion',
    'load_action_recognizer',
    'load_forecaster',
    'load_motion_recognizer',
    'load_refiner',
    'save_actions',
    'uncertainty_reasons',
]


def __getattr__(name: str) -> Any:
    # They import the datasets, which take a second to import; refiners do not need them.
    if name in ('ActionRecognizer', 'EncodedVideo', 'load_action_recognizer'):
        from handpose.inference import recognizer

        return getattr(recognizer, name)
    if name in ('MotionRecognizer', 'load_motion_recognizer'):
        from handpose.inference import motion_recognizer

        return getattr(motion_recognizer, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
