"""Deformable sampling as it is written down: every tap looks up its two frames. The reference of the tests."""

import torch


def gather_sample_1d(values, offsets, modulation, padding='zeros'):
    """values (N, T, G, D), offsets and modulation (N, T, G, K) -> (N, T, G, D)."""
    num_frames, num_taps = values.shape[1], offsets.shape[-1]
    taps = torch.arange(num_taps) - (num_taps - 1) // 2
    position = torch.arange(num_frames)[:, None, None] + taps + offsets  # (N, T, G, K)
    if padding == 'replicate':
        position = position.clamp(0, num_frames - 1)
    low = position.detach().floor()
    share = (position - low)[..., None]
    taken = (1 - share) * _look_up(values, low.long()) + share * _look_up(values, low.long() + 1)
    return (modulation[..., None] * taken).sum(3)


def _look_up(values, frame):
    """values (N, T, G, D) at frames (N, T, G, K), zero outside: (N, T, G, K, D)."""
    n, t, g, k = frame.shape
    inside = (frame >= 0) & (frame < t)
    index = frame.clamp(0, t - 1).permute(0, 2, 1, 3).reshape(n, g, t * k, 1)
    taken = values.transpose(1, 2).gather(2, index.expand(-1, -1, -1, values.shape[-1]))
    return taken.unflatten(2, (t, k)).permute(0, 2, 1, 3, 4) * inside[..., None]
