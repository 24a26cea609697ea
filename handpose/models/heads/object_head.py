"""Which object is in the hand (HTT, Eq. 3).

Legend: C channels, O objects; leading axes are written `...`.
"""

from torch import Tensor, nn

from handpose.models.layers.mlp import make_activation
from handpose.registry import MODELS


@MODELS.register_module()
class ObjectHead(nn.Module):
    """Two linear layers, from the feature of a frame to the logits of its object.

    Args:
        channels: C.
        num_objects: O.
        activation: between the layers: None (the published code), 'relu' or 'leaky_relu'. The paper says MLP.

    Raises:
        ValueError: the activation is unknown.
    """

    def __init__(self, channels: int = 512, num_objects: int = 8, activation: str | None = None) -> None:
        super().__init__()
        self.num_objects = num_objects
        between = nn.Identity() if activation is None else make_activation(activation)
        self.layers = nn.Sequential(nn.Linear(channels, channels), between, nn.Linear(channels, num_objects))

    def forward(self, features: Tensor) -> Tensor:
        """Classifies the object.

        Args:
            features: (..., C).

        Returns:
            Logits (..., O).
        """
        return self.layers(features)
