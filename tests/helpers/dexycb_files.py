"""Writes tiny roots in DexYCB's layout by hand, with numbers that a test can compute itself."""

from pathlib import Path

import cv2
import numpy as np
import yaml

FX, FY, CX, CY = 120.0, 122.0, 47.0, 35.0
# Camera to world of the second camera: a quarter turn about y and a shift; the first camera is the world.
QUARTER_TURN = np.array([[0, 0, 1, 0.1], [0, 1, 0, 0.2], [-1, 0, 0, 0.3]], np.float64)
GRASPED = 5


def joints(frame, position=0, camera=0):
    """(21, 3) metres: a 5 x 5 grid that drifts with the frame and names its sequence and camera."""
    j = np.arange(21)
    x = (j % 5 - 2) * 0.02 + 0.002 * frame + 0.001 * position
    y = (j // 5 - 2) * 0.02 + 0.001 * camera
    return np.stack([x, y, 0.5 + 0.001 * j], -1).astype(np.float32)


def pixels(points):
    return np.stack([FX * points[:, 0] / points[:, 2] + CX, FY * points[:, 1] / points[:, 2] + CY], -1)


def pose(frame):
    """(51,): wrist rotvec, 45 coefficients, translation."""
    return np.concatenate([[0.1, 0.2, 0.3], np.linspace(-1, 1, 45), [0.01 * frame, 0.02, 0.5]]).astype(np.float32)


def labels(frame, position=0, camera=0, hand=True, size=(96, 72)):
    seg = np.zeros(size[::-1], np.uint8)
    seg[10:20, 30:50] = GRASPED
    values = {
        'seg': seg,
        'pose_y': np.zeros((2, 3, 4), np.float32),
        'pose_m': np.zeros((1, 51), np.float32),
        'joint_3d': np.full((1, 21, 3), -1, np.float32),
        'joint_2d': np.full((1, 21, 2), -1, np.float32),
    }
    if hand:
        values['joint_3d'][0] = joints(frame, position, camera)
        values['joint_2d'][0] = pixels(values['joint_3d'][0])
        values['pose_m'][0] = pose(frame)
    return values


def write_root(
    root,
    subjects=(1,),
    sequences=5,
    serials=('932122061900', '932122062010'),
    frames=3,
    no_hand=(),
    name='procedural-1',
):
    """Writes a root; frames in `no_hand` carry the "no hand" sentinels. Odd positions are left hands."""
    root, size = Path(root), (96, 72)
    image = cv2.imencode('.jpg', np.full((*size[::-1], 3), (30, 60, 200), np.uint8))[1].tobytes()  # blue, green, red
    calibration = root / 'calibration'
    color = {'fx': FX, 'fy': FY, 'ppx': CX, 'ppy': CY}
    for serial in serials:
        write_yaml(calibration / 'intrinsics' / f'{serial}_96x72.yml', {'color': color})
    poses = {s: (np.eye(4)[:3], QUARTER_TURN)[k % 2].ravel().tolist() for k, s in enumerate(serials)}
    poses['apriltag'] = np.eye(4)[:3].ravel().tolist()
    write_yaml(calibration / 'extrinsics_a' / 'extrinsics.yml', {'master': serials[0], 'extrinsics': poses})
    for side in ('left', 'right'):
        write_yaml(calibration / f'mano_{side}' / 'mano.yml', {'betas': (np.arange(10) / 10).tolist()})
    if name:
        write_yaml(root / 'hand_model.yml', {'name': name})
    for subject in subjects:
        for position in range(sequences):
            side = ('right', 'left')[position % 2]
            folder = root / f'20200709-subject-{subject:02d}' / f'20200709_1{position:05d}'
            meta = {'num_frames': frames, 'serials': list(serials), 'extrinsics': 'a', 'ycb_ids': [2, GRASPED]}
            write_yaml(folder / 'meta.yml', {**meta, 'ycb_grasp_ind': 1, 'mano_sides': [side], 'mano_calib': [side]})
            for camera, serial in enumerate(serials):
                (folder / serial).mkdir()
                for frame in range(frames):
                    values = labels(frame, position, camera, hand=frame not in no_hand)
                    np.savez(folder / serial / f'labels_{frame:06d}.npz', **values)
                    (folder / serial / f'color_{frame:06d}.jpg').write_bytes(image)
    return root


def write_yaml(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values), encoding='utf-8')


def label_file(root, frame, subject=1, position=0, serial='932122061900'):
    folder = Path(root) / f'20200709-subject-{subject:02d}' / f'20200709_1{position:05d}' / serial
    return folder / f'labels_{frame:06d}.npz'


def image_file(root, frame, **where):
    path = label_file(root, frame, **where)
    return path.with_name(f'color_{frame:06d}.jpg')
