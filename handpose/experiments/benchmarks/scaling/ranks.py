"""A training step on 1 and 2 ranks, each with as many clips: the time stays where ranks have cores of their own."""

import atexit

from handpose.experiments.benchmarks.case import Settings, Work
from handpose.experiments.benchmarks.rank_workers import RankWorkers
from handpose.experiments.benchmarks.sweeps import register_sweep


def training(settings: Settings, size: int) -> Work:
    """Work: a step of all ranks; the notes say what each of them needs, which the parent's memory does not show."""
    workers = RankWorkers(size, settings.threads)
    atexit.register(workers.close)
    return Work(workers.step, 1, lambda: {'MB of each rank:': ', '.join(f'{mb:.0f}' for mb in workers.memory())})


register_sweep(
    'HTT training',
    'ranks',
    (1, 2),
    training,
    'The small HTT, a training step of 4 clips on each of {} ranks (gloo)',
    expected=0.0,
    why='as many clips on each rank; 0 is perfect, 1 no gain',
)
