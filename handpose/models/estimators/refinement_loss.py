"""What refiners of motion are trained with (PDTM, section 3.4).

Legend: N hands, T frames, J joints, V vertices. Points are metres.
"""

import numpy as np
import torch
from torch import Tensor, nn

from handpose.geometry import rot6d_to_rotmat, rotvec_to_rotmat
from handpose.hands import HandModel
from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.motion_refiner import RefinedMotion
from handpose.models.losses.targets import MotionTarget, make_hands
from handpose.registry import MODELS


@MODELS.register_module()
class RefinementLoss(nn.Module):
    """Smooth L1 of joints, vertices, pose and shape, and the acceleration loss. The paper gives no weights.

    Args:
        point_loss: loss of joints and of vertices.
        acceleration_loss: of joints over time.
        pose_loss: of rotation matrices.
        shape_loss: of shape coefficients.
        joint_weight: of the joints; zero leaves a term out.
        vertex_weight: of the vertices.
        pose_weight: of the rotations.
        shape_weight: of the shape.
        acceleration_weight: of the acceleration.
        vertex_frames: compares the meshes of so many frames of a clip, drawn anew in each iteration; None means of all.
            Posing meshes costs more than a small network does.
        seed: of these draws, together with the iteration.
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
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.point_loss = MODELS.build(point_loss)
        self.acceleration_loss = MODELS.build(acceleration_loss)
        self.pose_loss = MODELS.build(pose_loss)
        self.shape_loss = MODELS.build(shape_loss)
        self.joint_weight, self.vertex_weight = joint_weight, vertex_weight
        self.pose_weight, self.shape_weight = pose_weight, shape_weight
        self.acceleration_weight, self.vertex_frames, self.seed = acceleration_weight, vertex_frames, seed

    def forward(
        self, output: RefinedMotion, target: MotionTarget, step: TrainingStep, hand_model: HandModel | None = None
    ) -> dict[str, Tensor]:
        """Compares refined motions with their targets.

        Args:
            output: joints (N, T, J, 3); pose (N, T, 16, 6) and shape (N, 10) or None.
            target: of the same hands.
            step: decides which frames have their meshes compared.
            hand_model: makes meshes of pose and shape; None where there is neither.

        Returns:
            Scalars by name.
        """
        valid = target.joints_valid & target.frame_valid[..., None]
        joints = output.joints, target.joints, valid
        losses = {
            'loss_joints': self.joint_weight * self.point_loss(*joints),
            'loss_acceleration': self.acceleration_weight * self.acceleration_loss(*joints),
        }
        if output.pose is None or output.shape is None:
            return losses
        if target.pose is None or target.shape is None or target.pose_valid is None:
            # What would learn from hand-model parameters stays in the graph.
            unused = sum(x.sum() for x in output[1:] if x is not None)
            return losses | {'loss_parameters': 0.0 * unused}
        valid = target.pose_valid & target.frame_valid
        rotations, true_rotations = rot6d_to_rotmat(output.pose.float()), rotvec_to_rotmat(target.pose)
        shapes = [output.shape] if output.block_shapes is None else output.block_shapes.unbind(1)
        shape_losses = [self.shape_loss(shape.float(), target.shape, valid.any(1)) for shape in shapes]
        losses['loss_pose'] = self.pose_weight * self.pose_loss(rotations, true_rotations, valid)
        losses['loss_shape'] = self.shape_weight * sum(shape_losses) / len(shapes)
        if self.vertex_weight:
            if hand_model is None:
                raise ValueError('vertices are compared (vertex_weight is not 0), so the refiner needs a hand_model')
            frames = self._frames(valid.shape[1], step).to(valid.device)
            predicted, true = (
                make_hands(hand_model, r[:, frames], s[:, None].expand(-1, len(frames), -1), target.side).vertices
                for r, s in ((rotations, output.shape.float()), (true_rotations, target.shape))
            )
            losses['loss_vertices'] = self.vertex_weight * self.point_loss(predicted, true, valid[:, frames])
        return losses

    def _frames(self, num_frames: int, step: TrainingStep) -> Tensor:
        """The frames whose meshes are compared in one iteration, the same in every process and on every device."""
        if self.vertex_frames is None:
            return torch.arange(num_frames)
        seed = int(np.random.SeedSequence([self.seed, step.iteration]).generate_state(1)[0])
        return torch.randperm(num_frames, generator=torch.Generator().manual_seed(seed))[: self.vertex_frames]
