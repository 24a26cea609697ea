"""Scenes of hands alone, for layouts without images: one or two hands of a person, each with a motion of its own.

A motion is gestures in the air, or taking and moving an object. Without images nobody sees whether fingertips touch
the object, so the search for a sound grasp, most of the cost, is left out. The person is at +y. Legend: F frames.
"""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.cameras import dome_extrinsics
from handpose.synthesis.layouts.poses import PoseLayout
from handpose.synthesis.motion.gestures import HandMotion, plan_gestures
from handpose.synthesis.motion.grasp_search import Candidate, search_grasps, types_for
from handpose.synthesis.motion.posing import mirrored, pose_hand
from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Place, Scene
from handpose.synthesis.scenes.base import Job, SceneSource, render_nothing
from handpose.synthesis.scenes.grasping import Draft, plan_draft

GRASP_SHARE = 0.4  # of the hands take an object
MISSING_SHARE = 1 / 12  # of the frames have no labels, in one run; of two hands' frames as many lack one of them
_APART = (0.06, 0.24)  # metres between the middles of two hands' motions
_DISTANCES, _AIM = (0.75, 1.1), np.array([0, 0, 0.17])  # metres: how far the cameras are from where they aim


class PoseScenes(SceneSource):
    """Scenes of hands alone.

    Args:
        layout: which sequences there are, of which hands, and their cameras.
    """

    def __init__(self, layout: PoseLayout) -> None:
        super().__init__()
        self.layout = layout

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`."""
        for place in job:
            yield place, self.build(place), render_nothing

    def build(self, place: Place) -> Scene:
        """The scene of a sequence; its cameras are the subject's."""
        layout, options = self.layout, self.layout.options
        sides = layout.hands(place[1])
        rng = np.random.default_rng([options.seed, *place])
        shape = rng.normal(0, 0.8, 10).clip(-2, 2)
        motions = [_draw_motion(rng, options.frames, self.model, shape) for _ in sides]
        apart = rng.uniform(*_APART) * (len(sides) == 2)
        hands = {}
        for side, motion in zip(sides, motions, strict=True):
            wrist = mirrored(motion.wrist) if side == Side.LEFT else motion.wrist.copy()
            # Seen from in front the right hand is the one on the left.
            wrist[:, 0, 3] += apart / 2 * (1 if side == Side.LEFT else -1)
            hands[side] = pose_hand(self.model, shape, motion.angles, wrist, side)
        scene = Scene.of_hands('_'.join(motion.name for motion in motions), shape, hands)
        rig = np.random.default_rng([options.seed, place[0], 44])  # the cameras stay where they are for a subject
        extrinsics = dome_extrinsics(rig, _AIM, options.cameras, _DISTANCES)
        scene.set_cameras(layout.intrinsics, extrinsics, layout.image_sizes)
        scene.hand_valid = _draw_labelled(rng, options.frames, len(sides))
        return scene


def _draw_motion(rng: Generator, frames: int, model: ProceduralHand, shape: NDArray) -> HandMotion:
    if rng.random() >= GRASP_SHARE:
        return plan_gestures(rng, frames, model.joint_limits.double().numpy())
    target = make_object(int(rng.choice(sorted(CLASSES))), rng)
    types = types_for(target.kind)
    candidate = Candidate(types[rng.integers(len(types))], target, shape, rng)
    (grasp,) = search_grasps(model, [candidate], steps=0)
    motion = plan_draft(frames, model, Draft(rng, target, shape, grasp))
    return HandMotion(motion.wrist, motion.angles, f'{motion.action}_{target.kind}'.replace(' ', '_'))


def _draw_labelled(rng: Generator, frames: int, hands: int) -> NDArray:
    """(F, H) bool: a run of frames without labels, and, of two hands, one where a single one has none."""
    labelled = np.ones((frames, hands), bool)
    length = max(1, int(frames * MISSING_SHARE))
    for column in (slice(None), int(rng.integers(hands)))[:hands]:
        # Not at the ends, so that every sequence has its whole length.
        start = rng.integers(1, frames - length - 1)
        labelled[start : start + length, column] = False
    return labelled
