"""Fits a hand model to all views and frames of a recording at once: one shape per person, a pose in every frame.

    fitted = fit_recording(recording)                 # joints of a skeleton with constant bones, and its parameters
    np.nanmedian(fitted.reprojection_errors(), (1, 3))  # pixels, of each frame and hand

Legend: T frames, K cameras, H hands, 21 joints in the common order, S shared parameters.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.hands.fit import SkeletonPose
from handpose.hands.model import HandModel
from handpose.hands.procedural import ProceduralHand
from handpose.inference.annotation.fit_skeleton import NUM_SHAPES, FitSkeleton
from handpose.inference.annotation.fit_solver import FitPart, Robust, ViewedHand, minimize, nearer_to_detections
from handpose.inference.annotation.fit_start import MIN_ANCHOR_JOINTS, find_segments, start_pose
from handpose.inference.annotation.fit_views import FRAME_PERIOD, smoothness_bands, viewed_hand
from handpose.inference.annotation.hand_size import check_hand_size
from handpose.structures.annotated_recording import AnnotatedRecording, RecordingError
from handpose.structures.fitted_hands import continuous_rotvecs, one_thread

Progress = Callable[[int, int], None]
"""Called with (frames fitted, their total)."""
TARGETS = ('detections', 'joints')
MIDDLE_MCP = 9
_FIRST = Robust(0.01, redescending=False)
_SCALE = 3.0  # robust scale over the noise of the detections
_MEDIAN = 1.177  # of the length of a vector whose two coordinates have a standard deviation of 1
_NOISE = (0.001, 0.015)  # metres: the standard deviation that detections may be found to have, along each axis
_STEPS = (15, 10, 8)  # of Levenberg-Marquardt, before and after the robust scale is known
_LEAST_SUPPORT = 8  # observed joints that a fit must follow in a frame
_FOLLOWED = 2.0  # robust scales


@dataclass(frozen=True)
class FitOptions:
    """How a hand model is fitted.

    Attributes:
        own_joints: whether the joints of the resting hand may be displaced, once for the whole recording: what a
            detector takes for each joint, and a person's proportions, which the ten shape parameters do not have.
            `joints_3d` is then the displaced skeleton, which has constant bones too; `hand_pose` and `hand_shape` are
            those of the hand model, without the displacements.
        joint_tolerance: metres by which joints typically leave the skeleton (standard deviation along each axis). No
            skeleton has exactly what a detector takes for joints in every pose; joints leave it towards the
            detections, the more, the less noise these have. Bones are then only nearly constant. None: joints are those
            of the skeleton.
        acceleration: of a hand's joints, metres per second^2 (standard deviation along each axis); the motion is the
            smoother, the lower it is and the more noise the detections have. None: frames are independent.
        longest_gap: seconds for which no view may see a hand; its motion is fitted separately before and after longer
            ones. Frames in a gap get no pose.
        shape_frames: frames of each hand from which the shape is fitted.
        window: frames fitted at a time; memory does not grow with the recording.
        overlap: frames that two windows share at each end.
        target: what is fitted: 'detections', with the triangulated joints as the start; or 'joints', the result so far
            of other steps, such as MVExoNet or refinement, of hands that have all 21, as if every camera saw them.
    """

    own_joints: bool = True
    joint_tolerance: float | None = 0.002
    acceleration: float | None = 20.0
    longest_gap: float = 0.5
    shape_frames: int = 200
    window: int = 300
    overlap: int = 20
    target: str = 'detections'

    def __post_init__(self) -> None:
        scales = [value for value in (self.joint_tolerance, self.acceleration) if value is not None]
        if min(scales, default=1) <= 0 or min(self.longest_gap, self.overlap) < 0 or self.shape_frames < 1:
            raise ValueError(
                f'joint_tolerance and acceleration must be positive or None, longest_gap and overlap not negative and '
                f'shape_frames at least 1, got {self}'
            )
        if self.target not in TARGETS:
            raise ValueError(f'target must be one of {", ".join(TARGETS)}, got {self.target!r}')
        if self.window <= 2 * self.overlap:
            raise ValueError(f'window must be longer than twice the overlap, got {self.window} and {self.overlap}')


class _Poses(NamedTuple):
    """The fitted hands in all frames.

    Attributes:
        pose: (T, H, 16, 3) rotation vectors.
        transl: (T, H, 3) metres.
        joints: (T, H, 21, 3) metres.
        valid: (T, H) bool.
        skipped: detected hands of passages that were not fitted.
    """

    pose: NDArray[np.float64]
    transl: NDArray[np.float64]
    joints: NDArray[np.float64]
    valid: NDArray[np.bool_]
    skipped: int


class _Hand(NamedTuple):
    """One hand of the recording: its skeleton, its triangulated joints, and in which frames it was seen."""

    number: int
    skeleton: FitSkeleton
    joints: Tensor  # (T, 21, 3) metres, mirrored if it is a left hand
    known: Tensor  # (T, 21) bool
    seen: NDArray[np.bool_]  # (T,) in at least one view

    @property
    def anchored(self) -> NDArray[np.bool_]:
        """(T,) frames that the fit can start in."""
        return self.seen & (self.known.sum(1) >= MIN_ANCHOR_JOINTS).numpy()


def fit_recording(
    recording: AnnotatedRecording,
    hand_model: HandModel | None = None,
    options: FitOptions | None = None,
    *,
    progress: Progress | None = None,
) -> AnnotatedRecording:
    """Fits a hand model to the detected joints in all views.

    The cost is the robust distance of the model's joints from the detections (Huber's loss, then that of Geman and
    McClure), in pixels times depth over focal length, so in metres, weighted by the detector's confidence; plus limits
    of joints and shape, a weak pull to the resting hand, and the second differences of the joints' motion. It starts
    from the triangulated joints. Shape comes first, from frames spread over the recording and both hands together; then
    the poses, in overlapping windows.

    A frame that one view sees is carried by shape and motion; one that no view sees, or whose detections the fit does
    not follow, is not valid.

    Args:
        recording: with detections and triangulated joints.
        hand_model: the model; default `ProceduralHand`.
        options: how; default `FitOptions()`.
        progress: is told about it.

    Returns:
        The recording with the fitted `joints_3d`, and the parameters of the model. `hand_shape` has the same row for
        all hands.

    Raises:
        RecordingError: no hand has a frame with enough triangulated joints.
        AnnotationError: hands are not the size of hands.
    """
    options = FitOptions() if options is None else options
    model = ProceduralHand() if hand_model is None else hand_model
    seen = recording if options.target == 'detections' else _seen_joints(recording)
    if not (seen.triangulated_valid[..., 0] & seen.triangulated_valid[..., MIDDLE_MCP]).any():
        raise RecordingError(
            'no hand has a triangulated wrist and middle MCP in any frame: two cameras must see a hand at once'
        )
    check_hand_size(seen)
    with one_thread():
        hands = [_read_hand(seen, model, hand, options) for hand in range(len(recording.hand_side))]
        shared, robust = _fit_shape(seen, hands, options)
        poses = _fit_poses(seen, hands, shared, robust, options, progress)
    skeleton = hands[0].skeleton
    return replace(
        recording,
        joints_3d=poses.joints,
        joints_valid=np.repeat(poses.valid[..., None], 21, -1),
        hand_pose=poses.pose,
        hand_transl=poses.transl,
        hand_shape=np.tile(shared[:NUM_SHAPES].numpy(), (len(hands), 1)),
        hand_pose_valid=poses.valid,
        hand_model=model.name,
        method=_method(recording, skeleton, options),
        notes=(*recording.notes, *_notes(seen, poses, shared, skeleton)),
    )


def _seen_joints(recording: AnnotatedRecording) -> AnnotatedRecording:
    """The recording as if all cameras had detected `joints_3d`."""
    joints = recording.joints_3d.astype(np.float64)
    world = torch.from_numpy(joints)
    depths = [(world @ c.extrinsics[2, :3] + c.extrinsics[2, 3]).numpy() for c in recording.calibration]
    in_front = (np.stack(depths, 1) > 0).all(-1)  # False for NaN too
    shown = in_front & (recording.frame_indices >= 0)[..., None]
    return replace(
        recording,
        joints_2d=recording.project(joints),
        joints_2d_valid=shown,
        detection_confidence=shown.astype(np.float32),
        views_used=np.repeat(shown[..., None], 21, -1),
        triangulated=joints,
        triangulated_valid=recording.joints_valid,
    )


def _read_hand(recording: AnnotatedRecording, model: HandModel, hand: int, options: FitOptions) -> _Hand:
    skeleton = FitSkeleton(model, int(recording.hand_side[hand]), options.own_joints)
    joints = torch.from_numpy(recording.triangulated[:, hand].astype(np.float64)) * skeleton.mirror
    known = torch.from_numpy(recording.triangulated_valid[:, hand])
    seen = np.asarray(recording.joints_2d_valid[:, :, hand].any(1))
    return _Hand(hand, skeleton, torch.where(known[..., None], joints, 0.0), known, seen)


def _fit_shape(recording: AnnotatedRecording, hands: Sequence[_Hand], options: FitOptions) -> tuple[Tensor, Robust]:
    """The shared parameters (S,), and the robust loss that suits the detections."""
    parts = []
    for hand in hands:
        frames = np.flatnonzero(hand.anchored & (recording.num_views[:, hand.number] > 1))
        if not len(frames):
            continue
        spread = np.linspace(0, len(frames) - 1, min(options.shape_frames, len(frames))).round().astype(np.int64)
        chosen = frames[spread]
        state = start_pose(hand.skeleton, hand.joints[chosen], hand.known[chosen], None, None)
        views = viewed_hand(recording, hand.number, hand.skeleton.mirror, chosen)
        parts.append(FitPart(hand.skeleton, views, state))
    if not parts:
        raise RecordingError(
            f'no hand is seen by two cameras in a frame with {MIN_ANCHOR_JOINTS} triangulated joints, so its shape '
            f'cannot be fitted'
        )
    shared = torch.stack([part.state.shape for part in parts]).mean(0)
    parts = [part._replace(state=part.state._replace(shape=shared)) for part in parts]
    parts, robust = _fit_robustly(parts, None, fit_shared=True)
    return parts[0].state.shape, robust


def _fit_robustly(parts: Sequence[FitPart], robust: Robust | None, fit_shared: bool) -> tuple[list[FitPart], Robust]:
    """Fits with Huber's loss first, then twice with one that ignores outliers, of the given or the found scale."""
    result = list(parts)
    first = _FIRST if robust is None else robust._replace(redescending=False)
    for number, steps in enumerate(_STEPS):
        for part in result:
            part.skeleton.corrected(part.state)
        if number and robust is None:
            robust = Robust(_robust_scale(result), redescending=True)
        loss = first if not number or robust is None else robust
        states, _ = minimize(result, loss, fit_shared, steps)
        result = [part._replace(state=state) for part, state in zip(result, states, strict=True)]
    for part in result:
        part.skeleton.corrected(part.state)
    assert robust is not None
    return result, robust


