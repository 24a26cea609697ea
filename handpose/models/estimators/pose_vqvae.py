"""First stage of PoseGPT: the clip VQ-VAE that turns motion into codes (Lucas et al., ECCV 2022, section 3.1).

Legend: B clips, T frames, L codes of a clip, D = 147 numbers of a frame.
"""

from typing import Any

import torch
from torch import Tensor

from handpose.models.estimators.base import Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.forecaster import two_hands
from handpose.models.estimators.forecaster_parts import decode_codes, encode_codes, tokenizer_parts
from handpose.models.estimators.joint_clips import JointClips, random_crops, two_hand_clips, whole_steps
from handpose.models.estimators.motion_decoding import (
    anchor_hands,
    decode_joints,
    joint_distance,
    restore_joint_flags,
)
from handpose.models.estimators.motion_tokenizer import MotionTokenizer
from handpose.models.estimators.network_parts import NetworkPart
from handpose.models.layers.two_hand_motion import TwoHandFeatures
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values

PIECE_FRAMES = 16  # over which palm motions are accumulated in the losses, as in G-HTT's L_trj


@MODELS.register_module()
class PoseVQVAE(Estimator):
    """Trains the tokenizer of `PoseGPT` to reconstruct motion; `predict` gives joints on their way through the codes.

    Args:
        tokenizer: config of `MotionTokenizer`.
        frame_rate: frames per second of the motion.
        min_frames: the shortest training crop.
        max_frames: the longest training crop.
        mirror_single_hands: clips of a single left hand are seen in a mirror.
        component_weight: of the features' errors, see `loss`.
        commitment_weight: of the distance of features to their codes (van den Oord et al., 2017: 0.25).
        trajectory_loss: config of `TrajectoryLoss`, of palm motions accumulated over 16 frames.
        joint_weight: of the L1 distance of joints, summed over coordinates, in metres, in the same pieces of 16 frames.
    """

    def __init__(
        self,
        tokenizer: dict[str, Any],
        frame_rate: float = 30.0,
        min_frames: int = 16,
        max_frames: int = 128,
        mirror_single_hands: bool = True,
        component_weight: float = 1.0,
        commitment_weight: float = 0.25,
        trajectory_loss: dict[str, Any] | None = None,
        joint_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= min_frames <= max_frames:
            raise ValueError(f'it takes 1 <= min_frames <= max_frames, got {min_frames} and {max_frames}')
        self.tokenizer: MotionTokenizer = MODELS.build({'type': 'MotionTokenizer', **tokenizer})
        self.frame_rate, self.min_frames, self.max_frames = frame_rate, min_frames, max_frames
        self.mirror_single_hands, self.commitment_weight = mirror_single_hands, commitment_weight
        self.component_weight, self.joint_weight = component_weight, joint_weight
        self.trajectory_loss = MODELS.build({'type': 'TrajectoryLoss', **(trajectory_loss or {})})

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`."""
        fields = ('joints_3d', 'joints_valid', 'hand_side', 'frame_valid')
        return Reads(fields=fields, frame_rate=self.frame_rate)

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None)

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""
        return tokenizer_parts(self.tokenizer)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Errors of the reconstruction of random crops of true motion; see `Estimator.loss`.

        `loss_component` is the L1 distance of normalized features, the sum over a frame's numbers and the mean over
        frames, as L_comp of G-HTT. 'perplexity' is how many entries of a codebook the batch uses, the mean over them.
        """
        clips = two_hand_clips(fill_masked_values(batch), self.mirror_single_hands)
        clips = random_crops(clips, self.min_frames, self.max_frames, step.iteration)
        clips = whole_steps(clips, self.tokenizer.frames_per_code)
        features = self.tokenizer.motion(clips.joints, clips.joints_valid)
        output = self.tokenizer(features)
        target = self.tokenizer.normalizer(features.values)
        error = torch.where(features.valid, output.motion.float() - target, 0).abs().sum(-1)
        return {
            'loss_component': self.component_weight * error.sum() / clips.frame_valid.sum().clamp_min(1),
            **self._piecewise(output.motion, features, clips),
            'loss_commitment': self.commitment_weight * output.quantized.commitment,
            'perplexity': output.quantized.perplexity.mean(),
        }

    def _piecewise(self, predicted: Tensor, target: TwoHandFeatures, clips: JointClips) -> dict[str, Tensor]:
        """Losses of pieces of the clips, each of which goes on from the true palms of the frame before it."""
        motion, frames = self.tokenizer.motion, min(PIECE_FRAMES, predicted.shape[1] - 1)
        if frames < 1:
            return {'loss_trajectory': predicted.sum() * 0}
        count = (predicted.shape[1] - 1) // frames

        def pieces(x: Tensor) -> Tensor:
            return x[:, 1 : 1 + count * frames].unflatten(1, (count, frames)).flatten(0, 1)

        def before(x: Tensor) -> Tensor:
            return x[:, : count * frames : frames].flatten(0, 1)

        values = self.tokenizer.normalizer.denormalize(pieces(predicted))
        start, valid = before(target.palms), before(target.palm_valid)[:, None]
        origin = target.origin.repeat_interleave(count, 0)
        true = motion.between_palms(pieces(target.palms), start, origin)
        trajectory = self.trajectory_loss(motion.accumulate(values), true, pieces(target.palm_valid) & valid)
        losses = {'loss_trajectory': trajectory}
        if self.joint_weight:
            joints_valid = pieces(clips.joints_valid) & valid[..., None]
            distance = joint_distance(motion, values, start, origin, pieces(clips.joints), joints_valid)
            losses['loss_joints'] = self.joint_weight * distance
        return losses

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Reconstructs true motion from its codes, each palm going on from the first frame that shows it.

        Args:
            batch: (B, T, H, ...) with joints_3d.
            num_samples: None or 1.
            generator: unused.

        Returns:
            Batch in the input's frame: joints_3d of every frame of each hand that any frame shows.
        """
        self._refuse_samples(num_samples)
        batch = fill_masked_values(batch)
        clips = two_hand_clips(batch, self.mirror_single_hands)
        padded = whole_steps(clips, self.tokenizer.frames_per_code)
        features = self.tokenizer.motion(padded.joints, padded.joints_valid)
        anchors = anchor_hands(features, padded.joints, padded.joints_valid, last=False)
        values = decode_codes(self, encode_codes(self, features, self.tokenizer.frames_per_code))
        joints = decode_joints(self.tokenizer.motion, values, anchors)
        hands = two_hands(
            batch.require('joints_3d'),
            batch.require('joints_valid'),
            batch.require('hand_side'),
            self.mirror_single_hands,
        )
        known = restore_joint_flags(hands, anchors.known)[:, None] & clips.frame_valid[..., None, None]
        joints = hands.restore(joints[:, : clips.frame_valid.shape[1]])
        return HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=clips.frame_valid,
            timestamps=batch.timestamps,
            hand_side=batch.hand_side,
            hand_valid=known.any(-1),
            joints_3d=torch.where(known[..., None], joints, 0),
            joints_valid=known,
        )
