"""Writes tiny roots in H2O's layout by hand, with numbers that a test can compute itself."""

from pathlib import Path

import cv2
import numpy as np

CAMERA = (636.6593, 636.2520, 635.2839, 366.8740)  # fx fy cx cy at 1280 x 720
HEADER = 'id path action_label start_act end_act start_frame end_frame'
# (recording, action, first, last); all recordings have frames 0 to 29
TRAIN = (('subject1/h1/0', 16, 0, 9), ('subject1/h1/0', 23, 12, 29), ('subject2/k1/3', 1, 5, 9))
VAL = (('subject3/k2/0', 36, 0, 4),)
TEST = (('subject4/h1/0', 17, 3, 9),)


def joints(frame, hand):
    """(21, 3) metres: a 5 x 5 grid that drifts with the frame, the left hand on the left."""
    j = np.arange(21)
    x = (j % 5 - 2) * 0.02 + (0.1 if hand else -0.1) + 0.001 * frame
    return np.stack([x, (j // 5 - 2) * 0.02, 0.4 + 0.001 * j + 0.002 * frame], -1)


def pose(frame, hand):
    """MANO's translation (3), pose (48) and shape (10)."""
    wrist = joints(frame, hand)[0]
    return wrist, np.linspace(-0.5, 0.5, 48) + 0.01 * hand, np.linspace(-1, 1, 10) * (hand + 1) / 2


def pixels(points, size=(1280, 720)):
    """Where points (N, 3) lie in pictures of a size whose pixel centres are at integers."""
    fx, fy, cx, cy = CAMERA
    full = np.stack([fx * points[:, 0] / points[:, 2] + cx, fy * points[:, 1] / points[:, 2] + cy], -1)
    return (full + 0.5) * (np.array(size) / (1280, 720)) - 0.5


def line(values):
    return ' '.join(f'{v:.6f}' for v in values) + ' \n'  # the files end in a space


def write_list(path, rows, labels=True):
    columns = HEADER if labels else HEADER.replace('action_label ', '')
    lines = [
        f'{number} {recording} {f"{action} " if labels else ""}{first} {last} 0 29'
        for number, (recording, action, first, last) in enumerate(rows, 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([columns, *lines]) + '\n')


def write_root(
    root,
    size=(64, 36),
    folder='rgb',
    suffix='.png',
    absent=(),
    mano='hand_pose_MANO',
    name='procedural-1',
    splits=('train', 'val', 'test'),
):
    """Writes a root. `absent`: pairs (frame, hand) whose flag is 0. `size` is that of the pictures."""
    root = Path(root)
    for split, rows in (('train', TRAIN), ('val', VAL), ('test', TEST)):
        write_list(root / 'label_split' / f'action_{split}.txt', rows, labels=split != 'test')
        for recording in {row[0] for row in rows if split in splits}:
            write_recording(root / recording / 'cam4', size, folder, suffix, absent, mano)
    if name:
        (root / 'hand_model.yml').write_text(f'name: {name}\n')
    return root


def write_recording(camera, size, folder, suffix, absent, mano):
    for kind in (folder, 'hand_pose', mano, 'obj_pose'):
        (camera / kind).mkdir(parents=True, exist_ok=True)
    (camera / 'cam_intrinsics.txt').write_text(line((*CAMERA, 1280, 720)))
    for frame in range(30):
        picture = np.full((size[1], size[0], 3), frame * 8, np.uint8)
        (camera / folder / f'{frame:06d}{suffix}').write_bytes(cv2.imencode(suffix, picture)[1].tobytes())
        hands, parameters = [], []
        for hand in (0, 1):
            there = (frame, hand) not in absent
            hands += [there, *(joints(frame, hand).ravel() if there else np.zeros(63))]
            parameters += [there, *(np.concatenate(pose(frame, hand)) if there else np.zeros(61))]
        (camera / 'hand_pose' / f'{frame:06d}.txt').write_text(line(hands))
        (camera / mano / f'{frame:06d}.txt').write_text(line(parameters))
        (camera / 'obj_pose' / f'{frame:06d}.txt').write_text(line([frame % 9, *np.zeros(63)]))
