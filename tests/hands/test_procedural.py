import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from handpose.hands import BONES, ProceduralHand, vertex_normals
from handpose.hands.procedural import REST_WRIST, SHAPE_MEANINGS, build_template
from handpose.hands.procedural_anatomy import DIGITS, SHAPE
from handpose.registry import HAND_MODELS

RIGHT, LEFT = torch.tensor(1), torch.tensor(0)
THUMB, INDEX, MIDDLE, RING, LITTLE = range(5)
DISTAL = {THUMB: 15, INDEX: 3, MIDDLE: 6, RING: 12, LITTLE: 9}


@pytest.fixture(scope='module')
def hand():
    return HAND_MODELS.build({'type': 'ProceduralHand'}).double()


def rest(hand, side=RIGHT, pose=None, shape=None, transl=None):
    zeros = torch.zeros(16, 3).double()
    return hand(
        zeros if pose is None else pose,
        torch.zeros(10).double() if shape is None else shape,
        torch.zeros(3).double() if transl is None else transl,
        side,
    )


def flexed(hand, degrees):
    """All finger joints turned about their flexion axes."""
    pose = torch.zeros(16, 3).double()
    pose[1:] = hand.joint_axes[..., 2] * math.radians(degrees)
    return pose


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return (a * torch.linalg.cross(b, c)).sum() / 6


def test_the_mesh_is_one_closed_surface_wound_outward(hand):
    faces = hand.faces
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(directed.unique(dim=0)) == len(directed)  # each directed edge once ...
    assert torch.equal(directed.unique(dim=0), directed.flip(1).unique(dim=0))  # ... and its opposite once
    edges = directed.sort(1).values.unique(dim=0)
    assert hand.num_vertices - len(edges) + len(faces) == 2  # a sphere's
    assert faces.unique().numel() == hand.num_vertices
    graph = np.zeros((hand.num_vertices, hand.num_vertices), bool)
    graph[tuple(edges.T)] = True
    assert connected_components(graph)[0] == 1
    assert 700 <= hand.num_vertices <= 1400
    for side in (LEFT, RIGHT):
        mesh = rest(hand, side)
        assert 250e-6 < volume(mesh.vertices, hand.faces_of(side)) < 450e-6  # m^3, an adult hand
        centre = mesh.joints[[0, 9]].mean(0)
        outward = (vertex_normals(mesh.vertices, hand.faces_of(side)) * (mesh.vertices - centre)).sum(-1)
        assert (outward > 0).double().mean() > 0.9
    area = torch.linalg.cross(*(mesh.vertices[faces[:, i]] - mesh.vertices[faces[:, 0]] for i in (1, 2))).norm(dim=-1)
    assert area.min() > 1e-7  # no sliver: at least 0.05 mm^2


def test_it_is_built_the_same_twice():
    first, again = build_template(), build_template.__wrapped__()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rest_pose_axes_and_sizes(hand):
    joints = rest(hand).joints
    torch.testing.assert_close(joints[0], torch.tensor(REST_WRIST).double())
    fingers = joints[[8, 12, 16, 20]] - joints[[5, 9, 13, 17]]
    assert (fingers[:, 0] < -0.05).all() and (fingers[:, 1:].abs().amax(1) < 0.04).all()  # along -x
    assert joints[4, 2] > joints[5, 2] > joints[9, 2] > joints[13, 2] > joints[17, 2]  # thumb on the +z side
    knuckle = vertex_normals(rest(hand).vertices, hand.faces)[(rest(hand).vertices - joints[9]).norm(dim=-1).argsort()]
    assert knuckle[:3, 1].abs().min() > 0.5
    lengths = {f'{a}-{b}': float((joints[b] - joints[a]).norm()) * 1000 for a, b in BONES}
    published = {'1-2': 46.22, '2-3': 31.57, '5-6': 39.78, '6-7': 22.38, '9-10': 44.63, '10-11': 26.33,
                 '13-14': 41.37, '14-15': 25.65, '17-18': 32.74, '18-19': 18.11}  # fmt: skip
    for bone, length in published.items():
        assert lengths[bone] == pytest.approx(length, abs=1e-3), bone
    reach = float((joints[12] - joints[0]).norm())
    assert 0.175 < reach < 0.2  # hand length


