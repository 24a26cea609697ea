"""The autoregressive transformer of PoseGPT (Lucas et al., ECCV 2022, section 3.2) over the codes of a motion.

Legend: B clips, L steps, G codebooks, E entries of a codebook, A actions, C channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.registry import MODELS


@MODELS.register_module()
class CodeTransformer(nn.Module):
    """Predicts the next codes of a sequence from those before it, the action and the length of the whole.

    A step has one code of each codebook. They are predicted in turn: the logits of the second know the first.

    Args:
        num_actions: A.
        num_codebooks: G.
        num_codes: E.
        max_steps: most steps of a sequence.
        channels: C.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: dropout of attention weights, residuals and the feed-forward layer.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(
        self,
        num_actions: int,
        num_codebooks: int = 2,
        num_codes: int = 512,
        max_steps: int = 64,
        channels: int = 384,
        num_layers: int = 8,
        num_heads: int = 4,
        feedforward_channels: int = 1536,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if min(num_actions, num_codebooks, num_codes, max_steps) < 1:
            raise ValueError(
                f'num_actions, num_codebooks, num_codes and max_steps must be at least 1, got {num_actions}, '
                f'{num_codebooks}, {num_codes} and {max_steps}'
            )
        self.num_actions, self.num_codebooks, self.num_codes = num_actions, num_codebooks, num_codes
        self.max_steps = max_steps
        self.action = nn.Embedding(num_actions + 1, channels)  # the last row: unknown
        self.length = nn.Embedding(max_steps + 1, channels)
        self.codes = nn.ModuleList(nn.Embedding(num_codes, channels) for _ in range(num_codebooks))
        self.earlier = nn.ModuleList(nn.Embedding(num_codes, channels) for _ in range(num_codebooks - 1))
        for embedding in (self.action, self.length, *self.codes, *self.earlier):
            nn.init.normal_(embedding.weight, std=0.02**0.5)
        self.encoder = PreNormEncoder(
            channels, num_layers, num_heads, feedforward_channels, dropout, position='input', causal=True
        )
        self.heads = nn.ModuleList(nn.Linear(channels, num_codes) for _ in range(num_codebooks))

    def forward(self, codes: Tensor, action: Tensor, length: Tensor) -> Tensor:
        """Predicts each step from those before it (teacher forcing).

        Args:
            codes: (B, L, G) int64, L at most max_steps; steps after a sequence's end may hold any code.
            action: (B,) int64, -1 unknown.
            length: (B,) int64, steps of the whole sequence.

        Returns:
            Logits (B, L, G, E) of the codes.

        Raises:
            ValueError: a sequence that is too long, an unknown action, or shapes that do not fit.
        """
        self._check(codes, action, length)
        hidden = self._hidden(codes[:, :-1], action, length)  # (B, L, C)
        logits = []
        for g, head in enumerate(self.heads):
            logits.append(head(hidden))
            if g < len(self.earlier):
                hidden = hidden + self.earlier[g](codes[..., g])
        return torch.stack(logits, 2)

    @torch.no_grad()
    def sample(
        self,
        prompt: Tensor,
        num_steps: int,
        action: Tensor,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
        next_state: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Continues sequences.

        Args:
            prompt: (B, L, G) int64, the codes of the beginning.
            num_steps: how many steps to add.
            action: (B,) int64, -1 unknown.
            temperature: what logits are divided by; 0 takes the most likely code at each step.
            top_k: draw among the k most likely codes; None means among all.
            generator: source of the random numbers, on the device of `prompt`.
            next_state: computes what `self.next_state` does, in another runtime; None means that.

        Returns:
            (B, L + num_steps, G) int64.

        Raises:
            ValueError: as in `forward`, a negative temperature or a top_k below 1.
        """
        if temperature < 0 or (top_k is not None and top_k < 1):
            raise ValueError(f'temperature must be at least 0 and top_k at least 1, got {temperature} and {top_k}')
        total = prompt.shape[1] + num_steps
        codes = prompt
        length = torch.full_like(action, total)
        self._check(prompt, action, length)
        for _ in range(num_steps):
            hidden = (next_state or self.next_state)(codes, action, length)
            step: list[Tensor] = []
            for g, head in enumerate(self.heads):
                step.append(_draw(head(hidden), temperature, top_k, generator))
                if g < len(self.earlier):
                    hidden = hidden + self.earlier[g](step[-1])
            codes = torch.cat([codes, torch.stack(step, -1)[:, None]], 1)
        return codes

    def next_state(self, codes: Tensor, action: Tensor, length: Tensor) -> Tensor:
        """What the next codes are drawn from.

        Args:
            codes: (B, L, G) int64, those before.
            action: (B,) int64, -1 unknown.
            length: (B,) int64, steps of the whole sequence.

        Returns:
            (B, C).
        """
        return self._hidden(codes, action, length)[:, -1]

    def _hidden(self, codes: Tensor, action: Tensor, length: Tensor) -> Tensor:
        """What is known before each step, the first and the one after the last included: (B, L, G) -> (B, L + 1, C)."""
        known = torch.where(action < 0, self.num_actions, action)
        start = self.action(known) + self.length(length)
        steps = torch.stack([embedding(codes[..., g]) for g, embedding in enumerate(self.codes)]).sum(0)
        return self.encoder(torch.cat([start[:, None], steps], 1)).features

    def _check(self, codes: Tensor, action: Tensor, length: Tensor) -> None:
        if codes.ndim != 3 or codes.shape[2] != self.num_codebooks:
            raise ValueError(f'codes must have the shape (B, L, {self.num_codebooks}), got {tuple(codes.shape)}')
        if action.shape != codes.shape[:1] or length.shape != codes.shape[:1]:
            raise ValueError(
                f'action and length must have the shape ({len(codes)},), got {tuple(action.shape)} and '
                f'{tuple(length.shape)}'
            )
        longest = max(codes.shape[1], int(length.max())) if len(length) else 0
        if longest > self.max_steps:
            raise ValueError(
                f'this CodeTransformer knows sequences of at most {self.max_steps} steps, got {longest}: predict fewer '
                f'frames, or train one with a larger max_steps'
            )
        if len(action) and int(action.max()) >= self.num_actions:
            raise ValueError(
                f'action label {int(action.max())}: this CodeTransformer knows {self.num_actions} actions, 0 to '
                f'{self.num_actions - 1}, and -1 for unknown'
            )


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator | None) -> Tensor:
    """One code of each row of logits (B, E): (B,) int64."""
    if temperature == 0:
        return logits.argmax(-1)
    logits = logits.float() / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
