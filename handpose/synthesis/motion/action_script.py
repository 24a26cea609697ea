"""What a scripted action consists of, and what scripts draw from. Table frame: z up, the person at -y, metres, radians.

Legend: F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side
from handpose.synthesis.motion.gestures import posture_angles
from handpose.synthesis.motion.grips import Grip, pad_grip, palm_grip
from handpose.synthesis.motion.posing import mirrored
from handpose.synthesis.motion.trajectories import RATE, HandTrajectory, pose, sway
from handpose.synthesis.objects.shapes import SceneObject

# A right hand whose fingers point away from the person, the palm down: columns are the model's axes.
FORWARD_PALM_DOWN = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])


@dataclass
class Script:
    """What happens in an action.

    Attributes:
        objects: the action's object first.
        tracks: (F, 4, 4) of each object.
        hands: {side: HandTrajectory}.
    """

    objects: list[SceneObject] = field(default_factory=list)
    tracks: list[NDArray] = field(default_factory=list)
    hands: dict[int, HandTrajectory] = field(default_factory=dict)

    def add(self, item: SceneObject, track: NDArray) -> None:
        """Adds an object and its track."""
        self.objects.append(item)
        self.tracks.append(np.array(track))

    def backwards(self) -> 'Script':
        """The same action from its end to its beginning; changes and returns itself."""
        self.tracks = [track[::-1] for track in self.tracks]
        for hand in self.hands.values():
            hand.track, hand.angles = hand.track[::-1], hand.angles[::-1]
        return self


class ScriptContext:
    """What a script draws from: the random generator, the hand model and shape, the time line and resting hands.

    Args:
        rng: numpy Generator.
        model: the hand model.
        shape: (10,) of the hands.
        frames: F.
    """

    def __init__(self, rng: Generator, model: ProceduralHand, shape: NDArray, frames: int) -> None:
        self.rng, self.model, self.shape = rng, model, shape
        self.time = np.arange(frames) / (frames - 1)
        self.seconds = frames / RATE
        self.limits = model.joint_limits.double().numpy()

    def uniform(self, low: float, high: float) -> float:
        """A uniform random number."""
        return self.rng.uniform(low, high)

    def point(self, low: Sequence[float], high: Sequence[float]) -> NDArray:
        """A uniform random point (N,) of a box."""
        return self.rng.uniform(low, high)

    def yaw(self, spread: float) -> NDArray:
        """A pose (4, 4) at the origin, rotated about z by up to `spread` degrees."""
        return pose(degrees=(0, 0, self.uniform(-spread, spread)))

    def pulses(self, low: float, high: float) -> NDArray:
        """Between `low` and `high` waves (F,) from 0 to 1."""
        return 0.5 - 0.5 * np.cos(2 * np.pi * (self.uniform(low, high) * self.time + self.uniform(0, 1)))

    def resting(self, side: int) -> HandTrajectory:
        """A `HandTrajectory` that rests near the table's edge, sometimes out of sight."""
        x, y = self.uniform(0.1, 0.2), self.uniform(-0.14, 0.0)
        place = np.eye(4)
        place[:3, :3] = FORWARD_PALM_DOWN
        turn = pose(degrees=self.rng.normal(0, (8, 14, 14))) @ pose(degrees=(0, self.uniform(-5, 70), 0))
        place = pose((x, y, self.uniform(0.03, 0.09))) @ turn @ place
        if side == Side.LEFT:
            place = mirrored(place)
        angles = posture_angles(self.rng, str(self.rng.choice(['relaxed', 'open', 'relaxed', 'claw'])), self.limits)
        hand = HandTrajectory(self.time, place, angles)
        hand.track[:, :3, 3] += sway(self.rng, self.time, self.seconds, 0.012)
        return hand

    def palm(
        self,
        item: SceneObject,
        side: int,
        height: float | None = None,
        yaw: tuple[float, float] = (5, 45),
        tilt: tuple[float, float] = (-25, 5),
    ) -> Grip:
        """A palm grip on the side of an object that is the hand's own; elbow outwards (yaw) and low (tilt), degrees."""
        grip = palm_grip(self.model, self.shape, item, height, np.deg2rad(self.uniform(*tilt)))
        return grip.rotated(np.deg2rad(self.uniform(*yaw))).of_side(side)

    def pads(
        self,
        item: SceneObject,
        side: int,
        point: ArrayLike,
        across: ArrayLike,
        approach: ArrayLike,
        kind: str = 'pinch',
    ) -> Grip:
        """A grip between thumb and finger pads; vectors as for a right hand, see `pad_grip`."""
        return pad_grip(self.model, self.shape, item, point, across, approach, kind).of_side(side)
