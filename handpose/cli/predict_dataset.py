"""Runs the hand detector over the images of a dataset and writes predictions files: real errors with exact labels.

    handpose predict-dataset deformer/synthetic -o data/detected
    handpose predict-dataset deformer/dexycb -o data/detected --splits test --every 10      every tenth track
    handpose train pdtm/dexycb --cfg-options predictions=data/detected

Each track (a sequence seen by a camera) becomes FOLDER/<sequence>_<camera>.npz: what `handpose infer` finds in its
images as a video, placed in front of the dataset's camera. Refiners train and are tested on the files with
`predictions=FOLDER` (docs/data/predictions_file.md). The command prints how many annotated hands
were found and how far the joints are from the labels. The same command continues after an interruption.

The first use downloads two networks, unless `handpose zoo get` did so before.
"""

import argparse
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.engine import load_config
from handpose.inference.dataset_predictions import DatasetPredictor, TrackReport, error_summary, open_tracks
from handpose.inference.session import NETWORKS, make_session

SPLITS = ('train', 'val', 'test')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument('-o', '--out', required=True, type=Path, metavar='FOLDER', help='where the files go')
    parser.add_argument('--splits', nargs='+', choices=SPLITS, default=SPLITS, help='of the config (default all)')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='every N-th track of a split (default all)')
    parser.add_argument('--networks', choices=NETWORKS, default='full', help='lite is faster and less accurate')
    shared.add_cfg_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes the files and prints their errors.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: `--every` below 1.
        UserError: none of the splits is in the config.
        ValueError: the config, its data or the folder cannot be used.
        KeyboardInterrupt: says how to continue.
    """
    if arguments.every < 1:
        raise UsageError(f'--every must be at least 1, got {arguments.every}')
    config = load_config(arguments.config, arguments.cfg_options)
    loaders = {split: config.get(f'{split}_dataloader') for split in dict.fromkeys(arguments.splits)}
    if not any(loaders.values()):
        raise UserError(f'{arguments.config} has no data for {", ".join(loaders)}; choose other --splits')
    predictor = DatasetPredictor(arguments.out, make_session(arguments.networks), arguments.networks)
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE)
    for name in ('split', 'tracks', 'no hand', 'hands found', '2D, %', '3D, mm'):
        table.add_column(name, justify='left' if name == 'split' else 'right')
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        for split, loader in loaders.items():
            if loader is None:
                continue
            dataset = open_tracks(loader['dataset'])
            numbers = range(0, len(dataset), arguments.every)
            task = bar.add_task(f'{split}: tracks', total=len(numbers))
            reports = []
            try:
                for report in predictor.tracks(dataset, numbers):
                    reports.append(report)
                    bar.advance(task)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f'the files of {len(reports)} tracks of {split} are in {arguments.out}; the same command continues'
                ) from None
            table.add_row(split, *_row(reports))
    console.print(table)
    console.print('no hand: tracks that get no file. 2D: median distance of joints from their labels, % of the size of')
    console.print('the hand in the image. 3D: mean and median distance, wrists aligned.')
    console.print(f'written: {arguments.out}; train with --cfg-options predictions={arguments.out}', markup=False)


def _row(reports: list[TrackReport]) -> list[str]:
    errors = error_summary(reports)
    tracks, missing = len(reports), sum(not report.found for report in reports)
    found = f'{errors.found} of {errors.annotated} ({100 * errors.found / max(errors.annotated, 1):.1f} %)'
    found_2d = f'{100 * errors.median_2d:.1f}' if np.isfinite(errors.median_2d) else '-'
    found_3d = f'{errors.mean_3d:.1f}, {errors.median_3d:.1f}' if errors.found else '-'
    return [str(tracks), str(missing), found, found_2d, found_3d]
