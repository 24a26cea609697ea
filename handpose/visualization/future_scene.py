"""What figures of forecasts draw: observed and future hands in one plane, in centimetres.

Legend: S samples, T frames, H hands, J = 21 joints. Joints that are not given are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.hands.joints import BONES
from handpose.structures import HandSequence, sample_name

Points = NDArray[np.float64]
VIEWS = ('auto', 'front', 'side', 'principal')
_APART = 13.0  # centimetres to each side, between two hands that are both relative to their wrists
_CENTIMETRES = 100.0


class Plane(NamedTuple):
    """The plane of a view.

    Attributes:
        axes: (2, 3), unit vectors to the right and upwards in the figure.
        origin: (3,) centimetres, the place at 0, 0.
        labels: of the horizontal and the vertical axis.
        inverted: whether the vertical axis points down.
    """

    axes: Points
    origin: Points
    labels: tuple[str, str]
    inverted: bool


@dataclass(frozen=True, eq=False)
class FutureScene:
    """Observed hands and their futures in a plane.

    Attributes:
        observed: (T, H, J, 2) centimetres.
        observed_seconds: (T,), 0 at the last observed frame.
        samples: (S, T', H, J, 2) centimetres.
        truth: (T', H, J, 2) centimetres, or None.
        seconds: (T',) since the last observed frame.
        hand_side: (H,), 0 left and 1 right.
        plane: of the view.
    """

    observed: Points
    observed_seconds: Points
    samples: Points
    truth: Points | None
    seconds: Points
    hand_side: NDArray[np.int64]
    plane: Plane

    @property
    def mean(self) -> Points:
        """(T', H, J, 2): the mean of the samples, NaN where one of them is."""
        return np.asarray(self.samples.mean(0))

    def frame_at(self, seconds: float) -> int:
        """The future frame that is nearest to a time."""
        return int(np.abs(self.seconds - seconds).argmin())

    def limits(self, margin: float, first: int = 0, last: int | None = None) -> Points:
        """Lowest and highest coordinate along each axis of what is shown.

        Args:
            margin: share of the larger extent that is added on each side.
            first: the first observed frame that is shown.
            last: the last future frame that is shown; None means all.

        Returns:
            (2, 2), centimetres.
        """
        until = None if last is None else last + 1
        shown = [self.observed[first:], self.samples[:, :until]] + ([] if self.truth is None else [self.truth[:until]])
        return limits_of(np.concatenate([x.reshape(-1, 2) for x in shown]), margin)


def future_scene(
    observed: HandSequence, future: HandSequence, truth: HandSequence | None = None, view: str = 'auto'
) -> FutureScene:
    """Projects a forecast onto a plane.

    Args:
        observed: a clip with joints_3d and timestamps.
        future: its sampled futures, a batch of S clips.
        truth: what followed, a batch of one clip.
        view: 'front' (x right, y down), 'side' (z right, y down), 'principal' (the plane in which the hands move most),
            or 'auto': 'principal' in frame 'world', whose axes mean nothing in particular, and 'front' otherwise.

    Returns:
        The scene, its origin at the middle of the last observed hands.

    Raises:
        ValueError: an unknown view, clips that do not belong together, or no hand to draw.
    """
    if view not in VIEWS:
        raise ValueError(f'view must be one of {VIEWS}, got {view!r}')
    name = 'the clip' if observed.batched else sample_name(observed.meta)
    if observed.batched or not future.batched or (truth is not None and not truth.batched):
        raise ValueError(f'{name}: expected a clip of observed frames and batches of futures')
    frames = {x.frame for x in (observed, future, truth) if x is not None}
    hands = {x.require('joints_3d').shape[-3] for x in (observed, future, truth) if x is not None}
    if len(frames) > 1 or len(hands) > 1:
        raise ValueError(
            f'{name}: observed frames, futures and truth must have one coordinate frame and number of hands, got '
            f'{sorted(frames)} and {sorted(hands)}'
        )
    past, samples = joint_positions(observed), joint_positions(future)
    true = None if truth is None else joint_positions(truth)[0]
    seen = np.flatnonzero(np.isfinite(past).all(-1).reshape(len(past), -1).any(1))
    if not len(seen):
        raise ValueError(f'{name}: no hand is valid in the observed frames, so there is nothing to draw')
    plane = view_plane([past, samples, *([] if true is None else [true])], past[seen[-1]], observed.frame, view)
    times = observed.require('timestamps').cpu().numpy()
    start = times[-1] if observed.frame_valid is None else times[observed.frame_valid.cpu().numpy()][-1]
    return FutureScene(
        observed=to_plane(past, plane),
        observed_seconds=times - start,
        samples=to_plane(samples, plane),
        truth=None if true is None else to_plane(true, plane),
        seconds=future.require('timestamps')[0].cpu().numpy() - start,
        hand_side=observed.require('hand_side').cpu().numpy(),
        plane=plane,
    )


def motion_scene(motions: HandSequence, labels: Sequence[str], view: str = 'auto') -> tuple[Points, Plane]:
    """Projects several motions onto one plane.

    Args:
        motions: a batch of N clips with joints_3d.
        labels: N names of the motions.
        view: see `future_scene`.

    Returns:
        Joints (N, T, H, J, 2) in centimetres, NaN where they are not given, and the plane, its origin at the middle of
        the first frame's hands.

    Raises:
        ValueError: no motion, another number of labels, an unknown view, or no hand to draw.
    """
    if not motions.batched or not motions.meta or len(labels) != len(motions.meta) or view not in VIEWS:
        found = f'{len(motions.meta)} motions' if motions.batched else 'a clip'
        raise ValueError(
            f'expected a batch of motions, a label for each, and a view among {VIEWS}; got {found}, {len(labels)} '
            f'labels and {view!r}'
        )
    positions = joint_positions(motions)
    if np.isnan(positions).all():
        raise ValueError('no hand is valid in any of the motions, so there is nothing to draw')
    started = positions[:, 0] if np.isfinite(positions[:, 0]).any() else positions
    plane = view_plane([positions], started, motions.frame, view)
    return to_plane(positions, plane), plane


def joint_positions(sequence: HandSequence) -> Points:
    """The joints of a clip or a batch in centimetres, two hands relative to their wrists side by side.

    Args:
        sequence: with joints_3d.

    Returns:
        (..., T, H, J, 3), NaN where a joint or the frame is not valid.
    """
    joints = _CENTIMETRES * sequence.require('joints_3d').detach().cpu().double().numpy()
    valid = sequence.require('joints_valid').cpu().numpy()
    if sequence.frame_valid is not None:
        valid = valid & sequence.frame_valid.cpu().numpy()[..., None, None]
    if sequence.frame == 'wrist' and joints.shape[-3] == 2:
        joints = joints + np.array([[-_APART, 0, 0], [_APART, 0, 0]])[:, None]
    return np.where(valid[..., None], joints, np.nan)


def view_plane(motions: list[Points], centre: Points, frame: str, view: str = 'auto') -> Plane:
    """The plane that motions are drawn in.

    Args:
        motions: arrays (..., 3) centimetres, NaN where nothing is given.
        centre: (..., 3) centimetres, whose mean is the origin.
        frame: coordinate frame.
        view: see `future_scene`.
    """
    origin = np.nanmean(centre.reshape(-1, 3), axis=0)
    if view == 'principal' or (view == 'auto' and frame == 'world'):
        points = np.concatenate([motion.reshape(-1, 3) for motion in motions])
        points = points[np.isfinite(points).all(-1)]
        axes = np.linalg.svd(np.cov(points.T))[0].T[:2]
        axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, None]  # the same sign on every machine
        return Plane(axes, origin, ('main direction (cm)', 'second direction (cm)'), inverted=False)
    across = 2 if view == 'side' else 0
    labels = (f'{"xyz"[across]} (cm)', 'y (cm, down)')
    return Plane(np.eye(3)[[across, 1]], origin, labels, inverted=True)


def to_plane(points: Points, plane: Plane) -> Points:
    """Projects points.

    Args:
        points: (..., 3) centimetres.
        plane: of the view.

    Returns:
        (..., 2) centimetres.
    """
    return np.asarray((points - plane.origin) @ plane.axes.T)


def limits_of(points: Points, margin: float) -> Points:
    """Lowest and highest coordinate along each axis.

    Args:
        points: (..., 2), NaN left out.
        margin: share of the larger extent that is added on each side.

    Returns:
        (2, 2): (lowest, highest) of each axis.
    """
    flat = points.reshape(-1, 2)
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    pad = margin * (high - low).max() + 1e-3
    return np.stack([low - pad, high + pad], 1)


def skeleton_segments(joints: Points) -> Points:
    """The bones of hands as line segments, those that have both ends.

    A thumb whose base is not given (Assembly101, G-HTT) is drawn from the wrist to its next joint.

    Args:
        joints: (..., J, D), NaN where a joint is not given.

    Returns:
        (N, 2, D).
    """
    hands = joints.reshape(-1, *joints.shape[-2:])
    bones = hands[:, BONES]  # (N, 20, 2, D)
    thumb = hands[:, [[0, 2]]]
    no_base = np.isnan(hands[:, 1]).any(-1)
    segments = np.concatenate([bones.reshape(-1, 2, hands.shape[-1]), thumb[no_base].reshape(-1, 2, hands.shape[-1])])
    return np.asarray(segments[np.isfinite(segments).all((1, 2))])
