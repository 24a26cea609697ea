"""Writes tiny roots in HO3D's layout by hand, as Python 2 pickled them, with numbers that a test can compute itself."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
from mano_files import Python2Pickler, write_plain  # noqa: F401 (for the tests of this folder)

CAMERA = np.array([[120.0, 0, 47], [0, 122, 35], [0, 0, 1]])
# Where the common joints (wrist, thumb, index, middle, ring, little) lie among HO3D's, as its own scripts list them.
TO_COMMON = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]


def joints(frame, camera=0):
    """(21, 3) in HO3D's order and OpenGL axes: a 5 x 5 grid that drifts with the frame, in front of the camera."""
    j = np.arange(21)
    return np.stack([(j % 5 - 2) * 0.02 + 0.002 * frame, (j // 5 - 2) * 0.02 + 0.001 * camera, -0.5 - 0.001 * j], -1)


def common(frame, camera=0):
    """The same in the common order and OpenCV axes."""
    x, y, z = joints(frame, camera)[TO_COMMON].T
    return np.stack([x, -y, -z], -1)


def pixels(points):
    """Pixels of OpenCV points."""
    return np.stack([120 * points[:, 0] / points[:, 2] + 47, 122 * points[:, 1] / points[:, 2] + 35], -1)


def corners():
    """The rest corners (8, 3) of an object's box."""
    return np.array([[x, y, z] for x in (-0.02, 0.02) for y in (-0.03, 0.03) for z in (-0.01, 0.01)])


def labels(frame, part='train', camera=0, annotated=True):
    """What a label file holds."""
    values = {
        'camMat': CAMERA, 'handJoints3D': joints(frame, camera), 'handPose': np.linspace(-0.5, 0.6, 48) + 0.01 * frame,
        'handTrans': np.array([0.01, 0.02, -0.4 - 0.01 * frame]), 'handBeta': np.linspace(-1, 1, 10),
        'objRot': np.array([[0], [0], [np.pi / 2]]), 'objTrans': np.array([0.05, 0.01, -0.5]),
        'objName': '021_bleach_cleanser', 'objLabel': 12, 'objCorners3DRest': corners(),
        'objCorners3D': corners()[:, [1, 0, 2]] * (-1, 1, 1) + (0.05, 0.01, -0.5),
        'handVertContact': np.ones(778, bool),
    }  # fmt: skip
    if part == 'evaluation':
        values = {k: v for k, v in values.items() if not k.startswith('hand')}
        values |= {'handJoints3D': joints(frame, camera)[0], 'handBoundingBox': [10 + frame, 20, 30 + frame, 45]}
    return values if annotated else dict.fromkeys(values)


def write_label(path, values):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def write_root(
    root,
    version=2,
    train=('ABF10', 'ABF11', 'SM2'),
    evaluation=('SB11', 'SM1'),
    frames=6,
    unannotated=(),
    name='procedural-1',
    truth=False,
):
    """Writes a root; frames in `unannotated` are on disk, hold None throughout and are in no list."""
    root, suffix = Path(root), {2: '.png', 3: '.jpg'}[version]
    image = cv2.imencode(suffix, np.full((72, 96, 3), (30, 60, 200), np.uint8))[1].tobytes()  # blue, green, red
    root.mkdir(exist_ok=True)
    if name:
        (root / 'hand_model.yml').write_text(f'name: {name}\n')
    for part, sequences in (('train', train), ('evaluation', evaluation)):
        lines = []
        for sequence in sequences:
            for frame in range(frames):
                camera = int(sequence[-1])
                values = labels(frame, part, camera, frame not in unannotated)
                write_label(label_file(root, sequence, frame, part), values)
                picture = root / part / sequence / 'rgb' / f'{frame:04d}{suffix}'
                picture.parent.mkdir(exist_ok=True)
                picture.write_bytes(image)
            lines += [f'{sequence}/{frame:04d}' for frame in range(frames) if frame not in unannotated]
        (root / part).mkdir(exist_ok=True)
        (root / f'{part}.txt').write_text('\n'.join(lines) + '\n')
        if truth and part == 'evaluation':
            rows = [joints(int(line[-4:]), int(line[-6])).tolist() for line in lines]
            (root / 'evaluation_xyz.json').write_text(json.dumps(rows))
    return root


def label_file(root, sequence, frame, part='train'):
    return Path(root) / part / sequence / 'meta' / f'{frame:04d}.pkl'
