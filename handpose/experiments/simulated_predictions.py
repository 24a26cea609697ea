"""Predictions files of a simulated estimator: the recordings of a dataset with the errors of the noise model."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.base import DatasetError, VideoDataset
from handpose.datasets.transforms.estimator_noise import EstimatorNoise, draw_camera, present_hands
from handpose.files.names import file_stem
from handpose.files.reading import inside_root
from handpose.registry import DATASETS
from handpose.structures import HandSequence, Predictions, save_predictions


class SimulatedErrors(NamedTuple):
    """The errors of one recording.

    Attributes:
        mpjpe_mm: mean wrist-relative error over the joints of its valid hands, the wrist included, millimetres.
        valid: share of the annotated hands that have an estimate.
        num_hands: estimated hands, over all frames.
    """

    mpjpe_mm: float
    valid: float
    num_hands: int


def recordings_of(config: Mapping[str, Any]) -> VideoDataset:
    """Opens the whole recordings of a dataset of actions.

    Args:
        config: of a pose reader with `segments`, such as `Assembly101`, or of a `VerbDataset` of one.

    Returns:
        The dataset with one track for each recording, without transforms.

    Raises:
        DatasetError: a dataset without `segments`.
    """
    inner = config['dataset'] if config['type'] == 'VerbDataset' else config
    if 'segments' not in inner and inner['type'] not in ('Assembly101', 'AssemblyHandsPoses', 'H2OPoses'):
        raise DatasetError(
            f'{inner["type"]} has no recordings of poses; give a config of actions of Assembly101, AssemblyHandsPoses '
            f'or H2OPoses'
        )
    return DATASETS.build({**inner, 'segments': 'untrimmed', 'sampling': {'type': 'Tracks'}, 'pipeline': []})


def simulate_predictions(
    clip: HandSequence, noise: EstimatorNoise, camera_distance: tuple[float, float], seed: int
) -> Predictions:
    """Simulates what an estimator would give for a recording, seen by a camera that stands still.

    Args:
        clip: the recording, in the world or in a camera.
        noise: errors in a camera.
        camera_distance: metres from the camera, which is drawn for clips in the world, to the middle of the hands.
        seed: with the name of the recording it decides all draws.

    Returns:
        Predictions in the camera, with its `extrinsics` for a clip in the world.

    Raises:
        DatasetError: a clip without joints, or relative to the wrists.
    """
    rng = np.random.default_rng([seed, zlib.crc32(str(clip.meta['sequence']).encode())])
    extrinsics = None
    if clip.frame == 'world':
        joints, known = clip.require('joints_3d').double().numpy(), clip.require('joints_valid').numpy()
        rotmat, offset = draw_camera(rng, joints[known & present_hands(clip)[..., None]], camera_distance)
        extrinsics = np.eye(4)
        extrinsics[:3, :3], extrinsics[:3, 3] = rotmat, offset
        clip = clip.replace(frame='camera', joints_3d=torch.from_numpy((joints @ rotmat.T + offset).astype(np.float32)))
    clip = noise(clip, rng)
    valid = clip.require('input_valid').numpy()
    times = clip.require('timestamps').numpy()
    annotated = clip.require('joints_valid').any(0)[None].numpy()  # joints that the dataset has at all
    return Predictions(
        joints=clip.require('input_joints_3d').numpy(),
        valid=valid,
        joints_valid=None if annotated.all() else valid[..., None] & annotated,
        timestamps=times,
        hand_side=clip.require('hand_side').numpy(),
        frame='camera',
        confidence=clip.require('input_confidence').numpy(),
        extrinsics=extrinsics,
        source=f'simulated errors on {clip.meta["dataset"]}',
    )


def wrist_relative_errors(predictions: Predictions, clip: HandSequence) -> SimulatedErrors:
    """Compares predictions with the truth.

    Args:
        predictions: as `simulate_predictions` gives them, of every frame of the clip.
        clip: the recording, in the world or in the predictions' camera.
    """
    truth = clip.require('joints_3d').double().numpy()
    if predictions.extrinsics is not None:
        truth = truth @ predictions.extrinsics[0, :3, :3].T
    given = predictions.given_joints() & clip.require('joints_valid').numpy()
    given &= given[..., :1]
    error = np.linalg.norm(_relative(predictions.joints.astype(np.float64)) - _relative(truth), axis=-1)
    annotated = int(present_hands(clip).sum())
    count = int(given[..., 0].sum())
    mean = float(1000 * error[given].mean()) if count else float('nan')
    return SimulatedErrors(mean, count / annotated if annotated else float('nan'), count)


def _relative(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    return joints - joints[..., :1, :]


def write_simulated_predictions(
    dataset: VideoDataset,
    number: int,
    folder: str | Path,
    noise: EstimatorNoise,
    camera_distance: tuple[float, float] = (0.4, 0.8),
    seed: int = 0,
) -> SimulatedErrors:
    """Writes the predictions file of one recording, `<folder>/<recording>.npz`.

    Args:
        dataset: of whole recordings.
        number: of the recording.
        folder: where the file goes; an existing one is replaced.
        noise: see `simulate_predictions`.
        camera_distance: see `simulate_predictions`.
        seed: see `simulate_predictions`.

    Returns:
        Its errors.
    """
    clip = dataset.read(number)
    predictions = simulate_predictions(clip, noise, camera_distance, seed)
    name = file_stem(str(clip.meta.get('recording', clip.meta['sequence'])))
    save_predictions(inside_root(folder, f'{name}.npz', 'the recording', error=DatasetError), predictions)
    return wrist_relative_errors(predictions, clip)


def mean_errors(errors: Sequence[SimulatedErrors]) -> SimulatedErrors:
    """The errors over all hands of several recordings.

    Args:
        errors: of each recording.
    """
    hands = np.array([error.num_hands for error in errors], float)
    annotated = hands / np.array([error.valid for error in errors])
    mpjpe = np.nansum(hands * [error.mpjpe_mm for error in errors]) / hands.sum()
    return SimulatedErrors(float(mpjpe), float(hands.sum() / np.nansum(annotated)), int(hands.sum()))