def test_left_is_the_mirror_image_in_mano_convention(hand):
    rng = np.random.default_rng(0)
    pose, shape = torch.tensor(rng.normal(0, 0.4, (16, 3))), torch.tensor(rng.normal(size=10))
    transl = torch.tensor([0.1, 0.2, 0.3]).double()
    right = rest(hand, RIGHT, pose, shape, transl)
    mirror = torch.tensor([-1.0, 1.0, 1.0]).double()
    left = rest(hand, LEFT, pose * torch.tensor([1.0, -1.0, -1.0]), shape, transl * mirror)
    torch.testing.assert_close(left.vertices, right.vertices * mirror)
    torch.testing.assert_close(left.joints, right.joints * mirror)


def test_translation_is_not_the_wrist(hand):
    generator = torch.Generator().manual_seed(1)
    pose, shape = torch.randn(16, 3, generator=generator).double(), torch.randn(10, generator=generator).double()
    transl = torch.tensor([0.3, -0.2, 0.9]).double()
    for side in (LEFT, RIGHT):
        mesh, wrist = rest(hand, side, pose, shape, transl), hand.rest_wrist(shape, side)
        torch.testing.assert_close(mesh.joints[0], transl + wrist)
        assert wrist[0].abs() > 0.05
        # moving the parameters to another frame: turn the wrist, correct the translation, as with MANO
        turn = Rotation.random(random_state=0)
        moved = pose.clone()
        moved[0] = torch.tensor((turn * Rotation.from_rotvec(pose[0])).as_rotvec())
        matrix = torch.tensor(turn.as_matrix())
        again = rest(hand, side, moved, shape, matrix @ (transl + wrist) - wrist)
        torch.testing.assert_close(again.vertices, mesh.vertices @ matrix.T)


def test_positive_flexion_turns_to_the_pad_and_positive_abduction_to_the_thumb(hand):
    axes, mesh = hand.joint_axes, rest(hand)
    eye = torch.eye(3).double().expand(15, 3, 3)
    torch.testing.assert_close(axes.mT @ axes, eye)
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(15).double())
    normals = vertex_normals(mesh.vertices, hand.faces)
    common = {THUMB: 1, INDEX: 5, MIDDLE: 9, RING: 13, LITTLE: 17}
    for finger, base in common.items():
        pads = normals[hand.fingertip_pads[finger]].mean(0)
        for number in range(3):
            joint = DISTAL[finger] - 2 + number
            tip = 4 * finger + 4
            arm = mesh.joints[tip] - mesh.joints[base + number]
            flexion = torch.linalg.cross(axes[joint - 1, :, 2], arm)
            assert torch.cosine_similarity(flexion, pads, 0) > 0.6
            abduction = torch.linalg.cross(axes[joint - 1, :, 1], arm)
            assert (abduction[2] if finger != THUMB else -abduction[1]) > 0
            assert torch.cosine_similarity(axes[joint - 1, :, 0], -arm, 0) > 0.9


def test_limits_hold_an_open_hand_a_fist_and_a_pinch_of_every_finger(hand):
    limits = hand.joint_limits
    assert limits.shape == (15, 3, 2) and (limits[..., 0] <= 0).all() and (limits[..., 1] >= 0).all()
    assert (limits[:12, 2, 1] > math.radians(75)).all()
    curled = rest(hand, pose=torch.cat([torch.zeros(1, 3).double(), (hand.joint_axes[..., 2] * limits[:, 2:, 1])]))
    for tip, base in ((8, 5), (12, 9), (16, 13), (20, 17)):  # the tips come back to the palm
        assert (curled.joints[tip] - curled.joints[base]).norm() < 0.04
        assert curled.joints[tip, 1] < curled.joints[base, 1]
    assert (pinch_gaps(hand) < 0.002).all()


