"""Work spread over processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import cv2
import torch

_Job = TypeVar('_Job')
_Result = TypeVar('_Result')


def run_jobs(work: Callable[[_Job], _Result], jobs: Sequence[_Job], workers: int = 0) -> Iterator[_Result]:
    """Runs jobs in this process or several.

    Args:
        work: a module's function.
        jobs: its arguments.
        workers: processes; 0 means one per CPU core.

    Yields:
        `work(job)` of every job, as they come.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    # Fresh processes: a forked child would inherit torch's thread pools in whatever state they are.
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(work, jobs)


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for torch and OpenCV: with a process per core, more would only get into each other's way."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
