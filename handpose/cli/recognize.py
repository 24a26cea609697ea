"""Finds the hands and the action of a video, or the action of a predictions file.

    handpose recognize pour.mp4 -o pour.npz --checkpoint htt_synthetic
    handpose recognize hands.npz --checkpoint ghtt_synthetic

For a video, writes a predictions file with the hands of every frame (docs/data/predictions_file.md) and, beside it,
pour_actions.json: the action, the objects, and how the action looked while the video went on
(docs/guides/your_own_actions.md). For a predictions file, writes hands_actions.json alone.
"""

import argparse
import itertools
import time
from dataclasses import replace
from pathlib import Path

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
from handpose.inference.action_file import CAVEATS, MIN_SCORE, MOTION_CAVEATS, display_threshold
from handpose.inference.motion_clips import MAX_OBSERVED
from handpose.inference.motion_recognizer import load_motion_recognizer
from handpose.inference.recognizer import FIELD_OF_VIEW, HANDS, ActionRecognizer, EncodedVideo
from handpose.models.estimators.running_action import RunningAction
from handpose.structures import HandSequence, Predictions, load_predictions, save_predictions
from handpose.video import VideoFrames, VideoWriter
from handpose.visualization.action_banner import ActionBanner
from handpose.visualization.hand_overlay import draw_hands, visible_pixels

SHOWN = 5  # actions in the table
WIDTH = 960  # pixels of the drawn video
EVERY = 16  # frames of hand motion from one prediction of the running action to the next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('recording', help='the video file, or a predictions file, .npz')
    parser.add_argument(
        '-o',
        '--out',
        metavar='OUT',
        help='of a video the predictions file, .npz; of a predictions file the actions file, .json (default beside it)',
    )
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
        help='the hands that the video shows, which the model does not tell, or those that count (default both)',
    )
    parser.add_argument(
        '--min-score',
        type=float,
        default=MIN_SCORE,
        metavar='SCORE',
        help=f'name no action with a lower score, from 0 to 1 (default {MIN_SCORE:g})',
    )
    parser.add_argument(
        '--object', metavar='NAME', help='of a predictions file: what the hands hold (default: unknown)'
    )
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')
    shared.add_runtime(parser)
    parser.add_argument('--draw', metavar='VIDEO.mp4', help='draw the hands and the running action (or .webm)')


def _check_usage(arguments: argparse.Namespace) -> None:
    if _is_motion(arguments):
        for_videos = ('intrinsics', 'field_of_view', 'draw')
        if any(vars(arguments)[name] is not None for name in for_videos):
            raise UsageError(
                '--intrinsics, --field-of-view and --draw go with a video, and not with a predictions file'
            )
        if arguments.out and Path(arguments.out).suffix != '.json':
            raise UsageError(f'{arguments.out}: the actions file of a predictions file must end in .json')
    elif not arguments.out:
        raise UsageError('give -o OUT.npz, the predictions file that is written for a video')
    elif Path(arguments.out).suffix != '.npz':
        raise UsageError(f'{arguments.out}: a predictions file must end in .npz')
    elif arguments.object is not None:
        raise UsageError('--object goes with a predictions file; in a video the model finds the object itself')
    if arguments.intrinsics and arguments.field_of_view is not None:
        raise UsageError('give --intrinsics or --field-of-view, not both')
    if not 0 <= arguments.min_score <= 1:
        raise UsageError(f'--min-score must be from 0 to 1, got {arguments.min_score:g}')
    if not arguments.checkpoint and not arguments.config:
        raise UsageError('give --checkpoint (published weights, or a name in the zoo), or --config of a trained model')


def _is_motion(arguments: argparse.Namespace) -> bool:
    """Whether the recording is a predictions file, and not a video."""
    return Path(arguments.recording).suffix == '.npz'


def run(arguments: argparse.Namespace) -> None:
    """Recognizes the hands and the action of a video, or the action of a predictions file.

    Args:
        arguments: those of `add_arguments`.
    """
    _check_usage(arguments)
    console = Console(highlight=False)
    if _is_motion(arguments):
        _recognize_motion(console, arguments)
    else:
        _recognize_video(console, arguments)


def _checkpoint(arguments: argparse.Namespace) -> str:
    """The weights that were asked for, or the newest of the config."""
    if arguments.checkpoint:
        return arguments.checkpoint
    return require_checkpoint(load_config(arguments.config, arguments.cfg_options), arguments.config)


