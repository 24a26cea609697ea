"""Every order of branches against a plain computation of the same layers, in float64, and what masks and memory do."""

import pytest
import torch
from attention_reference import attention_over
from deformable_reference import gather_sample_1d
from torch.nn import functional as F

from handpose.models import DynamicSpatioTemporalBlock, GlobalTemporalBlock

N, T, J, M, C, HEADS, G, K = 2, 6, 3, 2, 8, 2, 2, 4
EXACT = dict(rtol=1e-10, atol=1e-11)
# Written down here once more: S joints, T frames, D dynamic convolution, M perceptron (PDTM, Fig. 3; MotionBERT).
ORDERS = {
    'none': ['S M T M', 'T M S M'],
    'head': ['D S M T M', 'D T M S M'],
    'tail': ['S M T D M', 'T M S D M'],
    'replace': ['S M D M', 'D M S M'],
    'fusion': ['S M T M', 'T M S M'],
    'post_temporal': ['S M T D M', 'T D M S M'],
    'tri_branch': ['S M T D M', 'T D M S M', 'D S M'],
}


def random_weights(module, std=0.3):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return module.double()


def make(insertion='post_temporal', **options):
    block = DynamicSpatioTemporalBlock(C, HEADS, insertion=insertion, groups=G, kernel_size=K, **options)
    return random_weights(block)


def inputs(valid=None):
    return torch.randn(N, T, J, C, dtype=torch.float64), torch.randn(N, M, C, dtype=torch.float64), valid


def norm(layer, x):
    return F.layer_norm(x, (C,), layer.weight, layer.bias)


def convolved(branch, x, valid):
    """Eq. 2 joint by joint, by gathering. x (N, T, J, C)."""
    conv, answers = branch.convolution, []
    tracks = x.mean(2, keepdim=True) if branch.level == 'hand' else x
    for joint in range(tracks.shape[2]):
        track = norm(branch.norm, tracks[:, :, joint])
        values = conv.value(track) if valid is None else conv.value(track) * valid[..., None]
        raw = conv.offset_and_modulation(track).reshape(N, T, 2, G, K)
        sampled = gather_sample_1d(values.reshape(N, T, G, -1), 2 * raw[:, :, 0].tanh(), raw[:, :, 1])
        answers.append(conv.out(sampled.reshape(N, T, C)))
    return torch.stack(answers, 2)


def computed(block, insertion, x, memory, valid):
    results = []
    for order, layers in zip(ORDERS[insertion], block.branches, strict=True):
        y = x
        for step, layer in zip(order.split(), layers, strict=True):
            if step in 'ST':
                y = y + attention_over(layer, y, step == 'T', memory, valid)
            elif step == 'D':
                y = y + convolved(layer, y, valid)
            else:
                first, second = layer.layers[1], layer.layers[3]
                y = y + second(F.gelu(first(norm(layer.layers[0], y))))
        results.append(y)
    scores = torch.cat(results, -1) @ block.fusion.weighting.weight.T + block.fusion.weighting.bias
    y = sum(w[..., None] * r for w, r in zip(scores.softmax(-1).unbind(-1), results, strict=True))
    return y + convolved(block.fused_convolution, y, valid) if insertion == 'fusion' else y


@pytest.mark.parametrize('insertion', ORDERS)
@pytest.mark.parametrize('with_memory', [False, True])
@pytest.mark.parametrize('level', ['joint', 'hand'])
@torch.no_grad()
def test_is_what_its_branches_say(insertion, with_memory, level):
    block = make(insertion, convolution_level=level)
    valid = torch.tensor([[True] * T, [True] * 4 + [False] * 2])
    x, memory, _ = inputs()
    memory = memory if with_memory else None
    found, same_memory = block(x, memory, valid)
    torch.testing.assert_close(found, computed(block, insertion, x, memory, valid), **EXACT)
    assert same_memory is memory


def test_starts_as_the_block_of_motionbert():
    """A pretrained DSTformer goes on working: new convolutions add nothing at first, wherever they are inserted."""
    base = DynamicSpatioTemporalBlock(C, HEADS, insertion='none')
    for parameter in base.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(N, T, J, C)
    for insertion in ('head', 'tail', 'post_temporal', 'fusion'):
        block = DynamicSpatioTemporalBlock(C, HEADS, insertion=insertion, groups=G)
        for theirs, mine, order in zip(base.branches, block.branches, ORDERS[insertion], strict=True):
            shared = [layer for layer, step in zip(mine, order.split(), strict=True) if step != 'D']
            for layer, pretrained in zip(shared, theirs, strict=True):
                layer.load_state_dict(pretrained.state_dict())
        block.fusion.load_state_dict(base.fusion.state_dict())
        torch.testing.assert_close(block(x)[0], base(x)[0])


@pytest.mark.parametrize('insertion', ['post_temporal', 'fusion', 'replace'])
@pytest.mark.parametrize('updates_memory', [False, True])
@torch.no_grad()
def test_padding_has_no_influence(insertion, updates_memory):
    block, (x, memory, _) = make(insertion, updates_memory=updates_memory), inputs()
    valid = torch.arange(T).expand(N, T) < 4
    other = x.clone()
    other[:, 4:] = 100 * torch.randn(N, 2, J, C)
    for features in (other, x[:, :4]):  # other padding, and none
        found = block(features, memory, valid[:, : features.shape[1]])
        torch.testing.assert_close(found[0][:, :4], block(x, memory, valid)[0][:, :4], **EXACT)
        torch.testing.assert_close(found[1], block(x, memory, valid)[1], **EXACT)


@torch.no_grad()
def test_tokens_in_the_manner_of_vit_change_with_attention():
    """One attention over joints, whose sequences include the tokens: each frame answers them, and the mean counts."""
    block, (x, memory, _) = make('none', updates_memory=True), inputs()
    attention = block.branches[0][0]
    found, changed = block._attend(attention, x, memory, None, over_time=False)
    together = torch.cat([x, memory[:, None].expand(-1, T, -1, -1)], 2)
    answer = attention_over(attention, together, False)
    torch.testing.assert_close(found, x + answer[:, :, :J], **EXACT)
    torch.testing.assert_close(changed, memory + answer[:, :, J:].mean(1), **EXACT)
    assert block(x, memory)[1].shape == memory.shape


@pytest.mark.parametrize('attention, convolution', [(True, True), (True, False), (False, True)])
@torch.no_grad()
def test_global_block_sees_the_mean_over_joints(attention, convolution):
    block = random_weights(
        GlobalTemporalBlock(C, HEADS, attention=attention, convolution=convolution, groups=G, kernel_size=K)
    )
    x, valid = torch.randn(N, T, J, C, dtype=torch.float64), torch.tensor([[True] * T, [True] * 3 + [False] * 3])
    hand, paths = x.mean(2, keepdim=True), []
    if attention:
        paths.append(attention_over(block.attention, hand, True, None, valid)[:, :, 0])
    if convolution:
        paths.append(convolved(block.convolution, hand, valid)[:, :, 0])
    wanted = paths[0]
    if attention and convolution:
        weights = block.fusion.weighting(torch.cat(paths, -1)).softmax(-1)
        wanted = weights[..., :1] * paths[0] + weights[..., 1:] * paths[1]
    torch.testing.assert_close(block(x, valid), wanted, **EXACT)


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match=r"insertion must be one of .* got 'tails'.*Did you mean 'tail'"):
        DynamicSpatioTemporalBlock(C, HEADS, insertion='tails')
    with pytest.raises(ValueError, match='needs attention, convolution or both'):
        GlobalTemporalBlock(C, HEADS, attention=False, convolution=False)
