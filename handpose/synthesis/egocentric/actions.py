"""Scripts: what two hands and some things do in one action. Table frame: z up, the person at -y, metres, radians.

The two verbs of a pair (grab and place, open and close, take out and put in) share one script, which the second plays
backwards: a frame, or a heap of frames without their order, tells nothing about which of the two it is.
Legend: F frames.
"""

from dataclasses import dataclass, field

import numpy as np

from handpose.hands.model import LEFT, RIGHT
from handpose.synthesis.egocentric.grips import pad_grip, palm_grip
from handpose.synthesis.egocentric.things import make_thing
from handpose.synthesis.egocentric.tracks import HandPath, Path, pose, sway, turned_about
from handpose.synthesis.gestures import posture_angles
from handpose.synthesis.motion import minimum_jerk
from handpose.synthesis.objects import Box
from handpose.synthesis.scene import mirrored

RATE = 30.0
_WIDE = 0.024  # metres: caps of a larger radius are gripped with all fingers
# A right hand whose fingers point away from the person, the palm down: columns are the model's axes.
_FORWARD_PALM_DOWN = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])


@dataclass
class Script:
    """An action: `pieces` with their tracks (F, 4, 4), the first the action's object; `hands` {side: HandPath}."""

    pieces: list = field(default_factory=list)
    tracks: list = field(default_factory=list)
    hands: dict = field(default_factory=dict)

    def add(self, piece, track):
        """Adds a piece and its track."""
        self.pieces.append(piece)
        self.tracks.append(np.array(track))

    def backwards(self):
        """The same action from its end to its beginning."""
        self.tracks = [track[::-1] for track in self.tracks]
        for path in self.hands.values():
            path.track, path.angles = path.track[::-1], path.angles[::-1]
        return self


class Stage:
    """What a script draws from: the generator, the hand model and shape, the time line and resting hands.

    Args:
        rng: numpy Generator. model: ProceduralHand. shape: (10,). frames: F.
    """

    def __init__(self, rng, model, shape, frames):
        self.rng, self.model, self.shape = rng, model, shape
        self.time = np.arange(frames) / (frames - 1)
        self.seconds = frames / RATE
        self.limits = model.joint_limits.double().numpy()

    def uniform(self, low, high, size=None):
        """Uniform random numbers."""
        return self.rng.uniform(low, high, size)

    def yaw(self, spread):
        """A place on the origin, turned about z by up to `spread` degrees."""
        return pose(rotvec=(0, 0, self.uniform(-spread, spread)))

    def pulses(self, low, high):
        """Between `low` and `high` waves (F,) from 0 to 1."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * (self.uniform(low, high) * self.time + self.uniform(0, 1)))

    def resting(self, side):
        """A `HandPath` that rests near the table's edge, sometimes out of sight."""
        x, y = self.uniform(0.1, 0.2), self.uniform(-0.14, 0.0)
        place = np.eye(4)
        place[:3, :3] = _FORWARD_PALM_DOWN
        turn = pose(rotvec=self.rng.normal(0, (8, 14, 14))) @ pose(rotvec=(0, self.uniform(-5, 70), 0))
        place = pose((x, y, self.uniform(0.03, 0.09))) @ turn @ place
        if side == LEFT:
            place = mirrored(place)
        angles = posture_angles(self.rng, str(self.rng.choice(['relaxed', 'open', 'relaxed', 'claw'])), self.limits)
        path = HandPath(self.time, place, angles)
        path.track[:, :3, 3] += sway(self.rng, self.time, self.seconds, 0.012)
        return path

    def palm(self, piece, side, height=None, yaw=(5, 45), tilt=(-25, 5)):
        """A palm grip on the side of a piece that is the hand's own; elbow outwards (yaw) and low (tilt), degrees."""
        grip = palm_grip(self.model, self.shape, piece, height, np.deg2rad(self.uniform(*tilt)))
        return grip.turned(np.deg2rad(self.uniform(*yaw))).of_side(side)

    def pads(self, piece, side, point, across, approach, kind='pinch'):
        """A grip between thumb and finger pads; vectors as for a right hand."""
        return pad_grip(self.model, self.shape, piece, point, across, approach, kind).of_side(side)


