"""The networks of Deformer as functions of tensors, for `Estimator.network_parts`.

Legend: B clips, T frames, F frames one by one, C channels, J = 21 joints, D = 96 numbers of a pose.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from handpose.geometry import scale_boxes
from handpose.geometry.tracing import is_exporting
from handpose.hands import HandModel
from handpose.models.estimators.deformer_components import DeformerOutput
from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor
from handpose.models.estimators.video_parts import DECODE, ENCODE, FRAME_VALID, IMAGE
from handpose.models.layers import pose_to_rotmat
from handpose.models.layers.mirror import mirror_images

MOST_SAMPLES = 8  # of a cell of the grid in an exported network: enough for boxes of 1024 pixels and a grid of 32
_STRIDE = 4  # pixels of the image in a cell of the feature map
_BOX = 'x1 y1 x2 y2 around the joints of the hand, pixels'
_VISIBILITY = PartTensor('visibility', ('batch', 'time'), 'share of the hand that is seen, 0 to 1')


class DeformerNetwork(Protocol):
    """What the parts read of `Deformer`."""

    hand_model: HandModel
    shape_regression: nn.Linear
    mirror_left_hands: bool
    roi_size: int
    roi_sampling: int

    def encode(self, images: Tensor, boxes: Tensor, most_samples: int | None = None) -> tuple[Tensor, Tensor]:
        """See `Deformer.encode`."""

    @property
    def decode(self) -> Callable[..., DeformerOutput]:
        """See `Deformer.decode`."""

    def mirror_back(self, output: DeformerOutput, mirrored: Tensor) -> DeformerOutput:
        """See `Deformer.mirror_back`."""


def deformer_parts(
    network: DeformerNetwork, box_scale: float, reads_visibility: bool, rotation_space: str
) -> tuple[NetworkPart, ...]:
    """The parts of Deformer.

    Args:
        network: the estimator.
        box_scale: enlarges the boxes of the whole network.
        reads_visibility: the fusion is weighted by how much of each hand is seen.
        rotation_space: of poses.

    Returns:
        The whole network of one window, the encoder of single frames, and the decoder of windows.
    """
    channels = network.shape_regression.in_features
    extra = (_VISIBILITY,) if reads_visibility else ()

    def encode(images: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        # An exported graph has a fixed number of samples, of which each box uses as many as it needs.
        bound = (MOST_SAMPLES,) if is_exporting() else ()
        return tuple(found[0] for found in network.encode(images[None], boxes[None], *bound))

    def decode(
        features: Tensor, joints_2d: Tensor, frame_valid: Tensor | None, visibility: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        output = network.decode(features, joints_2d, frame_valid, visibility)
        return output.pose, output.shape, output.votes.diagonal(dim1=1, dim2=2)

    def whole(
        images: Tensor,
        boxes: Tensor,
        hand_side: Tensor,
        frame_valid: Tensor | None,
        visibility: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        regions, mirrored = scale_boxes(boxes, box_scale), hand_side == 0
        seen, seen_regions = images, regions
        if network.mirror_left_hands:
            seen, seen_regions = mirror_images(images, regions, mirrored)
        bound = (MOST_SAMPLES,) if is_exporting() else ()
        found = network.decode(*network.encode(seen, seen_regions, *bound), frame_valid, visibility)
        return _clip_of(network, network.mirror_back(found, mirrored), regions, hand_side, rotation_space)

    images = PartTensor('images', ('frames', 3, 'height', 'width'), IMAGE, torch.uint8, example=(0.0, 255.0))
    boxes = PartTensor('boxes', ('frames', 4), f'{_BOX}, enlarged', example=(0.0, 64.0), ascending=True)
    window = (*_features(channels, 'batch', 'time'), FRAME_VALID, *extra)
    return (
        NetworkPart(
            WHOLE,
            whole,
            (*_clip_tensors(), FRAME_VALID, *extra),
            _CLIP_OUTPUTS,
            usual=_USUAL,
            notes=_largest_box(network, box_scale),
        ),
        NetworkPart(
            ENCODE,
            encode,
            (images, boxes),
            _features(channels, 'frames'),
            usual=_USUAL,
            notes=_largest_box(network, 1.0),
        ),
        NetworkPart(DECODE, decode, window, _WINDOW_OUTPUTS),
    )


def _largest_box(network: DeformerNetwork, box_scale: float) -> dict[str, float]:
    """Pixels of the largest box that an exported network samples as finely as torch."""
    return {} if network.roi_sampling != -1 else {'largest_box': MOST_SAMPLES * network.roi_size * _STRIDE / box_scale}


def _clip_of(
    network: DeformerNetwork, output: DeformerOutput, regions: Tensor, hand_side: Tensor, rotation_space: str
) -> tuple[Tensor, ...]:
    """What users want of a window in boxes (B, T, 4)."""
    rotations = pose_to_rotmat(output.pose, rotation_space)  # (B, T, 16, 3, 3)
    shape = output.shape[:, None].expand(-1, regions.shape[1], -1)
    sides = hand_side[:, None].expand(-1, regions.shape[1])
    mesh = network.hand_model(rotations, shape, -network.hand_model.rest_wrist(shape, sides), sides)
    corner, size = regions[..., None, :2], regions[..., None, 2:] - regions[..., None, :2]
    own_votes = output.votes.diagonal(dim1=1, dim2=2)
    return mesh.joints, rotations, output.shape, corner + output.joints_2d * size, own_votes


def _clip_tensors() -> tuple[PartTensor, ...]:
    return (
        PartTensor('images', ('batch', 'time', 3, 'height', 'width'), IMAGE, torch.uint8, example=(0.0, 255.0)),
        PartTensor('boxes', ('batch', 'time', 4), _BOX, example=(0.0, 64.0), ascending=True),
        PartTensor('hand_side', ('batch',), '0 left, 1 right', torch.int64, example=(0.0, 1.99)),
    )


def _features(channels: int, *leading: str) -> tuple[PartTensor, ...]:
    """What the encoder gives and the decoder takes."""
    return (
        PartTensor('features', (*leading, channels), 'of each frame'),
        PartTensor('joints_2d', (*leading, 21, 2), '0 to 1 of the enlarged box'),
    )


_USUAL = {'height': 64, 'width': 96}
_CLIP_OUTPUTS = (
    PartTensor('joints', ('batch', 'time', 21, 3), 'metres, relative to the wrist'),
    PartTensor('hand_rotations', ('batch', 'time', 16, 3, 3), "of the hand model, in MANO's order"),
    PartTensor('hand_shape', ('batch', 10), 'of the hand model'),
    PartTensor('joints_2d', ('batch', 'time', 21, 2), 'pixels of the images'),
    PartTensor('frame_confidence', ('batch', 'time'), 'weight of each frame in its own result'),
)
_WINDOW_OUTPUTS = (
    PartTensor('pose', ('batch', 'time', 96), 'rotations of the hand model, fused over the frames'),
    PartTensor('hand_shape', ('batch', 10), 'of the hand model'),
    PartTensor('frame_confidence', ('batch', 'time'), 'weight of each frame in its own result'),
)
