"""Measures models in this process: python -m cuda_check.together STEP ... --device cuda --out FOLDER [--small]

Where a process needs long to start, this saves most of the time; a step that crashes or hangs ends those after it.
"""

import argparse
import gc
import json
import os
import time
import traceback
from pathlib import Path

import torch

from cuda_check import models

TAIL = 4000  # characters of a traceback that are kept


def record(step, device, small):
    """Measures a step; its record, as in the report."""
    started = time.monotonic()
    try:
        found = {'status': 'passed', 'figures': models.measure(*step.split('_'), device, small)}
    except Exception as error:
        said = f'{type(error).__name__}: {error}'.splitlines()[0][:500]
        found = {'status': 'failed', 'message': said, 'output': traceback.format_exc()[-TAIL:]}
    return {**found, 'seconds': round(time.monotonic() - started, 1)}


def clean(device):
    """Frees what a step has left, so that the next one has its own peak of memory and its own compilation."""
    torch._dynamo.reset()
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('steps', nargs='+')
    parser.add_argument('--device', choices=['cuda', 'cpu'], required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--small', action='store_true')
    arguments = parser.parse_args()
    for step in arguments.steps:
        part = arguments.out / f'{step}.part'
        part.write_text(json.dumps(record(step, arguments.device, arguments.small)))
        os.replace(part, arguments.out / f'{step}.json')
        clean(arguments.device)


if __name__ == '__main__':
    main()
