"""Forecasts how the hands of a predictions file move on.

    handpose infer pour.mp4 -o hands.npz
    handpose forecast hands.npz -o future.npz --samples 20 --seconds 2 --draw

Writes a forecast file with the observed frames and the sampled futures (docs/guides/forecast.md). `handpose view` and
`handpose export` take one of them: handpose view future.npz --sample 3
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.checkpoints import require_checkpoint
from handpose.cli.errors import UsageError
from handpose.engine import load_config
from handpose.inference.forecaster import forecast_motion, forecast_notes, load_forecaster
from handpose.inference.motion_clips import HANDS
from handpose.structures import Forecast, load_predictions, save_forecast
from handpose.video import VideoWriter
from handpose.video.writer import SUFFIXES
from handpose.visualization.future_figures import future_strip
from handpose.visualization.future_video import write_future_video
from handpose.visualization.images import save_image

DEFAULT_MODEL = 'ghtt_synthetic'  # in the zoo
SAMPLES, SECONDS = 20, 2.0
HORIZONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds, as far as the forecast goes
SHOWN = 3  # actions
IMAGE = '.png'
OBSERVED_SHOWN = 31  # frames that are drawn before the samples
CAUTION = (
    'samples show what the model holds possible; they are no measurement of the future, and how far they lie apart is '
    'not the error to expect (docs/guides/forecast.md has measured errors)'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('predictions', help='the predictions file, .npz')
    parser.add_argument('-o', '--out', required=True, metavar='FUTURE', help='the forecast file, .npz')
    parser.add_argument('--samples', type=int, metavar='S', help=f'futures to sample (default {SAMPLES})')
    parser.add_argument('--mean', action='store_true', help='the one mean future, without random samples')
    parser.add_argument('--seconds', type=float, default=SECONDS, help=f'how far to forecast (default {SECONDS:g})')
    parser.add_argument('--action', metavar='NAME', help='the action that the futures show (default: as recognized)')
    parser.add_argument('--object', metavar='NAME', help='the object that the hands hold (default: unknown)')
    parser.add_argument('--hands', choices=HANDS, default='both', help='the hands to forecast (default both)')
    parser.add_argument('--seed', type=int, default=0, help='of the samples (default 0)')
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help=f"weights of a forecaster: a file, or a name in the zoo (default {DEFAULT_MODEL}, or --config's newest)",
    )
    parser.add_argument('--config', help='the config of a checkpoint that training wrote (.pth)')
    shared.add_cfg_options(parser)
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')
    shared.add_runtime(parser)
    parser.add_argument(
        '--draw',
        nargs='?',
        const='',
        metavar='FILE',
        help='draw the samples: .png, or .mp4, .webm or .avi (without a name: a .png beside the forecast file)',
    )


def _check_usage(arguments: argparse.Namespace) -> None:
    if Path(arguments.out).suffix != '.npz':
        raise UsageError(f'{arguments.out}: a forecast file must end in .npz')
    if arguments.cfg_options and not arguments.config:
        raise UsageError('--cfg-options goes with --config')
    if arguments.mean and arguments.samples is not None:
        raise UsageError('give --samples or --mean, not both')
    if arguments.draw is not None and _drawn_file(arguments).suffix not in (IMAGE, *SUFFIXES):
        raise UsageError(f'--draw {arguments.draw}: the name must end in {", ".join((IMAGE, *SUFFIXES))}')
    if arguments.seed < 0:
        raise UsageError(f'--seed must be at least 0, got {arguments.seed}')


def run(arguments: argparse.Namespace) -> None:
    """Forecasts the motion of the hands of a predictions file.

    Args:
        arguments: those of `add_arguments`.
    """
    _check_usage(arguments)
    console = Console(highlight=False)
    if arguments.draw and _drawn_file(arguments).suffix != IMAGE:
        VideoWriter(arguments.draw, 30)  # says at once if there is no codec for it
    predictions = load_predictions(arguments.predictions)
    checkpoint = arguments.checkpoint or DEFAULT_MODEL
    if arguments.config and not arguments.checkpoint:
        checkpoint = require_checkpoint(load_config(arguments.config, arguments.cfg_options), arguments.config)
    forecaster = load_forecaster(checkpoint, arguments.config, arguments.cfg_options, arguments.device)
    shared.use_chosen_runtime(console, forecaster, arguments)
    name = f'{type(forecaster).__name__} ({Path(checkpoint).name})'
    start = time.perf_counter()
    with console.status(f'forecasting with {name}'):
        forecast = forecast_motion(
            predictions,
            forecaster,
            seconds=arguments.seconds,
            num_samples=None if arguments.mean else SAMPLES if arguments.samples is None else arguments.samples,
            seed=arguments.seed,
            action=arguments.action,
            object=arguments.object,
            hands=arguments.hands,
            model=name,
        )
    seconds = time.perf_counter() - start
    save_forecast(arguments.out, forecast)
    for note in forecast_notes(predictions, forecaster, arguments.object):
        console.print(f'note: {note}', markup=False)
    _report(console, forecast, seconds)
    console.print(f'forecast: {arguments.out}', markup=False)
    if arguments.draw is not None:
        drawn = _drawn_file(arguments)
        _draw(drawn, forecast, name)
        console.print(f'drawn: {drawn}', markup=False)


def _drawn_file(arguments: argparse.Namespace) -> Path:
    """Where `--draw` writes to."""
    return Path(arguments.draw) if arguments.draw else Path(arguments.out).with_suffix('.png')


def _draw(path: Path, forecast: Forecast, name: str) -> None:
    """Writes an image or a video of the end of the observation and of all samples."""
    clip, count = forecast.to_sequence(), len(forecast.observed)
    future, observed = clip.future, clip.select_frames(range(max(0, count - OBSERVED_SHOWN), count))
    assert future is not None
    if path.suffix == IMAGE:
        save_image(path, future_strip(observed, future, horizons=_horizons(forecast), title=name))
    else:
        write_future_video(path, observed, future, title=name)


def _horizons(forecast: Forecast) -> list[float]:
    """Seconds after the last observed frame at which samples are compared."""
    last = float(forecast.timestamps[-1] - forecast.observed.timestamps[-1])
    return [horizon for horizon in HORIZONS if horizon <= last + 1e-6] or [last]


def _report(console: Console, forecast: Forecast, seconds: float) -> None:
    """Prints what was observed, the recognized action, and how far the samples lie apart."""
    observed, frames = forecast.observed, len(forecast.timestamps)
    first, last = observed.timestamps[[0, -1]]
    seen = int(observed.valid.any(1).sum())
    console.print(f'observed: {first:.2f} to {last:.2f} s, {seen} of {len(observed)} frames with a hand')
    best = sorted(forecast.action_scores.items(), key=lambda item: -item[1])[:SHOWN]
    if best:
        listed = ', '.join(f'{name} {score:.2f}' for name, score in best)
        console.print(f'recognized action: {listed}', markup=False)
    futures = 'the mean future' if forecast.seed is None else f'{len(forecast)} samples, seed {forecast.seed}'
    console.print(f'{forecast.model}: {futures} of {frames} frames, in {seconds:.1f} s', markup=False)
    if len(forecast) < 2:
        return
    table = Table(title='how far the samples lie apart', box=box.SIMPLE, title_justify='left')
    table.add_column('after')
    table.add_column('mean distance of a joint from the mean of the samples', justify='right')
    ahead, spread = forecast.timestamps - last, forecast.spread()
    for horizon in _horizons(forecast):
        frame = int(np.abs(ahead - horizon).argmin())
        table.add_row(f'{horizon:.2f} s', f'{1000 * spread[frame]:.0f} mm')
    console.print(table)
    console.print(f'caution: {CAUTION}', markup=False)
