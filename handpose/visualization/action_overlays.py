"""Images of a tested video of an action recognizer: the running action below its frames, and the attention."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handpose.models import VideoEstimator
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.structures import HandSequence
from handpose.visualization.action_banner import ActionBanner
from handpose.visualization.action_figures import attention_strip

TIMES = 40  # moments at which the action so far is predicted


class ActionStory(NamedTuple):
    """How an answer came about: the running action, and how much each frame counts (T,), None where that is unknown."""

    running: RunningAction
    attention: np.ndarray | None


@torch.no_grad()
def action_story(estimator: VideoEstimator, target: HandSequence) -> ActionStory:
    """The `ActionStory` of a video: `target`, a HandSequence (a clip) with images and intrinsics, one camera."""
    device = next(estimator.parameters()).device
    encoded = estimator.encode_frames(target.require('images')[:, 0].to(device))
    intrinsics = target.require('intrinsics')[:, 0].to(device)
    valid = _valid(target).to(device)
    attention = estimator.frame_attention(encoded, intrinsics, valid)
    running = running_action(estimator, encoded, intrinsics, valid, max(1, len(valid) // TIMES))
    return ActionStory(running, None if attention is None else attention.cpu().numpy())


def under_frames(
    frames: Sequence[np.ndarray],
    prediction: HandSequence,
    target: HandSequence,
    names: Sequence[str],
    running: RunningAction,
) -> Iterator[np.ndarray]:
    """Yields the frames of `draw_clip` of this pair with the running action below each."""
    truth = -1 if target.action_label is None else int(target.action_label)
    width = frames[0].shape[1]
    banner = ActionBanner(names, running, prediction.action_scores, truth, len(target.require('images')), width)
    for t, frame in zip(torch.nonzero(_valid(target)).flatten().tolist(), frames, strict=True):
        yield np.vstack([frame, banner.draw(t)])


def draw_attention(
    prediction: HandSequence, target: HandSequence, names: Sequence[str], attention: np.ndarray
) -> np.ndarray:
    """The film strip of a video with the attention (T,) of its frames, as an image (h, w, 3)."""
    names = [str(name).replace('_', ' ') for name in names]
    scores = prediction.require('action_scores')
    best = int(scores.argmax())
    title = f'{target.meta["sequence"]}: {names[best]} ({float(scores[best]):.2f})'
    if target.action_label is not None and target.action_label >= 0:
        title += f', true: {names[int(target.action_label)]}'
    images = [image.permute(1, 2, 0).numpy() for image in target.require('images')[:, 0].cpu()]
    numbers = target.meta.get('frame_indices')
    return attention_strip(images, attention, numbers, f'what the action token looks at in {title}')


def _valid(target: HandSequence) -> Tensor:
    if target.frame_valid is None:
        return torch.ones(len(target.require('images')), dtype=torch.bool)
    return target.frame_valid.cpu()
