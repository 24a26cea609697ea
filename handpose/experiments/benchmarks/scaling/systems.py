"""Prediction of every system against frames, hands, views, batch, samples and model width.

The networks are those of the synthetic configs, most of them narrower and with smaller images than the papers':
exponents carry over, milliseconds do not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from handpose.engine import load_config
from handpose.experiments.benchmarks.case import Settings, Work
from handpose.experiments.benchmarks.sweep_inputs import hand_batch
from handpose.experiments.benchmarks.sweeps import register_sweep
from handpose.models import Forecaster
from handpose.registry import MODELS
from handpose.structures import HandSequence

DOUBLED = (1, 2, 4, 8)
FUTURE = 32  # frames of a forecast
MATRICES = 'matrix products grow with the square of the width'


@dataclass(frozen=True)
class System:
    """How a system is built and what it reads.

    Attributes:
        config: a shipped config.
        frames: sizes of the sweep of frames; other sweeps use `num_frames`.
        num_frames: T of other sweeps.
        width: function (width) -> options of the config.
        widths: sizes of the sweep of widths.
        options: of the config.
        hands: H.
        views: K.
        image_size: (width, height), or None without images.
        most_hands: whether hands are swept.
        frames_expected: exponent of frames.
        frames_why: why it is not 1.
    """

    config: str
    frames: tuple[int, ...]
    num_frames: int
    width: Callable[[int], Mapping[str, Any]]
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    options: Mapping[str, Any] = field(default_factory=dict)
    hands: int = 2
    views: int = 1
    image_size: tuple[int, int] | None = None
    most_hands: int = 1
    frames_expected: float = 1.0
    frames_why: str = ''


PROCEDURAL = dict(type='ProceduralHand', _delete_=True)
SYSTEMS = {
    'Deformer': System(
        'deformer/synthetic_paper',
        (16, 32, 64, 128, 256),
        16,
        lambda width: {
            'transformer.channels': width,
            'transformer.feedforward_channels': 2 * width,
            'model.channels': width,
            'model.backbone.out_channels': width,
            'model.head.in_channels': width + 42,
            'model.monocular_head.in_channels': width,
        },
        options={'model.test_mode': 'centre', 'hand_model': PROCEDURAL},
        hands=1,
        image_size=(64, 64),
    ),
    'HTT': System(
        'htt/synthetic',
        (16, 32, 64, 128, 256),
        16,
        lambda width: {
            'channels': width,
            'feedforward_channels': 2 * width,
            'model.backbone.base_channels': width // 8,
        },
        image_size=(160, 90),
    ),
    'PDTM': System(
        'pdtm/synthetic',
        (64, 128, 256, 512, 1024),
        128,
        lambda width: {'model.channels': width},
        most_hands=2,
    ),
    'DSTformer': System(
        'pdtm/synthetic',
        (64, 128, 256, 512, 1024),
        128,
        lambda width: {'dstformer.channels': width},
        options={'model': '$dstformer'},
        most_hands=2,
    ),
    'KernelSmoother': System(
        'kernel_smoother/synthetic',
        (256, 512, 1024, 2048, 4096),
        512,
        lambda width: {'model.channels': width},
        most_hands=2,
    ),
    'G-HTT': System(
        'ghtt/synthetic_action',
        (64, 128, 256, 512, 1024),
        64,
        lambda width: {'pose_block.channels': width, 'pose_block.feedforward_channels': 2 * width},
        options={'init_from': [], 'freeze': []},
        frames_expected=0.0,
        frames_why='a forecast starts from the last observed frames',
    ),
    'MVExoNet': System(
        'assemblyhands/synthetic_mvexonet',
        (1, 2, 4, 8, 16),
        1,
        lambda width: {
            'volume_network.channels': (width, 2 * width, 4 * width),
            'volume_network.stem_channels': width,
        },
        widths=(8, 16, 32, 64),
        views=4,
        image_size=(96, 80),
        most_hands=2,
    ),
    'SVEgoNet': System(
        'assemblyhands/synthetic_svegonet',
        (4, 8, 16, 32),
        4,
        lambda width: {'channels': width},
        widths=(32, 64, 128, 256),
        image_size=(96, 80),
    ),
    'Verbs': System(
        'assemblyhands/synthetic_verbs',
        (16, 32, 64, 128, 256, 512),
        16,
        lambda width: {'network.channels': (width, 4 * width)},
        widths=(12, 24, 48, 96),
        frames_expected=0.0,
        frames_why='clips are resampled to a fixed number of frames',
    ),
}


def predicting(
    name: str,
    clips: int = 1,
    frames: int | None = None,
    hands: int | None = None,
    views: int | None = None,
    width: int | None = None,
    samples: int | None = None,
) -> Work:
    """Work: `predict` of one batch."""
    system = SYSTEMS[name]
    options = {**system.options, **({} if width is None else system.width(width))}
    torch.manual_seed(0)
    model = MODELS.build(load_config(system.config, options).model).eval()
    frames, hands, views = frames or system.num_frames, hands or system.hands, views or system.views
    batch = hand_batch(clips, frames, hands, views, system.image_size)

    def run() -> HandSequence:
        if isinstance(model, Forecaster):
            generator = torch.Generator().manual_seed(0)
            return model.forecast(batch, FUTURE, num_samples=samples, generator=generator)
        return model.predict(batch)

    return Work(run, 1)


def register(name: str, axis: str, sizes: tuple[int, ...], expected: float = 1.0, why: str = '') -> None:
    """Registers the sweep of an argument of `predicting`; `axis` is 'batch' for its `clips`."""
    argument = 'clips' if axis == 'batch' else axis

    def set_up(settings: Settings, size: int) -> Work:
        return predicting(name, **{argument: size})

    register_sweep(name, axis, sizes, set_up, f'{name}, prediction, {{}} {axis}', expected, why)


for name, system in SYSTEMS.items():
    register(name, 'frames', system.frames, system.frames_expected, system.frames_why)
    register(name, 'batch', DOUBLED)
    if system.most_hands > 1:
        register(name, 'hands', (1, 2))
    register(name, 'width', system.widths, 2.0, MATRICES)
register('MVExoNet', 'views', (2, 4, 8, 16))
register('G-HTT', 'samples', (1, 2, 4, 8, 16))
