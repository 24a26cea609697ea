"""Several videos at a time, each in a process of its own."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event

import cv2
import torch

from handpose.inference.video_job import JobReport, Progress, VideoJob, run_job

Run = Callable[[VideoJob, Progress | None], JobReport]


def run_jobs(
    jobs: Sequence[VideoJob], processes: int = 1, run: Run = run_job
) -> Iterator[tuple[VideoJob, JobReport | str]]:
    """Runs jobs; one that fails does not stop the others.

    When the iteration ends early, as by Ctrl-C, jobs that are running save the hands so far, and no other is begun.

    Args:
        jobs: what is to be done.
        processes: jobs at a time; with more than one, each process computes with one thread.
        run: runs one job; with several processes a function that can be imported there.

    Yields:
        Each job when it ends, with what was done or the error message.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if processes == 1:
        for job in jobs:
            yield job, _result(job, run)
        return
    # A forked process would share the locks of this one's threads.
    context = multiprocessing.get_context('spawn')
    stop = context.Event()
    with ProcessPoolExecutor(processes, context, _start_process, (stop,)) as pool:
        waiting: dict[Future[JobReport | str], VideoJob] = {
            pool.submit(_result_in_process, job, run): job for job in jobs
        }
        try:
            for future in as_completed(waiting):
                try:
                    result = future.result()
                except BrokenProcessPool:
                    result = 'its process has ended, as when memory runs out; try fewer processes'
                yield waiting[future], result
        except KeyboardInterrupt:
            raise KeyboardInterrupt('the same command goes on from the hands found so far') from None
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _result(job: VideoJob, run: Run, progress: Progress | None = None) -> JobReport | str:
    try:
        return run(job, progress)
    except (ValueError, OSError) as error:
        return f'{error}'


_stop: Event | None = None  # of a process: whether it has to end


def _start_process(stop: Event) -> None:
    global _stop
    _stop = stop
    # Ctrl-C reaches every process of a terminal; the one that distributes the jobs decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _result_in_process(job: VideoJob, run: Run) -> JobReport | str:
    try:
        _check_stop('', 0.0, None)
        return _result(job, run, _check_stop)
    except KeyboardInterrupt as interrupt:
        return f'interrupted; {interrupt}'


def _check_stop(step: str, done: float, total: float | None) -> None:
    """As the progress of a job: interrupts it once the process has to end."""
    if _stop is not None and _stop.is_set():
        raise KeyboardInterrupt