def take(stage, thing):
    """The right hand reaches for a thing on the table, grips and lifts it towards the person."""
    script, pieces = Script(), make_thing(thing, stage.rng)
    begin = stage.uniform(0.03, 0.16)
    held = begin + stage.uniform(0.27, 0.36)
    end = stage.uniform(0.78, 0.94)
    start = pose((*stage.uniform((-0.06, 0.08), (0.14, 0.21)), 0)) @ stage.yaw(20)
    target = pose(stage.uniform((0.0, -0.02, 0.09), (0.16, 0.07, 0.18)), stage.rng.normal(0, (14, 14, 18)))
    track = Path(stage.time, start).go(held, end, target, lift=stage.uniform(0.0, 0.04)).track
    if thing == 'book':
        grip = _edge_grip(stage, pieces[0], RIGHT, (pieces[0].solid.parts[0].half[0]), 0.5)
    else:
        grip = stage.palm(pieces[0], RIGHT)
    script.hands[RIGHT] = stage.resting(RIGHT).reach(begin, held, track, grip)
    script.hands[LEFT] = stage.resting(LEFT)
    _add_stack(script, pieces, track)
    return script


def _add_stack(script, pieces, track):
    """Adds a thing whose second piece, if any, is a closed cap."""
    script.add(pieces[0], track)
    if len(pieces) > 1:
        script.add(pieces[1], track @ pose((0, 0, pieces[0].top - 0.012)))


def _edge_grip(stage, piece, side, edge, height):
    """A pinch of a flat thing's outer edge (x = `edge`), the thumb on the face that looks to -y."""
    point = (edge - 0.014, 0, height * piece.top)
    return stage.pads(piece, side, point, (0, 1, 0), (-0.8, 0, stage.uniform(0.2, 0.7)), 'prismatic')


def uncap(stage, thing):
    """The left hand holds a bottle while the right hand unscrews its cap, lifts it off and carries it aside."""
    script, (body, cap) = Script(), make_thing(thing, stage.rng)
    begin = stage.uniform(0.02, 0.12)
    held = begin + stage.uniform(0.26, 0.32)
    off = held + stage.uniform(0.2, 0.26)
    end = stage.uniform(0.82, 0.95)
    raised = stage.uniform(0.0, 0.07) * (stage.rng.random() < 0.6)
    place = pose((*stage.uniform((-0.06, 0.06), (0.04, 0.15)), raised), stage.rng.normal(0, 5, 3) * (raised > 0))
    track = Path(stage.time, place @ stage.yaw(15)).track
    track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.004) * (raised > 0)
    grip = stage.palm(body, LEFT, height=stage.uniform(0.3, 0.42) * body.top)
    left = stage.resting(LEFT)
    if raised or stage.rng.random() < 0.5:
        left = HandPath(stage.time, track @ grip.wrist, grip.closed)
    else:
        left.reach(begin - 0.02, held - 0.04, track, grip)
    turn = np.deg2rad(stage.uniform(60, 95))
    twist = minimum_jerk(stage.time, held, off)
    seated = track @ pose((0, 0, body.top - 0.012))
    screwed = turned_about(seated, (0, 0, 1), turn * (twist - 0.5))
    screwed[:, 2, 3] += 0.008 * twist
    aside = pose(stage.uniform((0.12, 0.02, 0.05), (0.22, 0.12, 0.15)), stage.rng.normal(0, 15, 3))
    lifted = screwed @ pose((0, 0, 0.05))
    carried = Path(stage.time, screwed).go(off, off + 0.6 * (end - off), lifted)
    carried.go(off + 0.25 * (end - off), end, aside)
    kind = 'disc_top' if cap.grip[1] > _WIDE else 'tripod'
    # From the side on a bottle; from above on a carton, whose top would be in the way.
    approach = (-0.6, 0.6, -0.5) if isinstance(body.solid.parts[0], Box) else (-0.55, 0.75, -0.2)
    right_grip = stage.pads(cap, RIGHT, (0, 0, 0.6 * cap.top), (0.8, 0.6, 0), approach, kind)
    right_grip = right_grip.turned(np.deg2rad(stage.uniform(20, 40)))
    script.add(body, track)
    script.add(cap, carried.track)
    script.hands[RIGHT] = stage.resting(RIGHT).reach(begin, held, carried.track, right_grip)
    script.hands[LEFT] = left
    return script


