"""InterHand2.6M's annotation files: one set of JSON files a split, millimetres, world coordinates.

What the official files lack lies in `generator/`. Legend: F frames, K cameras.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from handpose.files.atomic import atomic_file, atomic_write
from handpose.hands import joint_order
from handpose.hands.sides import SIDE_LABELS, Side
from handpose.synthesis.layouts.poses import MILLIMETRES, PoseLayout, both_hands, mano_entry
from handpose.synthesis.scene import Scene

CAMERAS = ('400002', '400012', '400026', '400035', '410001', '410028', '410053', '410063')
SPLITS = ('train', 'val', 'test')
FILES = ('joint_3d', 'MANO_NeuralAnnot', 'data')
STEP = {'train': 3, 'val': 1, 'test': 1}  # from one frame's number to the next at 30 per second
MISSING_JOINT = 1.0  # what the official files hold in place of a coordinate that nobody annotated


class InterHandLayout(PoseLayout):
    """InterHand2.6M: `annotations/<split>/InterHand2.6M_<split>_*.json`; see `Layout`.

    A subject is a capture. Of `subjects` the last fifth is tested, the tenth before it validated, at least one each.
    """

    def hands(self, sequence: int) -> tuple[int, ...]:
        """Of five sequences, one shows the right hand, one the left, three both."""
        return {0: (Side.RIGHT,), 1: (Side.LEFT,)}.get(sequence % 5, (Side.LEFT, Side.RIGHT))

    def split_of(self, subject: int) -> tuple[str, int]:
        """A subject's split and the number of its capture there."""
        counts = split_sizes(self.options.subjects)
        for split in SPLITS:
            if subject < counts[split]:
                return split, subject
            subject -= counts[split]
        raise ValueError(f'no subject {subject} of {self.options.subjects}')

    def finish(self) -> None:
        """Writes every split's files, if they are not all there."""
        folder = self.root / 'annotations'
        for split in SPLITS:
            paths = {name: folder / split / f'InterHand2.6M_{split}_{name}.json' for name in (*FILES, 'camera')}
            if not all(path.exists() for path in paths.values()):
                self._write_split(split, paths)
        atomic_write(folder / 'skeleton.txt', skeleton_text())

    def _write_split(self, split: str, paths: dict[str, Path]) -> None:
        cameras = {}
        with ExitStack() as stack:
            files = {name: stack.enter_context(_MergedFile.opened(paths[name])) for name in FILES}
            for subject, sequence in self.places:
                own_split, capture = self.split_of(subject)
                if own_split == split:
                    scene = self.read_scene(subject, sequence)
                    cameras[str(capture)] = capture_cameras(scene)
                    self._write_sequence(files, scene, split, capture, subject, sequence)
        atomic_write(paths['camera'], json.dumps(cameras))

    def _write_sequence(
        self, files: dict[str, '_MergedFile'], scene: Scene, split: str, capture: int, subject: int, sequence: int
    ) -> None:
        """Adds a sequence's labelled frames to the open `files` of its split."""
        options, step = self.options, STEP[split]
        name, kind = sequence_name(scene, sequence), hand_type(scene)
        first = (1000 + sequence * (options.frames + 300)) * step
        joints, valid = both_hands(scene)
        pixels = _project(scene, joints)
        inside = np.all((pixels > -0.5) & (pixels < options.size - 0.5), axis=-1)
        for frame in np.flatnonzero(scene.hand_valid.any(1)).tolist():
            if frame % (30 // options.interhand_fps):
                continue
            number, good = first + frame * step, valid[frame]
            coordinates = np.where(good[:, None], MILLIMETRES * joints[frame], MISSING_JOINT)
            files['joint_3d'].add(capture, number, {
                'world_coord': np.round(coordinates, 4).tolist(), 'joint_valid': _column(good), 'hand_type': kind,
                'hand_type_valid': 1, 'seq': name,
            })  # fmt: skip
            files['MANO_NeuralAnnot'].add(capture, number, _mano(scene, frame))
            for camera in range(options.cameras):
                place = (subject * options.sequences + sequence) * options.frames + frame
                identity = place * options.cameras + camera
                files['data'].add_image({
                    'id': identity, 'width': options.size, 'height': options.size, 'capture': capture,
                    'file_name': f'Capture{capture}/{name}/cam{CAMERAS[camera]}/image{number}.jpg',
                    'subject': subject, 'seq_name': name, 'camera': CAMERAS[camera], 'frame_idx': number,
                }, {
                    'id': identity, 'image_id': identity, 'bbox': _box(pixels[camera, frame][good], options.size),
                    'joint_valid': _column(good & inside[camera, frame]), 'hand_type': kind, 'hand_type_valid': 1,
                })  # fmt: skip


class _MergedFile:
    """A JSON file that many sequences' entries are added to: {capture: {frame: entry}}, or images and annotations."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.capture: int | None = None
        self.annotations: list[str] = []

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator['_MergedFile']:
        """The file, written whole when the block ends well."""
        with atomic_file(path) as file:
            merged = cls(file)
            yield merged
            merged.close()

    def add(self, capture: int, frame: int, entry: dict[str, Any]) -> None:
        """Adds the entry of a frame; those of a capture come one after another."""
        if capture != self.capture:
            self._write(f'{{"{capture}":{{' if self.capture is None else f'}},"{capture}":{{')
        else:
            self._write(',')
        self.capture = capture
        self._write(f'"{frame}":{_dump(entry)}')

    def add_image(self, image: dict[str, Any], annotation: dict[str, Any]) -> None:
        """Adds an image and its annotation."""
        self._write(('{"images":[' if not self.annotations else ',') + _dump(image))
        self.annotations.append(_dump(annotation))

    def close(self) -> None:
        """Ends the file."""
        if self.annotations:
            self._write(f'],"annotations":[{",".join(self.annotations)}]}}')
        else:
            self._write('}}' if self.capture is not None else '{}')

    def _write(self, text: str) -> None:
        self.file.write(text.encode('utf-8'))


def _dump(entry: dict[str, Any]) -> str:
    return json.dumps(entry, separators=(',', ':'))


def _column(flags: NDArray) -> list[list[int]]:
    """Flags as [[0], [1], ...], the shape that the official files have."""
    return [[int(flag)] for flag in flags]


def split_sizes(subjects: int) -> dict[str, int]:
    """How many of the subjects {'train', 'val', 'test'} get."""
    test, val = max(1, subjects // 5), max(1, subjects // 10)
    return {'train': subjects - val - test, 'val': val, 'test': test}


def sequence_name(scene: Scene, sequence: int) -> str:
    """A sequence's name, in InterHand2.6M's manner: '0003_dh_pinch_open', '0000_fist_normal'."""
    return f'{sequence:04d}_dh_{scene.name}' if len(scene.sides) == 2 else f'{sequence:04d}_{scene.name}_normal'


def hand_type(scene: Scene) -> str:
    """'right', 'left' or 'interacting'."""
    return 'interacting' if len(scene.sides) == 2 else SIDE_LABELS[scene.sides[0]]


def _mano(scene: Scene, frame: int) -> dict[str, Any]:
    """{'right': entry or None, 'left': ...}."""
    entries: dict[str, Any] = {'right': None, 'left': None}
    for hand, side in enumerate(scene.sides):
        if scene.hand_valid[frame, hand]:
            entries[SIDE_LABELS[side]] = mano_entry(scene, frame, hand)
    return entries


def capture_cameras(scene: Scene) -> dict[str, Any]:
    """One capture's cameras: `campos` is where a camera stands (mm), so X_cam = camrot (X - campos)."""
    names, extrinsics = CAMERAS[: len(scene.intrinsics)], scene.extrinsics[0]
    rotations, shifts = extrinsics[:, :3, :3], extrinsics[:, :3, 3:]
    places = -MILLIMETRES * (rotations.transpose(0, 2, 1) @ shifts)[..., 0]
    matrices = scene.intrinsics
    return {
        'campos': dict(zip(names, places.tolist(), strict=True)),
        'camrot': dict(zip(names, rotations.tolist(), strict=True)),
        'focal': {n: [k[0][0], k[1][1]] for n, k in zip(names, matrices.tolist(), strict=True)},
        'princpt': {n: [k[0][2], k[1][2]] for n, k in zip(names, matrices.tolist(), strict=True)},
    }


def _project(scene: Scene, joints: NDArray) -> NDArray:
    """Pixels (K, F, J, 2) of joints (F, J, 3) in the table frame; far outside where a joint is behind a camera."""
    extrinsics = scene.extrinsics[0]
    rotated = np.einsum('kij,fnj->kfni', extrinsics[:, :3, :3], joints) + extrinsics[:, None, None, :3, 3]
    pixels = np.einsum('kij,kfnj->kfni', scene.intrinsics, rotated)
    return np.where(pixels[..., 2:] > 0, pixels[..., :2] / np.maximum(pixels[..., 2:], 1e-6), -1e6)


def _box(pixels: NDArray, size: int) -> list[float]:
    """The box xmin, ymin, width, height around pixels (N, 2), a tenth wider, cut to the image."""
    low, high = pixels.min(0), pixels.max(0)
    margin = 0.1 * (high - low)
    low, high = (low - margin).clip(0, size - 1), (high + margin).clip(0, size - 1)
    return np.round([*low, *(high - low)], 3).tolist()


def skeleton_text() -> str:
    """skeleton.txt: name, number and parent of each of the 42 joints."""
    rows = [f'{name}_{side}' for side in ('r', 'l') for name in joint_order('interhand')]
    return ''.join(f'{row} {number} {_parent(number)}\n' for number, row in enumerate(rows))


def _parent(number: int) -> int:
    """The parent of joint `number` of the 42 in skeleton.txt; a wrist has -1."""
    hand, joint = divmod(number, 21)
    if joint == 20:
        return -1
    return hand * 21 + (20 if joint % 4 == 3 else joint + 1)
