"""HTT: hierarchical temporal transformer for hand pose and action in egocentric video (Wen et al., CVPR 2023).

Legend: B clips, T frames, h w image size, C channels, H hands, J = 21 joints, O objects, A actions, N clips of a video.
Choices where the paper and its published code differ are listed in docs/htt.md.
"""

from typing import NamedTuple

import torch
from torch import nn

from handpose.models.estimators.htt_loss import valid_frames
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError, fill_masked_values, interleaved_clips, sample_name

VOTES = ('sum', 'majority')
TIE_BREAK = 1e-3  # what probabilities count beside votes
FRAMES_AT_ONCE = 32  # images that a prediction has in the backbone at the same time


class HTTOutput(NamedTuple):
    """What one forward pass gives. Attention is that of the last layers, None unless it was asked for."""

    joints: torch.Tensor  # (B, T, H, J, 3), metres, camera
    uv: torch.Tensor  # (B, T, H, J, 2), pixels
    depth: torch.Tensor  # (B, T, H, J), metres
    object_logits: torch.Tensor  # (B, T, O)
    action_logits: torch.Tensor  # (B, A)
    pose_attention: torch.Tensor | None = None  # (B, m windows, heads, t, t), of block P
    action_attention: torch.Tensor | None = None  # (B, heads, T), from the action token to the frames


class VideoOutput(NamedTuple):
    """What a whole video of T frames gives."""

    joints: torch.Tensor  # (T, H, J, 3), metres, camera
    uv: torch.Tensor  # (T, H, J, 2), pixels
    objects: torch.Tensor  # (T, O), probabilities
    action: torch.Tensor  # (A,), sums to 1
    attention: torch.Tensor | None = None  # (T,), how much the action token looks at each frame; the sum is below 1


