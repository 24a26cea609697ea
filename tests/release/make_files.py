"""Writes one file of every kind, for later versions to read: python tests/release/make_files.py

Run it once for each minor release and commit the folder; what is in the repository is never written again. Everything
comes from built-in data and seeds. `config.py` must be in the folder (copy that of the previous release).
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from file_contents import CONTENTS, LOCAL_CONFIG, exported, resumed, trained

import handpose
from handpose.cli import main as command
from handpose.datasets.io.packing import pack_frames
from handpose.datasets.motion.motion_file import RecordedMotion, read_motion, write_motion
from handpose.inference import forecast_motion
from handpose.models import DampedVelocity
from handpose.structures import (
    AnnotatedRecording,
    Calibration,
    CameraCalibration,
    Predictions,
    TextFeatures,
    save_annotated_recording,
    save_forecast,
    save_predictions,
    write_calibration,
)
from handpose.structures.recording_marks import RecordingMark, RecordingMarks, marks_path, save_recording_marks

FOLDER = Path(__file__).with_name(f'files_{handpose.__version__.replace(".", "_")}')
LENS = torch.tensor([-0.08, 0.03, 0.0005, -0.0004])
LICENCE = 'Apache-2.0; built-in data'


def built_in(root: Path) -> tuple[RecordedMotion, list[str]]:
    """The motion of one subject of the built-in data with fitted hands, and images of it."""
    shape = ['--subjects', '1', '--sequences', '5', '--frames', '24', '--cameras', '2', '--size', '64']
    command('make-data', ['--root', str(root), *shape, '--workers', '1'])
    command('dexycb-to-motion', [str(root), '-o', f'{root}/motion.npz'])
    command('fit-motion', [f'{root}/motion.npz', '-o', f'{root}/fitted.npz'])
    images = sorted(str(path) for path in root.rglob('color_*.jpg'))
    return read_motion(root / 'fitted.npz'), images[10:13] + images[-3:]


def calibrated(motion: RecordedMotion) -> Calibration:
    """The cameras of the motion, with lenses that distort."""
    poses = motion.camera_extrinsics[0]
    parts = zip(motion.camera_serials, motion.camera_sizes, motion.camera_intrinsics, poses, strict=True)
    return Calibration(
        [
            CameraCalibration(
                name, (int(w), int(h)), torch.tensor(matrix), 'radial_tangential', LENS, torch.tensor(pose)
            )
            for name, (w, h), matrix, pose in parts
        ]
    )


def annotated(motion: RecordedMotion, cameras: Calibration) -> AnnotatedRecording:
    """The first sequence as a recording of these cameras, with one view and one joint missing."""
    rows = motion.frames_of(0)
    joints = motion.joints[rows, None]
    frames, views = len(joints), len(cameras.cameras)
    seen, valid = np.ones((frames, views, 1), bool), np.ones((frames, 1, 21), bool)
    seen[3, 1], valid[5, 0, 8] = False, False
    return AnnotatedRecording(
        calibration=cameras,
        videos=[f'{name}.mp4' for name in cameras.names],
        timestamps=np.arange(frames) / motion.fps,
        hand_side=motion.hand_side[:1],
        frame_indices=np.tile(np.arange(frames)[:, None], (1, views)),
        joints_2d=np.stack([camera.project(torch.tensor(joints).double()).numpy() for camera in cameras], 1),
        joints_2d_valid=seen,
        detection_confidence=np.full(seen.shape, 0.9),
        views_used=np.ones((*seen.shape, 21), bool),
        triangulated=joints,
        triangulated_valid=valid,
        joints_3d=joints,
        joints_valid=valid,
        method='truth of the built-in data',
        hand_pose=motion.hand_pose[rows, None],
        hand_shape=motion.hand_shape[:1],
        hand_transl=motion.hand_transl[rows, None],
        hand_pose_valid=np.ones((frames, 1), bool),
        hand_model=motion.hand_model,
    )


def predicted(motion: RecordedMotion) -> Predictions:
    """The second sequence as an estimator might give it: noise, a missing frame, confidences, another frame rate."""
    joints = motion.joints[motion.frames_of(1), None] + np.random.default_rng(0).normal(0, 0.003, (1, 1, 21, 3))
    valid = np.ones(joints.shape[:2], bool)
    valid[7] = False
    return Predictions(
        joints,
        valid,
        np.arange(len(joints)) / 25,
        motion.hand_side[1:2],
        'camera',
        confidence=np.full(joints.shape[:3], 0.75),
        track_ids=np.full(valid.shape, 4),
        source='built-in data with noise',
        licence=LICENCE,
    )


def write_small_files(folder: Path, motion: RecordedMotion) -> None:
    """All files but the packed store and those of the network."""
    write_motion(folder / 'motion.npz', motion)
    cameras = calibrated(motion)
    for suffix in ('json', 'toml'):
        write_calibration(folder / f'calibration.{suffix}', cameras)
    save_annotated_recording(folder / 'recording.npz', annotated(motion, cameras))
    marked = RecordingMark(2, 4, (cameras.names[1],), 'redo'), RecordingMark(9, 9)
    save_recording_marks(marks_path(folder / 'recording.npz'), RecordingMarks(marked))
    hands = predicted(motion)
    save_predictions(folder / 'predictions.npz', hands)
    save_forecast(folder / 'forecast.npz', forecast_motion(hands, DampedVelocity(), seconds=0.4, num_samples=None))
    TextFeatures.compositional(['pour milk', 'open milk']).save(folder / 'text_features.npz')


def write_network_files() -> None:
    """A checkpoint after one epoch of `config.py`, its weights as a published file, and the exported network."""
    work_dir = Path('..', 'trained')  # relative paths: those of this machine are in no file
    trained(work_dir, epochs=1)
    shutil.copy(work_dir / 'epoch_1.pth', 'checkpoint.pth')
    published = str(work_dir / 'published.safetensors')
    command('publish', ['checkpoint.pth', LOCAL_CONFIG, '-o', published, '--licence', LICENCE])
    (path,) = work_dir.glob('published-*.safetensors')
    shutil.copy(path, 'published.safetensors')
    command('export-model', ['published.safetensors', '-o', 'exported.onnx'])


def main() -> None:
    done = [path.name for path in FOLDER.glob('*') if path.name not in (LOCAL_CONFIG, '__pycache__')]
    if done or not (FOLDER / LOCAL_CONFIG).exists():
        raise SystemExit(
            f'{FOLDER} must hold {LOCAL_CONFIG} and nothing else, found {", ".join(done) or "no such file"}'
        )
    with tempfile.TemporaryDirectory() as name:
        work_dir, folder = Path(name), Path(name, 'files')
        shutil.copytree(FOLDER, folder)
        motion, images = built_in(work_dir / 'data')
        write_small_files(folder, motion)
        pack_frames(folder / 'packed', work_dir / 'data', images)
        os.chdir(folder)
        write_network_files()
        contents = {kind: read(folder) for kind, read in CONTENTS.items()}
        contents['exported'], contents['resumed'] = exported(folder), resumed(work_dir / 'resumed')
        (folder / 'contents.json').write_text(json.dumps(contents, indent=1) + '\n', encoding='utf-8')
        shutil.copytree(folder, FOLDER, dirs_exist_ok=True)
    for path in sorted(FOLDER.rglob('*')):
        print(f'{path.stat().st_size:8} {path.relative_to(FOLDER)}')


if __name__ == '__main__':
    main()
