"""What makers of data share: a folder that is theirs to fill, and work spread over processes."""

import multiprocessing
import os
from contextlib import contextmanager

import cv2
import torch

from handpose.files.yaml_files import read_yaml
from handpose.synthesis.layout import write_yaml


def claim_root(root, ours, begin):
    """Checks that a folder is free, or was begun with the same options, and begins a free one.

    Args:
        root: the folder; made if missing. ours: {'version', 'options'}, kept in `generator.yml`.
        begin: called for a free folder; writes what belongs to no sequence.

    Raises:
        ValueError: the folder holds something else, or data made with other options.
    """
    record = root / 'generator.yml'
    if record.exists():
        found = read_yaml(record, advice='choose another root')
        if {k: found.get(k) for k in ours} != ours:
            raise ValueError(
                f'{root} holds built-in data made with other options: its generator.yml says {found.get("options")}, '
                f'version {found.get("version")}, and {ours["options"]}, version {ours["version"]}, was asked for. '
                'Delete the folder or choose another root'
            )
        return
    if root.exists() and any(root.iterdir()):
        raise ValueError(
            f'{root} is not empty and has no generator.yml, so it is not ours to fill: choose another root'
        )
    root.mkdir(parents=True, exist_ok=True)
    begin()
    write_yaml(record, ours)


def run_jobs(work, jobs, workers=0):
    """Yields `work(job)` of every job, as they come, from this process or several; `workers` 0: one per CPU core."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    # Fresh processes: a forked child would inherit torch's thread pools in whatever state they are.
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(work, jobs)


@contextmanager
def single_threaded():
    """One thread for torch and OpenCV: with a process per core, more would only get into each other's way."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
