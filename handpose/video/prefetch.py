"""`prefetch`: reading ahead in a thread, so that decoding and computing overlap."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any

from handpose.video.reader import VideoFrame

_END = object()


def prefetch(frames: Iterable[VideoFrame], size: int = 4) -> Generator[VideoFrame, None, None]:
    """Iterates over frames that a thread reads ahead.

    Args:
        frames: a reader; an error of it is raised here, after the frames before it.
        size: frames that are read ahead at most.

    Yields:
        The frames in their order.
    """
    waiting: queue.Queue[Any] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for frame in frames:
                if not put(frame):
                    return
            put(_END)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=read, name='prefetch', daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
