"""Joints as positions in a crop and depths from the wrist: volumes of heatmaps, and three distributions for each joint.

Legend: N crops, C channels, h w size of the input's maps, H hands that a crop may show (left and right), J = 21 joints,
X Y Z cells across, down and in depth.

Positions are (x, y, z) in [0, 1]: of the crop from left to right and from top to bottom, and of the range of depth
around the wrist, from near to far. Cell i of n lies at (i + 0.5) / n.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.heads.pose_25d_head import NUM_JOINTS
from handpose.models.layers.checks import check_option
from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.models.layers.volumetric import soft_argmax_3d
from handpose.registry import MODELS

DECODERS = ('argmax', 'soft_argmax')


class Joints25D(NamedTuple):
    """What a head of 2.5D joints gives."""

    positions: Tensor  # (N, H, J, 3) float32, in [0, 1]
    maps: tuple[Tensor, ...]  # one volume (N, H, J, Z, Y, X), or three lines (N, H, J, X), (N, H, J, Y), (N, H, J, Z)


class _Upsampling(nn.Sequential):
    """Transposed convolutions, each of which doubles the size of the maps."""

    out_channels: int

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for size in channels:
            convolution = nn.ConvTranspose2d(in_channels, size, 4, stride=2, padding=1, bias=False)
            nn.init.normal_(convolution.weight, std=0.001)
            layers += [convolution, nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
            in_channels = size
        super().__init__(*layers)
        self.out_channels = in_channels


@MODELS.register_module()
class Heatmap25DHead(nn.Module):
    """Volumes of heatmaps for the joints of both hands (AssemblyHands, section 4, after InterHand2.6M's InterNet).

    At the published size, transposed convolutions take maps of 8 x 8 to 64 x 64, and a 1x1 convolution gives 64 cells
    in depth for each joint: 42 * 64^3 numbers, 44 MB an image. `Distribution25DHead` needs far less.

    Args:
        in_channels: C.
        deconv_channels: of the transposed convolutions, each of which doubles height and width; () for none.
        depth_cells: Z.
        num_hands: H.
        separate: each hand has its own transposed convolutions, as published; with False, all hands share them.
        decode: 'argmax', the centre of the strongest cell (published): off by up to half a cell, without a gradient.
            'soft_argmax': the mean position under the softmax over all cells. It can be anywhere between the centres
            of the outermost cells, half a cell from the border, and is trained by the error of the positions; the
            network is free to choose the shape of its heatmaps, so that nothing pulls joints near a border inwards, as
            heatmaps of a fixed shape would, which a border cuts.

    Raises:
        ValueError: an unknown decode.
    """

    def __init__(
        self,
        in_channels: int = 2048,
        deconv_channels: Sequence[int] = (256, 256, 256),
        depth_cells: int = 64,
        num_hands: int = 2,
        separate: bool = True,
        decode: str = 'argmax',
    ) -> None:
        super().__init__()
        check_option('decode', decode, DECODERS)
        self.depth_cells, self.num_hands, self.decode = depth_cells, num_hands, decode
        self.differentiable = decode == 'soft_argmax'
        branches = num_hands if separate else 1
        hands = num_hands // branches
        self.upsampling, self.output = nn.ModuleList(), nn.ModuleList()
        for _ in range(branches):
            upsampling = _Upsampling(in_channels, deconv_channels)
            convolution = nn.Conv2d(upsampling.out_channels, hands * NUM_JOINTS * depth_cells, 1)
            nn.init.normal_(convolution.weight, std=0.001)
            self.upsampling.append(upsampling)
            self.output.append(convolution)

    def forward(self, maps: Tensor) -> Joints25D:
        """Computes heatmaps and positions.

        Args:
            maps: (N, C, h, w).

        Returns:
            `Joints25D` with one volume (N, H, J, Z, Y, X).
        """
        parts = [output(up(maps)) for up, output in zip(self.upsampling, self.output, strict=True)]
        volume = torch.cat(parts, 1).unflatten(1, (self.num_hands, NUM_JOINTS, self.depth_cells))
        decode = decode_soft_argmax if self.decode == 'soft_argmax' else decode_argmax
        return Joints25D(decode(volume), (volume,))


@MODELS.register_module()
class Distribution25DHead(nn.Module):
    """Three distributions for each joint, of its x, its y and its depth (after SimCC, Li et al., ECCV 2022).

    A convolution gives each joint a few small maps, and three linear layers, which all joints share, take their values
    to the logits of X, Y and Z cells: 42 * (X + Y + Z) numbers, 0.1 MB an image in place of 44. Joints are the means
    of the distributions; see `CoordinateDistributionLoss` for why they are exact near the borders too.

    Args:
        in_channels: C.
        map_size: (h, w) of the input, which the linear layers are made for.
        cells: X, Y and Z.
        joint_channels: maps of each joint.
        num_hands: H.
    """

    differentiable = True

    def __init__(
        self,
        in_channels: int = 2048,
        map_size: tuple[int, int] = (8, 8),
        cells: tuple[int, int, int] = (256, 256, 64),
        joint_channels: int = 2,
        num_hands: int = 2,
    ) -> None:
        super().__init__()
        self.map_size, self.joint_channels, self.num_hands = tuple(map_size), joint_channels, num_hands
        self.maps = nn.Conv2d(in_channels, num_hands * NUM_JOINTS * joint_channels, 3, padding=1)
        values = joint_channels * map_size[0] * map_size[1]
        self.lines = nn.ModuleList(nn.Linear(values, count) for count in cells)

    def forward(self, maps: Tensor) -> Joints25D:
        """Computes distributions and positions.

        Args:
            maps: (N, C, h, w).

        Returns:
            `Joints25D` with three lines of logits.

        Raises:
            ValueError: maps of another size.
        """
        if maps.shape[-2:] != self.map_size:
            raise ValueError(
                f'Distribution25DHead was built for maps of {self.map_size}, got {tuple(maps.shape[-2:])}: give it '
                f'map_size=(height, width) of what the backbone makes of a crop'
            )
        values = self.maps(maps).unflatten(1, (self.num_hands, NUM_JOINTS, self.joint_channels)).flatten(3)
        lines = tuple(line(values) for line in self.lines)
        return Joints25D(mean_positions(lines), lines)


def decode_argmax(volume: Tensor) -> Tensor:
    """The centres of the strongest cells.

    Args:
        volume: (..., Z, Y, X).

    Returns:
        (..., 3) float32 positions, without a gradient.
    """
    shape = volume.shape[-3:]
    index = volume.detach().flatten(-3).argmax(-1)
    z, y, x = index // (shape[1] * shape[2]), index // shape[2] % shape[1], index % shape[2]
    counts = torch.tensor(shape[::-1], dtype=torch.float32, device=volume.device)
    return (torch.stack([x, y, z], -1) + 0.5) / counts


def decode_soft_argmax(volume: Tensor) -> Tensor:
    """The mean positions under the softmax over all cells; float32 at least, under autocast too.

    Args:
        volume: (..., Z, Y, X) logits.

    Returns:
        (..., 3) positions.
    """
    with without_autocast(volume):
        heatmaps = at_least_float32(volume).flatten(-3).softmax(-1).unflatten(-1, volume.shape[-3:])
        return soft_argmax_3d(heatmaps).flip(-1)


def mean_positions(lines: Sequence[Tensor]) -> Tensor:
    """The means of distributions; float32 at least, under autocast too.

    Args:
        lines: of logits (..., cells), one for each coordinate.

    Returns:
        (..., len(lines)) positions.
    """
    means = []
    for line in lines:
        logits = at_least_float32(line)
        centres = (torch.arange(line.shape[-1], dtype=logits.dtype, device=line.device) + 0.5) / line.shape[-1]
        means.append((logits.softmax(-1) * centres).sum(-1))
    return torch.stack(means, -1)
