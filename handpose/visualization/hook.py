"""Draws tested clips while a test runs: videos, contact sheets, confidences of the fusion, attention of the action."""

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from handpose.files.names import file_stem
from handpose.models import VideoEstimator
from handpose.models.estimators.base import Estimator
from handpose.registry import HOOKS
from handpose.structures import HandSequence, strided_windows
from handpose.video import save_clip_video
from handpose.visualization.action_overlays import action_story, draw_attention, under_frames
from handpose.visualization.draw import contact_sheet
from handpose.visualization.figures import confidence_strip
from handpose.visualization.future_figures import HORIZONS, future_strip
from handpose.visualization.future_video import write_future_video
from handpose.visualization.images import save_image
from handpose.visualization.overlays import draw_clip

SHEET_FRAMES = 6


@HOOKS.register_module()
class DrawClipsHook(Hook):
    """Draws a few clips, spread evenly over the test split, with the prediction beside the truth.

    Args:
        folder: where the images go: `<clip>.webm`, `<clip>.png`; for estimators that fuse frames
            `<clip>_confidence.png`; for those that recognize actions `<clip>_attention.png`, and the running action
            below the frames; for forecasters the futures, `<clip>_<last frame>_future.png` and a video.
        num_clips: how many clips.
    """

    def __init__(self, folder: str | Path, num_clips: int = 4) -> None:
        self.folder = Path(folder)
        self.num_clips = num_clips
        self.chosen: set[int] = set()

    def before_test_epoch(self, runner: Any) -> None:
        """Chooses the batches to draw."""
        count = len(runner.test_dataloader)
        self.chosen = set(np.linspace(0, count - 1, min(self.num_clips, count)).astype(int).tolist())
        self.folder.mkdir(parents=True, exist_ok=True)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draws the first clip of a chosen batch."""
        if batch_idx not in self.chosen or not is_main_process():
            return
        adapter = runner.model.module if is_model_wrapper(runner.model) else runner.model
        estimator = adapter.estimator
        prediction, target = outputs[0]['prediction'], outputs[0]['target']
        hand_model = estimator.gives.hand_model
        frames = draw_clip(prediction, target, None if hand_model is None else hand_model.faces)
        name = file_stem('_'.join([target.meta['sequence'], *target.meta['cameras']]))
        if prediction.action_scores is not None and isinstance(estimator, VideoEstimator):
            names = runner.test_dataloader.dataset.metainfo['actions']
            story = action_story(estimator, target)
            if story.attention is not None:
                strip = draw_attention(prediction, target, names, story.attention)
                save_image(self.folder / f'{name}_attention.png', strip)
            frames = list(under_frames(frames, prediction, target, names, story.running))
        save_clip_video(self.folder / f'{name}.webm', frames, target.meta['fps'])
        shown = np.linspace(0, len(frames) - 1, min(SHEET_FRAMES, len(frames))).astype(int)
        save_image(self.folder / f'{name}.png', contact_sheet([frames[i] for i in shown], columns=1))
        if prediction.future is not None and target.future is not None:
            last = target.meta['frame_indices'][-1]
            _draw_future(self.folder / f'{name}_{last:06d}_future', prediction, target)
        if prediction.frame_confidence is not None:
            save_image(self.folder / f'{name}_confidence.png', _strip(prediction, target, estimator))


def _draw_future(path: Path, prediction: HandSequence, target: HandSequence) -> None:
    """Draws the sampled futures of a clip as a strip and a video."""
    future, truth = prediction.future, target.future
    assert future is not None and truth is not None
    last = float(future.require('timestamps')[0, -1] - prediction.require('timestamps')[-1])
    horizons = [horizon for horizon in HORIZONS if horizon <= last] or [last]
    save_image(path.with_name(f'{path.name}.png'), future_strip(prediction, future, truth, horizons))
    write_future_video(path.with_name(f'{path.name}.webm'), prediction, future, truth)


def _strip(prediction: HandSequence, target: HandSequence, estimator: Estimator) -> np.ndarray:
    """The longest window of the track, and how much each of its frames counts in the fusion (Deformer, Fig. 6)."""
    usable, reads = target.require('hand_valid')[:, 0].numpy(), estimator.reads
    index, present, _ = strided_windows(len(usable), reads.num_frames or len(usable), reads.frame_step, usable)
    window = present.sum(1).argmax()
    frames = index[window][present[window]]
    images = [target.require('images')[t, 0].permute(1, 2, 0).numpy() for t in frames]
    occlusion = None if target.occlusion is None else target.occlusion[frames, 0, 0].numpy()
    labels = [f'frame {target.meta["frame_indices"][t]}' for t in frames]
    confidence = prediction.require('frame_confidence')[frames, 0].numpy()
    return confidence_strip(images, confidence, labels, occlusion)
