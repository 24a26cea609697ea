"""H2O's folder structure; `datasets/h2o/layout.py` says what its files hold.

On disk: metres, the camera's frame of each frame (OpenCV axes), the left hand first, the common joint order. Hand
parameters are the procedural hand's, as `hand_model.yml` in the root says. Legend: F frames.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.h2o.labels import H2O_ACTIONS
from handpose.datasets.h2o.layout import CAMERA_FILE, EGOCENTRIC, LABEL_FOLDERS, LIST_COLUMNS, LIST_FOLDER, SPLITS
from handpose.files.atomic import atomic_write
from handpose.synthesis.cameras import head_camera_intrinsics
from handpose.synthesis.layouts.base import move_hand
from handpose.synthesis.layouts.files import write_image
from handpose.synthesis.layouts.videos import VideoLayout
from handpose.synthesis.options import EgocentricOptions
from handpose.synthesis.person import VideoPlan
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Scene

SCENES = ('h1', 'h2', 'k1', 'k2', 'o1', 'o2')
_VAL_SCENES = ('k2', 'o1', 'o2')
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]  # of a box, by their corners


class H2OLayout(VideoLayout):
    """H2O: `subject1/h1/0/cam4/{rgb,hand_pose,...}`, one action and a little rest in a recording; see `VideoLayout`.

    Of `subjects` the last quarter is tested, and the one before them divided between train and val by its scenes.
    Unlike H2O's, the list of test segments says the actions.
    """

    actions = (
        'grab milk', 'place milk', 'open milk', 'close milk', 'pour milk', 'grab chips', 'place chips', 'open lotion',
        'close lotion', 'squeeze lotion', 'take out cocoa', 'put in cocoa', 'grab spray', 'place spray', 'spray spray',
        'grab book', 'place book', 'read book',
    )  # fmt: skip

    def __init__(self, options: EgocentricOptions) -> None:
        super().__init__(options)
        self.intrinsics = head_camera_intrinsics(options.seed, options.size)[None]

    def videos_of(self, subject: int) -> int:
        """See `VideoLayout.videos_of`."""
        tested = subject >= self.options.subjects - self._tested
        return len(self.actions) * (self.options.test_videos if tested else self.options.videos)

    @property
    def _tested(self) -> int:
        """How many subjects are tested."""
        return max(1, self.options.subjects // 4)

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        scenes = [self._scene(v) for v in range(sequence + 1)]
        return [f'subject{subject + 1}/{scenes[-1]}/{scenes.count(scenes[-1]) - 1}']

    def _scene(self, video: int) -> str:
        return SCENES[(video + video // len(self.actions)) % len(SCENES)]

    def split_of(self, subject: int, video: int) -> str:
        """'train', 'val' or 'test'."""
        beyond = subject - (self.options.subjects - self._tested)
        if beyond >= 0:
            return 'test'
        return 'val' if beyond == -1 and self._scene(video) in _VAL_SCENES else 'train'

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """See `Layout.write`."""
        (folder,) = self.empty_partial(subject, sequence)
        folder = folder / EGOCENTRIC
        for name in ('rgb', *LABEL_FOLDERS):
            (folder / name).mkdir(parents=True)
        matrix, size = scene.intrinsics[0], self.options.size
        camera = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
        (folder / CAMERA_FILE).write_text(f'{_line(camera, 6)} {size[0]} {size[1]}\n', encoding='utf-8')
        labels = frame_labels(scene, self.plan(subject, sequence))
        for index, frame in enumerate(render(0)):
            write_image(folder / 'rgb' / f'{index:06d}.png', frame.image)
            for name, lines in labels.items():
                (folder / name / f'{index:06d}.txt').write_text(lines[index], encoding='utf-8')

    def finish(self) -> None:
        """Writes the lists of segments and of labelled frames."""
        segments: dict[str, list[str]] = {split: [] for split in SPLITS}
        frames: dict[str, list[str]] = {split: [] for split in SPLITS}
        for subject, video in self.places:
            plan, split = self.plan(subject, video), self.split_of(subject, video)
            (folder,) = self.folders(subject, video)
            number = H2O_ACTIONS.number_of(H2O_ACTIONS.index(self.action_of(video)))
            first, last = plan.before, plan.before + plan.frames - 1
            segments[split].append(f'{len(segments[split]) + 1} {folder} {number} {first} {last} 0 {plan.total - 1}\n')
            frames[split] += [f'{folder}/{EGOCENTRIC}/rgb/{frame:06d}.png\n' for frame in range(first, last + 1)]
        for split in SPLITS:
            rows = [' '.join(LIST_COLUMNS) + '\n', *segments[split]]
            atomic_write(self.root / LIST_FOLDER / f'action_{split}.txt', ''.join(rows))
            atomic_write(self.root / LIST_FOLDER / f'pose_{split}.txt', ''.join(frames[split]))


def frame_labels(scene: Scene, plan: VideoPlan) -> dict[str, list[str]]:
    """{folder: F lines} of a scene's label files; `plan` says when the action takes place."""
    extrinsics, count = scene.extrinsics[:, 0], len(scene.extrinsics)
    action = H2O_ACTIONS.index(f'{plan.verb} {plan.noun}')
    verb, noun = H2O_ACTIONS.action_verb[action] + 1, H2O_ACTIONS.action_object[action] + 1
    acting = np.zeros(count, bool)
    acting[plan.before : plan.before + plan.frames] = True
    poses = extrinsics @ scene.object_poses[:, 0]
    points = _box_points(scene.objects[0].mesh().vertices) @ poses[:, :3, :3].transpose(0, 2, 1)
    points = points + poses[:, None, :3, 3]
    hands, parameters = [], []
    for hand in range(len(scene.sides)):
        flag = scene.visible[:, 0, hand]
        joints = scene.joints[:, hand] @ extrinsics[:, :3, :3].transpose(0, 2, 1) + extrinsics[:, None, :3, 3]
        hands.append(_flagged(flag, joints.reshape(count, -1)))
        moved = np.stack([
            move_hand(pose, transl, scene.rest_wrist[hand], rigid) for pose, transl, rigid in
            zip(scene.hand_pose[:, hand], scene.hand_transl[:, hand], extrinsics, strict=True)
        ])  # fmt: skip
        shape = np.broadcast_to(scene.hand_shape, (count, 10))
        parameters.append(_flagged(flag, np.concatenate([moved[:, 48:], moved[:, :48], shape], 1)))
    return {
        'hand_pose': _lines(np.concatenate(hands, 1)),
        'hand_pose_MANO': _lines(np.concatenate(parameters, 1)),
        'cam_pose': _lines(np.linalg.inv(extrinsics).reshape(count, -1), 9),
        'obj_pose': [f'{noun} {line}' for line in _lines(points.reshape(count, -1))],
        'obj_pose_RT': [f'{noun} {line}' for line in _lines(poses.reshape(count, -1), 9)],
        'action_label': [f'{number}\n' for number in np.where(acting, H2O_ACTIONS.number_of(action), 0)],
        'verb_label': [f'{number}\n' for number in np.where(acting, verb, 0)],
    }


def _flagged(flag: NDArray, values: NDArray) -> NDArray:
    """Columns: the flag, and values that are 0 where it is."""
    return np.concatenate([flag[:, None], np.where(flag[:, None], values, 0)], 1).astype(float)


def _box_points(vertices: NDArray) -> NDArray:
    """The 21 points (21, 3) of a mesh's box: centre, 8 corners, the middles of 12 edges."""
    low, high = vertices.min(0), vertices.max(0)
    corners = np.array([[high if (c >> axis) & 1 else low for axis in range(3)] for c in range(8)])
    corners = np.stack([corners[:, axis, axis] for axis in range(3)], 1)
    return np.concatenate([[(low + high) / 2], corners, [(corners[a] + corners[b]) / 2 for a, b in _EDGES]])


def _line(values: Iterable[float], digits: int) -> str:
    return ' '.join([f'{value:.{digits}f}' for value in values])


def _lines(rows: NDArray, digits: int = 6) -> list[str]:
    """One line of text for each row (F, N)."""
    return [_line(row, digits) + '\n' for row in rows.tolist()]
