"""How processes share recordings."""

import pytest

from handpose.inference.annotation.many_recordings import process_number, share_of
from handpose.inference.annotation.recording_source import AnnotationError


def slurm(task, count, first=0, step=1):
    names = ('ID', 'COUNT', 'MIN', 'STEP')
    return {f'SLURM_ARRAY_TASK_{n}': str(v) for n, v in zip(names, (task, count, first, step), strict=True)}


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({}, (0, 1)),
        (dict(RANK='2', WORLD_SIZE='4'), (2, 4)),
        (slurm(3, 5), (3, 5)),
        (slurm(7, 3, first=3, step=2), (2, 3)),
        (dict(RANK='1', WORLD_SIZE='2', **slurm(1, 3)), (3, 6)),
    ],
)
def test_numbers(environment, expected):
    assert process_number(environment) == expected


def test_every_recording_belongs_to_one_process():
    items = list(range(11))
    processes = [process_number(dict(RANK=str(r), WORLD_SIZE='2', **slurm(t, 3))) for t in range(3) for r in range(2)]
    shares = [share_of(items, *process) for process in processes]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ('environment', 'message'),
    [
        (dict(RANK='4', WORLD_SIZE='4'), 'process 4 of 4 by RANK'),
        (dict(RANK='-1', WORLD_SIZE='4'), 'RANK must be a whole number'),
        (slurm(9, 3), r'task 9 of 3 by SLURM_ARRAY_TASK_\*'),
    ],
)
def test_environments_that_do_not_fit(environment, message):
    with pytest.raises(AnnotationError, match=message):
        process_number(environment)
