"""Predictions files of the hand detector for the tracks of a dataset: real errors next to exact labels.

Legend: T frames of a track, F images of it that were read, H annotated hands, N hands in all images together.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handpose.datasets.base import BrokenFrames, DatasetError, VideoDataset
from handpose.datasets.transforms import LoadImages
from handpose.evaluation.functional import nan_mean, point_errors
from handpose.files.atomic import atomic_write, remove_unfinished
from handpose.files.reading import inside_root, read_json
from handpose.geometry.rigid import transform_points
from handpose.hands.sides import Side
from handpose.inference.camera_file import place_in_camera
from handpose.inference.session import Session
from handpose.inference.tracking.records import TrackRecords
from handpose.inference.tracking.selection import select_hands
from handpose.registry import DATASETS
from handpose.structures import HandSequence, Predictions, load_predictions, save_predictions
from handpose.structures.predictions_file import TRACKS_FILE, track_file_name, tracks_without_hand
from handpose.video import VideoFrame

IMAGES_AT_ONCE = 16
MAX_DISTANCE = 0.5  # of the hand's size: median distance of a track's joints from those of the hand that it shows


@dataclass(frozen=True, eq=False)
class TrackReport:
    """How the predictions of a track compare with its labels; the labels of hands out of the image do not count.

    Attributes:
        file: name of the predictions file.
        images: of the track.
        annotated: hands that are annotated and inside the image, over all frames.
        errors_2d: (N,) mean distance of the joints of a predicted hand from the labels, as a share of the hand's size
            in the image (the longer side of the box around its labelled joints).
        errors_3d: (N,) mean distance of its joints, aligned at the wrist, millimetres.
        found: whether a hand was found, so that there is a file.
        kept: whether the track was processed in an earlier run.
    """

    file: str
    images: int
    annotated: int
    errors_2d: NDArray[np.float64]
    errors_3d: NDArray[np.float64]
    found: bool
    kept: bool


class ErrorSummary(NamedTuple):
    """The errors of several tracks.

    Attributes:
        annotated: hands as in `TrackReport`, over all frames.
        found: of them, those that have a prediction.
        median_2d: of `TrackReport.errors_2d`; NaN without any.
        mean_3d: of `TrackReport.errors_3d`, millimetres; NaN without any.
        median_3d: of the same.
    """

    annotated: int
    found: int
    median_2d: float
    mean_3d: float
    median_3d: float


def error_summary(reports: Sequence[TrackReport]) -> ErrorSummary:
    """Joins the errors of several tracks.

    Args:
        reports: of the tracks.

    Returns:
        Their errors over all hands.
    """
    errors_2d = np.concatenate([np.zeros(0), *(report.errors_2d for report in reports)])
    errors_3d = np.concatenate([np.zeros(0), *(report.errors_3d for report in reports)])
    median_2d, median_3d = (float(np.median(e)) if len(e) else float('nan') for e in (errors_2d, errors_3d))
    mean_3d = float(errors_3d.mean()) if len(errors_3d) else float('nan')
    annotated = sum(report.annotated for report in reports)
    return ErrorSummary(annotated, len(errors_3d), median_2d, mean_3d, median_3d)


class DatasetPredictor:
    """Writes a predictions file for each track of a dataset, as `LoadPredictions` reads them.

    The images of a track are processed like a video by `handpose infer`: hands are followed from image to image, and
    the best track of each hand is kept. Two things differ, because the labels are known. A track has the side of the
    annotated hand that it shows, and a track that shows none is dropped: which hand is meant is not the detector's to
    decide here. And hands are placed in front of the dataset's own camera.

    A folder that is complete in part is continued: existing files are kept. `tracks.json` in it says by which networks
    the files were made, and in which tracks no hand was found; these get no file.

    Args:
        folder: where the files go.
        session: finds the hands; it must keep them.
        networks: the name of its networks.

    Raises:
        DatasetError: the folder has predictions of other networks or of another origin.
    """

    def __init__(self, folder: str | Path, session: Session, networks: str) -> None:
        self.folder, self.session, self.networks = Path(folder), session, networks
        self.without_hand = self._open()

    def tracks(self, dataset: VideoDataset, numbers: Sequence[int]) -> Iterator[TrackReport]:
        """Processes tracks.

        Args:
            dataset: of whole tracks, see `open_tracks`.
            numbers: of the tracks.

        Yields:
            The report of each track; of one in which no hand was found, without errors.

        Raises:
            DatasetError: a track of several cameras, without images or intrinsics; an image that cannot be read and
                the dataset does not say on_broken='skip'; a file in the folder that is of another track.
        """
        for number in numbers:
            clip = dataset.read(number)
            name = track_file_name(clip.meta)
            path = inside_root(self.folder, name, 'the track', error=DatasetError)
            kept = path.exists() or name in self.without_hand
            if not kept:
                self._write(path, clip, dataset)
            found = load_predictions(path) if path.exists() else None
            yield _report(name, path, clip, found, kept)

    def _open(self) -> list[str]:
        """The tracks without a hand of an earlier run; writes the file of a new folder."""
        file, advice = self.folder / TRACKS_FILE, f'choose another folder, or delete {self.folder}'
        if not file.exists():
            if next(self.folder.glob('*.npz'), None) is not None:
                raise DatasetError(f'{self.folder} holds files that this command did not write; {advice}')
            self._save([])
            return []
        remove_unfinished(self.folder)
        found = read_json(file, error=DatasetError, advice=advice)
        if not isinstance(found, dict) or found.get('networks') != self.networks:
            made = found.get('networks') if isinstance(found, dict) else None
            raise DatasetError(
                f'{self.folder} was made with networks={made!r}, and this run has {self.networks!r}; {advice}'
            )
        return sorted(tracks_without_hand(self.folder))

    def _save(self, without_hand: Sequence[str]) -> None:
        content = dict(networks=self.networks, without_hand=list(without_hand))
        atomic_write(self.folder / TRACKS_FILE, json.dumps(content, indent=1))

    def _write(self, path: Path, clip: HandSequence, dataset: VideoDataset) -> None:
        intrinsics = _intrinsics(clip, path.name)
        self.session.reset(intrinsics)
        positions = []
        for t, frame in _frames(clip, dataset):
            self.session.push(frame)
            positions.append(t)
        predictions = None
        if self.session.image_size is not None:
            records = label_sides(self.session.records(), clip.select_frames(positions))
            sides = [Side(side) for side in clip.require('hand_side').tolist()]
            source = f'{clip.meta["dataset"]} {path.stem}, by {self.session.name}'
            scale, licence = self.session.info.scale, self.session.licence
            predictions, _ = select_hands(records, self.session.image_size, source, licence, scale, sides)
            predictions = place_in_camera(predictions, intrinsics)
        if predictions is None or not predictions.valid.any():
            self.without_hand.append(path.name)
            self._save(self.without_hand)
            return
        if clip.frame == 'world':
            poses = clip.require('extrinsics')[:, 0].double().numpy()
            predictions = replace(predictions, extrinsics=poses[positions])
        save_predictions(path, predictions)


def open_tracks(config: Mapping[str, Any]) -> VideoDataset:
    """Opens a dataset of a config with one sample for each track, without transforms and hand-model parameters.

    Args:
        config: of a reader, or of a dataset that has one as its `dataset`.

    Returns:
        The dataset.

    Raises:
        DatasetError: a dataset that consists of several ones, or is missing.
    """
    while isinstance(config.get('dataset'), Mapping):
        config = config['dataset']
    if 'datasets' in config:
        raise DatasetError(f'{config["type"]} has several datasets: give the config of one of them')
    changes: dict[str, Any] = dict(sampling={'type': 'Tracks'}, pipeline=[], predictions=None)
    changes |= {'labels': 'joints_only'} if 'labels' in config else {}
    return DATASETS.build({**config, **changes})


def label_sides(records: TrackRecords, clip: HandSequence) -> TrackRecords:
    """Gives each track the side of the annotated hand that it shows, and drops those that show none.

    A track shows the hand whose labelled joints are nearest to its own in the median over its images, if they are not
    further away than `MAX_DISTANCE` times the hand's size.

    Args:
        records: of F images.
        clip: the labels of these images, one camera. Without `joints_2d`, one hand means that every track shows it, and
            the sides of two hands stay those of the detector.

    Returns:
        The records of the tracks that are left.
    """
    sides = clip.require('hand_side').numpy()
    if clip.joints_2d is None:
        right = records.right if len(sides) == 2 else np.full(len(records.right), float(sides[0]))
        return replace(records, right=right)
    labels, valid, size = _labels_2d(clip)
    right, keep = records.right.copy(), np.zeros(len(records.right), bool)
    for track_id in np.unique(records.track_id):
        rows = np.flatnonzero(records.track_id == track_id)
        frames = records.frame[rows]
        distance = np.linalg.norm(records.tracked_2d[rows][:, None] - labels[frames], axis=-1)  # (rows, H, J)
        distance = nan_mean(np.where(valid[frames], distance, np.nan), axis=-1) / size[frames]
        known = ~np.isnan(distance)
        # A hand counts where it is annotated; in an image in which it is not, nothing is known about the track.
        medians = [np.median(d[k]) if k.any() else np.inf for d, k in zip(distance.T, known.T, strict=True)]
        hand = int(np.argmin(medians))
        if medians[hand] <= MAX_DISTANCE:
            keep[rows], right[rows] = True, float(sides[hand])
    columns = ('frame', 'track_id', 'tracked_2d', 'joints_2d', 'joints_3d', 'joints_valid', 'presence')
    return replace(records, right=right[keep], **{name: vars(records)[name][keep] for name in columns})


def _frames(clip: HandSequence, dataset: VideoDataset) -> Iterator[tuple[int, VideoFrame]]:
    """The images of a track and their positions in it; those that cannot be read are left out if the dataset allows."""
    load = LoadImages()
    times = clip.require('timestamps').tolist()
    meta = dict(clip.meta)
    if dataset.packed is not None:
        meta |= {'packed': str(dataset.packed), 'data_root': str(dataset.root)}
    clip = HandSequence(meta=meta, timestamps=clip.timestamps, frame=clip.frame)
    for start in range(0, len(times), IMAGES_AT_ONCE):
        positions = list(range(start, min(start + IMAGES_AT_ONCE, len(times))))
        try:
            loaded = load(clip.select_frames(positions), None)
        except BrokenFrames as error:
            dataset.report_broken(error)
            positions = [t for place, t in enumerate(positions) if place not in error.positions]
            if not positions:
                continue
            loaded = load(clip.select_frames(positions), None)
        for t, image in zip(positions, loaded.require('images')[:, 0], strict=True):
            yield t, VideoFrame(t, times[t], image.permute(1, 2, 0).numpy())


def _intrinsics(clip: HandSequence, name: str) -> NDArray[np.float64]:
    """(3, 3) of the only camera of a track."""
    cameras = clip.meta['cameras']
    if len(cameras) != 1:
        raise DatasetError(f'{name}: a predictions file is of one camera, and this track has {len(cameras)}')
    if 'paths' not in clip.meta:
        raise DatasetError(f'{clip.meta["dataset"]} has no images, in which hands could be found')
    if clip.intrinsics is None:
        raise DatasetError(f'{name}: {clip.meta["dataset"]} has no intrinsics, by which hands are placed')
    intrinsics = clip.intrinsics[:, 0].double().numpy()
    if not np.allclose(intrinsics, intrinsics[0]):
        raise DatasetError(f'{name}: the intrinsics of the camera change within the track, and a file has one')
    return intrinsics[0]


def _labels_2d(clip: HandSequence) -> tuple[NDArray, NDArray[np.bool_], NDArray]:
    """Labelled joints (F, H, J, 2), which of them are valid (F, H, J), and the size of each hand (F, H), pixels."""
    labels = clip.require('joints_2d')[:, 0].double().numpy()
    valid = clip.require('joints_2d_valid')[:, 0].numpy()
    shown = valid[..., None]
    extent = np.where(shown, labels, -np.inf).max(-2) - np.where(shown, labels, np.inf).min(-2)
    return labels, valid, np.where(valid.any(-1), np.maximum(extent.max(-1), 1.0), np.nan)


def _report(name: str, path: Path, clip: HandSequence, found: Predictions | None, kept: bool) -> TrackReport:
    times = clip.require('timestamps').numpy()
    valid = clip.require('joints_valid').numpy() & clip.require('hand_valid').numpy()[..., None]
    inside = _inside(clip)
    annotated = int((valid.any(-1) & inside).sum())
    none = np.zeros(0)
    if found is None:
        return TrackReport(name, len(times), annotated, none, none, False, kept)
    nearest = np.abs(times[:, None] - found.timestamps).argmin(1)
    same = np.abs(times - found.timestamps[nearest]) < 1e-6
    if len(found) != same.sum() or found.hand_side.tolist() != clip.require('hand_side').tolist():
        raise DatasetError(f'{path} is of another track than {name} of this dataset: delete it')
    usable = valid & (found.valid[nearest] & same[:, None] & inside)[..., None]
    usable &= found.given_joints()[nearest]
    truth = clip.require('joints_3d').double()
    if clip.frame == 'world':
        truth = transform_points(truth, clip.require('extrinsics')[:, :1].double())
    joints = np.nan_to_num(found.joints[nearest].astype(np.float64))
    errors_3d = 1000 * nan_mean(point_errors(joints, truth.numpy(), usable, alignment='wrist'), axis=-1)
    errors_2d = none
    if clip.joints_2d is not None and found.joints_2d is not None:
        labels, valid_2d, size = _labels_2d(clip)
        distance = np.linalg.norm(found.joints_2d[nearest] - labels, axis=-1)
        relative = nan_mean(np.where(usable & valid_2d, distance, np.nan), axis=-1) / size
        errors_2d = relative[~np.isnan(relative)]
    return TrackReport(name, len(times), annotated, errors_2d, errors_3d[~np.isnan(errors_3d)], True, kept)


def _inside(clip: HandSequence) -> NDArray[np.bool_]:
    """(T, H), hands of which most joints are inside the image, where the labels and the size tell."""
    size = clip.meta.get('image_size')
    if clip.joints_2d is None or size is None:
        return np.ones(clip.require('hand_valid').shape, bool)
    labels, valid, _ = _labels_2d(clip)
    inside = ((labels >= 0) & (labels < np.array(size))).all(-1) & valid
    return inside.sum(-1) * 2 > valid.sum(-1)
