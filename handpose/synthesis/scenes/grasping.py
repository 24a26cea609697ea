"""Scenes of one hand that grasps an object, seen by several cameras.

Every sequence draws its own hand shape, object, skin, motion and cameras from its own seed, so that the train and test
sequences of a split by sequence (DexYCB's s0) share none of them. Legend: F frames.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.cameras import dome_extrinsics
from handpose.synthesis.layouts.multi_view import RenderedLayout
from handpose.synthesis.motion.grasp_motion import GraspMotion, plan_grasp_motion
from handpose.synthesis.motion.grasp_search import (
    MAX_GAP,
    MAX_PENETRATION,
    Candidate,
    Grasp,
    measure_contact,
    search_grasps,
    types_for,
)
from handpose.synthesis.motion.posing import mirrored, pose_hand
from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.objects.shapes import SceneObject
from handpose.synthesis.options import SEQUENCES_PER_BLOCK, MultiViewOptions
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.rendering.still_camera import still_cameras
from handpose.synthesis.scene import Place, Scene
from handpose.synthesis.scenes.base import Job, SceneSource
from handpose.synthesis.scenes.bystanders import add_bystanders

MAX_ROUNDS, DRAWS_PER_ROUND = 12, 2  # two draws cost little more than one: the search is batched
_ABSENT_SHARE = 0.4  # of the sequences start with the hand out of view, and as many end so
_DISTANCES = (0.58, 0.82)  # metres from the cameras to where they look


class Draft(NamedTuple):
    """What a sequence is about before it moves: its generator, grasped object, hand shape (10,) and grasp."""

    rng: Generator
    target: SceneObject
    shape: NDArray
    grasp: Grasp


class GraspScenes(SceneSource):
    """Scenes of one hand that grasps an object.

    Args:
        layout: which sequences there are, of which hand, and their cameras.
    """

    def __init__(self, layout: RenderedLayout) -> None:
        super().__init__()
        self.layout = layout

    def jobs(self, places: Sequence[Place]) -> list[Job]:
        """Groups sequences by blocks, whose grasps are searched together."""
        return [list(block) for _, block in groupby(places, lambda place: (place[0], place[1] // SEQUENCES_PER_BLOCK))]

    def make(self, job: Job) -> Iterator[tuple[Place, Scene, Render]]:
        """See `SceneSource.make`; all grasps of a block are searched, since a batch decides its results."""
        (subject, first), options = job[0], self.layout.options
        block = first // SEQUENCES_PER_BLOCK
        drafts = draft_block(options, self.model, subject, block)
        for place in job:
            draft = drafts[place[1] - block * SEQUENCES_PER_BLOCK]
            scene = build_grasp_scene(self.layout, self.model, draft)
            yield place, scene, still_cameras(scene, self.model, np.random.default_rng([options.seed, *place, 1]))

    def measure(self) -> dict[str, float]:
        """The number of holding frames, and the shares that fulfil both guarantees."""
        counts = np.zeros(3, int)
        for facts in self.layout.read_facts():
            counts += [facts['holding_frames'], facts['touching_frames'], facts['clear_frames']]
        touching, clear = counts[1:] / max(int(counts[0]), 1)
        return {
            'holding_frames': int(counts[0]),
            'fingertips_within_3_mm': round(float(touching), 6),
            'penetration_below_2_mm': round(float(clear), 6),
        }

    def describe(self, measured: dict[str, float]) -> str:
        """See `SceneSource.describe`."""
        return (
            f'of {measured["holding_frames"]} holding frames, {measured["fingertips_within_3_mm"]:.1%} have every '
            f'engaged fingertip within 3 mm of the object, {measured["penetration_below_2_mm"]:.1%} have the hand less '
            'than 2 mm inside it'
        )


def draft_block(options: MultiViewOptions, model: ProceduralHand, subject: int, block: int) -> list[Draft]:
    """Drafts the sequences of one block (`SEQUENCES_PER_BLOCK`), their grasps searched together.

    Args:
        options: of the dataset.
        model: the hand model.
        subject: number of the subject.
        block: number of the subject's block.

    Raises:
        RuntimeError: a sequence found no sound grasp in `MAX_ROUNDS` rounds.
    """
    class_id = object_class(options, subject, block)
    sequences = range(block * SEQUENCES_PER_BLOCK, (block + 1) * SEQUENCES_PER_BLOCK)
    generators = {s: np.random.default_rng([options.seed, subject, s]) for s in sequences}
    drafts: dict[int, Draft] = {}
    for _ in range(MAX_ROUNDS):
        waiting = [s for s in sequences if s not in drafts for _ in range(DRAWS_PER_ROUND)]
        candidates = [_draw_candidate(generators[s], class_id, s) for s in waiting]
        for sequence, candidate, grasp in zip(waiting, candidates, search_grasps(model, candidates), strict=True):
            if grasp.sound and sequence not in drafts:
                drafts[sequence] = Draft(candidate.rng, candidate.target, candidate.shape, grasp)
        if len(drafts) == len(sequences):
            return [drafts[s] for s in sequences]
    raise RuntimeError(
        f'no sound grasp of a {CLASSES[class_id][0]} (class {class_id}) in {MAX_ROUNDS * DRAWS_PER_ROUND} draws for '
        f'subject {subject}, block {block}: another seed draws other objects'
    )


def _draw_candidate(rng: Generator, class_id: int, sequence: int) -> Candidate:
    target = make_object(class_id, rng)
    types = types_for(target.kind)
    shape = rng.normal(0, 0.8, 10).clip(-2, 2)
    return Candidate(types[(sequence + rng.integers(2)) % len(types)], target, shape, rng)


def object_class(options: MultiViewOptions, subject: int, block: int) -> int:
    """The object class (1-21) that a block's sequences grasp: a shuffled list, walked through block by block."""
    order = np.random.default_rng([options.seed, 21]).permutation(sorted(CLASSES))
    return int(order[(subject * (options.sequences // SEQUENCES_PER_BLOCK) + block) % len(order)])


def plan_draft(frames: int, model: ProceduralHand, draft: Draft) -> GraspMotion:
    """The motion of a draft, a right hand's, from where the hand comes from to where it goes."""
    rng, grasp = draft.rng, draft.grasp
    far = np.where(rng.random(2) < _ABSENT_SHARE, 0.75, 0.3) * rng.uniform(0.85, 1.15, 2)
    heading = np.pi / 2 + np.deg2rad(rng.uniform(-75, 75))
    hand = pose_hand(model, draft.shape, grasp.angles[None], grasp.wrist[None], Side.RIGHT)
    height = grasp.wrist[2, 3] * 0.5 + draft.target.height * 0.25
    position, mesh = rng.uniform(-0.03, 0.03, 2), draft.target.mesh()
    return plan_grasp_motion(rng, frames, grasp, height, mesh.vertices, hand.vertices[0], position, heading, far)


def build_grasp_scene(layout: RenderedLayout, model: ProceduralHand, draft: Draft) -> Scene:
    """Animates a draft, sets the cameras and places bystanders.

    Args:
        layout: the cameras' images, and the side of the hand, which is drawn where the layout leaves it open.
        model: the hand model.
        draft: from `draft_block`.
    """
    rng, grasp, options = draft.rng, draft.grasp, layout.options
    drawn_side = int(rng.integers(2))  # drawn in any case, so that the rest of the scene does not depend on the choice
    side = drawn_side if layout.side is None else layout.side
    motion = plan_draft(options.frames, model, draft)
    wrist, object_pose = motion.wrist, motion.object_pose
    if side == Side.LEFT:  # the mirror image of a right hand's scene, which the objects' symmetry allows
        wrist, object_pose = mirrored(wrist), mirrored(object_pose)
    hand = pose_hand(model, draft.shape, motion.angles, wrist, side)
    scene = Scene.of_hands(motion.action, draft.shape, {side: hand})
    scene.add_objects([draft.target], object_pose[:, None])
    scene.holding = motion.holding
    scene.moving = np.r_[False, np.abs(np.diff(object_pose, axis=0)).max((1, 2)) > 1e-5]
    middle = scene.joints[scene.holding, 0].mean((0, 1)) * 0.7 + object_pose[scene.holding, :3, 3].mean(0) * 0.3
    extrinsics = dome_extrinsics(rng, middle, options.cameras, _DISTANCES)
    scene.set_cameras(layout.intrinsics, extrinsics, layout.image_sizes)
    add_bystanders(scene, rng)
    poses, vertices = object_pose[scene.holding], scene.vertices[scene.holding, 0]
    gap, penetration = measure_contact(model, grasp.type, draft.target, poses, vertices)
    scene.facts = {
        'grasp': grasp.type.name, 'action': motion.action, 'object': draft.target.kind, 'holding_frames': len(gap),
        'touching_frames': int((gap <= MAX_GAP).sum()),
        'clear_frames': int((penetration <= MAX_PENETRATION).sum()),
    }  # fmt: skip
    return scene
