"""PDTM and DSTformer as a whole: every row of the paper's tables, sizes, supervision, training steps."""

import pytest
import torch
from motion_clips import build, clip, summed, with_random_weights

from handpose.engine import load_config
from handpose.models import TrainingStep
from handpose.models.heads.motion_refinement_head import palm_axes
from handpose.registry import MODELS
from handpose.structures import HandSequence

# Row of the paper: options of the one config. Tables 1 and 2 are without memory, Table 3 has all else.
NO_GLOBAL = dict(global_attention=False, global_convolution=False, memory_tokens=0)
TABLES = {
    **{f'1 {name}': dict(NO_GLOBAL, insertion=name)
       for name in ('none', 'head', 'tail', 'replace', 'fusion', 'tri_branch', 'post_temporal')},
    '2 neither': NO_GLOBAL,
    '2 GA SS': dict(global_convolution=False, memory_tokens=0),
    '2 DC SS': dict(global_attention=False, memory_tokens=0),
    '2 GA DC SS': dict(memory_tokens=0),
    '2 DC in place of the joint level': dict(global_mode='replace', memory_tokens=0),
    '2 DC PS': dict(global_attention=False, global_mode='parallel', memory_tokens=0),
    '2 GA DC PS': dict(global_mode='parallel', memory_tokens=0),
    **{f'3 {tokens} tokens': dict(memory_tokens=tokens) for tokens in (1, 4, 8, 16)},
    '3 VS': dict(memory_tokens=1, memory_update='vit_token'),
    '3 without FS': dict(shape_supervision='every_block'),
}  # fmt: skip


def batch(frames=9, **options):
    return HandSequence.stack([clip(frames, 2, (0, 1), seed=1, **options), clip(frames, 1, (1,), seed=2, **options)])


