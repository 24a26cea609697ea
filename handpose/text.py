"""Text of error messages that every layer uses."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Suggests a replacement for a name that does not exist; meant as the end of an error message.

    Args:
        name: what was given; compared as text.
        known: the names that exist, compared as text.

    Returns:
        " Did you mean 'x'?" with the most similar known name, or '' where none is similar.
    """
    matches = difflib.get_close_matches(str(name), [str(item) for item in known], n=1, cutoff=0.5)
    return f' Did you mean {matches[0]!r}?' if matches else ''
