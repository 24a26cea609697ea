"""A small Assembly101 tree, written apart from the package: one recording of known poses, two views, three actions."""

import csv
import json

import numpy as np
from motions import hand_joints

FRAMES = 80  # at 60 a second
# Which of the official points is each of the common 21; the thumb's base has none.
POINT_OF = (5, None, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4)
PALM_CENTRE = 20
RECORDING = 'nusar_action_both_9033-a30_9033_user_id_2021-02-04_131528'
OTHER = 'nusar_action_both_9011-b06_9011_user_id_2021-02-01_154253'
COLUMNS = [
    'id', 'video', 'start_frame', 'end_frame', 'action_id', 'verb_id', 'noun_id', 'action_cls', 'verb_cls', 'noun_cls',
    'toy_id', 'toy_name', 'is_shared', 'is_RGB',
]  # fmt: skip
ACTIONS = [
    (0, 0, 1, 'pick up wheel', 'pick up', 'wheel'),
    (1, 2, 0, 'screw cab', 'screw', 'cab'),
    (2, 0, 0, 'pick up cab', 'pick up', 'cab'),
]
# first and last frame at 30 a second, action
SEGMENTS = [(2, 9, 1), (9, 30, 0), (31, 60, 2)]


def true_joints(frames=FRAMES):
    """Joints (F, 2, 21, 3) metres of both hands, each frame 1 mm further along x."""
    hands = np.stack([hand_joints(frames, side, 5).astype(np.float64) for side in (0, 1)], 1)
    hands += [[[0.1, 0.2, 0.9]], [[-0.1, 0.2, 0.9]]]
    hands[..., 0] += 0.001 * np.arange(frames)[:, None, None]
    return hands


def points(joints):
    """One hand's joints (21, 3) as the files have them: a list of 21 points, millimetres."""
    found = np.zeros((21, 3))
    for joint, point in enumerate(POINT_OF):
        if point is not None:
            found[point] = 1000 * joints[joint]
    found[PALM_CENTRE] = 1000 * joints[[0, 5, 17]].mean(0)
    return found.round(2).tolist()


def pose_list(joints):
    return [
        {'landmarks': {'0': points(left), '1': points(right)}, 'tracking_confidence': {'0': 1.0, '1': 0.5}}
        for left, right in joints
    ]


def pose_dict(joints):
    return {str(n): {'0': points(left), '1': points(right)} for n, (left, right) in enumerate(joints)}


def write_csv(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='') as file:
        csv.writer(file).writerows([columns, *rows])


def segment_rows(recording=RECORDING, segments=SEGMENTS, views=('C10095_rgb', 'HMC_84346135_mono10bit')):
    rows = []
    for first, last, action in segments:
        for view in views:
            name = f'{recording}/{view}.mp4'
            rows.append((7 + len(rows), name, first, last, *ACTIONS[action], 'a30', 'suv', 1, int('rgb' in view)))
    return rows


def write_root(root, poses=None, folder='poses@60fps'):
    """Writes the tree; poses None: those of `true_joints` as a list."""
    annotations = root / 'fine-grained-annotations'
    write_csv(annotations / 'actions.csv', ['id', *COLUMNS[4:10]], [(n, *row) for n, row in enumerate(ACTIONS)])
    for name in ('train', 'validation', 'test'):
        write_csv(annotations / f'{name}.csv', COLUMNS, segment_rows())
    write_poses(root, pose_list(true_joints()) if poses is None else poses, folder=folder)
    return root


def write_poses(root, content, recording=RECORDING, folder='poses@60fps'):
    path = root / folder / f'{recording}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
