"""Hand meshes of wrist poses and finger angles, and mirror images of rigid motion.

Finger angles are (twist, abduction, flexion) of the joints 1..15 in MANO's order, radians, as in
`ProceduralHand.joint_limits`; they are a right hand's, and a left hand's are their mirror image.
Legend: F frames, V hand vertices.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from handpose.hands import ProceduralHand
from handpose.hands.sides import Side

_MIRROR = np.diag([-1.0, 1.0, 1.0])


class PosedHand(NamedTuple):
    """One hand over time, table frame, metres.

    Attributes:
        vertices: (F, V, 3).
        joints: (F, 21, 3), common order.
        pose: (F, 16, 3) rotvecs.
        transl: (F, 3).
        rest_wrist: (3,) the wrist of the shaped hand at rest.
    """

    vertices: NDArray
    joints: NDArray
    pose: NDArray
    transl: NDArray
    rest_wrist: NDArray


def angles_to_rotvecs(model: ProceduralHand, angles: Tensor) -> Tensor:
    """Finger angles (..., 15, 3) to rotvecs (..., 15, 3) of a right hand."""
    return (model.joint_axes.to(angles) @ angles.unsqueeze(-1)).squeeze(-1)


def pose_hand(model: ProceduralHand, shape: NDArray, angles: NDArray, wrist: NDArray, side: int) -> PosedHand:
    """Poses a hand.

    Args:
        model: the hand model.
        shape: (10,).
        angles: (F, 15, 3) of a right hand.
        wrist: (F, 4, 4) to the table frame, of the hand itself.
        side: 0 left, 1 right.
    """
    fingers = angles_to_rotvecs(model, torch.as_tensor(angles, dtype=torch.float64)).numpy()
    if side == Side.LEFT:
        fingers = fingers * (1, -1, -1)
    turns = Rotation.from_matrix(wrist[:, :3, :3]).as_rotvec()
    pose = np.concatenate([turns[:, None], fingers], 1)
    sides, betas = torch.tensor(side), torch.from_numpy(shape)
    rest = model.rest_wrist(betas.float(), sides).double()
    transl = torch.from_numpy(wrist[:, :3, 3]) - rest
    with torch.no_grad():
        mesh = model(torch.from_numpy(pose).float(), betas.float(), transl.float(), sides)
    return PosedHand(mesh.vertices.double().numpy(), mesh.joints.double().numpy(), pose, transl.numpy(), rest.numpy())


def without_mesh(model: ProceduralHand) -> ProceduralHand:
    """A copy of a hand model whose only vertices are the fingertips: the same joints, many times faster.

    Its `faces` and what else belongs to the mesh are those of `model` and mean nothing.
    """
    small = copy.deepcopy(model)
    tips = model.fingertip_vertices
    small.template_vertices = model.template_vertices[tips]
    small.weights = model.weights[tips]
    small.shape_directions = model.shape_directions.unflatten(-1, (-1, 3))[:, tips].flatten(1)
    small.tips_by_side = torch.arange(len(tips)).expand_as(model.tips_by_side)
    return small


def mirrored(rigid: NDArray) -> NDArray:
    """Rigid transforms (..., 4, 4) as a mirror (x -> -x) shows them."""
    mirror_image = rigid.copy()
    mirror_image[..., :3, :3] = _MIRROR @ rigid[..., :3, :3] @ _MIRROR
    mirror_image[..., :3, 3] = rigid[..., :3, 3] @ _MIRROR
    return mirror_image
