"""Scripted actions of two hands on objects. Table frame: z up, the person at -y, metres, radians.

The two verbs of a pair (grab and place, open and close, take out and put in) share one script, which the second plays
backwards: a frame, or a set of frames without their order, tells nothing about which of the two it is.
Legend: F frames.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from handpose.hands.sides import Side
from handpose.synthesis.motion.action_script import FORWARD_PALM_DOWN, Script, ScriptContext
from handpose.synthesis.motion.gestures import posture_angles
from handpose.synthesis.motion.grips import Grip
from handpose.synthesis.motion.posing import mirrored
from handpose.synthesis.motion.trajectories import HandTrajectory, Trajectory, minimum_jerk, pose, rotate_about, sway
from handpose.synthesis.objects.household import make_household_object
from handpose.synthesis.objects.shapes import Box, SceneObject

_WIDE = 0.024  # metres: caps of a larger radius are gripped with all fingers


def take(context: ScriptContext, name: str) -> Script:
    """The right hand reaches for an object on the table, grips and lifts it towards the person."""
    script, items = Script(), make_household_object(name, context.rng)
    begin = context.uniform(0.03, 0.16)
    held = begin + context.uniform(0.27, 0.36)
    end = context.uniform(0.78, 0.94)
    start = pose((*context.point((-0.06, 0.08), (0.14, 0.21)), 0)) @ context.yaw(20)
    target = pose(context.point((0.0, -0.02, 0.09), (0.16, 0.07, 0.18)), context.rng.normal(0, (14, 14, 18)))
    track = Trajectory(context.time, start).move_to(held, end, target, lift=context.uniform(0.0, 0.04)).track
    if name == 'book':
        grip = _edge_grip(context, items[0], Side.RIGHT, _half_width(items[0]), 0.5)
    else:
        grip = context.palm(items[0], Side.RIGHT)
    script.hands[Side.RIGHT] = context.resting(Side.RIGHT).reach(begin, held, track, grip)
    script.hands[Side.LEFT] = context.resting(Side.LEFT)
    _add_with_cap(script, items, track)
    return script


def _add_with_cap(script: Script, items: Sequence[SceneObject], track: NDArray) -> None:
    """Adds an object whose second piece, if any, is a closed cap."""
    script.add(items[0], track)
    if len(items) > 1:
        script.add(items[1], track @ pose((0, 0, items[0].height - 0.012)))


def _half_width(item: SceneObject) -> float:
    """Half of a box-shaped object's width along x."""
    (box,) = item.shapes
    if not isinstance(box, Box):
        raise TypeError(f'a {item.kind} is no box')
    return box.half[0]


def _edge_grip(context: ScriptContext, item: SceneObject, side: int, edge: float, height: float) -> Grip:
    """A pinch of a flat object's outer edge (x = `edge`), the thumb on the face towards -y."""
    point = (edge - 0.014, 0, height * item.height)
    return context.pads(item, side, point, (0, 1, 0), (-0.8, 0, context.uniform(0.2, 0.7)), 'prismatic')


