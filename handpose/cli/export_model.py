"""Exports a network to an .onnx file, which runs without torch.

    handpose export-model pdtm_synthetic -o pdtm.onnx
    handpose export-model work_dirs/htt/epoch_20.pth --config htt/synthetic -o htt.onnx
    handpose export-model htt_synthetic --part encode -o encoder.onnx

The file takes any number of clips, and of frames up to the window of the network (SmoothNet: whole windows). It holds
its weights and a description: inputs, units, joint order, licence. docs/guides/export_model.md says how to use it.
"""

import argparse
from pathlib import Path

from rich.console import Console

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError, UserError
from handpose.export.network import TOLERANCE, export_network, largest_difference
from handpose.inference.exported import load_with_source
from handpose.models.estimators.network_parts import WHOLE, find_part
from handpose.runtime import RUNTIMES, ExportedModel, installed_runtimes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('weights', help='a name in the model zoo, a .safetensors file, or a checkpoint (.pth)')
    parser.add_argument('-o', '--out', required=True, type=Path, metavar='FILE', help='the exported network, .onnx')
    parser.add_argument('--config', help='the config of a checkpoint that training wrote (.pth)')
    shared.add_cfg_options(parser)
    parser.add_argument('--hand-model', metavar='FOLDER', help='MANO files, for weights that were trained with MANO')
    parser.add_argument(
        '--part', default=WHOLE, metavar='NAME', help=f'what to export: {WHOLE} (default), or a part such as encode'
    )


def run(arguments: argparse.Namespace) -> None:
    """Exports a network and compares it with torch.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        UsageError: arguments that do not go together.
        UserError: the exported network differs from torch.
    """
    if arguments.cfg_options and not arguments.config:
        raise UsageError('--cfg-options goes with --config')
    if arguments.out.suffix != '.onnx':
        raise UsageError(f'{arguments.out}: the name of an exported network must end in .onnx')
    console = Console(highlight=False, soft_wrap=True)
    hand_model = dict(type='MANO', model_path=arguments.hand_model) if arguments.hand_model else None
    estimator, source = load_with_source(arguments.weights, arguments.config, arguments.cfg_options, hand_model)
    with console.status(f'exporting {type(estimator).__name__}'):
        metadata = export_network(estimator, arguments.out, source, arguments.part)
    for heading in ('inputs', 'outputs'):
        for row in metadata[heading]:
            axes = ', '.join(map(str, row['axes']))
            console.print(f'{heading[:-1]} {row["name"]}: {row["dtype"]} ({axes}), {row["meaning"]}', markup=False)
    if metadata['licence']:
        console.print(f'licence of the weights: {metadata["licence"]}', markup=False)
    console.print(f'written: {arguments.out}, {arguments.out.stat().st_size / 1e6:.1f} MB', markup=False)
    installed = installed_runtimes()
    if not installed:
        console.print(f'not compared with torch: none of {", ".join(RUNTIMES)} is installed', markup=False)
        return
    part = find_part(estimator.network_parts(), arguments.part, type(estimator).__name__)
    # Other numbers than those that were traced, which show what has become a constant.
    difference = largest_difference(part, ExportedModel(arguments.out, installed[0]), seed=1)
    if not difference <= TOLERANCE:
        arguments.out.unlink()
        raise UserError(
            f'{arguments.out} differs from torch by {difference:.1e} of the largest output in {installed[0]}, more '
            f'than {TOLERANCE:g}, and was deleted: report this with the versions of torch, onnx and {installed[0]}'
        )
    console.print(f'compared with torch in {installed[0]}: largest difference {difference:.1e} of an output')
