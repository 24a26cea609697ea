"""Dynamic temporal convolution: each frame chooses where in time it looks and how much each look counts.

Prior-aware Dynamic Temporal Modeling (Ren et al., ICCV 2025), section 3.2, Eq. 2.
Legend: N hands, T frames, J joints, C channels, G groups, K taps.
"""

import torch
from torch import nn

from handpose.models.layers.deformable_sampling import deformable_sample_1d
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

LEVELS = ('joint', 'hand')


@MODELS.register_module()
class DeformableTemporalConv(nn.Module):
    """Eq. 2: y(t) = sum over groups g and taps k of w_g m_gk(t) x_g(t + p_k + offset_gk(t)).

    Offsets and modulation come from the same frame's features by one linear layer. Offsets are bounded by
    `max_offset * tanh`, which keeps a gradient at the bound; the modulation is not normalised.

    Args:
        channels: C, a multiple of groups. groups: G (the paper gives none). kernel_size: K, even ones too.
        max_offset: frames (paper: 2). padding: 'zeros' or 'replicate', see `deformable_sample_1d`.
        value_projection: a linear layer before the sampling, as in DCN; Eq. 2 has none.
        initial_modulation: value of every m at the start. 0 makes the layer answer zero at first, so that a residual
            block starts as the identity.

    Raises:
        ValueError: channels is not a multiple of groups.
    """

    def __init__(
        self,
        channels: int,
        groups: int = 16,
        kernel_size: int = 8,
        max_offset: float = 2.0,
        padding: str = 'zeros',
        value_projection: bool = True,
        initial_modulation: float = 0.0,
    ):
        super().__init__()
        if channels % groups:
            raise ValueError(f'channels must be a multiple of groups, got {channels} and {groups}')
        self.groups, self.kernel_size, self.max_offset, self.padding = groups, kernel_size, max_offset, padding
        self.value = nn.Linear(channels, channels) if value_projection else nn.Identity()
        self.offset_and_modulation = nn.Linear(channels, 2 * groups * kernel_size)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.offset_and_modulation.weight)
        nn.init.zeros_(self.offset_and_modulation.bias)
        nn.init.constant_(self.offset_and_modulation.bias[groups * kernel_size :], initial_modulation)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
        """(N, T, C), (N, T) bool -> (N, T, C); frames that are not valid are looked up as zero.

        Also (N, T, J, C): each joint is a sequence of its own.
        """
        values = self.value(x)
        if frame_valid is not None:
            values = values * frame_valid.reshape(*frame_valid.shape, *[1] * (x.ndim - 2))
        with without_autocast(x):
            sampling = self.offset_and_modulation(x.to(self.offset_and_modulation.weight.dtype))
            offsets, modulation = sampling.unflatten(-1, (2, self.groups, self.kernel_size)).unbind(-3)
            offsets = self.max_offset * offsets.tanh()
        # Joints have nothing in common, as groups have not: (N, T, J * G, C / G), and K taps in place of C / G.
        values = values.unflatten(-1, (self.groups, -1))
        values, offsets, modulation = (part.flatten(2, -2) for part in (values, offsets, modulation))
        sampled = deformable_sample_1d(values, offsets, modulation, self.padding, self.max_offset)
        return self.out(sampled.reshape(x.shape))


@MODELS.register_module()
class DynamicTemporalConv(nn.Module):
    """The pre-norm residual branch around `DeformableTemporalConv`, for each joint or for the hand as a whole.

    Args:
        channels, groups, kernel_size, max_offset, padding, value_projection, initial_modulation: of
            `DeformableTemporalConv`.
        level: 'joint' (section 3.2.1), every joint is a sequence of its own and all share the weights; 'hand'
            (section 3.2.2), the mean over the joints is one sequence, and its answer goes to every joint.

    Raises:
        ValueError: an unknown level.
    """

    def __init__(
        self,
        channels: int,
        level: str = 'joint',
        groups: int = 16,
        kernel_size: int = 8,
        max_offset: float = 2.0,
        padding: str = 'zeros',
        value_projection: bool = True,
        initial_modulation: float = 0.0,
    ):
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f'level must be one of {LEVELS}, got {level!r}')
        self.level = level
        self.norm = nn.LayerNorm(channels)
        self.convolution = DeformableTemporalConv(
            channels, groups, kernel_size, max_offset, padding, value_projection, initial_modulation
        )

    def forward(self, x: torch.Tensor, frame_valid: torch.Tensor | None = None) -> torch.Tensor:
        """Joint features (N, T, J, C), (N, T) bool -> what is to be added to them, (N, T, J, C) or (N, T, 1, C)."""
        if self.level == 'hand':
            return self.convolution(self.norm(x.mean(2)), frame_valid)[:, :, None]
        return self.convolution(self.norm(x), frame_valid)
