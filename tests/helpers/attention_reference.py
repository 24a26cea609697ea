"""Attention as it is written down: loops over sequences and heads, an explicit softmax. The reference of the tests."""

import torch


def softmax_attention(layer, tokens, memory=None, key_valid=None):
    """One sequence of tokens (L, C) sees itself and memory (M, C): (L, C). key_valid (L,) bool."""
    rows = tokens if memory is None else torch.cat([tokens, memory])
    normed = torch.nn.functional.layer_norm(rows, rows.shape[-1:], layer.norm.weight, layer.norm.bias)
    query, key, value = (normed @ layer.projection.weight.T + layer.projection.bias).chunk(3, dim=-1)
    seen = torch.ones(len(rows), dtype=torch.bool)
    if key_valid is not None:
        seen[: len(tokens)] = key_valid
    size = tokens.shape[-1] // layer.num_heads
    answers = []
    for head in range(layer.num_heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / size**0.5
        scores = scores.masked_fill(~seen, -torch.inf) if seen.any() else scores
        answers.append(scores.softmax(-1) @ value[:, part])
    answer = torch.cat(answers, -1) @ layer.out.weight.T + layer.out.bias
    return answer[: len(tokens)]


def attention_over(layer, x, over_time, memory=None, frame_valid=None):
    """Features (N, T, J, C), memory (N, M, C): every joint's, or every frame's, sequence by itself."""
    out = torch.empty_like(x)
    for n in range(len(x)):
        remembered = None if memory is None else memory[n]
        if over_time:
            valid = None if frame_valid is None else frame_valid[n]
            for j in range(x.shape[2]):
                out[n, :, j] = softmax_attention(layer, x[n, :, j], remembered, valid)
        else:
            for t in range(x.shape[1]):
                out[n, t] = softmax_attention(layer, x[n, t], remembered)
    return out
