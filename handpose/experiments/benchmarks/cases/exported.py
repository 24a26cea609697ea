"""The systems at the papers' sizes in other runtimes and precisions, against torch in float32.

Whole predictions are timed, of which the networks are computed elsewhere and the rest stays in torch. The first run
exports the networks to the cache, which takes up to minutes and is not timed.
"""

from collections.abc import Callable

import torch

from handpose.experiments.benchmarks.case import Case, Settings, SetUp, Work, case
from handpose.experiments.benchmarks.cases.htt import build as build_htt
from handpose.experiments.benchmarks.cases.htt import random_video
from handpose.experiments.benchmarks.inputs import PAPER, load, random_batch
from handpose.models import Estimator
from handpose.registry import MODELS
from handpose.structures import HandSequence

Prepared = tuple[Estimator, HandSequence]
REFINER = 'pdtm/dexycb'
RUNTIMES = {
    'onnxruntime_float32': ('onnxruntime', 'float32'),
    'openvino_float32': ('openvino', 'float32'),
    'openvino_bfloat16': ('openvino', 'bfloat16'),
    'torch_bfloat16': ('torch', 'bfloat16'),
}


def htt(settings: Settings) -> Prepared:
    """HTT and a video of 480 x 270."""
    config, model = build_htt(settings)
    return model, random_video(config, 4 if settings.quick else 32, settings.device)


def deformer(settings: Settings) -> Prepared:
    """Deformer and a clip of 512 x 512 of as many frames as a window has."""
    config = load(PAPER)
    torch.manual_seed(0)
    batch = random_batch(1, config.num_frames, config.image_size, settings.device)
    model = MODELS.build(config.model)
    model.frame_step = 1
    return model, batch


def dstformer(settings: Settings) -> Prepared:
    """DSTformer of 42 M parameters and the motion of a hand, in four windows of 27 frames."""
    return _refiner(settings, 'dstformer')


def pdtm(settings: Settings) -> Prepared:
    """PDTM at the paper's size and the same motion."""
    return _refiner(settings, 'model')


def _refiner(settings: Settings, name: str) -> Prepared:
    config = load(REFINER, {'model': f'${name}'} if name != 'model' else None)
    torch.manual_seed(0)
    model = MODELS.build({**config.model, 'loss': None, 'stride': 27})
    frames = 27 if settings.quick else 108
    path = torch.randn(1, frames, 1, 1, 3).cumsum(1) * 1e-3
    shape = torch.randn(1, 1, 1, 21, 3) * 0.05
    return model, HandSequence(
        meta=[{'sequence': 'random'}],
        frame='camera',
        batched=True,
        frame_valid=torch.ones(1, frames, dtype=torch.bool),
        timestamps=torch.arange(frames)[None].double() / model.frame_rate,
        hand_side=torch.ones(1, 1, dtype=torch.int64),
        input_joints_3d=path + shape,
        input_valid=torch.ones(1, frames, 1, dtype=torch.bool),
    )


SYSTEMS: dict[str, Callable[[Settings], Prepared]] = {
    'htt': htt,
    'deformer': deformer,
    'dstformer': dstformer,
    'pdtm': pdtm,
}


def predicting(prepare: Callable[[Settings], Prepared], runtime: str, precision: str) -> SetUp:
    """The set-up of a form: whole predictions in a runtime and precision."""

    def set_up(settings: Settings) -> Work:
        from handpose.inference.runtimes import use_runtime

        model, batch = prepare(settings)
        used = use_runtime(model.eval(), runtime, precision, settings.threads)
        return Work(lambda: model.predict(batch).joints_3d, batch.require('frame_valid').shape[1], lambda: {'in': used})

    return set_up


def _register(name: str, prepare: Callable[[Settings], Prepared], runtime: str, precision: str) -> Case:
    about = f'{prepare.__doc__} Prediction with {runtime} in {precision}'
    made = case('frame', when='asked', name=name, about=about)(predicting(prepare, runtime, precision))
    plain = predicting(prepare, 'torch', 'float32')
    plain.__doc__ = 'torch in float32, without compilation.'
    made.reference(plain)
    return made


for system, prepared in SYSTEMS.items():
    for label, (chosen, kind) in RUNTIMES.items():
        _register(f'{system}_{label}', prepared, chosen, kind)
