"""Refiners of motion: deformable sampling, PDTM against the transformer it is built from, a minute of two hands."""

import torch
from torch import Tensor, nn

from handpose.experiments.benchmarks.case import Settings, Work, case, cases_of_length
from handpose.experiments.benchmarks.cases.parts import trained
from handpose.experiments.benchmarks.inputs import load
from handpose.models.layers.deformable_sampling import deformable_sample_1d
from handpose.registry import MODELS

BOTH = ('cpu', 'cuda')
REFINER, SMALL_REFINER = 'pdtm/dexycb', 'pdtm/synthetic'
REACH = 2.0  # frames: PDTM's bound of offsets
MINUTE = 1800  # frames at 30 per second


def lookups(settings: Settings, num_frames: int, sequences: int) -> list[Tensor]:
    """Values (N, T, G, D), offsets and modulations (N, T, G, K) with 16 groups of 32 channels and 8 taps."""
    draw = torch.Generator().manual_seed(0)
    shape = (sequences, num_frames, 16)
    values, offsets, modulation = (torch.randn(*shape, last, generator=draw) for last in (32, 8, 8))
    return [x.to(settings.device) for x in (values, REACH * offsets.tanh(), modulation)]


def sample(values: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:
    return deformable_sample_1d(values, offsets, modulation, max_offset=REACH)


@case('sequence', devices=BOTH)
def deformable_sampling(settings: Settings) -> Work:
    """Deformable sampling at PDTM's size (27 frames, 16 groups of 32, 8 taps), with its backward pass; wanted: 6x."""
    inputs = lookups(settings, 27, 21 if settings.quick else 168)
    return Work(trained(sample, *inputs), len(inputs[0]))


@deformable_sampling.reference
def gathering(settings: Settings) -> Work:
    """Every tap's two frames gathered, then weighted and summed."""
    inputs = lookups(settings, 27, 21 if settings.quick else 168)
    return Work(trained(gathered, *inputs), len(inputs[0]))


def gathered(values: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:
    num_frames, num_taps, channels = values.shape[1], offsets.shape[-1], values.shape[-1]
    frames, taps = (torch.arange(size, device=values.device) for size in (num_frames, num_taps))
    position = frames[:, None, None] + taps - (num_taps - 1) // 2 + offsets  # (N, T, G, K)
    low = position.detach().floor()

    def look_up(frame: Tensor) -> Tensor:
        inside = (frame >= 0) & (frame < num_frames)
        index = frame.clamp(0, num_frames - 1).permute(0, 2, 1, 3).flatten(2)[..., None]  # (N, G, T * K, 1)
        taken = values.transpose(1, 2).gather(2, index.expand(-1, -1, -1, channels))
        return taken.unflatten(2, (num_frames, num_taps)).transpose(1, 2) * inside[..., None]  # (N, T, G, K, D)

    share = (position - low)[..., None]
    taken = (1 - share) * look_up(low.long()) + share * look_up(low.long() + 1)
    return (modulation[..., None] * taken).sum(3)


def long_sequences(settings: Settings, length: int, frames: int) -> Work:
    return Work(trained(sample, *lookups(settings, length, frames // length)), frames)


cases_of_length(
    'deformable_sampling',
    (256, 1024),
    'Deformable sampling of sequences of {} frames, with its backward pass',
    long_sequences,
    base=64,
)


def paper_size(settings: Settings, name: str) -> tuple[nn.Module, Tensor]:
    """A refiner of configs/pdtm with a head for pose and shape, and motions (N, 27, 21, 3)."""
    config = load(REFINER, {'model': f'${name}'} if name != 'model' else None)
    torch.manual_seed(0)
    model = MODELS.build({**config.model, 'loss': None}).to(settings.device)
    draw = torch.Generator().manual_seed(0)
    motion = 0.05 * torch.randn(1 if settings.quick else 4, 27, 21, 3, generator=draw)
    return model, motion.to(settings.device)


def predicting(settings: Settings, name: str) -> Work:
    model, motion = paper_size(settings, name)

    @torch.no_grad()
    def run() -> Tensor:
        return model.eval()(motion).joints

    return Work(run, len(motion))


def training(settings: Settings, name: str) -> Work:
    """An optimizer step on what the network itself answers: no mesh is posed."""
    model, motion = paper_size(settings, name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def run() -> Tensor:
        output = model.train()(motion)
        loss = sum(part.square().mean() for part in output if part is not None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Work(run, len(motion))


@case('window', shows='time', devices=BOTH, when='full')
def pdtm_paper_forward(settings: Settings) -> Work:
    """PDTM at the paper's size, forward; wanted: at least 0.74x, which is 1.35 times the reference's time."""
    return predicting(settings, 'model')


@pdtm_paper_forward.reference
def dstformer_paper_forward(settings: Settings) -> Work:
    """MotionBERT's DSTformer at the same size, on the same fused attention."""
    return predicting(settings, 'dstformer')


@case('window', shows='time', devices=BOTH, when='full')
def pdtm_paper_training(settings: Settings) -> Work:
    """PDTM at the paper's size, a training step without meshes; wanted: at least 0.74x."""
    return training(settings, 'model')


@pdtm_paper_training.reference
def dstformer_paper_training(settings: Settings) -> Work:
    """MotionBERT's DSTformer at the same size, on the same fused attention."""
    return training(settings, 'dstformer')


@case('frame', target=180, devices=BOTH)
def refine_a_minute(settings: Settings) -> Work:
    """The small PDTM over two hands of a minute at 30 frames per second, windows a third of their length apart."""
    model = MODELS.build({**load(SMALL_REFINER).model, 'loss': None}).to(settings.device).eval()
    num_frames = 100 if settings.quick else MINUTE
    draw = torch.Generator().manual_seed(0)
    joints = 0.05 * torch.randn(num_frames, 2, 21, 3, generator=draw).to(settings.device)
    valid = torch.ones(num_frames, 2, dtype=torch.bool, device=settings.device)
    side = torch.tensor([0, 1], device=settings.device)
    return Work(lambda: model.refine(joints, valid, side).joints, num_frames)
