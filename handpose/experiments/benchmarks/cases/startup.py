"""How long it takes before anything happens."""

import os
import subprocess
import sys
from pathlib import Path

import handpose
from handpose.experiments.benchmarks.case import Settings, Work, case


def importing(names: str) -> Work:
    """A new Python that imports modules and reports its peak memory."""
    code = f'import {names}; from handpose.system import peak_memory; print(peak_memory()[1])'
    environment = {**os.environ, 'PYTHONPATH': str(Path(handpose.__file__).parents[1])}

    def run() -> float:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout)

    return Work(run, 1, lambda: {'MB of memory in the new process:': round(run())})


@case('start', shows='time', when='full')
def import_handpose(settings: Settings) -> Work:
    """A fresh Python that imports handpose with models, datasets and metrics."""
    return importing('handpose.models, handpose.datasets, handpose.evaluation')


@import_handpose.reference
def import_torch(settings: Settings) -> Work:
    """A fresh Python that imports torch alone."""
    return importing('torch')
