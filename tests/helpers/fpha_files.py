"""Writes tiny roots in FPHA's layout by hand, with numbers that a test can compute itself."""

from pathlib import Path

import cv2
import numpy as np

TRAIN = (('Subject_1/put_salt/1', 15, 12), ('Subject_6/open_juice_bottle/2', 0, 5))  # recording, action, frames
TEST = (('Subject_1/high_five/3', 44, 7), ('Subject_3/write/1', 25, 4))
# Where the common joints lie among FPHA's, as its own script lists them.
TO_COMMON = [0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20]


def joints(frame):
    """(21, 3) millimetres in FPHA's order and the depth camera's frame."""
    j = np.arange(21)
    return np.stack([(j % 5 - 2) * 20.0 + frame, (j // 5 - 2) * 20.0, 400.0 + j + 2 * frame], -1)


def common(frame):
    """The same in the common order, metres and the colour camera's frame, by the published numbers."""
    turn = np.array(
        [
            [0.999988496304, -0.00468848412856, 0.000982563360594],
            [0.00469115935266, 0.999985218048, -0.00273845880292],
            [-0.000969709653873, 0.00274303671904, 0.99999576807],
        ]
    )
    return np.array([turn @ point + (25.7, 1.22, 3.902) for point in joints(frame)[TO_COMMON]]) / 1000


def pixels(points, size=(1920, 1080)):
    """Where points (N, 3) lie in pictures of a size whose pixel centres are at integers."""
    x, y, z = points.T
    full = np.stack([1395.749023 * x / z + 935.732544, 1395.749268 * y / z + 540.681030], -1)
    return (full + 0.5) * (np.array(size) / (1920, 1080)) - 0.5


def write_root(root, size=(64, 36), folder='Video_files', skeletons='Hand_pose_annotation_v1', empty=()):
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    write_split(root, TRAIN, TEST)
    for recording, _, frames in (*TRAIN, *TEST):
        write_recording(root, recording, frames, size, folder, skeletons, recording in empty)
    return root


def write_split(root, train, test):
    lines = []
    for title, rows in (('Training', train), ('Test', test)):
        lines += [f'{title} {len(rows)}', *(f'{recording} {action}' for recording, action, _ in rows)]
    (root / 'data_split_action_recognition.txt').write_text('\n'.join(lines) + '\n')


def write_recording(
    root, recording, frames, size=(64, 36), folder='Video_files', skeletons='Hand_pose_annotation_v1', empty=False
):
    pictures, skeleton = root / folder / recording / 'color', root / skeletons / recording / 'skeleton.txt'
    pictures.mkdir(parents=True)
    skeleton.parent.mkdir(parents=True)
    rows = [f'{t:04d} ' + ' '.join(f'{v:.4f}' for v in joints(t).ravel()) for t in range(frames)]
    skeleton.write_text('' if empty else '\n'.join(rows) + '\n')
    for frame in range(frames + 1):  # one picture more than rows, as may happen
        picture = np.full((size[1], size[0], 3), frame * 8, np.uint8)
        (pictures / f'color_{frame:04d}.jpeg').write_bytes(cv2.imencode('.jpg', picture)[1].tobytes())