def uncap(context: ScriptContext, name: str) -> Script:
    """The left hand holds a bottle while the right hand unscrews its cap, lifts it off and carries it aside."""
    script, (body, cap) = Script(), make_household_object(name, context.rng)
    begin = context.uniform(0.02, 0.12)
    held = begin + context.uniform(0.26, 0.32)
    off = held + context.uniform(0.2, 0.26)
    end = context.uniform(0.82, 0.95)
    raised = context.uniform(0.0, 0.07) * (context.rng.random() < 0.6)
    place = pose((*context.point((-0.06, 0.06), (0.04, 0.15)), raised), context.rng.normal(0, 5, 3) * (raised > 0))
    track = Trajectory(context.time, place @ context.yaw(15)).track
    track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.004) * (raised > 0)
    grip = context.palm(body, Side.LEFT, height=context.uniform(0.3, 0.42) * body.height)
    left = context.resting(Side.LEFT)
    if raised or context.rng.random() < 0.5:
        left = HandTrajectory(context.time, track @ grip.wrist, grip.closed)
    else:
        left.reach(begin - 0.02, held - 0.04, track, grip)
    turn = np.deg2rad(context.uniform(60, 95))
    twist = minimum_jerk(context.time, held, off)
    seated = track @ pose((0, 0, body.height - 0.012))
    screwed = rotate_about(seated, (0, 0, 1), turn * (twist - 0.5))
    screwed[:, 2, 3] += 0.008 * twist
    aside = pose(context.point((0.12, 0.02, 0.05), (0.22, 0.12, 0.15)), context.rng.normal(0, 15, 3))
    lifted = screwed @ pose((0, 0, 0.05))
    carried = Trajectory(context.time, screwed).move_to(off, off + 0.6 * (end - off), lifted)
    carried.move_to(off + 0.25 * (end - off), end, aside)
    kind = 'disc_top' if cap.grip[1] > _WIDE else 'tripod'
    # From the side on a bottle; from above on a carton, whose top would be in the way.
    approach = (-0.6, 0.6, -0.5) if isinstance(body.shapes[0], Box) else (-0.55, 0.75, -0.2)
    right_grip = context.pads(cap, Side.RIGHT, (0, 0, 0.6 * cap.height), (0.8, 0.6, 0), approach, kind)
    right_grip = right_grip.rotated(np.deg2rad(context.uniform(20, 40)))
    script.add(body, track)
    script.add(cap, carried.track)
    script.hands[Side.RIGHT] = context.resting(Side.RIGHT).reach(begin, held, carried.track, right_grip)
    script.hands[Side.LEFT] = left
    return script


def take_out(context: ScriptContext, name: str) -> Script:
    """The left hand steadies a tin, or holds an envelope; the right hand pulls the object out and carries it aside."""
    upright = name == 'letter'
    script, (packet,) = Script(), make_household_object(name, context.rng)
    (tin,) = make_household_object('envelope' if upright else 'tin', context.rng)
    begin = context.uniform(0.03, 0.14)
    held = begin + context.uniform(0.27, 0.34)
    end = context.uniform(0.8, 0.94)
    place = pose((*context.point((-0.08, 0.07), (0.03, 0.17)), 0)) @ context.yaw(20)
    inside = place @ pose((*context.rng.normal(0, 0.006, 2), 0.008)) @ pose(degrees=(context.uniform(-10, 10), 0, 0))
    if upright:
        place = pose((0, 0, context.uniform(0.03, 0.09))) @ place @ pose(degrees=(context.uniform(-40, 0), 0, 0))
        inside = place @ pose((0, 0, 0.012))
    above = inside.copy()
    above[2, 3] += context.uniform(0.09, 0.13)
    target = pose(context.point((0.06, -0.01, 0.07), (0.2, 0.08, 0.15)), context.rng.normal(0, (25, 12, 20)))
    path = Trajectory(context.time, inside).move_to(held, held + 0.6 * (end - held), above)
    track = path.move_to(held + 0.3 * (end - held), end, target).track
    grip = context.pads(packet, Side.RIGHT, (0, 0, 0.86 * packet.height), (0, 1, 0), (-0.7, 0.4, -0.4), 'tripod')
    script.hands[Side.RIGHT] = context.resting(Side.RIGHT).reach(begin, held, track, grip)
    hold = context.palm(tin, Side.LEFT, height=0.5 * tin.height)
    if upright:
        hold = _edge_grip(context, tin, Side.LEFT, _half_width(tin), 0.45)
    still = np.broadcast_to(place, track.shape)
    left = context.resting(Side.LEFT)
    if upright or context.rng.random() < 0.6:
        left = HandTrajectory(context.time, still @ hold.wrist, hold.closed)
    elif context.rng.random() < 0.6:
        left.reach(begin, held, still, hold)
    script.hands[Side.LEFT] = left
    script.add(packet, track)
    script.add(tin, still)
    return script


