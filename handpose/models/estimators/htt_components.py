"""What HTT needs of its components; whatever satisfies these protocols fits.

Legend: N images, B clips, T frames, C channels, H hands, J = 21 joints, O objects, A actions.
"""

from typing import Protocol

from torch import Tensor

from handpose.models.heads import ActionLogits, Pose25D
from handpose.models.layers import AttendedTokens


class FeatureBackbone(Protocol):
    """One feature vector per image."""

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, h, w) -> (N, C)."""

    def init_weights(self) -> None:
        """Starts from pretrained weights, if any are configured."""


class PoseBlock(Protocol):
    """Short-term reasoning over windows of frames, the paper's P.

    Attributes:
        window: frames in a window; None means the whole clip.
    """

    window: int | None

    def __call__(self, features: Tensor, frame_valid: Tensor | None, return_attention: bool) -> AttendedTokens:
        """(B, T, C), (B, T) bool -> features (B, T, C), and attention if asked for."""


class PoseHead(Protocol):
    """The hands of each frame as image positions and depths.

    Attributes:
        num_hands: H.
        image_size: (width, height) of the images, pixels.
    """

    num_hands: int
    image_size: tuple[int, int]

    def __call__(self, features: Tensor, intrinsics: Tensor) -> Pose25D:
        """(B, T, C), (B, T, 3, 3) -> uv (B, T, H, J, 2) pixels, depth (B, T, H, J) metres, and raw numbers."""

    def lift(self, uv: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
        """To joints in camera space: (B, T, H, J, 3), metres."""


class ObjectClassifier(Protocol):
    """The object in each frame.

    Attributes:
        num_objects: O.
    """

    num_objects: int

    def __call__(self, features: Tensor) -> Tensor:
        """(B, T, C) -> logits (B, T, O)."""


class FrameTokenizer(Protocol):
    """What of each frame enters the action block."""

    def __call__(self, features: Tensor, pose: Tensor, objects: Tensor) -> Tensor:
        """(B, T, C), image positions (B, T, H, J, 2) and probabilities (B, T, O) -> tokens (B, T, C)."""


class ActionClassifier(Protocol):
    """The action of a clip, the paper's A.

    Attributes:
        num_actions: A.
    """

    num_actions: int

    def __call__(self, tokens: Tensor, frame_valid: Tensor | None, return_attention: bool) -> ActionLogits:
        """(B, T, C), (B, T) bool -> logits (B, A), and attention (B, heads, T) if asked for."""
