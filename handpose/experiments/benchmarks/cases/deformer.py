"""Deformer as a whole: at the paper's size, and the small one over a track."""

import torch
from torch import Tensor

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import PAPER, SMALL, load, random_batch, training_batches
from handpose.geometry import scale_boxes
from handpose.models import Deformer
from handpose.models.estimators.deformer_windows import track_windows
from handpose.registry import MODELS
from handpose.structures import HandSequence

BOTH = ('cpu', 'cuda')


@case('clip', shows='time', devices=BOTH, when='full')
def deformer_paper_inference(settings: Settings) -> Work:
    """Deformer at the paper's size, prediction of one clip: 7 frames of 512 x 512, meshes included."""
    config = load(PAPER)
    model = MODELS.build(config.model).to(settings.device).eval()
    batch = random_batch(1, config.num_frames, config.image_size, settings.device)
    return Work(lambda: model.predict(batch), 1)


@case('step', shows='time', devices=BOTH, when='full')
def deformer_paper_training(settings: Settings) -> Work:
    """Deformer at the paper's size, one optimizer step on one clip: 7 frames of 512 x 512, float32."""
    return Work(training_batches(load(PAPER), settings.device), 1)


def track(settings: Settings) -> tuple[Deformer, HandSequence]:
    """The small model, tested at every frame, and a track that is three of its windows long."""
    config = load(SMALL, {'model.test_mode': 'centre'})
    model = MODELS.build(config.model).to(settings.device).eval()
    return model, random_batch(1, 3 * config.num_frames * config.frame_step, config.image_size, settings.device)


@case('frame', devices=BOTH)
def deformer_track(settings: Settings) -> Work:
    """The small Deformer over a track, a window around every frame, every frame encoded once."""
    model, batch = track(settings)
    return Work(lambda: model.predict(batch).hand_pose, batch.require('images').shape[1])


@deformer_track.reference
def deformer_windows(settings: Settings) -> Work:
    """Every window through the whole network."""
    model, batch = track(settings)
    images, boxes = batch.require('images')[:, :, 0], scale_boxes(batch.require('boxes')[:, :, 0, 0], model.box_scale)
    valid = batch.require('frame_valid')[0].cpu().numpy()
    windows = track_windows(valid, model.num_frames, model.frame_step, model.test_mode)
    index, present, _ = (torch.as_tensor(part, device=settings.device) for part in windows)
    side, centre = batch.require('hand_side')[:, 0], model.num_frames // 2

    @torch.no_grad()
    def run() -> Tensor:
        parts = zip(index, present, strict=True)
        return torch.stack([model(images[:, i], boxes[:, i], side, p[None]).pose[0, centre] for i, p in parts])

    return Work(run, len(index))
