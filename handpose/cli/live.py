"""Shows the hands of a camera in a window, smoothed as they move. The key q ends it.

    handpose live                       the first camera
    handpose live --camera 1 --refine none
    handpose live --camera 0 --no-window --seconds 10       measures speed alone

Prints how long images took at the end: the median and the 95th percentile, detection included.
"""

import argparse

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from handpose.cli.errors import UserError
from handpose.inference.live import LiveHands
from handpose.inference.refiner import load_refiner
from handpose.inference.session import NETWORKS, make_session
from handpose.system import has_display
from handpose.video import CameraReader, VideoError
from handpose.visualization.hand_overlay import draw_predictions

REFINERS = ('one_euro', 'none')
WINDOW = 'handpose'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('--camera', default='0', help='its number, or its path or address as OpenCV opens it')
    parser.add_argument('--refine', choices=REFINERS, default=REFINERS[0], help='smoothing without delay')
    parser.add_argument('--size', type=int, nargs=2, metavar=('WIDTH', 'HEIGHT'), help='to request of the camera')
    parser.add_argument('--networks', choices=NETWORKS, default='full', help='lite is faster and less accurate')
    parser.add_argument('--seconds', type=float, help='stop after this time')
    parser.add_argument('--no-window', action='store_true', help='show nothing, only measure')


def run(arguments: argparse.Namespace) -> None:
    """Shows the hands of a camera.

    Args:
        arguments: those of `add_arguments`.

    Raises:
        VideoError: the camera cannot be opened, or delivers nothing.
        UserError: no window can be opened.
    """
    if not arguments.no_window:
        _check_display()
    console = Console(highlight=False)
    device = int(arguments.camera) if arguments.camera.isdigit() else arguments.camera
    refiner = None if arguments.refine == 'none' else load_refiner(method=arguments.refine, latency=0)
    session = make_session(arguments.networks, keep=False)
    with CameraReader(device, None if arguments.size is None else tuple(arguments.size)) as camera:
        live = LiveHands(camera, session, refiner)
        try:
            _show(live, arguments.seconds, not arguments.no_window)
        except VideoError as error:
            if not live.latencies().frames:
                raise
            console.print(f'note: {error}', markup=False)
        finally:
            for note in camera.notes:
                console.print(f'note: {note}', markup=False)
            if live.latencies().frames:
                console.print(f'{live.latencies()}')


def _show(live: LiveHands, seconds: float | None, window: bool) -> None:
    """Runs until q is pressed, the window is closed or the time is over."""
    for shown in live:
        frame = shown.found.frame
        if window and not _draw(draw_predictions(frame.image, shown.predictions, 0)):
            break
        if seconds is not None and frame.time >= seconds:
            break


def _check_display() -> None:
    """Refuses to open a window where Qt would end the process because there is no display."""
    if not has_display():
        raise UserError('no window can be opened: there is no display; use --no-window, or handpose infer')


def _draw(image: NDArray[np.uint8]) -> bool:
    """Shows an image; False once the user wants to stop."""
    try:
        cv2.imshow(WINDOW, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1) & 0xFF
        return key != ord('q') and cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error as error:
        raise UserError(
            'no window can be opened: there is no display, or OpenCV was installed without windows '
            '(opencv-python-headless); use --no-window, or handpose infer'
        ) from error
