"""Seeded batches of random images and of hands that move by small random rotations; nothing is read from files.

Legend: B clips, T frames, H hands, J = 21 joints, K = 1 camera.
"""

from typing import Any

import torch
from torch import Tensor

from handpose.hands import ProceduralHand, is_left
from handpose.structures import HandSequence

DEPTH = 0.5  # metres from the camera to the wrists, about


def make_batch(
    seed: int,
    sides: list[list[int]],
    num_frames: int,
    size: tuple[int, int],
    num_objects: int = 0,
    num_actions: int = 0,
) -> HandSequence:
    """Makes a batch in the camera frame with images and complete labels.

    The last clip ends in two padding frames; frame 1 of the first clip lacks its hand-model parameters; one joint of it
    is not annotated; and, where there are two hands, the last clip's left hand is missing in frame 0.

    Args:
        seed: decides everything.
        sides: (B, H) 0 left, 1 right.
        num_frames: T.
        size: (width, height) of the images, pixels.
        num_objects: classes of the object labels; 0 gives no labels.
        num_actions: classes of the action labels; 0 gives no labels.
    """
    generator = torch.Generator().manual_seed(seed)
    hand_side = torch.tensor(sides)
    clips, hands = hand_side.shape
    frame_valid = torch.ones(clips, num_frames, dtype=torch.bool)
    frame_valid[-1, -2:] = False
    hand_valid = frame_valid[..., None].repeat(1, 1, hands)
    if hands == 2:
        hand_valid[-1, 0, 0] = False
    hand_pose_valid = hand_valid.clone()
    hand_pose_valid[0, 1] = False
    joints_valid = hand_valid[..., None].repeat(1, 1, 1, 21)
    joints_valid[0, 2, :, 20] = False
    intrinsics = camera(size).expand(clips, num_frames, 1, 3, 3).clone()
    posed = posed_hands(generator, hand_side, num_frames)
    joints_2d = project(posed['joints_3d'], intrinsics)
    labels = {}
    if num_objects:
        labels['object_label'] = torch.randint(num_objects, (clips, num_frames), generator=generator)
    if num_actions:
        labels['action_label'] = torch.randint(num_actions, (clips,), generator=generator)
    return HandSequence(
        meta=[metadata(seed, clip, num_frames) for clip in range(clips)],
        batched=True,
        frame_valid=frame_valid,
        timestamps=(torch.arange(num_frames).double() / 30).expand(clips, num_frames).clone(),
        hand_side=hand_side,
        hand_valid=hand_valid,
        images=torch.randint(256, (clips, num_frames, 1, 3, size[1], size[0]), generator=generator, dtype=torch.uint8),
        intrinsics=intrinsics,
        boxes=torch.cat([joints_2d.amin(-2), joints_2d.amax(-2)], -1),
        joints_2d=joints_2d,
        joints_2d_valid=joints_valid[:, :, None].clone(),
        joints_valid=joints_valid,
        hand_pose_valid=hand_pose_valid,
        occlusion=torch.rand(clips, num_frames, 1, hands, generator=generator),
        **posed,
        **labels,
    ).validate()


def with_inputs(batch: HandSequence, seed: int) -> HandSequence:
    """Adds what a noisy per-frame estimator gives: joints off by about 5 mm, and frame 2 of the first clip missing."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.005 * torch.randn(batch.joints_3d.shape, generator=generator)
    input_valid = batch.hand_valid.clone()
    input_valid[0, 2] = False
    return batch.replace(
        input_joints_3d=batch.joints_3d + noise,
        input_confidence=torch.rand(batch.joints_3d.shape[:-1], generator=generator),
        input_valid=input_valid,
    ).validate()


def posed_hands(generator: torch.Generator, hand_side: Tensor, num_frames: int) -> dict[str, Tensor]:
    """Hand-model parameters of (B, H) hands moving over T frames, and the joints that follow from them."""
    clips, hands = hand_side.shape

    def randn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    # A random pose, and a random walk around it.
    pose = 0.25 * randn(clips, 1, hands, 16, 3) + 0.04 * randn(clips, num_frames, hands, 16, 3).cumsum(1)
    shape = 0.5 * randn(clips, hands, 10)
    across = torch.where(is_left(hand_side), -0.08, 0.08) * (hands == 2)  # two hands beside each other
    centre = torch.stack([across, torch.zeros_like(across), torch.full_like(across, DEPTH)], -1)[:, None]
    transl = centre + 0.01 * randn(clips, 1, hands, 3) + 0.003 * randn(clips, num_frames, hands, 3).cumsum(1)
    mesh = ProceduralHand()(
        pose,
        shape[:, None].expand(-1, num_frames, -1, -1),
        transl,
        hand_side[:, None].expand(-1, num_frames, -1),
    )
    return {'joints_3d': mesh.joints, 'hand_pose': pose, 'hand_shape': shape, 'hand_transl': transl}


def camera(size: tuple[int, int]) -> Tensor:
    """Intrinsics (3, 3) of a camera that sees about 0.4 m at `DEPTH`."""
    width, height = size
    focal = min(size) * DEPTH / 0.4
    return torch.tensor([[focal, 0.0, width / 2 - 0.5], [0.0, focal, height / 2 - 0.5], [0.0, 0.0, 1.0]])


def project(joints: Tensor, intrinsics: Tensor) -> Tensor:
    """Joints (B, T, H, J, 3), intrinsics (B, T, 1, 3, 3) -> pixels (B, T, 1, H, J, 2)."""
    points = torch.einsum('btij,bthpj->bthpi', intrinsics[:, :, 0], joints)
    return (points[..., :2] / points[..., 2:])[:, :, None]


def metadata(seed: int, clip: int, num_frames: int) -> dict[str, Any]:
    return {
        'dataset': 'golden',
        'sequence': f'{seed}_{clip}',
        'cameras': ['0'],
        'frame_indices': list(range(num_frames)),
        'fps': 30.0,
        'hand_model': ProceduralHand().name,
    }
