"""Classifies what two hands do from the sequence of their joints (AssemblyHands: Ohkawa et al., CVPR 2023, section 6).

Legend: B clips, T frames of a clip, N frames that the network sees, H = 2 hands (left 0, right 1), J joints, A classes,
C channels. Choices where the paper is silent are listed in docs/systems/assemblyhands.md.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.hands.joints import from_common
from handpose.models.estimators.action_targets import check_labels
from handpose.models.estimators.base import Estimator, Gives, Reads, TrainingStep
from handpose.models.estimators.forecaster import input_joints, two_hands
from handpose.models.estimators.joint_sequences import (
    COORDINATES,
    FRAMES,
    MISSING,
    PADDING,
    check_coordinates,
    clip_lengths,
    fill_missing_joints,
    frame_positions,
    relative_joints,
)
from handpose.models.estimators.motion_parts import TWO_HANDS, action_scores
from handpose.models.estimators.network_parts import WHOLE, NetworkPart, PartTensor
from handpose.models.layers.checks import check_option
from handpose.registry import MODELS
from handpose.structures import HandSequence, fill_masked_values


class SequenceEncoder(Protocol):
    """What `VerbClassifier` needs of its network, such as `MSG3D`.

    Attributes:
        joint_order: a key of `handpose.hands.JOINT_ORDERS`, the order of the joints that it takes.
        out_channels: C.
    """

    joint_order: str
    out_channels: int

    def __call__(self, points: Tensor, frame_valid: Tensor | None = None) -> Tensor:
        """Encodes (B, N, 2, J, 3) joints with a mask (B, N), False for padding, to (B, C)."""


@MODELS.register_module()
class VerbClassifier(Estimator):
    """Classifies sequences of joints of one or two hands; classes are the actions of the dataset.

    It reads `input_joints_3d`, the output of a hand pose estimator, where a batch has them, and else `joints_3d`; the
    paper trains and tests one classifier for each source of poses. `VerbDataset` makes a dataset whose actions are
    verbs. A single hand enters in the place of its side; the other one is missing.

    Args:
        network: config of the `SequenceEncoder`, such as `MSG3D`.
        num_actions: A.
        num_frames: N. Published with Assembly101 are 200 at 60 frames per second.
        frame_rate: frames per second of the sequences that it is trained on.
        coordinates: 'absolute', in the frame of the dataset, as published; 'wrist', each hand relative to its wrist; or
            'start', relative to the mean wrist at the start.
        missing: what replaces joints that are missing: 'zeros', or the 'last' value.
        frames: of a sequence of more than N frames: the 'first' N, as published; or 'uniform', one of each of N equal
            parts, drawn at random in training and the middle one in tests.
        padding: of a sequence of fewer frames: 'zeros', as the published code does, or 'tile', as it was meant to do.
        test_clips: with `frames='uniform'`, how often `predict` draws frames; scores are averaged.
        class_balance: exponent b of the weights n^-b in the loss, where n counts the training clips of a class so far:
            0 weights all clips alike, 1 all classes.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        dropout: of the feature, before the linear classifier.

    Raises:
        ValueError: an unknown option, or a number out of range.
    """

    class_counts: Tensor

    def __init__(
        self,
        network: dict,
        num_actions: int,
        num_frames: int = 100,
        frame_rate: float = 30.0,
        coordinates: str = 'absolute',
        missing: str = 'zeros',
        frames: str = 'first',
        padding: str = 'zeros',
        test_clips: int = 1,
        class_balance: float = 0.0,
        label_smoothing: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_option('coordinates', coordinates, COORDINATES)
        check_option('missing', missing, MISSING)
        check_option('frames', frames, FRAMES)
        check_option('padding', padding, PADDING)
        if num_actions < 2 or min(num_frames, test_clips) < 1 or not frame_rate > 0:
            raise ValueError(
                f'num_actions must be at least 2, num_frames and test_clips at least 1, and frame_rate above 0, got '
                f'num_actions={num_actions}, num_frames={num_frames}, test_clips={test_clips}, frame_rate={frame_rate}'
            )
        if not (0 <= class_balance <= 1 and 0 <= label_smoothing < 1):
            raise ValueError(
                f'class_balance must be from 0 to 1 and label_smoothing from 0 to below 1, got {class_balance} and '
                f'{label_smoothing}'
            )
        if test_clips > 1 and frames == 'first':
            raise ValueError("test_clips above 1 draw different frames, which frames='first' does not: give 'uniform'")
        self.network: SequenceEncoder = MODELS.build(network)
        self.num_actions, self.num_frames, self.frame_rate = num_actions, num_frames, frame_rate
        self.coordinates, self.missing, self.frames, self.padding = coordinates, missing, frames, padding
        self.test_clips, self.class_balance, self.label_smoothing = test_clips, class_balance, label_smoothing
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.network.out_channels, num_actions)
        self.register_buffer('class_counts', torch.zeros(num_actions))

    @property
    def reads(self) -> Reads:
        """See `Estimator.reads`; `input_joints_3d` and `input_valid` take the place of joints where present."""
        fields = ('joints_3d', 'joints_valid', 'hand_side', 'frame_valid')
        return Reads(fields=fields, num_frames=self.num_frames, frame_rate=self.frame_rate)

    @property
    def gives(self) -> Gives:
        """See `Estimator.gives`."""
        return Gives(frame=None, classes={'actions': self.num_actions})

    def forward(
        self, joints: Tensor, joints_valid: Tensor, frame_valid: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        """Classifies sequences.

        Args:
            joints: (B, T, 2, 21, 3), common joint order, metres; what is not valid may hold anything finite.
            joints_valid: (B, T, 2, 21) bool.
            frame_valid: (B, T) bool, False for padding, which is at the end.
            offsets: (B, N) in [0, 1), where `frames='uniform'` takes frames; None means the middle of each part.

        Returns:
            Logits (B, A).
        """
        joints, joints_valid = relative_joints(joints, joints_valid & frame_valid[..., None, None], self.coordinates)
        joints = fill_missing_joints(joints, joints_valid, self.missing)
        joints, _ = from_common(joints, self.network.joint_order)  # (B, T, 2, J, 3)
        lengths = clip_lengths(frame_valid)
        index, inside = frame_positions(lengths, self.num_frames, self.frames, self.padding, offsets)
        rows = torch.arange(joints.shape[0], device=joints.device)[:, None]
        joints = joints[rows, index] * inside[..., None, None, None]  # (B, N, 2, J, 3)
        return self.head(self.dropout(self.network(joints, inside)))

    def network_parts(self) -> tuple[NetworkPart, ...]:
        """See `Estimator.network_parts`."""

        def scores(*inputs: Tensor | None) -> tuple[Tensor, ...]:
            return (self(*inputs).float().softmax(-1),)

        places = PartTensor(
            'offsets',
            ('batch', self.num_frames),
            'where in each part of the clip a frame is taken, 0 to 1',
            default=0.5,
        )
        inputs = TWO_HANDS if self.frames == 'first' else (*TWO_HANDS, places)
        return (NetworkPart(WHOLE, scores, inputs, (action_scores(self.num_actions),)),)

    def loss(self, batch: HandSequence, step: TrainingStep) -> dict[str, Tensor]:
        """Weighted cross entropy of the action labels; clips whose action is unknown do not count."""
        label = batch.require('action_label')
        check_labels(batch, label, self.num_actions, 'action')
        inputs = self._inputs(batch)
        logits, known = self(*inputs, self._offsets(len(label), step.iteration, label.device)).float(), label >= 0
        target = label.clamp_min(0)
        entropy = F.cross_entropy(logits, target, reduction='none', label_smoothing=self.label_smoothing)
        weight = known * self._class_weights(target, known)[target]
        right = (logits.argmax(-1) == label) & known
        return {
            'loss_action': (weight * entropy).sum() / weight.sum().clamp_min(1e-6),
            'accuracy': right.sum() / known.sum().clamp_min(1),
        }

    @torch.no_grad()
    def predict(
        self, batch: HandSequence, *, num_samples: int | None = None, generator: torch.Generator | None = None
    ) -> HandSequence:
        """Classifies clips.

        Args:
            batch: (B, T, H, ...), T of any number.
            num_samples: None or 1.
            generator: unused.

        Returns:
            The joints that were classified, and action_scores, which sum to 1.
        """
        self._refuse_samples(num_samples)
        inputs = self._inputs(batch)
        joints, joints_valid = input_joints(fill_masked_values(batch))
        scores = torch.zeros((), device=joints.device)
        for clip in range(self.test_clips):
            offsets = self._offsets(len(joints), clip, joints.device) if self.test_clips > 1 else None
            places = [] if self.frames == 'first' else [offsets]
            scores = scores + self.run_part(WHOLE, *inputs, *places)[0] / self.test_clips
        return HandSequence(
            meta=batch.meta,
            frame=batch.frame,
            batched=True,
            frame_valid=inputs[2],
            timestamps=batch.timestamps,
            hand_side=batch.hand_side,
            hand_valid=joints_valid.any(-1),
            joints_3d=joints,
            joints_valid=joints_valid.contiguous(),
            action_scores=scores,
        )

    def _inputs(self, batch: HandSequence) -> tuple[Tensor, Tensor, Tensor]:
        """The first arguments of `forward`."""
        check_coordinates(batch, self.coordinates)
        joints, joints_valid = input_joints(fill_masked_values(batch))
        hands = two_hands(joints, joints_valid, batch.require('hand_side'), mirror_single=False)
        frame_valid = batch.frame_valid
        if frame_valid is None:
            frame_valid = torch.ones(joints.shape[:2], dtype=torch.bool, device=joints.device)
        return hands.joints, hands.valid, frame_valid

    def _offsets(self, num_clips: int, seed: int, device: torch.device) -> Tensor | None:
        """Random places of frames, the same for the same seed."""
        if self.frames == 'first':
            return None
        draw = torch.Generator().manual_seed(seed)
        return torch.rand(num_clips, self.num_frames, generator=draw).to(device)

    @torch.no_grad()
    def _class_weights(self, target: Tensor, known: Tensor) -> Tensor:
        """(A,) weights of the classes, 1 for a class of the mean number of clips; counts the batch in training."""
        if self.training:
            self.class_counts += torch.bincount(target[known], minlength=self.num_actions)
        seen = self.class_counts > 0
        mean = self.class_counts.sum() / seen.sum().clamp_min(1)
        weights = (mean / self.class_counts.clamp_min(1)) ** self.class_balance
        return torch.where(seen, weights, 1.0)
