import numpy as np
import pytest
import torch

from handpose.hands import ProceduralHand
from handpose.synthesis.layouts.dexycb import DexYCBLayout
from handpose.synthesis.motion.grasp_search import (
    GRASP_TYPES,
    MAX_GAP,
    MAX_PENETRATION,
    Candidate,
    measure_contact,
    search_grasps,
    types_for,
)
from handpose.synthesis.motion.posing import angles_to_rotvecs
from handpose.synthesis.motion.trajectories import minimum_jerk
from handpose.synthesis.objects.graspable import CLASSES, make_object
from handpose.synthesis.options import MultiViewOptions
from handpose.synthesis.scenes.grasping import Draft, build_grasp_scene


@pytest.fixture(scope='module')
def model():
    return ProceduralHand()


@pytest.fixture(scope='module')
def drafts(model):
    drafts = []
    for class_id in (1, 8):  # a cylinder held by the whole hand, a small box
        rng = np.random.default_rng(class_id)
        target = make_object(class_id, rng)
        candidates = [Candidate(types_for(target.kind)[0], target, rng.normal(0, 0.5, 10), rng) for _ in range(4)]
        grasps = search_grasps(model, candidates)
        drafts += [
            Draft(np.random.default_rng(i), target, c.shape, g)
            for i, (c, g) in enumerate(zip(candidates, grasps, strict=True))
            if g.sound
        ]
    return drafts


def test_minimum_jerk_is_the_polynomial_with_rest_at_both_ends():
    time = np.linspace(-0.2, 1.2, 15)
    s = np.clip(time, 0, 1)
    np.testing.assert_allclose(minimum_jerk(time, 0, 1), 10 * s**3 - 15 * s**4 + 6 * s**5)
    ends = np.array([1e-4, 1 - 1e-4])
    assert np.abs(minimum_jerk(ends + 1e-6, 0, 1) - minimum_jerk(ends, 0, 1)).max() < 1e-11


def test_every_kind_of_object_has_a_grasp_and_every_grasp_an_object():
    kinds = {kind for kind, _, _ in CLASSES.values()}
    assert all(types_for(kind) for kind in kinds)
    assert {kind for g in GRASP_TYPES for kind in g.kinds} <= kinds
    assert len(GRASP_TYPES) >= 6


def test_sound_grasps_are_common_and_within_joint_limits(model, drafts):
    assert len(drafts) >= 4
    limits = model.joint_limits.numpy()
    for draft in drafts:
        for angles in (draft.grasp.angles, draft.grasp.open_angles):
            assert (angles >= limits[..., 0] - 1e-6).all() and (angles <= limits[..., 1] + 1e-6).all()
        assert np.linalg.norm(draft.grasp.approach) == pytest.approx(1)


def test_held_objects_stay_in_the_rendered_hand(model, drafts):
    layout = DexYCBLayout(MultiViewOptions('unused', frames=30, cameras=2))
    sides = set()
    for draft in drafts[:4]:
        scene = build_grasp_scene(layout, model, draft)
        sides |= set(scene.sides.tolist())
        poses, vertices = scene.object_poses[scene.holding, 0], scene.vertices[scene.holding, 0]
        gap, depth = measure_contact(model, draft.grasp.type, draft.target, poses, vertices)
        assert scene.facts['holding_frames'] == scene.facts['touching_frames'] == len(gap)
        assert len(gap) == scene.holding.sum() > 8
        assert gap.max() <= MAX_GAP and depth.max() <= MAX_PENETRATION
        lowest = min((o.mesh().vertices @ p[:3, :3].T + p[:3, 3])[:, 2].min()
                     for o, poses in zip(scene.objects, scene.object_poses.transpose(1, 0, 2, 3), strict=True)
                     for p in poses)  # fmt: skip
        assert lowest > -1e-6
        assert not scene.moving[0] and scene.moving[scene.holding].mean() > 0.5
        assert scene.visible.any()
    assert sides <= {0, 1}


def test_angles_turn_about_the_models_axes(model):
    angles = torch.zeros(15, 3)
    angles[4, 2] = 0.7
    pose = angles_to_rotvecs(model, angles)
    torch.testing.assert_close(pose[4], 0.7 * model.joint_axes[4, :, 2])
    assert pose.abs().sum(1).nonzero().flatten().tolist() == [4]
