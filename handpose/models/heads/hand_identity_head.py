"""Which hands a crop shows: left, right or both (AssemblyHands, section 4). Legend: N crops, C channels."""

import torch
from torch import Tensor, nn

from handpose.models.layers.checks import check_option
from handpose.models.layers.mlp import MLP
from handpose.models.layers.precision import at_least_float32
from handpose.registry import MODELS

CLASSES = {'exclusive': 3, 'independent': 2}


@MODELS.register_module()
class HandIdentityHead(nn.Module):
    """Two linear layers, from the feature of a crop to the hands that it shows.

    Args:
        in_channels: C.
        hidden_channels: of the layer between.
        classes: 'exclusive': left, right and both are three classes, of which a crop is one, by a softmax (the paper);
            'independent': whether there is a left hand, and whether there is a right hand, by two sigmoids (the
            dataset's toolkit).

    Raises:
        ValueError: unknown classes.
    """

    def __init__(self, in_channels: int = 2048, hidden_channels: int = 512, classes: str = 'exclusive') -> None:
        super().__init__()
        check_option('classes', classes, tuple(CLASSES))
        self.classes = classes
        self.layers = MLP(in_channels, (hidden_channels, CLASSES[classes]))

    def forward(self, features: Tensor) -> Tensor:
        """Computes logits.

        Args:
            features: (N, C), or with other leading axes.

        Returns:
            (N, 3) of left, right and both for 'exclusive' classes, (N, 2) of left and right for 'independent' ones;
            leading axes as those of `features`.
        """
        return self.layers(features)


def identity_scores(logits: Tensor) -> Tensor:
    """The probability that a crop shows each hand, from logits of either kind of classes.

    Args:
        logits: (..., 3) of left, right and both, or (..., 2) of left and right.

    Returns:
        (..., 2) of the left and of the right hand, float32 at least.

    Raises:
        ValueError: neither two nor three logits.
    """
    logits = at_least_float32(logits)
    if logits.shape[-1] == CLASSES['independent']:
        return logits.sigmoid()
    if logits.shape[-1] != CLASSES['exclusive']:
        raise ValueError(f'expected the logits of 2 or 3 classes, got {logits.shape[-1]}')
    left, right, both = logits.softmax(-1).unbind(-1)
    return torch.stack([left + both, right + both], -1)