def take_out(stage, thing):
    """The left hand steadies a tin, or holds an envelope; the right hand pulls the thing out and carries it aside."""
    upright = thing == 'letter'
    script, (packet,) = Script(), make_thing(thing, stage.rng)
    (tin,) = make_thing('envelope' if upright else 'tin', stage.rng)
    begin = stage.uniform(0.03, 0.14)
    held = begin + stage.uniform(0.27, 0.34)
    end = stage.uniform(0.8, 0.94)
    place = pose((*stage.uniform((-0.08, 0.07), (0.03, 0.17)), 0)) @ stage.yaw(20)
    inside = place @ pose((*stage.rng.normal(0, 0.006, 2), 0.008)) @ pose(rotvec=(stage.uniform(-10, 10), 0, 0))
    if upright:
        place = pose((0, 0, stage.uniform(0.03, 0.09))) @ place @ pose(rotvec=(stage.uniform(-40, 0), 0, 0))
        inside = place @ pose((0, 0, 0.012))
    above = inside.copy()
    above[2, 3] += stage.uniform(0.09, 0.13)
    target = pose(stage.uniform((0.06, -0.01, 0.07), (0.2, 0.08, 0.15)), stage.rng.normal(0, (25, 12, 20)))
    track = Path(stage.time, inside).go(held, held + 0.6 * (end - held), above)
    track = track.go(held + 0.3 * (end - held), end, target).track
    grip = stage.pads(packet, RIGHT, (0, 0, 0.86 * packet.top), (0, 1, 0), (-0.7, 0.4, -0.4), 'tripod')
    script.hands[RIGHT] = stage.resting(RIGHT).reach(begin, held, track, grip)
    hold = stage.palm(tin, LEFT, height=0.5 * tin.top)
    if upright:
        hold = _edge_grip(stage, tin, LEFT, tin.solid.parts[0].half[0], 0.45)
    still = np.broadcast_to(place, track.shape)
    left = stage.resting(LEFT)
    if upright or stage.rng.random() < 0.6:
        left = HandPath(stage.time, still @ hold.wrist, hold.closed)
    elif stage.rng.random() < 0.6:
        left.reach(begin, held, still, hold)
    script.hands[LEFT] = left
    script.add(packet, track)
    script.add(tin, still)
    return script


def pour(stage, thing):
    """The right hand tips an open carton over a cup and puts it upright again; the left hand may hold the cup."""
    script, (body, *_), (cup,) = Script(), make_thing(thing, stage.rng), make_thing('cup', stage.rng)
    spot = np.array([*stage.uniform((-0.1, 0.06), (0.0, 0.16)), 0])
    still = np.broadcast_to(pose(spot), (len(stage.time), 4, 4))
    start = pose(spot + stage.uniform((0.14, -0.05, 0.02), (0.2, 0.04, 0.08)), stage.rng.normal(0, 5, 3))
    back = pose(spot + stage.uniform((0.14, -0.05, 0.02), (0.2, 0.04, 0.08)), stage.rng.normal(0, 5, 3))
    over = pose(spot + (stage.uniform(0.1, 0.13), stage.uniform(-0.02, 0.01), stage.uniform(0.06, 0.09)))
    lifted, lowered = stage.uniform(0.22, 0.32), stage.uniform(0.68, 0.78)
    track = Path(stage.time, start).go(0.0, lifted + 0.05, over).go(lowered - 0.05, 1.0, back).track
    tip = minimum_jerk(stage.time, lifted - 0.12, lifted + 0.22)
    tip = tip - minimum_jerk(stage.time, lowered - 0.2, lowered + 0.14)
    track = turned_about(track, (0, 1, 0), -np.deg2rad(stage.uniform(88, 115)) * tip, (0, 0, 0.55 * body.top))
    grip = stage.palm(body, RIGHT, yaw=(-30, -5), tilt=(-10, 15))  # tipping lowers the elbow
    script.add(body, track)
    script.add(cup, still)
    script.hands[RIGHT] = HandPath(stage.time, track @ grip.wrist, grip.closed)
    script.hands[LEFT] = stage.resting(LEFT)
    if stage.rng.random() < 0.6:
        hold = stage.palm(cup, LEFT, height=0.45 * cup.top)
        script.hands[LEFT] = HandPath(stage.time, still @ hold.wrist, hold.closed)
    return script


