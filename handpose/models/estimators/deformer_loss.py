"""What Deformer is trained with (Fu et al., ICCV 2023, section 3.2, Eq. 4 to 10).

Legend: B clips, T frames, V vertices, J = 21 joints. Points are metres relative to the wrist of their own frame.
"""

from typing import NamedTuple

import torch
from torch import nn

from handpose.geometry import rotmat_to_rot6d, rotvec_to_rotmat
from handpose.models.layers import apply_motion, pose_to_rotmat
from handpose.models.layers.precision import without_autocast
from handpose.models.losses import MotionLoss, discriminator_loss, generator_adversarial_loss
from handpose.registry import MODELS


class Hands(NamedTuple):
    """Hands of B clips: rotations (B, T, 16, 3, 3), shape (B, T, 10), vertices (B, T, V, 3), joints (B, T, J, 3)."""

    rotations: torch.Tensor
    shape: torch.Tensor
    vertices: torch.Tensor
    joints: torch.Tensor


@MODELS.register_module()
class DeformerLoss(nn.Module):
    """The sum of mesh, motion, monocular, 2D, smoothness and adversarial terms, each switched off by weight zero.

    Args:
        point_loss: loss of vertices and of joints, `MaxMSELoss` (the paper) or `PointMSELoss` (its ablation).
        pose_loss, shape_loss: losses of rotations and of shape coefficients.
        joints_2d_loss: loss of the heatmap branch, in coordinates of the box.
        smoothness_loss: applied to the rotations of the fused hand, or None.
        vertex_weight, joint_weight, pose_weight, shape_weight: of the four comparisons of a hand with the truth.
        frame_weight: of each frame's hand before fusion. motion_weight: of the hands moved by one frame.
        monocular_weight: of the hand seen from each frame alone.
        discriminator: config of `MotionDiscriminator`, or None for training without an adversary.
        adversarial_weight: of the generator's adversarial term.
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
        frame_weight: float = 1.0,
        motion_weight: float = 1.0,
        monocular_weight: float = 1.0,
        discriminator: dict | None = None,
        adversarial_weight: float = 10.0,
    ):
        super().__init__()
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
        self.adversarial_weight = adversarial_weight

    def forward(self, output, batch, boxes, hand_model, rotation_space):
        """Compares a `DeformerOutput` (B, T, ...) with the truth in `batch` (B, T, 1, 1, ...): dict of scalars.

        Args:
            boxes: (B, T, 4), the regions in whose coordinates the output's 2D joints are.
        """
        valid = batch.frame_valid & batch.hand_valid[..., 0]  # (B, T)
        truth, known = true_hands(batch, hand_model)
        predicted = self._predicted_hands(output, batch.hand_side[:, 0], hand_model, rotation_space)
        losses = {}
        add = losses.update
        add(self._hand_losses('fused', predicted['fused'], truth, valid, known))
        for name, weight in (('frame', self.frame_weight), ('monocular', self.monocular_weight)):
            if weight:
                add(self._hand_losses(name, predicted[name], truth, valid, known, weight))
        if self.motion_weight:
            add(self._motion_losses(predicted['forward'], predicted['backward'], truth, valid, known))
        losses['loss_joints_2d'] = self._joints_2d(output.joints_2d, batch, boxes[:, :, None], valid)
        if self.smoothness_loss is not None:
            losses['loss_smoothness'] = self.smoothness_loss(predicted['fused'].rotations, valid)
        if self.discriminator is not None:
            add(self._adversarial(predicted['fused'].rotations, truth, batch.hand_side[:, 0], valid, known))
        return losses

    def _predicted_hands(self, output, side, hand_model, rotation_space):
        """All predicted hands through the hand model in one call; (B, T, D) poses to {name: Hands}."""
        pose = output.frame_pose
        poses = {
            'fused': output.pose,
            'frame': pose,
            'monocular': output.monocular_pose,
            'forward': apply_motion(pose, output.forward_motion, rotation_space),
            'backward': apply_motion(pose, output.backward_motion, rotation_space),
        }
        clip_shape = output.shape[:, None].expand(-1, pose.shape[1], -1)
        shapes = [output.monocular_shape if name == 'monocular' else clip_shape for name in poses]
        rotations = pose_to_rotmat(torch.cat(list(poses.values()), dim=1), rotation_space)
        hands = make_hands(hand_model, rotations, torch.cat(shapes, dim=1).float(), side)
        columns = (x.chunk(len(poses), dim=1) for x in hands)
        return {name: Hands(*parts) for name, *parts in zip(poses, *columns, strict=True)}

    def _hand_losses(self, name, hands, truth, valid, known, weight=1.0):
        """The four comparisons of hands (B, T, ...); vertices, pose and shape where `known` (B,) parameters exist."""
        modelled = valid & known[:, None]
        terms = {
            'vertices': self.point_loss(hands.vertices, truth.vertices, modelled),
            'joints': self.point_loss(hands.joints, truth.joints, valid),
            'rotations': self.pose_loss(hands.rotations, truth.rotations, modelled),
            'shape': self.shape_loss(hands.shape, truth.shape, modelled),
        }
        return {f'loss_{name}_{part}': weight * self.weights[part] * value for part, value in terms.items()}

    def _motion_losses(self, forward, backward, truth, valid, known):
        """Hands moved by one frame, (B, T, ...) forward and backward, against the neighbouring true frames."""
        modelled = valid & known[:, None]
        parts = {
            'vertices': (self.point_motion_loss, modelled),
            'joints': (self.point_motion_loss, valid),
            'rotations': (self.pose_motion_loss, modelled),
        }
        losses = {}
        for part, (loss, mask) in parts.items():
            value = loss(getattr(forward, part), getattr(backward, part), getattr(truth, part), mask)
            losses[f'loss_motion_{part}'] = self.motion_weight * self.weights[part] * value
        return losses

    def _joints_2d(self, joints_2d, batch, boxes, valid):
        target = (batch.joints_2d[:, :, 0, 0] - boxes[..., :2]) / (boxes[..., 2:] - boxes[..., :2]).clamp_min(1e-6)
        return self.joints_2d_loss(joints_2d, target, batch.joints_2d_valid[:, :, 0, 0] & valid[..., None])

    def _adversarial(self, rotations, truth, side, valid, known):
        fake, real = motion_description(rotations, side), motion_description(truth.rotations, side)
        real_valid = valid & known[:, None]
        return {
            'loss_adversarial': self.adversarial_weight * generator_adversarial_loss(self.discriminator, fake, valid),
            'loss_discriminator': discriminator_loss(self.discriminator, fake, real, valid, real_valid),
        }


def make_hands(hand_model, rotations, shape, side):
    """Hands relative to their wrists: rotations (B, T, 16, 3, 3), shape (B, T, 10), side (B,) -> `Hands`."""
    side = side[:, None].expand(-1, rotations.shape[1])
    # Positions need float32 under autocast too.
    with without_autocast(rotations):
        mesh = hand_model(rotations, shape, torch.zeros_like(shape[..., :3]), side)
    wrist = mesh.joints[..., :1, :]
    return Hands(rotations, shape, mesh.vertices - wrist, mesh.joints - wrist)


def true_hands(batch, hand_model):
    """The true `Hands` (B, T, ...), and known (B,) bool: which clips have hand-model parameters.

    Without parameters the joints alone are true, and the rest is filling that the masks leave out.
    """
    joints = batch.joints_3d[:, :, 0]
    joints = joints - joints[..., :1, :]
    size = joints.shape[:2]
    if batch.hand_pose is None:
        blank = joints.new_zeros
        rotations = torch.eye(3, device=joints.device).expand(*size, 16, 3, 3)
        vertices = blank((*size, hand_model.num_vertices, 3))
        return Hands(rotations, blank((*size, 10)), vertices, joints), blank(size[0], dtype=torch.bool)
    shape = batch.hand_shape[:, :1].expand(-1, size[1], -1)
    rotations = rotvec_to_rotmat(batch.hand_pose[:, :, 0])
    hands = make_hands(hand_model, rotations, shape, batch.hand_side[:, 0])
    return hands._replace(joints=joints), batch.hand_pose_valid[..., 0].any(1)


def motion_description(rotations, side):
    """What the discriminator sees of each frame: the side and 15 finger rotations, (B, T, 16, 3, 3) -> (B, T, 91).

    Rotations as 6D vectors, because the way from a matrix to angles has no gradient at rest.
    """
    fingers = rotmat_to_rot6d(rotations[:, :, 1:]).flatten(-2)
    return torch.cat([side[:, None, None].expand(-1, fingers.shape[1], 1).to(fingers.dtype), fingers], dim=-1)