def pinch_gaps(hand):
    """(4,) metres between the thumb's pad and each finger's, as near as angles within the limits bring them."""
    low, high = hand.joint_limits.unbind(-1)
    start = torch.zeros(4, 15, 3).double()
    start[..., 2] = math.radians(20)
    fingers = torch.arange(4)
    free = torch.logit(((start - low) / (high - low)).clamp(0.05, 0.95)).requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.15)
    for _ in range(60):
        angles = low + (high - low) * torch.sigmoid(free)
        rotvecs = (hand.joint_axes @ angles[..., None])[..., 0]
        vertices = rest(hand, pose=torch.cat([torch.zeros(4, 1, 3).double(), rotvecs], 1)).vertices
        pads = vertices[:, hand.fingertip_pads].mean(2)
        gaps = (pads[:, THUMB] - pads[fingers, fingers + INDEX]).norm(dim=-1)
        optimiser.zero_grad()
        gaps.sum().backward()
        optimiser.step()
    return gaps.detach()


def test_skinning_is_smooth_and_does_not_bleed_between_fingers(hand):
    weights = hand.weights
    torch.testing.assert_close(weights.sum(1), torch.ones(hand.num_vertices).double())
    assert (weights >= 0).all()
    family = torch.arange(16).sub(1).div(3, rounding_mode='floor').clamp_min(-1)
    by_digit = torch.stack([weights[:, family == digit].sum(1) for digit in range(5)], 1)
    beyond_first = torch.stack([weights[:, family == digit][:, 1:].sum(1) for digit in range(5)], 1)
    own = by_digit.argmax(1, keepdim=True)
    moving = beyond_first.gather(1, own)[:, 0] > 0.1  # past a finger's first segment nothing else pulls
    assert moving.sum() > 300
    others = by_digit.sum(1) - by_digit.gather(1, own)[:, 0]
    assert others[moving].max() < 0.03
    edges = torch.cat([hand.faces[:, [0, 1]], hand.faces[:, [1, 2]]])
    assert (weights[edges[:, 0]] - weights[edges[:, 1]]).abs().max() < 0.75
    for digit, name in enumerate(DIGITS):  # every segment has skin of its own
        assert (weights[:, 1 + 3 * digit : 4 + 3 * digit].amax(0) > 0.85).all(), name


def test_the_hand_keeps_its_volume_and_does_not_turn_inside_out_when_flexed(hand):
    open_hand = volume(rest(hand).vertices, hand.faces)
    for degrees in (30, 60, 80):
        mesh = rest(hand, pose=flexed(hand, degrees))
        assert volume(mesh.vertices, hand.faces) > 0.85 * open_hand


def test_tips_and_pads_lie_where_a_finger_touches(hand):
    assert hand.fingertip_vertices.shape == (5,) and hand.fingertip_pads.shape == (5, 6)
    mesh = rest(hand)
    normals = vertex_normals(mesh.vertices, hand.faces)
    for finger, joint in DISTAL.items():
        own = hand.weights[hand.fingertip_pads[finger], joint]
        assert own.min() > 0.5 and hand.weights[hand.fingertip_vertices[finger], joint] > 0.9
        dorsal = hand.joint_axes[joint - 1, :, 1]
        assert (normals[hand.fingertip_pads[finger]] @ dorsal).max() < -0.25
        length = (mesh.joints[4 * finger + 4] - mesh.joints[4 * finger + 3]).norm()
        assert 0.014 < length < 0.03
    assert set(hand.skin_regions.tolist()) == {0, 1, 2, 3, 4}


