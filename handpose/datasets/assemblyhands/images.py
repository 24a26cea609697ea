"""How the reader of AssemblyHands' images finds the views of each sequence.

Legend: N annotated frames of a sequence, F places of its timeline at 30 a second, K views of a clip.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.assemblyhands import image_files as files
from handpose.datasets.assemblyhands import layout
from handpose.datasets.assemblyhands.cameras import EGO_VIEWS, EXO_VIEWS, VIEW_OF
from handpose.datasets.assemblyhands.views import CameraView, ViewedSequence
from handpose.datasets.io.errors import DatasetError
from handpose.datasets.io.plausibility import check_intrinsics, check_view
from handpose.datasets.io.pose_recordings import timeline, without_other_rates
from handpose.datasets.io.video_frames import read_facts
from handpose.text import did_you_mean

VIEWS = {'exo': EXO_VIEWS, 'ego': EGO_VIEWS}
_KNOWN = (*EXO_VIEWS, *EGO_VIEWS, *VIEW_OF)


def chosen_views(views: str | Sequence[str]) -> tuple[str, ...]:
    """The views or cameras that the option `views` names.

    Raises:
        DatasetError: an unknown or repeated one, or none.
    """
    if isinstance(views, str) and views in VIEWS:
        return VIEWS[views]
    if isinstance(views, str) or not views or len(set(views)) != len(views):
        raise DatasetError(
            f"views must be 'exo', 'ego' or a list of different views, such as ['v1', 'e1'], got {views!r}"
        )
    for name in views:
        if name not in _KNOWN:
            raise DatasetError(
                f'views names {name!r}, which is no view or camera of AssemblyHands (they are: {", ".join(_KNOWN)}).'
                f'{did_you_mean(name, _KNOWN)}'
            )
    return tuple(views)


@dataclass(eq=False)
class ImageFiles:
    """The annotations of a split, and the views of its sequences.

    Args:
        root: folder of the dataset.
        split: 'train', 'val' or 'test'.
        label_set: 'automatic' or 'manual'.
        views: names of views or cameras.
        frame_offset: frames at 60 a second by which the videos are ahead of the annotations.
    """

    root: Path
    split: str
    label_set: str
    views: tuple[str, ...]
    frame_offset: int

    def __post_init__(self) -> None:
        self._folder = self.root / files.LABEL_FOLDERS[self.label_set] / self.split
        self._ego_images: Mapping[str, Mapping[str, files.EgoView]] = {}
        self._ego_cameras: Mapping[str, files.EgoCameras] = {}
        if any(VIEW_OF.get(name, name) in EGO_VIEWS for name in self.views):
            path = layout.find_annotations(self._folder, self.split, 'ego_data')
            self._ego_images = files.read_ego_images(path, self.root / files.IMAGES)
            self._ego_cameras = files.read_ego_calibration(self._find('ego_calib'))
        self._occlusion = files.read_occlusion(self._folder / files.OCCLUSION_FILE)

    def _find(self, kind: str) -> Path:
        return layout.find_annotations(self._folder, self.split, kind)

    def read_sequences(self, choose: Callable[[list[str], Path], list[str]]) -> list[ViewedSequence]:
        """The labels of the sequences; those of the test split have frames alone where the joints are not there.

        Args:
            choose: gives the names that are wanted of those in a file.
        """
        if self.split == 'test' and not list(self._folder.glob('assemblyhands_test_joint_3d*.json')):
            path = self._find('ego_calib')
            cameras = self._ego_cameras or files.read_ego_calibration(path)
            found = {name: layout.AnnotatedJoints(of.numbers, NO_JOINTS, NO_FLAGS) for name, of in cameras.items()}
        else:
            path = self._find('joint_3d')
            found = layout.read_joints(path)
        found = {name: found[name] for name in choose(list(found), path)}
        kept = without_other_rates({name: of.numbers for name, of in found.items()}, layout.STEP, path)
        return [_sequence(name, found[name]) for name in kept]

    def read_views(self, sequence: ViewedSequence) -> tuple[dict[str, CameraView], list[str]]:
        """The chosen views that a sequence has images of, by their names; and messages about missing files."""
        found: dict[str, CameraView] = {}
        problems: list[str] = []
        exo_names = [name for name in self.views if VIEW_OF.get(name, name) in EXO_VIEWS]
        try:
            found |= self._exo_views(sequence, exo_names, problems) if exo_names else {}
        except DatasetError as error:
            problems.append(str(error))
        found |= self._ego_views(sequence, [name for name in self.views if name not in exo_names])
        occlusion = self._occlusion.get(sequence.name)
        for view in found.values():
            if occlusion is not None:
                view.occlusion = _hidden(occlusion, VIEW_OF[view.camera], sequence.numbers)
        return {name: found[name] for name in self.views if name in found}, problems

    def _exo_views(self, sequence: ViewedSequence, names: list[str], problems: list[str]) -> dict[str, CameraView]:
        """Views of the cameras around the table; what is wrong with one of them is added to `problems`."""
        videos = files.find_exo_videos(self.root, sequence.name)
        if not videos:
            raise DatasetError(f'{self.root / files.EXO_VIDEOS / sequence.name} has no videos; unpack them there')
        path = files.find_calibration(self.root, sequence.name)
        cameras, found = files.read_exo_calibration(path), {}
        places = _video_frames(sequence) + self.frame_offset // layout.STEP
        for name, camera in zip(names, files.cameras_of_views(names, list(videos)), strict=True):
            if camera is None:
                continue
            try:
                size, count = read_facts(videos[camera])
                if camera not in cameras:
                    raise DatasetError(f'{path} has no camera {camera}, of which there is a video; {files.UNPACK}')
                check_intrinsics(cameras[camera].intrinsics, f'{path}, camera {camera}', size)
                _check_sees(sequence, cameras[camera].extrinsics, f'{path}, camera {camera}')
                known = (_video_frames(sequence) >= 0) & (places >= 0) & (places < count)
                found[name] = CameraView(
                    camera, size, *cameras[camera], str(videos[camera]), np.where(known, places, -1)
                )
            except DatasetError as error:
                problems.append(str(error))
        return found

    def _ego_views(self, sequence: ViewedSequence, names: list[str]) -> dict[str, CameraView]:
        """Views of the headset's cameras."""
        images, calibrated = self._ego_images.get(sequence.name, {}), self._ego_cameras.get(sequence.name)
        found = {}
        for name, camera in zip(names, files.cameras_of_views(names, list(images)), strict=True):
            if camera is None:
                continue
            where = f'{self._folder}, {sequence.name}, camera {camera}'
            if calibrated is None or camera not in calibrated.cameras:
                raise DatasetError(
                    f'{where}: ego_calib lacks a camera that ego_data has images of; download both again'
                )
            of = images[camera]
            check_intrinsics(calibrated.cameras[camera].intrinsics, where, of.size)
            place = np.searchsorted(calibrated.numbers, sequence.numbers).clip(0, len(calibrated.numbers) - 1)
            extrinsics = calibrated.cameras[camera].extrinsics[place]
            _check_sees(sequence, extrinsics, where, shown=np.isin(sequence.numbers, of.numbers))
            image = _rows_of(of.numbers, sequence.numbers)
            image = np.where(calibrated.numbers[place] == sequence.numbers, image, -1)
            places = np.where(sequence.rows >= 0, image[sequence.rows], -1)
            found[name] = CameraView(
                camera, of.size, calibrated.cameras[camera].intrinsics, extrinsics, of.files, places, of.boxes,
                of.joints_valid,
            )  # fmt: skip
        return found


