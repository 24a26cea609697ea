"""Reports the errors of the input that the noise model makes: handpose noise-report data/dexycb_motion.npz

Reads a motion file, or the datasets and the noise of a config, and prints MPJPE and acceleration error of the input
relative to the wrist, and what Savitzky-Golay smoothing makes of them. docs/data/noise_model.md has the numbers to
expect.

    handpose noise-report data/dexycb_motion.npz --family 200 --estimators nyu_subject1.npz --pair mine.npz truth.npz

compares the family of noise with which general refiners are trained with real estimators: how the errors behave in
time, and which numbers of the real ones are outside of the family's 5th to 95th percentiles. Without a source it prints
the real estimators only.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as progress_bar
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.datasets import DatasetError, MotionClips
from handpose.datasets.transforms.noise_family import FAMILY, HELD_OUT_FAMILY
from handpose.engine import load_config
from handpose.evaluation.error_statistics import SEGMENT, ErrorStatistics
from handpose.evaluation.input_motion import PUBLISHED_WINDOW, InputTrack, input_errors, without_gaps
from handpose.experiments.noise_statistics import (
    StatisticsRange,
    family_statistics,
    pair_statistics,
    read_estimator_outputs,
    tracks_of,
)
from handpose.files.npz import read_npz
from handpose.registry import DATASETS
from handpose.structures import load_predictions
from handpose.visualization import motion_spectrum, save_image, spectrum_figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument(
        'source', metavar='CONFIG_OR_MOTION', nargs='?', help='a config file, or a motion file (.npz; split s0)'
    )
    shared.add_cfg_options(parser)
    parser.add_argument('--seed', type=int, default=0, help='of the noise (default 0)')
    parser.add_argument('--every', type=int, default=1, help='take every n-th track (default all)')
    parser.add_argument('--figure', metavar='FILE.png', help='draw the spectra')
    parser.add_argument(
        '--detector', metavar='FILE.npz', help="joints (T, 21, 3) of a real detector, for the figure's sake"
    )
    parser.add_argument('--fps', type=float, default=30.0, help='of the detector (default 30)')
    parser.add_argument(
        '--family', type=int, metavar='N', help='statistics of N estimators of the family, on the motion file'
    )
    parser.add_argument('--held-out', action='store_true', help='with --family: the estimators for testing')
    parser.add_argument(
        '--pair', nargs=2, action='append', default=[], metavar=('PREDICTIONS', 'TRUTH'),
        help='statistics of a real estimator: its predictions file, and one with the truth in the same frame',
    )  # fmt: skip
    parser.add_argument(
        '--estimators', metavar='FILE.npz', help='statistics of real estimators on the joints of NYU: truth (T, 14, 3),'
        ' predictions (E, T, 14, 3), estimators (E,) and fps'
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Prints the report.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: options that do not fit.
    """
    if arguments.family or arguments.pair or arguments.estimators:
        print_statistics(arguments)
        return
    if arguments.source is None:
        raise UsageError('expected a config or a motion file, or real estimators: --pair or --estimators')
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


def print_statistics(arguments: argparse.Namespace) -> None:
    """Prints statistics of the errors of a family and of real estimators.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: a family without a motion file.
    """
    real = read_estimator_outputs(arguments.estimators) if arguments.estimators else {}
    real |= {Path(given).stem: (load_predictions(given), load_predictions(truth)) for given, truth in arguments.pair}
    family = None
    if arguments.family:
        if arguments.family < 1 or arguments.source is None or not arguments.source.endswith('.npz'):
            raise UsageError('--family needs a number of estimators above 0, and a motion file (.npz) as the source')
        family = _family_range(arguments)
    table = Table('estimator', 'mm', 'autocorr.', 'fast', 'tail', 'depth', 'constant')
    for name, found in zip(('5 %', 'median', '95 %'), family or (), strict=False):
        table.add_row(f'family, {name}', *_texts(found))
    for name, (predictions, truth) in real.items():
        found = pair_statistics(predictions, truth)
        outside = family.outside(found) if family else []
        table.add_row(name, *_texts(found, outside))
    Console().print(table)
    print(
        f'Errors about the wrist in segments of {SEGMENT:g} s. mm: MPJPE; autocorr.: from frame to frame, of the error '
        f'less its mean; fast: share of its power above 5 Hz; tail: 99th percentile over median; depth: along the ray '
        f'over across it; constant: share of the mean. *: outside of the 5th to 95th percentiles of the family'
    )


def _family_range(arguments: argparse.Namespace) -> StatisticsRange:
    """The statistics of the estimators of a family on the training tracks of the motion file."""
    dataset = MotionClips(arguments.source, split='train', labels='joints_only', pipeline=[])
    chosen, rng = HELD_OUT_FAMILY if arguments.held_out else FAMILY, np.random.default_rng(arguments.seed)
    draws = progress_bar(range(arguments.family), 'drawing estimators')
    found = [statistics for _ in draws if (statistics := family_statistics(dataset, chosen, rng))]
    if not found:
        raise DatasetError(f'{arguments.source} has no track of {SEGMENT:g} s, so errors have no statistics')
    return StatisticsRange.of(found)


def _texts(found: ErrorStatistics, outside: Sequence[str] = ()) -> list[str]:
    """The cells of a row."""
    shown = [f'{found.mpjpe:.1f}', f'{found.autocorrelation:.2f}', f'{100 * found.fast:.0f} %']
    shown += [f'{found.tail:.1f}', f'{found.depth_ratio:.2f}', f'{100 * found.constant:.0f} %']
    return [text + '*' * (name in outside) for name, text in zip(found._fields, shown, strict=True)]


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
    return [track for i in progress_bar(numbers, f'reading {split}') for track in tracks_of(dataset[i])]


def _dataset_config(config: Config, split: str, seed: int) -> dict[str, Any]:
    """The config of a split's dataset as whole tracks that only the noise changes."""
    found = dict(config[f'{split}_dataloader']['dataset'])
    noise = [step for step in found.get('pipeline', ()) if step['type'] == 'EstimatorNoise']
    if not noise:
        raise DatasetError(f'the {split} dataset has no EstimatorNoise in its pipeline, so there is nothing to report')
    return {**found, 'sampling': {'type': 'Tracks'}, 'pipeline': noise, 'seed': seed}


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
