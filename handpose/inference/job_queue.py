"""Several videos at a time, each in a process of its own."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import cv2
import torch

from handpose.inference.video_job import JobReport, VideoJob, run_job


def run_jobs(jobs: Sequence[VideoJob], processes: int = 1) -> Iterator[tuple[VideoJob, JobReport | str]]:
    """Runs jobs; one that fails does not stop the others.

    Args:
        jobs: what is to be done.
        processes: jobs at a time; with more than one, each process computes with one thread.

    Yields:
        Each job when it ends, with what was done or the error message.
    """
    if processes == 1:
        for job in jobs:
            yield job, _result(job)
        return
    # A forked process would share the locks of this one's threads.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(processes, context, initializer=_one_thread) as pool:
        waiting: dict[Future[JobReport | str], VideoJob] = {pool.submit(_result, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                try:
                    result = future.result()
                except BrokenProcessPool:
                    result = 'its process has ended, as when memory runs out; try fewer processes'
                yield waiting[future], result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _result(job: VideoJob) -> JobReport | str:
    try:
        return run_job(job)
    except (ValueError, OSError) as error:
        return f'{error}'


def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
