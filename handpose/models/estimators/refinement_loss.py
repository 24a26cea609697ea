"""What refiners of motion are trained with (PDTM, section 3.4).

Legend: N hands, T frames, J joints, V vertices. Points are metres.
"""

import torch
from torch import nn

from handpose.geometry import rot6d_to_rotmat, rotvec_to_rotmat
from handpose.models.estimators.deformer_loss import make_hands
from handpose.registry import MODELS


@MODELS.register_module()
class RefinementLoss(nn.Module):
    """Smooth L1 of joints, vertices, pose and shape, and the acceleration loss. The paper gives no weights.

    Args:
        point_loss: loss of joints and of vertices. acceleration_loss: of joints over time.
        pose_loss, shape_loss: of rotation matrices and of shape coefficients.
        joint_weight, vertex_weight, pose_weight, shape_weight, acceleration_weight: of the terms; zero leaves one out.
        vertex_frames: compares the meshes of so many frames of a clip, drawn anew each time; None: of all. Posing
            meshes costs more than a small network does.
    """

    def __init__(
        self,
        point_loss: dict,
        acceleration_loss: dict,
        pose_loss: dict,
        shape_loss: dict,
        joint_weight: float = 1e3,
        vertex_weight: float = 1e3,
        pose_weight: float = 1.0,
        shape_weight: float = 0.1,
        acceleration_weight: float = 1e3,
        vertex_frames: int | None = None,
    ):
        super().__init__()
        self.point_loss = MODELS.build(point_loss)
        self.acceleration_loss = MODELS.build(acceleration_loss)
        self.pose_loss = MODELS.build(pose_loss)
        self.shape_loss = MODELS.build(shape_loss)
        self.joint_weight, self.vertex_weight = joint_weight, vertex_weight
        self.pose_weight, self.shape_weight = pose_weight, shape_weight
        self.acceleration_weight, self.vertex_frames = acceleration_weight, vertex_frames

    def forward(self, output, truth, frame_valid, hand_model):
        """Compares a `RefinedMotion` with a `HandTruth`: dict of scalars.

        Args:
            frame_valid: (N, T) bool. hand_model: makes meshes of pose and shape; None where there is neither.
        """
        valid = truth.joints_valid & frame_valid[..., None]
        losses = {
            'loss_joints': self.joint_weight * self.point_loss(output.joints, truth.joints, valid),
            'loss_acceleration': self.acceleration_weight * self.acceleration_loss(output.joints, truth.joints, valid),
        }
        if output.pose is None:
            return losses
        if truth.pose is None:  # joints alone are known: what would learn from more stays in the graph
            unseen = sum(x.sum() for x in output[1:] if x is not None)
            return losses | {'loss_parameters': 0.0 * unseen}
        known = truth.pose_valid & frame_valid
        return losses | self._parameter_losses(output, truth, known, hand_model)

    def _parameter_losses(self, output, truth, known, hand_model):
        rotations, true_rotations = rot6d_to_rotmat(output.pose.float()), rotvec_to_rotmat(truth.pose)
        shapes = [output.shape] if output.block_shapes is None else output.block_shapes.unbind(1)
        seen = known.any(1)
        shape_losses = [self.shape_loss(shape.float(), truth.shape, seen) for shape in shapes]
        losses = {
            'loss_pose': self.pose_weight * self.pose_loss(rotations, true_rotations, known),
            'loss_shape': self.shape_weight * sum(shape_losses) / len(shapes),
        }
        if self.vertex_weight:
            frames = self._frames(known.shape[1], known.device)
            pairs = zip((rotations, true_rotations), (output.shape.float(), truth.shape), strict=True)
            mine, theirs = (
                make_hands(hand_model, r[:, frames], s[:, None].expand(-1, len(frames), -1), truth.side).vertices
                for r, s in pairs
            )
            losses['loss_vertices'] = self.vertex_weight * self.point_loss(mine, theirs, known[:, frames])
        return losses

    def _frames(self, num_frames, device):
        count = num_frames if self.vertex_frames is None else min(self.vertex_frames, num_frames)
        return torch.randperm(num_frames, device=device)[:count]
