"""`RecordingViewer`: a page that plays an annotated recording with its cameras, and marks bad frames (viser)."""

import html
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.structures import AnnotatedRecording
from handpose.structures.fitted_hands import FittedHands
from handpose.structures.recording_marks import (
    ACTIONS,
    MarksError,
    RecordingMark,
    load_recording_marks,
    save_recording_marks,
)
from handpose.visualization.draw import contact_sheet, put_label
from handpose.visualization.recording_images import RecordingImages, describe_hands, draw_recording_image
from handpose.visualization.recording_scene import CameraNodes, arrange_recording
from handpose.visualization.viewer_page import PlayerPage
from handpose.visualization.viewer_scene import BEFORE_COLOR, MeshNodes, SkeletonNodes

PANEL_WIDTH = 480  # pixels of all images that are sent
ALL_CAMERAS = 'all cameras'
_TEXT = '<div style="padding:0.3em 0.8em;font-size:0.9em;line-height:1.5;overflow-wrap:anywhere">'


class RecordingViewer(PlayerPage):
    """A page for browsers: images of one camera or of all, hands and cameras in 3D, a slider, and marks of bad frames.

    Marks are saved when they are made and when they are deleted.

    Args:
        recording: what is shown.
        images: its images.
        marks_file: where marks are saved, see `handpose.structures.recording_marks.marks_path`.
        fitted: the hands of the recording's hand model, in the world, for their meshes; None shows none.
        title: of the page's panel.
        host: address that the page is served on.
        port: preferred port; if it is taken, one of the next ones is used.

    Attributes:
        url: of the page.
        frame: the one that is shown; -1 before the first.
        marks: those that are saved.

    Raises:
        MarksError: the file of marks cannot be used, or is of another recording.
    """

    def __init__(
        self,
        recording: AnnotatedRecording,
        images: RecordingImages,
        marks_file: str | Path,
        *,
        fitted: FittedHands | None = None,
        title: str = 'handpose',
        host: str = '127.0.0.1',
        port: int = 8080,
    ) -> None:
        self.recording, self._images, self._marks_file = recording, images, Path(marks_file)
        names = recording.calibration.names
        self.marks = load_recording_marks(marks_file).check(len(recording), names)
        # Numbers make the choices different from each other and from 'all cameras', whatever the names are.
        self._choices = (ALL_CAMERAS, *(f'{k + 1}: {name}' for k, name in enumerate(names)))
        self._errors = recording.reprojection_errors()
        self._saving = threading.Lock()  # each press of a button has its own thread
        super().__init__(recording.timestamps, title, host, port)
        arrange_recording(self._server, recording)
        self._cameras = CameraNodes(self._server, recording)
        self._skeletons = {
            'hands': SkeletonNodes(self._server, 'hands', recording.joints_3d, recording.hand_side),
            'triangulated': SkeletonNodes(
                self._server, 'triangulated', recording.triangulated, recording.hand_side, BEFORE_COLOR
            ),
        }
        offsets = np.zeros((len(recording.hand_side), 3))
        self._meshes = None if fitted is None else MeshNodes(self._server, fitted, offsets)
        self._build_panel()
        self._show(0)

    def mark(self, mark: RecordingMark) -> None:
        """Adds a mark and saves all.

        Args:
            mark: the mark.

        Raises:
            MarksError: the recording has no such frame or camera.
            OSError: the marks could not be saved.
        """
        with self._saving:
            marks = self.marks.with_mark(mark).check(len(self.recording), self.recording.calibration.names)
            save_recording_marks(self._marks_file, marks)
            self.marks = marks
        self._list_marks()

    def delete_mark(self, index: int) -> None:
        """Deletes a mark and saves the others.

        Args:
            index: of the mark, from 0.

        Raises:
            MarksError: there is no such mark.
            OSError: the marks could not be saved.
        """
        with self._saving:
            marks = self.marks.without(index)
            save_recording_marks(self._marks_file, marks)
            self.marks = marks
        self._list_marks()

    def _build_panel(self) -> None:
        gui = self._server.gui
        self._image = gui.add_image(np.zeros((8, 8, 3), np.uint8))
        self._text = gui.add_html('')
        self.add_player()
        with gui.add_folder('show'):
            self._camera = gui.add_dropdown('images', self._choices)
            self._overlay_box = gui.add_checkbox('on the images', True, hint='broad: detections, thin: hands in 3D')
            self._boxes = {'hands': gui.add_checkbox('hands', True)}
            self._boxes['triangulated'] = gui.add_checkbox('triangulated', False, hint='before any refinement, grey')
            self._mesh_box = gui.add_checkbox('mesh', self._meshes is not None, visible=self._meshes is not None)
            self._cameras_box = gui.add_checkbox('cameras', True)
        with gui.add_folder('mark bad frames'):
            self._add_marking()
        gui.add_html(f'{_TEXT}left hand blue, right hand orange; cells of the grid are 5 cm</div>')
        boxes = (self._overlay_box, self._mesh_box, self._cameras_box, *self._boxes.values())
        for handle in boxes:
            handle.on_update(lambda _: self._changed.set())
        self._camera.on_update(lambda _: self._changed.set())

    def _add_marking(self) -> None:
        gui, last = self._server.gui, len(self.recording) - 1
        # Any: as for the slider of `PlayerPage`.
        self._first: Any = gui.add_number('from', 0, min=0, max=last, step=1)
        self._last: Any = gui.add_number('to', 0, min=0, max=last, step=1)
        here = gui.add_button_group('this frame', ('is the first', 'is the last'))
        self._marked_camera: Any = gui.add_dropdown('cameras', self._choices)
        self._action: Any = gui.add_dropdown('action', ACTIONS, initial_value='exclude')
        add = gui.add_button('mark')
        self._list = gui.add_html('')
        self._chosen_mark: Any = gui.add_dropdown('mark number', ('-',))
        self._delete = gui.add_button('delete this mark')
        here.on_click(lambda event: self._take_frame(str(event.target.value)))
        add.on_click(lambda _: self._on_mark())
        self._delete.on_click(lambda _: self._on_delete())
        self._list_marks()

    def _take_frame(self, what: str) -> None:
        """Puts the frame that is shown into 'from' or 'to', and moves the other one if the range would be empty."""
        if what == 'is the first':
            self._first.value = self.frame
            self._last.value = max(self.frame, int(self._last.value))
        else:
            self._last.value = self.frame
            self._first.value = min(self.frame, int(self._first.value))

    def _on_mark(self) -> None:
        number = self._choices.index(self._marked_camera.value)
        cameras = None if number == 0 else (self.recording.calibration.names[number - 1],)
        try:
            self.mark(RecordingMark(int(self._first.value), int(self._last.value), cameras, self._action.value))
        except (MarksError, OSError) as error:
            self._list_marks(f'not marked: {error}')

    def _on_delete(self) -> None:
        if self._chosen_mark.value != '-':
            try:
                self.delete_mark(int(self._chosen_mark.value) - 1)
            except (MarksError, OSError) as error:
                self._list_marks(f'not deleted: {error}')

    def _list_marks(self, problem: str = '') -> None:
        numbers = [str(number) for number in range(1, len(self.marks) + 1)]
        with self._server.atomic():
            self._chosen_mark.options = tuple(numbers) or ('-',)
            self._delete.disabled = not numbers
            entries = ''.join(f'<li>{html.escape(str(mark))}</li>' for mark in self.marks.marks)
            words = problem or (f'saved in {self._marks_file.name}' if numbers else 'no frames are marked')
            self._list.content = f'{_TEXT}<ol style="padding-left:1.6em">{entries}</ol>{html.escape(words)}</div>'
        self._changed.set()

    def _show(self, t: int) -> None:
        """Shows a frame with what is ticked."""
        t = min(t, len(self.recording) - 1)
        number = self._choices.index(self._camera.value)
        image = self._camera_images(t, number)
        with self._server.atomic():
            self._cameras.show(self._cameras_box.value, number - 1 if number else None)
            for name, nodes in self._skeletons.items():
                nodes.show(t, self._boxes[name].value)
            if self._meshes is not None:
                self._meshes.show(t, self._mesh_box.value)
            self._image.image = image
            self._text.content = self._describe(t)
        self.frame = t

    def _camera_images(self, t: int, number: int) -> NDArray[np.uint8]:
        """The image of one camera, or a sheet with those of all for number 0."""
        cameras = self.recording.calibration.cameras
        if number:
            return self._camera_image(t, number - 1, PANEL_WIDTH)
        columns = int(np.ceil(np.sqrt(len(cameras))))
        width = PANEL_WIDTH // columns
        cells = [put_label(self._camera_image(t, k, width), camera.name) for k, camera in enumerate(cameras)]
        return contact_sheet(cells, columns, pad=2)

    def _camera_image(self, t: int, camera: int, width: int) -> NDArray[np.uint8]:
        image = self._images.read(t, camera)
        if image is None:
            columns, rows = self.recording.calibration.cameras[camera].image_size
            blank = np.full((max(1, round(rows * width / columns)), width, 3), 40, np.uint8)
            return put_label(blank, 'no image', (0, len(blank)))
        return draw_recording_image(image, self.recording, t, camera, width, overlay=self._overlay_box.value)

    def _describe(self, t: int) -> str:
        """HTML: the frame, its hands, what is marked, and why images are missing."""
        lines = [f'frame {t} of {len(self.recording)}, {self._times[t]:.3f} s']
        for h, words in enumerate(describe_hands(self.recording, t)):
            errors = self._errors[t, :, h]
            known = np.isfinite(errors).any()
            lines.append(f'{words}, error {np.nanmedian(errors):.1f} px' if known else words)
        lines += [f'marked: {mark}' for mark in self.marks.marks if mark.first <= t <= mark.last]
        lines += [f'{name}: {why}' for name, why in self._images.problems.items()]
        return f'{_TEXT}{"<br>".join(map(html.escape, lines))}</div>'
