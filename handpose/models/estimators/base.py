"""The interface of complete systems: what an estimator reads, what it gives, how it trains and how it predicts.

Legend: T frames, H hands, J = 21 joints, C channels, h w image size.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import getattr_static
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from handpose.hands import HandModel
from handpose.models.estimators.network_parts import NetworkPart, PartSession, find_part
from handpose.structures import HandSequence


@dataclass(frozen=True)
class Reads:
    """What an estimator reads of a batch. None means that any value will do.

    Attributes:
        fields: fields of `HandSequence` that `predict` needs.
        num_frames: frames in a window.
        frame_step: frames of the track from one position of a window to the next.
        frame_rate: frames per second of the tracks it is trained on.
        num_hands: hands in a clip.
        num_cameras: cameras in a clip.
        image_size: (width, height), pixels.
        image_mean: of each channel, for RGB in [0, 255].
        image_std: of each channel, for RGB in [0, 255].
        min_frames: positions below which a track gives the estimator less than one window of context.
    """

    fields: tuple[str, ...]
    num_frames: int | None = None
    frame_step: int = 1
    frame_rate: float | None = None
    num_hands: int | None = None
    num_cameras: int | None = None
    image_size: tuple[int, int] | None = None
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None
    min_frames: int = 1


@dataclass(frozen=True)
class Gives:
    """What the predictions of an estimator are.

    Attributes:
        frame: coordinate frame of the 3D fields, 'camera', 'world' or 'wrist'; None means that of the input.
        hand_model: of the predicted vertices and hand-model parameters; None means joints alone.
        classes: how many classes there are scores of: {'objects': O, 'actions': A}, or fewer keys.
    """

    frame: str | None
    hand_model: HandModel | None = None
    classes: Mapping[str, int] = field(default_factory=dict)


class TrainingStep(NamedTuple):
    """Where a training run stands; a loss may depend on it, and derives its random draws from `iteration`."""

    iteration: int = 0  # batches seen before this one
    progress: float = 0.0  # share of the run that is done, in [0, 1]


IN_TORCH = 'torch, float32'
FRAMES_AT_ONCE = 32  # images that a prediction has in the backbone at the same time


class EncodedFrames(NamedTuple):
    """What a video estimator keeps of T frames; every tensor has one row per frame."""

    features: Tensor  # (T, C)
    joints_2d: Tensor | None = None  # (T, H, J, 2), in [0, 1] of the box that the network saw
    boxes: Tensor | None = None  # (T, H, 4), xyxy pixels of the image, the regions that features are of

    def select(self, index: Tensor | slice) -> 'EncodedFrames':
        """The rows of some frames: a slice, or T' frame numbers."""
        joints_2d, boxes = self.joints_2d, self.boxes
        return EncodedFrames(
            self.features[index],
            None if joints_2d is None else joints_2d[index],
            None if boxes is None else boxes[index],
        )

    @staticmethod
    def cat(parts: 'list[EncodedFrames]') -> 'EncodedFrames':
        """Joins the rows of several pieces of a track, in order; all of them come from one estimator."""
        joints_2d = [part.joints_2d for part in parts if part.joints_2d is not None]
        boxes = [part.boxes for part in parts if part.boxes is not None]
        return EncodedFrames(
            torch.cat([part.features for part in parts]),
            torch.cat(joints_2d) if joints_2d else None,
            torch.cat(boxes) if boxes else None,
        )


def _is_abstract(member: object) -> bool:
    return getattr(member, '__isabstractmethod__', False) is True


