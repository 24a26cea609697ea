"""The layers of MS-G3D (Liu et al., CVPR 2020), on the joints of one hand.

Convolutions before batch normalization have no bias, which the normalization would remove.
Legend: N sequences, C channels, T frames, T' = ceil(T / stride), J joints, K scales, W frames of a window, V nodes of a
graph: J joints, or W J joints of a window.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.layers.checks import check_features
from handpose.models.layers.hand_graph import (
    Matrix,
    hand_graph,
    multi_scale_adjacency,
    num_supported_scales,
    window_adjacency,
)
from handpose.registry import MODELS

MASK_RANGE = 1e-6  # learned changes of the adjacency start within it


def _point_wise(in_channels: int, out_channels: int, stride: int = 1, relu: bool = True) -> nn.Sequential:
    layers = [
        nn.Conv2d(in_channels, out_channels, 1, stride=(stride, 1), bias=False),
        nn.BatchNorm2d(out_channels),
        *([nn.ReLU()] if relu else []),
    ]
    return nn.Sequential(*layers)


def choose_num_scales(adjacency: Matrix, num_scales: int | None, empty_scales: bool) -> int:
    """Checks a number of scales against a graph.

    Args:
        adjacency: (N, N) of the graph.
        num_scales: the number asked for; None takes as many as the graph supports.
        empty_scales: accepts scales at which no nodes are connected but to themselves.

    Returns:
        K.

    Raises:
        ValueError: a number below 1, or one that the graph does not support.
    """
    supported = num_supported_scales(adjacency)
    if num_scales is None:
        return supported
    if num_scales < 1 or (num_scales > supported and not empty_scales):
        raise ValueError(
            f'the graph has nodes up to {supported - 1} edges apart, so the number of scales must be 1 to {supported}, '
            f'got {num_scales}: give a number in that range, or empty_scales=True for further scales that connect '
            f'joints only to themselves, as in the published network'
        )
    return num_scales


class _Aggregation(nn.Module):
    """Sums over the neighbours of each node at K scales, side by side."""

    adjacency: Tensor

    def __init__(self, adjacency: Matrix) -> None:
        super().__init__()
        self.register_buffer('adjacency', torch.tensor(adjacency, dtype=torch.float32), persistent=False)
        self.mask = nn.Parameter(torch.empty(adjacency.shape).uniform_(-MASK_RANGE, MASK_RANGE))

    def forward(self, x: Tensor) -> Tensor:
        """Sums over neighbours.

        Args:
            x: (N, C, T, V).

        Returns:
            (N, K C, T, V), the C channels of the first scale first.
        """
        num_scales, nodes = self.adjacency.shape[:2]
        matrix = (self.adjacency + self.mask).flatten(0, 1)  # (K V, V)
        sums = (x @ matrix.T).unflatten(-1, (num_scales, nodes))  # (N, C, T, K, V)
        return sums.permute(0, 3, 1, 2, 4).flatten(1, 2)


@MODELS.register_module()
class MultiScaleGraphConv(nn.Module):
    """Mixes the joints of each frame over several scales (Liu et al., section 3.2): MS-GCN.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, the order of the joints.
        num_scales: K; None takes as many as the graph supports.
        empty_scales: accepts more than that.

    Raises:
        ValueError: a number of scales that the graph does not support.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        joint_order: str = 'common',
        num_scales: int | None = None,
        empty_scales: bool = False,
    ) -> None:
        super().__init__()
        graph = hand_graph(joint_order).adjacency
        count = choose_num_scales(graph, num_scales, empty_scales)
        self.aggregation = _Aggregation(multi_scale_adjacency(graph, count))
        self.mix = _point_wise(in_channels * count, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mixes the joints.

        Args:
            x: (N, C, T, J).

        Returns:
            (N, out_channels, T, J), not negative.

        Raises:
            ValueError: an input of another number of axes.
        """
        check_features('x', x, 'N C T J')
        return self.mix(self.aggregation(x))


@MODELS.register_module()
class WindowedGraphConv(nn.Module):
    """Mixes the joints of all frames of a sliding window at once (Liu et al., section 3.3): one path of MS-G3D.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        window: W, odd.
        stride: frames from one window to the next.
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, the order of the joints.
        num_scales: K; None takes as many as the graph supports.
        hidden_channels: before the frames of a window are joined; None takes in_channels.
        empty_scales: accepts more scales than the graph supports.

    Raises:
        ValueError: an even window, or a number of scales that the graph does not support.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: int = 3,
        stride: int = 1,
        joint_order: str = 'common',
        num_scales: int | None = 6,
        hidden_channels: int | None = None,
        empty_scales: bool = False,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise ValueError(f'window must be an odd number of frames, got {window}')
        graph = window_adjacency(hand_graph(joint_order).adjacency, window)
        count = choose_num_scales(graph, num_scales, empty_scales)
        hidden = in_channels if hidden_channels is None else hidden_channels
        self.window, self.stride = window, stride
        self.aggregation = _Aggregation(multi_scale_adjacency(graph, count))
        self.mix = _point_wise(in_channels * count, hidden)
        self.join = nn.Conv2d(hidden, out_channels, (window, 1), stride=(window, 1), bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.foldable = (('join', 'norm'),)  # in prediction

    def forward(self, x: Tensor) -> Tensor:
        """Mixes the joints of windows centred at every `stride`-th frame; frames beyond the ends are zeros.

        Args:
            x: (N, C, T, J).

        Returns:
            (N, out_channels, T', J), without an activation.

        Raises:
            ValueError: an input of another number of axes.
        """
        check_features('x', x, 'N C T J')
        half = self.window // 2
        windows = F.pad(x, (0, 0, half, half)).unfold(2, self.window, self.stride)  # (N, C, T', J, W)
        mixed = self.mix(self.aggregation(windows.transpose(3, 4).flatten(3)))  # (N, hidden, T', W J)
        return self.norm(self.join(mixed.unflatten(3, (self.window, -1)).flatten(2, 3)))


@MODELS.register_module()
class MultiScaleTemporalConv(nn.Module):
    """Convolves the frames of each joint at several dilations, with a residual connection: MS-TCN.

    The published network has it after every graph convolution: dilated convolutions, a maximum over 3 frames and a
    single frame, side by side, each with an equal share of the channels.

    Args:
        in_channels: C of the input.
        out_channels: C of the output, a multiple of the number of branches.
        stride: frames from one output to the next.
        dilations: of the convolutions over 3 frames.
        relu: whether the output is rectified.

    Raises:
        ValueError: a number of channels that cannot be divided among the branches.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        dilations: Sequence[int] = (1, 2, 3, 4),
        relu: bool = True,
    ) -> None:
        super().__init__()
        num_branches = len(dilations) + 2
        if out_channels % num_branches:
            raise ValueError(
                f'out_channels must be a multiple of {num_branches}, the number of branches, got {out_channels}'
            )
        share = out_channels // num_branches
        branches = [self._dilated(in_channels, share, stride, dilation) for dilation in dilations]
        pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        branches.append(nn.Sequential(_point_wise(in_channels, share), pool, nn.BatchNorm2d(share)))
        branches.append(_point_wise(in_channels, share, stride, relu=False))
        self.branches = nn.ModuleList(branches)
        same = in_channels == out_channels and stride == 1
        self.residual = nn.Identity() if same else _point_wise(in_channels, out_channels, stride, relu=False)
        self.activation = nn.ReLU() if relu else nn.Identity()

    @staticmethod
    def _dilated(in_channels: int, share: int, stride: int, dilation: int) -> nn.Sequential:
        over_frames = nn.Conv2d(
            share,
            share,
            (3, 1),
            stride=(stride, 1),
            padding=(dilation, 0),
            dilation=(dilation, 1),
            bias=False,
        )
        return nn.Sequential(_point_wise(in_channels, share), over_frames, nn.BatchNorm2d(share))

    def forward(self, x: Tensor) -> Tensor:
        """Convolves the frames.

        Args:
            x: (N, C, T, J).

        Returns:
            (N, out_channels, T', J).

        Raises:
            ValueError: an input of another number of axes.
        """
        check_features('x', x, 'N C T J')
        return self.activation(torch.cat([branch(x) for branch in self.branches], 1) + self.residual(x))
