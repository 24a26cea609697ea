"""Scenes of both hands of a person that act on objects, seen by a camera on the head. The person is at -y."""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.hands import ProceduralHand
from handpose.synthesis.cameras import head_camera_extrinsics
from handpose.synthesis.layouts.videos import VideoLayout
from handpose.synthesis.motion.action_script import ScriptContext
from handpose.synthesis.motion.actions import play_script
from handpose.synthesis.motion.posing import pose_hand
from handpose.synthesis.motion.trajectories import pose
from handpose.synthesis.objects.household import make_household_object
from handpose.synthesis.objects.shapes import SceneObject
from handpose.synthesis.person import VideoPlan, draw_person
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.rendering.moving_camera import MovingCameraRenderer
from handpose.synthesis.scene import Place, Scene, Size
from handpose.synthesis.scenes.base import Job, SceneSource

_BYSTANDERS = ('cup', 'tin', 'chips', 'lotion', 'cup', 'milk')
_CAP_DEPTH = 0.012  # metres by which a cap sits on its bottle


class EgocentricScenes(SceneSource):
    """Scenes of both hands of a person, seen by a camera on the head.

    Args:
        layout: which videos there are, what they are about, and their camera.
    """

    def __init__(self, layout: VideoLayout) -> None:
        super().__init__()
        self.layout = layout

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`."""
        layout, seed = self.layout, self.layout.options.seed
        for place in job:
            plan = layout.plan(*place)
            scene = build_egocentric_scene(seed, place, plan, self.model, layout.intrinsics, layout.options.size)
            person, rng = draw_person(seed, place[0]), np.random.default_rng([seed, 74, *place])
            yield place, scene, MovingCameraRenderer(scene, person.skin, person.arm, self.model, rng).frames


def build_egocentric_scene(
    seed: int, place: Place, plan: VideoPlan, model: ProceduralHand, intrinsics: NDArray, size: Size
) -> Scene:
    """Animates a `VideoPlan`, decided by the seed and the place.

    Args:
        seed: of the dataset.
        place: (subject, video).
        plan: what the video is about.
        model: the hand model.
        intrinsics: (1, 3, 3).
        size: (width, height) of the images.
    """
    rng = np.random.default_rng([seed, 73, *place])
    person = draw_person(seed, place[0])
    script = play_script(plan.verb, plan.noun, ScriptContext(rng, model, person.shape, plan.frames))
    # The rest before and after the action; nothing but the head moves then.
    held = np.r_[np.zeros(plan.before, int), np.arange(plan.frames), np.full(plan.after, plan.frames - 1)]
    hands = {
        side: pose_hand(model, person.shape, path.angles[held], path.track[held], side)
        for side, path in sorted(script.hands.items())
    }
    scene = Scene.of_hands(f'{plan.verb} {plan.noun}', person.shape, hands)
    scene.add_objects(script.objects, np.stack(script.tracks, 1)[held])
    scene.set_cameras(intrinsics, head_camera_extrinsics(rng, person.eye, plan.total)[:, None], [size])
    add_household_bystanders(scene, rng)
    return scene


def add_household_bystanders(scene: Scene, rng: Generator) -> None:
    """Adds up to two objects that nobody touches where neither hands nor objects pass."""
    busy = np.concatenate([
        scene.object_poses[::4, :, :2, 3].reshape(-1, 2), scene.vertices[::4, :, ::40, :2].reshape(-1, 2)
    ])  # fmt: skip
    added: list[SceneObject] = []
    poses: list[NDArray] = []
    for _ in range(int(rng.integers(0, 3))):
        pieces = make_household_object(str(rng.choice(_BYSTANDERS)), rng)
        for _ in range(12):
            spot = rng.uniform((-0.3, 0.05), (0.3, 0.42))
            if np.linalg.norm(busy - spot, axis=1).min() > 0.075:
                place = pose((*spot, 0), (0, 0, rng.uniform(-180, 180)))
                busy = np.concatenate([busy, spot[None]])
                added += pieces
                poses += [place, *(place @ pose((0, 0, pieces[0].height - _CAP_DEPTH)) for _ in pieces[1:])]
                break
    if added:
        scene.add_objects(added, np.stack(poses))
