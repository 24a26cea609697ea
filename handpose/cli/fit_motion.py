"""Adds hand-model parameters to a motion file: handpose fit-motion MOTION.npz -o FITTED.npz"""

import argparse

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from handpose.datasets.motion.motion_file import read_motion, write_motion
from handpose.synthesis.recordings.fitting import fit_motion


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('motion', metavar='MOTION.npz', help='the motion file (docs/data/motion_file.md)')
    parser.add_argument(
        '-o', '--out', required=True, metavar='FITTED.npz', help='the file to write, whole or not at all'
    )
    parser.add_argument('--workers', type=int, default=1, help='processes; 0: one per CPU core (default 1)')


def run(arguments: argparse.Namespace) -> None:
    """Fits the hand model and writes the file.

    Args:
        arguments: those of `add_arguments`.
    """
    motion = read_motion(arguments.motion)
    columns = (
        TextColumn('fitting frames'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task('', total=len(motion.joints))
        fitted, error = fit_motion(motion, arguments.workers, lambda frames: progress.advance(task, frames))
    write_motion(arguments.out, fitted)
    millimetres = 1000 * error[np.isfinite(error)]
    print(
        f'{arguments.out}: {fitted.hand_model} fitted to {len(motion.sequence_names)} sequences, '
        f'{int(motion.frame_valid.sum())} frames; a joint is off by {np.median(millimetres):.2f} mm (median), '
        f'{np.quantile(millimetres, 0.95):.2f} mm (95 %)'
    )