def take_two_steps(model, data, steps=2):
    """Trains; after the last step every parameter has a finite gradient, and one that is not zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = model.loss(data, TrainingStep())
        summed(losses).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        optimizer.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, name
    return {name: value.item() for name, value in losses.items()}


@pytest.mark.parametrize('row', TABLES)
def test_every_row_trains(row):
    model = build(**TABLES[row])
    losses = take_two_steps(model, batch())
    assert set(losses) == {'loss_joints', 'loss_acceleration', 'loss_pose', 'loss_shape', 'loss_vertices'}


def test_rows_are_different_networks():
    sizes = {row: sum(p.numel() for p in build(**options).parameters()) for row, options in TABLES.items()}
    assert sizes['1 none'] < sizes['1 head'] == sizes['1 tail'] == sizes['1 post_temporal'] < sizes['1 tri_branch']
    assert sizes['1 fusion'] < sizes['1 head'] and sizes['1 replace'] < sizes['1 post_temporal']
    assert sizes['2 neither'] == sizes['1 post_temporal'] == sizes['2 DC in place of the joint level']
    assert sizes['2 neither'] < sizes['2 DC SS'] == sizes['2 DC PS'] < sizes['2 GA DC SS'] == sizes['2 GA DC PS']
    assert sizes['3 1 tokens'] < sizes['3 4 tokens'] < sizes['3 8 tokens'] == sizes['3 without FS']
    assert sizes['2 GA DC SS'] < sizes['3 VS'] < sizes['3 1 tokens']


def perceptron(width):
    return 2 * width + (width * 2 * width + 2 * width) + (2 * width * width + width)


def attention(width):
    return 2 * width + 4 * (width * width + width)


def convolution(width, groups=16, kernel=8):
    """Norm, values, output, and a number each for offset and modulation of every tap."""
    return 2 * width + 2 * (width * width + width) + (width + 1) * 2 * groups * kernel


def fusion(width):
    return 2 * width * 2 + 2


def trunk(width=512, frames=27, depth=5):
    """MotionBERT: embedding with both codes, blocks, the last norm and the layer with tanh."""
    embedding = 3 * width + width + (21 + frames) * width
    block = 4 * attention(width) + 4 * perceptron(width) + fusion(width)
    return embedding + depth * block + 2 * width + width * width + width


def test_paper_size_of_pdtm(capsys):
    config = load_config('configs/pdtm/_base_.py', {'+hand_model': dict(type='ProceduralHand')})
    model = MODELS.build(config.model)
    size = sum(p.numel() for p in model.parameters())
    with capsys.disabled():
        print(f' PDTM at paper size: {size / 1e6:.2f} M parameters ', end='')
    width, update = 512, 4 * 512 + 4 * 512 * 512 + 3 * 512  # two norms; a key has no bias
    more = 2 * convolution(width) + attention(width) + convolution(width) + fusion(width) + update
    heads = (width + 1) * (63 + 96) + (8 * width + 1) * 10
    assert size == trunk() + 5 * more + 8 * width + heads
    assert size / 1e6 == pytest.approx(62.9, abs=0.05)


def test_paper_size_of_dstformer(capsys):
    config = load_config('configs/pdtm/_base_.py', {'+hand_model': dict(type='ProceduralHand'), 'model': '$dstformer'})
    size = sum(p.numel() for p in MODELS.build(config.model).parameters())
    with capsys.disabled():
        print(f' DSTformer at paper size: {size / 1e6:.2f} M parameters ', end='')
    assert size == trunk() + 3 * (512 + 1) + (512 + 1) * (96 + 10)
    joints_alone = MODELS.build({**config.model, 'hand_model': None, 'loss': None})
    assert sum(p.numel() for p in joints_alone.parameters()) / 1e6 == pytest.approx(42.36, abs=0.005)


def test_starts_near_its_input_as_dstformer_does():
    motion = 0.05 * torch.randn(2, 9, 21, 3)
    for name in ('PDTM', 'DSTformer'):
        for residual in (True, False):
            answer = build(name, residual=residual)(motion).joints - (motion if residual else 0)
            assert 0 < answer.abs().max() < 1e-3


def test_starts_as_the_network_without_dynamic_convolution():
    torch.manual_seed(0)
    with_it = build(global_attention=False, memory_tokens=0)
    without = build(global_attention=False, global_convolution=False, memory_tokens=0, insertion='none')
    theirs, mine = with_it.state_dict(), {}
    order = {0: [0, 1, 2, 4], 1: [0, 2, 3, 4]}  # where S M T M and T M S M lie in S M T D M and T D M S M
    for name in without.state_dict():
        parts = name.split('.')
        if parts[0] == 'blocks' and parts[2] == 'branches':
            parts[4] = str(order[int(parts[3])][int(parts[4])])
        mine[name] = theirs['.'.join(parts)]
    without.load_state_dict(mine)
    motion = 0.05 * torch.randn(2, 9, 21, 3)
    for a, b in zip(with_it(motion)[:3], without(motion)[:3], strict=True):
        torch.testing.assert_close(a, b)


def test_every_block_is_supervised():
    model = with_random_weights(build(shape_supervision='every_block')).float()
    output = model(0.05 * torch.randn(3, 9, 21, 3))
    assert output.block_shapes.shape == (3, 2, 10)
    torch.testing.assert_close(output.block_shapes[:, -1], output.shape)
    assert (output.block_shapes[:, 0] - output.shape).abs().max() > 1e-3
    data = batch()
    found = model.loss(data, TrainingStep())['loss_shape']
    model.shape_supervision = 'final'
    final = model.loss(data, TrainingStep())['loss_shape']
    assert abs(found - final) > 1e-5
    assert build()(torch.zeros(1, 9, 21, 3)).block_shapes is None


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
def test_joints_alone(name):
    """Data without parameters of the hand model: what gives pose and shape gets gradients of zero."""
    model = build(name)
    losses = model.loss(batch(parameters=False), TrainingStep())
    assert set(losses) == {'loss_joints', 'loss_acceleration', 'loss_parameters'} and losses['loss_parameters'] == 0
    summed(losses).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert (model.head.pose.weight.grad == 0).all() and model.head.joints.weight.grad.abs().max() > 0


def test_dstformer_trains_with_and_without_a_hand_model():
    take_two_steps(build('DSTformer'), batch())
    assert set(take_two_steps(build('DSTformer', hand_model=None), batch())) == {'loss_joints', 'loss_acceleration'}


@pytest.mark.parametrize('name, options', [('PDTM', {}), ('PDTM', dict(memory_update='vit_token')), ('DSTformer', {})])
@torch.no_grad()
def test_padding_has_no_influence(name, options):
    model = with_random_weights(build(name, **options))
    motion, valid = 0.05 * torch.randn(2, 9, 21, 3, dtype=torch.float64), torch.arange(9).expand(2, 9) < 6
    other = motion.clone()
    other[:, 6:] = torch.randn(2, 3, 21, 3, dtype=torch.float64)
    found, again, short = model(motion, valid), model(other, valid), model(motion[:, :6])
    for wanted in (again, short):
        torch.testing.assert_close(found.joints[:, :6], wanted.joints[:, :6], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(found.pose[:, :6], wanted.pose[:, :6], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(found.shape, wanted.shape, rtol=1e-9, atol=1e-10)


def test_learns():
    """A few steps on one batch bring the loss down."""
    model, data = build(), batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = summed(model.loss(data, TrainingStep()))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize(
    'options, words',
    [
        (NO_GLOBAL | dict(memory_tokens=8), r'memory is updated from the global temporal block: .*vit_token'),
        (dict(global_mode='replace'), r'memory is updated from the global temporal block'),
        (dict(global_mode='both'), r"global_mode must be one of .* got 'both'"),
        (dict(memory_update='gru'), r"memory_update must be one of .* got 'gru'"),
        (dict(shape_supervision='all'), r"shape_supervision must be one of .* got 'all'"),
        (dict(insertion='middle'), r"insertion must be one of .* got 'middle'"),
        (dict(channels=30, num_heads=4), r'multiple of'),
        (dict(head=dict(joint_regression='mean')), r"joint_regression must be .*'per_joint'.* got 'mean'"),
        (dict(head=dict(pose_regression='mean')), r"pose_regression must be .*'flattened'.* got 'mean'"),
    ],
)
def test_options_that_exclude_each_other(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)


@pytest.mark.parametrize('name', ['PDTM', 'DSTformer'])
@pytest.mark.parametrize('regression', ['pooled', 'flattened'])
def test_untrained_meshes_lie_as_their_input_does(name, regression):
    model = build(name, head=dict(pose_regression=regression)).eval()
    torch.nn.init.zeros_(model.head.pose.weight)
    data = HandSequence.stack([clip(9, 2, (0, 1), seed=3)])
    answer = model.predict(data)
    hands = model.hand_model(
        answer.hand_pose, answer.hand_shape[:, None].expand(-1, 9, -1, -1), answer.hand_transl, data.hand_side[:, None]
    )
    mesh_axes, input_axes = (palm_axes(x - x[..., :1, :]) for x in (hands.joints, data.input_joints_3d))
    torch.testing.assert_close(mesh_axes, input_axes, rtol=0, atol=0.01)  # an untrained shape is not quite the mean


@pytest.mark.parametrize(
    'options', [dict(joint_regression='per_joint'), dict(representation=False), dict(pose_regression='flattened')]
)
def test_heads(options):
    take_two_steps(build(head=options), batch())
