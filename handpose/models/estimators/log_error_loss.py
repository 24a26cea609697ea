"""A loss for refiners that serve estimators of any accuracy.

Legend: N hands, T frames, J joints.
"""

import torch
from torch import Tensor, nn

from handpose.hands import HandModel
from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.motion_refiner import RefinedMotion
from handpose.models.losses.masking import masked_difference
from handpose.models.losses.targets import MotionTarget
from handpose.registry import MODELS


@MODELS.register_module()
class LogErrorLoss(nn.Module):
    """Logarithm of the mean distance to the true points in a clip, plus the same of accelerations.

    A clip with twice the error has the same gradient when its error shrinks by the same ratio, so accurate input counts
    as much as inaccurate input.

    Args:
        offset: metres added to the mean distance of a clip: errors far below it do not matter.
        acceleration_weight: of the second differences over time.
    """

    def __init__(self, offset: float = 1e-3, acceleration_weight: float = 0.1) -> None:
        super().__init__()
        if not 0 < offset < float('inf') or acceleration_weight < 0:
            raise ValueError(
                f'offset must be above 0 and acceleration_weight at least 0, got {offset} and {acceleration_weight}'
            )
        self.offset, self.acceleration_weight = offset, acceleration_weight

    def forward(
        self, output: RefinedMotion, target: MotionTarget, step: TrainingStep, hand_model: HandModel | None = None
    ) -> dict[str, Tensor]:
        """Compares refined motions with their targets.

        Args:
            output: joints (N, T, J, 3) metres; a pose or shape is not trained.
            target: of the same hands.
            step: not used.
            hand_model: not used.

        Returns:
            'loss_joints' and 'loss_acceleration', scalars; an acceleration counts where the joint is valid in all three
            frames.
        """
        valid = target.joints_valid & target.frame_valid[..., None]
        difference = masked_difference(output.joints, target.joints, valid)
        losses = {'loss_joints': self._of_clips(difference, valid)}
        if self.acceleration_weight:
            second = difference[:, :-2] - 2 * difference[:, 1:-1] + difference[:, 2:]
            known = valid[:, :-2] & valid[:, 1:-1] & valid[:, 2:]
            losses['loss_acceleration'] = self.acceleration_weight * self._of_clips(second, known)
        unused = [x.sum() for x in output[1:] if x is not None]
        if unused:  # stays in the graph
            losses['loss_parameters'] = 0.0 * torch.stack(unused).sum()
        return losses

    def _of_clips(self, difference: Tensor, valid: Tensor) -> Tensor:
        # The length of a zero vector has no gradient.
        length = (difference.square().sum(-1) + 1e-12).sqrt() * valid
        mean = length.sum((1, 2)) / valid.sum((1, 2)).clamp_min(1)
        return torch.log(mean / self.offset + 1).mean()
