"""Joints as image position and depth, and from there to metres (HTT, Eq. 1).

Legend: H hands, J = 21 joints, C channels; leading axes are written `...`.
"""

from typing import NamedTuple

from torch import Tensor, nn

from handpose.geometry import unproject_points
from handpose.models.layers.mlp import MLP
from handpose.models.layers.precision import without_autocast
from handpose.registry import MODELS

NUM_JOINTS = 21


class Pose25D(NamedTuple):
    """Output of `Pose25DHead`, float32.

    raw (..., H, J, 3) without unit, uv (..., H, J, 2) pixels, depth (..., H, J) metres.
    """

    raw: Tensor
    uv: Tensor
    depth: Tensor


@MODELS.register_module()
class Pose25DHead(nn.Module):
    """Regresses the joints of one or two hands in a frame; `lift` takes them to camera space.

    A joint's raw numbers (a, b, c) mean u = pixel_scale a + w / 2, v = pixel_scale b + h / 2 and
    z = focal length * depth_scale * c + depth_offset, so that an untrained network starts in the centre of the image.

    Args:
        channels: C.
        num_hands: H; of two hands, the left one comes first.
        image_size: (w, h), pixels.
        hidden_channels: sizes of the hidden layers (leaky ReLU after each); None means (C, C), the paper's.
        pixel_scale: pixels.
        depth_scale: metres per pixel of focal length.
        depth_offset: metres.
        shared_focal: lifts with the horizontal focal length in both directions and without skew, as the published
            code does, instead of with the whole camera.

    Raises:
        ValueError: num_hands is neither 1 nor 2.
    """

    def __init__(
        self,
        channels: int = 512,
        num_hands: int = 2,
        image_size: tuple[int, int] = (480, 270),
        hidden_channels: tuple[int, ...] | None = None,
        pixel_scale: float = 100.0,
        depth_scale: float = 1e-4,
        depth_offset: float = 0.4,
        shared_focal: bool = False,
    ) -> None:
        super().__init__()
        if num_hands not in (1, 2):
            raise ValueError(f'num_hands must be 1 or 2, got {num_hands}')
        hidden = (channels, channels) if hidden_channels is None else tuple(hidden_channels)
        self.num_hands, self.image_size = num_hands, tuple(image_size)
        self.pixel_scale, self.depth_scale, self.depth_offset = pixel_scale, depth_scale, depth_offset
        self.shared_focal = shared_focal
        self.mlp = MLP(channels, (*hidden, num_hands * NUM_JOINTS * 3), 'leaky_relu')

    def forward(self, features: Tensor, intrinsics: Tensor) -> Pose25D:
        """Regresses image positions and depths.

        Args:
            features: (..., C).
            intrinsics: (..., 3, 3), of the image as the network sees it.

        Returns:
            raw (..., H, J, 3), uv (..., H, J, 2) pixels, depth (..., H, J) metres.
        """
        return self.decode(self.regress(features), intrinsics)

    def regress(self, features: Tensor) -> Tensor:
        """Regresses the raw numbers, which do not depend on the camera.

        Args:
            features: (..., C).

        Returns:
            (..., H, J, 3), without unit.
        """
        with without_autocast(features):  # half precision would round positions to pixels
            return self.mlp(features.to(next(self.mlp.parameters()).dtype)).unflatten(
                -1, (self.num_hands, NUM_JOINTS, 3)
            )

    def decode(self, raw: Tensor, intrinsics: Tensor) -> Pose25D:
        """Gives raw numbers their units.

        Args:
            raw: (..., H, J, 3), from `regress`.
            intrinsics: (..., 3, 3), of the image as the network sees it.

        Returns:
            raw as it is, uv (..., H, J, 2) pixels, depth (..., H, J) metres.
        """
        with without_autocast(raw):
            uv = self.pixel_scale * raw[..., :2] + raw.new_tensor(self.image_size) / 2
            focal = intrinsics[..., 0, 0].to(raw.dtype)[..., None, None]
            depth = focal * self.depth_scale * raw[..., 2] + self.depth_offset
        return Pose25D(raw, uv, depth)

    def lift(self, uv: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
        """Lifts image positions to camera space.

        Args:
            uv: (..., H, J, 2), pixels.
            depth: (..., H, J), metres.
            intrinsics: (..., 3, 3), of the image as the network sees it.

        Returns:
            (..., H, J, 3), metres, in the camera frame.
        """
        if self.shared_focal:
            intrinsics = one_focal_length(intrinsics)
        with without_autocast(uv):
            return unproject_points(uv, depth, intrinsics[..., None, :, :])


def one_focal_length(intrinsics: Tensor) -> Tensor:
    """Intrinsics with the horizontal focal length in both directions, and without skew.

    Args:
        intrinsics: (..., 3, 3).

    Returns:
        (..., 3, 3), a copy.
    """
    camera = intrinsics.clone()
    camera[..., 1, 1] = intrinsics[..., 0, 0]
    camera[..., 0, 1] = camera[..., 1, 0] = 0
    return camera
