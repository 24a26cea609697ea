"""Annotates the hands of a recording of two or more calibrated cameras, in 3D.

    handpose annotate REC/ --calibration calibration.json -o recording.npz
    handpose annotate REC/ --calibration cameras.toml --unit millimetre -o recording.npz --fit --refine gaussian
    handpose annotate REC/ --calibration calibration.json -o recording.npz --model mvexonet.safetensors --rounds 3
    handpose annotate RECS/ --calibration calibration.json -o OUT/                every recording in a folder
    handpose view recording.npz

REC/ holds a video or a folder of images for each camera, named after the cameras of the calibration. Beside
recording.npz are written: a motion file ready for training, a predictions file, COCO and AssemblyHands JSON, and a
report (HTML). An interrupted run goes on where it was when the same command is given again; hands are looked for once,
whatever other options follow. Ranges of frames that were marked in the viewer are annotated again.
docs/guides/annotate.md explains it all, from two phones and a printed board.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from handpose.cli.errors import UsageError, UserError
from handpose.hands.sides import SIDE_LABELS
from handpose.inference.annotation.job import ALL_OUTPUTS, AnnotateJob, AnnotationReport, annotate_recording
from handpose.inference.annotation.many_recordings import process_number, share_of
from handpose.inference.annotation.recording_source import recordings_in
from handpose.inference.refiner import METHODS
from handpose.inference.session import NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument(
        'recording',
        type=Path,
        metavar='REC',
        help='a folder with the videos of all cameras, or a folder of such folders',
    )
    parser.add_argument(
        '--calibration', required=True, type=Path, metavar='FILE', help="of any format, or the file's name in each REC"
    )
    parser.add_argument(
        '-o', '--out', required=True, type=Path, help='the result, .npz; for several recordings a folder'
    )
    parser.add_argument('--unit', help='of the calibration: metre, centimetre, millimetre, or the metres of one unit')
    parser.add_argument('--fps', type=float, help='images per second, for folders of images')
    parser.add_argument('--networks', choices=NETWORKS, default='full', help='lite is faster and less accurate')
    parser.add_argument(
        '--offsets',
        nargs='+',
        metavar='CAMERA=S',
        help='seconds by which a camera shows everything later than the first',
    )
    parser.add_argument('--estimate-offsets', action='store_true', help='find the offsets by the motion of the hands')
    parser.add_argument('--no-second-look', action='store_true', help='do not look again for hands that were missed')
    parser.add_argument('--model', metavar='NAME', help='MVExoNet: weights, a file or a name of the model zoo')
    parser.add_argument('--rounds', type=int, metavar='N', help='of the model (default: as its weights say, 3)')
    parser.add_argument('--fit', action='store_true', help='fit a hand model to all views and frames at once')
    parser.add_argument(
        '--refine', metavar='NAME', help=f'refine over time: {", ".join(METHODS)}, or weights of a refiner'
    )
    parser.add_argument('--hand-model', type=Path, metavar='FOLDER', help='MANO files, for --fit and --refine')
    parser.add_argument(
        '--outputs',
        nargs='*',
        metavar='NAME',
        default=ALL_OUTPUTS,
        help=f'some of {" ".join(ALL_OUTPUTS)} (default all)',
    )
    parser.add_argument('--subject', default='subject', help='whose hands they are, for the motion file')
    parser.add_argument('--licence', default='', help='text about what may be done with the result')


def run(arguments: argparse.Namespace) -> None:
    """Annotates one or many recordings.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: arguments that do not go together.
        UserError: some of many recordings failed; the results of the others are written.
    """
    if arguments.rounds is not None and arguments.model is None:
        raise UsageError('--rounds goes with --model')
    console = Console(highlight=False)
    recordings = recordings_in(arguments.recording)
    if recordings == [arguments.recording]:
        _print_report(console, _annotate(console, _job(arguments, arguments.recording, arguments.out)))
    else:
        _run_many(console, arguments, recordings)


def _run_many(console: Console, arguments: argparse.Namespace, recordings: list[Path]) -> None:
    if arguments.out.suffix or arguments.out.is_file():
        raise UsageError(f'{arguments.recording} holds {len(recordings)} recordings: -o must be a folder')
    number, count = process_number(os.environ)
    jobs = [_job(arguments, path, arguments.out / f'{path.name}.npz') for path in share_of(recordings, number, count)]
    waiting = [job for job in jobs if not job.out.exists()]
    if len(waiting) < len(jobs):
        console.print(
            f'{len(jobs) - len(waiting)} recordings have their result already; delete it to annotate them again'
        )
    failed = 0
    for done, job in enumerate(waiting, 1):
        counted = f'{done} of {len(waiting)}: {job.recording}'
        try:
            report = _annotate(console, job)
        except (ValueError, OSError) as error:
            failed += 1
            print(f'{counted} failed: {error}', file=sys.stderr)
            continue
        console.print(counted, markup=False)
        _print_report(console, report)
    if failed:
        raise UserError(f'{failed} of {len(waiting)} recordings failed; the results of the others are written')


def _job(arguments: argparse.Namespace, recording: Path, out: Path) -> AnnotateJob:
    return AnnotateJob(
        recording=recording,
        calibration=arguments.calibration,
        out=out,
        unit=_unit(arguments.unit),
        fps=arguments.fps,
        networks=arguments.networks,
        offsets=_offsets(arguments.offsets),
        estimate_offsets=arguments.estimate_offsets,
        second_look=not arguments.no_second_look,
        model=arguments.model,
        rounds=arguments.rounds,
        fit=arguments.fit,
        refine=arguments.refine,
        hand_model=arguments.hand_model,
        outputs=arguments.outputs,
        subject=arguments.subject,
        licence=arguments.licence,
    )


def _unit(text: str | None) -> str | float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _offsets(words: list[str] | None) -> dict[str, float] | None:
    if words is None:
        return None
    offsets = {}
    for word in words:
        name, equals, seconds = word.rpartition('=')
        try:
            offsets[name] = float(seconds)
        except ValueError:
            equals = ''
        if not equals or not name:
            raise UsageError(f'--offsets must be like right=0.35, got {word!r}')
    return offsets


def _annotate(console: Console, job: AnnotateJob) -> AnnotationReport:
    columns = TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task, current = bar.add_task('starting', total=None), 'starting'

        def show(step: str, done: float, total: float | None) -> None:
            nonlocal task, current
            if step != current:  # a task of its own, so that the remaining time is that of this step
                bar.remove_task(task)
                task, current = bar.add_task(step, total=None), step
            bar.update(task, completed=done, total=None if total is None else max(total, done))

        return annotate_recording(job, show)


def _print_report(console: Console, report: AnnotationReport) -> None:
    """Prints how well the cameras agree, what was found, and where it was written."""
    recording = report.recording
    errors = recording.reprojection_errors()
    table = Table(title=f'{len(recording)} frames', box=box.SIMPLE, title_justify='left')
    for name in ('camera', 'images', 'with a hand', 'error, px (median)', 'per second'):
        table.add_column(name, justify='left' if name == 'camera' else 'right')
    for k, camera in enumerate(recording.calibration.names):
        found = report.cameras[k]
        rate = f'{found.processed / found.seconds:.1f}' if found.processed else 'kept'
        seen = int(recording.joints_2d_valid[:, k].any(-1).sum())
        table.add_row(camera, str(len(found.records)), str(seen), _median(errors[:, k]), rate)
    console.print(table)
    spreads = recording.bone_length_spread()
    for h, side in enumerate(recording.hand_side.tolist()):
        whole = int(recording.joints_valid[:, h].all(-1).sum())
        console.print(
            f'{SIDE_LABELS[side]} hand: all joints in {whole} of {len(recording)} frames; reprojection error '
            f'{_median(errors[:, :, h])} px (median); bone lengths vary by {_median(100 * spreads[h])} % (median)'
        )
    console.print(f'joints: {recording.method}', markup=False)
    for note in (*recording.notes, *report.notes):
        console.print(f'note: {note}', markup=False, soft_wrap=True)
    console.print(f'written: {", ".join(map(str, report.files))}', markup=False, soft_wrap=True)


def _median(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return f'{np.median(known):.2f}' if len(known) else '-'
