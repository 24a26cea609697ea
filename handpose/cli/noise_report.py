"""Reports the errors of the input that the noise model makes: handpose noise-report data/dexycb_motion.npz

Reads a motion file, or the datasets and the noise of a config, and prints MPJPE and acceleration error of the input
relative to the wrist, and what Savitzky-Golay smoothing makes of them. docs/noise_model.md has the numbers to expect.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as progress_bar
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.datasets import DatasetError, MotionClips
from handpose.engine import load_config
from handpose.evaluation.input_motion import PUBLISHED_WINDOW, InputTrack, input_errors, without_gaps
from handpose.files.npz import read_npz
from handpose.registry import DATASETS
from handpose.structures import HandSequence
from handpose.visualization import motion_spectrum, save_image, spectrum_figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('source', metavar='CONFIG_OR_MOTION', help='a config file, or a motion file (.npz; split s0)')
    shared.add_cfg_options(parser)
    parser.add_argument('--seed', type=int, default=0, help='of the noise (default 0)')
    parser.add_argument('--every', type=int, default=1, help='take every n-th track (default all)')
    parser.add_argument('--figure', metavar='FILE.png', help='draw the spectra')
    parser.add_argument(
        '--detector', metavar='FILE.npz', help="joints (T, 21, 3) of a real detector, for the figure's sake"
    )
    parser.add_argument('--fps', type=float, default=30.0, help='of the detector (default 30)')


def run(arguments: argparse.Namespace) -> None:
    """Prints the report.

    Args:
        arguments: those of `add_arguments`.
    """
    tracks = {split: read_tracks(arguments, split) for split in ('train', 'test')}
    errors = {split: input_errors(found) for split, found in tracks.items()}
    best = errors['train'].best_window
    table = Table('split', 'tracks', 'MPJPE', 'acceleration', f'smoothed {PUBLISHED_WINDOW}', f'smoothed {best}')
    for split, found in errors.items():
        gains = [f'{found.smoothed[w]:.2f} ({-100 * found.improvement(w):+.1f} %)' for w in (PUBLISHED_WINDOW, best)]
        table.add_row(split, str(len(tracks[split])), f'{found.mpjpe:.2f}', f'{found.acceleration:.2f}', *gains)
    Console().print(table)
    print(f'MPJPE in mm, acceleration in mm/frame², smoothed: MPJPE after Savitzky-Golay ({best}: best on train)')
    if arguments.figure:
        curves = spectra(tracks['test'], arguments)
        save_image(Path(arguments.figure), spectrum_figure(curves))
        for name, (frequencies, density) in curves.items():
            values = ', '.join(f'{f:.1f} Hz {d:.3g}' for f, d in zip(frequencies[::4], density[::4], strict=True))
            print(f'{name} (mm²/Hz): {values}')
        print(f'drawn: {arguments.figure}')


def read_tracks(arguments: argparse.Namespace, split: str) -> list[InputTrack]:
    """Reads the tracks of a split.

    Args:
        arguments: those of `add_arguments`.
        split: 'train' or 'test'.

    Returns:
        One track for each hand.
    """
    if arguments.source.endswith('.npz'):
        noise = [dict(type='EstimatorNoise')]
        options = dict(split=split, labels='joints_only', seed=arguments.seed, pipeline=noise)
        dataset = MotionClips(arguments.source, **options)
    else:
        config = load_config(arguments.source, arguments.cfg_options)
        dataset = DATASETS.build(_dataset_config(config, split, arguments.seed))
    numbers = range(0, len(dataset), arguments.every)
    return [track for i in progress_bar(numbers, f'reading {split}') for track in _hands_of(dataset[i])]


def _dataset_config(config: Config, split: str, seed: int) -> dict[str, Any]:
    """The config of a split's dataset as whole tracks that only the noise changes."""
    found = dict(config[f'{split}_dataloader']['dataset'])
    noise = [step for step in found.get('pipeline', ()) if step['type'] == 'EstimatorNoise']
    if not noise:
        raise DatasetError(f'the {split} dataset has no EstimatorNoise in its pipeline, so there is nothing to report')
    return {**found, 'sampling': {'type': 'Tracks'}, 'pipeline': noise, 'seed': seed}


def _hands_of(clip: HandSequence) -> Iterator[InputTrack]:
    """One `InputTrack` for each hand of a clip."""
    fields = [clip.require(name) for name in ('input_joints_3d', 'input_valid', 'joints_3d', 'joints_valid')]
    for hand in range(len(clip.require('hand_side'))):
        yield InputTrack(*(field[:, hand].numpy() for field in fields))


def spectra(
    tracks: Sequence[InputTrack], arguments: argparse.Namespace
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Computes the spectra of the input, the true motion, the error and the detector.

    Args:
        tracks: the tracks of the test split.
        arguments: those of `add_arguments`.

    Returns:
        {name: (frequencies in Hz, densities in mm^2/Hz)}.
    """
    fps = arguments.fps
    complete = [t for t in tracks if t.target_valid.all() and t.valid.any()]
    inputs = [without_gaps(t.joints, t.valid) for t in complete]
    curves = {
        'input': motion_spectrum(inputs, fps),
        'true motion': motion_spectrum([t.target for t in complete], fps),
        'error of the input': motion_spectrum([i - t.target for i, t in zip(inputs, complete, strict=True)], fps),
    }
    if arguments.detector:
        joints = read_npz(arguments.detector, ['joints'], error=DatasetError).get('joints')
        if joints is None or joints.ndim != 3 or joints.shape[1:] != (21, 3):
            raise DatasetError(f"{arguments.detector} must hold 'joints' (T, 21, 3) in metres, common order")
        curves['real detector, another video'] = motion_spectrum([joints], arguments.fps)
    return curves