def _robust_scale(parts: Sequence[FitPart]) -> float:
    distances = torch.cat([_distances(part)[part.views.weights > 0] for part in parts])
    return _SCALE * float((distances.median() / _MEDIAN).clamp(*_NOISE))


def _noise(robust: Robust) -> float:
    """Metres: the standard deviation of a detection along each axis, times its depth over the focal length."""
    return robust.scale / _SCALE


def _distances(part: FitPart) -> Tensor:
    """(N, K, 21) metres from the detections."""
    joints, _ = part.skeleton.pose(part.state)
    return part.views.errors(joints, part.views.depths(joints))[0].norm(dim=-1)


def _fit_poses(
    recording: AnnotatedRecording,
    hands: Sequence[_Hand],
    shared: Tensor,
    robust: Robust,
    options: FitOptions,
    progress: Progress | None,
) -> _Poses:
    num_frames, num_hands = len(recording), len(hands)
    pose, transl = np.zeros((num_frames, num_hands, 16, 3)), np.zeros((num_frames, num_hands, 3))
    joints, valid = np.zeros((num_frames, num_hands, 21, 3)), np.zeros((num_frames, num_hands), bool)
    skipped = 0
    plans = []
    for number, hand in enumerate(hands):
        for segment in find_segments(recording.timestamps, hand.seen, options.longest_gap):
            if hand.anchored[segment].any():
                plans.append((number, segment))
            else:
                skipped += int(hand.seen[segment].sum())
    done, total = 0, sum(segment.stop - segment.start for _, segment in plans)
    for number, segment in plans:
        for kept, part in _fit_segment(recording, hands[number], segment, shared, robust, options):
            frames = slice(kept.start, kept.stop)
            pose[frames, number], transl[frames, number] = (v.numpy() for v in part.skeleton.parameters(part.state))
            joints[frames, number] = (_joints(part, robust, options) * part.skeleton.mirror).numpy()
            followed = (_distances(part) < _FOLLOWED * robust.scale) & (part.views.weights > 0)
            valid[frames, number] = (followed.flatten(1).sum(1) >= _LEAST_SUPPORT).numpy()
            done += kept.stop - kept.start
            if progress is not None:
                progress(done, total)
        pose[segment, number, 0] = continuous_rotvecs(pose[segment, number, 0])
    return _Poses(pose, transl, joints, valid, skipped)


