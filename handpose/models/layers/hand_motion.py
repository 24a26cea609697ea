"""Hand motion as refiners see it: the wrist relative to its mean over the window, other joints relative to the wrist.

Legend: N hands, T frames, J = 21 joints.
"""

import torch
from torch import Tensor

from handpose.hands import HandModel
from handpose.hands.sides import Side
from handpose.models.layers.missing_frames import mean_over_frames

STEP_TOLERANCE = 0.1  # in frames of the model: how much a step in time may differ from a whole number


def joints_to_motion(joints: Tensor, frame_valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Converts joints to a motion.

    Args:
        joints: (N, T, J, 3), metres.
        frame_valid: (N, T) bool, the frames to average over; None means all.

    Returns:
        The motion (N, T, J, 3), and its origin (N, 1, 3): the mean position of the wrist.
    """
    wrist = joints[..., 0, :]
    origin = mean_over_frames(wrist, frame_valid)[:, None]
    relative = joints[..., 1:, :] - wrist[..., None, :]
    return torch.cat([(wrist - origin)[..., None, :], relative], dim=-2), origin


def motion_to_joints(motion: Tensor, origin: Tensor) -> Tensor:
    """Inverts `joints_to_motion`.

    Args:
        motion: (N, T, J, 3), metres.
        origin: (N, 1, 3), metres.

    Returns:
        Joints (N, T, J, 3), metres.
    """
    wrist = motion[..., :1, :] + origin[:, :, None]
    return torch.cat([wrist, motion[..., 1:, :] + wrist], dim=-2)


def mirror_joints(joints: Tensor, mirrored: Tensor) -> Tensor:
    """Negates x of the joints of some hands.

    Args:
        joints: (N, T, J, 3).
        mirrored: (N,) bool, the hands to mirror.

    Returns:
        (N, T, J, 3).
    """
    flipped = joints * joints.new_tensor([-1.0, 1.0, 1.0])
    return torch.where(mirrored[:, None, None, None], flipped, joints)


def rest_hand(hand_model: HandModel) -> Tensor:
    """Joints of a hand model's right hand of mean shape without rotations.

    Args:
        hand_model: the hand model.

    Returns:
        (21, 3), metres.
    """
    pose, shape = torch.zeros(16, 3), torch.zeros(10)
    return hand_model(pose, shape, torch.zeros(3), torch.tensor(Side.RIGHT)).joints.detach()


def frame_positions(times: Tensor, frame_rate: float) -> Tensor:
    """Places the frames of a track on a model's time line, which begins with the first of them.

    A step from one frame to the next that is a whole number of the model's frames, give or take a tenth (29.97 for 30
    frames per second, times in whole milliseconds, frames left out), counts as that number.

    Args:
        times: (T,), seconds, increasing.
        frame_rate: of the model, frames per second.

    Returns:
        (T,) float64, in frames of the model.
    """
    steps = times.double().diff() * frame_rate
    whole = steps.round()
    steps = torch.where((whole >= 1) & ((steps - whole).abs() <= STEP_TOLERANCE), whole, steps)
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])
