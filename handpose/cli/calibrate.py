"""Calibrates the cameras of a recording from videos or folders of images that show a printed board.

    handpose calibrate --draw board.png --squares 8x5 --square-size 30
    handpose calibrate left.mp4 right.mp4 -o calibration.json --squares 8x5 --square-size 30

All cameras must show the same moment in frames of the same number. docs/guides/calibration.md says how to move the
board, and what the numbers of the report mean.
"""

import argparse
import re
from pathlib import Path

import cv2
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from handpose.cli.errors import UsageError
from handpose.files.atomic import atomic_write
from handpose.geometry.boards import DICTIONARIES, KINDS, CalibrationBoard
from handpose.inference.board_recording import CalibratedRecording, calibrate_recording
from handpose.inference.sources import camera_sources
from handpose.structures import write_calibration

PIXELS = 200  # per square of the board to print
GOOD = 1.0  # pixels; a median reprojection error that is larger has a cause
OUT_OF_STEP = 3  # so many times the error of the camera alone, too: noise is the same in both


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument(
        'sources', nargs='*', metavar='SOURCE', help='a video or a folder of images per camera, or a folder of them all'
    )
    parser.add_argument('-o', '--out', metavar='FILE', help='the calibration to write, .json or .toml (anipose)')
    parser.add_argument('--draw', metavar='FILE.png', help='instead: draw the board, to be printed')
    parser.add_argument('--board', choices=KINDS, default=KINDS[0], help=f'kind of board (default {KINDS[0]})')
    parser.add_argument('--squares', default='8x5', metavar='WxH', help='squares across and down (default 8x5)')
    parser.add_argument('--square-size', type=float, required=True, metavar='MM', help='side of a square, millimetres')
    parser.add_argument('--marker-size', type=float, metavar='MM', help='side of a marker (default 0.75 squares)')
    parser.add_argument(
        '--dictionary', default='4X4_250', metavar='NAME', help=f'of the markers: {", ".join(DICTIONARIES)}'
    )
    parser.add_argument('--every', type=int, default=5, metavar='N', help='search every N-th frame (default 5)')


def run(arguments: argparse.Namespace) -> None:
    """Draws the board, or calibrates and writes the file.

    Args:
        arguments: those of `add_arguments`.
    """
    board = _board(arguments)
    if arguments.draw is not None:
        if arguments.sources or arguments.out is not None:
            raise UsageError('--draw takes no SOURCE and no --out')
        _draw(board, arguments.draw)
        return
    if not arguments.sources or arguments.out is None:
        raise UsageError('give the videos of the cameras and -o FILE, or --draw FILE.png')
    if Path(arguments.out).suffix.lower() not in ('.json', '.toml'):
        raise UsageError(f'-o must end in .json or .toml, got {arguments.out}')
    if arguments.every < 1:
        raise UsageError(f'--every must be at least 1, got {arguments.every}')
    sources = camera_sources(arguments.sources)
    with Progress(TextColumn('{task.description}: {task.completed} frames searched'), TimeElapsedColumn()) as progress:
        tasks = {name: progress.add_task(name, total=None) for name in sources}
        found = calibrate_recording(sources, board, arguments.every, lambda name: progress.advance(tasks[name]))
    write_calibration(arguments.out, found.calibration)
    _report(found, arguments.out)


def _board(arguments: argparse.Namespace) -> CalibrationBoard:
    squares = re.fullmatch(r'(\d{1,3})x(\d{1,3})', arguments.squares)
    if squares is None:
        raise UsageError(f'--squares must be like 8x5, got {arguments.squares!r}')
    marker = None if arguments.marker_size is None else arguments.marker_size / 1000
    size = arguments.square_size / 1000
    return CalibrationBoard(
        arguments.board, int(squares[1]), int(squares[2]), size, marker, dictionary=arguments.dictionary
    )


def _draw(board: CalibrationBoard, path: str) -> None:
    if Path(path).suffix.lower() != '.png':
        raise UsageError(f'--draw must end in .png, got {path}')
    atomic_write(path, cv2.imencode('.png', board.draw(PIXELS))[1].tobytes())
    width, height = ((count + 1) * 1000 * board.square for count in (board.columns, board.rows))
    print(
        f'{path}: print it {width:g} x {height:g} mm large, margins included, glue it to something flat and rigid, and '
        f'measure a square: --square-size must be what the ruler says'
    )


def _report(found: CalibratedRecording, path: str) -> None:
    names = found.calibration.names
    print(f'{path}: {len(names)} cameras, {found.num_frames} frames searched')
    for camera in found.calibration:
        name, (x, y, z) = camera.name, camera.position.tolist()
        print(
            f'  {name}: board in {found.num_views[name]} frames, {found.num_shared[name]} of them shared and used; '
            f'reprojection error {found.lens_errors[name]:.2f} px alone, {found.pose_errors[name]:.2f} px with the '
            f'others; at {x:.3f} {y:.3f} {z:.3f} m'
        )
    for note in found.notes:
        print(f'note: {note}')
    doubtful = [n for n in names if found.pose_errors[n] > min(GOOD, OUT_OF_STEP * found.lens_errors[n])]
    if doubtful:
        print(
            f'note: the error with the others is above {GOOD:g} px or {OUT_OF_STEP} times that alone '
            f'({", ".join(doubtful)}): the videos may be out of step, the board may bend, or its images may be blurred'
        )
