"""The `handpose` command: one module for each subcommand, imported only when it is called."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from handpose import __version__
from handpose.cli.errors import UsageError, exit_on_user_error
from handpose.text import did_you_mean

# Subcommand: what it does. `make-data` is the module `make_data`, which has `add_arguments(parser)` and
# `run(arguments)`; its docstring is the text of `handpose make-data --help`.
COMMANDS = {
    'infer': 'find the hands of a video, a folder of videos or a camera',
    'zoo': 'list, download and verify the files of the model zoo',
    'live': 'show the hands of a camera in a window',
    'train': 'train a config',
    'test': "test a config by its dataset's official protocol",
    'make-data': 'make the built-in data, or render recorded motion',
    'browse': 'draw what a config feeds its model',
    'refine': 'refine the predictions of another estimator',
    'compare-refiners': 'measure whether refiners help on the output of your estimator',
    'export': 'export predictions to Blender, spreadsheets, viewers and robots',
    'export-model': 'export a network to an .onnx file, which runs without torch',
    'view': 'show hands in a browser: video, skeleton and mesh',
    'recognize': 'find the action of a video or of a predictions file',
    'forecast': 'forecast how the hands of a predictions file move on',
    'forecast-figures': 'draw the futures, transitions and early recognition of a forecaster',
    'multi-view-report': 'measure the rounds of a multi-view estimator by the number of views',
    'calibrate': 'calibrate the cameras of a recording that shows a printed board',
    'annotate': 'annotate the hands of a recording of several calibrated cameras',
    'convert': 'make a predictions file from the output of another estimator',
    'configs': 'list, copy or show the configs that come with the package',
    'ablate': 'train and test the rows of ablation tables',
    'benchmark': 'measure speed and memory',
    'publish': 'write weights to a file that is safe to give away',
    'pack-frames': 'pack the images of a dataset into a few large files',
    'extract-features': "write a trained backbone's features of every image",
    'text-features': 'make a table of text features of action and object names',
    'tune-filters': 'choose the settings of motion filters on a train split',
    'noise-report': 'report the errors of the input that the noise model makes',
    'simulate-predictions': 'write predictions files with simulated errors for recordings of actions',
    'predict-dataset': 'run the hand detector over the images of a dataset',
    'dexycb-to-motion': 'make a motion file of DexYCB',
    'fit-motion': 'add hand-model parameters to a motion file',
}
INTERRUPTED = 130  # exit code, as shells have it for Ctrl-C


def main(command: str | None = None, words: Sequence[str] | None = None) -> None:
    """Runs a subcommand; errors of the user end the process with a message.

    Exit codes: 0, 1 for an error message, 2 for wrong usage, 130 when interrupted.

    Args:
        command: the subcommand; default the first of `words`.
        words: the command line without the program; default that of this process.

    Raises:
        SystemExit: the exit code is not 0, or `--help` was asked for.
    """
    words = sys.argv[1:] if words is None else list(words)
    program = None
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == 'strict':
        sys.stdout.reconfigure(errors='replace')  # consoles of Windows lack characters of tables and of file names
    if command is None:
        command, words = _split_command(words)
        program = f'handpose {command}'
    try:
        with exit_on_user_error():
            _run(command, program, words)
    except KeyboardInterrupt as interrupt:
        print(f'interrupted; {interrupt}' if str(interrupt) else 'interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)


def _split_command(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The subcommand of a command line, and what follows it."""
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog='handpose',
        usage='handpose COMMAND [arguments]',
        description='Hand pose in video: training, testing, data and tools.',
        epilog='commands (handpose COMMAND --help says more):\n'
        + '\n'.join(f'  {name:{width}}  {summary}' for name, summary in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'handpose {__version__}')
    parser.add_argument('command', metavar='COMMAND', help='one of the commands below')
    command = parser.parse_args(words[:1]).command
    if command not in COMMANDS:
        parser.error(f'{command!r} is not a command.{did_you_mean(command, COMMANDS)} handpose --help lists them')
    return command, words[1:]


def _run(command: str, program: str | None, words: Sequence[str]) -> None:
    module = importlib.import_module(f'handpose.cli.{command.replace("-", "_")}')
    parser = argparse.ArgumentParser(
        prog=program, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    arguments = parser.parse_args(words)
    try:
        module.run(arguments)
    except UsageError as error:
        parser.error(str(error))
