"""Systems at the paper's size as they predict and train by default, each against plain eager torch."""

from collections.abc import Callable

import torch
from torch import nn

from handpose.engine.training import prepare_estimator, training_options
from handpose.experiments.benchmarks.case import Settings, SetUp, Work, case
from handpose.experiments.benchmarks.cases import htt, refiners
from handpose.experiments.benchmarks.inputs import PAPER, load, random_batch
from handpose.models import Estimator, TrainingStep
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.structures import HandSequence

QUICK_START = 'deformer/synthetic'
BOTH = ('cpu', 'cuda')
LEARNING_RATE = 1e-5


def video_system(settings: Settings, name: str, frames: int) -> tuple[Estimator, HandSequence]:
    """HTT or Deformer and a clip for it, or the small Deformer of the quick start and a training batch."""
    if name == 'HTT':
        config, model = htt.build(settings)
        return model, htt.random_video(config, frames, settings.device)
    config = load(QUICK_START if name == 'quick start' else PAPER)
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(settings.device)
    clips = config.batch_size if name == 'quick start' else 1
    return model, random_batch(clips, min(frames, config.num_frames), config.image_size, settings.device)


def as_trained(model: nn.Module, prepared: bool) -> nn.Module:
    """The model in training mode, prepared by the default options of a config or as it was built."""
    if prepared:
        prepare_estimator(model, training_options({}))
    return model.train()


def predicting(name: str, prepared: bool) -> SetUp:
    def video(settings: Settings) -> Work:
        model, batch = video_system(settings, name, 2 if settings.quick else 8)
        model = prepare_for_prediction(model) if prepared else model.eval()
        return Work(lambda: model.predict(batch).joints_3d, batch.require('images').shape[1])

    def motion(settings: Settings) -> Work:
        model, windows = refiners.paper_size(settings, 'dstformer' if name == 'DSTformer' else 'model')
        model = prepare_for_prediction(model) if prepared else model.eval()
        return Work(torch.no_grad()(lambda: model(windows).joints), len(windows))

    return video if name in ('HTT', 'Deformer') else motion


def training(name: str, prepared: bool) -> SetUp:
    def step_of(model: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

        def run() -> torch.Tensor:
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value.detach()

        return run

    def video(settings: Settings) -> Work:
        # The optimizer takes as long for 4 frames as for the paper's 128.
        frames = 2 if settings.quick else 12 if name == 'HTT' else 4
        model, batch = video_system(settings, name, frames)
        as_trained(model, prepared)

        def loss() -> torch.Tensor:
            terms = model.loss(batch, TrainingStep())
            return torch.stack([value for term, value in terms.items() if 'loss' in term]).sum()

        return Work(step_of(model, loss), 1)

    def motion(settings: Settings) -> Work:
        model, windows = refiners.paper_size(settings, 'dstformer' if name == 'DSTformer' else 'model')
        as_trained(model, prepared)

        def loss() -> torch.Tensor:
            return torch.stack([part.square().mean() for part in model(windows) if part is not None]).sum()

        return Work(step_of(model, loss), 1)

    return motion if name in ('DSTformer', 'PDTM') else video


def register(name: str) -> None:
    """Registers prediction and training of a system, each with the same in plain eager torch as its reference."""
    unit = 'frame' if name in ('HTT', 'Deformer') else 'window'

    def predict(settings: Settings) -> Work:
        return predicting(name, True)(settings)

    predictions = f"{name} at the paper's size, prepared for prediction, on the CPU wanted: at least 1.4x"
    made = case(unit, 'time', devices=BOTH, when='full', name=f'predict_{name.lower()}', about=predictions)(predict)

    @made.reference
    def predict_plainly(settings: Settings) -> Work:
        """Plain eager torch: the network as it was built."""
        return predicting(name, False)(settings)

    steps = f"{name} at the paper's size, a training step with the default options, on the CPU wanted: at least 1.15x"
    register_training(name, f'step_{name.lower()}', steps)


def register_training(name: str, label: str, about: str) -> None:
    """Registers the training of a system as the case `label`, with the same in plain eager torch as its reference."""

    def train(settings: Settings) -> Work:
        return training(name, True)(settings)

    made = case('step', 'time', devices=BOTH, when='full', name=label, about=about)(train)

    @made.reference
    def train_plainly(settings: Settings) -> Work:
        """Plain eager torch: the network as it was built."""
        return training(name, False)(settings)


for system in ('HTT', 'Deformer', 'DSTformer', 'PDTM'):
    register(system)
register_training(
    'quick start', 'step_quick_start', 'the small Deformer of the quick start, a training step on one of its batches'
)
