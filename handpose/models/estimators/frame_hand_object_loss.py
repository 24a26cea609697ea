"""What the image estimator F is trained with: HTT's loss of 2.5D joints, and G-HTT's two terms for a named feature.

Legend: B clips, T frames, E numbers of a text feature, O objects.
"""

import torch
from torch import Tensor, nn

from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.frame_hand_object import FrameHandObjectOutput
from handpose.models.losses.masking import masked_difference
from handpose.models.losses.single_frames import joints_25d_error, label_error
from handpose.models.losses.targets import ActionTarget
from handpose.registry import MODELS


@MODELS.register_module()
class FrameHandObjectLoss(nn.Module):
    """L1 of the 2.5D joints (HTT, Eq. 2), and cross entropy and L1 of the object's feature (as G-HTT, Eq. 4 and 5).

    Each is the mean over the frames of the batch that are annotated. The paper gives no weights for F.

    Args:
        hand_weight: of the joints' loss, as in `HTTLoss`. It is in pixels: at another image size, scale it.
        depth_weight: of depth in metres against image position in pixels.
        contrast_weight: of the cross entropy over the objects.
        feature_weight: of the L1 distance between the feature and the text feature, the sum of E differences.
    """

    def __init__(
        self,
        hand_weight: float = 0.5,
        depth_weight: float = 200.0,
        contrast_weight: float = 1.0,
        feature_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.hand_weight, self.depth_weight = hand_weight, depth_weight
        self.contrast_weight, self.feature_weight = contrast_weight, feature_weight

    def forward(
        self, output: FrameHandObjectOutput, target: ActionTarget, text_features: Tensor, step: TrainingStep
    ) -> dict[str, Tensor]:
        """Compares the output of B clips with their targets.

        Args:
            output: (B, T, ...).
            target: of the same clips; its action is not used.
            text_features: (O, E), of the objects.
            step: unused; every loss of a system takes it.

        Returns:
            Scalars by name.
        """
        error, has_hand = joints_25d_error(output.uv, output.depth, target, self.depth_weight)
        contrast, has_object = label_error(output.object_logits, target.object_label)
        has_object = has_object & target.frame_valid
        labels = torch.zeros_like(target.frame_valid, dtype=torch.int64)
        labels = labels if target.object_label is None else target.object_label.clamp_min(0)
        distance = masked_difference(output.object_features, text_features[labels], has_object).abs().sum(-1)
        return {
            'loss_hand': self.hand_weight * _mean(error, has_hand & target.frame_valid),
            'loss_object': self.contrast_weight * _mean(contrast, has_object),
            'loss_object_feature': self.feature_weight * _mean(distance, has_object),
        }


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Of values (B, T) over the frames that are `valid` (B, T); 0 if there is none."""
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp_min(1)
