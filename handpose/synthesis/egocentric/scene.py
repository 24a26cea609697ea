"""A video before it is drawn: hands posed, things placed, a camera that moves. Table frame, metres.

Legend: F frames, V hand vertices, N pieces.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from handpose.hands.model import LEFT
from handpose.synthesis.egocentric.actions import RATE, Stage, write_script
from handpose.synthesis.egocentric.people import draw_frames, draw_person, move_camera
from handpose.synthesis.egocentric.things import make_thing
from handpose.synthesis.egocentric.tracks import pose
from handpose.synthesis.scene import finger_rotvecs, place_hand

_BYSTANDERS = ('cup', 'tin', 'chips', 'lotion', 'cup', 'milk')


class Plan(NamedTuple):
    """What a video is about: `verb`, `thing`, `frames` of the action, and frames of rest `before` and `after` it."""

    verb: str
    thing: str
    frames: int
    before: int
    after: int

    @property
    def total(self):
        """All frames of the video."""
        return self.before + self.frames + self.after


class PosedHand(NamedTuple):
    """One hand: `vertices` (F, V, 3), `joints` (F, 21, 3), `pose` (F, 16, 3), `transl` (F, 3), `rest_wrist` (3,)."""

    vertices: np.ndarray
    joints: np.ndarray
    pose: np.ndarray
    transl: np.ndarray
    rest_wrist: np.ndarray


@dataclass
class EgoScene:
    """A moving scene.

    `hands` {0 left, 1 right: `PosedHand`}; `shape` (10,); `pieces`, the action's object first, `tracks` (N, F, 4, 4);
    `intrinsics` (3, 3), `extrinsics` (F, 4, 4) table to camera; `present` {side: (F,)} part of the hand is in the
    picture.
    """

    hands: dict
    shape: np.ndarray
    pieces: tuple
    tracks: np.ndarray
    intrinsics: np.ndarray
    extrinsics: np.ndarray
    present: dict


def draw_plan(seed, subject, video, script, frame_range):
    """Draws the `Plan` of a video; `script` is (verb, thing), and the action's length lies in `frame_range`."""
    rng = np.random.default_rng([seed, 72, subject, video])
    frames = draw_frames(rng, draw_person(seed, subject), *frame_range)
    return Plan(*script, frames, *(int(n) for n in rng.integers(0, 4, 2)))


def build_scene(seed, subject, video, plan, model, intrinsics, size):
    """Animates a `Plan`, decided by the seed, the subject and the video.

    Args:
        model: ProceduralHand. intrinsics: (3, 3). size: (width, height).
    """
    rng = np.random.default_rng([seed, 73, subject, video])
    person = draw_person(seed, subject)
    script = write_script(plan.verb, plan.thing, Stage(rng, model, person.shape, plan.frames))
    # The rest before and after the action; nothing but the head moves then.
    held = np.r_[np.zeros(plan.before, int), np.arange(plan.frames), np.full(plan.after, plan.frames - 1)]
    tracks = np.stack(script.tracks)[:, held]
    hands = {}
    for side, path in sorted(script.hands.items()):
        fingers = finger_rotvecs(model, path.angles[held].copy())
        if side == LEFT:
            fingers = fingers * (1, -1, -1)
        hand_pose = torch.from_numpy(np.concatenate([np.zeros((len(held), 1, 3)), fingers], 1))
        hands[side] = PosedHand(*place_hand(model, person.shape, hand_pose, path.track[held], side))
    extrinsics = move_camera(rng, person, plan.total, RATE)
    pieces, tracks = _add_bystanders(rng, script.pieces, tracks, hands)
    scene = EgoScene(hands, person.shape, pieces, tracks, intrinsics, extrinsics, {})
    scene.present = {side: _in_picture(scene, hand, size) for side, hand in hands.items()}
    return scene


def _add_bystanders(rng, pieces, tracks, hands):
    """Stands up to two things that nobody touches where neither hands nor things pass."""
    pieces, standing = list(pieces), []
    busy = [tracks[:, ::4, :2, 3].reshape(-1, 2), *(h.vertices[::4, ::40, :2].reshape(-1, 2) for h in hands.values())]
    busy = np.concatenate(busy)
    for _ in range(int(rng.integers(0, 3))):
        thing = make_thing(str(rng.choice(_BYSTANDERS)), rng)
        for _ in range(12):
            spot = rng.uniform((-0.3, 0.05), (0.3, 0.42))
            if np.linalg.norm(busy - spot, axis=1).min() > 0.075:
                place = pose((*spot, 0), (0, 0, rng.uniform(-180, 180)))
                busy = np.concatenate([busy, spot[None]])
                for number, piece in enumerate(thing):
                    pieces.append(piece)
                    standing.append(place if not number else place @ pose((0, 0, thing[0].top - 0.012)))
                break
    standing = [np.broadcast_to(place, (1, *tracks.shape[1:])) for place in standing]
    return tuple(pieces), np.concatenate([tracks, *standing])


def _in_picture(scene, hand, size):
    """(F,) bool: some vertex of a hand falls into the picture."""
    local = np.einsum('fij,fvj->fvi', scene.extrinsics[:, :3, :3], hand.vertices) + scene.extrinsics[:, None, :3, 3]
    uv = local @ scene.intrinsics.T
    uv = uv[..., :2] / np.maximum(local[..., 2:], 1e-6)
    return ((uv > -0.5) & (uv < np.asarray(size) - 0.5) & (local[..., 2:] > 0)).all(-1).any(-1)
