"""Finds the hands and the action of a video.

    handpose recognize pour.mp4 -o pour.npz --checkpoint htt_synthetic

Writes a predictions file with the hands of every frame (docs/predictions_file.md) and, beside it, pour_actions.json:
the action, the objects, and how the action looked while the video went on (docs/your_own_actions.md).
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.checkpoints import require_checkpoint
from handpose.cli.errors import UsageError, UserError
from handpose.engine import load_config
from handpose.hands import SIDE_LABELS
from handpose.inference import action_record, load_action_recognizer, save_actions, uncertainty_reasons
from handpose.inference.action_file import CAVEATS, MIN_SCORE, display_threshold
from handpose.inference.recognizer import FIELD_OF_VIEW, HANDS, ActionRecognizer, EncodedVideo
from handpose.structures import HandSequence, Predictions, save_predictions
from handpose.video import VideoFrames, VideoWriter
from handpose.visualization.action_banner import ActionBanner
from handpose.visualization.hand_overlay import draw_hands, visible_pixels

SHOWN = 5  # actions in the table
WIDTH = 960  # pixels of the drawn video


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('video', help='the video file')
    parser.add_argument('-o', '--out', required=True, metavar='OUT', help='the predictions file, .npz')
    parser.add_argument(
        '--checkpoint', metavar='WEIGHTS', help='a file, or a name in the zoo (default: the newest of the config)'
    )
    parser.add_argument('--config', help='the config of a checkpoint that training wrote (.pth)')
    shared.add_cfg_options(parser)
    parser.add_argument('--intrinsics', metavar='FILE', help='the camera: a text file, fx fy cx cy width height')
    parser.add_argument(
        '--field-of-view',
        type=float,
        metavar='DEGREES',
        help=f'of the camera, from the left edge to the right one (default {FIELD_OF_VIEW:g}, and it says so)',
    )
    parser.add_argument(
        '--hands',
        choices=HANDS,
        default='both',
        help='which hands the video shows; the model does not tell (default both)',
    )
    parser.add_argument(
        '--min-score',
        type=float,
        default=MIN_SCORE,
        metavar='SCORE',
        help=f'name no action with a lower score, from 0 to 1 (default {MIN_SCORE:g})',
    )
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')
    parser.add_argument('--draw', metavar='VIDEO.mp4', help='draw the hands and the running action (or .webm)')


def _check_usage(arguments: argparse.Namespace) -> None:
    if Path(arguments.out).suffix != '.npz':
        raise UsageError(f'{arguments.out}: a predictions file must end in .npz')
    if arguments.intrinsics and arguments.field_of_view is not None:
        raise UsageError('give --intrinsics or --field-of-view, not both')
    if not 0 <= arguments.min_score <= 1:
        raise UsageError(f'--min-score must be from 0 to 1, got {arguments.min_score:g}')
    if not arguments.checkpoint and not arguments.config:
        raise UsageError('give --checkpoint (published weights, or a name in the zoo), or --config of a trained model')


def run(arguments: argparse.Namespace) -> None:
    """Recognizes the hands and the action of a video.

    Args:
        arguments: those of `add_arguments`.
    """
    _check_usage(arguments)
    console = Console(highlight=False)
    out = Path(arguments.out)
    # What cannot be drawn is said before anything is read; the rate is that of the video, known later.
    writer = VideoWriter(arguments.draw, 30) if arguments.draw else None
    checkpoint = arguments.checkpoint
    if not checkpoint:
        checkpoint = require_checkpoint(load_config(arguments.config, arguments.cfg_options), arguments.config)
    recognizer = load_action_recognizer(checkpoint, arguments.config, arguments.cfg_options, arguments.device)
    start = time.perf_counter()
    encoded = _read(console, recognizer, arguments)
    sequence, running = recognizer.predict(encoded, hands=arguments.hands), recognizer.running_action(encoded)
    seconds = time.perf_counter() - start
    for note in encoded.notes:
        console.print(f'note: {note}', markup=False)
    read_by = f'{len(encoded)} frames read with {encoded.reader}'
    _report(console, sequence, f'{recognizer.name}, {read_by}, in {seconds:.1f} s', arguments.min_score)
    actions = out.with_name(f'{out.stem}_actions.json')
    save_actions(actions, action_record(sequence, running, recognizer.name, arguments.min_score))
    if not sequence.require('hand_valid').any():
        raise UserError(
            f'no frame of {arguments.video} has a plausible hand, so {out} was not written; actions: {actions}'
        )
    source = f'{encoded.name}, by {recognizer.name}, hands: {arguments.hands}; {CAVEATS[1]}'
    hands = Predictions.from_sequence(sequence, 'joints_3d', source=source)
    camera_known = arguments.intrinsics or arguments.field_of_view is not None
    scale = 'metric' if camera_known else 'relative'
    save_predictions(out, replace(hands, image_size=np.array(encoded.size), scale=scale))
    console.print(f'hands: {out}; actions: {actions}', markup=False)
    if writer:
        writer.fps = encoded.fps or writer.fps
        _draw(console, arguments.video, sequence, running, writer, display_threshold(sequence, arguments.min_score))


def _read(console: Console, recognizer: ActionRecognizer, arguments: argparse.Namespace) -> EncodedVideo:
    """Encodes the video, with a progress bar."""
    columns = TextColumn('reading'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('reading', total=None)

        def show(done: float, duration: float | None) -> None:
            progress.update(task, completed=done, total=None if duration is None else max(duration, done))

        return recognizer.encode(arguments.video, arguments.intrinsics, arguments.field_of_view, show)


def _report(console: Console, sequence: HandSequence, title: str, min_score: float) -> None:
    """Prints the highest scores, the hands that were found, and how reliable both are."""
    table = Table(title=title, box=box.SIMPLE, title_justify='left')
    table.add_column('action')
    table.add_column('score', justify='right')
    scores, actions = sequence.require('action_scores'), sequence.meta['actions']
    for action in scores.argsort(descending=True)[:SHOWN].tolist():
        table.add_row(actions[action], f'{scores[action]:.3f}')
    console.print(table)
    reasons = uncertainty_reasons(sequence, min_score)
    named = f'uncertain: {"; ".join(reasons)}' if reasons else actions[int(scores.argmax())]
    console.print(f'action: {named}', markup=False)
    for h, side in enumerate(sequence.require('hand_side').tolist()):
        valid = sequence.require('hand_valid')[:, h]
        name = SIDE_LABELS[side]
        console.print(f'{name} hand: plausible in {int(valid.sum())} of {len(valid)} frames', markup=False)
    for caveat in CAVEATS:
        console.print(f'caution: {caveat}', markup=False)


def _draw(
    console: Console,
    video: str,
    sequence: HandSequence,
    running: Any,
    writer: VideoWriter,
    min_score: float,
) -> None:
    """Draws the hands into the video, and the action so far below it."""
    times, joints, valid, intrinsics, scores = (
        sequence.require(name) for name in ('timestamps', 'joints_3d', 'joints_valid', 'intrinsics', 'action_scores')
    )
    images = VideoFrames(video, times.numpy())
    banner = ActionBanner(sequence.meta['actions'], running, scores, -1, len(times), WIDTH, min_score)
    with writer:
        for t in track(range(len(times)), 'drawing', console=console, transient=True):
            hands = valid[t].all(-1)
            points = visible_pixels(joints[t][hands], intrinsics[t, 0])
            image = draw_hands(images.read(t), points, sequence.require('hand_side')[hands], width=WIDTH)
            writer.write(np.vstack([image, banner.draw(t)]), float(times[t]))
    console.print(f'drawn: {writer.path}')
