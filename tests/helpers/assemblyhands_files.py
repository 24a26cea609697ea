"""Small files of AssemblyHands' layout, written apart from the package."""

import json

import numpy as np
from motions import hand_joints

# Which of the 21 points of a hand on disk is each of the common 21: fingers from tip to base, the wrist last.
POINT_OF = [20, *(point for finger in range(5) for point in range(4 * finger + 3, 4 * finger - 1, -1))]
FRAMES = 40
FIRST = 6  # official number, at 60 a second
ABSENT = {(5, 0), (12, 1)}  # (frame at 30 a second, hand)
MISSING = (20, 21)  # frames that are not annotated


def true_joints():
    """(F, 2, 21, 3) metres, left and right."""
    hands = np.stack([hand_joints(FRAMES, side, 3).astype(np.float64) for side in (0, 1)], 1)
    return hands + [[[0.1, 0.2, 0.9]], [[-0.1, 0.3, 1.1]]]


def entry(frame, joints):
    points, valid = np.zeros((2, 21, 3)), np.zeros((2, 21), int)
    for hand in (0, 1):
        if (frame, hand) not in ABSENT:
            points[1 - hand, POINT_OF] = 1000 * joints[hand]  # the right hand first
            valid[1 - hand] = 1
    return {'world_coord': points.reshape(42, 3).tolist(), 'joint_valid': valid.ravel().tolist()}


def sequence_of(first=FIRST, step=2):
    joints = true_joints()
    frames = {f'{first + step * t:06d}': entry(t, joints[t]) for t in range(FRAMES) if t not in MISSING}
    frames[f'{first:06d}']['joint_valid'][0] = 0  # the tip of the right thumb
    return frames


def write_root(root, sequences, split='train', name='assemblyhands_train_joint_3d_v1-1.json'):
    folder = root / 'annotations' / split
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({'annotations': sequences}))
    return root
