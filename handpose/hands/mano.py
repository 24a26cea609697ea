"""`MANO`: the hand model of Romero, Tzionas and Black (SIGGRAPH Asia 2017), run by smplx on the user's own files."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.hands.mano_file import load_mano_file
from handpose.hands.model import HandModel
from handpose.hands.sides import Side, is_left, is_right
from handpose.text import did_you_mean

# Vertex ids of the thumb, index, middle, ring and little tips, (left, right), as each code base takes them.
FINGERTIP_VERTICES = {
    'manopth': ((745, 317, 445, 556, 673), (745, 317, 444, 556, 673)),
    'dexycb': ((745, 317, 445, 556, 673), (745, 317, 444, 556, 673)),
    'ho3d': ((728, 353, 442, 576, 694),) * 2,
    'ho3d_official': ((744, 333, 444, 555, 672),) * 2,
    'interhand': ((745, 317, 445, 556, 673),) * 2,
    'freihand': ((744, 320, 443, 555, 672),) * 2,
    'smplx': ((744, 320, 443, 554, 671),) * 2,
}


class MANO(HandModel):
    """MANO through smplx, both sides in one call, from MANO_RIGHT.pkl and MANO_LEFT.pkl.

    `hand_pose` is always the full pose in rotation vectors, the mean included. A dataset that stores poses without the
    mean, or PCA coefficients, converts with `pose_mean_of(side)` and `pose_basis_of(side)`.

    Args:
        model_path: folder with both files.
        left_shapedirs: 'original' as distributed (DexYCB was annotated so), or 'fixed': the x component negated, as
            InterHand2.6M and Re:InterHand have it (vchoutas/smplx issue 48). Files already corrected stay as they are.
        fingertip_vertices: whose vertices serve as fingertip joints, a key of `FINGERTIP_VERTICES`.
        flat_hand_mean: whether `pose_mean` is zero (for poses stored complete) instead of the files' mean pose.

    Raises:
        ValueError: an option is unknown.
        MANOFileError: a file is missing or not MANO.
    """

    left_faces: Tensor
    left_pose_mean: Tensor
    left_pose_basis: Tensor

    def __init__(
        self,
        model_path: str | Path,
        left_shapedirs: str = 'original',
        fingertip_vertices: str = 'dexycb',
        flat_hand_mean: bool = False,
    ) -> None:
        if left_shapedirs not in ('original', 'fixed'):
            raise ValueError(f"left_shapedirs must be 'original' or 'fixed', got {left_shapedirs!r}")
        if fingertip_vertices not in FINGERTIP_VERTICES:
            raise ValueError(
                f'fingertip_vertices must be one of {sorted(FINGERTIP_VERTICES)}, got {fingertip_vertices!r}.'
                f'{did_you_mean(fingertip_vertices, FINGERTIP_VERTICES)}'
            )
        left, right = (load_mano_file(Path(model_path) / f'MANO_{side}.pkl') for side in ('LEFT', 'RIGHT'))
        if left_shapedirs == 'fixed':
            left = {**left, 'shapedirs': fix_left_shapedirs(left['shapedirs'], right['shapedirs'])}
        keep = 0.0 if flat_hand_mean else 1.0
        super().__init__(
            name='mano',
            faces=_tensor(right['f'], torch.int64),
            pose_mean=keep * _tensor(right['hands_mean']),
            pose_basis=_tensor(right['hands_components']),
            tips_by_side=torch.tensor(FINGERTIP_VERTICES[fingertip_vertices]),
            num_vertices=len(right['v_template']),
        )
        self.register_buffer('left_faces', _tensor(left['f'], torch.int64), persistent=False)
        self.register_buffer('left_pose_mean', keep * _tensor(left['hands_mean']), persistent=False)
        self.register_buffer('left_pose_basis', _tensor(left['hands_components']), persistent=False)
        self.left, self.right = _smplx_layer(left, is_right=False), _smplx_layer(right, is_right=True)

    def faces_of(self, side: int) -> Tensor:
        """See `HandModel.faces_of`; the left file has its own triangles."""
        return self.faces if side == Side.RIGHT else self.left_faces

    def pose_mean_of(self, side: int) -> Tensor:
        """See `HandModel.pose_mean_of`: of one side's file; zero with `flat_hand_mean`."""
        return self.pose_mean if side == Side.RIGHT else self.left_pose_mean

    def pose_basis_of(self, side: int) -> Tensor:
        """See `HandModel.pose_basis_of`: the principal components of one side's file."""
        return self.pose_basis if side == Side.RIGHT else self.left_pose_basis

    def pose_template(self, rotmats: Tensor, hand_shape: Tensor, hand_side: Tensor) -> tuple[Tensor, Tensor]:
        """See `HandModel.pose_template`."""
        vertices = rotmats.new_zeros(len(rotmats), self.num_vertices, 3)
        joints = rotmats.new_zeros(len(rotmats), 16, 3)
        for own, layer in ((is_left(hand_side), self.left), (is_right(hand_side), self.right)):
            chosen = torch.nonzero(own)[:, 0]
            if len(chosen):
                out = layer(
                    betas=hand_shape[chosen],
                    global_orient=rotmats[chosen, :1],
                    hand_pose=rotmats[chosen, 1:],
                )
                vertices = vertices.index_copy(0, chosen, out.vertices)
                joints = joints.index_copy(0, chosen, out.joints)
        return vertices, joints

    def rest_joints(self, hand_shape: Tensor, hand_side: Tensor) -> Tensor:
        """See `HandModel.rest_joints`."""
        joints = []
        for layer in (self.left, self.right):
            template = layer.v_template + torch.einsum('bk,vck->bvc', hand_shape, layer.shapedirs)
            joints.append(layer.J_regressor @ template)
        return torch.where(is_right(hand_side)[:, None, None], joints[Side.RIGHT], joints[Side.LEFT])


def fix_left_shapedirs(left: NDArray, right: NDArray) -> NDArray:
    """Negates the x component of the left shape directions where they have the right hand's sign.

    The left hand is the right one mirrored in x, so its x directions must be about the negative of the right's. In
    the distributed file they are not (vchoutas/smplx issue 48).

    Args:
        left: (778, 3, 10) shape directions of the left hand.
        right: (778, 3, 10) shape directions of the right hand.

    Returns:
        (778, 3, 10) corrected left directions.
    """
    if np.abs(left[:, 0] - right[:, 0]).sum() < np.abs(left[:, 0] + right[:, 0]).sum():
        left = left * np.array([-1.0, 1.0, 1.0])[:, None]
    return left


def _tensor(array: NDArray, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.array(array, np.int64 if dtype == torch.int64 else np.float64)).to(dtype)


def _smplx_layer(model: dict[str, NDArray], is_right: bool) -> Any:
    """smplx's MANO of one side. Its buffers are taken out of state_dict: the licence forbids passing them on."""
    import smplx

    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line about the number of shape parameters
        layer = smplx.MANOLayer(
            model_path='unused: data_struct is given',
            is_rhand=is_right,
            data_struct=smplx.utils.Struct(**model),
            use_pca=False,
            flat_hand_mean=True,
            create_body_pose=False,
        )
    for module in layer.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer, persistent=False)
    return layer
