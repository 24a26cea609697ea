"""How long it takes before anything happens."""

import os
import subprocess
import sys
from pathlib import Path

import handpose
from handpose.experiments.benchmarks.case import Work, case


def importing(names):
    """Work: a Python that imports modules and says how much memory it had at its peak."""
    code = f'import {names}; from handpose.experiments.benchmarks.measure import peak_memory; print(peak_memory()[1])'
    environment = {**os.environ, 'PYTHONPATH': str(Path(handpose.__file__).parents[1])}

    def run():
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=environment)
        return float(done.stdout)

    return Work(run, 1, lambda: {'MB of memory in the new process:': round(run())})


@case('start', shows='time', when='full')
def import_handpose(settings):
    """A fresh Python that imports handpose with models, datasets and metrics."""
    return importing('handpose.models, handpose.datasets, handpose.evaluation')


@import_handpose.reference
def import_torch(settings):
    """A fresh Python that imports torch alone."""
    return importing('torch')
