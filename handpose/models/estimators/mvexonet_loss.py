"""What MVExoNet is trained with.

Legend: N hands, M crops of all hands and views, J = 21 joints, D voxels along an edge of a cube, h w size of a map.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from handpose.geometry import cube_indices, small_matmul
from handpose.models.estimators.base import TrainingStep
from handpose.models.losses.masking import masked_difference, masked_mean
from handpose.models.losses.volumetric import VolumetricCrossEntropyLoss
from handpose.registry import MODELS


class HandCubes(NamedTuple):
    """Where the volumes of N hands are: cubes with an edge of `size` metres."""

    centres: Tensor  # (N, 3), metres
    rotmat: Tensor | None  # (N, 3, 3), the columns are the cube's axes; None: those of the joints' frame
    size: float


class JointMaps(NamedTuple):
    """Where the features of each view alone place the joints."""

    logits: Tensor  # (M, J, h, w)
    hands: Tensor  # (M,) int, which of the N hands each crop shows
    projections: Tensor  # (M, 3, 4), from the frame of the joints to pixels of the crops
    crop_size: int  # s, pixels


class MVExoNetOutput(NamedTuple):
    """What one forward pass gives."""

    joints: Tensor  # (N, J, 3), metres, in the frame of the cameras' extrinsics
    logits: Tensor  # (N, J, D, D, D), along the axes of the cubes
    cubes: HandCubes
    maps: JointMaps | None = None


class JointTarget(NamedTuple):
    """True joints of N hands. What is not valid may hold anything."""

    joints: Tensor  # (N, J, 3), metres
    valid: Tensor  # (N, J) bool


@MODELS.register_module()
class MVExoNetLoss(nn.Module):
    """L1 of the joints, and cross entropy of the volumes (learnable triangulation, Iskakov et al., Eq. 10).

    AssemblyHands does not say what it minimizes; these are the terms and weights of learnable triangulation, which it
    follows.

    Args:
        joint_weight: of the L1 distance, the mean over coordinates in metres. The default is that of distances in
            millimetres, times 0.1.
        volume_weight: of the cross entropy of the voxel that holds the joint; 0 leaves it out.
        map_weight: of the cross entropy of the cell of each view's map that holds the joint, where MVExoNet has
            `joint_maps`. Ours.
    """

    def __init__(self, joint_weight: float = 100.0, volume_weight: float = 0.01, map_weight: float = 0.1) -> None:
        super().__init__()
        self.joint_weight, self.volume_weight, self.map_weight = joint_weight, volume_weight, map_weight
        self.cross_entropy = VolumetricCrossEntropyLoss()

    def forward(self, output: MVExoNetOutput, target: JointTarget, step: TrainingStep) -> dict[str, Tensor]:
        """Compares N hands with their targets.

        Args:
            output: of N hands: joints (N, J, 3) and volumes (N, J, D, D, D).
            target: of the same hands.
            step: unused; every loss of a system takes it.

        Returns:
            Scalars by name.
        """
        distance = masked_difference(output.joints, target.joints, target.valid).abs()
        losses = {'loss_joints': self.joint_weight * masked_mean(distance, target.valid)}
        if self.volume_weight:
            cubes = output.cubes
            true_joints = torch.where(target.valid[..., None], target.joints, cubes.centres[:, None])
            positions = cube_indices(true_joints, cubes.centres, cubes.size, 1, cubes.rotmat) + 0.5
            losses['loss_volume'] = self.volume_weight * self.cross_entropy(output.logits, positions, target.valid)
        if output.maps is not None:
            losses['loss_maps'] = self.map_weight * self._map_error(output.maps, target)
        return losses

    def _map_error(self, maps: JointMaps, target: JointTarget) -> Tensor:
        """Cross entropy of the cells that hold the projected joints; joints outside of a crop do not count."""
        joints = torch.where(target.valid[..., None], target.joints, 0.0)[maps.hands]  # (M, J, 3)
        projected = small_matmul(joints, maps.projections[..., :3].mT) + maps.projections[:, None, :, 3]
        valid = target.valid[maps.hands] & (projected[..., 2] > 0)
        depth = torch.where(valid, projected[..., 2], 1.0)
        xy = (projected[..., :2] / depth[..., None] + 0.5) / maps.crop_size
        # A map is a volume one voxel thick.
        positions = torch.cat([xy.flip(-1), torch.full_like(xy[..., :1], 0.5)], -1)
        return self.cross_entropy(maps.logits[..., None], positions, valid)
