"""The figures and the file that keeps them: medians, ratios, the machine, and reading and writing JSON."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from handpose.experiments.benchmarks.case import BenchmarkError, Settings
from handpose.experiments.machine import cpu_name
from handpose.files.atomic import atomic_write
from handpose.files.reading import read_json
from handpose.system import total_memory

FORMAT = 'handpose-benchmark-1'
PACKAGES = ('handpose', 'torch', 'numpy', 'scipy', 'opencv-python', 'mmengine')
SAME = ('format', 'machine', 'versions', 'settings')  # what must agree for results to go into one file


Record = dict[str, Any]  # of one case, or of one of its forms; docs/project/benchmark.md describes it
Results = dict[str, Any]  # of a run


@dataclass(frozen=True)
class MeasurementPlan:
    """How long to measure.

    Attributes:
        repeats: rounds; in each of them every form has its turn.
        seconds: after these, no new round of a case begins, but there are at least two.
        least: a form that is quicker than these seconds runs several times in its turn.
        limit: a form that needs more than these seconds for setting up or for a turn has failed.
    """

    repeats: int = 7
    seconds: float = 25.0
    least: float = 0.2
    limit: float = 900.0


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of numbers, as 'median', 'low' and 'high'."""
    return {'median': statistics.median(values), 'low': min(values), 'high': max(values)}


def ratios(case: Record, reference: Record) -> dict[str, Any]:
    """How many times the reference's speed and memory the case has.

    Speed: one ratio a round, of the two forms' rates in that round, so that what slows a machine down for a while slows
    both. Memory: what each added to its process at the peak; on a GPU, the peak of allocated memory.

    Args:
        case: the record of the case's form.
        reference: the record of the reference form.

    Returns:
        {'speed_ratio': spread, 'memory_ratio': float or None where the reference added less than 1 MB}.
    """
    rates = [[form['count'] / seconds for seconds in form['seconds']] for form in (case, reference)]
    speed = spread([a / b for a, b in zip(*rates, strict=True)])
    added = [added_memory(form['memory_mb']) for form in (case, reference)]
    return {'speed_ratio': speed, 'memory_ratio': added[0] / added[1] if added[1] >= 1 else None}


def added_memory(memory: Mapping[str, float]) -> float:
    """MB that a form needed beyond the libraries that it imports; of the GPU where it ran there."""
    return memory.get('cuda_peak', memory['peak'] - memory['start'])


def new_results(settings: Settings, plan: MeasurementPlan) -> Results:
    """Starts the results of a run: where, when and how it is measured, and no case yet.

    Args:
        settings: those of the cases.
        plan: how long to measure.
    """
    return {
        'format': FORMAT,
        'started': datetime.now().astimezone().isoformat(timespec='seconds'),
        'machine': machine(settings.device),
        'versions': {'python': platform.python_version()} | {name: _version(name) for name in PACKAGES},
        'settings': {
            'device': settings.device,
            'threads': settings.threads,
            'quick': settings.quick,
            'repeats': plan.repeats,
            'seconds': plan.seconds,
        },
        'load_average': {},
        'cases': {},
    }


def machine(device: str) -> dict[str, Any]:
    """Describes this machine in plain values; with `device` 'cuda' also its GPU."""
    described: dict[str, Any] = {
        'system': f'{platform.system()} {platform.machine()}',
        'cpu': cpu_name(),
        'cores': os.cpu_count(),
        'memory_gb': round(total_memory() / 2**30),
    }
    if device == 'cuda':
        import torch

        described['gpu'] = torch.cuda.get_device_name()
        described['cuda'] = torch.version.cuda
    return described


def write_results(path: str | Path, results: Results) -> None:
    """Writes a results file atomically, so that an interrupted write leaves the one before."""
    atomic_write(path, json.dumps(results, indent=1) + '\n')


def read_results(path: str | Path) -> Results:
    """Reads a results file.

    Args:
        path: path of the file.

    Raises:
        BenchmarkError: no such file, or not one of `handpose benchmark`.
    """
    advice = 'give a file that `handpose benchmark` wrote'
    results = read_json(path, allow_nan=True, error=BenchmarkError, advice=advice)
    if results.get('format') != FORMAT:
        raise BenchmarkError(f'{path} is not a file of `handpose benchmark` in the format {FORMAT}')
    return results


def check_same(path: str | Path, old: Results, new: Results, names: Sequence[str] = SAME) -> None:
    """Checks that two results can be compared, or kept in one file.

    Args:
        path: path of the old results.
        old: the old results.
        new: the new results.
        names: what must be the same.

    Raises:
        BenchmarkError: says what differs.
    """
    for name in names:
        if old[name] != new[name]:
            raise BenchmarkError(
                f'{path} was measured with another {name}: {_differences(old[name], new[name])}; choose another file'
            )


def _differences(old: Any, new: Any) -> str:
    if not isinstance(old, dict):
        return f'{old}, now {new}'
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ', '.join(f'{key} {old.get(key)!r}, now {new.get(key)!r}' for key in keys)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
