"""What the files of a release contain, as numbers: `make_files.py` records them, `test_files.py` reads them again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike

import handpose
from handpose.datasets.io.packed_frames import PackedFrames
from handpose.datasets.motion.motion_file import read_motion
from handpose.engine import build_runner, load_config, run_settings
from handpose.inference import load_refiner
from handpose.runtime import ExportedModel, refine_track
from handpose.structures import (
    Calibration,
    TextFeatures,
    load_annotated_recording,
    load_forecast,
    load_predictions,
    read_calibration,
)
from handpose.structures.recording_marks import load_recording_marks

LOCAL_CONFIG = 'config.py'


def summary(values: ArrayLike | torch.Tensor) -> dict[str, Any]:
    """An array: its shape, how many values are finite, and two sums of those, one that depends on their order."""
    array = np.asarray(values)
    flat = array.astype(np.float64).ravel()
    finite = np.isfinite(flat)
    flat = np.where(finite, flat, 0)
    places = np.cos(np.arange(flat.size))
    return dict(shape=list(array.shape), finite=int(finite.sum()), sum=float(flat.sum()), places=float(flat @ places))


def summaries(found: object, names: str) -> dict[str, Any]:
    """Of each of some attributes: `summary` of an array, the value of anything else."""
    values = {name: getattr(found, name) for name in names.split()}
    return {name: summary(v) if isinstance(v, (np.ndarray, torch.Tensor)) else v for name, v in values.items()}


def predictions(folder: Path) -> dict[str, Any]:
    names = 'joints valid timestamps hand_side frame confidence track_ids source licence scale'
    return summaries(load_predictions(folder / 'predictions.npz'), names)


def forecast(folder: Path) -> dict[str, Any]:
    found = load_forecast(folder / 'forecast.npz')
    observed = summaries(found.observed, 'joints timestamps')
    return summaries(found, 'joints joints_valid timestamps model seed') | {'observed': observed}


def recording(folder: Path) -> dict[str, Any]:
    found = load_annotated_recording(folder / 'recording.npz')
    names = 'timestamps hand_side frame_indices joints_2d joints_2d_valid detection_confidence views_used triangulated '
    names += 'joints_3d joints_valid hand_pose hand_shape hand_transl hand_model method'
    return summaries(found, names) | {'videos': list(found.videos), 'cameras': cameras(found.calibration)}


def marks(folder: Path) -> list[str]:
    return [str(mark) for mark in load_recording_marks(folder / 'recording_marks.json').marks]


def cameras(found: Calibration) -> list[dict[str, Any]]:
    return [summaries(camera, 'name intrinsics distortion extrinsics model') for camera in found]


def calibration(folder: Path) -> dict[str, Any]:
    return {suffix: cameras(read_calibration(folder / f'calibration.{suffix}')) for suffix in ('json', 'toml')}


def motion(folder: Path) -> dict[str, Any]:
    names = 'joints frame_valid sequence_names sequence_lengths hand_side fps all_sequence_names camera_serials '
    names += 'camera_intrinsics camera_extrinsics table object_names object_transl hand_pose hand_shape hand_model'
    return summaries(read_motion(folder / 'motion.npz'), names)


def packed(folder: Path) -> dict[str, Any]:
    store = PackedFrames(folder / 'packed', root='data')
    names = [store.table.name(place) for place in range(len(store))]
    found = {}
    for path, data, error in store.read([f'data/{name}' for name in names]):
        assert error is None, error
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        found[path] = [len(data), *image.shape, round(float(image.mean()))]  # decoders differ by one grey level
    return found


def text_features(folder: Path) -> dict[str, Any]:
    found = TextFeatures.load(folder / 'text_features.npz')
    return summaries(found, 'features model kind') | {'names': list(found.names)}


def published(folder: Path) -> dict[str, Any]:
    """Published weights, loaded by name of the file, as a refiner of the predictions."""
    estimator = handpose.load(folder / 'published.safetensors')
    refined = load_refiner(folder / 'published.safetensors').refine(load_predictions(folder / 'predictions.npz'))
    return {'class': type(estimator).__name__, 'reads': estimator.reads.num_frames, 'refined': summary(refined.joints)}


def exported(folder: Path) -> dict[str, Any]:
    """An exported network; needs ONNX Runtime."""
    hands = load_predictions(folder / 'predictions.npz')
    model = ExportedModel(folder / 'exported.onnx', runtime='onnxruntime')
    refined = refine_track(model, hands.joints[:, 0], int(hands.hand_side[0]), hands.timestamps, hands.valid[:, 0])
    return {'estimator': model.metadata['estimator'], 'refined': summary(refined)}


def resumed(work_dir: Path) -> dict[str, Any]:
    """Resumes the checkpoint of the first epoch for a second one; to be called in the folder of the files."""
    work_dir.mkdir(exist_ok=True)
    shutil.copy('checkpoint.pth', work_dir / 'epoch_1.pth')
    return trained(work_dir, epochs=2, resume=work_dir / 'epoch_1.pth')


def trained(work_dir: Path, epochs: int, resume: Path | None = None) -> dict[str, Any]:
    """The weights after some epochs of `config.py`; to be called in its folder."""
    torch.set_num_threads(1)
    options = {'epochs': epochs, 'resume': resume is not None, 'load_from': None if resume is None else str(resume)}
    runner = build_runner(run_settings(load_config(LOCAL_CONFIG, options), work_dir))
    runner.train()
    weights = {name: summary(value.detach()) for name, value in runner.model.state_dict().items()}
    return {'epoch': runner.epoch, 'iteration': runner.iter, 'weights': weights}


CONTENTS: dict[str, Callable[[Path], Any]] = {
    'predictions': predictions,
    'forecast': forecast,
    'recording': recording,
    'marks': marks,
    'calibration': calibration,
    'motion': motion,
    'packed': packed,
    'text_features': text_features,
    'published': published,
}
