"""AssemblyHands' folder structure; `datasets/assemblyhands` says what its files hold.

On disk: millimetres, world, the right hand first, fingers from tip to base; frames are numbered at 60 a second and
annotated at 30. What the official files lack lies in `generator/`. Legend: F frames, K cameras.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handpose.datasets.assembly101.layout import (
    ACTION_COLUMNS,
    ACTION_FILE,
    ANNOTATIONS,
    SEGMENT_COLUMNS,
    SPLIT_FILES,
)
from handpose.datasets.assemblyhands.cameras import EGO_SUFFIX, EXO_CAMERAS, HEADSETS
from handpose.datasets.assemblyhands.image_files import (
    CALIBRATION_FILE,
    EGO_IMAGES,
    EXO_VIDEOS,
    IMAGES,
    LABEL_FOLDERS,
)
from handpose.datasets.assemblyhands.layout import FPS, SPLITS, STEP
from handpose.files.atomic import atomic_write
from handpose.synthesis.layouts.assembly101 import csv_text
from handpose.synthesis.layouts.assemblyhands_labels import LabelledSequence, write_labels
from handpose.synthesis.layouts.base import Layout
from handpose.synthesis.layouts.files import write_image, write_npz, write_yaml
from handpose.synthesis.layouts.interhand import skeleton_text, split_sizes
from handpose.synthesis.options import AssemblyHandsOptions
from handpose.synthesis.rendering.drawing import Frame, Render
from handpose.synthesis.scene import Place, Scene
from handpose.video import VideoWriter

MANUAL = 'manual'  # the part of the people whose sequences have manual labels alone
_TOY = 'a00'
_FIRST_NUMBERS = (3, 600)  # lowest and highest number at 30 a second of a first frame


class HeadsetAction(NamedTuple):
    """One of the paper's six verbs on an object, and the script that shows it."""

    verb: str
    script: str
    noun: str

    @property
    def name(self) -> str:
        """Verb and noun, as the dataset has them."""
        return f'{self.verb} {self.noun}'


VERBS = (
    ('pick up', 'grab', ('milk', 'book', 'lotion')), ('unscrew', 'open', ('milk', 'lotion')),
    ('position', 'put in', ('cocoa', 'letter')), ('put down', 'place', ('milk', 'book', 'lotion')),
    ('screw', 'close', ('milk', 'lotion')), ('remove', 'take out', ('cocoa', 'letter')),
)  # fmt: skip
"""The verbs, their scripts and the objects that they are shown with."""