def squeeze(stage, thing):
    """The right hand holds a bottle upside down over the left palm and squeezes it again and again."""
    script, pieces = Script(), make_thing(thing, stage.rng)
    body = pieces[0]
    spot = stage.uniform((0.0, 0.06, 0.15), (0.09, 0.13, 0.19))
    press = stage.pulses(3, 5.5)
    tilt = -stage.uniform(115, 150)
    track = Path(stage.time, pose(spot, (0, tilt, 0)) @ stage.yaw(15)).track
    track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.006)
    track[:, 2, 3] -= stage.uniform(0.008, 0.02) * press
    grip = stage.palm(body, RIGHT, yaw=(-30, -5), tilt=(0, 25))
    firmer = grip.closed.copy()
    firmer[:12, 2] += np.deg2rad(7)
    angles = grip.closed + press[:, None, None] * (firmer - grip.closed)
    palm = np.eye(4)
    palm[:3, :3] = _FORWARD_PALM_DOWN @ np.diag([1, -1, -1])  # the palm up
    palm = pose((stage.uniform(0.09, 0.14) - spot[0], spot[1] - 0.1, stage.uniform(0.015, 0.035))) @ palm
    palm = mirrored(pose(rotvec=(0, 0, stage.uniform(-10, 35))) @ palm)
    flat = posture_angles(stage.rng, 'open', stage.limits)
    left = HandPath(stage.time, palm, flat)
    left.track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.006)
    _add_stack(script, pieces, track)
    script.hands[RIGHT] = HandPath(stage.time, track @ grip.wrist, angles)
    script.hands[LEFT] = left
    return script


def spray(stage, thing):
    """The right hand points a spray bottle and its index finger pulls the trigger again and again."""
    script, (body,) = Script(), make_thing(thing, stage.rng)
    spot = stage.uniform((-0.02, 0.02, 0.07), (0.12, 0.12, 0.14))
    pull = stage.pulses(3, 6)
    yaw = np.deg2rad(stage.uniform(20, 56)) * (stage.pulses(0.5, 1.2) - 0.5)
    place = pose(spot, stage.rng.normal(0, (8, 8, 8))) @ pose(rotvec=(0, 0, stage.uniform(-10, 35)))
    track = turned_about(Path(stage.time, place).track, (0, 0, 1), yaw)
    track = turned_about(track, (1, 0, 0), -np.deg2rad(6) * pull)
    track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.012)
    grip = stage.palm(body, RIGHT, yaw=(0, 30))
    angles = np.array(np.broadcast_to(grip.closed, (len(pull), 15, 3)))
    angles[:, :3, 2] = np.deg2rad([30, 15, 10]) + pull[:, None] * np.deg2rad([14, 45, 25])
    script.add(body, track)
    script.hands[RIGHT] = HandPath(stage.time, track @ grip.wrist, angles)
    script.hands[LEFT] = stage.resting(LEFT)
    return script


def read(stage, thing):
    """Both hands hold an open book; the right hand turns a page, once or twice."""
    script, (right_half, left_half, page) = Script(), make_thing('open book', stage.rng)
    count = len(stage.time)
    place = pose(stage.uniform((-0.05, 0.04, 0.05), (0.05, 0.1, 0.1)), (stage.uniform(-65, -40), 0, 0))
    spine = Path(stage.time, place @ pose(rotvec=(0, stage.uniform(-8, 8), stage.uniform(-8, 8)))).track
    spine[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.006)
    opening = np.deg2rad(stage.uniform(4, 16))
    halves = {
        side: turned_about(spine, (0, 0, 1), np.full(count, sign * -opening)) for side, sign in ((RIGHT, 1), (LEFT, -1))
    }
    start, end = stage.uniform(0.12, 0.25), stage.uniform(0.68, 0.85)
    turn = minimum_jerk(stage.time, start + 0.1, end - 0.08)
    swing = -opening - 0.05 - (np.pi - 2 * opening - 0.1) * turn
    page_track = turned_about(spine, (0, 0, 1), swing)
    width = 2 * right_half.solid.parts[0].half[0]
    grips = {side: _edge_grip(stage, right_half, side, width, stage.uniform(0.3, 0.5)) for side in (LEFT, RIGHT)}
    flip = _edge_grip(stage, page, RIGHT, 0.97 * width, stage.uniform(0.5, 0.75))
    # The wrist follows the page's edge, but turns less than the page does.
    edge = np.array([0.9 * width, 0, 0.6 * page.top, 1])
    follow = turned_about(spine, (0, 0, 1), -opening + 0.45 * (swing + opening))
    follow[:, :3, 3] += ((page_track - follow) @ edge)[:, :3]
    right = HandPath(stage.time, halves[RIGHT] @ grips[RIGHT].wrist, grips[RIGHT].closed)
    right.leave(start - 0.12, start + 0.1, halves[RIGHT], grips[RIGHT], follow @ flip.wrist, flip.closed)
    right.reach(end - 0.1, min(end + 0.16, 1.0), halves[RIGHT], grips[RIGHT])
    script.add(right_half, halves[RIGHT])
    script.add(left_half, halves[LEFT])
    script.add(page, page_track)
    script.hands[RIGHT] = right
    script.hands[LEFT] = HandPath(stage.time, halves[LEFT] @ grips[LEFT].wrist, grips[LEFT].closed)
    return script


