"""Scenes of both hands of a person that act on objects, seen by cameras around a table and on a headset.

The person is at -y of the table's frame, z up, metres. Legend: F frames.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handpose.hands import ProceduralHand
from handpose.synthesis.cameras import head_camera_extrinsics, headset_cameras, ring_cameras
from handpose.synthesis.layouts.assemblyhands import AssemblyHandsLayout
from handpose.synthesis.motion.action_script import ScriptContext
from handpose.synthesis.motion.actions import play_script
from handpose.synthesis.motion.posing import pose_hand
from handpose.synthesis.motion.trajectories import pose
from handpose.synthesis.person import draw_person
from handpose.synthesis.rendering.drawing import Frame, Render
from handpose.synthesis.rendering.moving_camera import MovingCameraRenderer
from handpose.synthesis.scene import Place, Scene
from handpose.synthesis.scenes.base import Job, SceneSource
from handpose.synthesis.scenes.egocentric import add_household_bystanders

_PLACE, _TURN = 0.02, 8.0  # metres and degrees by which a person sits elsewhere in each sequence, one sigma


class HeadsetScenes(SceneSource):
    """Scenes of one action each, seen by cameras around a table and on a headset.

    Args:
        layout: which sequences there are, and what they are about.
    """

    def __init__(self, layout: AssemblyHandsLayout) -> None:
        super().__init__()
        self.layout = layout

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`; a headset's frame without a hand is not rendered and has an empty image."""
        for place in job:
            scene = build_headset_scene(self.layout, place, self.model)
            yield place, scene, _renderer(self.layout, place, scene, self.model)


def build_headset_scene(layout: AssemblyHandsLayout, place: Place, model: ProceduralHand) -> Scene:
    """Animates a sequence, decided by the seed and the place.

    Args:
        layout: of the dataset.
        place: (subject, sequence).
        model: the hand model.
    """
    options = layout.options
    rng, person = np.random.default_rng([options.seed, 94, *place]), draw_person(options.seed, place[0])
    action = layout.action_of(place)
    script = play_script(action.script, action.noun, ScriptContext(rng, model, person.shape, options.frames))
    seat = pose((*rng.normal(0, _PLACE, 2), 0), (0, 0, rng.normal(0, _TURN)))
    hands = {
        side: pose_hand(model, person.shape, np.array(path.angles), seat @ path.track, side)
        for side, path in sorted(script.hands.items())
    }
    scene = Scene.of_hands(action.name, person.shape, hands)
    scene.add_objects(script.objects, np.stack([seat @ track for track in script.tracks], 1))
    head = head_camera_extrinsics(rng, person.eye, options.frames) @ np.linalg.inv(seat)
    scene.set_cameras(*_cameras(layout, place, head), layout.image_sizes)
    exo = options.exo_cameras
    # A hand that fewer than two cameras see cannot be annotated; of a headset alone, every hand is.
    scene.hand_valid = scene.visible[:, :exo].sum(1) >= 2 if exo >= 2 else scene.hand_valid
    add_household_bystanders(scene, rng)
    return scene


def _cameras(layout: AssemblyHandsLayout, place: Place, head: NDArray) -> tuple[NDArray, NDArray]:
    """Intrinsics (K, 3, 3) and extrinsics (F, K, 4, 4) of the cameras around the table, then of the headset's."""
    options = layout.options
    exo_size, ego_size = (options.exo_width, options.exo_height), (options.ego_width, options.ego_height)
    exo = ring_cameras(options.seed, layout.camera_layout_of(place), options.exo_cameras, exo_size)
    ego = headset_cameras(options.seed, layout.headset_of(place[0]), options.ego_cameras, ego_size)
    still = np.broadcast_to(exo[1], (len(head), *exo[1].shape))
    return np.concatenate([exo[0], ego[0]]), np.concatenate([still, ego[1] @ head[:, None]], 1)


def _renderer(layout: AssemblyHandsLayout, place: Place, scene: Scene, model: ProceduralHand) -> Render:
    """The renderer of a scene, which looks the same in all of its cameras."""
    seed, person = layout.options.seed, draw_person(layout.options.seed, place[0])
    needed = np.array(scene.visible.any(2))
    needed[:, : layout.options.exo_cameras] = True

    def render(camera: int) -> Iterator[Frame]:
        look, sensor = (np.random.default_rng([seed, n, *place, *extra]) for n, extra in ((95, ()), (96, (camera,))))
        renderer = MovingCameraRenderer(
            scene, person.skin, person.arm, model, look, camera=camera, sensor_rng=sensor, oversampling=1
        )
        for index in range(len(scene.joints)):
            yield renderer.render(index) if needed[index, camera] else _NOT_RENDERED

    return render


_NOT_RENDERED = Frame(np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8))
