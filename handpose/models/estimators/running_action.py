"""What an action recognizer says while a video goes on."""

from typing import NamedTuple

import torch
from torch import Tensor

from handpose.models.estimators.base import EncodedFrames, VideoEstimator
from handpose.structures import SequenceError


class RunningAction(NamedTuple):
    """Action probabilities (N, A) after some frames (N,) of a video; the frame numbers grow, the last is its end."""

    frames: Tensor
    scores: Tensor


def running_action(
    estimator: VideoEstimator,
    encoded: EncodedFrames,
    intrinsics: Tensor,
    valid: Tensor | None = None,
    every: int = 8,
) -> RunningAction:
    """The action as it looks after every so many frames of a video, of which the model sees the last `span` frames.

    `span` is what one clip of each phase covers, num_frames * frame_step; so a shorter video is seen from its beginning
    on, and a longer one that holds several actions gives each its time.

    Args:
        estimator: one that gives 'actions'.
        encoded: of all T frames.
        intrinsics: (T, 3, 3).
        valid: (T,) bool; None means all.
        every: frames from one answer to the next.

    Returns:
        The running action, on the CPU.

    Raises:
        SequenceError: no frame is valid.
        ValueError: the estimator gives no actions, or has no window.
    """
    num_frames = estimator.reads.num_frames
    if 'actions' not in estimator.gives.classes or num_frames is None:
        raise ValueError(f'{type(estimator).__name__} recognizes no actions in windows; give HTT, for example')
    count = len(encoded.features)
    valid = torch.ones(count, dtype=torch.bool, device=encoded.features.device) if valid is None else valid
    seen = valid[:count].nonzero().flatten().tolist()
    if not seen:
        raise SequenceError('a video without a valid frame has no action')
    span = num_frames * estimator.reads.frame_step
    frames, scores = [], []
    for last in [*range(seen[0], seen[-1], every), seen[-1]]:
        part = slice(max(0, last + 1 - span), last + 1)
        if valid[part].any():
            frames.append(last)
            track = estimator.decode_track(encoded.select(part), frame_valid=valid[part], intrinsics=intrinsics[part])
            scores.append(track.require('action_scores'))
    return RunningAction(torch.tensor(frames), torch.stack(scores).cpu())
