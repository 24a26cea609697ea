"""The short-term block of G-HTT as a system of its own (Wen et al., sections 3.2, 3.3): refines and continues motion.

There is no public code; docs/systems/ghtt.md lists what the paper leaves open and what is done here.
Legend: B clips, S samples, t = 16 frames of a clip, F future frames, D = 147 features.
"""

from typing import Any

import torch
from torch import Tensor

from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.forecaster import TwoHands, input_joints, last_frames, two_hands
from handpose.models.estimators.ghtt_blocks import PoseCode
from handpose.models.estimators.motion_decoding import joint_distance
from handpose.models.estimators.pose_forecaster import PoseForecaster
from handpose.models.layers.two_hand_motion import TwoHandFeatures
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


@MODELS.register_module()
class GHTTPose(PoseForecaster):
    """Block P alone: refines observed motion, and continues it clip by clip (path P.a).

    Training minimizes L_P = L_comp + L_trj + L_KL (Eq. 1 to 3) on clips of 2 t frames, of which the first t are the
    input. So that the decoder also works from the mid-level feature alone, as path P.b needs, the skip connection is
    left out of a share of the clips; the paper calls it optional and gives no share.

    Args:
        pose_block: config of `GHTTPoseBlock`.
        frame_rate: frames per second of the motion it is trained on.
        skip: the decoder attends to the features of observed frames.
        skip_drop: share of the training clips without that.
        component_weight: of L_comp (paper: 1).
        trajectory_loss: config of `TrajectoryLoss` (paper: weight 1).
        kl_loss: config of `GaussianKLLoss` (paper: weight 1e-5).
        joint_weight: of the L1 distance of predicted joints, summed over coordinates, in metres; not in the paper.
        stride: see `PoseForecaster`.
        mirror_single_hands: see `PoseForecaster`.
        std_scale: see `PoseForecaster`.
        test_samples: see `Forecaster`.
        seed: see `Forecaster`.

    Raises:
        ValueError: an option out of its range.
    """

    def __init__(
        self,
        pose_block: dict[str, Any],
        frame_rate: float = 30.0,
        skip: bool = True,
        skip_drop: float = 0.5,
        component_weight: float = 1.0,
        trajectory_loss: dict[str, Any] | None = None,
        kl_loss: dict[str, Any] | None = None,
        joint_weight: float = 0.0,
        stride: int = 8,
        mirror_single_hands: bool = True,
        std_scale: float = 5.0,
        test_samples: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(pose_block, frame_rate, stride, mirror_single_hands, std_scale, test_samples, seed)
        if not 0 <= skip_drop <= 1:
            raise ValueError(f'skip_drop must be from 0 to 1, got {skip_drop}')
        self.skip, self.skip_drop = skip, skip_drop
        self.component_weight, self.joint_weight = component_weight, joint_weight
        self.trajectory_loss = MODELS.build({'type': 'TrajectoryLoss', **(trajectory_loss or {})})
        self.kl_loss = MODELS.build({'type': 'GaussianKLLoss', 'loss_weight': 1e-5, **(kl_loss or {})})

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """L_P of a batch of clips of 2 t frames; see `Estimator.loss`."""
        batch, block = fill_masked_values(batch), self.pose_block
        size, side = block.num_frames, batch.require('hand_side')
        truth, truth_valid = batch.require('joints_3d'), batch.require('joints_valid')
        if truth.shape[1] != 2 * size:
            raise ValueError(
                f'GHTTPose is trained on clips of {2 * size} frames, {size} observed and {size} predicted; got '
                f'{truth.shape[1]}: set num_frames of the ClipSampling'
            )
        given = two_hands(*input_joints(batch), side, self.mirror_single_hands)
        true = two_hands(truth, truth_valid, side, self.mirror_single_hands)
        seen = block.motion(given.joints[:, :size], given.valid[:, :size])
        target = block.motion(true.joints, true.valid, seen.origin)
        if self.training:
            block.normalizer.update(target.values, target.valid)
        generator = torch.Generator(truth.device).manual_seed(step.iteration)
        code = block.encode(seen)
        latent = code.latent.sample(1.0 if self.training else 0.0, generator)
        future = block.decode(latent, code.refined[:, -1], *self._skip_memory(code, generator))
        predicted = torch.cat([code.refined, future], 1).float()
        error = torch.where(target.valid, predicted - block.normalizer(target.values), 0).abs()
        losses = {
            'loss_component': self.component_weight * error.sum(-1).mean(),
            'loss_trajectory': self._trajectory(future, target, seen.origin),
            'loss_kl': self.kl_loss(code.latent.mean, code.latent.log_variance),
        }
        if self.joint_weight:
            losses['loss_joints'] = self.joint_weight * self._joint_error(future, target, true, seen.origin)
        return losses

    def _skip_memory(self, code: PoseCode, generator: torch.Generator) -> tuple[Tensor | None, Tensor | None]:
        """gamma and the frames of it that are attended to: none for the share `skip_drop` of the clips."""
        if not self.skip:
            return None, None
        drawn = torch.rand(len(code.refined), generator=generator, device=code.refined.device)
        kept = drawn >= self.skip_drop if self.training else torch.ones_like(drawn, dtype=torch.bool)
        return code.latent.features, code.memory_valid & kept[:, None]

    def _trajectory(self, future: Tensor, target: TwoHandFeatures, origin: Tensor) -> Tensor:
        motion, last = self.pose_block.motion, self.pose_block.num_frames - 1
        predicted = motion.accumulate(self.pose_block.normalizer.denormalize(future))
        true = motion.between_palms(target.palms[:, last + 1 :], target.palms[:, last], origin)
        valid = target.palm_valid[:, last + 1 :] & target.palm_valid[:, last : last + 1]
        return self.trajectory_loss(predicted, true, valid)

    def _joint_error(self, future: Tensor, target: TwoHandFeatures, true: TwoHands, origin: Tensor) -> Tensor:
        """`joint_distance` of future joints, the palms going on from the true last frame."""
        block, last = self.pose_block, self.pose_block.num_frames - 1
        valid = true.valid[:, last + 1 :] & target.palm_valid[:, last : last + 1, :, None]
        values = block.normalizer.denormalize(future)
        return joint_distance(block.motion, values, target.palms[:, last], origin, true.joints[:, last + 1 :], valid)

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
        """Path P.a: each clip is predicted from the one before; see `Forecaster.forecast`."""
        batch = fill_masked_values(batch)
        hands, known = self.forecast_inputs(batch, num_frames, num_samples)
        last = last_frames(hands.joints, hands.valid, batch.frame_valid, self.pose_block.num_frames)
        joints, _ = self.continue_clips(*last, num_frames, num_samples, generator, self.skip)
        return self.give_future(batch, hands, joints[:, :num_frames], known)
