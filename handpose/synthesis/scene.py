"""A scene: one hand's act on one object, seen by several cameras. Table frame: z up, metres.

Every sequence draws its own hand shape, object instance, skin, motion and cameras from its own seed, so the train and
test sequences of a split by sequence (DexYCB's s0) share none of them.
Legend: F frames, K cameras, N objects, V hand vertices.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handpose.geometry import look_at
from handpose.synthesis.grasps import Candidate, Grasp, angles_to_pose, solve, types_for
from handpose.synthesis.motion import plan_act
from handpose.synthesis.objects import CLASSES, SceneObject, make_object
from handpose.synthesis.options import SEQUENCES_PER_BLOCK

MAX_ROUNDS, DRAWS_PER_ROUND = 12, 2  # two draws cost little more than one: the search is batched
_MIRROR = np.diag([-1.0, 1.0, 1.0])
_HIDING_SHARE = 0.45  # of the sequences have a tall object in a camera's line of sight
_TALL_CLASSES = (2, 3, 11, 12, 16)
_ABSENT_SHARE = 0.4  # of the sequences start with the hand out of sight, and as many end so


class Draft(NamedTuple):
    """What a sequence is about before it moves: its generator, grasped object, hand shape (10,) and grasp."""

    rng: np.random.Generator
    target: SceneObject
    shape: np.ndarray
    grasp: Grasp


@dataclass
class Scene:
    """A moving scene.

    `side` 0 left, 1 right; `hand_shape` (10,), `hand_pose` (F, 16, 3) rotvecs, `hand_transl` (F, 3), `rest_wrist` (3,);
    `vertices` (F, V, 3), `joints` (F, 21, 3), `faces` of that side; `present` (F, K) part of the hand is in a
    camera's picture; `holding`, `moving` (F,) the grasp is closed, the object is off its place; `objects`, the grasped
    one first, `object_poses` (F, N, 4, 4); `intrinsics` (K, 3, 3), `extrinsics` (K, 4, 4) table to camera.
    """

    side: int
    hand_shape: np.ndarray
    hand_pose: np.ndarray
    hand_transl: np.ndarray
    rest_wrist: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    faces: np.ndarray
    holding: np.ndarray
    objects: tuple
    object_poses: np.ndarray
    grasp: Grasp
    action: str
    present: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    extrinsics: np.ndarray | None = None

    @property
    def moving(self):
        """(F,) bool: the grasped object moved since the frame before."""
        step = np.abs(np.diff(self.object_poses[:, 0], axis=0)).max((1, 2))
        return np.concatenate([[False], step > 1e-5])


def draft_block(options, model, subject, block):
    """Drafts the sequences of one block (`SEQUENCES_PER_BLOCK`), their grasps searched together.

    Raises:
        RuntimeError: a sequence found no sound grasp in `MAX_ROUNDS` rounds.
    """
    class_id = object_class(options, subject, block)
    sequences = range(block * SEQUENCES_PER_BLOCK, (block + 1) * SEQUENCES_PER_BLOCK)
    generators = {s: np.random.default_rng([options.seed, subject, s]) for s in sequences}
    drafts = {}
    for _ in range(MAX_ROUNDS):
        waiting = [s for s in sequences if s not in drafts for _ in range(DRAWS_PER_ROUND)]
        candidates = [_draw_candidate(generators[s], class_id, s) for s in waiting]
        for sequence, candidate, grasp in zip(waiting, candidates, solve(model, candidates), strict=True):
            if grasp.sound and sequence not in drafts:
                drafts[sequence] = Draft(candidate.rng, candidate.target, candidate.shape, grasp)
        if len(drafts) == len(sequences):
            return [drafts[s] for s in sequences]
    raise RuntimeError(
        f'no sound grasp of a {CLASSES[class_id][0]} (class {class_id}) in {MAX_ROUNDS * DRAWS_PER_ROUND} draws for '
        f'subject {subject}, block {block}: another seed draws other objects'
    )


def _draw_candidate(rng, class_id, sequence):
    target = make_object(class_id, rng)
    types = types_for(target.kind)
    shape = rng.normal(0, 0.8, 10).clip(-2, 2)
    return Candidate(types[(sequence + rng.integers(2)) % len(types)], target, shape, rng)


def object_class(options, subject, block):
    """The object class (1-21) that a block's sequences grasp: a shuffled list, walked through block by block."""
    order = np.random.default_rng([options.seed, 21]).permutation(sorted(CLASSES))
    return int(order[(subject * (options.sequences // SEQUENCES_PER_BLOCK) + block) % len(order)])


def draw_intrinsics(options):
    """Intrinsics (K, 3, 3), one camera each for the whole data set, a little different."""
    rng = np.random.default_rng([options.seed, 33])
    intrinsics = np.zeros((options.cameras, 3, 3))
    focal = options.size * 2.2 * (1 + rng.uniform(-0.06, 0.06, options.cameras))
    intrinsics[:, 0, 0] = focal
    intrinsics[:, 1, 1] = focal * (1 + rng.uniform(-0.003, 0.003, options.cameras))
    intrinsics[:, :2, 2] = (options.size - 1) / 2 + options.size * rng.uniform(-0.015, 0.015, (options.cameras, 2))
    intrinsics[:, 2, 2] = 1
    return intrinsics


def build_scene(options, model, draft, intrinsics, side=None):
    """Animates a draft, sets out what lies about, and puts up the cameras; `side` None draws one."""
    rng = draft.rng
    drawn_side = int(rng.integers(2))  # drawn in any case, so that the rest of the scene does not depend on the choice
    side = drawn_side if side is None else side
    act = plan_draft(options.frames, model, draft)
    scene = _animate(model, draft, act, side)
    scene.intrinsics = intrinsics
    scene.extrinsics = _put_up_cameras(rng, scene, options.cameras)
    set_out_others(scene, rng, draft.target.class_id)
    scene.present = _in_pictures(scene, options.size)
    return scene


def plan_draft(frames, model, draft):
    """The act (`Act`, a right hand's) of a draft, from where the hand comes from to where it goes."""
    rng, grasp = draft.rng, draft.grasp
    far = np.where(rng.random(2) < _ABSENT_SHARE, 0.75, 0.3) * rng.uniform(0.85, 1.15, 2)
    heading = np.pi / 2 + np.deg2rad(rng.uniform(-75, 75))
    pose = torch.from_numpy(np.concatenate([np.zeros((1, 3)), finger_rotvecs(model, grasp.angles)]))
    hand_points = place_hand(model, draft.shape, pose[None], grasp.wrist[None], 1)[0][0]
    height = grasp.wrist[2, 3] * 0.5 + draft.target.height * 0.25
    return plan_act(
        rng,
        frames,
        grasp,
        height,
        draft.target.mesh().vertices,
        hand_points,
        rng.uniform(-0.03, 0.03, 2),
        heading,
        far,
    )


def finger_rotvecs(model, angles):
    """Finger angles (..., 15, 3), radians, as a right hand's rotvecs (..., 15, 3), float64."""
    return angles_to_pose(model, torch.as_tensor(angles, dtype=torch.float64)).numpy()


def place_hand(model, shape, pose, wrist, side):
    """Hand meshes for wrists (F, 4, 4) and poses (F, 16, 3): vertices, joints, pose with the wrist, translation, J0."""
    pose = pose.clone()
    pose[:, 0] = torch.from_numpy(Rotation.from_matrix(wrist[:, :3, :3]).as_rotvec())
    shape, sides = torch.from_numpy(shape), torch.tensor(side)
    rest = model.rest_wrist(shape.float(), sides).double()
    transl = torch.from_numpy(wrist[:, :3, 3]) - rest
    with torch.no_grad():
        mesh = model(pose.float(), shape.float(), transl.float(), sides)
    return mesh.vertices.double().numpy(), mesh.joints.double().numpy(), pose.numpy(), transl.numpy(), rest.numpy()


def _animate(model, draft, act, side):
    """The scene of an act; a left hand's is the mirror image (x -> -x), which the objects' symmetry allows."""
    grasp = draft.grasp
    angles = grasp.open_angles + act.closing[:, None, None] * (grasp.angles - grasp.open_angles)
    fingers = finger_rotvecs(model, angles)
    wrist, object_pose = act.wrist, act.object_pose
    if side == 0:
        fingers = fingers * (1, -1, -1)
        wrist, object_pose = mirrored(wrist), mirrored(object_pose)
    pose = torch.from_numpy(np.concatenate([np.zeros((len(fingers), 1, 3)), fingers], 1))
    vertices, joints, pose, transl, rest = place_hand(model, draft.shape, pose, wrist, side)
    return Scene(
        side=side, hand_shape=draft.shape, hand_pose=pose, hand_transl=transl, rest_wrist=rest, vertices=vertices,
        joints=joints, faces=model.faces_of(side).numpy(), holding=act.holding, objects=(draft.target,),
        object_poses=object_pose[:, None], grasp=grasp, action=act.action,
    )  # fmt: skip


def mirrored(rigid):
    """Rigid motions (..., 4, 4) as a mirror (x -> -x) shows them."""
    mirror_image = rigid.copy()
    mirror_image[..., :3, :3] = _MIRROR @ rigid[..., :3, :3] @ _MIRROR
    mirror_image[..., :3, 3] = rigid[..., :3, 3] @ _MIRROR
    return mirror_image


def set_out_others(scene, rng, grasped_class):
    """Stands one to three other objects about where neither the hand nor the grasped object passes.

    In some sequences the first is a tall one close by in the line of sight of a camera, to hide the hand.
    """
    hides = rng.random() < _HIDING_SHARE
    others = rng.permutation([c for c in CLASSES if c != grasped_class])[: rng.integers(1, 4)]
    if hides:
        others[0] = rng.choice([c for c in _TALL_CLASSES if c != grasped_class])
    grasped = scene.objects[0].mesh().vertices[::7]
    swept = [grasped @ pose[:3, :3].T + pose[:3, 3] for pose in scene.object_poses[::2, 0]]
    swept = np.concatenate([*swept, scene.vertices[::2, ::9].reshape(-1, 3)])
    centre = scene.joints[scene.holding][0].mean(0)
    placed = []
    for index, class_id in enumerate(others):
        thing = make_object(int(class_id), rng)
        for attempt in range(25):
            angle, away = _draw_place(rng, scene.extrinsics, centre, hides and index == 0, attempt)
            pose = np.eye(4)
            pose[:3, :3] = Rotation.from_rotvec([0, 0, rng.uniform(-np.pi, np.pi)]).as_matrix()
            pose[:2, 3] = centre[:2] + away * np.array([np.cos(angle), np.sin(angle)])
            blocked = [swept, *(p[:3, 3] + t.mesh().vertices @ p[:3, :3].T for t, p in placed)]
            local = (np.concatenate(blocked) - pose[:3, 3]) @ pose[:3, :3]
            if thing.distance(torch.from_numpy(local)).min() > 0.006:
                placed.append((thing, pose))
                break
    poses = [np.broadcast_to(p, (len(scene.object_poses), 4, 4)) for _, p in placed]
    scene.objects = (*scene.objects, *(t for t, _ in placed))
    scene.object_poses = np.concatenate([scene.object_poses, *(p[:, None] for p in poses)], 1)


def _draw_place(rng, extrinsics, centre, hides, attempt):
    """An angle (radians) and distance (m) from the hand: towards the lowest camera to hide it, else mostly in front."""
    if not hides:
        front = rng.random() < 0.7
        return -np.pi / 2 + np.deg2rad(rng.uniform(-80, 80) if front else rng.uniform(-180, 180)), rng.uniform(
            0.07, 0.2
        )
    eyes = -(extrinsics[:, :3, :3].transpose(0, 2, 1) @ extrinsics[:, :3, 3:])[..., 0]
    x, y, _ = eyes[eyes[:, 2].argmin()] - centre
    return np.arctan2(y, x) + rng.normal(0, 0.1 + 0.01 * attempt), rng.uniform(0.06, 0.09) + 0.004 * attempt


def _put_up_cameras(rng, scene, cameras):
    """Extrinsics (K, 4, 4) on the front half of a dome, looking at where the hand holds the object."""
    target = scene.joints[scene.holding].mean((0, 1)) * 0.7 + scene.object_poses[scene.holding, 0, :3, 3].mean(0) * 0.3
    return dome_cameras(rng, target, cameras, (0.58, 0.82))


def dome_cameras(rng, target, cameras, distances):
    """Extrinsics (K, 4, 4) on the front half of a dome, looking at about `target` (3,) from `distances` metres."""
    azimuth = np.linspace(-55, 55, cameras) if cameras > 1 else np.zeros(1)
    azimuth = np.deg2rad(azimuth + rng.uniform(-10, 10, cameras))
    elevation = np.deg2rad(rng.uniform(12, 60, cameras))
    distance = rng.uniform(*distances, cameras)
    direction = np.stack(
        [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)], 1
    )
    eye = target + direction * distance[:, None]
    aim = target + rng.normal(0, 0.015, (cameras, 3))
    up = np.array([0, 0, 1.0]) + rng.normal(0, 0.05, (cameras, 3))
    return look_at(*(torch.from_numpy(v) for v in (eye, aim, up))).numpy()


def _in_pictures(scene, size):
    """(F, K) bool: some hand vertex falls into a camera's picture."""
    present = []
    for intrinsics, extrinsics in zip(scene.intrinsics, scene.extrinsics, strict=True):
        local = scene.vertices @ extrinsics[:3, :3].T + extrinsics[:3, 3]
        uv = local @ intrinsics.T
        uv = uv[..., :2] / np.maximum(local[..., 2:], 1e-6)
        present.append(((uv > -0.5) & (uv < size - 0.5) & (local[..., 2:] > 0)).all(-1).any(-1))
    return np.stack(present, 1)
