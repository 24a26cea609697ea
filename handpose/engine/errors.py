"""Turning errors that a user can mend into one sentence and a non-zero exit."""

import os
import sys
from contextlib import contextmanager


@contextmanager
def sentences():
    """Ends the program with the sentence of a user's error instead of a traceback.

    `HANDPOSE_TRACEBACK=1` shows the traceback too. Errors that are not about input or files keep theirs.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, FileNotFoundError, ModuleNotFoundError) as error:
        if os.environ.get('HANDPOSE_TRACEBACK') or not _ours(error):
            raise
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        sys.exit(f'error: {message}')


def _ours(error):
    """True when the error was raised by this library, so that its message is a sentence for the user."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get('__name__', '').startswith('handpose')
