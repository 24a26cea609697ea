"""The voxel-to-voxel network (Moon et al., CVPR 2018), as learnable triangulation uses it (Iskakov et al., ICCV 2019).

An encoder and decoder of 3D convolutions with skip connections. Legend: N volumes, C channels, X Y Z voxels.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from handpose.models.layers.checks import check_features
from handpose.registry import MODELS


@MODELS.register_module()
class V2VNet(nn.Module):
    """From a volume of features to one volume of logits for each joint, at the same resolution.

    The original network, for depth maps, first halves the resolution and has two levels; this one keeps it and has
    five, so that one voxel of the coarsest level spans half of a volume of 64 voxels.

    Args:
        in_channels: C of the features.
        out_channels: volumes of logits.
        channels: of each level, finest first: one more than there are levels of pooling. The default has 11.94 million
            parameters for 32 channels and 21 joints; small volumes need fewer levels.
        stem_channels: of the first convolution.
        stem_kernel: its width, odd, in voxels.

    Attributes:
        divisor: X, Y and Z must be multiples of it.

    Raises:
        ValueError: no channels, or an even stem_kernel.
    """

    def __init__(
        self,
        in_channels: int = 32,
        out_channels: int = 21,
        channels: Sequence[int] = (32, 64, 128, 128, 128, 128),
        stem_channels: int = 16,
        stem_kernel: int = 7,
    ) -> None:
        super().__init__()
        if not channels or stem_kernel % 2 == 0:
            raise ValueError(f'channels must not be empty and stem_kernel odd, got {channels} and {stem_kernel}')
        finest, self.in_channels, self.divisor = channels[0], in_channels, 2 ** (len(channels) - 1)
        self.front = nn.Sequential(
            _conv_norm_relu(in_channels, stem_channels, stem_kernel),
            _ResidualBlock3D(stem_channels, finest),
            _ResidualBlock3D(finest, finest),
            _ResidualBlock3D(finest, finest),
        )
        steps = list(pairwise(channels))
        self.pool = nn.MaxPool3d(2)
        self.skips = nn.ModuleList(_ResidualBlock3D(fine, fine) for fine, _ in steps)
        self.encoders = nn.ModuleList(_ResidualBlock3D(fine, coarse) for fine, coarse in steps)
        self.middle = _ResidualBlock3D(channels[-1], channels[-1])
        self.decoders = nn.ModuleList(_ResidualBlock3D(coarse, coarse) for _, coarse in steps)
        self.enlargements = nn.ModuleList(_enlargement(coarse, fine) for fine, coarse in steps)
        self.back = nn.Sequential(
            _ResidualBlock3D(finest, finest), _conv_norm_relu(finest, finest, 1), _conv_norm_relu(finest, finest, 1)
        )
        self.output = nn.Conv3d(finest, out_channels, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, volume: Tensor) -> Tensor:
        """Computes logits.

        Args:
            volume: (N, C, X, Y, Z).

        Returns:
            (N, out_channels, X, Y, Z).

        Raises:
            ValueError: other axes or channels, or a number of voxels that cannot be halved at every level.
        """
        check_features('volume', volume.movedim(1, -1), 'N X Y Z C', self.in_channels)
        if any(size % self.divisor for size in volume.shape[2:]):
            raise ValueError(
                f'{len(self.skips)} levels of pooling need volumes of a multiple of {self.divisor} voxels along each '
                f'axis, got {tuple(volume.shape[2:])}: change the number of voxels, or give V2VNet fewer channels'
            )
        x = self.front(volume)  # (N, channels[0], X, Y, Z)
        kept = []
        for skip, encoder in zip(self.skips, self.encoders, strict=True):
            kept.append(skip(x))
            x = encoder(self.pool(x))  # half as many voxels along each axis
        x = self.middle(x)
        for i in reversed(range(len(kept))):
            x = self.enlargements[i](self.decoders[i](x)) + kept[i]
        return self.output(self.back(x))


class _ResidualBlock3D(nn.Module):
    """Two 3x3x3 convolutions, added to their input."""

    recomputable = ('forward',)  # under activation checkpointing

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv_norm_relu(in_channels, out_channels, 3),
            nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, bias=False), nn.BatchNorm3d(out_channels)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, X, Y, Z) -> (N, out_channels, X, Y, Z)."""
        return self.relu(self.residual(x) + self.shortcut(x))


def _conv_norm_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv3d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True))


def _enlargement(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True))
