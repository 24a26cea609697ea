"""What HTT is trained with (Wen et al., CVPR 2023, Eq. 2, 4, 7 and 8).

Legend: B clips, T frames, H hands, J = 21 joints, O objects, A actions.
"""

import torch
from torch import Tensor, nn

from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.htt import HTTOutput
from handpose.models.layers.checks import check_option
from handpose.models.losses.single_frames import joints_25d_error, label_error
from handpose.models.losses.targets import ActionTarget
from handpose.registry import MODELS

AVERAGES = ('clip', 'batch')


@MODELS.register_module()
class HTTLoss(nn.Module):
    """Cross entropy of the action, L1 of the 2.5D joints and cross entropy of the object, each over what is annotated.

    Args:
        hand_weight: of the joints' loss, the paper's lambda 2. It is in pixels: at another image size, scale it.
        depth_weight: of depth in metres against image position in pixels, lambda 1.
        object_weight: lambda 3.
        action_weight: the paper's 1.
        average: 'clip' takes the mean over a clip's frames, then over clips (Eq. 8); 'batch' over the frames of the
            whole batch, in which short clips count for less (the published code).

    Raises:
        ValueError: an unknown average.
    """

    def __init__(
        self,
        hand_weight: float = 0.5,
        depth_weight: float = 200.0,
        object_weight: float = 1.0,
        action_weight: float = 1.0,
        average: str = 'clip',
    ) -> None:
        super().__init__()
        check_option('average', average, AVERAGES)
        self.hand_weight, self.depth_weight = hand_weight, depth_weight
        self.object_weight, self.action_weight, self.average = object_weight, action_weight, average

    def forward(self, output: HTTOutput, target: ActionTarget, step: TrainingStep) -> dict[str, Tensor]:
        """Compares the output of B clips with their targets.

        Args:
            output: (B, T, ...).
            target: of the same clips.
            step: unused; every loss of a system takes it.

        Returns:
            Scalars by name.
        """
        error, has_hand = joints_25d_error(output.uv, output.depth, target, self.depth_weight)
        object_error, has_object = label_error(output.object_logits, target.object_label)
        action_error, has_action = label_error(output.action_logits, target.action_label)
        return {
            'loss_hand': self.hand_weight * self._mean(error, has_hand),
            'loss_object': self.object_weight * self._mean(object_error, has_object & target.frame_valid),
            'loss_action': self.action_weight * action_error.sum() / has_action.sum().clamp_min(1),
        }

    def _mean(self, values: Tensor, valid: Tensor) -> Tensor:
        """Of (B, T) values over the frames that are `valid` (B, T): see `average`."""
        values = torch.where(valid, values, torch.zeros_like(values))
        if self.average == 'batch':
            return values.sum() / valid.sum().clamp_min(1)
        return (values.sum(1) / valid.sum(1).clamp_min(1)).sum() / valid.any(1).sum().clamp_min(1)
