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


# Images: two cameras around the table and two of a headset, in one sequence of eight frames.
EXO = ('C10095_rgb', 'C10390_rgb')
EGO = ('HMC_21176875', 'HMC_21110305')
EXO_SIZE, EGO_SIZE = (64, 36), (48, 40)
IMAGE_FRAMES = 8
NOT_SHOWN = {('HMC_21110305', t) for t in (0, 1, 5)}  # the second camera shows no hand there
K = {name: [[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1]]
     for name, f, (w, h) in ((EXO[0], 60.0, EXO_SIZE), (EXO[1], 52.0, EXO_SIZE), (EGO[0], 40.0, EGO_SIZE),
                             (EGO[1], 45.0, EGO_SIZE))}  # fmt: skip
AROUND = {EXO[0]: 0.0, EXO[1]: 0.4, EGO[0]: 0.1, EGO[1]: -0.2}  # radians about the vertical axis


def world_to_camera(name, frame=0):
    """(4, 4) metres: a turn about y through (0, 0.25, 1), and for a headset a drift with the frame."""
    angle = AROUND[name] + (0.01 * frame if name in EGO else 0)
    rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.array([0, -0.25, 1.0]) - rotation @ [0, 0, 1.0] + [0, 0, 0.002 * frame * (name in EGO)]
    return matrix


def expected_pixels(name, frame):
    """(2, 21, 2) of the true joints, left hand first."""
    matrix = world_to_camera(name, frame)
    points = true_joints()[frame] @ matrix[:3, :3].T + matrix[:3, 3]
    return ((points / points[..., 2:]) @ np.array(K[name]).T)[..., :2]


def grey_of(frame):
    return 20 + 25 * frame


def millimetres(matrix):
    rows = matrix[:3].copy()
    rows[:, 3] *= 1000
    return rows


def write_images(root, split='train', joints=True):
    """Writes everything of one sequence, 'a'; returns {kind of annotation: path}."""
    import cv2

    from handpose.video import VideoWriter

    folder = root / 'annotations' / split
    folder.mkdir(parents=True)
    videos = root / 'videos' / 'exo_videos_rectified' / 'a'
    videos.mkdir(parents=True, exist_ok=True)
    lines = []
    for name in EXO:
        with VideoWriter(videos / f'{name}.mp4', 30) as writer:
            for frame in range(IMAGE_FRAMES):
                writer.write(np.full((EXO_SIZE[1], EXO_SIZE[0], 3), grey_of(frame), np.uint8))
        rows = [*K[name], [0, 0], *millimetres(world_to_camera(name)).tolist()]
        lines += [name, *(' '.join(map(str, row)) for row in rows), '']
    (videos / 'calib.txt').write_text('\n'.join(lines))
    numbers = [FIRST + 2 * frame for frame in range(IMAGE_FRAMES)]
    images, annotations = [], []
    for camera in EGO:
        place = f'ego_images_rectified/{split}/a/{camera}_mono10bit'
        (root / 'images' / place).mkdir(parents=True)
        for frame, number in enumerate(numbers):
            if (camera, frame) in NOT_SHOWN:
                continue
            grey = np.full(EGO_SIZE[::-1], grey_of(frame), np.uint8)
            cv2.imwrite(str(root / 'images' / place / f'{number:06d}.jpg'), grey)
            identity = 10 + len(images)
            images.append({'id': identity, 'file_name': f'{place}/{number:06d}.jpg', 'width': EGO_SIZE[0],
                           'height': EGO_SIZE[1], 'seq_name': 'a', 'camera': camera, 'frame_idx': number})  # fmt: skip
            flags = [1] * 42
            flags[POINT_OF[8]] = 0  # the tip of the right index finger is outside
            annotations.append({'id': identity, 'image_id': identity, 'joint_valid': flags, 'bbox': {
                'right': [1.5, 2, 20, 30 + frame], 'left': None if frame == 3 else [22.0, 3, 40, 31]}})  # fmt: skip
    entries = {f'{number:06d}': entry(frame, true_joints()[frame]) for frame, number in enumerate(numbers)}
    calibration = {
        'intrinsics': {f'{name}_mono10bit': K[name] for name in EGO},
        'extrinsics': {
            f'{number:06d}': {f'{name}_mono10bit': millimetres(world_to_camera(name, frame)).tolist() for name in EGO}
            for frame, number in enumerate(numbers)
        },
    }
    files = {
        'joint_3d': {'annotations': {'a': entries}},
        'ego_data': {'images': images, 'annotations': annotations},
        'ego_calib': {'calibration': {'a': calibration}},
    }
    paths = {kind: folder / f'assemblyhands_{split}_{kind}_v1-1.json' for kind in files}
    for kind, path in paths.items():
        if kind != 'joint_3d' or joints:
            path.write_text(json.dumps(files[kind]))
    hidden = np.full((IMAGE_FRAMES, 3, 2), 0.25, np.float32)
    hidden[:, 1, 0] = np.nan
    np.savez(folder / 'occlusion.npz', sequences=np.array(['a']), counts=np.array([IMAGE_FRAMES]),
             numbers=np.array(numbers), views=np.array(['v1', 'e1', 'e3']), occlusion=hidden)  # fmt: skip
    return paths
