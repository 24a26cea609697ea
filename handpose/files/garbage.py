"""Making many small objects without the garbage collector looking at them again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pauses Python's search for reference cycles.

    JSON and nested lists of numbers consist of millions of lists without cycles. Every few hundred of them make the
    collector walk through those that there are, which more than doubles the time to read or write such a file.

    Yields:
        Nothing; afterwards the collector is as it was.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
