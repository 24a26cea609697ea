"""The flattened baseline of G-HTT (Wen et al., section 4.4, Table 4 "w/o mid-level") as a system.

Legend: B clips, S samples, T observed frames, F future frames, D = 147 features of a frame, C channels, A actions,
E text channels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from handpose.models.estimators.action_targets import check_labels
from handpose.models.estimators.base import Gives, Reads, TrainingStep
from handpose.models.estimators.flat_motion_block import FlatInputs, FlatMotionBlock
from handpose.models.estimators.forecaster import (
    Forecaster,
    TwoHands,
    check_forecast,
    future_batch,
    input_joints,
    last_frames,
    two_hands,
)
from handpose.models.estimators.forecaster_parts import (
    DECODE,
    ENCODE,
    feature_notes,
    flat_parts,
    motion_tensors,
    pose_code,
)
from handpose.models.estimators.ghtt_blocks import PoseCode
from handpose.models.estimators.joint_clips import check_still_frame
from handpose.models.estimators.label_text import Names, check_label_text, label_text, read_label_text, with_names
from handpose.models.estimators.motion_decoding import (
    anchor_hands,
    decode_joints,
    joint_distance,
    restore_joint_flags,
)
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.layers.two_hand_motion import TwoHandFeatures
from handpose.models.losses.contrastive_action import cosine_logits
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


class DividedClips(NamedTuple):
    """Frames of training clips: observed ones, whose last is in the last place, and future ones from the first on."""

    observed: Tensor  # (B, T) int64, frames of the batch
    observed_valid: Tensor  # (B, T) bool
    future: Tensor  # (B, F) int64
    future_valid: Tensor  # (B, F) bool


@MODELS.register_module()
class FlatMotionVAE(Forecaster):
    """One transformer VAE in place of the blocks P and A of `GHTT`: same data, losses, labels and size.

    Training takes whole trimmed actions, divides each at random into observed and future frames, and minimizes the
    losses of both blocks: L_comp + L_trj + 0.1 L_action + 1e-5 L_KL.

    Args:
        block: config of `FlatMotionBlock`.
        actions: see `GHTT`.
        objects: see `GHTT`.
        text_features: see `GHTT`.
        frame_rate: frames per second of the motion it is trained on.
        min_observed: observed frames that a forecast needs, and least that are observed in training.
        max_observed: frames that are observed at most; of longer clips the last ones (paper: 256).
        max_future: frames that it predicts at most (paper: 96).
        component_weight: of L_comp (paper: 1).
        trajectory_loss: config of `TrajectoryLoss`.
        action_loss: config of `ContrastiveActionLoss` (paper: weight 0.1).
        kl_loss: config of `GaussianKLLoss` (paper: weight 1e-5).
        joint_weight: see `GHTTPose`.
        object_drop: share of the training clips whose object is hidden.
        random_start: share of the training clips of which observation begins later than the action.
        phase_frames: frames that a step of `meta['phase']` stands for.
        mirror_single_hands: clips of a single left hand are seen in a mirror.
        std_scale: k of the samples (mu, k sigma), in standard deviations (Table 4: 5 and 10).
        test_samples: see `Forecaster`.
        seed: see `Forecaster`.

    Raises:
        ValueError: an option out of its range.
    """

    action_text: Tensor
    object_text: Tensor

    def __init__(
        self,
        block: dict[str, Any],
        actions: Names,
        objects: Names,
        text_features: str | Path | None = None,
        frame_rate: float = 30.0,
        min_observed: int = 16,
        max_observed: int = 256,
        max_future: int = 96,
        component_weight: float = 1.0,
        trajectory_loss: dict[str, Any] | None = None,
        action_loss: dict[str, Any] | None = None,
        kl_loss: dict[str, Any] | None = None,
        joint_weight: float = 0.0,
        object_drop: float = 0.1,
        random_start: float = 0.5,
        phase_frames: int = 16,
        mirror_single_hands: bool = True,
        std_scale: float = 5.0,
        test_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(test_samples, seed)
        if not 1 <= min_observed <= max_observed or max_future < 1:
            raise ValueError(
                f'it takes 1 <= min_observed <= max_observed and max_future of at least 1, got {min_observed}, '
                f'{max_observed} and {max_future}'
            )
        self.frame_rate, self.min_observed, self.max_observed = frame_rate, min_observed, max_observed
        self.max_future, self.component_weight, self.object_drop = max_future, component_weight, object_drop
        self.random_start, self.phase_frames, self.joint_weight = random_start, phase_frames, joint_weight
        self.mirror_single_hands, self.std_scale = mirror_single_hands, std_scale
        self.text_features = text_features
        self.action_names, action_text = label_text(actions, text_features)
        self.object_names, object_text = label_text(objects, text_features)
        self.register_buffer('action_text', action_text)
        self.register_buffer('object_text', object_text)
        sizes = {'text_channels': action_text.shape[1], **block}
        self.block: FlatMotionBlock = MODELS.build({'type': 'FlatMotionBlock', **sizes})
        self.trajectory_loss = MODELS.build({'type': 'TrajectoryLoss', **(trajectory_loss or {})})
        self.action_loss = MODELS.build({'type': 'ContrastiveActionLoss', 'loss_weight': 0.1, **(action_loss or {})})
        self.kl_loss = MODELS.build({'type': 'GaussianKLLoss', 'loss_weight': 1e-5, **(kl_loss or {})})

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('joints_3d', 'joints_valid', 'hand_side', 'frame_valid', 'object_label', 'action_label')
        return Reads(fields=fields, frame_rate=self.frame_rate, min_frames=self.min_observed)

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None, classes={'actions': len(self.action_names)})

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        return flat_parts(self.block)

    def export_notes(self) -> dict[str, Any]:
        """See `Estimator.export_notes`."""
        return feature_notes(self.block.normalizer)

    def init_weights(self) -> None:
        """Reads the table of text features of lists of names; see `read_label_text`."""
        if self.text_features is not None:
            read_label_text(self.action_text, self.action_names, self.text_features)
            read_label_text(self.object_text, self.object_names, self.text_features)

    def published_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Estimator.published_config`: names in place of the tables that they came from."""
        return with_names(config, {'actions': self.action_names, 'objects': self.object_names})

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Losses of a batch of whole actions; see `Estimator.loss`. Outside training the first half is observed."""
        check_label_text(self.action_text, self.text_features)
        batch, block = fill_masked_values(batch), self.block
        check_still_frame(batch)
        truth, side = batch.require('joints_3d'), batch.require('hand_side')
        generator = torch.Generator(truth.device).manual_seed(step.iteration)
        split = self._divide(_lengths(batch), generator)
        given = two_hands(*input_joints(batch), side, self.mirror_single_hands)
        true = two_hands(truth, batch.require('joints_valid'), side, self.mirror_single_hands)
        seen = block.motion(*_take(given, split.observed, split.observed_valid))
        frames = torch.cat([split.observed, split.future], 1)
        inside = torch.cat([split.observed_valid, split.future_valid], 1)
        joints, valid = _take(true, frames, inside)
        target = block.motion(joints, valid, seen.origin)
        if self.training:
            block.normalizer.update(target.values, target.valid)
        objects, object_valid = self._objects(batch, split.observed[:, -1])
        if self.training:
            shown = torch.rand(len(objects), generator=generator, device=objects.device) >= self.object_drop
            object_valid = object_valid & shown
        code = block.encode(FlatInputs(seen, split.observed, objects, object_valid))
        latent = code.latent.sample(1.0 if self.training else 0.0, generator)
        future = block.decode(latent, split.future, code, split.future_valid)
        predicted = torch.cat([code.refined, future], 1).float()
        error = torch.where(target.valid, predicted - block.normalizer(target.values), 0).abs().sum(-1)
        embeddings = block.embed_actions(self.action_text)
        losses = {
            'loss_component': self.component_weight * error.sum() / inside.sum().clamp_min(1),
            'loss_trajectory': self._trajectory(future, target, seen.origin),
            'loss_action': self.action_loss(latent, embeddings, self._labels(batch, batch.action_label)),
            'loss_kl': self.kl_loss(code.latent.mean, code.latent.log_variance),
        }
        if self.joint_weight:
            values, last = block.normalizer.denormalize(future), split.observed.shape[1] - 1
            joints, valid = joints[:, last + 1 :], valid[:, last + 1 :] & target.palm_valid[:, last, None, :, None]
            distance = joint_distance(block.motion, values, target.palms[:, last], seen.origin, joints, valid)
            losses['loss_joints'] = self.joint_weight * distance
        return losses

    def _divide(self, length: Tensor, generator: torch.Generator) -> DividedClips:
        """Divides clips of `length` (B,) frames into observed and future ones; at least one of each."""
        draws = torch.full((3, len(length)), 0.5, device=length.device)
        if self.training:
            draws = torch.rand(draws.shape, generator=generator, device=length.device)
        least = length.clamp(max=self.min_observed).minimum((length - 1).clamp_min(1))
        end = least + (draws[0] * (length - least)).long()  # of the observation; least to length - 1
        late = (draws[1] < self.random_start) & self.training
        start = torch.where(late, (draws[2] * (end - least + 1)).long(), 0)
        start = torch.maximum(start, end - self.max_observed)
        count = int((end - start).max())
        observed = end[:, None] - count + torch.arange(count, device=length.device)
        future = end[:, None] + torch.arange(min(int((length - end).max()), self.max_future), device=length.device)
        last = length[:, None] - 1
        return DividedClips(
            observed.clamp_min(0), observed >= start[:, None], future.minimum(last), future < length[:, None]
        )

    def _trajectory(self, future: Tensor, target: TwoHandFeatures, origin: Tensor) -> Tensor:
        """L_trj of all future frames, from the true palms of the last observed one."""
        motion, last = self.block.motion, -future.shape[1] - 1
        predicted = motion.accumulate(self.block.normalizer.denormalize(future))
        true = motion.between_palms(target.palms[:, last + 1 :], target.palms[:, last], origin)
        valid = target.palm_valid[:, last + 1 :] & target.palm_valid[:, last, None]
        return self.trajectory_loss(predicted, true, valid)

    @torch.no_grad()
    def observed(self, batch: HandSequence) -> HandSequence:
        """The input itself, and the scores of all actions, which sum to 1; see `Forecaster.observed`."""
        hands = self._hands(batch)
        code, _ = self._encode(batch, hands)
        embeddings = self.block.embed_actions(self.action_text)
        scores = cosine_logits(code.latent.mean, embeddings, self.action_loss.tau).softmax(-1)
        return super().observed(batch).replace(action_scores=scores)

    @torch.no_grad()
    def forecast(
        self,
        batch: HandSequence,
        num_frames: int,
        *,
        num_samples: int | None = None,
        generator: torch.Generator | None = None,
        action: Tensor | None = None,
    ) -> HandSequence:
        """Continues each clip; see `Forecaster.forecast`. A given action takes the place of the recognized one."""
        check_forecast(num_frames, num_samples)
        if num_frames > self.max_future:
            raise ValueError(
                f'this FlatMotionVAE predicts at most {self.max_future} frames, got {num_frames}: forecast fewer, or '
                f'train one with a larger max_future'
            )
        batch = fill_masked_values(batch)
        hands, samples = self._hands(batch), num_samples or 1
        frames = int(_lengths(batch).min())
        if frames < self.min_observed:
            raise ValueError(
                f'FlatMotionVAE needs at least {self.min_observed} observed frames, got {frames}: give a longer clip'
            )
        code, inputs = self._encode(batch, hands)
        mean, given = code.latent.mean, self._labels(batch, action)
        mean = torch.where(
            (given >= 0)[:, None], self.block.embed_actions(self.action_text)[given].to(mean.dtype), mean
        )
        code = code._replace(latent=code.latent._replace(mean=mean)).repeat(samples)
        latent = code.latent.sample(self.std_scale if num_samples else 0.0, generator)
        ahead = torch.arange(1, num_frames + 1, device=mean.device)
        frame = (inputs.frame[:, -1:] + ahead).repeat_interleave(samples, 0)
        memory = (code.latent.features, code.memory_valid) if self.block.skip else ()
        (future,) = self.run_part(DECODE, latent, code.refined[:, -1], frame, *memory)
        future = self.block.normalizer.denormalize(future)
        joints, valid = last_frames(hands.joints, hands.valid, batch.frame_valid, inputs.frame.shape[1])
        anchors = anchor_hands(inputs.features, joints, valid, last=True)
        # Refined frames lead up to the future, for hands that are not seen in the last one.
        past = self.block.normalizer.denormalize(code.refined)
        moved = decode_joints(self.block.motion, torch.cat([past, future], 1), anchors.repeat(samples))
        repeated = TwoHands(*(x.repeat_interleave(samples, 0) for x in hands))
        known = restore_joint_flags(repeated, anchors.repeat(samples).known)
        return future_batch(batch, repeated.restore(moved[:, -num_frames:]), known, self.frame_rate)

    def _hands(self, batch: HandSequence) -> TwoHands:
        check_still_frame(batch)
        return two_hands(*input_joints(batch), batch.require('hand_side'), self.mirror_single_hands)

    def _encode(self, batch: HandSequence, hands: TwoHands) -> tuple[PoseCode, FlatInputs]:
        """The code of the last frames of a batch, and what it was made from."""
        length = _lengths(batch)
        count = min(int(length.max()), self.max_observed)
        features = self.block.motion(*last_frames(hands.joints, hands.valid, batch.frame_valid, count))
        begun = torch.tensor([int(meta.get('phase', 0)) for meta in batch.meta], device=length.device)
        end = begun * self.phase_frames + length
        frame = (end[:, None] - count + torch.arange(count, device=length.device)).clamp_min(0)
        inputs = FlatInputs(features, frame, *self._objects(batch, length - 1))
        motion = motion_tensors(features, self.block.context)
        outputs = self.run_part(ENCODE, frame, inputs.objects, inputs.object_valid, *motion)
        return pose_code(outputs, features), inputs

    def _objects(self, batch: HandSequence, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, E) of the objects that a frame (B,) of each clip is labelled with, and whether it is (B,)."""
        if batch.object_features is not None:
            valid = batch.object_features.abs().sum(-1, keepdim=True) > 0  # (B, T, 1)
            return (batch.object_features * valid).sum(1) / valid.sum(1).clamp_min(1), valid.any(1)[:, 0]
        if batch.object_label is None:
            labels = torch.full_like(frame, -1)
        else:
            check_labels(batch, batch.object_label, len(self.object_names), 'object')
            labels = batch.object_label.gather(1, frame[:, None])[:, 0]
        return self.object_text[labels.clamp_min(0)], labels >= 0

    def _labels(self, batch: HandSequence, labels: Tensor | None) -> Tensor:
        """Actions (B,), -1 where unknown."""
        if labels is None:
            return torch.full((len(batch.meta),), -1, device=self.action_text.device)
        check_labels(batch, labels, len(self.action_names), 'action')
        return labels


def _lengths(batch: HandSequence) -> Tensor:
    """Frames (B,) up to the last one that is not padding; at least 1."""
    joints = batch.input_joints_3d if batch.input_joints_3d is not None else batch.require('joints_3d')
    numbers = torch.arange(1, joints.shape[1] + 1, device=joints.device)
    if batch.frame_valid is None:
        return numbers[-1:].expand(len(joints))
    return torch.where(batch.frame_valid, numbers, 0).amax(1).clamp_min(1)


def _take(hands: TwoHands, frames: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Joints and masks of some frames (B, T') of clips, of which those outside are not valid."""
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return hands.joints[rows, frames], hands.valid[rows, frames] & inside[..., None, None]