def pour(context: ScriptContext, name: str) -> Script:
    """The right hand tips an open carton over a cup and puts it upright again; the left hand may hold the cup."""
    script, (body, *_) = Script(), make_household_object(name, context.rng)
    (cup,) = make_household_object('cup', context.rng)
    spot = np.array([*context.point((-0.1, 0.06), (0.0, 0.16)), 0])
    still = np.broadcast_to(pose(spot), (len(context.time), 4, 4))
    start = pose(spot + context.point((0.14, -0.05, 0.02), (0.2, 0.04, 0.08)), context.rng.normal(0, 5, 3))
    back = pose(spot + context.point((0.14, -0.05, 0.02), (0.2, 0.04, 0.08)), context.rng.normal(0, 5, 3))
    over = pose(spot + (context.uniform(0.1, 0.13), context.uniform(-0.02, 0.01), context.uniform(0.06, 0.09)))
    lifted, lowered = context.uniform(0.22, 0.32), context.uniform(0.68, 0.78)
    track = Trajectory(context.time, start).move_to(0.0, lifted + 0.05, over).move_to(lowered - 0.05, 1.0, back).track
    tip = minimum_jerk(context.time, lifted - 0.12, lifted + 0.22)
    tip = tip - minimum_jerk(context.time, lowered - 0.2, lowered + 0.14)
    track = rotate_about(track, (0, 1, 0), -np.deg2rad(context.uniform(88, 115)) * tip, (0, 0, 0.55 * body.height))
    grip = context.palm(body, Side.RIGHT, yaw=(-30, -5), tilt=(-10, 15))  # tipping lowers the elbow
    script.add(body, track)
    script.add(cup, still)
    script.hands[Side.RIGHT] = HandTrajectory(context.time, track @ grip.wrist, grip.closed)
    script.hands[Side.LEFT] = context.resting(Side.LEFT)
    if context.rng.random() < 0.6:
        hold = context.palm(cup, Side.LEFT, height=0.45 * cup.height)
        script.hands[Side.LEFT] = HandTrajectory(context.time, still @ hold.wrist, hold.closed)
    return script


def squeeze(context: ScriptContext, name: str) -> Script:
    """The right hand holds a bottle upside down over the left palm and squeezes it again and again."""
    script, items = Script(), make_household_object(name, context.rng)
    body = items[0]
    spot = context.point((0.0, 0.06, 0.15), (0.09, 0.13, 0.19))
    press = context.pulses(3, 5.5)
    tilt = -context.uniform(115, 150)
    track = Trajectory(context.time, pose(spot, (0, tilt, 0)) @ context.yaw(15)).track
    track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.006)
    track[:, 2, 3] -= context.uniform(0.008, 0.02) * press
    grip = context.palm(body, Side.RIGHT, yaw=(-30, -5), tilt=(0, 25))
    firmer = grip.closed.copy()
    firmer[:12, 2] += np.deg2rad(7)
    angles = grip.closed + press[:, None, None] * (firmer - grip.closed)
    palm = np.eye(4)
    palm[:3, :3] = FORWARD_PALM_DOWN @ np.diag([1, -1, -1])  # the palm up
    palm = pose((context.uniform(0.09, 0.14) - spot[0], spot[1] - 0.1, context.uniform(0.015, 0.035))) @ palm
    palm = mirrored(pose(degrees=(0, 0, context.uniform(-10, 35))) @ palm)
    flat = posture_angles(context.rng, 'open', context.limits)
    left = HandTrajectory(context.time, palm, flat)
    left.track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.006)
    _add_with_cap(script, items, track)
    script.hands[Side.RIGHT] = HandTrajectory(context.time, track @ grip.wrist, angles)
    script.hands[Side.LEFT] = left
    return script


