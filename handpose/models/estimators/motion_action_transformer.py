"""An action classifier on the motion of two hands, whose features measure the quality of generated motion (FID).

Legend: B clips, T frames, H = 2 hands (left 0, right 1), J = 21 joints, F = 147 numbers of a frame, A actions,
C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.estimators.action_targets import check_labels
from handpose.models.estimators.base import Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.forecaster_parts import motion_inputs
from handpose.models.estimators.joint_clips import random_crops, two_hand_clips
from handpose.models.estimators.motion_parts import FRAME_VALID, action_scores
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.layers.feature_normalizer import FeatureNormalizer
from handpose.models.layers.pre_norm_transformer import PreNormEncoder
from handpose.models.layers.two_hand_motion import NUM_FEATURES, TwoHandMotion
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values, overlapping_windows

CLASSIFY = 'classify'


@MODELS.register_module()
class MotionActionTransformer(Estimator):
    """Recognizes the action from joints alone; the output at its class token is the feature of FID.

    G-HTT (Wen et al., section 4.1) takes the features of a transformer that it does not describe; the size is that of
    PoseGPT's (Lucas et al., ECCV 2022). It sees motions in the frames of the palms, so a feature does not depend on
    where the camera stands. It is trained on crops of random length, so that it knows motions as short as the futures
    it judges.

    Args:
        num_actions: A.
        channels: C, even.
        num_layers: number of layers.
        num_heads: attention heads.
        feedforward_channels: hidden size of the layers.
        dropout: of attention weights, residuals and the feed-forward layers.
        min_frames: the shortest training crop.
        max_frames: the longest training crop; `predict` cuts longer clips into pieces of that length.
        frame_rate: frames per second of the clips.

    Raises:
        ValueError: num_actions below 2, or lengths that do not fit.
    """

    def __init__(
        self,
        num_actions: int,
        channels: int = 256,
        num_layers: int = 4,
        num_heads: int = 4,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        min_frames: int = 15,
        max_frames: int = 90,
        frame_rate: float = 30.0,
    ) -> None:
        super().__init__()
        if num_actions < 2 or not 1 <= min_frames <= max_frames:
            raise ValueError(
                f'num_actions must be at least 2 and 1 <= min_frames <= max_frames, got num_actions={num_actions}, '
                f'min_frames={min_frames}, max_frames={max_frames}'
            )
        self.num_actions, self.min_frames, self.max_frames = num_actions, min_frames, max_frames
        self.frame_rate = frame_rate
        self.motion = TwoHandMotion(motion_frame='local')
        self.normalizer = FeatureNormalizer(NUM_FEATURES)
        self.embed = nn.Linear(2 * NUM_FEATURES, channels)
        self.class_token = nn.Parameter(0.02 * torch.randn(channels))
        self.encoder = PreNormEncoder(channels, num_layers, num_heads, feedforward_channels, dropout, position='input')
        self.head = nn.Linear(channels, num_actions)

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('joints_3d', 'joints_valid', 'hand_side', 'frame_valid')
        return Reads(fields=fields, num_frames=self.max_frames, min_frames=self.min_frames, frame_rate=self.frame_rate)

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None, classes={'actions': self.num_actions})

    def forward(self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Recognizes actions; arguments as in `features`.

        Returns:
            Logits (B, A).
        """
        return self.head(self.features(joints, joints_valid, frame_valid))

    def features(self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Encodes motions.

        Args:
            joints: (B, T, 2, 21, 3), metres, in a frame that stands still; what is not valid may hold anything finite.
            joints_valid: (B, T, 2, 21) bool.
            frame_valid: (B, T) bool, False for padding.

        Returns:
            (B, C), the output at the class token.

        Raises:
            TypeError: a mask is not bool.
            ValueError: shapes that do not fit.
        """
        motion = self.motion(joints, joints_valid & frame_valid[..., None, None])
        if self.training:
            self.normalizer.update(motion.values, motion.valid)
        return self._encode(motion.values, motion.valid, frame_valid)

    def _encode(self, values: Tensor, valid: Tensor, frame_valid: Tensor) -> Tensor:
        """Features of the motion (B, T, F), which of them are valid, and (B, T) -> (B, C)."""
        values = torch.where(valid, self.normalizer(values), 0.0)
        tokens = self.embed(torch.cat([values, valid.to(values.dtype)], -1))  # (B, T, C)
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], 1, -1), tokens], 1)
        return self.encoder(tokens, F.pad(frame_valid, (1, 0), value=True)).features[:, 0]

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""

        def classify(values: Tensor, valid: Tensor, frame_valid: Tensor | None) -> tuple[Tensor, ...]:
            if frame_valid is None:
                frame_valid = torch.ones_like(valid[..., 0])
            return (self.head(self._encode(values, valid, frame_valid)).float().softmax(-1),)

        values, valid, _ = motion_inputs('time')
        inputs = values, valid, FRAME_VALID
        return (NetworkPart(CLASSIFY, classify, inputs, (action_scores(self.num_actions),)),)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Cross entropy of the actions of random crops; clips whose action is unknown do not count."""
        batch = fill_masked_values(batch)
        label = batch.require('action_label')
        check_labels(batch, label, self.num_actions, 'action')
        crops = random_crops(two_hand_clips(batch), self.min_frames, self.max_frames, step.iteration)
        logits, known = self(*crops).float(), label >= 0
        entropy = F.cross_entropy(logits, label.clamp_min(0), reduction='none')
        count = known.sum().clamp_min(1)
        right = (logits.argmax(-1) == label) & known
        return {'loss_action': torch.where(known, entropy, 0).sum() / count, 'accuracy': right.sum() / count}

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Recognizes the action of each clip.

        Args:
            batch: (B, T, H, ...), T of any number.
            num_samples: None or 1.
            generator: unused.

        Returns:
            The joints as they came, and action_scores, which sum to 1: the mean over pieces of `max_frames` frames.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        clips = two_hand_clips(batch)
        num_frames = clips.frame_valid.shape[1]
        window = min(self.max_frames, num_frames)
        index, present = overlapping_windows(num_frames, window, max(window // 2, 1))
        scores, total = torch.zeros((), device=clips.joints.device), torch.zeros((), device=clips.joints.device)
        for piece, inside in zip(torch.as_tensor(index), torch.as_tensor(present), strict=True):
            joints, joints_valid, frame_valid = (x[:, piece] for x in clips)
            frame_valid = frame_valid & inside.to(frame_valid.device)
            weight = frame_valid.sum(1, keepdim=True).float()
            motion = self.motion(joints, joints_valid & frame_valid[..., None, None])
            scores = scores + weight * self.run_part(CLASSIFY, motion.values, motion.valid, frame_valid)[0]
            total = total + weight
        valid = batch.require('frame_valid')
        return HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=valid,
            timestamps=batch.timestamps,
            hand_side=batch.hand_side,
            hand_valid=batch.require('joints_valid').any(-1),
            joints_3d=batch.joints_3d,
            joints_valid=batch.joints_valid,
            action_scores=scores / total.clamp_min(1),
        )
