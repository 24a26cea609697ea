"""Kills training at random moments, resumes it, and compares the weights with those of an unbroken run, bit for bit.

    python tests/engine/kill_and_resume.py --kills 20 --workers 0 1 2

Each run is forked from this process, which has everything imported, and ends by SIGKILL: some in the middle of an
epoch, and every fourth while a checkpoint is being written.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from run_random_clips import clips, train

from handpose.engine.checkpoints import newest_checkpoint
from handpose.files.atomic import TEMPORARY

EPOCHS = 3
LAST = f'epoch_{EPOCHS}.pth'
# Randomness of every kind: dropout in the network, draws in the samples, the order of the clips.
JITTER = dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
OPTIONS = {
    **clips(21, [JITTER]),
    'model.spatial_transformer.dropout': 0.1,
    'model.temporal_transformer.dropout': 0.1,
    'default_hooks.checkpoint.interval_iters': 2,
    # A schedule within the epoch and one over epochs, so that both have to come back.
    'param_scheduler': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
        dict(type='StepLR', step_size=2, gamma=0.5, by_epoch=True, begin=0, end='$epochs'),
    ],
    'epochs': EPOCHS,
}


def start(work_dir, workers, accumulate):
    """Forks a training process, which goes on from what `work_dir` holds; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        train(work_dir, EPOCHS, {**OPTIONS, 'num_workers': workers, 'training.accumulate': accumulate})
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def wait(child, until=lambda: False):
    """Waits until the process ends or `until()` holds; returns its exit status, or None while it runs."""
    while not until():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.0005)
    return None


def kill_once(work_dir, workers, accumulate, moments, during_a_write):
    """Starts or resumes a run and kills it: (exit status or None if killed, whether a write was cut short)."""
    seen = set(work_dir.glob('*.pth'))
    child = start(work_dir, workers, accumulate)
    if moments.random() < 0.75:  # otherwise while it starts, or reads what it resumes from
        # The first file of a run marks that iterations have begun.
        status = wait(child, lambda: set(work_dir.glob('*.pth')) - seen)
        if status is not None:
            return status, False
    delay = time.monotonic() + moments.uniform(0, 0.6)
    writing = lambda: any(work_dir.glob(f'{TEMPORARY}*.pth.*'))  # noqa: E731
    status = wait(child, writing if during_a_write else lambda: time.monotonic() > delay)
    if status is not None:
        return status, False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, writing()


def run_with_kills(work_dir, workers, kills, seed=0, accumulate=1):
    """Trains to the end in spite of `kills` kills; where the end comes first, begins again in a fresh folder.

    Returns:
        Folders of the finished runs, and the numbers of all kills, of those after a checkpoint in mid-epoch, and of
        those that cut a write short.
    """
    moments = random.Random(seed)
    counts = {'kills': 0, 'mid-epoch': 0, 'during a write': 0}
    folders = [Path(work_dir) / '0']
    while counts['kills'] < kills:
        folders[-1].mkdir(parents=True, exist_ok=True)
        during_a_write = counts['kills'] % 4 == 1
        status, cut = kill_once(folders[-1], workers, accumulate, moments, during_a_write)
        if status is None:
            counts['kills'] += 1
            counts['during a write'] += cut
            newest = newest_checkpoint(folders[-1])
            counts['mid-epoch'] += newest is not None and Path(newest).name.startswith('iter_')
        elif status == 0:
            folders.append(Path(work_dir) / str(len(folders)))
        else:
            raise RuntimeError(f'training failed with status {status}; its traceback is above')
    if not (folders[-1] / LAST).exists() and wait(start(folders[-1], workers, accumulate)) != 0:
        raise RuntimeError('the last run failed; its traceback is above')
    return folders, counts


def differences(folder, reference):
    """Names of what differs between the last checkpoints of two runs: weights, optimizer and schedule."""
    ours, theirs = (torch.load(Path(f) / LAST, weights_only=True) for f in (folder, reference))
    found = [name for name, value in theirs['state_dict'].items() if not torch.equal(value, ours['state_dict'][name])]
    for key, state in theirs['optimizer']['state'].items():
        mine = ours['optimizer']['state'][key]
        found += [f'optimizer {key} {name}' for name in state if not torch.equal(state[name], mine[name])]
    rates = [[group['lr'] for group in file['optimizer']['param_groups']] for file in (ours, theirs)]
    return found + (['learning rates'] if rates[0] != rates[1] else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='kills for each number of workers (default 20)')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2], help='loader workers (default 0 1 2)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for accumulate in (1, 2):
            reference = Path(folder) / f'unbroken_{accumulate}'
            if wait(start(reference, 0, accumulate)) != 0:
                sys.exit('the unbroken run failed')
            for workers in arguments.workers if accumulate == 1 else arguments.workers[-1:]:
                place = Path(folder) / f'killed_{accumulate}_{workers}'
                folders, counts = run_with_kills(place, workers, arguments.kills, arguments.seed, accumulate)
                different = [name for f in folders if (f / LAST).exists() for name in differences(f, reference)]
                bad += len(different)
                verdict = 'bit-equal' if not different else f'DIFFERENT in {different[:3]}'
                print(f'{workers} workers, {accumulate} batches a step: {counts}, {len(folders)} runs: {verdict}')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