def spray(context: ScriptContext, name: str) -> Script:
    """The right hand points a spray bottle and its index finger pulls the trigger again and again."""
    script, (body,) = Script(), make_household_object(name, context.rng)
    spot = context.point((-0.02, 0.02, 0.07), (0.12, 0.12, 0.14))
    pull = context.pulses(3, 6)
    yaw = np.deg2rad(context.uniform(20, 56)) * (context.pulses(0.5, 1.2) - 0.5)
    place = pose(spot, context.rng.normal(0, (8, 8, 8))) @ pose(degrees=(0, 0, context.uniform(-10, 35)))
    track = rotate_about(Trajectory(context.time, place).track, (0, 0, 1), yaw)
    track = rotate_about(track, (1, 0, 0), -np.deg2rad(6) * pull)
    track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.012)
    grip = context.palm(body, Side.RIGHT, yaw=(0, 30))
    angles = np.array(np.broadcast_to(grip.closed, (len(pull), 15, 3)))
    angles[:, :3, 2] = np.deg2rad([30, 15, 10]) + pull[:, None] * np.deg2rad([14, 45, 25])
    script.add(body, track)
    script.hands[Side.RIGHT] = HandTrajectory(context.time, track @ grip.wrist, angles)
    script.hands[Side.LEFT] = context.resting(Side.LEFT)
    return script


def read(context: ScriptContext, name: str) -> Script:
    """Both hands hold an open book; the right hand turns a page, once or twice."""
    script, (right_half, left_half, page) = Script(), make_household_object('open_book', context.rng)
    count = len(context.time)
    place = pose(context.point((-0.05, 0.04, 0.05), (0.05, 0.1, 0.1)), (context.uniform(-65, -40), 0, 0))
    spine = Trajectory(context.time, place @ pose(degrees=(0, context.uniform(-8, 8), context.uniform(-8, 8)))).track
    spine[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.006)
    opening = np.deg2rad(context.uniform(4, 16))
    halves = {
        side: rotate_about(spine, (0, 0, 1), np.full(count, sign * -opening))
        for side, sign in ((Side.RIGHT, 1), (Side.LEFT, -1))
    }
    start, end = context.uniform(0.12, 0.25), context.uniform(0.68, 0.85)
    turn = minimum_jerk(context.time, start + 0.1, end - 0.08)
    swing = -opening - 0.05 - (np.pi - 2 * opening - 0.1) * turn
    page_track = rotate_about(spine, (0, 0, 1), swing)
    width = 2 * _half_width(right_half)
    grips = {
        side: _edge_grip(context, right_half, side, width, context.uniform(0.3, 0.5))
        for side in (Side.LEFT, Side.RIGHT)
    }
    flip = _edge_grip(context, page, Side.RIGHT, 0.97 * width, context.uniform(0.5, 0.75))
    # The wrist follows the page's edge, but turns less than the page does.
    edge = np.array([0.9 * width, 0, 0.6 * page.height, 1])
    follow = rotate_about(spine, (0, 0, 1), -opening + 0.45 * (swing + opening))
    follow[:, :3, 3] += ((page_track - follow) @ edge)[:, :3]
    right = HandTrajectory(context.time, halves[Side.RIGHT] @ grips[Side.RIGHT].wrist, grips[Side.RIGHT].closed)
    right.leave(start - 0.12, start + 0.1, halves[Side.RIGHT], grips[Side.RIGHT], follow @ flip.wrist, flip.closed)
    right.reach(end - 0.1, min(end + 0.16, 1.0), halves[Side.RIGHT], grips[Side.RIGHT])
    script.add(right_half, halves[Side.RIGHT])
    script.add(left_half, halves[Side.LEFT])
    script.add(page, page_track)
    script.hands[Side.RIGHT] = right
    script.hands[Side.LEFT] = HandTrajectory(
        context.time, halves[Side.LEFT] @ grips[Side.LEFT].wrist, grips[Side.LEFT].closed
    )
    return script


