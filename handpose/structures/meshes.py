"""Meshes of the hands in a batch."""

from handpose.hands.model import HandModel
from handpose.structures.sequence import HandSequence


def with_true_vertices(batch: HandSequence, hand_model: HandModel | None) -> HandSequence:
    """Poses the hand model with the parameters of a batch.

    Args:
        batch: a `HandSequence` batch.
        hand_model: the model that the parameters belong to, or None.

    Returns:
        The batch with `vertices` (B, T, H, V, 3), metres, in the batch's frame; unchanged where it has no hand-model
        parameters or `hand_model` is None.
    """
    if hand_model is None or batch.hand_pose is None:
        return batch
    num_frames = batch.hand_pose.shape[1]
    mesh = hand_model(
        batch.hand_pose,
        batch.require('hand_shape')[:, None].expand(-1, num_frames, -1, -1),
        batch.require('hand_transl'),
        batch.require('hand_side')[:, None].expand(-1, num_frames, -1),
    )
    return batch.replace(vertices=mesh.vertices)
