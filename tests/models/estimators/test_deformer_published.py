"""The options that make Deformer its published code, and the frames of which a hand pose is known."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from handpose.engine import load_config
from handpose.engine.options import split_options
from handpose.models import TrainingStep
from handpose.registry import MODELS
from tests.models.estimators.test_deformer import PROCEDURAL, build, make_batch, summed


def documented_options():
    """The overrides of the command in docs/systems/deformer.md."""
    text = Path('docs/systems/deformer.md').read_text()
    pattern = r'```bash\n(python tools/train.py configs/deformer/dexycb.py --cfg-options.*?)```'
    command = re.search(pattern, text, re.S)[1]
    return split_options(shlex.split(command.replace('\\\n', ' '))[4:])


def test_documented_command_is_the_published_network():
    config = load_config('configs/deformer/dexycb.py', {**documented_options(), **PROCEDURAL})
    model = MODELS.build(config.model)
    count = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.loss_function.parameters())
    # The published modules have 32,533,909 parameters, of which 4,609 are biases that no softmax sees.
    assert count == pytest.approx(32_533_909, abs=4_700)
    assert config.optim_wrapper.clip_grad is None and model.test_mode == 'centre'


def test_pose_losses_need_a_valid_pose_in_that_frame():
    """What a frame without a valid pose says of parameters, NaN included, changes no loss; its joints still count."""
    batch, model = make_batch(frames=5), build().eval()
    batch.hand_pose_valid[:, 2] = False
    first = model.loss(batch, TrainingStep())
    batch.hand_pose[:, 2] = torch.nan
    second = model.loss(batch, TrainingStep())
    assert {n: v.item() for n, v in first.items()} == {n: v.item() for n, v in second.items()}
    summed(second).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    batch.joints_3d[:, 2, :, 1:] += 0.1
    third = model.loss(batch, TrainingStep())
    changed = {name for name in first if not torch.equal(second[name], third[name])}
    assert changed == {'loss_fused_joints', 'loss_frame_joints', 'loss_monocular_joints', 'loss_motion_joints'}


MONOCULAR = {f'loss_monocular_{part}' for part in ('vertices', 'joints', 'rotations', 'shape')}


@pytest.mark.parametrize(
    ('options', 'changed'),
    [
        ({'model.loss.shape_hands': ['frame']}, {'loss_fused_shape', 'loss_monocular_shape'}),
        ({'model.loss.monocular_weight': 0}, MONOCULAR),
    ],
)
def test_loss_options_remove_their_terms_alone(options, changed):
    batch = make_batch(frames=5)
    before, after = build().eval().loss(batch, TrainingStep()), build(options).eval().loss(batch, TrainingStep())
    assert set(before) - set(after) == changed
    assert all(before[name].item() == after[name].item() for name in after)


def test_fused_losses_see_the_centre_alone_where_only_it_is_fused():
    model, batch = build({'model.head.targets': 'centre'}).eval(), make_batch(frames=5)
    first = model.loss(batch, TrainingStep())['loss_fused_joints']
    batch.joints_3d[:, [0, 1, 3, 4], :, 1:] += 0.1
    assert torch.equal(model.loss(batch, TrainingStep())['loss_fused_joints'], first)


def test_a_monocular_loss_needs_its_head():
    with pytest.raises(ValueError, match='the model has no monocular_head'):
        build({'model.monocular_head': None}).loss(make_batch(frames=5), TrainingStep())
