"""What an action recogniser says while a video goes on."""

from typing import NamedTuple

import torch

from handpose.structures import SequenceError


class RunningAction(NamedTuple):
    """The answers (N, A), probabilities, after `frames` (N,), places in the video that grow; the last is its end."""

    frames: torch.Tensor
    scores: torch.Tensor


@torch.no_grad()
def running_action(estimator, features, intrinsics, valid=None, every=8):
    """The action as it looks after every so many frames of a video, of which the model sees the last `span` frames.

    `span` is what one clip of each phase covers, `num_frames * spacing`; so a shorter video is seen from its beginning
    on, and a longer one that holds several actions gives each its time.

    Args:
        estimator: `HTT`, or another one with `num_frames`, `spacing` and `decode_video`.
        features: (T, C) of all frames, see `HTT.encode_video`. intrinsics: (T, 3, 3). valid: (T,) bool, default all.
        every: frames from one answer to the next.

    Raises:
        SequenceError: no frame is valid.
    """
    valid = torch.ones(len(features), dtype=torch.bool, device=features.device) if valid is None else valid
    seen = valid[: len(features)].nonzero().flatten().tolist()
    if not seen:
        raise SequenceError('a video without a valid frame has no action')
    span = estimator.num_frames * estimator.spacing
    frames, scores = [], []
    for last in [*range(seen[0], seen[-1], every), seen[-1]]:
        part = slice(max(0, last + 1 - span), last + 1)
        if valid[part].any():
            frames.append(last)
            scores.append(estimator.decode_video(features[part], intrinsics[part], valid[part]).action)
    return RunningAction(torch.tensor(frames), torch.stack(scores).cpu())
