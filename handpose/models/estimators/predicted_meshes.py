"""Meshes for predicted joints.

Legend: B clips, T frames, H hands of a clip, J = 21 joints.
"""

from torch import Tensor

from handpose.hands import HandModel, ProceduralHand, fit_hand
from handpose.structures import HandSequence


def add_mesh(prediction: HandSequence, hand_model: HandModel, hand_pose: Tensor, hand_shape: Tensor) -> HandSequence:
    """Adds vertices and hand-model parameters to predicted joints; the wrist stays where it is.

    Args:
        prediction: batch with joints_3d (B, T, H, J, 3).
        hand_model: of the parameters.
        hand_pose: (B, T, H, 16, 3) rotvecs.
        hand_shape: (B, H, 10).
    """
    num_frames = hand_pose.shape[1]
    side = prediction.require('hand_side')[:, None].expand(-1, num_frames, -1)
    shape = hand_shape[:, None].expand(-1, num_frames, -1, -1)
    transl = prediction.require('joints_3d')[:, :, :, 0] - hand_model.rest_wrist(shape, side)
    return prediction.replace(
        vertices=hand_model(hand_pose, shape, transl, side).vertices,
        hand_pose=hand_pose,
        hand_shape=hand_shape,
        hand_transl=transl,
        hand_pose_valid=prediction.hand_valid,
    )


def fit_meshes(prediction: HandSequence, hand_model: HandModel) -> HandSequence:
    """Fits the hand model (`ProceduralHand`) to the joints of every track, one shape a track, and adds its mesh.

    For refiners that give joints alone, where their meshes are to be compared; the joints stay as they are.

    Args:
        prediction: a batch with joints_3d.
        hand_model: a `ProceduralHand`.

    Returns:
        The batch with vertices and hand-model parameters.

    Raises:
        TypeError: another hand model, which cannot be fitted.
    """
    if not isinstance(hand_model, ProceduralHand):
        raise TypeError(f'only ProceduralHand can be fitted to predicted joints, got {type(hand_model).__name__}')
    joints, hand_valid, side = (prediction.require(name) for name in ('joints_3d', 'hand_valid', 'hand_side'))
    batch, num_frames, hands = hand_valid.shape
    pose = joints.new_zeros(batch, num_frames, hands, 16, 3)
    shape = joints.new_zeros(batch, hands, 10)
    for b, h in hand_valid.any(1).nonzero().tolist():
        fit = fit_hand(hand_model, joints[b, :, h].cpu(), hand_valid[b, :, h].cpu(), int(side[b, h]))
        pose[b, :, h], shape[b, h] = fit.hand_pose.to(pose), fit.hand_shape.to(shape)
    return add_mesh(prediction, hand_model, pose, shape)
