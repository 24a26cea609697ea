"""The `training` options of a config, each against plain training, both in the same run: time and memory of a batch."""

import os
import shutil
from pathlib import Path
from typing import Any

from handpose.experiments.benchmarks.case import Settings, Work, case
from handpose.experiments.benchmarks.inputs import PAPER, SMALL, load, training_batches

OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    'amp': ({'amp': True}, 'mixed precision (bfloat16 on the CPU, float16 on CUDA)'),
    'amp_bfloat16': ({'amp': 'bfloat16'}, 'mixed precision with bfloat16 on every device'),
    'accumulate': ({'accumulate': 2}, 'an optimizer step every two batches'),
    'compile': ({'compile': True}, 'torch.compile of the components'),
    'channels_last': ({'channels_last': True}, 'images, features and weights with the channels last'),
    'activation_checkpointing': ({'activation_checkpointing': True}, 'activations computed again in the backward pass'),
}
SIZES = {
    'small': (SMALL, 'the small Deformer (6 clips of 5 frames, 64 x 64)'),
    'paper': (PAPER, "the paper's Deformer"),
}


def train(settings: Settings, config: str, options: dict[str, Any]) -> Work:
    """Work of one batch, or of as many as make a step."""
    if options.get('compile'):
        cache = Path(settings.cache) / 'inductor'
        shutil.rmtree(cache, ignore_errors=True)  # so that the first batch says what compiling costs
        os.environ['TORCHINDUCTOR_CACHE_DIR'] = str(cache)
    run = training_batches(load(config), settings.device, options)
    count = options.get('accumulate', 1)
    return Work(lambda: [run() for _ in range(count)], count)


def register(size: str, name: str) -> None:
    """Registers an option at a size as a case, and plain training as its reference."""
    config, model = SIZES[size]
    options, words = OPTIONS[name]
    # Several steps of the paper's size take minutes on a CPU.
    when = 'asked' if size == 'paper' else 'full'
    made = case(
        'batch',
        shows='time',
        devices=('cuda',) if name == 'amp_bfloat16' else ('cpu', 'cuda'),  # on the CPU it is what amp means
        when=when,
        name=f'train_{size}_{name}',
        about=f'Training {model}: {words}',
    )(lambda settings: train(settings, config, options))

    @made.reference
    def plain(settings: Settings) -> Work:
        """Plain training."""
        # By default backbones on the CPU are channels-last already.
        return train(settings, config, {'channels_last': False} if name == 'channels_last' else {})


for size in SIZES:
    for name in OPTIONS:
        register(size, name)