class AssemblyHandsLayout(Layout):
    """AssemblyHands: videos around the table, images of the headset, annotations; see `Layout`.

    Of `subjects` the last fifth is tested, the tenth before it validated; `manual_subjects` more follow. The joints of
    the test split, which are not public, are there. Actions are in `fine-grained-annotations`, as Assembly101 has them.

    Args:
        options: of the dataset.
    """

    def __init__(self, options: AssemblyHandsOptions) -> None:
        super().__init__(options)
        self.options = options
        exo, ego = (options.exo_width, options.exo_height), (options.ego_width, options.ego_height)
        self.image_sizes = (exo,) * options.exo_cameras + (ego,) * options.ego_cameras

    @property
    def places(self) -> list[Place]:
        """See `Layout.places`."""
        people = self.options.subjects + self.options.manual_subjects
        return [(subject, sequence) for subject in range(people) for sequence in range(self.options.sequences)]

    def action_of(self, place: Place) -> HeadsetAction:
        """What a sequence shows: the verbs in turn, over all people, and then their objects."""
        number = place[0] * self.options.sequences + place[1]
        verb, script, nouns = VERBS[number % len(VERBS)]
        return HeadsetAction(verb, script, nouns[number // len(VERBS) % len(nouns)])

    def part_of(self, subject: int) -> str:
        """'train', 'val', 'test', or 'manual': the people whose sequences have manual labels for training alone."""
        for split, count in split_sizes(self.options.subjects).items():
            if subject < count:
                return split
            subject -= count
        return MANUAL

    def split_of(self, subject: int) -> str:
        """'train', 'val' or 'test'."""
        part = self.part_of(subject)
        return 'train' if part == MANUAL else part

    def camera_layout_of(self, place: Place) -> int:
        """The number of the arrangement of cameras around the table."""
        if self.split_of(place[0]) == 'test':
            return self.options.test_camera_layout
        return (place[0] + place[1]) % self.options.camera_layouts

    def headset_of(self, subject: int) -> int:
        """Which of the two headsets a person wears."""
        return subject % len(HEADSETS)

    def cameras_of(self, subject: int) -> list[str]:
        """The names of the K cameras, those of the headset as the list of images has them."""
        headset = HEADSETS[self.headset_of(subject)]
        return [*EXO_CAMERAS[: self.options.exo_cameras], *headset[: self.options.ego_cameras]]

    def name(self, subject: int, sequence: int) -> str:
        """The name of a sequence, in the manner of Assembly101's recordings."""
        person = f'{9001 + subject:04d}'
        return f'synthetic_action_both_{person}-{_TOY}_{person}_user_id_{sequence:04d}'

    def first_number(self, subject: int, sequence: int) -> int:
        """The official number of a sequence's first frame."""
        rng = np.random.default_rng([self.options.seed, 97, subject, sequence])
        return STEP * int(rng.integers(*_FIRST_NUMBERS))

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        name, options = self.name(subject, sequence), self.options
        exo = [f'{EXO_VIDEOS}/{name}'] * (options.exo_cameras > 0)
        ego = [f'{IMAGES}/{EGO_IMAGES}/{self.split_of(subject)}/{name}'] * (options.ego_cameras > 0)
        return [*exo, *ego, f'generator/{name}']

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """See `Layout.write`."""
        folders = self.empty_partial(subject, sequence)
        exo, hidden = self.options.exo_cameras, np.full((*scene.visible.shape[:2], 2), np.nan)
        numbers = self.first_number(subject, sequence) + STEP * np.arange(len(scene.joints))
        for camera, name in enumerate(self.cameras_of(subject)):
            frames = render(camera)
            if camera < exo:
                hidden[:, camera] = _write_video(folders[0] / f'{name}.mp4', frames)
            else:
                hidden[:, camera] = _write_images(folders[-2] / f'{name}{EGO_SUFFIX}', frames, numbers)
        if exo:
            calibration = _calibration(EXO_CAMERAS[:exo], scene.intrinsics, scene.extrinsics[0])
            (folders[0] / CALIBRATION_FILE).write_text(calibration, encoding='utf-8')
        arrays = ('hand_shape', 'hand_pose', 'hand_transl', 'rest_wrist', 'joints', 'hand_valid', 'visible')
        write_npz(folders[-1] / 'motion.npz', {
            **{name: getattr(scene, name) for name in arrays}, 'occlusion': hidden, 'numbers': numbers,
            'intrinsics': scene.intrinsics, 'extrinsics': scene.extrinsics,
        })  # fmt: skip
        write_yaml(folders[-1] / 'facts.yml', {'action': scene.name, 'camera_layout': self.camera_layout_of(
            (subject, sequence))})  # fmt: skip

    def finish(self) -> None:
        """Writes the annotations of every split, manual and automatic, and the lists of actions."""
        for split in SPLITS:
            for labels, folder in LABEL_FOLDERS.items():
                sequences = [
                    LabelledSequence(
                        place, self.name(*place), self.cameras_of(place[0]), self.root / self.folders(*place)[-1]
                    )
                    for place in self.labelled(split, labels)
                ]
                write_labels(self.options, sequences, split, labels, self.root / folder / split)
        atomic_write(self.root / LABEL_FOLDERS['automatic'] / 'skeleton.txt', skeleton_text())
        self._write_actions()

    def labelled(self, split: str, labels: str) -> list[Place]:
        """The sequences of a split that have automatic or manual labels."""
        found = [place for place in self.places if self.split_of(place[0]) == split]
        return [place for place in found if labels == 'manual' or self.part_of(place[0]) != MANUAL]

    def _write_actions(self) -> None:
        """Writes Assembly101's lists of actions and of segments, whose frames count at 30 a second."""
        folder = self.root / ANNOTATIONS
        verbs = [verb for verb, _, _ in VERBS]
        nouns = list(dict.fromkeys(noun for _, _, of_verb in VERBS for noun in of_verb))
        named = {
            f'{verb} {noun}': (verbs.index(verb), nouns.index(noun), f'{verb} {noun}', verb, noun)
            for verb, _, of_verb in VERBS
            for noun in of_verb
        }
        numbered = {name: (number, *columns) for number, (name, columns) in enumerate(named.items())}
        rows = [(columns[0], *columns) for columns in numbered.values()]
        atomic_write(folder / ACTION_FILE, csv_text(ACTION_COLUMNS, rows))
        segments: dict[str, list[tuple]] = {split: [] for split in SPLIT_FILES}
        for place in self.places:
            found, first = segments[self.split_of(place[0])], self.first_number(*place) // STEP
            frames = (first, first + self.options.frames - 1)
            for view in self._views_of_actions():
                columns = numbered[self.action_of(place).name]
                video = f'{self.name(*place)}/{view}.mp4'
                found.append((len(found), video, *frames, *columns, _TOY, 'household', 1, int(view in EXO_CAMERAS)))
        for split, file in SPLIT_FILES.items():
            atomic_write(folder / file, csv_text(SEGMENT_COLUMNS, segments[split]))

    def _views_of_actions(self) -> tuple[str, ...]:
        return EXO_CAMERAS[:1] if self.options.exo_cameras else (HEADSETS[0][0] + EGO_SUFFIX,)


def _write_video(path: Path, frames: Iterator[Frame]) -> NDArray:
    """Writes the video of a camera around the table; returns how much of the hands is hidden (F, 2)."""
    hidden = []
    with VideoWriter(path, FPS) as writer:
        for frame in frames:
            writer.write(frame.image)
            hidden.append(frame.occlusions)
    return np.array(hidden)


def _write_images(folder: Path, frames: Iterator[Frame], numbers: NDArray) -> NDArray:
    """Writes the images of a headset's camera that show a hand; returns how much of the hands is hidden (F, 2)."""
    folder.mkdir(parents=True)
    hidden = []
    for number, frame in zip(numbers.tolist(), frames, strict=True):
        if frame.image.size:
            write_image(folder / f'{number:06d}.jpg', cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY))
        hidden.append(frame.occlusions or (np.nan, np.nan))
    return np.array(hidden)


def _calibration(names: tuple[str, ...], intrinsics: NDArray, extrinsics: NDArray) -> str:
    """The text of calib.txt: of each camera its name, K, a line without meaning, and [R | t] in millimetres."""
    lines = []
    for name, matrix, rigid in zip(names, intrinsics, extrinsics, strict=False):
        rows = np.concatenate([rigid[:3, :3], 1000 * rigid[:3, 3:]], 1)
        lines += [name, *(' '.join(f'{v:.9g}' for v in row) for row in matrix), '0 0 0 0 0']
        lines += [*(' '.join(f'{v:.12g}' for v in row) for row in rows), '']
    return '\n'.join(lines)
