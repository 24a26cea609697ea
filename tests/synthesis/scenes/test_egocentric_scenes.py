import cv2
import numpy as np
import pytest
import torch

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.layouts.fpha import FPHALayout
from handpose.synthesis.layouts.h2o import H2OLayout
from handpose.synthesis.motion.action_script import ScriptContext
from handpose.synthesis.motion.actions import PAIRS, SCRIPTS, play_script
from handpose.synthesis.motion.grips import palm_grip
from handpose.synthesis.motion.posing import pose_hand
from handpose.synthesis.motion.trajectories import Trajectory, interpolate_tracks, pose, rotate_about, sway
from handpose.synthesis.objects.household import make_household_object
from handpose.synthesis.options import EgocentricOptions
from handpose.synthesis.person import VideoPlan, draw_person
from handpose.synthesis.rendering.decimation import decimate
from handpose.synthesis.rendering.moving_camera import HAND_LABELS, OVERSAMPLING, MovingCameraRenderer
from handpose.synthesis.scenes.egocentric import build_egocentric_scene

SIZE = (96, 54)
LAYOUTS = {'h2o': H2OLayout(EgocentricOptions('x')), 'fpha': FPHALayout(EgocentricOptions('x', layout='fpha'))}
PAIRED = [
    (forth, back, thing)
    for forth, back in PAIRS
    for layout in LAYOUTS.values()
    for thing in sorted({s[1] for s in map(layout.verb_and_noun, layout.actions) if s[0] == back})
]


@pytest.fixture(scope='module')
def model():
    return ProceduralHand()


def scene_of(model, verb, noun, frames=20, video=0, subject=0):
    plan = VideoPlan(verb, noun, frames, 1, 2)
    intrinsics = LAYOUTS['h2o'].intrinsics * [[0.6], [0.6], [1]]
    return build_egocentric_scene(0, (subject, video), plan, model, intrinsics, SIZE)


def stage(model, seed, frames=24):
    return ScriptContext(np.random.default_rng(seed), model, np.zeros(10), frames)


@pytest.mark.parametrize(('forth', 'back', 'thing'), PAIRED)
def test_the_second_of_a_pair_is_the_first_played_backwards(model, forth, back, thing):
    for seed in (0, 1):
        one, other = play_script(forth, thing, stage(model, seed)), play_script(back, thing, stage(model, seed))
        for a, b in zip(one.tracks, other.tracks, strict=True):
            np.testing.assert_array_equal(a, b[::-1])
        for side, path in one.hands.items():
            np.testing.assert_array_equal(path.track, other.hands[side].track[::-1])
            np.testing.assert_array_equal(path.angles, other.hands[side].angles[::-1])
        # ... and the two are not alike: the hand is elsewhere at the end than at the beginning.
        ends = one.hands[Side.RIGHT].track[[0, -1], :3, 3]
        assert np.linalg.norm(ends[1] - ends[0]) > 0.03


def test_nothing_but_the_scripts_depends_on_the_verb(model):
    one, other = scene_of(model, 'grab', 'milk'), scene_of(model, 'place', 'milk')
    np.testing.assert_array_equal(one.extrinsics, other.extrinsics)
    lengths = {LAYOUTS['h2o'].plan(0, video).frames for video in range(40)}
    assert min(lengths) < 55 and max(lengths) > 73 and min(lengths) >= 48 and max(lengths) <= 80


def test_pairs_have_the_same_frames_and_another_order(model):
    """Over many videos the places of a hand are the same for both verbs; the way from the first to the last is not."""
    places = {verb: [] for verb in ('grab', 'place')}
    for verb, found in places.items():
        for seed in range(60):
            s = stage(model, [seed, len(verb)], 16)
            found.append(play_script(verb, 'chips', s).hands[Side.RIGHT].track[:, :3, 3])
    grab, place = (np.array(found) for found in places.values())
    frames = [p.reshape(-1, 3) for p in (grab, place)]
    assert np.abs(frames[0].mean(0) - frames[1].mean(0)).max() < 0.02
    assert np.abs(frames[0].std(0) - frames[1].std(0)).max() < 0.015
    ways = [p[:, -1] - p[:, 0] for p in (grab, place)]
    assert np.abs(ways[0].mean(0) + ways[1].mean(0)).max() < 0.03 and ways[0].mean(0)[2] > 0.03 > ways[1].mean(0)[2]


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_actions_pairs_and_objects(layout):
    scripts = [layout.verb_and_noun(name) for name in layout.actions]
    assert len(layout.actions) >= 14 and {verb for verb, _ in scripts} <= set(SCRIPTS)
    things = {thing for _, thing in scripts}
    pairs = [(a, b, thing) for a, b in PAIRS for thing in things if {(a, thing), (b, thing)} <= set(scripts)]
    assert len(pairs) >= 4
    for thing in things:
        assert sum(t == thing for _, t in scripts) >= 2, f'{thing} gives its verb away'