def _joints(part: FitPart, robust: Robust, options: FitOptions) -> Tensor:
    """(N, 21, 3) metres, mirrored if it is a left hand."""
    if options.joint_tolerance is None:
        return part.skeleton.pose(part.state)[0]
    return nearer_to_detections(part, robust, _noise(robust) / options.joint_tolerance)


def _fit_segment(
    recording: AnnotatedRecording,
    hand: _Hand,
    segment: slice,
    shared: Tensor,
    robust: Robust,
    options: FitOptions,
) -> Iterator[tuple[slice, FitPart]]:
    """Fits one hand in consecutive frames: yields the frames of each window that are kept, and the hand in them."""
    chosen = np.arange(segment.start, segment.stop)
    times = recording.timestamps[chosen]
    start = start_pose(hand.skeleton, hand.joints[chosen], hand.known[chosen], shared, times)
    weight = 0.0 if options.acceleration is None else _noise(robust) / (options.acceleration * FRAME_PERIOD**2)
    step = options.window - 2 * options.overlap
    for first in range(0, max(1, len(chosen) - 2 * options.overlap), step):
        last = first + options.window
        window = slice(first, last)
        kept = slice(first + options.overlap if first else 0, min(last - options.overlap, len(chosen)))
        if last >= len(chosen):
            kept = slice(kept.start, len(chosen))
        bands = smoothness_bands(times[window], weight)
        views = viewed_hand(recording, hand.number, hand.skeleton.mirror, chosen[window])._replace(bands=bands)
        state = SkeletonPose(start.rotation[window], start.position[window], start.angles[window], shared)
        (part,), _ = _fit_robustly([FitPart(hand.skeleton, views, state)], robust, fit_shared=False)
        inner = slice(kept.start - first, kept.stop - first)
        yield slice(int(chosen[kept.start]), int(chosen[kept.stop - 1]) + 1), _frames_of(part, inner)


