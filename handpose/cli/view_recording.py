"""What `handpose view` does with an annotated recording: the page, and marks of bad frames without a page."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from handpose.cli.errors import UsageError
from handpose.hands import ProceduralHand
from handpose.structures import AnnotatedRecording, load_annotated_recording
from handpose.structures.fitted_hands import FittedHands, recording_hands
from handpose.structures.recording_marks import (
    ACTIONS,
    RecordingMark,
    load_recording_marks,
    marks_path,
    save_recording_marks,
)

if TYPE_CHECKING:
    from handpose.visualization.recording_viewer import RecordingViewer


def add_recording_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that only annotated recordings have.

    Args:
        parser: of `handpose view`.
    """
    group = parser.add_argument_group('annotated recordings')
    group.add_argument('--videos', metavar='FOLDER', help='where the videos are, if they were moved')
    group.add_argument(
        '--mark',
        metavar='FIRST-LAST',
        help='mark these frames as bad (or one, FIRST), list all marks, and show no page',
    )
    group.add_argument('--cameras', nargs='+', metavar='NAME', help='of --mark: the cameras that are bad; default all')
    group.add_argument(
        '--action',
        choices=ACTIONS,
        help="of --mark: 'exclude' does without these images (the default), 'redo' finds their hands again",
    )
    group.add_argument('--delete-mark', type=int, metavar='NUMBER', help='delete a mark, and show no page')


def refuse_recording_arguments(arguments: argparse.Namespace) -> None:
    """Refuses the arguments of recordings for other files.

    Args:
        arguments: of `handpose view`.

    Raises:
        UsageError: one was given.
    """
    for name in ('videos', 'mark', 'cameras', 'action', 'delete_mark'):
        if vars(arguments)[name] is not None:
            raise UsageError(
                f'--{name.replace("_", "-")} is for annotated recordings, and {arguments.predictions} is not one'
            )


def edit_marks(arguments: argparse.Namespace, console: Console) -> bool:
    """Marks frames, or deletes a mark, as the arguments say.

    Args:
        arguments: of `handpose view`.
        console: where the marks are listed.

    Returns:
        False if the arguments ask for neither, which leaves the page to be shown.

    Raises:
        UsageError: arguments that do not go together.
        MarksError: frames or cameras that the recording does not have.
    """
    if arguments.mark is None and (arguments.cameras or arguments.action):
        raise UsageError('--cameras and --action say what --mark FIRST-LAST marks')
    if arguments.mark is None and arguments.delete_mark is None:
        return False
    if arguments.mark is not None and arguments.delete_mark is not None:
        raise UsageError('give either --mark or --delete-mark')
    recording = load_annotated_recording(arguments.predictions)
    file, names = marks_path(arguments.predictions), recording.calibration.names
    marks = load_recording_marks(file).check(len(recording), names)
    if arguments.delete_mark is not None:
        marks = marks.without(arguments.delete_mark - 1)
    else:
        found = re.fullmatch(r'(\d{1,9})(?:-(\d{1,9}))?', arguments.mark)
        if not found:
            raise UsageError(f'--mark must be FIRST-LAST, such as 120-180, got {arguments.mark!r}')
        cameras = tuple(arguments.cameras) if arguments.cameras else None
        first, last = int(found[1]), int(found[2] or found[1])
        marks = marks.with_mark(RecordingMark(first, last, cameras, arguments.action or 'exclude'))
    save_recording_marks(file, marks.check(len(recording), names))
    for number, mark in enumerate(marks.marks, 1):
        console.print(f'{number}. {mark}', markup=False)
    console.print(f'{len(marks)} in {file}; `handpose annotate` takes them into account', markup=False)
    return True


def open_recording(arguments: argparse.Namespace, console: Console) -> 'RecordingViewer':
    """Makes the page of a recording.

    Args:
        arguments: of `handpose view`.
        console: for notes.

    Returns:
        The page.

    Raises:
        UsageError: arguments that are for predictions.
        RecordingError: the recording cannot be used.
        MarksError: its marks cannot be used.
    """
    from handpose.visualization.recording_images import RecordingImages
    from handpose.visualization.recording_viewer import RecordingViewer

    for name in ('video', 'refined', 'sample'):
        if vars(arguments)[name] is not None:
            raise UsageError(
                f'--{name} is for predictions, and {arguments.predictions} is an annotated recording, which names its '
                f'videos; --videos FOLDER says where they are now'
            )
    path = Path(arguments.predictions)
    recording = load_annotated_recording(path)
    fitted = None if arguments.no_mesh else _fitted_hands(recording, console)
    images = RecordingImages(recording, path.parent, arguments.videos)
    return RecordingViewer(
        recording, images, marks_path(path), fitted=fitted, title=path.name, host=arguments.host, port=arguments.port
    )


def _fitted_hands(recording: AnnotatedRecording, console: Console) -> FittedHands | None:
    """The hands for meshes, if the recording has a hand model of ours."""
    if recording.hand_pose is None:
        return None
    hand_model = ProceduralHand()
    if recording.hand_model != hand_model.name:
        console.print(f'note: no mesh is shown: it takes the hand model {recording.hand_model}', markup=False)
        return None
    return recording_hands(recording, hand_model)