def _recognize_motion(console: Console, arguments: argparse.Namespace) -> None:
    predictions = load_predictions(arguments.recording)
    recognizer = load_motion_recognizer(
        _checkpoint(arguments), arguments.config, arguments.cfg_options, arguments.device
    )
    shared.use_chosen_runtime(console, recognizer.estimator, arguments)
    start, recording = time.perf_counter(), Path(arguments.recording)
    sequence = recognizer.predict(predictions, arguments.hands, arguments.object, recording.stem)
    running = recognizer.running_action(predictions, arguments.hands, arguments.object, EVERY)
    seconds = time.perf_counter() - start
    for note in sequence.meta['notes']:
        console.print(f'note: {note}', markup=False)
    title = f'{recognizer.name}, {len(predictions)} frames, in {seconds:.1f} s'
    _report_action(console, sequence, title, arguments.min_score)
    if len(running.frames) * EVERY > MAX_OBSERVED:
        _report_running(console, sequence, running, arguments.min_score)
    for caveat in MOTION_CAVEATS:
        console.print(f'caution: {caveat}', markup=False)
    out = arguments.out or recording.with_name(f'{recording.stem}_actions.json')
    save_actions(out, action_record(sequence, running, recognizer.name, arguments.min_score, MOTION_CAVEATS))
    console.print(f'actions: {out}', markup=False)


def _report_running(console: Console, sequence: HandSequence, running: RunningAction, min_score: float) -> None:
    """Prints which action the recording shows when."""
    times, actions = sequence.require('timestamps').tolist(), sequence.meta['actions']
    moments = zip(running.frames.tolist(), running.scores, strict=True)
    named = ((t, actions[int(row.argmax())] if row.max() >= min_score else 'uncertain') for t, row in moments)
    for name, group in itertools.groupby(named, lambda moment: moment[1]):
        frames = [t for t, _ in group]
        console.print(f'{times[frames[0]]:8.2f} to {times[frames[-1]]:.2f} s: {name}', markup=False)


def _recognize_video(console: Console, arguments: argparse.Namespace) -> None:
    out = Path(arguments.out)
    # What cannot be drawn is said before anything is read; the rate is that of the video, known later.
    writer = VideoWriter(arguments.draw, 30) if arguments.draw else None
    recognizer = load_action_recognizer(
        _checkpoint(arguments), arguments.config, arguments.cfg_options, arguments.device
    )
    shared.use_chosen_runtime(console, recognizer.estimator, arguments)
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
            f'no frame of {arguments.recording} has a plausible hand, so {out} was not written; actions: {actions}'
        )
    source = f'{encoded.name}, by {recognizer.name}, hands: {arguments.hands}; {CAVEATS[1]}'
    hands = Predictions.from_sequence(sequence, 'joints_3d', source=source)
    camera_known = arguments.intrinsics or arguments.field_of_view is not None
    scale = 'metric' if camera_known else 'relative'
    save_predictions(out, replace(hands, image_size=np.array(encoded.size), scale=scale))
    console.print(f'hands: {out}; actions: {actions}', markup=False)
    if writer:
        writer.fps = encoded.fps or writer.fps
        _draw(console, arguments.recording, sequence, running, writer, display_threshold(sequence, arguments.min_score))


def _read(console: Console, recognizer: ActionRecognizer, arguments: argparse.Namespace) -> EncodedVideo:
    """Encodes the video, with a progress bar."""
    columns = TextColumn('reading'), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task('reading', total=None)

        def show(done: float, duration: float | None) -> None:
            progress.update(task, completed=done, total=None if duration is None else max(duration, done))

        return recognizer.encode(arguments.recording, arguments.intrinsics, arguments.field_of_view, show)


def _report(console: Console, sequence: HandSequence, title: str, min_score: float) -> None:
    """Prints the highest scores, the hands that were found, and how reliable both are."""
    _report_action(console, sequence, title, min_score)
    for h, side in enumerate(sequence.require('hand_side').tolist()):
        valid = sequence.require('hand_valid')[:, h]
        name = SIDE_LABELS[side]
        console.print(f'{name} hand: plausible in {int(valid.sum())} of {len(valid)} frames', markup=False)
    for caveat in CAVEATS:
        console.print(f'caution: {caveat}', markup=False)


def _report_action(console: Console, sequence: HandSequence, title: str, min_score: float) -> None:
    """Prints the highest scores, and the action if it is certain enough."""
    console.print(title, markup=False)
    table = Table(box=box.SIMPLE)
    table.add_column('action')
    table.add_column('score', justify='right')
    scores, actions = sequence.require('action_scores'), sequence.meta['actions']
    for action in scores.argsort(descending=True)[:SHOWN].tolist():
        table.add_row(actions[action], f'{scores[action]:.3f}')
    console.print(table)
    reasons = uncertainty_reasons(sequence, min_score)
    named = f'uncertain: {"; ".join(reasons)}' if reasons else actions[int(scores.argmax())]
    console.print(f'action: {named}', markup=False)


def _draw(
    console: Console,
    video: str,
    sequence: HandSequence,
    running: RunningAction,
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