def test_shape_numbers_mean_what_they_say(hand):
    """Each number, at +1, changes the measure it is named after by its standard deviation and leaves the others."""
    lengths = {'thumb': (1, 2), 'index': (5, 6), 'middle': (9, 10), 'ring': (13, 14), 'little': (17, 18)}

    def measures(shape):
        mesh = rest(hand, shape=shape)
        palm = hand.weights[:, 0] > 0.98
        size = mesh.vertices[palm].amax(0) - mesh.vertices[palm].amin(0)
        at_pip = (hand.weights[:, 4] > 0.4) & (hand.weights[:, 5] > 0.4)  # around the middle finger's PIP
        girth = (mesh.vertices[at_pip] - mesh.joints[10])[:, 1:].norm(dim=-1).mean()
        bones = {f'{name} length': (mesh.joints[b] - mesh.joints[a]).norm() for name, (a, b) in lengths.items()}
        return {**bones, 'palm width': size[2], 'palm thickness': size[1], 'finger thickness': girth}

    mean = measures(torch.zeros(10).double())
    fingers = [f'{name} length' for name in ('index', 'middle', 'ring', 'little')]
    moves = {'overall size': list(mean), 'length of all fingers': fingers}
    for number, (name, deviation) in enumerate(SHAPE):
        assert SHAPE_MEANINGS[number] == name
        changed = measures(torch.eye(10).double()[number])
        for measure, value in mean.items():
            expected = deviation if measure in moves.get(name, [name]) else 0.0
            assert float(changed[measure] / value - 1) == pytest.approx(expected, abs=0.004), (name, measure)


def test_parameters_are_linear_and_hands_stay_plausible(hand):
    first, second = torch.randn(2, 10, generator=torch.Generator().manual_seed(2)).double()
    both = [rest(hand, shape=s).vertices for s in (first, second, (first + second) / 2)]
    torch.testing.assert_close((both[0] + both[1]) / 2, both[2])
    generator = torch.Generator().manual_seed(3)
    for shape in torch.randn(20, 10, generator=generator).double():
        assert 150e-6 < volume(rest(hand, shape=shape).vertices, hand.faces) < 700e-6


def test_gradients_match_finite_differences(hand):
    torch.manual_seed(0)
    chosen = hand.fingertip_vertices

    def tips(pose, shape, transl):
        mesh = hand(pose, shape, transl, torch.tensor([0, 1]))
        return mesh.vertices[:, chosen], mesh.joints

    inputs = (0.5 * torch.randn(2, 16, 3), torch.randn(2, 10), torch.randn(2, 3))
    assert torch.autograd.gradcheck(tips, [value.double().requires_grad_() for value in inputs], fast_mode=True)


def test_it_adds_nothing_to_a_checkpoint():
    model = ProceduralHand()
    assert model.state_dict() == {} and model.name == 'procedural-1'
    assert model.pose_mean.abs().max() == 0 and torch.equal(model.pose_basis, torch.eye(45))
    assert model.parents.tolist() == [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]


def test_bones_are_as_long_as_in_real_hands(hand):
    """Against DexYCB's ten subjects: bones of the same order of size, wrist to knuckles nearly equal."""
    root = os.environ.get('HANDPOSE_REAL_DATA')
    path = Path(root or '.') / 'dexycb_motion' / 'dexycb_motion.npz'
    if root is None or not path.is_file():
        pytest.skip('HANDPOSE_REAL_DATA does not name a folder with dexycb_motion/dexycb_motion.npz')
    data = np.load(path)
    real = data['joints'][data['frame_valid']][::50]
    joints = rest(hand).joints.numpy()
    for parent, child in BONES:
        length = np.median(np.linalg.norm(real[:, child] - real[:, parent], axis=-1))
        ratio = np.linalg.norm(joints[child] - joints[parent]) / length
        low, high = (0.93, 1.07) if child in (5, 9, 13, 17) else (0.75, 1.55)
        assert low < ratio < high, (parent, child, ratio)