def knead(stage, thing):
    """The right hand holds a soft thing in the air and squeezes it again and again."""
    script, (body,) = Script(), make_thing(thing, stage.rng)
    press = stage.pulses(2.5, 5)
    place = pose(stage.uniform((-0.04, 0.02, 0.07), (0.1, 0.12, 0.14)), stage.rng.normal(0, 12, 3))
    track = Path(stage.time, place @ stage.yaw(20)).track
    track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.008)
    grip = _side_grip(stage, body)
    firmer = grip.closed.copy()
    firmer[:12, 2] += np.deg2rad(10)
    script.add(body, track)
    angles = grip.closed + press[:, None, None] * (firmer - grip.closed)
    script.hands = {RIGHT: HandPath(stage.time, track @ grip.wrist, angles), LEFT: stage.resting(LEFT)}
    return script


def _side_grip(stage, piece):
    """A grip of a low thing's two long sides, the fingers on the far one."""
    return stage.pads(piece, RIGHT, (0.01, 0, 0.55 * piece.top), (0, 1, 0), (-0.75, 0, -0.35), 'prismatic')


def flip(stage, thing):
    """The right hand lifts a thing, turns it over and puts it down."""
    script, (body,) = Script(), make_thing(thing, stage.rng)
    spot = np.array([*stage.uniform((-0.06, 0.04), (0.08, 0.16)), 0])
    moved = spot + (*stage.uniform((-0.04, -0.03), (0.04, 0.03)), 0)
    start, end = stage.uniform(0.1, 0.25), stage.uniform(0.75, 0.9)
    middle = (start + end) / 2
    high = pose(stage.uniform((0, 0, 0.07), (0, 0, 0.11)) + (spot + moved) / 2)
    track = Path(stage.time, pose(spot)).go(start, middle + 0.05, high).go(middle - 0.05, end, pose(moved)).track
    half_turn = np.pi * minimum_jerk(stage.time, start + 0.06, end - 0.06)
    track = turned_about(track @ stage.yaw(15), (1, 0, 0), half_turn, (0, 0, body.top / 2))
    grip = _side_grip(stage, body)
    script.add(body, track)
    script.hands = {RIGHT: HandPath(stage.time, track @ grip.wrist, grip.closed), LEFT: stage.resting(LEFT)}
    return script


def hold(stage, thing):
    """Both hands hold a sheet and move it about slowly."""
    script, (sheet,) = Script(), make_thing(thing, stage.rng)
    place = pose(stage.uniform((-0.05, 0.03, 0.06), (0.05, 0.1, 0.12)), (stage.uniform(-65, -35), 0, 0))
    track = Path(stage.time, place @ pose(rotvec=(0, stage.uniform(-8, 8), stage.uniform(-8, 8)))).track
    track[:, :3, 3] += sway(stage.rng, stage.time, stage.seconds, 0.012)
    track = turned_about(track, (1, 0, 0), np.deg2rad(stage.uniform(6, 16)) * (stage.pulses(0.5, 1.2) - 0.5))
    script.add(sheet, track)
    for side in (LEFT, RIGHT):
        grip = _edge_grip(stage, sheet, side, sheet.solid.parts[0].half[0], stage.uniform(0.35, 0.6))
        script.hands[side] = HandPath(stage.time, track @ grip.wrist, grip.closed)
    return script


# Verb: (script, played backwards).
SCRIPTS = {
    'grab': (take, False), 'place': (take, True), 'open': (uncap, False), 'close': (uncap, True),
    'take out': (take_out, False), 'put in': (take_out, True), 'pour': (pour, False), 'squeeze': (squeeze, False),
    'spray': (spray, False), 'read': (read, False),
    'knead': (knead, False), 'flip': (flip, False), 'hold': (hold, False),
}  # fmt: skip
PAIRS = (('grab', 'place'), ('open', 'close'), ('take out', 'put in'))


def write_script(verb, thing, stage):
    """The `Script` of an action."""
    make, reversed_in_time = SCRIPTS[verb]
    script = make(stage, thing)
    return script.backwards() if reversed_in_time else script