@pytest.mark.parametrize('name', ['grab milk', 'open lotion', 'take out cocoa', 'spray spray'])
def test_joints_are_where_the_hands_are_drawn(model, name):
    scene = scene_of(model, *name.rsplit(' ', 1))
    person = draw_person(0, 0)
    renderer = MovingCameraRenderer(scene, person.skin, person.arm, model, np.random.default_rng(0))
    on_hand, elsewhere = 0, 0
    for index, frame in enumerate(renderer.frames()):
        image, labels, extrinsics = frame.image, frame.seg, scene.extrinsics[index, 0]
        assert image.shape == (SIZE[1], SIZE[0], 3) and image.dtype == np.uint8 and image.std() > 4
        for hand, side in enumerate(scene.sides):
            local = scene.joints[index, hand] @ extrinsics[:3, :3].T + extrinsics[:3, 3]
            uv = local @ scene.intrinsics[0].T
            uv = np.round(OVERSAMPLING * uv[:, :2] / uv[:, 2:] + 0.5).astype(int)
            uv = uv[((uv >= 0) & (uv < OVERSAMPLING * np.array(SIZE))).all(1)]
            seen, near = (m[uv[:, 1], uv[:, 0]] for m in (labels, cv2.dilate(labels, np.ones((3, 3), np.uint8))))
            on_hand += (seen == HAND_LABELS[side]).sum()
            elsewhere += (near == 0).sum()  # what is nearer may hide a joint, the table may not
    assert on_hand > 60 and elsewhere <= 0.01 * on_hand


def test_the_camera_moves_and_sees_both_hands(model):
    scene = scene_of(model, 'open', 'milk', frames=60)
    extrinsics = scene.extrinsics[:, 0]
    eyes = -(extrinsics[:, :3, :3].transpose(0, 2, 1) @ extrinsics[:, :3, 3:])[..., 0]
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).sum() > 0.002 and np.ptp(eyes, axis=0).max() < 0.2
    assert (scene.visible.mean(0) > 0.5).all()


def test_people_differ():
    people = [draw_person(0, subject) for subject in range(8)]
    assert len({p.shape.tobytes() for p in people}) == len({p.skin.tobytes() for p in people}) == 8
    assert np.ptp([p.eye[2] for p in people]) > 0.03 and np.ptp([p.pace for p in people]) > 0.1


@pytest.mark.parametrize('name', ['milk', 'chips', 'lotion', 'spray', 'tin', 'juice_bottle'])
def test_fingers_close_until_they_touch(model, name):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        item, shape = make_household_object(name, rng)[0], rng.normal(0, 0.8, 10)
        grip = palm_grip(model, shape, item)
        vertices = posed(model, shape, grip, Side.RIGHT)
        distance = item.distance(torch.from_numpy(vertices)).numpy()
        assert distance.min() > -0.012  # a short bottle's palm: its edges, not its fingers
        fingers = model.weights[:, 1:].argmax(1).numpy() // 3
        touching = [distance[fingers == finger].min() < 0.004 for finger in range(5)]
        assert sum(touching) >= 3
        mirrored = posed(model, shape, grip.of_side(Side.LEFT), Side.LEFT)
        np.testing.assert_allclose(mirrored * (-1, 1, 1), vertices, atol=1e-5)


def posed(model, shape, grip, side):
    return pose_hand(model, shape, grip.closed[None], grip.wrist[None], side).vertices[0]


def test_the_coarse_mesh_is_closed_and_near(model):
    vertices, faces = model.template_vertices.double().numpy(), model.faces.numpy()
    coarse = decimate(vertices, faces, 520)
    used = np.unique(coarse)
    edges = np.sort(np.concatenate([coarse[:, [0, 1]], coarse[:, [1, 2]], coarse[:, [2, 0]]]), 1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert len(used) <= 520 and (counts == 2).all()
    assert len(used) - len(counts) + len(coarse) == 2  # Euler: a sphere, as the hand is
    whole, less = (volume(vertices, f) for f in (faces, coarse))
    assert 0.9 * whole < less < 1.02 * whole
    np.testing.assert_array_equal(decimate(vertices, faces, 520), coarse)


def volume(vertices, faces):
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return (a * np.cross(b, c)).sum() / 6


def test_paths():
    time = np.linspace(0, 1, 11)
    start, end = pose((0, 0, 0)), pose((0.1, 0, 0), (0, 0, 90))
    path = Trajectory(time, start).move_to(0.2, 0.8, end, lift=0.05).track
    np.testing.assert_allclose(path[:3], np.tile(start, (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(path[-3:], np.tile(end, (3, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(path[5, :3, 3], (0.05, 0, 0.05), atol=1e-12)
    np.testing.assert_allclose(path[5, :2, 0], np.sqrt([0.5, 0.5]), atol=1e-12)
    turned = rotate_about(path, (0, 1, 0), np.full(11, 0.3), pivot=(0, 0, 0.1))
    pivot = np.array([0, 0, 0.1, 1])
    np.testing.assert_allclose(turned @ pivot, path @ pivot, atol=1e-12)
    np.testing.assert_allclose(interpolate_tracks(path, turned, np.ones(11)), turned, atol=1e-12)
    waves = sway(np.random.default_rng(0), np.linspace(0, 1, 3000), 100, 0.01)
    assert np.abs(waves).max() < 0.1 and np.abs(waves.mean(0)).max() < 0.01
