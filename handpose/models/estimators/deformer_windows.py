"""How Deformer covers a track with windows, and how their predictions become one per frame.

Legend: W windows, T' frames of a window, T frames of the track.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry import rot6d_to_rotmat, rotmat_to_rot6d
from handpose.structures import centred_windows, strided_windows

TEST_MODES = ('all', 'centre', 'overlap')


class TrackPoses(NamedTuple):
    """What the windows of one track give together; in a batch of tracks with a leading B."""

    rotations: Tensor  # (T, 16, 3, 3)
    shape: Tensor  # (10,)
    joints_2d: Tensor  # (T, J, 2), in [0, 1] of the box
    own_vote: Tensor  # (T,), the weight of each frame in its own result


def track_windows(
    valid: NDArray[np.bool_], num_frames: int, frame_step: int, test_mode: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Covers a track with windows. A track without a valid frame is covered whole.

    Args:
        valid: (T,), frames with a hand.
        num_frames: T' of a window.
        frame_step: frames of the track from one position of a window to the next.
        test_mode: one of `TEST_MODES`, see `Deformer`.

    Returns:
        Frame numbers, which of them are present, and the weight of each prediction, 0 where it is not kept: all
        (W, T').
    """
    if not valid.any():
        valid = np.ones_like(valid)  # nothing that is predicted counts, but it must be finite
    half = (num_frames - 1) / 2
    position = np.arange(num_frames)
    if test_mode == 'centre':
        index, present = centred_windows(len(valid), num_frames, frame_step, usable=valid)
        return index, present, present * (position == half)
    stride = 1 if test_mode == 'overlap' else None
    index, present, predicted = strided_windows(len(valid), num_frames, frame_step, valid, stride)
    nearness = 1 - np.abs(position - half) / (half + 1)
    return index, present, present * nearness if test_mode == 'overlap' else predicted * 1.0


def assemble_track(
    rotations: Tensor, own_votes: Tensor, index: Tensor, weights: Tensor, num_frames: int
) -> tuple[Tensor, Tensor]:
    """Averages what windows predict of each frame.

    Args:
        rotations: (W, T', 16, 3, 3).
        own_votes: (W, T').
        index: (W, T') frame numbers.
        weights: (W, T'), 0 where a prediction is not kept.
        num_frames: T of the track.

    Returns:
        Rotations (T, 16, 3, 3) and own votes (T,).
    """
    poses = rotmat_to_rot6d(rotations)  # (W, T', 16, 6)
    kept = weights > 0
    index, weights = index[kept], weights[kept].to(poses.dtype)
    pose = poses.new_zeros(num_frames, *poses.shape[2:])
    pose.index_add_(0, index, weights[:, None, None] * poses[kept])
    vote = own_votes.new_zeros(num_frames).index_add_(0, index, weights * own_votes[kept])
    vote = vote / vote.new_zeros(num_frames).index_add_(0, index, weights).clamp_min(1e-6)
    # Gram-Schmidt does not need the sum of weights: the scale of the six numbers has no effect.
    return rot6d_to_rotmat(pose), vote
