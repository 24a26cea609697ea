"""Exports predictions to Blender, spreadsheets, annotation tools, viewers and robots.

    handpose export hands.npz -o hands.bvh
    handpose export future.npz --sample 3 -o future.bvh
    handpose export hands.npz -o joints.npz --to dex-retargeting

The ending of the output's name tells the format; docs/guides/export.md has units, axes and import steps of each.
"""

import argparse

from rich.console import Console
from rich.progress import Progress

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.export import TARGETS, WRITERS, export
from handpose.hands import MANO
from handpose.structures.prediction_checks import UNITS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('predictions', help='the predictions file, or a forecast file, .npz')
    shared.add_sample(parser)
    parser.add_argument('-o', '--out', required=True, metavar='FILE', help=f'the export: {", ".join(WRITERS)}')
    parser.add_argument('--to', choices=TARGETS, help='what the export is for, where its ending does not tell')
    parser.add_argument('--hand-model', metavar='FOLDER', help='MANO files, for MANO parameters (.npz)')
    parser.add_argument('--unit', choices=UNITS, default='metre', help='unit of lengths in BVH and CSV (metre)')


def run(arguments: argparse.Namespace) -> None:
    """Exports a predictions file.

    Args:
        arguments: those of `add_arguments`.
    """
    if arguments.hand_model and (arguments.to or not arguments.out.lower().endswith('.npz')):
        raise UsageError('--hand-model goes with -o FILE.npz, which then holds MANO parameters')
    console = Console(highlight=False, soft_wrap=True)
    predictions = shared.read_predictions(arguments)
    hand_model = MANO(arguments.hand_model) if arguments.hand_model else None
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task('fitting hands', total=None, visible=False)
        report = export(
            predictions,
            arguments.out,
            target=arguments.to,
            hand_model=hand_model,
            unit=arguments.unit,
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    for note in report.notes:
        console.print(f'note: {note}')
    for file in report.files:
        console.print(f'written: {file}')
