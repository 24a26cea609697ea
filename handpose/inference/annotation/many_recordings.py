"""Which of many recordings this process annotates: torchrun and Slurm arrays."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from handpose.inference.annotation.recording_source import AnnotationError

Item = TypeVar('Item')


def process_number(environment: Mapping[str, str]) -> tuple[int, int]:
    """Reads which of several processes this is, as torchrun and Slurm state it.

    Under torchrun `RANK` of `WORLD_SIZE`; in a Slurm array the position of the task in the array; in an array of
    torchruns both.

    Args:
        environment: the environment variables.

    Returns:
        The number of this process, from 0, and how many there are; (0, 1) without any of them.

    Raises:
        AnnotationError: a variable that is not a number, or that is out of range.
    """
    rank, size = _number(environment, 'RANK', 0), _number(environment, 'WORLD_SIZE', 1)
    task, tasks = 0, 1
    if 'SLURM_ARRAY_TASK_ID' in environment:
        first, step = _number(environment, 'SLURM_ARRAY_TASK_MIN', 0), _number(environment, 'SLURM_ARRAY_TASK_STEP', 1)
        tasks = _number(environment, 'SLURM_ARRAY_TASK_COUNT', 1)
        task = (_number(environment, 'SLURM_ARRAY_TASK_ID', 0) - first) // max(step, 1)
    if not (0 <= rank < size and 0 <= task < tasks):
        raise AnnotationError(
            f'this is process {rank} of {size} by RANK and WORLD_SIZE, and task {task} of {tasks} by '
            f'SLURM_ARRAY_TASK_*: expected numbers from 0, below how many there are; start it by torchrun, or as a '
            f'Slurm array whose task numbers have one step'
        )
    return task * size + rank, tasks * size


def share_of(items: Sequence[Item], number: int, count: int) -> list[Item]:
    """Takes every `count`-th item, beginning with `number`.

    Args:
        items: what all processes share, in the same order in each of them.
        number: of this process.
        count: of the processes.

    Returns:
        Its items. Together the processes have each item once.
    """
    return list(items[number::count])


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise AnnotationError(f'the environment variable {name} must be a whole number, got {text[:40]!r}')
    return int(text)
