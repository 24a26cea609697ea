"""Fits any `HandModel`, MANO for one, to 21 joints in motion: one shape for all frames, a pose and a translation each.

L-BFGS through the model, from the fit of `ProceduralHand`, whose axes and joints are MANO's, or from the mean pose.
"""

import copy

import torch
from torch import Tensor

from handpose.geometry.alignment import procrustes_align
from handpose.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from handpose.hands.fit import HandFit, fit_hand
from handpose.hands.model import HandModel
from handpose.hands.procedural import ProceduralHand

MAX_STEPS = 150
REST_WEIGHT = 1e-3  # metres per radian towards the model's mean pose: decides what the joints leave open, such as twist
SHAPE_WEIGHT = 2e-4  # metres per standard deviation towards the mean hand


def fit_hand_model(
    model: HandModel,
    joints: Tensor,
    valid: Tensor,
    side: int,
    max_steps: int = MAX_STEPS,
    hand_shape: Tensor | None = None,
) -> HandFit:
    """Fits a hand model to recorded joints by least squares, weakly regularized towards its mean pose and shape.

    Args:
        model: the hand model; it is not changed.
        joints: (T, 21, 3) metres, common order, any fixed frame; what is not valid may hold anything.
        valid: (T,) or (T, 21) bool, as in `fit_hand`.
        side: a `Side`.
        max_steps: number of L-BFGS steps at most.
        hand_shape: (10,) shape of the hand where it is known already; default it is fitted too.

    Returns:
        HandFit, float64.

    Raises:
        ValueError: wrong shapes, no frame with a hand, a NaN or too few joints in one.
    """
    start = fit_hand(ProceduralHand(), joints, valid, side)
    valid = torch.isfinite(start.error).any(1)
    known = torch.isfinite(start.error[valid])
    target = torch.where(known[..., None], torch.as_tensor(joints, dtype=torch.float64)[valid], 0.0)
    model, number = copy.deepcopy(model).double(), torch.tensor(int(side))
    shape = torch.zeros(10, dtype=torch.float64) if hand_shape is None else hand_shape.double()
    mean = model.pose_mean_of(side).unflatten(0, (15, 3))
    pose, transl = _nearer_start(model, number, shape, mean, start.hand_pose[valid], target, known)
    pose = pose.requires_grad_()
    transl, shape = transl.requires_grad_(), shape.clone().requires_grad_(hand_shape is None)

    def posed() -> Tensor:
        return model(pose, shape, transl, number).joints

    def cost() -> Tensor:
        distance = ((posed() - target) * known[..., None]).square().sum()
        rest = (REST_WEIGHT * (pose[:, 1:] - mean)).square().sum()
        return 1e6 * (distance + rest + len(target) * (SHAPE_WEIGHT * shape).square().sum())  # square millimetres

    unknowns = [value for value in (pose, transl, shape) if value.requires_grad]
    optimizer = torch.optim.LBFGS(unknowns, max_iter=max_steps, history_size=20, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cost()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        fitted = posed()
    error = torch.where(known, (fitted - target).norm(dim=-1), torch.nan)
    found = HandFit(*(start_value.clone() for start_value in start))
    found.hand_pose[valid], found.hand_transl[valid] = pose.detach(), transl.detach()
    found.joints[valid], found.error[valid] = fitted, error
    return found._replace(hand_shape=shape.detach())


def _nearer_start(
    model: HandModel, side: Tensor, shape: Tensor, mean: Tensor, pose: Tensor, target: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Poses (T, 16, 3) and translations: of `pose` or of the mean pose, whichever fits a frame better."""
    resting = torch.cat([torch.zeros_like(pose[:, :1]), mean.expand(len(pose), 15, 3)], 1)
    starts, distances = [], []
    for candidate in (pose, resting):
        origin = torch.zeros(len(pose), 3, dtype=pose.dtype)
        with torch.no_grad():
            joints = model(candidate, shape, origin, side).joints
        placed = procrustes_align(joints, target, scale=False, weights=known)
        rotation = _rotation_between(joints, placed)
        wrist = rotmat_to_rotvec(rotation @ rotvec_to_rotmat(candidate[:, 0]))
        starts.append((torch.cat([wrist[:, None], candidate[:, 1:]], 1), placed[:, 0] - model.rest_wrist(shape, side)))
        distances.append(((placed - target).square().sum(-1) * known).sum(-1))
    first = distances[0] <= distances[1]
    return (
        torch.where(first[:, None, None], starts[0][0], starts[1][0]),
        torch.where(first[:, None], starts[0][1], starts[1][1]),
    )


def _rotation_between(points: Tensor, moved: Tensor) -> Tensor:
    """The rotation (T, 3, 3) of a rigid motion of points (T, N, 3)."""
    u, _, vh = torch.linalg.svd((moved - moved.mean(1, keepdim=True)).mT @ (points - points.mean(1, keepdim=True)))
    u = torch.cat([u[..., :2], u[..., 2:] * torch.linalg.det(u @ vh)[:, None, None]], -1)
    return u @ vh
