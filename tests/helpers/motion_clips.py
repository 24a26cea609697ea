"""Small refiners, and clips as they see them: random hands with what an estimator is said to have given."""

import torch

from handpose.hands import ProceduralHand
from handpose.registry import MODELS
from handpose.structures import HandSequence

HAND = ProceduralHand()
LOSS = dict(
    type='RefinementLoss',
    point_loss=dict(type='SmoothL1KeypointLoss'),
    acceleration_loss=dict(type='AccelerationLoss'),
    pose_loss=dict(type='HandPoseLoss', base='smooth_l1'),
    shape_loss=dict(type='HandShapeLoss', base='smooth_l1'),
)
SIZES = dict(
    frame_rate=30.0, num_frames=9, stride=4, channels=16, depth=2, num_heads=2, hand_model=dict(type='ProceduralHand')
)


def build(name='PDTM', **options):
    """A small refiner with the training's loss; PDTM also with few groups."""
    sizes = SIZES | (dict(groups=4) if name == 'PDTM' else {})
    return MODELS.build(dict(type=name, loss=LOSS, **(sizes | options)))


def with_random_weights(model, std=0.3):
    """So that every part of a refiner has something to say; in evaluation mode, float64."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.double().eval()


def track(num_frames, hands=1, seed=0, dtype=torch.float64):
    """Joints (T, H, 21, 3) of a smooth path with noise half a metre away, and validity (T, H)."""
    draw = torch.Generator().manual_seed(seed)
    path = 0.02 * torch.randn(num_frames, hands, 1, 3, generator=draw, dtype=dtype).cumsum(0)
    joints = 0.05 * torch.randn(num_frames, hands, 21, 3, generator=draw, dtype=dtype)
    return path + joints + torch.tensor([0.0, 0.0, 0.5], dtype=dtype), torch.ones(num_frames, hands, dtype=torch.bool)


def clip(num_frames=9, hands=1, sides=(1,), seed=0, frame='camera', parameters=True):
    """A clip of hands that are the hand model's, and inputs that are a centimetre off."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw)

    pose, shape = 0.3 * normal(num_frames, hands, 16, 3), normal(hands, 10)
    side = torch.tensor(sides)
    transl = 0.02 * normal(num_frames, hands, 3).cumsum(0) + torch.tensor([0.0, 0.0, 0.6])
    joints = HAND(pose, shape.expand(num_frames, -1, -1), transl, side.expand(num_frames, -1)).joints
    joints = joints - joints[:, :, :1] if frame == 'wrist' else joints
    ones = torch.ones(num_frames, hands, dtype=torch.bool)
    given = joints + 0.01 * normal(*joints.shape)
    labels = dict(hand_pose=pose, hand_shape=shape, hand_transl=transl, hand_pose_valid=ones.clone())
    return HandSequence(
        meta=dict(
            dataset='test', sequence=str(seed), cameras=['0'], frame_indices=list(range(num_frames)), fps=30.0,
            hand_model='procedural',
        ),
        frame=frame,
        frame_valid=ones[:, 0].clone(),
        timestamps=torch.arange(num_frames, dtype=torch.float64) / 30,
        hand_side=side,
        hand_valid=ones.clone(),
        joints_3d=joints,
        joints_valid=ones[..., None].repeat(1, 1, 21),
        input_joints_3d=given - given[:, :, :1] if frame == 'wrist' else given,
        input_valid=ones.clone(),
        input_confidence=torch.ones(num_frames, hands, 21),
        **(labels if parameters else {}),
    ).validate()  # fmt: skip


def summed(losses):
    """What is minimised."""
    return sum(value for name, value in losses.items() if 'loss' in name)
