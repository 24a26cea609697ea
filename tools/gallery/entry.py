"""An entry of the gallery, and the built-in data that entries share."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import handpose
from handpose.engine import load_config
from handpose.inference.annotation.job import AnnotateJob, annotate_recording
from handpose.models import Estimator
from handpose.registry import DATASETS
from handpose.structures import (
    AnnotatedRecording,
    HandSequence,
    Predictions,
    load_annotated_recording,
    with_true_vertices,
    write_calibration,
)
from handpose.synthesis import options_from_dict, write_dataset
from handpose.synthesis.gesture_videos import GestureVideos, write_gesture_videos
from handpose.video import VideoReader


class Clip(NamedTuple):
    """Frames (h, w, 3) uint8 RGB and how many are shown per second."""

    frames: Sequence[NDArray[np.uint8]]
    fps: float


class Sources:
    """Built-in data and what is found in it, made once and kept in a folder.

    Args:
        folder: where data lie between runs.
        quick: shorter videos and less data, to try the entries out.
    """

    def __init__(self, folder: str | Path, quick: bool = False) -> None:
        self.folder = Path(folder) / ('quick' if quick else 'full')
        self.quick = quick

    @cached_property
    def gestures(self) -> GestureVideos:
        """A hand that makes gestures, seen by two cameras."""
        frames = 24 if self.quick else 96
        return write_gesture_videos(self.folder / 'gestures', ('left', 'right'), frames, seed=2)

    @cached_property
    def images(self) -> list[list[NDArray[np.uint8]]]:
        """The images of each camera of `gestures`."""
        return [[frame.image for frame in VideoReader(path)] for path in self.gestures.videos]

    @cached_property
    def found(self) -> Predictions:
        """The hand that the hand networks find in the first video of `gestures`."""
        session = handpose.Session()
        for frame in VideoReader(self.gestures.videos[0]):
            session.push(frame)
        return session.finish(source='a rendered video')

    @cached_property
    def recording(self) -> AnnotatedRecording:
        """The annotated recording of both cameras, with a fitted hand model and a report."""
        videos, out = self.gestures, self.folder / 'annotated.npz'
        if not out.exists():
            calibration = self.folder / 'calibration.json'
            write_calibration(calibration, videos.calibration)
            job = AnnotateJob(self.folder / 'gestures', calibration, out, fit=True, outputs=('report',))
            shutil.rmtree(job.detections, ignore_errors=True)  # of an interrupted run, with other files of the videos
            annotate_recording(job)
        return load_annotated_recording(out)

    def data(self, **options: object) -> Path:
        """The folder of a built-in dataset with these options of `synthetic_data`; made if missing."""
        words = '_'.join(f'{key}{value}' for key, value in options.items() if not isinstance(value, list))
        root = self.folder / words.replace('/', '-')
        write_dataset(options_from_dict({**options, 'root': str(root)}))
        return root

    def dataset(self, config: str, root: Path, **options: object):
        """The test dataset of a config with its data in `root`."""
        return DATASETS.build(load_config(config, {'data_root': str(root), **options}).test_dataset)


@cache
def network(name: str) -> Estimator:
    """An estimator of the zoo."""
    return handpose.load(name)


def predict(estimator: Estimator, sample: HandSequence) -> tuple[HandSequence, HandSequence]:
    """The prediction of one clip, and the clip with the vertices of the true hands."""
    batch = HandSequence.stack([sample])
    (target,) = with_true_vertices(batch, estimator.gives.hand_model).unstack()
    (prediction,) = estimator.predict(batch).unstack()
    return prediction, target


@dataclass(frozen=True)
class Entry:
    """An image of the gallery.

    Attributes:
        name: of the file in docs/images/gallery.
        section: of the page.
        title: above the image.
        text: one sentence or two about what it shows.
        how: Markdown: the command or the guide.
        make: draws it: an image (h, w, 3) uint8 RGB, or a `Clip`.
        moves: it is a clip.
    """

    name: str
    section: str
    title: str
    text: str
    how: str
    make: Callable[[Sources], NDArray[np.uint8] | Clip]
    moves: bool = False

    @property
    def file(self) -> str:
        """Name of the image."""
        return f'{self.name}.webp' if self.moves else f'{self.name}.jpg'
