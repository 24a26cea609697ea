"""The networks of HTT and Deformer as functions of tensors, for `Estimator.network_parts`.

Legend: B clips, T frames, F frames one by one, h w image size, C channels, J = 21 joints, H hands.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor

ENCODE, DECODE = 'encode', 'decode'
IMAGE = 'RGB, 0 to 255; the file normalizes it'
FRAME_VALID = PartTensor(
    'frame_valid', ('batch', 'time'), 'false where a frame is padding or missing', torch.bool, default=True
)


class HandsAndObject(Protocol):
    """What the parts read of the output of both systems."""

    @property
    def joints(self) -> Tensor:
        """See the output's own field."""

    @property
    def uv(self) -> Tensor:
        """See the output's own field."""

    @property
    def object_logits(self) -> Tensor:
        """See the output's own field."""


class HTTClip(HandsAndObject, Protocol):
    """What the parts of HTT read of `HTTOutput`."""

    @property
    def action_logits(self) -> Tensor:
        """See the output's own field."""


def htt_parts(
    encode: Callable[[Tensor], Tensor] | None,
    decode: Callable[[Tensor, Tensor, Tensor | None], HTTClip],
    image_size: tuple[int, int],
    num_hands: int,
    num_objects: int,
    num_actions: int,
    channels: int,
) -> tuple[NetworkPart, ...]:
    """The parts of HTT.

    Args:
        encode: (B, T, 3, h, w) -> (B, T, C); None for a network on the features of another one.
        decode: `HTT.decode`.
        image_size: (width, height), pixels.
        num_hands: H.
        num_objects: O.
        num_actions: A.
        channels: C.

    Returns:
        The whole network, the encoder and the decoder; the decoder alone without an encoder.
    """
    width, height = image_size
    cameras = PartTensor('intrinsics', ('batch', 'time', 3, 3), 'of the images, pixels', example=(100.0, 101.0))
    outputs = (
        PartTensor('joints', ('batch', 'time', num_hands, 21, 3), 'metres, camera frame'),
        PartTensor('joints_2d', ('batch', 'time', num_hands, 21, 2), 'pixels of the images'),
        PartTensor('object_scores', ('batch', 'time', num_objects), 'probabilities of the classes of objects'),
        PartTensor('action_scores', ('batch', num_actions), 'probabilities of the classes of actions, of the clip'),
    )

    def decoded(features: Tensor, intrinsics: Tensor, frame_valid: Tensor | None) -> tuple[Tensor, ...]:
        output = decode(features, intrinsics, frame_valid)
        scores = (logits.float().softmax(-1) for logits in (output.object_logits, output.action_logits))
        return output.joints, output.uv, *scores

    features = PartTensor('features', ('batch', 'time', channels), 'what `encode` gives of the frames of a clip')
    inside = (features, cameras, FRAME_VALID)
    if encode is None:
        return (NetworkPart(WHOLE, decoded, inside, outputs), NetworkPart(DECODE, decoded, inside, outputs))

    def encoded(images: Tensor) -> tuple[Tensor, ...]:
        return (encode(images[None])[0],)

    def whole(images: Tensor, intrinsics: Tensor, frame_valid: Tensor | None) -> tuple[Tensor, ...]:
        seen = encode(images)
        if frame_valid is not None:
            seen = torch.where(frame_valid[..., None], seen, 0)
        return decoded(seen, intrinsics, frame_valid)

    def images(*leading: str) -> PartTensor:
        return PartTensor('images', (*leading, 3, height, width), IMAGE, torch.uint8, example=(0.0, 255.0))

    return (
        NetworkPart(WHOLE, whole, (images('batch', 'time'), cameras, FRAME_VALID), outputs),
        NetworkPart(
            ENCODE, encoded, (images('frames'),), (PartTensor('features', ('frames', channels), 'of each frame'),)
        ),
        NetworkPart(DECODE, decoded, inside, outputs),
    )


class FrameOutput(HandsAndObject, Protocol):
    """What the parts read of `FrameHandObjectOutput`."""

    @property
    def object_features(self) -> Tensor:
        """See the output's own field."""


def frame_parts(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor, Tensor], FrameOutput],
    image_size: tuple[int, int],
    num_hands: int,
    num_objects: int,
    text_channels: int,
) -> tuple[NetworkPart, ...]:
    """The parts of FrameHandObject.

    Args:
        encode: (F, 3, h, w) -> (F, D).
        decode: (F, D) and intrinsics (F, 3, 3) -> hands and object.
        image_size: (width, height), pixels.
        num_hands: H.
        num_objects: O.
        text_channels: E.

    Returns:
        The whole network and the encoder; the decoder has no weights.
    """
    width, height = image_size
    images = PartTensor('images', ('frames', 3, height, width), IMAGE, torch.uint8, example=(0.0, 255.0))
    cameras = PartTensor('intrinsics', ('frames', 3, 3), 'of the images, pixels', example=(100.0, 101.0))

    def whole(seen: Tensor, intrinsics: Tensor) -> tuple[Tensor, ...]:
        output = decode(encode(seen), intrinsics)
        return output.joints, output.uv, output.object_logits.float().softmax(-1), output.object_features

    def encoded(seen: Tensor) -> tuple[Tensor, ...]:
        return (encode(seen),)

    outputs = (
        PartTensor('joints', ('frames', num_hands, 21, 3), 'metres, camera frame'),
        PartTensor('joints_2d', ('frames', num_hands, 21, 2), 'pixels of the images'),
        PartTensor('object_scores', ('frames', num_objects), 'probabilities of the classes of objects'),
        PartTensor('object_features', ('frames', text_channels), 'comparable with the text features of names'),
    )
    features = (PartTensor('features', ('frames', 'channels'), 'all that does not depend on the camera'),)
    return (NetworkPart(WHOLE, whole, (images, cameras), outputs), NetworkPart(ENCODE, encoded, (images,), features))
