"""Recorded motion in DexYCB's folder structure: the recordings' own names and cameras, and how well the hand fits."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError
from handpose.datasets.dexycb.layout import SEQUENCE_FOLDER, SEQUENCE_LIST, SUBJECT_FOLDER
from handpose.datasets.motion.motion_file import RecordedMotion, read_motion
from handpose.synthesis.cameras import RECORDED_FOCAL
from handpose.synthesis.layouts.base import Layout
from handpose.synthesis.layouts.dexycb import SERIALS, sequence_folder, write_intrinsics, write_sequence
from handpose.synthesis.layouts.files import write_npz
from handpose.synthesis.options import RecordedOptions
from handpose.synthesis.rendering.drawing import Render
from handpose.synthesis.scene import Place, Scene, Size
from handpose.text import did_you_mean

FIT_FILE = 'fit.npz'


class RecordedLayout(Layout):
    """DexYCB's folders for recorded sequences. A place is (subject, position in the full list of sequences).

    Each sequence lies where its name says ('subject/sequence'), under DexYCB's own names if it has such, else under
    names of the same form in the same order. `fit.npz` beside its meta.yml holds `recorded_joints` (F, 21, 3), world
    frame (the first camera's), and `fit_error` (F, 21), metres, NaN without a hand. `sequence_names.txt` lists all
    sequences that the file knows of, so that splits by position are those of the whole recording.

    Args:
        options: of the dataset.

    Raises:
        DatasetError: the motion file is not one, or lacks the cameras asked for.
    """

    version = 2

    def __init__(self, options: RecordedOptions) -> None:
        super().__init__(options)
        self.options, self.motion = options, read_motion(options.motion)
        self.cameras, self.serials = _choose_cameras(self.motion, options)
        self.intrinsics, self.image_sizes = scaled_cameras(recorded_cameras(self.motion), self.cameras, options.size)
        self.names = folder_names(self.motion.all_sequence_names)
        self._places = self.motion.positions()

    @property
    def places(self) -> list[Place]:
        """See `Layout.places`."""
        return self._places

    def sequence_at(self, place: Place) -> int:
        """The number of a sequence in the motion file."""
        return self._places.index(place)

    def record(self) -> dict[str, Any]:
        """See `Layout.record`; the motion file counts by its content."""
        digest = hashlib.sha256(Path(self.options.motion).read_bytes()).hexdigest()
        options = self.options.content() | {
            'motion': Path(self.options.motion).name, 'cameras': len(self.serials), 'serials': list(self.serials),
            'motion_sha256': digest,
        }  # fmt: skip
        return {'version': self.version, 'options': options}

    def folders(self, subject: int, sequence: int) -> list[str]:
        """See `Layout.folders`."""
        return [self.names[self.motion.sequence_names[self.sequence_at((subject, sequence))]]]

    def begin(self) -> None:
        """Writes what belongs to no sequence."""
        super().begin()
        write_intrinsics(self.root, self.serials, self.intrinsics, self.image_sizes)
        (self.root / SEQUENCE_LIST).write_text('\n'.join(sorted(self.names.values())) + '\n', encoding='utf-8')
        if self.motion.licence:
            (self.root / 'LICENCE.txt').write_text(self.motion.licence + '\n', encoding='utf-8')

    def write(self, scene: Scene, subject: int, sequence: int, render: Render) -> None:
        """Writes DexYCB's files, and fit.npz."""
        (partial,) = self.empty_partial(subject, sequence)
        write_sequence(self.root, partial, self.serials, scene, render)
        world = scene.extrinsics[0, 0]
        recorded = scene.measurements['recorded_joints'] @ world[:3, :3].T + world[:3, 3]
        arrays = {'recorded_joints': recorded, 'fit_error': scene.measurements['fit_error']}
        write_npz(partial / FIT_FILE, {key: value.astype(np.float32) for key, value in arrays.items()})

    def read_fit_error(self, subject: int, sequence: int) -> NDArray:
        """The distances (F, 21), metres, of a sequence that is in place."""
        with np.load(self.root / self.folders(subject, sequence)[0] / FIT_FILE) as arrays:
            return arrays['fit_error']


class RecordedCameras(NamedTuple):
    """The cameras of a motion file, as `RecordedMotion` has them."""

    serials: list[str]
    sizes: NDArray
    intrinsics: NDArray
    extrinsics: NDArray


def recorded_cameras(motion: RecordedMotion) -> RecordedCameras | None:
    """The cameras of a motion file, which has all arrays or none."""
    names, sizes, intrinsics = motion.camera_serials, motion.camera_sizes, motion.camera_intrinsics
    if names is None or sizes is None or intrinsics is None or motion.camera_extrinsics is None:
        return None
    return RecordedCameras(names, sizes, intrinsics, motion.camera_extrinsics)


def _choose_cameras(motion: RecordedMotion, options: RecordedOptions) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The numbers of the motion's cameras, and their serials; motion without cameras takes DexYCB's serials."""
    cameras = recorded_cameras(motion)
    if cameras is None:
        if options.serials:
            raise DatasetError(
                f'{options.motion} has no cameras, so serials cannot choose among them; leave serials out'
            )
        return tuple(range(options.cameras)), SERIALS[: options.cameras]
    names = cameras.serials
    for serial in options.serials:
        if serial not in names:
            raise DatasetError(
                f'{options.motion} has no camera {serial!r} (it has: {", ".join(names)}).{did_you_mean(serial, names)}'
            )
    if not options.serials and options.cameras > len(names):
        raise DatasetError(f'{options.motion} has {len(names)} cameras, {options.cameras} were asked for')
    chosen = [names.index(s) for s in options.serials] or best_cameras(motion, cameras)[: options.cameras].tolist()
    return tuple(chosen), tuple(names[camera] for camera in chosen)


def best_cameras(motion: RecordedMotion, cameras: RecordedCameras) -> NDArray:
    """The numbers (K,) of the motion's cameras, the one that has most of the recorded joints in its image first."""
    seen = np.zeros(len(cameras.serials))
    for sequence in range(len(motion.sequence_names)):
        frames = motion.frames_of(sequence)
        joints = motion.joints[frames][motion.frame_valid[frames]].reshape(-1, 3)
        for camera, extrinsics in enumerate(cameras.extrinsics[sequence]):
            local = joints @ extrinsics[:3, :3].T + extrinsics[:3, 3]
            uv = (local @ cameras.intrinsics[camera].T)[:, :2] / np.maximum(local[:, 2:], 1e-6)
            inside = (uv > -0.5) & (uv < cameras.sizes[camera] - 0.5) & (local[:, 2:] > 0)
            seen[camera] += inside.all(1).sum()
    return np.argsort(-seen, kind='stable')


def scaled_cameras(
    cameras: RecordedCameras | None, chosen: tuple[int, ...], width: int
) -> tuple[NDArray, tuple[Size, ...]]:
    """The chosen cameras, their images scaled to a width.

    Args:
        cameras: of the recordings, or None: cameras that are added, 4:3.
        chosen: numbers of the cameras; only their count matters where there are none.
        width: of the images, pixels.

    Returns:
        intrinsics (K, 3, 3), and (width, height) of each camera's images.
    """
    if cameras is None:
        size = (width, round(width * 3 / 4))
        focal, centre = RECORDED_FOCAL * width, (np.array(size) - 1) / 2
        matrix = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
        return np.tile(matrix, (len(chosen), 1, 1)), (size,) * len(chosen)
    old = cameras.sizes[list(chosen)]
    sizes = tuple((width, round(width * float(h) / float(w))) for w, h in old)
    rows = zip(cameras.intrinsics[list(chosen)], old, sizes, strict=True)
    return np.stack([_scale_intrinsics(*row) for row in rows]), sizes


def _scale_intrinsics(intrinsics: NDArray, old_size: NDArray, new_size: Size) -> NDArray:
    """Intrinsics (3, 3) of an image scaled from one (width, height) to another; pixel centres at whole numbers."""
    scaled = np.array(intrinsics, np.float64)
    for axis, ratio in enumerate(np.divide(new_size, old_size)):
        scaled[axis] *= ratio
        scaled[axis, 2] += (ratio - 1) / 2
    return scaled


def folder_names(names: list[str]) -> dict[str, str]:
    """{recorded name: DexYCB-like 'subject/sequence'}: the name itself where every name has DexYCB's form.

    Args:
        names: 'subject/sequence' each.

    Raises:
        DatasetError: more subjects or sequences than such names can number.
    """
    parts = [name.split('/') for name in names]
    if all(SUBJECT_FOLDER.fullmatch(subject) and SEQUENCE_FOLDER.fullmatch(rest) for subject, rest in parts):
        return {name: name for name in names}
    subjects = sorted({subject for subject, _ in parts})
    of_subject = {subject: sorted(rest for s, rest in parts if s == subject) for subject in subjects}
    if len(subjects) > 99 or max(map(len, of_subject.values())) > 400:
        raise DatasetError(f"names like DexYCB's number 99 subjects of 400 sequences, got {len(subjects)} subjects")
    return {f'{s}/{r}': sequence_folder(i, j) for i, s in enumerate(subjects) for j, r in enumerate(of_subject[s])}
