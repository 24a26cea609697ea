"""How sequences of joints of any length become the input of a network of a fixed number of frames.

Legend: B clips, T frames of a clip, N frames that the network sees, H hands, J joints.
"""

import torch
from torch import Tensor

from handpose.geometry.tracing import is_exporting
from handpose.models.layers.checks import check_option
from handpose.structures import HandSequence, SequenceError, sample_name

COORDINATES = ('absolute', 'wrist', 'start')
MISSING = ('zeros', 'last')
PADDING = ('zeros', 'tile')
FRAMES = ('first', 'uniform')
WRIST = 0


def relative_joints(joints: Tensor, valid: Tensor, coordinates: str) -> tuple[Tensor, Tensor]:
    """Moves the origin of joint sequences.

    Args:
        joints: (B, T, H, J, 3), common joint order, metres; what is not valid may hold anything finite.
        valid: (B, T, H, J) bool.
        coordinates: 'absolute', as they are; 'wrist', each hand in each frame relative to its wrist, where the places
            of the hands are lost; 'start', relative to the mean wrist in the first frame that has one, which keeps the
            motion of the hands and where one is from the other.

    Returns:
        Joints, and which are valid: with 'wrist' none of a hand without its wrist, with 'start' none of a clip without
        any wrist.

    Raises:
        ValueError: unknown coordinates.
    """
    check_option('coordinates', coordinates, COORDINATES)
    if coordinates == 'absolute':
        return joints, valid
    has_wrist = valid[..., WRIST]
    if coordinates == 'wrist':
        return joints - joints[..., WRIST : WRIST + 1, :], valid & has_wrist[..., None]
    first = has_wrist.any(2).int().argmax(1)  # (B,)
    rows = torch.arange(joints.shape[0], device=joints.device)
    weight = has_wrist[rows, first][..., None].to(joints.dtype)  # (B, H, 1)
    origin = (joints[rows, first, :, WRIST] * weight).sum(1) / weight.sum(1).clamp_min(1)
    return joints - origin[:, None, None, None], valid & has_wrist.flatten(1).any(1)[:, None, None, None]


def fill_missing_joints(joints: Tensor, valid: Tensor, missing: str) -> Tensor:
    """Fills joints that are missing.

    Args:
        joints: (B, T, H, J, 3); what is not valid may hold anything finite.
        valid: (B, T, H, J) bool.
        missing: 'zeros', or 'last', the joint's last valid place; before its first one that first one, and zeros for a
            joint that is never valid.

    Returns:
        (B, T, H, J, 3).

    Raises:
        ValueError: an unknown way.
    """
    check_option('missing', missing, MISSING)
    if missing == 'last':
        frame = torch.arange(valid.shape[1], device=valid.device)[:, None, None]
        last = _running_maximum(torch.where(valid, frame, -1))
        source = torch.where(last < 0, valid.int().argmax(1, keepdim=True), last)
        joints = joints.gather(1, source[..., None].expand(joints.shape))
        valid = valid.any(1, keepdim=True).expand(valid.shape)
    return torch.where(valid[..., None], joints, torch.zeros_like(joints))


def _running_maximum(numbers: Tensor) -> Tensor:
    """The largest of the numbers (B, T, H, J) of a frame and all before it."""
    if not is_exporting():
        return numbers.cummax(1).values
    # ONNX has no such operator: every frame looks at all frames, which takes memory that grows with T squared.
    frame = torch.arange(numbers.shape[1], device=numbers.device)
    before = (frame <= frame[:, None])[:, :, None, None]  # (T, T, 1, 1)
    return torch.where(before, numbers[:, None], -1).amax(2)


def frame_positions(
    lengths: Tensor, num_frames: int, frames: str, padding: str, offsets: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Chooses the frames of clips of any length that a network sees.

    Args:
        lengths: (B,) frames of each clip, at least 1.
        num_frames: N.
        frames: of a longer clip: 'first', the first N; 'uniform', one of each of N equal parts of the clip.
        padding: after the end of a shorter clip: 'zeros', or 'tile', the clip again from its start.
        offsets: (B, N) in [0, 1), where in their parts the frames of 'uniform' are; None means the middle.

    Returns:
        (B, N) frame numbers, and (B, N) bool, False for padding with zeros.

    Raises:
        ValueError: an unknown way.
    """
    check_option('frames', frames, FRAMES)
    check_option('padding', padding, PADDING)
    position = torch.arange(num_frames, device=lengths.device).expand(lengths.shape[0], -1)
    length = lengths[:, None]
    index = torch.remainder(position, length) if padding == 'tile' else position.minimum(length - 1)
    inside = (position < length) | (padding == 'tile')
    if frames == 'uniform':
        offset = 0.5 if offsets is None else offsets.double()
        part = ((position + offset) * length.double() / num_frames).long().minimum(length - 1)
        index = torch.where(length > num_frames, part, index)
    return index, inside


def clip_lengths(frame_valid: Tensor) -> Tensor:
    """The number of frames of each clip up to the last one that is no padding, at least 1.

    Args:
        frame_valid: (B, T) bool.

    Returns:
        (B,) int64.
    """
    number = torch.arange(1, frame_valid.shape[1] + 1, device=frame_valid.device)
    return torch.where(frame_valid, number, 1).amax(1)


def check_coordinates(batch: HandSequence, coordinates: str) -> None:
    """Checks that a batch knows where its hands are, where that is read.

    Args:
        batch: of B clips.
        coordinates: as in `relative_joints`.

    Raises:
        SequenceError: joints relative to the wrist for other coordinates than 'wrist'.
    """
    if batch.frame == 'wrist' and coordinates != 'wrist':
        raise SequenceError(
            f"{sample_name(batch.meta[0])}: coordinates={coordinates!r} needs joints in the 'camera' or 'world' frame, "
            f"got a batch in the 'wrist' frame: train and test with coordinates='wrist', or give joints with the "
            f'places of the hands'
        )