def knead(context: ScriptContext, name: str) -> Script:
    """The right hand holds a soft object in the air and squeezes it again and again."""
    script, (body,) = Script(), make_household_object(name, context.rng)
    press = context.pulses(2.5, 5)
    place = pose(context.point((-0.04, 0.02, 0.07), (0.1, 0.12, 0.14)), context.rng.normal(0, 12, 3))
    track = Trajectory(context.time, place @ context.yaw(20)).track
    track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.008)
    grip = _side_grip(context, body)
    firmer = grip.closed.copy()
    firmer[:12, 2] += np.deg2rad(10)
    script.add(body, track)
    angles = grip.closed + press[:, None, None] * (firmer - grip.closed)
    script.hands = {
        Side.RIGHT: HandTrajectory(context.time, track @ grip.wrist, angles),
        Side.LEFT: context.resting(Side.LEFT),
    }
    return script


def _side_grip(context: ScriptContext, item: SceneObject) -> Grip:
    """A grip of a low object's two long sides, the fingers on the far one."""
    return context.pads(item, Side.RIGHT, (0.01, 0, 0.55 * item.height), (0, 1, 0), (-0.75, 0, -0.35), 'prismatic')


def flip(context: ScriptContext, name: str) -> Script:
    """The right hand lifts an object, turns it over and puts it down."""
    script, (body,) = Script(), make_household_object(name, context.rng)
    spot = np.array([*context.point((-0.06, 0.04), (0.08, 0.16)), 0])
    moved = spot + (*context.point((-0.04, -0.03), (0.04, 0.03)), 0)
    start, end = context.uniform(0.1, 0.25), context.uniform(0.75, 0.9)
    middle = (start + end) / 2
    high = pose(context.point((0, 0, 0.07), (0, 0, 0.11)) + (spot + moved) / 2)
    path = Trajectory(context.time, pose(spot)).move_to(start, middle + 0.05, high)
    track = path.move_to(middle - 0.05, end, pose(moved)).track
    half_turn = np.pi * minimum_jerk(context.time, start + 0.06, end - 0.06)
    track = rotate_about(track @ context.yaw(15), (1, 0, 0), half_turn, (0, 0, body.height / 2))
    grip = _side_grip(context, body)
    script.add(body, track)
    script.hands = {
        Side.RIGHT: HandTrajectory(context.time, track @ grip.wrist, grip.closed),
        Side.LEFT: context.resting(Side.LEFT),
    }
    return script


def hold(context: ScriptContext, name: str) -> Script:
    """Both hands hold a sheet and move it about slowly."""
    script, (sheet,) = Script(), make_household_object(name, context.rng)
    place = pose(context.point((-0.05, 0.03, 0.06), (0.05, 0.1, 0.12)), (context.uniform(-65, -35), 0, 0))
    track = Trajectory(context.time, place @ pose(degrees=(0, context.uniform(-8, 8), context.uniform(-8, 8)))).track
    track[:, :3, 3] += sway(context.rng, context.time, context.seconds, 0.012)
    track = rotate_about(track, (1, 0, 0), np.deg2rad(context.uniform(6, 16)) * (context.pulses(0.5, 1.2) - 0.5))
    script.add(sheet, track)
    for side in (Side.LEFT, Side.RIGHT):
        grip = _edge_grip(context, sheet, side, _half_width(sheet), context.uniform(0.35, 0.6))
        script.hands[side] = HandTrajectory(context.time, track @ grip.wrist, grip.closed)
    return script


# Verb: (script, played backwards).
SCRIPTS: dict[str, tuple[Callable[[ScriptContext, str], Script], bool]] = {
    'grab': (take, False), 'place': (take, True), 'open': (uncap, False), 'close': (uncap, True),
    'take out': (take_out, False), 'put in': (take_out, True), 'pour': (pour, False), 'squeeze': (squeeze, False),
    'spray': (spray, False), 'read': (read, False),
    'knead': (knead, False), 'flip': (flip, False), 'hold': (hold, False),
}  # fmt: skip
PAIRS = (('grab', 'place'), ('open', 'close'), ('take out', 'put in'))


def play_script(verb: str, noun: str, context: ScriptContext) -> Script:
    """The `Script` of an action, such as 'open', 'milk'."""
    make, reversed_in_time = SCRIPTS[verb]
    script = make(context, noun)
    return script.backwards() if reversed_in_time else script
