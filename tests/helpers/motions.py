"""Recorded motion that a test can compute itself: procedural hands with known parameters, two cameras, one object."""

import numpy as np
import torch

from handpose.datasets.motion.motion_file import RecordedMotion
from handpose.hands import ProceduralHand

SUBJECT = '20200820-subject-03'
NAMES = [f'{SUBJECT}/20200820_1{i:05d}' for i in range(10)]
OBJECT = '003_cracker_box'
SIZE = (128, 96)


def hand_joints(frames, side, seed):
    """(T, 21, 3) metres: a hand that closes while it moves over a table, which is the world's z = 0."""
    rng = np.random.default_rng(seed)
    model = ProceduralHand()
    step = torch.linspace(0.1, 0.6, frames)[:, None, None]
    angles = torch.zeros(frames, 15, 3)
    angles[:, :12, 2:] = step
    fingers = (model.joint_axes @ angles[..., None])[..., 0] * torch.tensor([1.0, 1, 1] if side else [1.0, -1, -1])
    turn = torch.tensor([[1.4, 0.1, 0.2]]) + 0.2 * step[:, 0]  # about x: from the model's y up to the world's z up
    pose = torch.cat([turn[:, None], fingers], 1)
    shape = torch.from_numpy(rng.normal(0, 0.8, 10)).float()
    transl = torch.tensor([[0.02, 0.0, 0.12]]) + torch.tensor([0.03, 0.05, 0.02]) * step[:, 0]
    return model(pose, shape, transl, torch.tensor(side)).joints.numpy()


def look_from(eye, target=(0.0, 0.0, 0.1)):
    """World to camera (4, 4), z up."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -rotation @ eye
    return matrix


def make_motion(sequences=(0, 4), frames=6, absent=(2,), **changes):
    """A `RecordedMotion` of some of `NAMES`; right hands at even positions; frames in `absent` have none."""
    count = len(sequences)
    valid = np.ones((count, frames), bool)
    valid[:, list(absent)] = False
    joints = np.concatenate([hand_joints(frames, int(s % 2 == 0), s) for s in sequences])
    joints[~valid.ravel()] = np.nan
    focal = 1.3 * SIZE[0]
    matrix = np.array([[focal, 0, SIZE[0] / 2 - 3], [0, 1.02 * focal, SIZE[1] / 2 + 2], [0, 0, 1]])
    cameras = np.stack([look_from((0.3, -0.5, 0.3)), look_from((-0.4, -0.4, 0.25))])
    rotvec = np.tile([0.0, 0.0, 0.3], (count * frames, 1))
    transl = np.tile([-0.12, 0.2, 0.1065], (count * frames, 1))
    rotvec[0] = np.nan
    values = dict(
        joints=joints, frame_valid=valid.ravel(), sequence_names=[NAMES[s] for s in sequences],
        sequence_lengths=np.full(count, frames), hand_side=np.array([int(s % 2 == 0) for s in sequences]), fps=30.0,
        all_sequence_names=NAMES, camera_serials=['932122061900', '932122062010'], camera_sizes=np.array([SIZE, SIZE]),
        camera_intrinsics=np.stack([matrix, matrix]), camera_extrinsics=np.tile(cameras, (count, 1, 1, 1)),
        table=np.tile(np.eye(4), (count, 1, 1)), object_names=[OBJECT] * count, object_rotvec=rotvec,
        object_transl=transl, licence='for this test',
    )  # fmt: skip
    return RecordedMotion(**{**values, **changes})


WITHOUT_SURROUNDINGS = dict.fromkeys(
    ('camera_serials', 'camera_sizes', 'camera_intrinsics', 'camera_extrinsics', 'table', 'object_names',
     'object_rotvec', 'object_transl')
)  # fmt: skip
