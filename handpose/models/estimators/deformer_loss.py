"""What Deformer is trained with (Fu et al., ICCV 2023, section 3.2, Eq. 4 to 10).

Legend: B clips, T frames, V vertices, J = 21 joints. Points are metres relative to the wrist of their own frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry import rotmat_to_rot6d, rotmat_to_rotvec
from handpose.hands import HandModel
from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.deformer_components import DeformerOutput
from handpose.models.layers import apply_motion, pose_to_rotmat
from handpose.models.layers.checks import check_option
from handpose.models.losses import MotionLoss, discriminator_loss, generator_adversarial_loss
from handpose.models.losses.targets import HandTarget, PosedHands, make_hands, true_hands
from handpose.registry import MODELS

COMPARED_HANDS = ('fused', 'frame', 'monocular')
ROTATIONS = {'rot6d': rotmat_to_rot6d, 'rotvec': rotmat_to_rotvec}


class _Masks(NamedTuple):
    """Which targets are valid: hand-model parameters (B, T), and joints (B, T, J), bool."""

    pose: Tensor
    joints: Tensor

    def only(self, frames: Tensor | None) -> '_Masks':
        """The masks of some frames, (T,) bool; None: of all."""
        return self if frames is None else _Masks(self.pose & frames, self.joints & frames[:, None])


@MODELS.register_module()
class DeformerLoss(nn.Module):
    """The sum of mesh, motion, monocular, 2D, smoothness and adversarial terms.

    A weight of zero leaves its term out.

    Args:
        point_loss: loss of vertices and of joints, `MaxMSELoss` (the paper) or `PointMSELoss` (its ablation).
        pose_loss: loss of rotations.
        shape_loss: loss of shape coefficients.
        joints_2d_loss: loss of the heatmap branch, in coordinates of the box.
        smoothness_loss: applied to the rotations of the fused hand, or None.
        vertex_weight: of the vertices in each comparison of a hand with the truth.
        joint_weight: of the joints.
        pose_weight: of the rotations.
        shape_weight: of the shape.
        shape_hands: which of the hands 'fused', 'frame' and 'monocular' have their shape compared. Fused and frame
            hands share the shape of the clip; the published code compares it once: ('frame',).
        frame_weight: of each frame's hand before fusion.
        motion_weight: of the hands moved by one frame.
        monocular_weight: of the hand seen from each frame alone.
        discriminator: config of `MotionDiscriminator`, or None for training without an adversary.
        adversarial_weight: of the generator's adversarial term; with 0 the discriminator is not trained either.
        adversarial_hand: whose motion the discriminator judges: 'fused', or 'frame' (the published code).
        adversarial_rotations: the numbers it sees of each finger rotation: 'rot6d' (in_channels 91 with the side), or
            'rotvec' (46; the published code).

    Raises:
        ValueError: an unknown shape_hands, adversarial_hand or adversarial_rotations.
    """

    def __init__(
        self,
        point_loss: dict,
        pose_loss: dict,
        shape_loss: dict,
        joints_2d_loss: dict,
        smoothness_loss: dict | None = None,
        vertex_weight: float = 1e4,
        joint_weight: float = 1e4,
        pose_weight: float = 10.0,
        shape_weight: float = 0.1,
        shape_hands: Sequence[str] = COMPARED_HANDS,
        frame_weight: float = 1.0,
        motion_weight: float = 1.0,
        monocular_weight: float = 1.0,
        discriminator: dict | None = None,
        adversarial_weight: float = 10.0,
        adversarial_hand: str = 'fused',
        adversarial_rotations: str = 'rot6d',
    ) -> None:
        super().__init__()
        for name in shape_hands:
            check_option('an entry of shape_hands', name, COMPARED_HANDS)
        check_option('adversarial_hand', adversarial_hand, ('fused', 'frame'))
        check_option('adversarial_rotations', adversarial_rotations, tuple(ROTATIONS))
        self.point_loss = MODELS.build(point_loss)
        self.pose_loss = MODELS.build(pose_loss)
        self.point_motion_loss = MotionLoss(self.point_loss)
        self.pose_motion_loss = MotionLoss(self.pose_loss)
        self.shape_loss = MODELS.build(shape_loss)
        self.joints_2d_loss = MODELS.build(joints_2d_loss)
        self.smoothness_loss = None if smoothness_loss is None else MODELS.build(smoothness_loss)
        self.weights = {
            'vertices': vertex_weight,
            'joints': joint_weight,
            'rotations': pose_weight,
            'shape': shape_weight,
        }
        self.frame_weight, self.motion_weight, self.monocular_weight = frame_weight, motion_weight, monocular_weight
        self.discriminator = None if discriminator is None else MODELS.build(discriminator)
        self.shape_hands = tuple(shape_hands)
        self.adversarial_weight, self.adversarial_hand = adversarial_weight, adversarial_hand
        self.adversarial_rotations = adversarial_rotations

    def forward(
        self,
        output: DeformerOutput,
        target: HandTarget,
        step: TrainingStep,
        hand_model: HandModel,
        rotation_space: str,
        fused_frames: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compares the output of B clips with their targets.

        Args:
            output: (B, T, ...).
            target: of the same clips. Frames without hand-model parameters have their joints compared alone.
            step: unused; every loss of a system takes it.
            hand_model: of the target's parameters.
            rotation_space: of the output's poses, see `handpose.models.layers.pose_fusion`.
            fused_frames: (T,) bool, the frames whose fused hand is compared; None means all.

        Returns:
            Scalars by name.

        Raises:
            ValueError: a monocular_weight, but an output without a monocular pose.
        """
        valid = target.frame_valid  # (B, T)
        truth, pose_valid = true_hands(target, hand_model)
        predicted = self._predicted_hands(output, target.side, hand_model, rotation_space)
        # A joint relative to the wrist is valid where both are.
        joints_valid = target.joints_valid & target.joints_valid[..., :1]
        masks = _Masks(valid & pose_valid, valid[..., None] & joints_valid)
        losses: dict[str, Tensor] = {}
        add = losses.update
        add(self._hand_losses('fused', predicted['fused'], truth, masks.only(fused_frames)))
        for name, weight in (('frame', self.frame_weight), ('monocular', self.monocular_weight)):
            if weight:
                add(self._hand_losses(name, predicted[name], truth, masks, weight))
        if self.motion_weight:
            add(self._motion_losses(predicted['forward'], predicted['backward'], truth, masks))
        losses['loss_joints_2d'] = self.joints_2d_loss(
            output.joints_2d, target.joints_2d, target.joints_2d_valid & valid[..., None]
        )
        if self.smoothness_loss is not None:
            losses['loss_smoothness'] = self.smoothness_loss(predicted['fused'].rotations, valid)
        if self.discriminator is not None and self.adversarial_weight:
            judged = predicted[self.adversarial_hand].rotations
            add(self._adversarial(self.discriminator, judged, truth, target.side, valid, pose_valid))
        return losses

    def _predicted_hands(
        self, output: DeformerOutput, side: Tensor, hand_model: HandModel, rotation_space: str
    ) -> dict[str, PosedHands]:
        """The hands that are compared by name, posed in one call of the hand model."""
        pose = output.frame_pose
        poses = {'fused': output.pose}
        if self.frame_weight or self.adversarial_hand == 'frame':
            poses['frame'] = pose
        if self.motion_weight:
            poses['forward'] = apply_motion(pose, output.forward_motion, rotation_space)
            poses['backward'] = apply_motion(pose, output.backward_motion, rotation_space)
        shapes = [output.shape[:, None].expand(-1, pose.shape[1], -1)] * len(poses)
        if self.monocular_weight:
            if output.monocular_pose is None or output.monocular_shape is None:
                raise ValueError(
                    f'monocular_weight is {self.monocular_weight}, but the model has no monocular_head: set '
                    f'loss.monocular_weight=0 or give it one'
                )
            poses['monocular'] = output.monocular_pose
            shapes.append(output.monocular_shape)
        rotations = pose_to_rotmat(torch.cat(list(poses.values()), dim=1), rotation_space)
        hands = make_hands(hand_model, rotations, torch.cat(shapes, dim=1).float(), side)
        columns = (x.chunk(len(poses), dim=1) for x in hands)
        return {name: PosedHands(*parts) for name, *parts in zip(poses, *columns, strict=True)}

    def _hand_losses(
        self, name: str, hands: PosedHands, truth: PosedHands, masks: _Masks, weight: float = 1.0
    ) -> dict[str, Tensor]:
        """The comparisons of hands (B, T, ...): joints by one mask, vertices, pose and shape by another."""
        terms = {
            'vertices': self.point_loss(hands.vertices, truth.vertices, masks.pose),
            'joints': self.point_loss(hands.joints, truth.joints, masks.joints),
            'rotations': self.pose_loss(hands.rotations, truth.rotations, masks.pose),
        }
        if name in self.shape_hands:
            terms['shape'] = self.shape_loss(hands.shape, truth.shape, masks.pose)
        return {f'loss_{name}_{part}': weight * self.weights[part] * value for part, value in terms.items()}

    def _motion_losses(
        self, forward: PosedHands, backward: PosedHands, truth: PosedHands, masks: _Masks
    ) -> dict[str, Tensor]:
        """Hands moved by one frame, (B, T, ...) forward and backward, against the neighbouring true frames."""
        points, poses = self.point_motion_loss, self.pose_motion_loss
        terms = {
            'vertices': points(forward.vertices, backward.vertices, truth.vertices, masks.pose),
            'joints': points(forward.joints, backward.joints, truth.joints, masks.joints),
            'rotations': poses(forward.rotations, backward.rotations, truth.rotations, masks.pose),
        }
        return {f'loss_motion_{part}': self.motion_weight * self.weights[part] * x for part, x in terms.items()}

    def _adversarial(
        self,
        discriminator: nn.Module,
        rotations: Tensor,
        truth: PosedHands,
        side: Tensor,
        valid: Tensor,
        pose_valid: Tensor,
    ) -> dict[str, Tensor]:
        kind = self.adversarial_rotations
        fake, real = motion_description(rotations, side, kind), motion_description(truth.rotations, side, kind)
        # A motion with a pose missing in between would jump there: it is no example of a real one.
        real_valid = valid & (pose_valid | ~valid).all(dim=1, keepdim=True)
        real = torch.where(real_valid[..., None], real, torch.zeros_like(real))
        return {
            'loss_adversarial': self.adversarial_weight * generator_adversarial_loss(discriminator, fake, valid),
            'loss_discriminator': discriminator_loss(discriminator, fake, real, valid, real_valid),
        }


def motion_description(rotations: Tensor, side: Tensor, kind: str = 'rot6d') -> Tensor:
    """What the discriminator sees of each frame: the side and 15 finger rotations.

    Args:
        rotations: (B, T, 16, 3, 3), the wrist's first.
        side: (B,) int, 0 left, 1 right (the published code: 0 right, 1 left).
        kind: 'rot6d', or 'rotvec', which jumps where an angle passes pi.

    Returns:
        (B, T, 91) for 'rot6d', (B, T, 46) for 'rotvec'.
    """
    fingers = ROTATIONS[kind](rotations[:, :, 1:]).flatten(-2)
    return torch.cat([side[:, None, None].expand(-1, fingers.shape[1], 1).to(fingers.dtype), fingers], dim=-1)
