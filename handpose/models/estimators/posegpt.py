"""PoseGPT (Lucas et al., ECCV 2022) on the motion of two hands: the baseline of G-HTT that knows the action.

As in the comparison of G-HTT (Wen et al., section 4.3) it is given true motion and the true action. Written from the
paper; the licence of the published code allows no other use.
Legend: B clips, S samples, T frames, L steps, F future frames, t frames of a step, G codebooks, D = 147 numbers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from handpose.models.estimators.action_targets import check_labels
from handpose.models.estimators.base import Gives, Reads, TrainingStep
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
    NEXT_STATE,
    decode_codes,
    encode_codes,
    next_state_part,
    tokenizer_parts,
)
from handpose.models.estimators.joint_clips import check_still_frame, random_crops, two_hand_clips, whole_steps
from handpose.models.estimators.label_text import Names, label_text
from handpose.models.estimators.motion_decoding import anchor_hands, decode_joints, restore_joint_flags
from handpose.models.estimators.motion_tokenizer import MotionTokenizer
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.necks.code_transformer import CodeTransformer
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


@MODELS.register_module()
class PoseGPT(Forecaster):
    """Samples the codes of the future one by one, from those of the observed frames, the action and the length.

    Trained in two stages: `PoseVQVAE` first, then this with `init_from=[(weights of that, 'tokenizer')]`. The tokenizer
    stays as it is. Training takes pieces of actions that begin anywhere, since a forecast begins anywhere too.

    Args:
        tokenizer: config of `MotionTokenizer`, that of the first stage.
        transformer: config of `CodeTransformer`, whose num_actions follows from `actions`.
        actions: names of the actions, or the file of a table of text features, of which only the names are read.
        frame_rate: frames per second of the motion.
        min_frames: observed frames that a forecast needs, and the shortest training piece.
        action_drop: share of the training clips that are shown without their action, so that it may be unknown.
        temperature: of sampling; 1 draws as likely as the network says.
        top_k: draws among the k most likely codes; None means among all.
        join_time: seconds after which the difference between the last observed pose and its reconstruction, with which
            the future begins so that it does not jump, has fallen to 1 / e.
        mirror_single_hands: clips of a single left hand are seen in a mirror.
        test_samples: see `Forecaster`.
        seed: see `Forecaster`.

    Raises:
        ValueError: an option out of its range, or a tokenizer whose codes the transformer does not know.
    """

    tested_with_action = True

    def __init__(
        self,
        tokenizer: dict[str, Any],
        transformer: dict[str, Any],
        actions: Names,
        frame_rate: float = 30.0,
        min_frames: int = 16,
        action_drop: float = 0.1,
        temperature: float = 1.0,
        top_k: int | None = None,
        join_time: float = 0.2,
        mirror_single_hands: bool = True,
        test_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(test_samples, seed)
        self.tokenizer: MotionTokenizer = MODELS.build({'type': 'MotionTokenizer', **tokenizer})
        self.action_names = label_text(actions, None)[0]
        settings = {'type': 'CodeTransformer', 'num_actions': len(self.action_names), **transformer}
        self.transformer: CodeTransformer = MODELS.build(settings)
        quantizer = self.tokenizer.vqvae.quantizer
        made = (quantizer.num_codebooks, quantizer.num_codes)
        known = (self.transformer.num_codebooks, self.transformer.num_codes)
        if made != known:
            raise ValueError(
                f'the tokenizer gives num_codebooks={made[0]} with num_codes={made[1]}, but the transformer knows '
                f'{known[0]} with {known[1]}: give both the same'
            )
        self.step_frames = self.tokenizer.frames_per_code
        if min_frames < self.step_frames or not 0 <= action_drop <= 1 or not join_time > 0:
            raise ValueError(
                f'it takes min_frames of at least {self.step_frames} (those of a code), action_drop from 0 to 1 and '
                f'join_time above 0, got {min_frames}, {action_drop} and {join_time}'
            )
        self.frame_rate, self.min_frames, self.action_drop = frame_rate, min_frames, action_drop
        self.temperature, self.top_k, self.join_time = temperature, top_k, join_time
        self.mirror_single_hands = mirror_single_hands
        self.tokenizer.requires_grad_(False).eval()

    def published_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Estimator.published_config`: names in place of the table that they came from."""
        return {**config, 'actions': list(self.action_names)}

    def train(self, mode: bool = True) -> 'PoseGPT':
        """Sets training mode everywhere but in the tokenizer."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('joints_3d', 'joints_valid', 'hand_side', 'frame_valid', 'action_label')
        return Reads(fields=fields, min_frames=self.min_frames, frame_rate=self.frame_rate)

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        return (*tokenizer_parts(self.tokenizer), next_state_part(self.transformer))

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Cross entropy of the codes of random pieces of true motion; see `Estimator.loss`."""
        batch = fill_masked_values(batch)
        longest = self.transformer.max_steps * self.step_frames
        clips = two_hand_clips(batch, self.mirror_single_hands)
        clips = whole_steps(random_crops(clips, self.min_frames, longest, step.iteration), self.step_frames)
        codes = self.tokenizer.encode(self.tokenizer.motion(clips.joints, clips.joints_valid))  # (B, L, G)
        # A step counts if all of its frames are there: the last one of a clip may be cut off.
        known = clips.frame_valid.unflatten(1, (-1, self.step_frames)).all(2)
        length = (known * torch.arange(1, known.shape[1] + 1, device=known.device)).amax(1)
        action = self._action(batch, batch.action_label)
        drawn = torch.rand(len(action), generator=torch.Generator().manual_seed(step.iteration)).to(action.device)
        action = torch.where(drawn < self.action_drop, -1, action)
        logits = self.transformer(codes, action, length).float()  # (B, L, G, E)
        entropy = F.cross_entropy(logits.flatten(0, -2), codes.flatten(), reduction='none').view(codes.shape).mean(-1)
        right = (logits.argmax(-1) == codes).float().mean(-1)
        count = known.sum().clamp_min(1)
        return {'loss_codes': (entropy * known).sum() / count, 'accuracy': (right * known).sum() / count}

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
        """Continues each clip; see `Forecaster.forecast`. Without samples it takes the most likely code at each step.

        The prompt are as many of the last observed frames as all clips have, in whole steps, and as the transformer
        has room for beside the future.
        """
        check_forecast(num_frames, num_samples)
        batch = fill_masked_values(batch)
        check_still_frame(batch)
        hands = two_hands(*input_joints(batch), batch.require('hand_side'), self.mirror_single_hands)
        steps = -(-num_frames // self.step_frames)
        prompt_frames = self._prompt_steps(hands, batch.frame_valid, steps) * self.step_frames
        joints, valid = last_frames(hands.joints, hands.valid, batch.frame_valid, prompt_frames)
        features = self.tokenizer.motion(joints, valid)
        samples = num_samples or 1
        codes = self.transformer.sample(
            encode_codes(self, features, self.step_frames).repeat_interleave(samples, 0),
            steps,
            self._action(batch, action).repeat_interleave(samples, 0),
            temperature=self.temperature if num_samples else 0.0,
            top_k=self.top_k,
            generator=generator,
            next_state=lambda *inputs: self.run_part(NEXT_STATE, *inputs)[0],
        )
        anchors = anchor_hands(features, joints, valid, last=True)
        future = decode_joints(
            self.tokenizer.motion,
            decode_codes(self, codes),
            anchors.repeat(samples),
            join_frames=self.join_time * self.frame_rate,
        )[:, prompt_frames : prompt_frames + num_frames]
        repeated = TwoHands(*(x.repeat_interleave(samples, 0) for x in hands))
        known = restore_joint_flags(repeated, anchors.repeat(samples).known)
        return future_batch(batch, repeated.restore(future), known, self.frame_rate)

    def _prompt_steps(self, hands: TwoHands, frame_valid: Tensor | None, steps: int) -> int:
        """How many steps of each clip to start from, for a future of `steps`."""
        frames = hands.joints.shape[1] if frame_valid is None else int(frame_valid.sum(1).min())
        if frames < self.min_frames:
            raise ValueError(
                f'PoseGPT needs at least {self.min_frames} observed frames, got {frames}: give a longer clip'
            )
        room = self.transformer.max_steps - steps
        if room < 1:
            raise ValueError(
                f'PoseGPT knows at most {self.transformer.max_steps * self.step_frames} frames, the observed ones '
                f'included, of which a future may take all but {self.step_frames}; got one of '
                f'{steps * self.step_frames}: forecast fewer frames'
            )
        return min(frames // self.step_frames, room)

    def _action(self, batch: HandSequence, label: Tensor | None) -> Tensor:
        """The actions (B,), -1 where unknown."""
        if label is None:
            return torch.full((len(batch.meta),), -1, device=batch.require('hand_side').device)
        check_labels(batch, label, self.transformer.num_actions, 'action')
        return label
