"""FPHA's folder structure; `datasets/fpha/layout.py` says what its files hold.

On disk: millimetres, the depth camera's frame of each frame (OpenCV axes), the right hand alone, FPHA's joint order.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.fpha.labels import FPHA_ACTIONS
from handpose.datasets.fpha.layout import (
    COLOUR_CAMERA,
    COLOUR_SIZE,
    DEPTH_TO_COLOUR,
    IMAGE_FOLDERS,
    SKELETONS,
    SPLIT_FILE,
    SPLIT_TITLES,
)
from handpose.files.atomic import atomic_write
from handpose.geometry.camera import resize_affine, transform_intrinsics
from handpose.hands import from_common
from handpose.hands.sides import Side
from handpose.synthesis.layouts.files import write_image
from handpose.synthesis.layouts.videos import VideoLayout
from handpose.synthesis.options import EgocentricOptions
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Scene

_OBJECT_POSES = 'Object_6D_pose_annotation_v1'
_WITH_OBJECT = ('juice_bottle', 'milk', 'liquid_soap')  # of the four objects that have poses in FPHA
_SCRIPTS = {
    'squeeze_sponge': ('knead', 'sponge'),
    'flip_sponge': ('flip', 'sponge'),
    'take_letter_from_enveloppe': ('take out', 'letter'),
    'read_letter': ('hold', 'letter'),
}


class FPHALayout(VideoLayout):
    """FPHA: `Video_files/Subject_1/open_milk/1/color`, a skeleton.txt and an object_pose.txt; see `VideoLayout`.

    As in FPHA every subject has videos in both parts. The left hand is in the images, but not in the labels.
    """

    actions = (
        'open_juice_bottle', 'close_juice_bottle', 'pour_juice_bottle', 'open_peanut_butter', 'close_peanut_butter',
        'open_milk', 'close_milk', 'pour_milk', 'open_liquid_soap', 'close_liquid_soap', 'pour_liquid_soap',
        'flip_sponge', 'squeeze_sponge', 'take_letter_from_enveloppe', 'read_letter',
    )  # fmt: skip

    def __init__(self, options: EgocentricOptions) -> None:
        super().__init__(options)
        affine = resize_affine(COLOUR_SIZE, options.size).double()
        self.intrinsics = transform_intrinsics(torch.from_numpy(COLOUR_CAMERA), affine).numpy()[None]

    def videos_of(self, subject: int) -> int:
        """See `VideoLayout.videos_of`."""
        return len(self.actions) * (self.options.videos + self.options.test_videos)

    def verb_and_noun(self, action: str) -> tuple[str, str]:
        """See `VideoLayout.verb_and_noun`."""
        verb, noun = action.split('_', 1)
        return _SCRIPTS.get(action, (verb, noun))

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        name = self._name(subject, sequence)
        folders = [f'{IMAGE_FOLDERS[0]}/{name}', f'{SKELETONS[0]}/{name}']
        return folders + [f'{_OBJECT_POSES}/{name}'] * (self.plan(subject, sequence).noun in _WITH_OBJECT)

    def _name(self, subject: int, video: int) -> str:
        return f'Subject_{subject + 1}/{self.action_of(video)}/{video // len(self.actions) + 1}'

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """See `Layout.write`."""
        colour, hands, *objects = self.empty_partial(subject, sequence)
        (colour / 'color').mkdir()
        for index, frame in enumerate(render(0)):
            write_image(colour / 'color' / f'color_{index:04d}.jpeg', frame.image)
        to_depth = np.linalg.inv(DEPTH_TO_COLOUR) @ scene.extrinsics[:, 0]
        right = scene.joints[:, scene.sides.tolist().index(Side.RIGHT)]
        joints = from_common(torch.from_numpy(right), 'fpha')[0].numpy()
        joints = joints @ to_depth[:, :3, :3].transpose(0, 2, 1) + to_depth[:, None, :3, 3]
        (hands / 'skeleton.txt').write_text(_numbered(1000 * joints.reshape(len(joints), -1), 4), encoding='utf-8')
        for folder in objects:
            poses = to_depth @ scene.object_poses[:, 0]
            poses[:, :3, 3] *= 1000
            # Column by column, as FPHA has them.
            rows = poses.transpose(0, 2, 1).reshape(len(poses), -1)
            (folder / 'object_pose.txt').write_text(_numbered(rows, 6), encoding='utf-8')

    def finish(self) -> None:
        """Writes the split and the lists of each subject's videos."""
        parts: dict[str, list[str]] = {split: [] for split in SPLIT_TITLES}
        rows: list[list[tuple[str, int, int]]] = [[] for _ in range(self.options.subjects)]
        for subject, video in self.places:
            action, repetition = self.action_of(video), video // len(self.actions)
            number = FPHA_ACTIONS.number_of(FPHA_ACTIONS.index(action))
            part = 'train' if repetition < self.options.videos else 'test'
            parts[part].append(f'{self._name(subject, video)} {number}\n')
            rows[subject].append((action, repetition + 1, self.plan(subject, video).total))
        text = [f'{title} {len(parts[split])}\n' + ''.join(parts[split]) for split, title in SPLIT_TITLES.items()]
        atomic_write(self.root / SPLIT_FILE, ''.join(text))
        for subject, videos in enumerate(rows, 1):
            frames = sum(count for *_, count in videos)
            head = f'Number of videos: {len(videos)}\nNumber of frames: {frames}\nAction  Repetition  Frames\n'
            lines = ''.join(f'{action}  {repetition}  {count}\n' for action, repetition, count in sorted(videos))
            atomic_write(self.root / 'Subjects_info' / f'Subject_{subject}_info.txt', head + lines)


def _numbered(rows: NDArray, digits: int) -> str:
    """Lines of text: the row's number from 0, and its numbers (F, N)."""
    lines = [' '.join([f'{number:04d}', *(f'{v:.{digits}f}' for v in row)]) for number, row in enumerate(rows.tolist())]
    return '\n'.join(lines) + '\n'
