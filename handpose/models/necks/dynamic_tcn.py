"""Dynamic temporal convolution: each frame predicts at which times it samples, and with which weights.

Prior-aware Dynamic Temporal Modeling (Ren et al., ICCV 2025), section 3.2, Eq. 2.
Legend: N hands, T frames, J joints, C channels, G groups, K taps.
"""

from torch import Tensor, nn

from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.deformable_sampling import PADDINGS, deformable_sample_1d
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

LEVELS = ('joint', 'hand')


@MODELS.register_module()
class DeformableTemporalConv(nn.Module):
    """Eq. 2: y(t) = sum over groups g and taps k of w_g m_gk(t) x_g(t + p_k + offset_gk(t)).

    Offsets and modulation come from the same frame's features by one linear layer. Offsets are bounded by
    `max_offset * tanh`, which keeps a gradient at the bound; the modulation is not normalised.

    Args:
        channels: C, a multiple of groups.
        groups: G (the paper gives none).
        kernel_size: K; may be even.
        max_offset: frames (paper: 2).
        padding: 'zeros' or 'replicate', see `deformable_sample_1d`.
        value_projection: a linear layer before the sampling, as in DCN; Eq. 2 has none.
        initial_modulation: initial value of every m. With 0 the layer's initial output is zero, so that a residual
            block starts as the identity.

    Raises:
        ValueError: channels is not a multiple of groups, or an unknown padding.
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
    ) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f'channels must be a multiple of groups, got {channels} and {groups}')
        check_option('padding', padding, PADDINGS)
        self.channels = channels
        self.groups, self.kernel_size, self.max_offset, self.padding = groups, kernel_size, max_offset, padding
        self.value = nn.Linear(channels, channels) if value_projection else nn.Identity()
        self.offset_and_modulation = nn.Linear(channels, 2 * groups * kernel_size)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.offset_and_modulation.weight)
        nn.init.zeros_(self.offset_and_modulation.bias)
        nn.init.constant_(self.offset_and_modulation.bias[groups * kernel_size :], initial_modulation)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Convolves along time.

        Args:
            x: (N, T, C), or (N, T, J, C), where each joint is a sequence of its own.
            frame_valid: (N, T) bool; frames where it is False are sampled as zero. None means all.

        Returns:
            The shape of `x`.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('x', x, 'N T J C' if x.ndim == 4 else 'N T C', self.channels)
        check_mask('frame_valid', frame_valid, x.shape[:2], 'N T')
        values = self.value(x)
        if frame_valid is not None:
            values = values * frame_valid.reshape(*frame_valid.shape, *[1] * (x.ndim - 2))
        with without_autocast(x):
            sampling = self.offset_and_modulation(x.to(self.offset_and_modulation.weight.dtype))
            offsets, modulation = sampling.unflatten(-1, (2, self.groups, self.kernel_size)).unbind(-3)
            offsets = self.max_offset * offsets.tanh()
        # Joints are independent, as groups are: (N, T, J * G, C / G), and K taps in place of C / G.
        values = values.unflatten(-1, (self.groups, -1))
        values, offsets, modulation = (part.flatten(2, -2) for part in (values, offsets, modulation))
        sampled = deformable_sample_1d(values, offsets, modulation, self.padding, self.max_offset)
        return self.out(sampled.reshape(x.shape))


@MODELS.register_module()
class DynamicTemporalConv(nn.Module):
    """The pre-norm residual branch around `DeformableTemporalConv`, for each joint or for the hand as a whole.

    Args:
        channels: C, a multiple of groups.
        level: 'joint' (section 3.2.1), every joint is a sequence of its own and all share the weights; 'hand'
            (section 3.2.2), the mean over the joints is one sequence, whose result goes to every joint.
        groups: G.
        kernel_size: K.
        max_offset: frames.
        padding: 'zeros' or 'replicate'.
        value_projection: a linear layer before the sampling.
        initial_modulation: initial value of the modulation, see `DeformableTemporalConv`.

    Raises:
        ValueError: an unknown level or padding, or channels is not a multiple of groups.
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
    ) -> None:
        super().__init__()
        check_option('level', level, LEVELS)
        self.channels = channels
        self.level = level
        self.norm = nn.LayerNorm(channels)
        self.convolution = DeformableTemporalConv(
            channels, groups, kernel_size, max_offset, padding, value_projection, initial_modulation
        )

    def forward(self, x: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Convolves along time, without the residual connection.

        Args:
            x: (N, T, J, C).
            frame_valid: (N, T) bool; frames where it is False are sampled as zero. None means all.

        Returns:
            What is to be added to `x`: (N, T, J, C), or (N, T, 1, C) at level 'hand'.

        Raises:
            TypeError: the mask is not bool.
            ValueError: shapes that do not fit.
        """
        check_features('x', x, 'N T J C', self.channels)
        if self.level == 'hand':
            return self.convolution(self.norm(x.mean(2)), frame_valid)[:, :, None]
        return self.convolution(self.norm(x), frame_valid)
