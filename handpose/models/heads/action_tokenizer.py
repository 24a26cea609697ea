"""The action block's input for each frame (HTT, Eq. 5).

Legend: H hands, J = 21 joints, O objects, C channels; leading axes are written `...`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from handpose.models.heads.pose_25d_head import NUM_JOINTS
from handpose.registry import MODELS

INPUTS = ('image', 'pose', 'object')


@MODELS.register_module()
class ActionTokenizer(nn.Module):
    """Mixes a frame's feature, its 2D pose and the probabilities of its object into one token, by linear layers.

    Args:
        channels: C.
        num_hands: H.
        num_objects: O.
        inputs: which of 'image', 'pose' and 'object' are used (the paper's Table 5).
        detach: the action's gradient does not reach pose and object through the token (published: it does).

    Raises:
        ValueError: no input, or an unknown or repeated one.
    """

    def __init__(
        self,
        channels: int = 512,
        num_hands: int = 2,
        num_objects: int = 8,
        inputs: Sequence[str] = INPUTS,
        detach: bool = False,
    ) -> None:
        super().__init__()
        if not inputs or len(set(inputs)) < len(inputs) or not set(inputs) <= set(INPUTS):
            raise ValueError(f'inputs must be some of {INPUTS}, each once, got {tuple(inputs)}')
        self.inputs, self.detach = tuple(inputs), detach
        self.pose = nn.Linear(num_hands * NUM_JOINTS * 2, channels) if 'pose' in inputs else None
        self.object = nn.Linear(num_objects, channels) if 'object' in inputs else None
        self.mix = nn.Linear(len(inputs) * channels, channels)

    def forward(self, features: Tensor, pose: Tensor, objects: Tensor) -> Tensor:
        """Makes the tokens.

        Args:
            features: (..., C).
            pose: (..., H, J, 2), image positions without unit.
            objects: (..., O), probabilities.

        Returns:
            (..., C).
        """
        if self.detach:
            pose, objects = pose.detach(), objects.detach()
        parts = [features] if 'image' in self.inputs else []
        if self.pose is not None:
            parts.append(self.pose(pose.flatten(-3)).to(features.dtype))
        if self.object is not None:
            parts.append(self.object(objects).to(features.dtype))
        return self.mix(torch.cat(parts, -1))
