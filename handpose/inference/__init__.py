"""What a user calls: refiners for files and for live frames; hands and actions of a video file."""

from handpose.inference.action_file import action_record, doubts, save_actions
from handpose.inference.refiner import DEFAULT_METHOD, METHODS, Refiner, load_refiner

__all__ = [
    'DEFAULT_METHOD',
    'METHODS',
    'ActionRecognizer',
    'EncodedVideo',
    'Refiner',
    'action_record',
    'doubts',
    'load_action_recognizer',
    'load_refiner',
    'save_actions',
]


def __getattr__(name):
    # It reads cameras and classes as the datasets do, which take a second to import; refining does without.
    if name in ('ActionRecognizer', 'EncodedVideo', 'load_action_recognizer'):
        from handpose.inference import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
