"""The image estimator F of G-HTT: hands and object of single images (Wen et al., arXiv 2311.17366, section 3.4).

Legend: N images, B clips, T frames, h w image size, C image feature, H hands, J = 21 joints, E = 512 numbers of a text
feature, O objects, D = C + 3 H J + E.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from handpose.models.estimators.action_targets import (
    action_target,
    predicted_hands,
    single_view_inputs,
    valid_frames,
)
from handpose.models.estimators.base import FRAMES_AT_ONCE, EncodedFrames, Gives, Reads, TrainingStep, VideoEstimator
from handpose.models.estimators.htt_components import FeatureBackbone
from handpose.models.estimators.label_text import check_label_text, label_text, read_label_text, with_names
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.estimators.video_parts import ENCODE, frame_parts
from handpose.models.heads import Pose25D
from handpose.models.losses.contrastive_action import cosine_logits
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


class FrameHandObjectOutput(NamedTuple):
    """What one forward pass gives; leading axes are those of the images."""

    joints: Tensor  # (..., H, J, 3), metres, camera
    uv: Tensor  # (..., H, J, 2), pixels
    depth: Tensor  # (..., H, J), metres
    object_features: Tensor  # (..., E), the paper's o
    object_logits: Tensor  # (..., O), cosine similarities to the text features, divided by tau


class FramePoseHead(Protocol):
    """The hands of an image as numbers that do not depend on the camera, and with it as positions and depths.

    Attributes:
        num_hands: H.
        image_size: (width, height) of the images, pixels.
    """

    num_hands: int
    image_size: tuple[int, int]

    def regress(self, features: Tensor) -> Tensor:
        """(..., C) -> raw numbers (..., H, J, 3)."""

    def decode(self, raw: Tensor, intrinsics: Tensor) -> Pose25D:
        """Raw numbers, (..., 3, 3) -> uv (..., H, J, 2) pixels, depth (..., H, J) metres."""

    def lift(self, uv: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
        """To joints in camera space: (..., H, J, 3), metres."""


@MODELS.register_module()
class FrameHandObject(VideoEstimator):
    """Estimates both hands and the object in each image alone: a ResNet-18 with two heads.

    The object is a feature that is comparable with the text feature of its name, so that names the network was not
    trained with can be compared too. The paper states the backbone and what the heads give, and leaves the rest to its
    supplement. Choices made here:

    - the image is the whole image, as for HTT, not a crop of a hand;
    - the hands are 2.5D joints, by HTT's head and with HTT's loss (its Eq. 2);
    - the object head is an MLP, trained with the terms that G-HTT has for the action (its Eq. 4 and 5): the cross
      entropy of cosine similarities over all objects, divided by tau, and L1;
    - both hands are predicted in every image, and an object too: neither has an output for its absence.

    The row of a frame in `EncodedFrames.features` is all that it says of an image: the image feature (C), the raw
    numbers of the hands (3 H J), which do not depend on the camera, and the object feature (E). `handpose
    extract-features` stores these rows, on which HTT is trained as the paper's baseline (section 4.3).

    Args:
        backbone: config of the image backbone: one feature an image, e.g. `PooledResNet`.
        pose_head: config of `Pose25DHead`.
        object_head: config of a module (N, C) -> (N, E), e.g. `MLP`.
        object_names: of the O classes, as the dataset numbers them.
        text_features: a table of text features (`handpose text-features`) that has these names; `init_weights` reads
            it when training starts, and weights contain its rows. None means `TextFeatures.compositional`.
        tau: temperature of the cosine similarities (the paper's of actions: 0.07).
        loss: config of `FrameHandObjectLoss`, or None: a network that only predicts.
        normalizer: config of `ImageNormalizer`; default (x / 255 - 0.5), as HTT.

    Raises:
        ValueError: a tau that is not positive.
        TextFeaturesError: `object_names` from which no text features can be made, see `TextFeatures.compositional`.
    """

    text_features: Tensor

    def __init__(
        self,
        backbone: dict,
        pose_head: dict,
        object_head: dict,
        object_names: Sequence[str],
        text_features: str | Path | None = None,
        tau: float = 0.07,
        loss: dict | None = None,
        normalizer: dict | None = None,
    ) -> None:
        super().__init__()
        if not tau > 0:
            raise ValueError(f'tau must be above 0, got {tau}')
        self.normalizer = MODELS.build(
            normalizer or {'type': 'ImageNormalizer', 'mean': (127.5,) * 3, 'std': (255.0,) * 3}
        )
        self.backbone: FeatureBackbone = MODELS.build(backbone)
        self.pose_head: FramePoseHead = MODELS.build(pose_head)
        self.object_head: nn.Module = MODELS.build(object_head)
        self.loss_function: nn.Module | None = None if loss is None else MODELS.build(loss)
        self.tau, self.text_features_file = tau, text_features
        self.object_names, text = label_text(list(object_names), text_features)
        self.register_buffer('text_features', text)

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        return Reads(
            fields=('images', 'intrinsics'),
            num_frames=1,
            num_hands=self.pose_head.num_hands,
            num_cameras=1,
            image_size=self.pose_head.image_size,
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame='camera', classes={'objects': len(self.object_names)})

    def init_weights(self) -> None:
        """Reads the table of text features, and starts the backbone from its pretrained weights, if it names any.

        Raises:
            TextFeaturesError: the table cannot be read, or lacks an object; names the nearest one.
        """
        self.backbone.init_weights()
        if self.text_features_file is not None:
            read_label_text(self.text_features, self.object_names, self.text_features_file)

    def published_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Estimator.published_config`: weights contain the text features."""
        return with_names(config, {'object_names': self.object_names})

    def forward(self, images: Tensor, intrinsics: Tensor) -> FrameHandObjectOutput:
        """Runs the whole network.

        Args:
            images: (N, 3, h, w) RGB in [0, 255].
            intrinsics: (N, 3, 3) of these images.

        Returns:
            `FrameHandObjectOutput`.
        """
        return self.decode(self.encode(images), intrinsics)

    def encode(self, images: Tensor) -> Tensor:
        """Computes all that does not depend on the camera: (N, 3, h, w) -> (N, D)."""
        features = self.backbone(self.normalizer(images))  # (N, C)
        raw = self.pose_head.regress(features)  # (N, H, J, 3)
        return torch.cat([features.float(), raw.flatten(1).float(), self.object_head(features).float()], -1)

    def decode(self, features: Tensor, intrinsics: Tensor) -> FrameHandObjectOutput:
        """From (..., D) of `encode` and intrinsics (..., 3, 3) to hands and object."""
        hands, size = self.pose_head.num_hands, self.text_features.shape[-1]
        raw, object_features = features[..., -size - 63 * hands :].split([63 * hands, size], -1)
        pose = self.pose_head.decode(raw.unflatten(-1, (hands, 21, 3)), intrinsics)
        return FrameHandObjectOutput(
            joints=self.pose_head.lift(pose.uv, pose.depth, intrinsics),
            uv=pose.uv,
            depth=pose.depth,
            object_features=object_features,
            object_logits=cosine_logits(object_features, self.text_features, self.tau),
        )

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        hands, size = self.pose_head.num_hands, self.pose_head.image_size
        return frame_parts(self.encode, self.decode, size, hands, *self.text_features.shape)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a batch (B, T, K=1, H, ...) of frames; see `Estimator.loss`."""
        if self.loss_function is None:
            raise ValueError(
                'this FrameHandObject was built without a loss; give its config one, e.g. '
                'dict(type="FrameHandObjectLoss")'
            )
        check_label_text(self.text_features, self.text_features_file)
        batch = fill_masked_values(batch)
        images, intrinsics = self._inputs(batch)
        target = action_target(batch, len(self.object_names), None)
        # Padding does not enter the statistics of batch norm.
        output = self.decode(_put_back(self.encode(images[target.frame_valid]), target.frame_valid), intrinsics)
        return self.loss_function(output, target, self.text_features, step)

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts each frame of clips of any number of frames.

        Args:
            batch: (B, T, K=1, ...).
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the 'camera' frame: joints_3d, joints_2d, object_scores (probabilities of `object_names`) and
            object_features of every frame.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        images, intrinsics = self._inputs(batch)
        valid = valid_frames(batch)
        output = self.decode(_put_back(self.encode_frames(images[valid]).features, valid), intrinsics)
        return _to_sequence(output, valid, batch.hand_side).replace(meta=batch.meta, timestamps=batch.timestamps)

    @torch.no_grad()
    def encode_frames(
        self, images: Tensor, boxes: Tensor | None = None, hand_side: Tensor | None = None
    ) -> EncodedFrames:
        """Encodes the frames of a video; see `VideoEstimator.encode_frames`. Ignores boxes and hand_side."""
        return EncodedFrames(torch.cat([self.run_part(ENCODE, part)[0] for part in images.split(FRAMES_AT_ONCE)]))

    @torch.no_grad()
    def decode_track(
        self,
        encoded: EncodedFrames,
        *,
        frame_valid: Tensor | None = None,
        hand_side: Tensor | None = None,
        intrinsics: Tensor | None = None,
        occlusion: Tensor | None = None,
    ) -> HandSequence:
        """Predicts a whole video; see `VideoEstimator.decode_track`. Needs intrinsics alone."""
        if intrinsics is None:
            raise ValueError('FrameHandObject needs the intrinsics (T, 3, 3) of the images that were encoded')
        valid = intrinsics.new_ones(len(intrinsics), dtype=torch.bool) if frame_valid is None else frame_valid
        output = self.decode(encoded.features[None], intrinsics[None])
        batch = _to_sequence(output, valid[None], None if hand_side is None else hand_side[None])
        return batch.replace(meta=[{}]).unstack()[0]

    def _inputs(self, batch: HandSequence) -> tuple[Tensor, Tensor]:
        """Images (B, T, 3, h, w) and intrinsics (B, T, 3, 3)."""
        head = self.pose_head
        return single_view_inputs(batch, 'images', head.num_hands, head.image_size, 'FrameHandObject')


def _put_back(rows: Tensor, valid: Tensor) -> Tensor:
    """The rows (N, D) of the frames that are `valid` (B, T), in their places: (B, T, D), zeros elsewhere."""
    return rows.new_zeros(*valid.shape, rows.shape[-1]).index_put((valid,), rows)


def _to_sequence(output: FrameHandObjectOutput, valid: Tensor, side: Tensor | None) -> HandSequence:
    """A batch of the output (B, T, ...)."""
    hands = predicted_hands(output.joints, output.uv, valid, side)
    # What is no frame has no object either.
    features = torch.where(valid[..., None], output.object_features, 0.0)
    return hands.replace(object_scores=output.object_logits.float().softmax(-1), object_features=features)
