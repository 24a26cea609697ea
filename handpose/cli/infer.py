"""Finds the hands of a video and writes their motion.

    handpose infer hands.mp4 -o hands.npz --draw hands_drawn.mp4
    handpose infer hands.mp4 -o hands.npz --refine                  refined; hands_unrefined.npz keeps the rest
    handpose infer recordings/ -o hands/ --processes 2              every video of a folder
    handpose infer 0 -o hands.npz --seconds 10                      a camera
    handpose infer hands.mp4 -o hands.npz --estimator hamer.npz     joints of another estimator, on the tracked hands

`--estimator` replaces the joints of the landmark network by those of another estimator, in the hands that it tracks:
a predictions file of the video (`handpose convert` makes one of the output of HaMeR, WiLoR and others), a
`.safetensors` file that `handpose publish` wrote, or weights of the model zoo. Its deformer_synthetic and
htt_synthetic were trained on rendered images and are wrong on real ones: in a real video, the Deformer's joints are 113
pixels from those of the landmark network, for a hand of 358 pixels; those of one constant hand, put into its box, are
35 pixels from them (docs/guides/other_estimators.md).

The first use downloads two networks, unless `handpose zoo get` did so before. An interrupted run goes on where it was
when the same command is given again. docs/guides/infer.md says what the results are, and what they are not.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.evaluation.motion_summary import motion_summary
from handpose.hands.sides import SIDE_LABELS
from handpose.inference.job_queue import run_jobs
from handpose.inference.refiner import DEFAULT_REFINER, METHODS
from handpose.inference.session import NETWORKS
from handpose.inference.sources import is_camera, videos_in
from handpose.inference.video_job import JobReport, VideoJob, run_job
from handpose.runtime import PRECISIONS
from handpose.structures import Predictions
from handpose.video.writer import preferred_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument(
        'source', help='a video, an image, a folder of videos or of the images of one video, or the number of a camera'
    )
    parser.add_argument('-o', '--out', required=True, type=Path, help='the predictions file, .npz; for videos a folder')
    parser.add_argument('--draw', type=Path, metavar='VIDEO', help='draw the hands: .mp4 or .webm; for videos a folder')
    parser.add_argument(
        '--refine',
        nargs='?',
        const=DEFAULT_REFINER,
        metavar='NAME',
        help=f'refine with {DEFAULT_REFINER}, or NAME: weights (a file or a zoo name), or {", ".join(METHODS)}',
    )
    parser.add_argument(
        '--camera', type=Path, metavar='K.json', help='the camera of the video: places the hands in front of it'
    )
    parser.add_argument(
        '--estimator', metavar='NAME', help='joints of another estimator, see above: results .npz, or weights'
    )
    parser.add_argument(
        '--hand-model', type=Path, metavar='FOLDER', help='MANO files, for weights that were trained with MANO'
    )
    shared.add_runtime(parser)
    parser.add_argument('--fps', type=float, help='images per second, for a folder of images')
    parser.add_argument('--seconds', type=float, help='how long to record a camera (default until Ctrl-C)')
    parser.add_argument('--networks', choices=NETWORKS, default='full', help='lite is faster and less accurate')
    parser.add_argument('--licence', default='', help='text about what may be done with the result')
    parser.add_argument('--processes', type=int, default=1, help='videos of a folder that are processed at a time')


def run(arguments: argparse.Namespace) -> None:
    """Finds the hands of one or many videos.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: arguments that do not go together.
        UserError: some videos of a folder failed; the results of the others are written.
    """
    console = Console(highlight=False)
    if arguments.seconds is not None and not is_camera(arguments.source):
        raise UsageError('--seconds goes with a camera')
    weights = arguments.refine not in (None, *METHODS) or not str(arguments.estimator or '.npz').endswith('.npz')
    if (arguments.runtime or arguments.precision != PRECISIONS[0]) and not weights:
        raise UsageError('--runtime and --precision go with the weights of --estimator or --refine')
    if arguments.processes < 1:
        raise UsageError(f'--processes must be at least 1, got {arguments.processes}')
    videos = videos_in(arguments.source) if Path(arguments.source).is_dir() else []
    if videos:
        _run_folder(console, _folder_jobs(arguments, videos), arguments.processes)
        return
    job = _job(arguments, arguments.source, arguments.out, arguments.draw)
    columns = TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('starting', total=None)

        def show(step: str, done: float, total: float | None) -> None:
            bar.update(task, description=step, completed=done, total=None if total is None else max(total, done))

        report = run_job(job, show)
    _print_report(console, report)


def _job(arguments: argparse.Namespace, source: str, out: Path, draw: Path | None = None) -> VideoJob:
    return VideoJob(
        source=source,
        out=out,
        draw=draw,
        refine=arguments.refine,
        camera=arguments.camera,
        fps=arguments.fps,
        seconds=arguments.seconds,
        networks=arguments.networks,
        licence=arguments.licence,
        estimator=arguments.estimator,
        hand_model=arguments.hand_model,
        runtime=arguments.runtime,
        precision=arguments.precision,
    )


def _folder_jobs(arguments: argparse.Namespace, videos: list[Path]) -> list[VideoJob]:
    """One job for each video of a folder; those that have their results already are left out."""
    for name, path in (('-o', arguments.out), ('--draw', arguments.draw)):
        if path is not None and (path.is_file() or path.suffix in ('.npz', '.mp4', '.webm', '.avi')):
            raise UsageError(f'{arguments.source} is a folder with {len(videos)} videos: {name} must be a folder too')
    if arguments.estimator is not None and arguments.estimator.endswith('.npz'):
        raise UsageError(
            f'{arguments.estimator} has the results of one video, and {arguments.source} holds {len(videos)}'
        )
    stems, full = [video.stem for video in videos], {video.name for video in videos}
    # Two videos of one name and different suffixes keep their suffix in the names of their results.
    names = [
        stem if stems.count(stem) == 1 and stem not in full else v.name for stem, v in zip(stems, videos, strict=True)
    ]
    jobs = []
    for video, name in zip(videos, names, strict=True):
        drawn = None if arguments.draw is None else arguments.draw / f'{name}{preferred_suffix()}'
        jobs.append(_job(arguments, str(video), arguments.out / f'{name}.npz', drawn))
    return [job for job in jobs if not job.out.exists() or (job.draw is not None and not job.draw.exists())]


def _run_folder(console: Console, jobs: list[VideoJob], processes: int) -> None:
    failed = 0
    for done, (job, result) in enumerate(run_jobs(jobs, processes), 1):
        counted = f'{done} of {len(jobs)}'
        if isinstance(result, str):
            failed += 1
            print(f'{counted}: {job.source} failed: {result}', file=sys.stderr)
        else:
            console.print(f'{counted}: {job.source}', markup=False)
            _print_report(console, result)
    if not jobs:
        console.print('every video has its result already; delete a result to compute it again')
    if failed:
        raise UserError(f'{failed} of {len(jobs)} videos failed; the results of the others are written')


def _print_report(console: Console, report: JobReport) -> None:
    """Prints what was found, how smooth it is, and where it was written."""
    predictions, unrefined = report.predictions, report.unrefined
    rate = report.processed / max(report.seconds, 1e-9)
    title = f'{len(unrefined)} images; {report.processed} processed in {report.seconds:.1f} s ({rate:.1f} per second)'
    table = Table(title=title, box=box.SIMPLE, title_justify='left')
    for name in ('hand', 'found in images', 'tracks', 'acceleration, mm/frame^2'):
        table.add_column(name, justify='right' if name != 'hand' else 'left')
    for h, side in enumerate(predictions.hand_side.tolist()):
        valid = unrefined.valid[:, h]
        tracks = 0 if unrefined.track_ids is None else len(np.unique(unrefined.track_ids[valid, h]))
        numbers = [_acceleration(version, h, unrefined.valid) for version in (unrefined, predictions)]
        shown = f'{numbers[0]:.2f}' + (f', refined {numbers[1]:.2f}' if report.job.refine else '')
        table.add_row(SIDE_LABELS[side], f'{int(valid.sum())} of {len(valid)}', str(tracks), shown)
    console.print(table)
    for note in report.notes:
        console.print(f'note: {note}', markup=False)
    if predictions.scale == 'relative':
        console.print(
            'lengths are those of a hand of typical size, which the network assumes (scale: relative); distances '
            'between hands and videos are known only up to a factor'
        )
    console.print(f'written: {", ".join(map(str, report.files))}', markup=False)


def _acceleration(predictions: Predictions, hand: int, valid: NDArray[np.bool_]) -> float:
    only = valid & (np.arange(valid.shape[1]) == hand)
    return motion_summary(predictions, only)['acceleration']
