"""Refines the predictions of another estimator.

    handpose refine hands.npz -o refined.npz [--filter gaussian] [--checkpoint WEIGHTS]

hands.npz is a predictions file (docs/data/predictions_file.md); `handpose convert` makes one from the output of
MediaPipe, HaMeR, WiLoR, MANO or InterHand2.6M. docs/guides/refine.md says what refining does.
"""

import argparse
import time

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.evaluation.motion_summary import motion_summary
from handpose.inference import DEFAULT_REFINER, METHODS, load_refiner
from handpose.inference.constant_bones import BONE_LENGTHS
from handpose.structures import Predictions, infer_missing_joints, load_predictions, save_predictions
from handpose.structures.prediction_orders import missing_joints
from handpose.video import VideoFrames, VideoWriter, frame_period
from handpose.visualization import save_image
from handpose.visualization.skeleton_video import ComparisonVideo
from handpose.visualization.traces import joint_traces

NO_TRUTH = (
    'The table shows smoothness, which any smoothing improves; without true positions, nothing here says whether the '
    'hand is now more accurate.'
)
ROWS = {
    'acceleration': 'acceleration, mm/frame^2',
    'acceleration_in_hand': '  relative to the wrist',
    'bone_spread': 'spread of bone lengths, %',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('predictions', help='the predictions file, .npz')
    parser.add_argument('-o', '--out', required=True, metavar='REFINED', help='the refined file, .npz')
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help=f'weights of a refiner: a file, or a name in the zoo (default {DEFAULT_REFINER})',
    )
    parser.add_argument('--config', help='the config of a checkpoint that training wrote (.pth)')
    shared.add_cfg_options(parser)
    parser.add_argument('--hand-model', metavar='FOLDER', help='MANO files, for weights that were trained with MANO')
    parser.add_argument('--filter', choices=METHODS, help='a filter instead of weights')
    parser.add_argument(
        '--infer-missing', action='store_true', help='compute joints that the predictions lack from the others, first'
    )
    parser.add_argument(
        '--bones',
        choices=BONE_LENGTHS,
        default='as_given',
        help='lengths of the bones: as the refined joints have them (default), or each its median over the track',
    )
    parser.add_argument('--longest-gap', type=float, metavar='SECONDS', help='longest gap to fill (default 0.9)')
    parser.add_argument('--device', default='cpu', help='where the model runs, e.g. cuda')
    shared.add_runtime(parser)
    parser.add_argument('--draw', metavar='VIDEO.mp4', help='draw before and after (or .webm), and VIDEO_traces.png')
    parser.add_argument('--over', metavar='INPUT_VIDEO', help='draw over the video that the predictions are of')


def _check_usage(arguments: argparse.Namespace) -> None:
    if arguments.checkpoint and arguments.filter:
        raise UsageError('give --checkpoint or --filter, not both')
    if arguments.filter and (arguments.runtime or arguments.precision != 'float32'):
        raise UsageError('--runtime and --precision go with weights, and a filter has no network')
    if arguments.over and not arguments.draw:
        raise UsageError('--over goes with --draw')
    if arguments.config and not arguments.checkpoint:
        raise UsageError('--config goes with --checkpoint')


def run(arguments: argparse.Namespace) -> None:
    """Refines a predictions file.

    Args:
        arguments: those of `add_arguments`.
    """
    _check_usage(arguments)
    console = Console(highlight=False)
    before = load_predictions(arguments.predictions)
    if arguments.infer_missing:
        with console.status('inferring missing joints'):
            before = infer_missing_joints(before)
    _check_joints(console, before, arguments)
    # What cannot be drawn is said before anything is written.
    writer = VideoWriter(arguments.draw, 1 / (frame_period(before.timestamps) or 1 / 30)) if arguments.draw else None
    images = VideoFrames(arguments.over, before.timestamps) if arguments.over else None
    hand_model = dict(type='MANO', model_path=arguments.hand_model) if arguments.hand_model else None
    refiner = load_refiner(
        arguments.checkpoint,
        arguments.filter,
        arguments.config,
        arguments.cfg_options,
        hand_model,
        longest_gap=arguments.longest_gap,
        device=arguments.device,
        bones=arguments.bones,
    )
    if not arguments.checkpoint and not arguments.filter:
        console.print(f'refining with {DEFAULT_REFINER}; --filter or --checkpoint choose something else')
    if not arguments.filter:
        shared.use_chosen_runtime(console, refiner.estimator, arguments)
    for note in refiner.notes(before):
        console.print(f'note: {note}')
    start = time.perf_counter()
    with console.status(f'refining {len(before)} frames with {refiner.name}'):
        after = refiner.refine(before)
    seconds = time.perf_counter() - start
    save_predictions(arguments.out, after)
    _report(console, before, after, f'{refiner.name}, {len(before)} frames in {seconds:.1f} s')
    console.print(NO_TRUTH)
    console.print(f'refined: {arguments.out}')
    if writer:
        _draw(console, before, after, refiner.name, writer, images)


def _check_joints(console: Console, before: Predictions, arguments: argparse.Namespace) -> None:
    """Names the joints that are missing; drawing takes all of them."""
    lacking = missing_joints(before.given_joints(), before.valid)
    if lacking and arguments.draw:
        raise UserError(f'--draw needs all 21 joints, and {", ".join(lacking)} are missing: add --infer-missing')
    if lacking:
        console.print(f'note: the predictions lack {", ".join(lacking)}; --infer-missing computes them', markup=False)
    if before.joints_inferred is not None:
        share = before.joints_inferred[before.valid].mean()
        console.print(f'note: {share:.0%} of the joints were not measured but inferred from the others')


def _report(console: Console, before: Predictions, after: Predictions, title: str) -> None:
    """Prints a table of what changed, on the frames that both have."""
    table = Table(title=title, box=box.SIMPLE, title_justify='left')
    for name in ('', 'before', 'after'):
        table.add_column(name, justify='right' if name else 'left')
    figures = [motion_summary(version, before.valid) for version in (before, after)]
    for key, name in ROWS.items():
        if key != 'acceleration_in_hand' or before.frame == 'camera':
            table.add_row(name, *(f'{figure[key]:.2f}' for figure in figures))
    counts = [f'{int(version.valid.sum())} of {version.valid.size}' for version in (before, after)]
    table.add_row('frames with a hand', *counts)
    table.add_row('  of them filled in', '', str(int((after.valid & ~before.valid).sum())))
    console.print(table)


def _draw(
    console: Console,
    before: Predictions,
    after: Predictions,
    name: str,
    writer: VideoWriter,
    images: VideoFrames | None,
) -> None:
    """Writes the traces and the video; `images` are the frames of the input video, or None."""
    traces = writer.path.with_name(f'{writer.path.stem}_traces.png')
    save_image(traces, joint_traces(before, after, title=name))
    video = ComparisonVideo(before, after, names=('before', f'after ({name})'))
    if images and not video.over_video:
        console.print("the video is shown beside: drawing on it takes joints_2d, or frame 'camera' and intrinsics")
    with writer:
        for t in track(range(len(before)), 'drawing', console=console, transient=True):
            writer.write(video.draw(t, images.read(t) if images else None), before.timestamps[t])
    for note in images.notes if images else ():
        console.print(f'note: {note}', markup=False)
    console.print(f'drawn: {writer.path}, {traces}')
