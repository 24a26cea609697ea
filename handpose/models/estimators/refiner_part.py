"""The network of a refiner as one function of windows of joints, for `Estimator.network_parts`.

Legend: N windows of one hand each, T frames, J = 21 joints.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor
from handpose.models.layers.hand_motion import joints_to_motion, motion_to_joints

JOINTS = PartTensor(
    'joints',
    ('batch', 'time', 21, 3),
    'window of the joints of one hand in each row, metres, without gaps: frames in which the hand is missing are '
    'interpolated first, and where mirror_left_hands is true, x of left hands is negated before and after',
    example=(-0.1, 0.1),
)
FRAME_VALID = PartTensor(
    'frame_valid', ('batch', 'time'), 'false where a frame is padding at the end', torch.bool, default=True
)
JOINTS_VALID = PartTensor(
    'joints_valid',
    ('batch', 'time', 21),
    'false for joints that the estimator did not give',
    torch.bool,
    default=True,
)
FRAME_RATE = PartTensor('frame_rate', ('batch',), 'frames per second of the window', default=30.0, example=(20.0, 40.0))
REFINED = PartTensor('refined_joints', ('batch', 'time', 21, 3), 'metres, in the frame of the input')
POSE = PartTensor(
    'hand_pose_6d',
    ('batch', 'time', 16, 6),
    "rotations of the hand model, in MANO's order: the first two columns of each matrix, up to their length",
)
SHAPE = PartTensor('hand_shape', ('batch', 10), 'shape of the hand model')


class RefinedMotion(NamedTuple):
    """What a refiner gives. In `forward` joints are a motion as described above; elsewhere they are in the input's
    frame. Pose and shape are None where a refiner gives joints alone."""  # fmt: skip

    joints: Tensor  # (N, T, J, 3), metres
    pose: Tensor | None = None  # (N, T, 16, 6), rotations in MANO's order
    shape: Tensor | None = None  # (N, 10), of the hand model
    block_shapes: Tensor | None = None  # (N, L, 10), what each of L blocks says, where all are supervised


def join_motions(parts: list[RefinedMotion], join: Callable[[list[Tensor]], Tensor]) -> RefinedMotion:
    """Joins refined motions that all have the same fields.

    Args:
        parts: at least one.
        join: torch.stack or torch.cat.

    Returns:
        All of them.
    """

    def joined(values: list[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return join(present) if present else None

    return RefinedMotion(
        join([part.joints for part in parts]),
        joined([part.pose for part in parts]),
        joined([part.shape for part in parts]),
        joined([part.block_shapes for part in parts]),
    )


def refiner_part(
    run: Callable[..., tuple[Tensor | None, ...]],
    num_frames: int | None,
    any_length: bool,
    joint_masks: bool,
    frame_rates: bool,
    has_pose: bool,
) -> NetworkPart:
    """The part of a refiner.

    Args:
        run: `MotionRefiner.run`.
        num_frames: T of a window; None means any.
        any_length: the network takes shorter windows too.
        joint_masks: the network is told which joints are given.
        frame_rates: the network is told the frame rate.
        has_pose: the network gives the pose and shape of a hand model.

    Returns:
        The part, from joints to joints; it converts them to the motion that `run` takes, and back.
    """

    def refine(joints: Tensor, frame_valid: Tensor | None, *options: Tensor | None) -> tuple[Tensor, ...]:
        given = dict(zip(optional, options, strict=True))
        motion, origin = joints_to_motion(joints, frame_valid)
        found = run(motion, frame_valid, given.get('joints_valid'), given.get('frame_rate'))
        refined = motion_to_joints(found[0].to(origin.dtype), origin) if found[0] is not None else joints
        return refined, *(extra for extra in found[1:3] if extra is not None)

    masks = (JOINTS_VALID,) if joint_masks else ()
    extra = (*masks, FRAME_RATE) if frame_rates else masks
    optional = [spec.name for spec in extra]
    time = 'time' if any_length or num_frames is None else num_frames
    inputs = (JOINTS, FRAME_VALID, *extra)
    outputs = (REFINED, POSE, SHAPE) if has_pose else (REFINED,)
    return NetworkPart(
        WHOLE,
        refine,
        tuple(_with_time(spec, time) for spec in inputs),
        tuple(_with_time(spec, time) for spec in outputs),
        {} if num_frames is None else {'time': num_frames},
    )


def _with_time(spec: PartTensor, time: str | int) -> PartTensor:
    return replace(spec, axes=tuple(time if axis == 'time' else axis for axis in spec.axes))
