"""MS-G3D (Liu et al., CVPR 2020) on the joints of hands: multi-scale graph convolutions over space and time.

Legend: B sequences, T frames, T' = ceil(T / 4), H hands, J joints, C channels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from handpose.hands.joints import joint_order as joints_of
from handpose.models.layers.checks import check_features, check_mask, check_option
from handpose.models.layers.graph_conv import MultiScaleGraphConv, MultiScaleTemporalConv, WindowedGraphConv
from handpose.models.layers.missing_frames import mean_over_frames
from handpose.models.layers.precision import at_least_float32, without_autocast
from handpose.registry import MODELS

POOLS = ('all', 'valid')


class _GraphBlock(nn.Module):
    """One of MS-G3D's blocks: windowed graph convolutions beside a path that factorizes space and time."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        windows: Sequence[int],
        joint_order: str,
        gcn_scales: int | None,
        g3d_scales: int | None,
        empty_scales: bool,
        first: bool,
    ) -> None:
        super().__init__()
        hidden = out_channels if first else in_channels
        self.windowed = nn.ModuleList(
            WindowedGraphConv(in_channels, out_channels, window, stride, joint_order, g3d_scales, hidden, empty_scales)
            for window in windows
        )
        self.factorized = nn.Sequential(
            MultiScaleGraphConv(in_channels, hidden, joint_order, gcn_scales, empty_scales),
            MultiScaleTemporalConv(hidden, out_channels, stride),
            MultiScaleTemporalConv(out_channels, out_channels, relu=False),
        )
        self.temporal = MultiScaleTemporalConv(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Adds the paths up, and convolves the frames of their sum.

        Args:
            x: (B H, in_channels, T, J).

        Returns:
            (B H, out_channels, ceil(T / stride), J), not negative.
        """
        total = self.factorized(x)
        for path in self.windowed:
            total = total + path(x)
        return self.temporal(total.relu())


@MODELS.register_module()
class MSG3D(nn.Module):
    """Encodes joint sequences of hands to one feature: MS-G3D with hands in place of persons.

    Hands share the weights; their features are averaged at the end, so edges never connect one hand to the other. The
    defaults are the size that was published with Assembly101 (Sener et al., CVPR 2022), except that only the scales
    which a hand's graph supports are used: published are `gcn_scales=13` with `empty_scales=True`, of which scales 9
    to 12 connect joints only to themselves. Half precision makes the network's outputs inaccurate or NaN, so it
    computes in float32 under autocast.

    Args:
        channels: C of the blocks; the first keeps all frames, the others halve their number.
        num_hands: H.
        num_coordinates: of a joint.
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, the order of the joints.
        gcn_scales: scales of the convolutions within a frame; None takes as many as the graph supports.
        g3d_scales: scales of the convolutions within windows; None takes as many as the graph supports.
        windows: frames of the windows, odd.
        empty_scales: accepts more scales than the graph supports.
        pool: which frames the final mean is over: 'all', as published, or 'valid', without padding.

    Raises:
        ValueError: options that do not fit.
    """

    def __init__(
        self,
        channels: Sequence[int] = (96, 192, 384),
        num_hands: int = 2,
        num_coordinates: int = 3,
        joint_order: str = 'common',
        gcn_scales: int | None = None,
        g3d_scales: int | None = 6,
        windows: Sequence[int] = (3, 5),
        empty_scales: bool = False,
        pool: str = 'all',
    ) -> None:
        super().__init__()
        check_option('pool', pool, POOLS)
        if not channels:
            raise ValueError('channels must name at least one block, got none')
        self.joint_order, self.num_joints = joint_order, len(joints_of(joint_order))
        self.num_hands, self.num_coordinates, self.pool = num_hands, num_coordinates, pool
        self.out_channels = channels[-1]
        self.input_norm = nn.BatchNorm1d(num_hands * self.num_joints * num_coordinates)
        widths = [num_coordinates, *channels]
        self.blocks = nn.ModuleList(
            _GraphBlock(
                widths[i],
                widths[i + 1],
                1 if i == 0 else 2,
                windows,
                joint_order,
                gcn_scales,
                g3d_scales,
                empty_scales,
                first=i == 0,
            )
            for i in range(len(channels))
        )

    def feature_maps(self, points: Tensor) -> Tensor:
        """Encodes every joint.

        Args:
            points: (B, T, H, J, coordinates), zeros where missing.

        Returns:
            (B, T', H, J, C).

        Raises:
            ValueError: a shape that does not fit.
        """
        check_features('points', points, 'B T H J coordinates', self.num_coordinates)
        if points.shape[2:4] != (self.num_hands, self.num_joints):
            raise ValueError(
                f'points must be of {self.num_hands} hands of {self.num_joints} joints, got {tuple(points.shape[2:4])}'
            )
        num_clips, num_frames = points.shape[:2]
        with without_autocast(points):
            x = self.input_norm(at_least_float32(points).reshape(num_clips * num_frames, -1))
            x = x.view(num_clips, num_frames, self.num_hands, self.num_joints, -1)
            x = x.permute(0, 2, 4, 1, 3).flatten(0, 1)  # (B H, coordinates, T, J)
            for block in self.blocks:
                x = block(x)
        return x.unflatten(0, (num_clips, self.num_hands)).permute(0, 3, 1, 4, 2)

    def forward(self, points: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Encodes sequences.

        Args:
            points: (B, T, H, J, coordinates), zeros where missing.
            frame_valid: (B, T) bool, False in padding, for `pool='valid'`; None means all.

        Returns:
            (B, C), the mean over frames, joints and hands.

        Raises:
            TypeError: the mask is not bool.
            ValueError: a shape that does not fit.
        """
        features = self.feature_maps(points).mean((2, 3))  # (B, T', C)
        check_mask('frame_valid', frame_valid, points.shape[:2], 'B T')
        if self.pool == 'all' or frame_valid is None:
            return features.mean(1)
        return mean_over_frames(features, frame_valid[:, :: 2 ** (len(self.blocks) - 1)])
