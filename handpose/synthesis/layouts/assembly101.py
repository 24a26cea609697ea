"""Assembly101's folder structure; `datasets/assembly101/layout.py` says what its files hold.

On disk: millimetres, world, 60 frames a second, left hand '0' and right hand '1', 21 points of its own. The frames of
actions count at 30 a second. Legend: F frames.
"""

import csv
import io

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.assembly101.layout import (
    ACTION_COLUMNS,
    ACTION_FILE,
    ANNOTATIONS,
    HANDS,
    POSE_FOLDERS,
    SEGMENT_COLUMNS,
    SPLIT_FILES,
)
from handpose.files.atomic import atomic_write
from handpose.files.garbage import garbage_collection_paused
from handpose.hands import from_common, joint_order
from handpose.synthesis.actor import ACTIONS, PlannedAction, plan_recording
from handpose.synthesis.layouts.base import Layout
from handpose.synthesis.layouts.files import write_json
from handpose.synthesis.layouts.interhand import split_sizes
from handpose.synthesis.options import RecordingOptions
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Place, Scene
from handpose.text import did_you_mean

DECIMALS = 2  # of millimetres
_TOY = ('a00', 'household')
_VIEWS = (('C10095_rgb', 1), ('HMC_84346135_mono10bit', 0))  # of twelve; and whether they are in colour
_KNUCKLES = tuple(joint_order('assembly101').index(f'{finger}_mcp') for finger in ('index', 'middle', 'ring', 'little'))


class Assembly101Layout(Layout):
    """Assembly101: `poses@60fps/<recording>.json`, and `fine-grained-annotations/*.csv`; see `Layout`.

    Of `subjects` the last fifth is tested, the tenth before it validated, at least one each. Unlike Assembly101's, the
    list of test segments says the actions. A hand that is lost has a confidence of 0, and stays where it was last seen.

    Args:
        options: of the dataset.

    Raises:
        ValueError: `options.actions` names an action that there is not.
    """

    image_sizes = ()

    def __init__(self, options: RecordingOptions) -> None:
        super().__init__(options)
        self.options, self.intrinsics = options, np.zeros((0, 3, 3))
        known = [action.name for action in ACTIONS]
        for name in options.actions:
            if name not in known:
                raise ValueError(
                    f'{name!r} is not an action that the layout {options.layout!r} is made with (they are: '
                    f'{", ".join(known)}).{did_you_mean(name, known)}'
                )
        self.actions = tuple(action for action in ACTIONS if action.name in (options.actions or known))

    @property
    def places(self) -> list[Place]:
        """See `Layout.places`; every person performs each action at least `repetitions` times."""
        options = self.options
        recordings = -(-len(self.actions) * options.repetitions // options.recording_actions)
        return [(subject, recording) for subject in range(options.subjects) for recording in range(recordings)]

    def plan(self, subject: int, recording: int) -> tuple[list[PlannedAction], int]:
        """The actions of a recording, and its number of frames; see `plan_recording`."""
        options = self.options
        return plan_recording(options.seed, subject, recording, self.actions, options.recording_actions)

    def name(self, subject: int, recording: int) -> str:
        """The name of a recording, in Assembly101's manner."""
        person = f'{subject + 1:04d}'
        return f'synthetic_action_both_{person}-{_TOY[0]}_{person}_user_id_{recording:04d}'

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`; a recording is one file."""
        return [f'{POSE_FOLDERS[0]}/{self.name(subject, sequence)}.json']

    def split_of(self, subject: int) -> str:
        """'train', 'val' or 'test'."""
        sizes = split_sizes(self.options.subjects)
        if subject < sizes['train']:
            return 'train'
        return 'val' if subject < sizes['train'] + sizes['val'] else 'test'

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """See `Layout.write`."""
        (place,) = self.folders(subject, sequence)
        path = self.partial / place
        path.parent.mkdir(parents=True, exist_ok=True)
        points = landmarks(scene.joints)
        for hand in range(len(HANDS)):
            tracked = scene.hand_valid[:, hand]
            last_seen = np.maximum.accumulate(np.where(tracked, np.arange(len(tracked)), 0))
            points[:, hand] = points[last_seen, hand]
        confidence = scene.hand_valid.astype(float)
        with garbage_collection_paused():
            write_json(path, [
                {
                    'landmarks': dict(zip(HANDS, frame, strict=True)),
                    'tracking_confidence': dict(zip(HANDS, trusted, strict=True)),
                }
                for frame, trusted in zip(points.tolist(), confidence.tolist(), strict=True)
            ])  # fmt: skip

    def finish(self) -> None:
        """Writes the list of actions, and those of the segments."""
        folder = self.root / ANNOTATIONS
        verbs = list(dict.fromkeys(action.verb for action in self.actions))
        nouns = list(dict.fromkeys(action.noun for action in self.actions))
        named = [
            (number, verbs.index(action.verb), nouns.index(action.noun), action.name, action.verb, action.noun)
            for number, action in enumerate(self.actions)
        ]
        rows = [(number, *columns) for number, columns in enumerate(named)]
        atomic_write(folder / ACTION_FILE, csv_text(ACTION_COLUMNS, rows))
        segments: dict[str, list[tuple]] = {split: [] for split in SPLIT_FILES}
        for place in self.places:
            found = segments[self.split_of(place[0])]
            for planned in self.plan(*place)[0]:
                frames = planned.first // 2, planned.last // 2
                columns = named[self.actions.index(planned.action)]
                for view, is_rgb in _VIEWS:
                    video = f'{self.name(*place)}/{view}.mp4'
                    found.append((len(found), video, *frames, *columns, *_TOY, 1, is_rgb))
        for split, file in SPLIT_FILES.items():
            atomic_write(folder / file, csv_text(SEGMENT_COLUMNS, segments[split]))


def landmarks(joints: NDArray) -> NDArray:
    """Assembly101's points of both hands.

    Args:
        joints: (F, 2, 21, 3) metres, common order.

    Returns:
        (F, 2, 21, 3) millimetres, rounded; the palm's centre is in the middle of the wrist and four knuckles.
    """
    points, there = from_common(torch.from_numpy(joints), 'assembly101')
    found = points.numpy()
    (centre,) = np.flatnonzero(~there.numpy())
    wrist = joint_order('assembly101').index('wrist')
    found[:, :, centre] = found[:, :, [wrist, *_KNUCKLES]].mean(2)
    return (1000 * found).round(DECIMALS)


def csv_text(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """A table as CSV, its columns named in the first line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
