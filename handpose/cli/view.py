"""Shows a predictions file, a sample of a forecast file, or an annotated recording in a browser.

    handpose view hands.npz --video video.mp4 --refined refined.npz
    handpose view future.npz --sample 3
    handpose view recording.npz
    handpose view recording.npz --mark 120-180 --cameras cam0 --action exclude

The page has the frame of the video, the skeletons and the mesh of a fitted hand in 3D, a slider and a play button
(docs/guides/view.md). It is served to this machine only, until Ctrl-C. The page of a recording shows its cameras, and
bad frames can be marked there; --mark does so without a page.
"""

import argparse
import logging
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from handpose.cli import arguments as shared
from handpose.cli.errors import UsageError
from handpose.cli.view_recording import (
    add_recording_arguments,
    edit_marks,
    open_recording,
    refuse_recording_arguments,
)
from handpose.structures import Predictions, PredictionsError, load_predictions
from handpose.structures.fitted_hands import fit_predictions
from handpose.structures.recording_file import is_recording_file
from handpose.video import SeekableVideo

if TYPE_CHECKING:
    from handpose.visualization.viewer import HandViewer
    from handpose.visualization.viewer_page import PlayerPage

PORT = 8080


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument('predictions', help='the predictions file, a forecast file, or an annotated recording, .npz')
    shared.add_sample(parser)
    parser.add_argument('--video', metavar='FILE', help='the video that the predictions are of')
    parser.add_argument('--refined', metavar='REFINED', help='the refined predictions, .npz: shows before and after')
    parser.add_argument('--no-mesh', action='store_true', help='fit no hand model')
    parser.add_argument('--no-browser', action='store_true', help='only print the address')
    parser.add_argument('--port', type=int, default=PORT, help=f'of the page (default {PORT}, or the next free one)')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to serve on (default 127.0.0.1; 0.0.0.0 shows it to the network)'
    )
    add_recording_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Serves the page until it is interrupted.

    Args:
        arguments: those of `add_arguments`.
    """
    if not 0 < arguments.port < 65536:
        raise UsageError(f'--port must be from 1 to 65535, got {arguments.port}')
    console = Console(highlight=False, soft_wrap=True)
    is_recording = is_recording_file(arguments.predictions)
    if not is_recording:
        refuse_recording_arguments(arguments)
    elif edit_marks(arguments, console):
        return
    # Browsers open connections in advance and drop them; each would be logged with a traceback.
    logging.getLogger('websockets.server').setLevel(logging.CRITICAL)
    viewer = open_recording(arguments, console) if is_recording else _open_predictions(arguments, console)
    try:
        # Not by rich, which prints a line again if Ctrl-C comes right after it.
        print(f'{viewer.url} (Ctrl-C ends it)', flush=True)
        if not arguments.no_browser:
            webbrowser.open(viewer.url)
        viewer.run()
    except KeyboardInterrupt:
        console.print('ended')
    finally:
        viewer.stop()


def _open_predictions(arguments: argparse.Namespace, console: Console) -> 'PlayerPage':
    """Makes the page of predictions, whose mesh appears later."""
    from handpose.visualization.viewer import HandViewer  # takes the extra `view`

    before = shared.read_predictions(arguments)
    after = load_predictions(arguments.refined) if arguments.refined else None
    video = SeekableVideo(arguments.video) if arguments.video else None
    title = Path(arguments.predictions).name
    viewer = HandViewer(before, after, video, title=title, host=arguments.host, port=arguments.port)
    if not arguments.no_mesh:
        # Fitting takes seconds to minutes; the page is there at once. A daemon ends with the process.
        latest = before if after is None else after
        threading.Thread(target=_add_meshes, args=(console, viewer, latest), daemon=True).start()
    return viewer


def _add_meshes(console: Console, viewer: 'HandViewer', predictions: Predictions) -> None:
    """Fits a hand model and shows it."""
    try:
        fitted = fit_predictions(predictions)
    except PredictionsError as error:
        console.print(f'note: no mesh is shown: {error}', markup=False)
        return
    viewer.add_meshes(fitted)
    console.print(f'mesh: {1000 * fitted.typical_residual():.1f} mm from the joints (median)')
