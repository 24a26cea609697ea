"""G-HTT: recognizes and forecasts actions of two hands by two cascaded motion VAEs (Wen et al., arXiv 2311.17366).

Block P encodes clips of t frames to mid-level features, block A reads these and the object, recognizes the action, and
predicts the mid-level features of future clips, which P decodes to poses. There is no public code; docs/systems/ghtt.md
lists what the paper leaves open and what is done here. Legend: B clips, S samples, t = 16 frames of a clip of P, n
observed clips, m future clips, F future frames, C channels, A actions, O objects, E = 512 text channels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.models.estimators.action_targets import check_labels
from handpose.models.estimators.base import Gives, TrainingStep
from handpose.models.estimators.forecaster import TwoHands, input_joints, last_frames, two_hands
from handpose.models.estimators.forecaster_parts import AGGREGATE, DECODE_ACTIONS, ENCODE_ACTIONS, action_parts
from handpose.models.estimators.ghtt_blocks import ActionCode, GHTTActionBlock
from handpose.models.estimators.label_text import Names, check_label_text, label_text, read_label_text, with_names
from handpose.models.estimators.mid_levels import (
    MidLevelCache,
    encode_clips,
    encode_input_clips,
    object_clips,
    split_actions,
)
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.estimators.pose_forecaster import PoseForecaster
from handpose.models.layers.checks import check_option
from handpose.models.losses.contrastive_action import cosine_logits
from handpose.models.necks.motion_vae import LatentDistribution
from handpose.registry import MODELS
from handpose.structures import HandSequence, SequenceError, fill_masked_values, sample_name

PATHS = ('P.a', 'P.b')
RECOGNITIONS = ('cosine', 'l1')


@MODELS.register_module()
class GHTT(PoseForecaster):
    """The whole system. Training is that of block A on a frozen block P; see `GHTTPose` for the training of P.

    A config of this training starts P from its weights and keeps it: `init_from=[(file, 'pose_block')]` and
    `freeze=['pose_block']`. Training minimizes L_A = L_mid + 0.1 L_action + 1e-5 L_KL (Eq. 4 to 6) on whole trimmed
    actions, each divided at random into observed and future clips. Observed clips are the input's, which may have
    errors, and future ones the true ones.

    Args:
        pose_block: config of `GHTTPoseBlock`.
        action_block: config of `GHTTActionBlock`; its channels are those of P.
        actions: names of the actions, as the dataset numbers them; or the file of a table of text features
            (`handpose text-features`) that has these names alone, in this order.
        objects: the same of objects.
        text_features: the file of a table that has the names of lists of actions and objects; `init_weights` reads it
            when training starts, and weights contain its rows. None means `TextFeatures.compositional`.
        frame_rate: frames per second of the motion it is trained on.
        path: how futures are predicted: 'P.b', by A and P; 'P.a', by P alone.
        skip: along P.a the decoder of P attends to the features of observed frames.
        recognition: what the nearest action is: 'cosine', as the loss has it, or 'l1'; the paper does not say.
        max_observed: n at most (paper: 16, 256 frames). Of longer recordings futures read the last clips, and the
            scores of actions are the mean over successive parts.
        mid_weight: of L_mid (paper: 1).
        action_loss: config of `ContrastiveActionLoss` (paper: weight 0.1).
        kl_loss: config of `GaussianKLLoss` (paper: weight 1e-5).
        object_loss: config of the `ContrastiveActionLoss` that trains the aggregator of object features.
        aggregator: config of `ObjectAggregator` (E^PO), for clips with the object features of images; None takes the
            mean over frames.
        mid_noise: standard deviation of the noise on the observed mid-level features in training, in their own
            standard deviations; the paper gives no number.
        object_drop: share of the training clips whose object is hidden, so that it need not be given.
        random_start: share of the training clips of which observation begins at a later clip than the action.
        whole_actions: share of the training actions that are observed to their end, and train recognition alone.
        least_clip: share of a clip's frames that must show a hand.
        cache: keeps the mid-level features of recordings while training.
        stride: see `PoseForecaster`.
        mirror_single_hands: see `PoseForecaster`.
        std_scale: see `PoseForecaster`; of the action feature along P.b, and of the mid-level feature along P.a.
        test_samples: see `Forecaster`.
        seed: see `Forecaster`.

    Raises:
        ValueError: an option out of its range, or blocks of different sizes.
    """

    action_text: Tensor
    object_text: Tensor

    def __init__(
        self,
        pose_block: dict[str, Any],
        action_block: dict[str, Any],
        actions: Names,
        objects: Names,
        text_features: str | Path | None = None,
        frame_rate: float = 30.0,
        path: str = 'P.b',
        skip: bool = True,
        recognition: str = 'cosine',
        max_observed: int = 16,
        mid_weight: float = 1.0,
        action_loss: dict[str, Any] | None = None,
        kl_loss: dict[str, Any] | None = None,
        object_loss: dict[str, Any] | None = None,
        aggregator: dict[str, Any] | None = None,
        mid_noise: float = 0.1,
        object_drop: float = 0.1,
        random_start: float = 0.5,
        whole_actions: float = 0.0,
        least_clip: float = 0.5,
        cache: bool = True,
        stride: int = 8,
        mirror_single_hands: bool = True,
        std_scale: float = 5.0,
        test_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(pose_block, frame_rate, stride, mirror_single_hands, std_scale, test_samples, seed)
        check_option('path', path, PATHS)
        check_option('recognition', recognition, RECOGNITIONS)
        self.path, self.skip, self.recognition, self.max_observed = path, skip, recognition, max_observed
        self.mid_weight, self.mid_noise, self.object_drop = mid_weight, mid_noise, object_drop
        self.random_start, self.whole_actions, self.least_clip = random_start, whole_actions, least_clip
        channels = self.pose_block.channels
        if action_block.get('channels', channels) != channels:
            raise ValueError(
                f'action_block has {action_block["channels"]} channels, but the mid-level features of pose_block have '
                f'{channels}: give both the same number'
            )
        self.text_features = text_features
        self.action_names, action_text = label_text(actions, text_features)
        self.object_names, object_text = label_text(objects, text_features)
        self.register_buffer('action_text', action_text)
        self.register_buffer('object_text', object_text)
        sizes = {'text_channels': action_text.shape[1], **action_block, 'channels': channels}
        self.action_block: GHTTActionBlock = MODELS.build({'type': 'GHTTActionBlock', **sizes})
        self.aggregator: nn.Module | None = None
        if aggregator is not None:
            self.aggregator = MODELS.build({'type': 'ObjectAggregator', 'channels': object_text.shape[1], **aggregator})
        contrastive = {'type': 'ContrastiveActionLoss'}
        self.action_loss = MODELS.build({**contrastive, 'loss_weight': 0.1, **(action_loss or {})})
        self.object_loss = MODELS.build({**contrastive, **(object_loss or {})})
        self.kl_loss = MODELS.build({'type': 'GaussianKLLoss', 'loss_weight': 1e-5, **(kl_loss or {})})
        self._cache = MidLevelCache() if cache else None

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None, classes={'actions': len(self.action_names)})

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        return (*super().network_parts(), *action_parts(self.action_block, self.object_text.shape[1], self.aggregator))

    def init_weights(self) -> None:
        """Reads the table of text features of lists of names; see `read_label_text`."""
        if self.text_features is not None:
            read_label_text(self.action_text, self.action_names, self.text_features)
            read_label_text(self.object_text, self.object_names, self.text_features)

    def published_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Estimator.published_config`: names in place of the tables that they came from."""
        return with_names(config, {'actions': self.action_names, 'objects': self.object_names})

    def train(self, mode: bool = True) -> 'GHTT':
        """Sets the mode, that of block P always to evaluation: it is not trained here.

        Going into training mode forgets mid-level features that other weights may have given.
        """
        if mode and not self.training and self._cache is not None:
            self._cache.clear()
        super().train(mode)
        self.pose_block.eval()
        return self

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """L_A of a batch of whole actions; see `Estimator.loss`."""
        check_label_text(self.action_text, self.text_features)
        batch, block = fill_masked_values(batch), self.action_block
        truth, truth_valid = batch.require('joints_3d'), batch.require('joints_valid')
        frame_valid = truth_valid.any(-1).any(-1) if batch.frame_valid is None else batch.frame_valid
        hands = two_hands(truth, truth_valid, batch.require('hand_side'), self.mirror_single_hands)
        labels = self._labels(batch)
        generator = torch.Generator(truth.device).manual_seed(step.iteration)
        clips, clip_valid = self._mid_levels(hands, frame_valid, batch)
        if self.training:
            block.normalizer.update(clips, clip_valid[..., None].expand_as(clips))
        observed, usable = self._input_levels(hands, frame_valid, batch, (clips, clip_valid))
        clips = torch.where(clip_valid[..., None], block.normalizer(clips), 0)
        observed = torch.where(usable[..., None], block.normalizer(observed), 0)
        random_start = self.random_start if self.training else None
        seen, later = split_actions(clip_valid, random_start, self.whole_actions, generator)
        noise = torch.randn(clips.shape, generator=generator, device=clips.device) * self.mid_noise * self.training
        objects, object_valid = self._label_objects(batch, clips.shape[1])
        if self.training:
            shown = torch.rand(len(clips), 1, generator=generator, device=clips.device) >= self.object_drop
            object_valid = object_valid & shown
        phase = torch.arange(clips.shape[1], device=clips.device).expand(clips.shape[:2])
        code = block.encode(observed + noise, seen & usable, phase, objects, object_valid)
        alpha = code.latent.sample(1.0 if self.training else 0.0, generator)
        predicted = block.decode(alpha, phase, later, code)
        error = torch.where(later[..., None], predicted.float() - clips, 0).abs()
        losses = {
            'loss_mid': self.mid_weight * error.sum((1, 2)).mean(),
            'loss_action': self.action_loss(alpha, block.embed_actions(self.action_text), labels),
            'loss_kl': self.kl_loss(code.latent.mean, code.latent.log_variance),
        }
        if self.aggregator is not None and batch.object_features is not None:
            losses['loss_object'] = self._object_loss(batch)
        return losses

    def _mid_levels(self, hands: TwoHands, frame_valid: Tensor, batch: HandSequence) -> tuple[Tensor, Tensor]:
        """Mid-level features (B, n, C) of whole actions, and which clips are valid (B, n)."""
        if self._cache is None or not self.training:
            return encode_clips(self.pose_block, hands.joints, hands.valid, frame_valid, self.least_clip)
        return self._cache.encode(self.pose_block, hands, frame_valid, batch.meta, self.least_clip)

    def _input_levels(
        self, hands: TwoHands, frame_valid: Tensor, batch: HandSequence, true_levels: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The same of the input, which may have errors."""
        if batch.input_joints_3d is None:
            return true_levels
        given = two_hands(*input_joints(batch), batch.require('hand_side'), self.mirror_single_hands)
        return encode_input_clips(self.pose_block, given, hands, frame_valid, true_levels, self.least_clip)

    def _labels(self, batch: HandSequence) -> Tensor:
        """Action labels (B,), -1 where unknown; refuses one outside the table."""
        labels = batch.action_label
        if labels is None:
            return torch.full((len(batch.meta),), -1, device=self.action_text.device)
        if int(labels.max()) >= len(self.action_names):
            wrong = int(labels.argmax())
            raise SequenceError(
                f'{sample_name(batch.meta[wrong])} has the action label {int(labels[wrong])}, but the table of text '
                f"features has {len(self.action_names)} actions: give the model's `actions` all names of the dataset"
            )
        return labels

    def _label_objects(self, batch: HandSequence, count: int) -> tuple[Tensor, Tensor]:
        """omega (B, n, E) of clips from the names of labelled objects, and where there are any (B, n)."""
        size = self.pose_block.num_frames
        check_labels(batch, batch.object_label, len(self.object_names), 'object')
        if batch.object_label is None:
            shape = (len(batch.meta), count)
            return self.object_text.new_zeros(*shape, self.object_text.shape[1]), self.object_text.new_zeros(shape) > 0
        # The label of a clip is that of its first frame; of padding, that of the last frame there is.
        index = (torch.arange(count, device=self.object_text.device) * size).clamp_max(batch.object_label.shape[1] - 1)
        labels = batch.object_label[:, index]
        return self.object_text[labels.clamp_min(0)], labels >= 0

    def _aggregated_objects(self, batch: HandSequence) -> tuple[Tensor, Tensor] | None:
        """omega (B, n, E) from the object features of images, and clips that have them; None for batches without."""
        if batch.object_features is None:
            return None
        clips, mask = object_clips(batch.object_features, batch.frame_valid, self.pose_block.num_frames)
        flat, flat_mask = clips.flatten(0, 1), mask.flatten(0, 1)
        if self.aggregator is not None:
            (omega,) = self.run_part(AGGREGATE, flat, flat_mask)
        else:
            omega = (flat * flat_mask[..., None]).sum(1) / flat_mask.sum(1, keepdim=True).clamp_min(1)
        return omega.unflatten(0, clips.shape[:2]), mask.any(-1)

    def _object_loss(self, batch: HandSequence) -> Tensor:
        """Trains the aggregator: omega of each clip against the text features of all objects."""
        aggregated = self._aggregated_objects(batch)
        assert aggregated is not None and batch.object_label is not None
        omega, valid = aggregated
        size = self.pose_block.num_frames
        labels = F.pad(batch.object_label, (0, omega.shape[1] * size - batch.object_label.shape[1]), value=-1)
        labels = torch.where(valid, labels.unflatten(1, (-1, size)).amax(-1), -1)
        return self.object_loss(omega.flatten(0, 1), self.object_text, labels.flatten())

    def _objects(self, batch: HandSequence, count: int) -> tuple[Tensor, Tensor]:
        """omega (B, n, E) at test time: from images where the batch has them, else by label, else unknown."""
        return self._aggregated_objects(batch) or self._label_objects(batch, count)

    @torch.no_grad()
    def observed(self, batch: HandSequence) -> HandSequence:
        """Refined motion, and the scores of all actions over the whole observation; see `Forecaster.observed`."""
        return super().observed(batch).replace(action_scores=self.recognize(batch))

    @torch.no_grad()
    def recognize(self, batch: HandSequence) -> Tensor:
        """Recognizes the actions of observed clips.

        Args:
            batch: B clips.

        Returns:
            (B, A) scores that sum to 1: by the nearness of the mean mu^A to the embeddings of actions. Those of a clip
            without any hand are equal.
        """
        batch = fill_masked_values(batch)
        hands = self.hands_of(batch)
        clips, clip_valid, phase = self._observed_clips(batch, hands)
        objects, object_valid = self._objects(batch, clips.shape[1])
        total = clips.new_zeros(len(clips), len(self.action_names))
        weight = clips.new_zeros(len(clips), 1)
        for start in range(0, clips.shape[1], self.max_observed):
            part = slice(start, start + self.max_observed)
            inputs = (x[:, part] for x in (clips, clip_valid, phase, objects, object_valid))
            code = self._encode_actions(*inputs)
            share = clip_valid[:, part].sum(1, keepdim=True).to(total.dtype)
            total += share * self._scores(code.latent.mean)
            weight += share
        return torch.where(weight > 0, total / weight.clamp_min(1), 1 / len(self.action_names))

    def _encode_actions(self, clips: Tensor, clip_valid: Tensor, *others: Tensor) -> ActionCode:
        return ActionCode(LatentDistribution(*self.run_part(ENCODE_ACTIONS, clips, clip_valid, *others)), clip_valid)

    def _scores(self, mean: Tensor) -> Tensor:
        """(B, C) -> (B, A)."""
        embeddings = self.action_block.embed_actions(self.action_text).float()
        if self.recognition == 'cosine':
            return cosine_logits(mean, embeddings, self.action_loss.tau).softmax(-1)
        return (-torch.cdist(mean.float(), embeddings, p=1)).softmax(-1)

    def _observed_clips(self, batch: HandSequence, hands: TwoHands) -> tuple[Tensor, Tensor, Tensor]:
        """Mid-level features (B, n, C) of a batch's clips, which are valid, and their phases (B, n)."""
        frame_valid = hands.valid.any(-1).any(-1) if batch.frame_valid is None else batch.frame_valid
        inputs = hands.joints, hands.valid, frame_valid, self.least_clip
        clips, valid = encode_clips(self.pose_block, *inputs, self.encode_motion)
        first = torch.tensor([int(meta.get('phase', 0)) for meta in batch.meta], device=clips.device)
        return clips, valid, first[:, None] + torch.arange(clips.shape[1], device=clips.device)

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
        """Predicts the frames after each clip by the path of the options; see `Forecaster.forecast`.

        Along P.b the clip after the observation comes from P (P.a), those after it from the mid-level features that A
        predicts, m^A of a clip giving the clip after it. An action that is given takes the place of the recognized one.
        """
        batch = fill_masked_values(batch)
        hands, known = self.forecast_inputs(batch, num_frames, num_samples)
        size, count = self.pose_block.num_frames, num_samples or 1
        last = last_frames(hands.joints, hands.valid, batch.frame_valid, size)
        first = num_frames if self.path == 'P.a' else size
        joints, end = self.continue_clips(*last, first, num_samples, generator, self.skip)
        parts = [joints]
        if self.path == 'P.b' and num_frames > size:
            clips = -(-num_frames // size) - 1
            for latent in self._future_mid_levels(batch, hands, clips, count, generator, num_samples, action):
                joints, end = self.next_clip(end, latent)
                parts.append(joints)
        return self.give_future(batch, hands, torch.cat(parts, 1)[:, :num_frames], known)

    def _future_mid_levels(
        self,
        batch: HandSequence,
        hands: TwoHands,
        clips: int,
        count: int,
        generator: torch.Generator | None,
        num_samples: int | None,
        action: Tensor | None,
    ) -> list[Tensor]:
        """m^A (B * S, C) of each of `clips` future clips, in the units of P."""
        code, ahead = self._last_clips(batch, hands)
        embeddings = self.action_block.embed_actions(self.action_text)
        mean = code.latent.mean
        if action is not None:
            mean = torch.where((action >= 0)[:, None], embeddings[action.clamp_min(0)].to(mean.dtype), mean)
        latent = LatentDistribution(*(x.repeat_interleave(count, 0) for x in code.latent._replace(mean=mean)))
        code = ActionCode(latent, code.clip_valid.repeat_interleave(count, 0))
        alpha = latent.sample(self.std_scale if num_samples else 0.0, generator)
        phase = ahead.repeat_interleave(count, 0)[:, None] + torch.arange(clips, device=alpha.device)
        memory = (code.latent.features, code.clip_valid) if self.action_block.skip else ()
        return list(self.run_part(DECODE_ACTIONS, alpha, phase, *memory)[0].unbind(1))

    def _last_clips(self, batch: HandSequence, hands: TwoHands) -> tuple[ActionCode, Tensor]:
        """The code of the last clips, counted back from the last frame, and the phase of the next clip (B,)."""
        size = self.pose_block.num_frames
        frames = batch.require('hand_side').new_full((len(batch.meta),), hands.joints.shape[1])
        if batch.frame_valid is not None:
            frames = batch.frame_valid.sum(1)
        count = min(max(int(frames.max()) // size, 1), self.max_observed)
        joints, valid = last_frames(hands.joints, hands.valid, batch.frame_valid, count * size)
        inside = valid.any(-1).any(-1)
        clips, clip_valid = encode_clips(self.pose_block, joints, valid, inside, self.least_clip, self.encode_motion)
        observed = torch.div(frames, size, rounding_mode='floor')
        begun = torch.tensor([int(meta.get('phase', 0)) for meta in batch.meta], device=clips.device)
        ahead = begun + observed
        phase = (ahead[:, None] - count + torch.arange(count, device=clips.device)).clamp_min(0)
        objects, object_valid = self._objects(batch, int(observed.max()))
        # The latest object that is known: a recording is taken to show one.
        latest = torch.where(object_valid, torch.arange(object_valid.shape[1], device=clips.device), 0).amax(1)
        objects = objects[torch.arange(len(clips)), latest][:, None].expand(-1, count, -1)
        object_valid = object_valid.any(1, keepdim=True).expand(-1, count)
        return self._encode_actions(clips, clip_valid, phase, objects, object_valid), ahead
