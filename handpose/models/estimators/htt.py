"""HTT: hierarchical temporal transformer for hand pose and action in egocentric video (Wen et al., CVPR 2023).

Legend: B clips, T frames, h w image size, C channels, H hands, J = 21 joints, O objects, A actions, N clips of a video.
Choices where the paper and its published code differ are listed in docs/systems/htt.md.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.models.estimators.action_targets import (
    action_target,
    predicted_hands,
    single_view_inputs,
    valid_frames,
)
from handpose.models.estimators.base import FRAMES_AT_ONCE, EncodedFrames, Gives, Reads, TrainingStep, VideoEstimator
from handpose.models.estimators.htt_components import (
    ActionClassifier,
    FeatureBackbone,
    FrameTokenizer,
    ObjectClassifier,
    PoseBlock,
    PoseHead,
)
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.estimators.video_parts import DECODE, ENCODE, htt_parts
from handpose.models.layers.checks import check_option
from handpose.models.losses.targets import ActionTarget
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError, fill_masked_values, interleaved_clips

VOTES = ('sum', 'majority')
TIE_BREAK = 1e-3  # what probabilities count beside votes


class HTTOutput(NamedTuple):
    """What one forward pass gives. Attention is that of the last layers, None unless it was asked for."""

    joints: Tensor  # (B, T, H, J, 3), metres, camera
    uv: Tensor  # (B, T, H, J, 2), pixels
    depth: Tensor  # (B, T, H, J), metres
    object_logits: Tensor  # (B, T, O)
    action_logits: Tensor  # (B, A)
    pose_attention: Tensor | None = None  # (B, m windows, heads, t, t), of block P
    action_attention: Tensor | None = None  # (B, heads, T), from the action token to the frames


class _Video(NamedTuple):
    """What the clips of one video give together."""

    joints: Tensor  # (T, H, J, 3), metres, camera
    uv: Tensor  # (T, H, J, 2), pixels
    objects: Tensor  # (T, O), probabilities
    action: Tensor  # (A,), sums to 1


@MODELS.register_module()
class HTT(VideoEstimator):
    """Estimates the hands in every frame of a clip, the object in them, and the clip's action (paper Fig. 2).

    Args:
        backbone: config of the image backbone: one feature an image, e.g. `PooledResNet`. None means a network that
            stands on the features of another backbone. Its batches bring `features` (T, K = 1, C) instead of images
            (`LoadFeatures`), and `decode` takes the place of `forward`.
        pose_block: config of `WindowedTransformer`, the paper's P. None or a window of 1: no such block, pose and
            object come straight from the image feature (Table 4, t = 1).
        pose_head: config of `Pose25DHead`.
        object_head: config of `ObjectHead`.
        tokenizer: config of `ActionTokenizer`: what of each frame enters block A.
        action_head: config of `ActionHead`, the paper's A.
        loss: config of `HTTLoss`, or None: a network that only predicts.
        normalizer: config of `ImageNormalizer`; default the published (x / 255 - 0.5).
        cascaded: False sets P and A side by side: A sees the image features alone, without a tokenizer (Table 5).
        num_frames: T of a clip that a video is cut into for testing.
        frame_step: frames of the video from one frame of such a clip to the next (published: 2, at 30 per second).
        frame_rate: frames per second of the videos that it is trained on, to which `frame_step` refers; videos of
            another rate are resampled by `ActionRecognizer`.
        feature_projection: config of a module from the features of a frame to those of the blocks, (..., C') to
            (..., C), such as `MLP`, or None where they have one size. With it, HTT stands on all that
            `FrameHandObject` says of an image (G-HTT's baseline: Wen et al., arXiv 2311.17366, section 4.3).
        vote: how the clips of a video decide on its action: 'sum' of their probabilities (the published code), or
            'majority' of their votes (the paper's word; probabilities break ties).

    Raises:
        ValueError: an unknown vote, num_frames or frame_step below 1, or a frame_rate that is not positive.
    """

    def __init__(
        self,
        backbone: dict | None,
        pose_block: dict | None,
        pose_head: dict,
        object_head: dict,
        tokenizer: dict | None,
        action_head: dict,
        loss: dict | None = None,
        normalizer: dict | None = None,
        cascaded: bool = True,
        num_frames: int = 128,
        frame_step: int = 2,
        vote: str = 'sum',
        frame_rate: float = 30.0,
        feature_projection: dict | None = None,
    ) -> None:
        super().__init__()
        check_option('vote', vote, VOTES)
        if min(num_frames, frame_step) < 1:
            raise ValueError(f'num_frames and frame_step must be at least 1, got {num_frames} and {frame_step}')
        if not frame_rate > 0:
            raise ValueError(f'frame_rate must be above 0, got {frame_rate}')
        if cascaded and tokenizer is None:
            raise ValueError('a cascaded HTT needs a tokenizer; give one, or cascaded=False')
        windowed = pose_block is not None and pose_block.get('window', 0) != 1
        self.normalizer = MODELS.build(
            normalizer or {'type': 'ImageNormalizer', 'mean': (127.5,) * 3, 'std': (255.0,) * 3}
        )
        self.backbone: FeatureBackbone | None = None if backbone is None else MODELS.build(backbone)
        self.pose_block: PoseBlock | None = MODELS.build(pose_block) if windowed else None
        self.pose_head: PoseHead = MODELS.build(pose_head)
        self.object_head: ObjectClassifier = MODELS.build(object_head)
        self.tokenizer: FrameTokenizer | None = MODELS.build(tokenizer) if cascaded else None
        self.action_head: ActionClassifier = MODELS.build(action_head)
        self.loss_function: nn.Module | None = None if loss is None else MODELS.build(loss)
        projection = None if feature_projection is None else MODELS.build(feature_projection)
        self.feature_projection: nn.Module | None = projection
        self.feature_channels = (feature_projection or pose_head).get('in_channels', pose_head.get('channels', 512))
        self.num_frames, self.frame_step, self.vote, self.frame_rate = num_frames, frame_step, vote, frame_rate

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        window = 1 if self.pose_block is None else self.pose_block.window or self.num_frames
        sees_images = self.backbone is not None
        return Reads(
            fields=('images' if sees_images else 'features', 'intrinsics'),
            num_frames=self.num_frames,
            frame_step=self.frame_step,
            frame_rate=self.frame_rate,
            num_hands=self.pose_head.num_hands,
            num_cameras=1,
            image_size=self.pose_head.image_size,
            image_mean=tuple(self.normalizer.mean.flatten().tolist()),
            image_std=tuple(self.normalizer.std.flatten().tolist()),
            min_frames=window,
        )

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        classes = {'objects': self.object_head.num_objects, 'actions': self.action_head.num_actions}
        return Gives(frame='camera', classes=classes)

    def init_weights(self) -> None:
        """Starts the backbone from its pretrained weights, if its config names any."""
        if self.backbone is not None:
            self.backbone.init_weights()

    def forward(
        self, images: Tensor, intrinsics: Tensor, frame_valid: Tensor | None = None, return_attention: bool = False
    ) -> HTTOutput:
        """Runs the whole network.

        Args:
            images: (B, T, 3, h, w) RGB in [0, 255].
            intrinsics: (B, T, 3, 3) of these images.
            frame_valid: (B, T) bool, False where a frame is padding or missing; None = all true.
            return_attention: also gives the attention weights, which costs a little.

        Returns:
            `HTTOutput`.

        Raises:
            ValueError: the network was built without a backbone.
        """
        return self.decode(self.encode(images, frame_valid), intrinsics, frame_valid, return_attention)

    def encode(self, images: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Encodes each frame alone: (B, T, 3, h, w) -> features (B, T, C), zeros where `frame_valid` (B, T) is False.

        The backbone does not see padding: the clips of short videos are often more padding than video.
        """
        if self.backbone is None:
            raise ValueError('this HTT was built without a backbone and sees no images: give its features to decode()')
        if frame_valid is None:
            return self.backbone(self.normalizer(images.flatten(0, 1))).unflatten(0, images.shape[:2])
        seen = self.backbone(self.normalizer(images[frame_valid]))
        return seen.new_zeros(*frame_valid.shape, seen.shape[-1]).index_put((frame_valid,), seen)

    def decode(
        self, features: Tensor, intrinsics: Tensor, frame_valid: Tensor | None = None, return_attention: bool = False
    ) -> HTTOutput:
        """Reasons over time: features (B, T, C) of clips -> `HTTOutput`. Other arguments as in `forward`."""
        if self.feature_projection is not None:
            features = self.feature_projection(features)
        attended, pose_attention = features, None
        if self.pose_block is not None:
            attended, pose_attention = self.pose_block(features, frame_valid, return_attention)  # (B, T, C)
        pose = self.pose_head(attended, intrinsics)
        object_logits = self.object_head(attended)  # (B, T, O)
        tokens = features
        if self.tokenizer is not None:
            probabilities = object_logits.float().softmax(-1)
            tokens = self.tokenizer(attended, pose.raw[..., :2], probabilities)  # (B, T, C)
        action_logits, action_attention = self.action_head(tokens, frame_valid, return_attention)  # (B, A)
        return HTTOutput(
            joints=self.pose_head.lift(pose.uv, pose.depth, intrinsics),
            uv=pose.uv,
            depth=pose.depth,
            object_logits=object_logits,
            action_logits=action_logits,
            pose_attention=pose_attention,
            action_attention=action_attention,
        )

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        encode = None if self.backbone is None else self.encode
        size = self.pose_head.image_size
        heads = self.pose_head.num_hands, self.object_head.num_objects, self.action_head.num_actions
        return htt_parts(encode, self.decode, size, *heads, self.feature_channels)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a batch (B, T, K=1, H, ...) of clips; see `Estimator.loss`."""
        if self.loss_function is None:
            raise ValueError('this HTT was built without a loss; give its config one, e.g. dict(type="HTTLoss")')
        batch = fill_masked_values(batch)
        seen, intrinsics = self._inputs(batch)
        valid = valid_frames(batch)
        features = seen if self.backbone is None else self.encode(seen, valid)
        return self.loss_function(self.decode(features, intrinsics, valid), self.targets_from(batch), step)

    def targets_from(self, batch: HandSequence) -> ActionTarget:
        """The targets of a batch (B, T, K=1, H, ...)."""
        return action_target(batch, self.object_head.num_objects, self.action_head.num_actions)

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts whole videos (paper Fig. 3): each frame is encoded once and belongs to one clip.

        Args:
            batch: (B, T, K=1, ...), T frames of any number, one after the other as they were recorded.
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the 'camera' frame: joints_3d, joints_2d and object_scores (probabilities) of every frame, and
            action_scores of the video, which sum to 1.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        seen, intrinsics = self._inputs(batch)
        valid, videos = valid_frames(batch), []
        for b in range(len(valid)):
            # Padding at the end is not encoded.
            length = int(valid[b].nonzero().max()) + 1 if valid[b].any() else len(valid[b])
            one = seen[b, :length]
            features = one if self.backbone is None else self.encode_frames(one).features
            videos.append(self._decode_clips(features, intrinsics[b], valid[b]))
        whole = _Video(*(torch.stack(column) for column in zip(*videos, strict=True)))
        return self._to_sequence(whole, valid, batch.hand_side).replace(meta=batch.meta, timestamps=batch.timestamps)

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
        """Predicts a whole video; see `VideoEstimator.decode_track`. Needs intrinsics alone.

        The features of padding at the end may be left out: the video has as many frames as `intrinsics`.
        """
        if intrinsics is None:
            raise ValueError('HTT needs the intrinsics (T, 3, 3) of the images that were encoded')
        valid = intrinsics.new_ones(len(intrinsics), dtype=torch.bool) if frame_valid is None else frame_valid
        video = self._decode_clips(encoded.features, intrinsics, valid)
        whole = _Video(*(part[None] for part in video))
        batch = self._to_sequence(whole, valid[None], None if hand_side is None else hand_side[None])
        return batch.replace(meta=[{}]).unstack()[0]

    @torch.no_grad()
    def frame_attention(
        self, encoded: EncodedFrames, intrinsics: Tensor, frame_valid: Tensor | None = None
    ) -> Tensor | None:
        """How the action token attends to each frame, the mean over heads and clips; see `VideoEstimator`."""
        valid = intrinsics.new_ones(len(intrinsics), dtype=torch.bool) if frame_valid is None else frame_valid
        index, present = self._clips(valid)
        output = self.decode(encoded.features[index], intrinsics[index], present & valid[index], return_attention=True)
        if output.action_attention is None:
            return None
        # Every clip has its share of the whole.
        return _per_frame(output.action_attention.float().mean(1) / len(index), index, present, len(valid))

    def _decode_clips(self, features: Tensor, intrinsics: Tensor, valid: Tensor) -> _Video:
        """Predicts one video of `valid` (T,) frames from features (T, C), (T, 3, 3)."""
        index, present = self._clips(valid)
        *frames, actions = self.run_part(DECODE, features[index], intrinsics[index], present & valid[index])
        joints, uv, objects = (_per_frame(part, index, present, len(valid)) for part in frames)
        return _Video(joints, uv, objects, vote_action(actions, self.vote))

    def _clips(self, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames make up the N clips of a video with `valid` (T,) frames: what is padding at its end is left out.

        A clip without any valid frame, as where many are missing in the middle, has no say.
        """
        mask = valid.cpu().numpy()
        if not mask.any():
            raise SequenceError('HTT was given a video without a valid frame; is frame_valid all False?')
        index, present = interleaved_clips(int(mask.nonzero()[0][-1]) + 1, self.num_frames, self.frame_step)
        kept = (present & mask[index]).any(1)
        return torch.as_tensor(index[kept], device=valid.device), torch.as_tensor(present[kept], device=valid.device)

    def _to_sequence(self, video: _Video, valid: Tensor, side: Tensor | None) -> HandSequence:
        """A batch of the predictions (B, T, ...) of videos, with frame_valid (B, T) and hand_side (B, H) or None."""
        hands = predicted_hands(video.joints, video.uv, valid, side)
        return hands.replace(object_scores=video.objects, action_scores=video.action)

    def _inputs(self, batch: HandSequence) -> tuple[Tensor, Tensor]:
        """Images (B, T, 3, h, w), or features (B, T, C) without a backbone, and intrinsics (B, T, 3, 3)."""
        field = 'features' if self.backbone is None else 'images'
        return single_view_inputs(batch, field, self.pose_head.num_hands, self.pose_head.image_size, 'HTT')


def _per_frame(values: Tensor, index: Tensor, present: Tensor, num_frames: int) -> Tensor:
    """Puts the values (N, T', ...) of clips in the places of their frames: (T, ...)."""
    whole = values.new_zeros(num_frames, *values.shape[2:])
    whole[index[present]] = values[present]
    return whole


def vote_action(probabilities: Tensor, vote: str) -> Tensor:
    """One answer (A,), which sums to 1, from the probabilities (N, A) of clips: see `HTT`."""
    mean = probabilities.mean(0)
    if vote == 'sum':
        return mean
    votes = torch.nn.functional.one_hot(probabilities.argmax(-1), len(mean)).to(mean.dtype).mean(0)
    return (votes + TIE_BREAK * mean) / (1 + TIE_BREAK)
