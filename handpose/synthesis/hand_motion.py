"""Motion without pictures: one or two hands of a person, each with an act of its own, and cameras about them.

An act is gestures in the air (`gestures.py`), or taking and moving an object (`motion.py`). Without pictures nobody
sees whether fingertips touch the object, so the search for a sound grasp, most of the cost, is left out.
Table frame: z up, metres, the person at +y. Legend: F frames, H hands, K cameras.
"""

from dataclasses import dataclass

import numpy as np
import torch

from handpose.hands.model import LEFT, RIGHT
from handpose.synthesis.gestures import HandAct, plan_gestures
from handpose.synthesis.grasps import Candidate, solve, types_for
from handpose.synthesis.objects import CLASSES, make_object
from handpose.synthesis.scene import Draft, dome_cameras, finger_rotvecs, mirrored, place_hand, plan_draft

GRASP_SHARE = 0.4  # of the hands take an object
MISSING_SHARE = 1 / 12  # of the frames have no labels, in one run; of two hands' frames as many lack one of them
_APART = (0.06, 0.24)  # metres between the middles of two hands' acts
_DISTANCES, _AIM = (0.75, 1.1), np.array([0, 0, 0.17])  # metres: how far the cameras are from where they aim


@dataclass
class HandMotion:
    """The hands of one recording.

    `sides` (H,) 0 left, 1 right; `hand_shape` (10,) of both; `hand_pose` (F, H, 16, 3) rotvecs, `hand_transl`
    (F, H, 3), `rest_wrist` (H, 3), `joints` (F, H, 21, 3) common order, `annotated` (F, H); `intrinsics` (K, 3, 3),
    `extrinsics` (K, 4, 4) table to camera; `name` of the acts.
    """

    sides: np.ndarray
    hand_shape: np.ndarray
    hand_pose: np.ndarray
    hand_transl: np.ndarray
    rest_wrist: np.ndarray
    joints: np.ndarray
    annotated: np.ndarray
    intrinsics: np.ndarray
    extrinsics: np.ndarray
    name: str


def draw_motion(options, model, subject, sequence, sides, intrinsics):
    """Draws the motion of one recording, decided by the seed, the subject and the sequence.

    Args:
        options: SyntheticOptions. model: ProceduralHand. sides: of the hands, (0,), (1,) or (0, 1).
        intrinsics: (K, 3, 3).
    """
    rng = np.random.default_rng([options.seed, subject, sequence])
    shape = rng.normal(0, 0.8, 10).clip(-2, 2)
    acts = [_draw_act(rng, options.frames, model, shape) for _ in sides]
    apart = rng.uniform(*_APART) * (len(sides) == 2)
    hands = []
    for side, act in zip(sides, acts, strict=True):
        fingers, wrist = finger_rotvecs(model, act.angles), act.wrist.copy()
        if side == LEFT:
            fingers, wrist = fingers * (1, -1, -1), mirrored(wrist)
        # Seen from in front the right hand is the one on the left.
        wrist[:, 0, 3] += apart / 2 * (1 if side == LEFT else -1)
        pose = torch.from_numpy(np.concatenate([np.zeros((len(fingers), 1, 3)), fingers], 1))
        _, joints, pose, transl, rest = place_hand(model, shape, pose, wrist, side)
        hands.append((pose, transl, joints, rest))
    pose, transl, joints = (np.stack(values, 1) for values in list(zip(*hands, strict=True))[:3])
    rig = np.random.default_rng([options.seed, subject, 44])  # the cameras stay where they are for a subject
    extrinsics = dome_cameras(rig, _AIM, len(intrinsics), _DISTANCES)
    return HandMotion(
        sides=np.array(sides), hand_shape=shape, hand_pose=pose, hand_transl=transl,
        rest_wrist=np.stack([hand[3] for hand in hands]), joints=joints,
        annotated=_draw_annotated(rng, options.frames, len(sides)), intrinsics=intrinsics, extrinsics=extrinsics,
        name='_'.join(act.name for act in acts),
    )  # fmt: skip


def _draw_act(rng, frames, model, shape):
    if rng.random() >= GRASP_SHARE:
        return plan_gestures(rng, frames, model.joint_limits.double().numpy())
    target = make_object(int(rng.choice(sorted(CLASSES))), rng)
    types = types_for(target.kind)
    candidate = Candidate(types[rng.integers(len(types))], target, shape, rng)
    (grasp,) = solve(model, [candidate], steps=0)
    act = plan_draft(frames, model, Draft(rng, target, shape, grasp))
    angles = grasp.open_angles + act.closing[:, None, None] * (grasp.angles - grasp.open_angles)
    return HandAct(act.wrist, angles, f'{act.action}_{target.kind}'.replace(' ', '_'))


def _draw_annotated(rng, frames, hands):
    """(F, H) bool: a run of frames without labels, and, of two hands, one where a single one has none."""
    annotated = np.ones((frames, hands), bool)
    length = max(1, int(frames * MISSING_SHARE))
    for column in (slice(None), int(rng.integers(hands)))[:hands]:
        # Not at the ends, so that every sequence has its whole length.
        start = rng.integers(1, frames - length - 1)
        annotated[start : start + length, column] = False
    return annotated


def hands_of(sequence):
    """The hands of a sequence of a two-handed data set: of five, one shows the right, one the left, three both."""
    return {0: (RIGHT,), 1: (LEFT,)}.get(sequence % 5, (LEFT, RIGHT))