class Estimator(nn.Module):
    """A complete system. It needs no Runner: a plain loop over `loss` trains it.

    A subclass defines the properties `reads` and `gives` and the methods `loss` and `predict`. A class that lacks one
    of them is refused when it is defined; a base that leaves some to its own subclasses is declared with
    `class Base(Estimator, abstract=True)`.

    Raises:
        TypeError: when an incomplete subclass is defined; names what is missing.
    """

    def __init_subclass__(cls, abstract: bool = False) -> None:
        super().__init_subclass__()
        declared = {name for base in cls.__mro__ for name, member in vars(base).items() if _is_abstract(member)}
        missing = sorted(name for name in declared if _is_abstract(getattr_static(cls, name)))
        if missing and not abstract:
            raise TypeError(
                f'{cls.__name__} is not a complete estimator: it must define {", ".join(missing)} '
                f'(handpose/models/estimators/base.py says what each of them does)'
            )

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, PartSession] = {}
        self.computed_by = IN_TORCH

    @property
    @abstractmethod
    def reads(self) -> Reads:
        """What `loss` and `predict` read of a batch."""

    @property
    @abstractmethod
    def gives(self) -> Gives:
        """What predictions are."""

    @abstractmethod
    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Computes the training losses.

        Args:
            batch: clips with targets.
            step: where the training run stands; `TrainingStep()` at its beginning.

        Returns:
            Scalars by name; training minimizes the sum of those whose names contain 'loss'.

        Raises:
            NotImplementedError: the estimator has nothing to train.
            ValueError: the estimator was built without a loss, or the batch lacks a field.
        """

    @abstractmethod
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Predicts a batch, without gradients.

        Args:
            batch: clips of any number of frames, with the fields of `reads.fields`.
            num_samples: how many futures to sample; an estimator that samples nothing takes None or 1.
            generator: source of all random numbers; None means torch's global one. Unused where nothing is sampled.

        Returns:
            Batch in the frame of `gives.frame`, with the masks of what was predicted.

        Raises:
            ValueError: several samples of a deterministic estimator, or the batch lacks a field.
        """

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """The networks that can be exported; none for an estimator without networks."""
        return ()

    def export_notes(self) -> dict[str, Any]:
        """What the user of an exported network must know beside `reads` and `gives`: JSON values by key."""
        return {}

    def run_part(self, name: str, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Computes a part of `network_parts`: in torch, or in the runtime of `use_sessions`.

        Args:
            name: of the part.
            *inputs: of its function.

        Returns:
            The outputs of its function.
        """
        session = self._sessions.get(name)
        if session is None:
            return find_part(self.network_parts(), name, type(self).__name__).function(*inputs)
        return session(inputs)

    def use_sessions(self, sessions: Mapping[str, PartSession], computed_by: str = IN_TORCH) -> None:
        """Lets `predict` compute parts elsewhere, until the estimator is trained or other weights are loaded.

        Args:
            sessions: {name of a part: what computes it}, made of the present weights; others run in torch.
            computed_by: what computes them, for people.

        Raises:
            ValueError: an unknown part.
        """
        for name in sessions:
            find_part(self.network_parts(), name, type(self).__name__)
        self._sessions, self.computed_by = dict(sessions), computed_by

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: no sessions, which cannot be copied. So it predicts in torch."""
        return {**vars(self), '_sessions': {}, 'computed_by': IN_TORCH}

    def train(self, mode: bool = True) -> 'Estimator':
        """Sets the mode; whoever trains the estimator does so in torch, and predicts with the new weights."""
        if mode:
            self._sessions, self.computed_by = {}, IN_TORCH
        return super().train(mode)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights; predictions with them run in torch until `use_sessions` is called again."""
        self._sessions, self.computed_by = {}, IN_TORCH
        return super().load_state_dict(state_dict, strict, assign)

    def init_weights(self) -> None:
        """Starts components from the pretrained weights that their configs name; by default there are none."""

    def published_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The config that published weights hold, which needs no file that the weights make unnecessary.

        Args:
            config: that the estimator was built from.

        Returns:
            By default the config as it is.
        """
        return dict(config)

    def _refuse_samples(self, num_samples: int | None) -> None:
        """Raises ValueError where several samples are asked of an estimator that is deterministic."""
        if num_samples not in (None, 1):
            raise ValueError(
                f'{type(self).__name__} is deterministic and gives one prediction, got num_samples={num_samples}: '
                f'leave num_samples out'
            )


class VideoEstimator(Estimator, abstract=True):
    """An estimator of images, which encodes each frame once and then decodes windows or tracks of any length."""

    @abstractmethod
    def encode_frames(
        self, images: Tensor, boxes: Tensor | None = None, hand_side: Tensor | None = None
    ) -> EncodedFrames:
        """Encodes frames one by one, without gradients, a bounded number at a time.

        Args:
            images: (T, 3, h, w) RGB in [0, 255].
            boxes: (T, H, 4) xyxy of the hands, pixels; for estimators whose `reads.fields` contain 'boxes'.
            hand_side: (H,) int, 0 left and 1 right; for estimators whose `reads.fields` contain 'hand_side'.

        Returns:
            One row per frame; pieces of one track can be encoded apart and joined with `EncodedFrames.cat`.

        Raises:
            ValueError: an argument that the estimator reads is missing.
        """

    @abstractmethod
    def decode_track(
        self,
        encoded: EncodedFrames,
        *,
        frame_valid: Tensor | None = None,
        hand_side: Tensor | None = None,
        intrinsics: Tensor | None = None,
        occlusion: Tensor | None = None,
    ) -> HandSequence:
        """Predicts a track of T successive frames from what `encode_frames` gave, without gradients.

        Args:
            encoded: of the T frames.
            frame_valid: (T,) bool, frames that show the hands; None means all.
            hand_side: (H,) int, 0 left and 1 right.
            intrinsics: (T, 3, 3) of the encoded images.
            occlusion: (T, H), see `HandSequence`.

        Returns:
            Clip of T frames in the frame of `gives.frame`. It has no `meta` and no timestamps.

        Raises:
            ValueError: an argument that the estimator reads (`reads.fields`) is missing.
        """

    def frame_attention(
        self, encoded: EncodedFrames, intrinsics: Tensor, frame_valid: Tensor | None = None
    ) -> Tensor | None:
        """How much each frame counts in the action of a track; None for an estimator that cannot tell.

        Args:
            encoded: of the T frames.
            intrinsics: (T, 3, 3) of the encoded images.
            frame_valid: (T,) bool; None means all.

        Returns:
            (T,), of which the sum is at most 1, or None.
        """
        return None
