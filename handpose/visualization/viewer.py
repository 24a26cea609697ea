"""`HandViewer`: a page that plays a video with its hands, in 2D and 3D (viser, `pip install 'handpose[view]'`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import SIDE_LABELS
from handpose.structures import Predictions, PredictionsError
from handpose.structures.fitted_hands import FittedHands
from handpose.video import SeekableVideo
from handpose.visualization.hand_overlay import draw_hands, draw_predictions, image_points
from handpose.visualization.skeleton_video import hand_offsets
from handpose.visualization.viewer_page import PlayerPage
from handpose.visualization.viewer_scene import BEFORE_COLOR, MeshNodes, SkeletonNodes, arrange_scene, shown_joints

PANEL_WIDTH = 480  # pixels of the video frame that are sent


class HandViewer(PlayerPage):
    """A page for browsers: the frame of the video, skeletons and meshes in 3D, a slider, playing at the true times.

    The page can be opened several times; all its windows show the same frame. Frames are read when they are shown.

    Args:
        predictions: what is shown.
        refined: the same track after refining, or None; `predictions` are then shown in grey as 'before'.
        video: the video that they are of, or None.
        title: of the page's panel.
        host: address that the page is served on.
        port: preferred port; if it is taken, one of the next ones is used.

    Attributes:
        url: of the page.
        frame: the one that is shown; -1 before the first.

    Raises:
        PredictionsError: `refined` is not of the same frames and hands.
        ValueError: the frames of the video do not have the shape of the images that the predictions are of.
    """

    def __init__(
        self,
        predictions: Predictions,
        refined: Predictions | None = None,
        video: SeekableVideo | None = None,
        *,
        title: str = 'handpose',
        host: str = '127.0.0.1',
        port: int = 8080,
    ) -> None:
        if refined is not None:
            _check_versions(predictions, refined)
        self.predictions, self.refined, self._video = predictions, refined, video
        self._latest = predictions if refined is None else refined
        if video is not None:
            video.check_times(float(predictions.timestamps[-1]))
            self._video_image(0, overlay=True)  # what cannot be drawn is an error now
        super().__init__(predictions.timestamps, title, host, port)
        arrange_scene(self._server, shown_joints(self._latest))
        color = None if refined is None else BEFORE_COLOR
        sides = predictions.hand_side
        self._skeletons = {'before': SkeletonNodes(self._server, 'before', shown_joints(predictions), sides, color)}
        if refined is not None:
            self._skeletons['after'] = SkeletonNodes(self._server, 'after', shown_joints(refined), sides)
        self._meshes: MeshNodes | None = None
        self._build_panel()
        self._show(0)

    def add_meshes(self, fitted: FittedHands) -> None:
        """Shows the meshes of hands that were fitted to the predictions, or to the refined ones; from any thread.

        Args:
            fitted: the hands.
        """
        self._meshes = MeshNodes(self._server, fitted, hand_offsets(self._latest))
        self._mesh_box.disabled = False
        self._mesh_box.value = True
        self._changed.set()

    def _build_panel(self) -> None:
        gui = self._server.gui
        self._image = gui.add_image(self._video_image(0, overlay=True)) if self._video is not None else None
        self._text = gui.add_markdown('')
        self.add_player()
        with gui.add_folder('show'):
            drawable = self._image is not None and image_points(self._latest) is not None
            self._overlay_box = gui.add_checkbox('on the video', drawable, visible=self._image is not None)
            self._overlay_box.disabled = not drawable
            self._boxes = {
                name: gui.add_checkbox('skeleton' if self.refined is None else name, True) for name in self._skeletons
            }
            # Any: viser defines the setter of `value` apart from the property, which mypy takes for read-only.
            self._mesh_box: Any = gui.add_checkbox('mesh', False, disabled=True)
        gui.add_markdown(_legend(self._latest))
        for handle in (self._overlay_box, self._mesh_box, *self._boxes.values()):
            handle.on_update(lambda _: self._changed.set())

    def _show(self, t: int) -> None:
        """Shows a frame with what is ticked."""
        t = min(t, len(self.predictions) - 1)
        image = self._video_image(t, self._overlay_box.value) if self._image is not None else None
        with self._server.atomic():
            for name, nodes in self._skeletons.items():
                nodes.show(t, self._boxes[name].value)
            if self._meshes is not None:
                self._meshes.show(t, self._mesh_box.value)
            if self._image is not None and image is not None:
                self._image.image = image
            self._text.content = self._describe(t)
        self.frame = t

    def _video_image(self, t: int, overlay: bool) -> NDArray:
        """The frame of the video (h, w, 3), with the hands on it."""
        assert self._video is not None  # callers check it
        image = self._video.read(float(self.predictions.timestamps[t]))
        if overlay and image_points(self._latest) is not None:
            return draw_predictions(image, self._latest, t, width=min(PANEL_WIDTH, image.shape[1]))
        return draw_hands(image, np.zeros((0, 21, 2)), np.zeros(0, int), width=min(PANEL_WIDTH, image.shape[1]))

    def _describe(self, t: int) -> str:
        words = [f'**frame {t}** of {len(self.predictions)}, {self.predictions.timestamps[t]:.3f} s']
        for h, side in enumerate(self._latest.hand_side.tolist()):
            if not self._latest.valid[t, h]:
                words.append(f'no {SIDE_LABELS[side]} hand')
            elif not self.predictions.valid[t, h]:
                words.append(f'{SIDE_LABELS[side]} hand filled in')
        return ', '.join(words)


def _legend(predictions: Predictions) -> str:
    """What the numbers and axes of the scene mean."""
    frame = {'camera': "the camera's frame", 'wrist': 'relative to each wrist'}[predictions.frame]
    apart = '; the two hands are moved apart' if predictions.frame == 'wrist' and len(predictions.hand_side) > 1 else ''
    scale = {
        'metric': 'cells of the grid are 5 cm',
        'relative': 'lengths are known only up to a factor: cells of the grid are 5 cm of a hand of typical size',
    }[predictions.scale]
    return f'left hand blue, right hand orange; {frame}{apart}; {scale}'


def _check_versions(before: Predictions, after: Predictions) -> None:
    same = before.valid.shape == after.valid.shape and before.frame == after.frame
    if not (same and (before.hand_side == after.hand_side).all() and np.allclose(before.timestamps, after.timestamps)):
        raise PredictionsError(
            f'the refined predictions must be of the same frames and hands: expected {len(before)} frames with '
            f"{len(before.hand_side)} hands in frame '{before.frame}', got {len(after)} with {len(after.hand_side)} in "
            f"'{after.frame}', or other times or sides"
        )
