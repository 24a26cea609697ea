"""Draws what a forecaster predicts on the test split of a config.

    handpose forecast-figures ghtt/synthetic_action -o figures
    handpose forecast-figures ghtt/synthetic_action seed_0.pth --also seed_1.pth seed_2.pth -o figures

Writes fans of sampled futures (fan_1.png, fan_1.webm, ...), motions between two mid-level features (interpolation.png,
.webm), futures of one clip for two actions (transition.png), and the accuracy of the recognized action against the part
that is observed (accuracy.png, accuracy.json); docs/reference/forecast_metrics.md explains them. What a model cannot do
is left out, and the command says so.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from handpose.cli import arguments as shared
from handpose.cli import make_data
from handpose.cli.checkpoints import require_checkpoint
from handpose.cli.errors import UsageError
from handpose.engine import load_config
from handpose.experiments import forecast_figures as figures
from handpose.files.atomic import atomic_write
from handpose.inference.forecaster import FRAME_RATE, load_forecaster
from handpose.models.estimators.forecaster import Forecaster
from handpose.models.estimators.ghtt import GHTT
from handpose.models.estimators.pose_forecaster import PoseForecaster
from handpose.structures import HandSequence
from handpose.video import VideoWriter
from handpose.visualization import accuracy_by_fraction
from handpose.visualization.future_figures import HORIZONS, future_rows, future_strip, motion_row
from handpose.visualization.future_video import write_future_video, write_motion_video
from handpose.visualization.images import save_image

CLIPS, SAMPLES, SECONDS = 3, 20, 2.0
CANDIDATES = 32  # clips that those of the interpolation and of the transition are chosen from
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FRACTIONS = (0.25, 0.5, 0.75, 1.0)
VIDEO = '.webm'  # both libraries that encode videos can write it, and browsers play it


class LoadedForecaster(NamedTuple):
    """A forecaster with the name of its weights."""

    name: str
    forecaster: Forecaster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    shared.add_config(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='weights: a file or a name in the zoo (default: the newest checkpoint of the work directory)',
    )
    parser.add_argument('-o', '--out', required=True, metavar='FOLDER', help='where the figures go')
    parser.add_argument('--clips', type=int, default=CLIPS, metavar='N', help=f'test clips with fans (default {CLIPS})')
    parser.add_argument('--samples', type=int, default=SAMPLES, metavar='S', help=f'futures (default {SAMPLES})')
    parser.add_argument('--seconds', type=float, default=SECONDS, help=f'how far to forecast (default {SECONDS:g})')
    parser.add_argument(
        '--transition',
        nargs=2,
        metavar=('FROM', 'TO'),
        help='names of two actions (default: of the clip that is latest in its action, and one with the same object)',
    )
    parser.add_argument(
        '--also',
        nargs='+',
        default=[],
        metavar='CHECKPOINT',
        help='weights of the same config from other seeds, for the spread of the accuracy',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the samples (default 0)')
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')
    shared.add_cfg_options(parser)


def _check_usage(arguments: argparse.Namespace) -> None:
    for name in ('clips', 'samples'):
        if vars(arguments)[name] < 1:
            raise UsageError(f'--{name} must be at least 1, got {vars(arguments)[name]}')
    if not arguments.seconds > 0:
        raise UsageError(f'--seconds must be above 0, got {arguments.seconds:g}')
    if arguments.seed < 0:
        raise UsageError(f'--seed must be at least 0, got {arguments.seed}')
    if arguments.transition and arguments.transition[0] == arguments.transition[1]:
        raise UsageError(f'--transition needs two actions, got {arguments.transition[0]!r} twice')


def run(arguments: argparse.Namespace) -> None:
    """Draws all figures of a config.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        ValueError: the config, its data or its weights cannot be used.
    """
    _check_usage(arguments)
    console, folder = Console(highlight=False), Path(arguments.out)
    VideoWriter(folder / f'fan_1{VIDEO}', FRAME_RATE)  # says at once if there is no codec for it
    config = load_config(arguments.config, arguments.cfg_options)
    settings = dict(config.get('test_dataset') or {})
    figures.check_settings(settings, arguments.config)
    models = _load_models(config, arguments)
    make_data.make_missing(config, arguments.config)
    folder.mkdir(parents=True, exist_ok=True)
    forecaster = models[0].forecaster
    num_frames = max(1, round(arguments.seconds * (forecaster.reads.frame_rate or FRAME_RATE)))
    with console.status('reading test clips'):
        dataset = figures.forecast_dataset(settings, num_frames)
        clips = figures.spread_clips(dataset, arguments.clips)
        candidates = figures.spread_clips(dataset, CANDIDATES)
    for number, clip in enumerate(clips, 1):
        with console.status(f'fan {number} of {len(clips)}'):
            _draw_fan(folder / f'fan_{number}', forecaster, clip, num_frames, arguments)
        _report(console, folder, f'fan_{number}.png', f'fan_{number}{VIDEO}')
    if isinstance(forecaster, PoseForecaster):
        with console.status('interpolation'):
            _draw_interpolation(folder, forecaster, candidates)
        _report(console, folder, 'interpolation.png', f'interpolation{VIDEO}')
    else:
        _leave_out(console, 'interpolation', forecaster, 'has no mid-level features')
    if arguments.transition:  # an action that is asked for may be rare
        candidates = figures.spread_clips(dataset, len(dataset))
    _transition(console, folder, forecaster, candidates, num_frames, arguments)
    if 'actions' in forecaster.gives.classes:
        _draw_accuracy(console, folder, models, settings)
        _report(console, folder, 'accuracy.png', 'accuracy.json')
    else:
        _leave_out(console, 'accuracy', forecaster, 'recognizes no actions')


def _load_models(config: Config, arguments: argparse.Namespace) -> list[LoadedForecaster]:
    """The forecaster to draw, and those of other seeds."""
    first = require_checkpoint(config, arguments.config, arguments.checkpoint)
    paths = [first, *(require_checkpoint(config, arguments.config, other) for other in arguments.also)]
    options = arguments.cfg_options
    return [
        LoadedForecaster(path, load_forecaster(path, arguments.config, options, arguments.device)) for path in paths
    ]


def _draw_fan(
    path: Path, forecaster: Forecaster, clip: HandSequence, num_frames: int, arguments: argparse.Namespace
) -> None:
    """Writes the film strip and the video of the futures of a clip."""
    future = figures.sample_futures(forecaster, clip, num_frames, arguments.samples, arguments.seed)
    title = _title(forecaster, clip)
    strip = future_strip(clip, future, clip.future, _horizons(num_frames / _rate(forecaster)), title=title)
    save_image(path.with_suffix('.png'), strip)
    name = _action_name(forecaster, clip)
    write_future_video(path.with_suffix(VIDEO), clip, future, clip.future, title=name)


def _draw_interpolation(folder: Path, forecaster: PoseForecaster, clips: Sequence[HandSequence]) -> None:
    motions, pair = figures.blended_motions(forecaster, clips, SHARES)
    names = [_action_name(forecaster, clip) for clip in pair]
    distances = 1000 * figures.end_distances(motions)
    row = [
        f'{100 * share:.0f} %: {distance:.0f} mm' for share, distance in zip(SHARES, distances.tolist(), strict=True)
    ]
    row[0], row[-1] = f'first clip ({names[0]})', f'second ({names[1]}): {distances[-1]:.0f} mm'
    title = 'motions between the mid-level features of two clips; mm: distance from the first motion at the end'
    save_image(folder / 'interpolation.png', motion_row(motions, row, title=title))
    captions = [f'{100 * share:.0f} %' for share in SHARES]
    captions[0], captions[-1] = names
    fps = _rate(forecaster) / 2
    write_motion_video(folder / f'interpolation{VIDEO}', motions, captions, 'between two mid-level features', fps=fps)


def _transition(
    console: Console,
    folder: Path,
    forecaster: Forecaster,
    clips: Sequence[HandSequence],
    num_frames: int,
    arguments: argparse.Namespace,
) -> None:
    """Draws the transition, or says why there is none."""
    if not isinstance(forecaster, GHTT):
        _leave_out(console, 'transition', forecaster, 'takes no action')
    elif forecaster.path == 'P.a':
        _leave_out(console, 'transition', forecaster, "follows no action along the path 'P.a'")
    elif num_frames <= forecaster.pose_block.num_frames:
        reason = (
            f'predicts the first {forecaster.pose_block.num_frames} frames from the motion alone: give more --seconds'
        )
        _leave_out(console, 'transition', forecaster, reason)
    else:
        with console.status('transition'):
            _draw_transition(folder, forecaster, clips, num_frames, arguments)
        _report(console, folder, 'transition.png')


def _draw_transition(
    folder: Path, forecaster: GHTT, clips: Sequence[HandSequence], num_frames: int, arguments: argparse.Namespace
) -> None:
    names = None if arguments.transition is None else (arguments.transition[0], arguments.transition[1])
    found = figures.action_transition(forecaster, clips, num_frames, arguments.samples, arguments.seed, names)
    words = 'its own action, {}: {}', 'the other action, {}: {}'
    counts = (f'recognized in {count} of {arguments.samples} samples' for count in found.recognized)
    rows = {
        word.format(name, count): future
        for word, name, count, future in zip(words, found.actions, counts, found.futures, strict=True)
    }
    horizons = _horizons(num_frames / _rate(forecaster))[-3:]
    title = f'futures of one clip for two actions: {_title(forecaster, found.clip)}'
    save_image(folder / 'transition.png', future_rows(found.clip, rows, found.clip.future, horizons, 2, title))


def _draw_accuracy(
    console: Console, folder: Path, models: Sequence[LoadedForecaster], settings: figures.Settings
) -> None:
    """Measures the accuracy of all models at each fraction; writes the numbers, then the figure."""
    accuracies: dict[float, list[float]] = {}
    forecasters, tracks = [model.forecaster for model in models], 0
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        for fraction in FRACTIONS:
            bar.reset(task, total=None, description=f'accuracy at {100 * fraction:.0f} %')
            accuracies[fraction], tracks = figures.accuracies_at_fraction(forecasters, settings, fraction, report=show)
    record = {
        'split': settings.get('split'),
        'tracks': tracks,
        'checkpoints': [model.name for model in models],
        'accuracy': {f'{fraction:g}': values for fraction, values in accuracies.items()},
    }
    atomic_write(folder / 'accuracy.json', json.dumps(record, indent=1) + '\n')
    for fraction, values in accuracies.items():
        listed = ', '.join(f'{100 * value:.1f}' for value in values)
        console.print(f'accuracy at {100 * fraction:.0f} % observed: {listed} % of {tracks} test actions')
    name = type(models[0].forecaster).__name__
    save_image(folder / 'accuracy.png', accuracy_by_fraction({name: accuracies}))


def _horizons(seconds: float) -> list[float]:
    """Seconds after the last observed frame that a strip shows: the usual ones, and the last."""
    return [horizon for horizon in HORIZONS if horizon < seconds - 1e-6] + [round(seconds, 3)]


def _rate(forecaster: Forecaster) -> float:
    return forecaster.reads.frame_rate or FRAME_RATE


def _action_name(forecaster: Forecaster, clip: HandSequence) -> str:
    label = figures.action_label(clip)
    return forecaster.action_names[label] if 0 <= label < len(forecaster.action_names) else 'no action'


def _title(forecaster: Forecaster, clip: HandSequence) -> str:
    """The action and the sequence of a clip."""
    return f'{_action_name(forecaster, clip)}, {clip.meta["sequence"]}'


def _report(console: Console, folder: Path, *names: str) -> None:
    console.print(f'drawn: {", ".join(str(folder / name) for name in names)}', markup=False)


def _leave_out(console: Console, figure: str, forecaster: Forecaster, reason: str) -> None:
    console.print(f'left out: {figure}, since {type(forecaster).__name__} {reason}', markup=False)
