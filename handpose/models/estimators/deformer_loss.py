"""What Deformer is trained with (Fu et al., ICCV 2023, section 3.2, Eq. 4 to 10).

Legend: B clips, T frames, V vertices, J = 21 joints. Points are metres relative to the wrist of their own frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from handpose.geometry import rotmat_to_rot6d, rotmat_to_rotvec, rotvec_to_rotmat
from handpose.models.layers import apply_motion, pose_to_rotmat
from handpose.models.layers.precision import without_autocast
from handpose.models.losses import MotionLoss, discriminator_loss, generator_adversarial_loss
from handpose.registry import MODELS

COMPARED_HANDS = ('fused', 'frame', 'monocular')
ROTATIONS = {'rot6d': rotmat_to_rot6d, 'rotvec': rotmat_to_rotvec}


class Hands(NamedTuple):
    """Hands of B clips: rotations (B, T, 16, 3, 3), shape (B, T, 10), vertices (B, T, V, 3), joints (B, T, J, 3)."""

    rotations: torch.Tensor
    shape: torch.Tensor
    vertices: torch.Tensor
    joints: torch.Tensor


class _Masks(NamedTuple):
    """What is known of the true hands: hand-model parameters (B, T), and joints (B, T, J), bool."""

    pose: torch.Tensor
    joints: torch.Tensor

    def only(self, frames):
        """The masks of some frames, (T,) bool; None: of all."""
        return self if frames is None else _Masks(self.pose & frames, self.joints & frames[:, None])


@MODELS.register_module()
class DeformerLoss(nn.Module):
    """The sum of mesh, motion, monocular, 2D, smoothness and adversarial terms, each switched off by weight zero.

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
        adversarial_weight: of the generator's adversarial term.
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
    ):
        super().__init__()
        for name in shape_hands:
            _check_choice('an entry of shape_hands', name, COMPARED_HANDS)
        _check_choice('adversarial_hand', adversarial_hand, ('fused', 'frame'))
        _check_choice('adversarial_rotations', adversarial_rotations, tuple(ROTATIONS))
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

    def forward(self, output, batch, boxes, hand_model, rotation_space, fused_frames=None):
        """Compares a `DeformerOutput` (B, T, ...) with the truth in `batch` (B, T, 1, 1, ...): dict of scalars.

        Args:
            output: `DeformerOutput`.
            batch: `HandSequence` batch of one hand and one camera. Frames without a valid hand pose have their joints
                compared alone.
            boxes: (B, T, 4), the regions in whose coordinates the output's 2D joints are.
            hand_model: `HandModel` of the batch's parameters.
            rotation_space: of the output's poses, see `handpose.models.layers.pose_fusion`.
            fused_frames: (T,) bool, the frames whose fused hand is compared; None: all.

        Raises:
            ValueError: a monocular_weight, but an output without a monocular pose.
        """
        valid = batch.frame_valid & batch.hand_valid[..., 0]  # (B, T)
        truth, known = true_hands(batch, hand_model)
        predicted = self._predicted_hands(output, batch.hand_side[:, 0], hand_model, rotation_space)
        masks = _Masks(valid & known, valid[..., None] & _joints_known(batch))
        losses = {}
        add = losses.update
        add(self._hand_losses('fused', predicted['fused'], truth, masks.only(fused_frames)))
        for name, weight in (('frame', self.frame_weight), ('monocular', self.monocular_weight)):
            if weight:
                add(self._hand_losses(name, predicted[name], truth, masks, weight))
        if self.motion_weight:
            add(self._motion_losses(predicted['forward'], predicted['backward'], truth, masks))
        losses['loss_joints_2d'] = self._joints_2d(output.joints_2d, batch, boxes[:, :, None], valid)
        if self.smoothness_loss is not None:
            losses['loss_smoothness'] = self.smoothness_loss(predicted['fused'].rotations, valid)
        if self.discriminator is not None:
            judged = predicted[self.adversarial_hand].rotations
            add(self._adversarial(judged, truth, batch.hand_side[:, 0], valid, known))
        return losses

    def _predicted_hands(self, output, side, hand_model, rotation_space):
        """The hands that are compared, through the hand model in one call; (B, T, D) poses to {name: Hands}."""
        pose = output.frame_pose
        poses = {'fused': output.pose}
        if self.frame_weight or self.adversarial_hand == 'frame':
            poses['frame'] = pose
        if self.motion_weight:
            poses['forward'] = apply_motion(pose, output.forward_motion, rotation_space)
            poses['backward'] = apply_motion(pose, output.backward_motion, rotation_space)
        if self.monocular_weight:
            if output.monocular_pose is None:
                raise ValueError(
                    f'monocular_weight is {self.monocular_weight}, but the model has no monocular_head: set '
                    f'loss.monocular_weight=0 or give it one'
                )
            poses['monocular'] = output.monocular_pose
        clip_shape = output.shape[:, None].expand(-1, pose.shape[1], -1)
        shapes = [output.monocular_shape if name == 'monocular' else clip_shape for name in poses]
        rotations = pose_to_rotmat(torch.cat(list(poses.values()), dim=1), rotation_space)
        hands = make_hands(hand_model, rotations, torch.cat(shapes, dim=1).float(), side)
        columns = (x.chunk(len(poses), dim=1) for x in hands)
        return {name: Hands(*parts) for name, *parts in zip(poses, *columns, strict=True)}

    def _hand_losses(self, name, hands, truth, masks, weight=1.0):
        """The comparisons of hands (B, T, ...): joints by one mask, vertices, pose and shape by another."""
        terms = {
            'vertices': self.point_loss(hands.vertices, truth.vertices, masks.pose),
            'joints': self.point_loss(hands.joints, truth.joints, masks.joints),
            'rotations': self.pose_loss(hands.rotations, truth.rotations, masks.pose),
        }
        if name in self.shape_hands:
            terms['shape'] = self.shape_loss(hands.shape, truth.shape, masks.pose)
        return {f'loss_{name}_{part}': weight * self.weights[part] * value for part, value in terms.items()}

    def _motion_losses(self, forward, backward, truth, masks):
        """Hands moved by one frame, (B, T, ...) forward and backward, against the neighbouring true frames."""
        parts = {
            'vertices': (self.point_motion_loss, masks.pose),
            'joints': (self.point_motion_loss, masks.joints),
            'rotations': (self.pose_motion_loss, masks.pose),
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
        kind = self.adversarial_rotations
        fake, real = motion_description(rotations, side, kind), motion_description(truth.rotations, side, kind)
        # A motion with a pose missing in between would jump there: it is no example of a real one.
        real_valid = valid & (known | ~valid).all(dim=1, keepdim=True)
        real = torch.where(real_valid[..., None], real, torch.zeros_like(real))
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
    """The true `Hands` (B, T, ...), and known (B, T) bool: which frames have hand-model parameters.

    Without parameters the joints alone are true, and the rest is filling that the masks leave out.
    """
    joints = batch.joints_3d[:, :, 0]
    joints = joints - joints[..., :1, :]
    size = joints.shape[:2]
    if batch.hand_pose is None:
        blank = joints.new_zeros
        rotations = torch.eye(3, device=joints.device).expand(*size, 16, 3, 3)
        vertices = blank((*size, hand_model.num_vertices, 3))
        return Hands(rotations, blank((*size, 10)), vertices, joints), blank(size, dtype=torch.bool)
    shape = batch.hand_shape[:, :1].expand(-1, size[1], -1)
    rotations = rotvec_to_rotmat(batch.hand_pose[:, :, 0])
    hands = make_hands(hand_model, rotations, shape, batch.hand_side[:, 0])
    return hands._replace(joints=joints), batch.hand_pose_valid[..., 0]


def _joints_known(batch):
    """Which true joints, relative to the wrist, are known: (B, T, J). It takes the wrist too."""
    known = batch.joints_valid[:, :, 0]
    return known & known[..., :1]


def motion_description(rotations, side, kind='rot6d'):
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


def _check_choice(name, value, known):
    if value not in known:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, known))}, got {value!r}')
