"""Scenes of both hands of a person who performs one action after another, without images. Legend: F frames."""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.synthesis.actor import POSE_RATE, draw_actor
from handpose.synthesis.layouts.assembly101 import Assembly101Layout
from handpose.synthesis.motion.continuous import SIDES, play_recording
from handpose.synthesis.motion.posing import pose_hand, without_mesh
from handpose.synthesis.motion.trajectories import pose
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Place, Scene
from handpose.synthesis.scenes.base import Job, SceneSource, render_nothing

_LOST_RATE, _LOST_SECONDS = 0.02, (0.15, 0.8)  # how often a second, and for how long, a hand is not tracked
_PLACE, _TURN = 0.03, 0.06  # metres and radians by which a person stands elsewhere in each recording, one sigma


class RecordingScenes(SceneSource):
    """Scenes of recordings of several actions each.

    Args:
        layout: which recordings there are, and their actions.
    """

    def __init__(self, layout: Assembly101Layout) -> None:
        super().__init__()
        self.layout = layout
        self._joints_model = without_mesh(self.model)

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`."""
        for place in job:
            yield place, self.build(place), render_nothing

    def build(self, place: Place) -> Scene:
        """The scene of a recording, whose hands have no mesh; its world is the table's frame of all recordings."""
        seed = self.layout.options.seed
        actor, rng = draw_actor(seed, place[0]), np.random.default_rng([seed, 84, *place])
        plans, frames = self.layout.plan(*place)
        stand = pose((*rng.normal(0, _PLACE, 2), 0), (0, 0, np.rad2deg(actor.heading + rng.normal(0, _TURN))))
        hands = {
            side: pose_hand(self._joints_model, actor.shape, path.angles, stand @ path.wrist, side)
            for side, path in play_recording(rng, self.model, actor, plans, frames).items()
        }
        scene = Scene.of_hands(self.layout.name(*place), actor.shape, hands)
        scene.hand_valid = np.stack([_draw_tracked(rng, frames) for _ in SIDES], 1)
        return scene


def _draw_tracked(rng: Generator, frames: int) -> NDArray:
    """(F,) bool: False in runs in which a hand is lost."""
    tracked = np.ones(frames, bool)
    for _ in range(rng.poisson(_LOST_RATE * frames / POSE_RATE)):
        start, length = int(rng.integers(frames)), round(POSE_RATE * rng.uniform(*_LOST_SECONDS))
        tracked[start : start + length] = False
    return tracked