NO_JOINTS, NO_FLAGS = np.zeros((0, 2, 21, 3), np.float32), np.zeros((0, 2, 21), bool)


def _sequence(name: str, found: layout.AnnotatedJoints) -> ViewedSequence:
    rows = timeline(found.numbers, layout.STEP)
    if not len(found.joints):
        return ViewedSequence(name, found.numbers, rows)
    return ViewedSequence(name, found.numbers, rows, found.joints, found.valid)


def _rows_of(available: NDArray, wanted: NDArray) -> NDArray:
    """Where each wanted frame number is among the available ones, rising; -1 where it is not."""
    place = np.searchsorted(available, wanted).clip(0, len(available) - 1)
    return np.where(available[place] == wanted, place, -1)


def _video_frames(sequence: ViewedSequence) -> NDArray:
    """(F,): the frame of a rectified video, which starts at the first annotated frame, at each place; -1 unknown."""
    numbers = np.full(len(sequence.rows), -1)
    there = sequence.rows >= 0
    numbers[there] = (sequence.numbers[sequence.rows[there]] - sequence.numbers[0]) // layout.STEP
    # Places of frames that are not annotated, unless a jump that is no multiple of the step is before them.
    regular = np.arange(len(numbers))
    return regular if (numbers[there] == regular[there]).all() else numbers


def _hidden(occlusion: files.Occlusion, view: str, numbers: NDArray) -> NDArray | None:
    """Occlusion (N, 2) of a view in annotated frames; NaN where it is not known."""
    if view not in occlusion.views:
        return None
    rows = _rows_of(occlusion.numbers, numbers)
    return np.where(rows[:, None] >= 0, occlusion.views[view][rows], np.nan)


def _check_sees(sequence: ViewedSequence, extrinsics: NDArray, where: str, shown: NDArray | None = None) -> None:
    """Refuses a camera that cannot see the hands; see `plausibility.check_view`."""
    if sequence.joints is None or sequence.joints_valid is None:
        return
    valid = sequence.joints_valid[:, :, 0]
    rows, hands = np.nonzero(valid if shown is None else valid & shown[:, None])
    if not len(rows):
        return
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(int))
    rows, hands = rows[some], hands[some]
    matrix = extrinsics[rows] if extrinsics.ndim == 3 else extrinsics[None]
    wrists = sequence.joints[rows, hands, 0].astype(np.float64)
    check_view((matrix[:, :3, :3] @ wrists[..., None])[..., 0] + matrix[:, :3, 3], where)