@MODELS.register_module()
class HTT(nn.Module):
    """Estimates the hands in every frame of a clip, the object in them, and the clip's action (paper Fig. 2).

    Args:
        backbone: config of the image backbone: one feature an image, e.g. `PooledResNet`. None: batches bring
            `features` (T, K = 1, C) instead of images (`LoadFeatures`), and so do all arguments named images.
        pose_block: config of `WindowedTransformer`, the paper's P. None or a window of 1: no such block, pose and
            object come straight from the image feature (Table 4, t = 1).
        pose_head: config of `Pose25DHead`. object_head: config of `ObjectHead`.
        tokenizer: config of `ActionTokenizer`: what of each frame enters block A.
        action_head: config of `ActionHead`, the paper's A.
        loss: config of `HTTLoss`, or None: a network that only predicts.
        normalizer: config of `ImageNormalizer`; default the published (x / 255 - 0.5).
        cascaded: False sets P and A side by side: A sees the image features alone, without a tokenizer (Table 5).
        num_frames: T of a clip that a video is cut into for testing.
        spacing: frames of the video from one frame of such a clip to the next (published: 2, at 30 per second).
        frame_rate: frames per second of the videos that it is trained on, to which `spacing` refers; videos of another
            rate are resampled by `ActionRecognizer`.
        vote: how the clips of a video decide on its action: 'sum' of their probabilities (the published code), or
            'majority' of their votes (the paper's word; probabilities break ties).

    Raises:
        ValueError: an unknown vote, num_frames or spacing below 1, or a frame_rate that is not positive.
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
        spacing: int = 2,
        vote: str = 'sum',
        frame_rate: float = 30.0,
    ):
        super().__init__()
        if vote not in VOTES:
            raise ValueError(f'vote must be one of {VOTES}, got {vote!r}')
        if min(num_frames, spacing) < 1:
            raise ValueError(f'num_frames and spacing must be at least 1, got {num_frames} and {spacing}')
        if not frame_rate > 0:
            raise ValueError(f'frame_rate must be above 0, got {frame_rate}')
        if cascaded and tokenizer is None:
            raise ValueError('a cascaded HTT needs a tokenizer; give one, or cascaded=False')
        windowed = pose_block is not None and pose_block.get('window', 0) != 1
        self.normalizer = MODELS.build(
            normalizer or {'type': 'ImageNormalizer', 'mean': (127.5,) * 3, 'std': (255.0,) * 3}
        )
        self.backbone = None if backbone is None else MODELS.build(backbone)
        self.pose_block = MODELS.build(pose_block) if windowed else None
        self.pose_head = MODELS.build(pose_head)
        self.object_head = MODELS.build(object_head)
        self.tokenizer = MODELS.build(tokenizer) if cascaded else None
        self.action_head = MODELS.build(action_head)
        self.loss_function = None if loss is None else MODELS.build(loss)
        self.num_frames, self.spacing, self.vote, self.frame_rate = num_frames, spacing, vote, frame_rate

    def init_weights(self):
        """Starts the backbone from its pretrained weights, if its config names any."""
        if self.backbone is not None:
            self.backbone.init_weights()

    def forward(self, images, intrinsics, frame_valid=None, return_attention=False):
        """Runs the whole network.

        Args:
            images: (B, T, 3, h, w) RGB in [0, 255].
            intrinsics: (B, T, 3, 3) of these images.
            frame_valid: (B, T) bool, False where a frame is padding or missing; None = all true.
            return_attention: also gives the attention weights, which costs a little.

        Returns:
            `HTTOutput`.
        """
        return self.decode(self.encode(images, frame_valid), intrinsics, frame_valid, return_attention)

    def encode(self, images, frame_valid=None):
        """Sees each frame alone: (B, T, 3, h, w) -> features (B, T, C), zeros where `frame_valid` (B, T) is False.

        The backbone does not see padding: the clips of short videos are often more padding than video.
        """
        if self.backbone is None:
            return images
        if frame_valid is None:
            return self.backbone(self.normalizer(images.flatten(0, 1))).unflatten(0, images.shape[:2])
        seen = self.backbone(self.normalizer(images[frame_valid]))
        return seen.new_zeros(*frame_valid.shape, seen.shape[-1]).index_put((frame_valid,), seen)

    def decode(self, features, intrinsics, frame_valid=None, return_attention=False):
        """Reasons over time: features (B, T, C) of clips -> `HTTOutput`. Arguments as in `forward`."""
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

    def loss(self, batch):
        """Losses of a batch (B, T, K=1, H, ...) of clips: a dict of scalars to be summed."""
        if self.loss_function is None:
            raise ValueError('this HTT was built without a loss; give its config one, e.g. dict(type="HTTLoss")')
        batch = fill_masked_values(batch)
        return self.loss_function(self(*self._inputs(batch)), batch)

    @torch.no_grad()
    def predict(self, batch):
        """Predicts whole videos (paper Fig. 3): each frame is encoded once and belongs to one clip.

        Args:
            batch: (B, T, K=1, ...), T frames of any number, one after the other as they were recorded.

        Returns:
            `HandSequence` batch in the 'camera' frame: joints_3d, joints_2d and object_scores (probabilities) of every
            frame, and action_scores of the video, which sum to 1.
        """
        batch, videos = fill_masked_values(batch), []
        for images, intrinsics, valid in zip(*self._inputs(batch), strict=True):
            seen = images[: int(valid.nonzero().max()) + 1] if valid.any() else images  # not the padding at the end
            videos.append(self.decode_video(self.encode_video(seen), intrinsics, valid))
        joints, uv, objects, action, _ = zip(*videos, strict=True)
        parts = (torch.stack(part) for part in (joints, uv, objects, action))
        return self._to_sequence(batch, valid_frames(batch), *parts)

    @torch.no_grad()
    def encode_video(self, images):
        """Features (T, C) of a video's images (T, 3, h, w) of any number, some at a time."""
        return torch.cat([self.encode(part[None])[0] for part in images.split(FRAMES_AT_ONCE)])

    @torch.no_grad()
    def decode_video(self, features, intrinsics, valid=None, return_attention=False):
        """Predicts a whole video from the features (T, C) of its frames; see `predict`.

        Args:
            features: (T, C); those of padding at the end may be left out.
            intrinsics: (T, 3, 3). valid: (T,) bool, default all.
            return_attention: also gives how the action token attends to the frames.

        Returns:
            `VideoOutput`.
        """
        valid = torch.ones(len(intrinsics), dtype=torch.bool, device=features.device) if valid is None else valid
        index, present = (torch.as_tensor(part, device=valid.device) for part in self._clips(valid))
        output = self.decode(features[index], intrinsics[index], present & valid[index], return_attention)
        per_frame = [output.joints, output.uv, output.object_logits.float().softmax(-1)]
        if return_attention:  # the mean over heads (N, T), and every clip has its share of the whole
            per_frame.append(output.action_attention.float().mean(1) / len(index))
        whole = [part.new_zeros(len(valid), *part.shape[2:]) for part in per_frame]
        for video, part in zip(whole, per_frame, strict=True):
            video[index[present]] = part[present]
        action = vote_action(output.action_logits.float().softmax(-1), self.vote)
        return VideoOutput(*whole[:3], action, whole[3] if return_attention else None)

    def _clips(self, valid):
        """Which frames make up the N clips of a video with `valid` (T,) frames: what is padding at its end is left out.

        A clip without any valid frame, as where many are missing in the middle, has no say.
        """
        known = valid.cpu().numpy()
        if not known.any():
            raise SequenceError('HTT was given a video without a valid frame; is frame_valid all False?')
        index, present = interleaved_clips(int(known.nonzero()[0][-1]) + 1, self.num_frames, self.spacing)
        kept = (present & known[index]).any(1)
        return index[kept], present[kept]

    def _to_sequence(self, batch, valid, joints, uv, objects, action):
        num_hands = self.pose_head.num_hands
        side = batch.hand_side
        if side is None:
            side = torch.arange(2 - num_hands, 2, device=valid.device).expand(len(valid), -1).contiguous()
        joints_valid = valid[..., None, None].expand(joints.shape[:-1]).contiguous()
        return HandSequence(
            meta=batch.meta,
            frame='camera',
            batched=True,
            frame_valid=valid,
            timestamps=batch.timestamps,
            hand_side=side,
            hand_valid=joints_valid[..., 0].contiguous(),
            joints_3d=joints,
            joints_valid=joints_valid,
            joints_2d=uv[:, :, None],
            joints_2d_valid=joints_valid[:, :, None],
            object_scores=objects,
            action_scores=action,
        )

    def _inputs(self, batch):
        where = sample_name(batch.meta[0])
        what = 'images' if self.backbone is not None else 'features'
        seen = getattr(batch, what)
        if seen is None or batch.intrinsics is None:
            raise SequenceError(f'{where}: HTT needs {what} and intrinsics; the pipeline must load the {what}')
        if seen.shape[2] != 1:
            raise SequenceError(f'{where}: HTT sees one camera, got {seen.shape[2]}; choose one')
        width, height = self.pose_head.image_size
        if what == 'images' and seen.shape[-2:] != (height, width):
            got = f'{seen.shape[-1]} x {seen.shape[-2]}'
            raise SequenceError(f'{where}: the pose head was built for images of {width} x {height}, got {got}; resize')
        num_hands = self.pose_head.num_hands
        for name in ('hand_side', 'joints_3d'):
            field = getattr(batch, name)
            hands = num_hands if field is None else field.shape[1 if name == 'hand_side' else 2]
            if hands != num_hands:
                raise SequenceError(f'{where}: the pose head was built for {num_hands} hands, got {hands} in {name!r}')
        return seen[:, :, 0], batch.intrinsics[:, :, 0], valid_frames(batch)


def vote_action(probabilities, vote):
    """One answer (A,), which sums to 1, from the probabilities (N, A) of clips: see `HTT`."""
    mean = probabilities.mean(0)
    if vote == 'sum':
        return mean
    votes = torch.nn.functional.one_hot(probabilities.argmax(-1), len(mean)).to(mean.dtype).mean(0)
    return (votes + TIE_BREAK * mean) / (1 + TIE_BREAK)
