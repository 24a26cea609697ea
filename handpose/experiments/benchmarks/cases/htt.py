"""HTT: frames per second at the paper's size, activation checkpointing, and what windows cost against whole videos."""

import torch
from mmengine.config import Config
from torch import Tensor

from handpose.engine import load_config
from handpose.engine.training import prepare_estimator, training_options
from handpose.experiments.benchmarks.case import Settings, Work, case, cases_of_length
from handpose.experiments.benchmarks.cases.parts import trained
from handpose.geometry import project_points
from handpose.models import HTT, TrainingStep, WindowedTransformer
from handpose.registry import MODELS
from handpose.structures import HandSequence

BOTH = ('cpu', 'cuda')
PAPER = 'htt/h2o'
VIDEO = 2048  # frames


def build(settings: Settings) -> tuple[Config, HTT]:
    config = load_config(PAPER)
    torch.manual_seed(0)
    return config, MODELS.build(config.model).to(settings.device)


def random_video(config: Config, frames: int, device: str) -> HandSequence:
    """A clip of noise with all labels: (1, T, 1, H=2, ...), 480 x 270."""
    draw = torch.Generator().manual_seed(0)
    width, height = config.image_size
    camera = torch.tensor([[240.0, 0, width / 2], [0, 240, height / 2], [0, 0, 1]]).expand(1, frames, 1, 3, 3)
    joints = torch.randn(1, frames, 2, 21, 3, generator=draw) * 0.05 + torch.tensor([0, 0, 0.5])
    valid = torch.ones(1, frames, 2, 21, dtype=torch.bool)
    return HandSequence(
        meta=[{'sequence': 'random', 'frame_indices': list(range(frames))}],
        batched=True,
        frame_valid=valid[:, :, 0, 0].clone(),
        hand_side=torch.tensor([[0, 1]]),
        hand_valid=valid[..., 0].clone(),
        images=torch.randint(0, 256, (1, frames, 1, 3, height, width), dtype=torch.uint8, generator=draw),
        intrinsics=camera.contiguous(),
        joints_3d=joints,
        joints_valid=valid,
        joints_2d=project_points(joints, camera)[:, :, None],
        joints_2d_valid=valid[:, :, None].clone(),
        object_label=torch.zeros(1, frames, dtype=torch.int64),
        action_label=torch.zeros(1, dtype=torch.int64),
    ).to(device)


def frames_of(settings: Settings, total: int) -> int:
    """A CPU needs a second or so for every few frames of this size."""
    return total if settings.device == 'cuda' else 4 if settings.quick else 32


@case('frame', devices=BOTH)
def htt_paper_inference(settings: Settings) -> Work:
    """HTT at the paper's size over a video of 480 x 270: joints, objects and action; wanted: at least 0.9x"""
    config, model = build(settings)
    batch = random_video(config, frames_of(settings, 2 * config.num_frames * config.frame_step), settings.device)
    model.eval()
    return Work(lambda: model.predict(batch).joints_3d, batch.require('images').shape[1])


@htt_paper_inference.reference
def htt_backbone(settings: Settings) -> Work:
    """Its ResNet-18 alone, as many images at a time."""
    config, model = build(settings)
    batch = random_video(config, frames_of(settings, 2 * config.num_frames * config.frame_step), settings.device)
    images = batch.require('images')
    model.eval()

    @torch.no_grad()
    def run() -> Tensor:
        return torch.cat([model.encode(part) for part in images[:, :, 0].split(32, 1)], 1)

    return Work(run, images.shape[1])


def training(settings: Settings, checkpointing: bool) -> Work:
    """Steps on one clip: the paper's 128 frames on CUDA."""
    config, model = build(settings)
    config.training = {**config.get('training', {}), 'activation_checkpointing': checkpointing}
    prepare_estimator(model, training_options(config))
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-5)
    batch = random_video(config, frames_of(settings, config.num_frames), settings.device)

    def run() -> dict[str, Tensor]:
        losses = model.loss(batch, TrainingStep())
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    return Work(run, batch.require('images').shape[1])


@case('frame', devices=BOTH, when='full')
def htt_paper_training(settings: Settings) -> Work:
    """HTT at the paper's size, a training step on a clip of 480 x 270: activations computed again for the gradients"""
    return training(settings, True)


@htt_paper_training.reference
def htt_plain_training(settings: Settings) -> Work:
    """Plain training."""
    return training(settings, False)


def windowed(settings: Settings, length: int, frames: int, window: int | None = 16) -> Work:
    """Pose block P at the paper's size, with its backward pass: as many sequences of `length` as make `frames`."""
    torch.manual_seed(0)
    block = WindowedTransformer(window=window).to(settings.device)
    features = torch.randn(frames // length, length, 512, generator=torch.Generator().manual_seed(0))
    return Work(trained(lambda x: block(x).features, features.to(settings.device)), frames)


cases_of_length(
    'windowed_transformer',
    (256, 1024),
    "HTT's pose block over {} frames in windows of 16, with its backward pass",
    windowed,
    base=128,
)


@case('frame', devices=BOTH)
def windowed_transformer(settings: Settings) -> Work:
    """HTT's pose block over a long video in windows of 16, with its backward pass"""
    frames = 256 if settings.quick else VIDEO
    return windowed(settings, frames, frames)


@windowed_transformer.reference
def one_window(settings: Settings) -> Work:
    """One window over the whole video."""
    frames = 256 if settings.quick else VIDEO
    return windowed(settings, frames, frames, window=None)