def _frames_of(part: FitPart, frames: slice) -> FitPart:
    """Some frames of a fitted part, as they are."""
    skeleton, state = part.skeleton, part.state
    if skeleton.corrections is not None:
        skeleton = skeleton.with_corrections(skeleton.corrections[frames])
    chosen = SkeletonPose(state.rotation[frames], state.position[frames], state.angles[frames], state.shape)
    rays, units, weights, extrinsics, _ = part.views
    return FitPart(skeleton, ViewedHand(rays[frames], units[frames], weights[frames], extrinsics, None), chosen)


def _method(recording: AnnotatedRecording, skeleton: FitSkeleton, options: FitOptions) -> str:
    own = ' with joints of its own' if options.own_joints else ''
    before = f'{recording.method}; ' if recording.method else ''
    to = 'all views' if options.target == 'detections' else 'these joints'
    return f'{before}{skeleton.model.name} hand model{own} fitted to {to}'


def _notes(seen: AnnotatedRecording, poses: _Poses, shared: Tensor, skeleton: FitSkeleton) -> list[str]:
    notes = []
    one_view = int((poses.valid & (seen.num_views == 1)).sum())
    if one_view:
        notes.append(
            f'{one_view} of {int(poses.valid.sum())} fitted hands were seen by one view only: the model, its shape and '
            f'the motion decide how far away they are'
        )
    if poses.skipped:
        notes.append(
            f'hands in {poses.skipped} frames were not fitted: they belong to passages in which never two cameras saw '
            f'the hand'
        )
    unfollowed = int(((seen.num_views > 0) & ~poses.valid).sum()) - poses.skipped
    if unfollowed:
        notes.append(f'{unfollowed} detected hands are not valid: the fit does not follow their detections')
    if len(shared) > NUM_SHAPES:
        moved = 1000 * shared[NUM_SHAPES:].unflatten(0, (20, 3)).norm(dim=-1)
        notes.append(
            f'the joints lie up to {float(moved.max()):.0f} mm ({float(moved.median()):.0f} mm in the median) from '
            f'those of the resting {skeleton.model.name} hand: proportions of the person, and what the detector takes '
            f'for joints; hand_pose and hand_shape do not have them'
        )
    return notes
