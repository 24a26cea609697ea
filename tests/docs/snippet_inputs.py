"""The files that commands and code of the documentation read, small, as their readers would have them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from predicted_hands import hand_motion, make_predictions
from rendered_boards import board_poses, render_board
from scripted_cameras import ScriptedCameras, scripted_recording
from scripted_hands import write_video

from handpose.cli import main
from handpose.geometry import rotvec_to_rotmat
from handpose.geometry.boards import CalibrationBoard
from handpose.structures import Calibration, CameraCalibration, save_predictions

SIZE = (112, 64)  # of the videos of numbered images
INTRINSICS = np.array([[100.0, 0, 56], [0, 100, 32], [0, 0, 1]])

# Options of built-in data of each layout.
IMAGES = {'subjects': 3, 'sequences': 5, 'frames': 24, 'cameras': 1, 'size': 64}
ACTIONS = ['grab milk', 'place milk', 'open milk', 'close milk']
VIDEOS = {'subjects': 4, 'videos': 1, 'test_videos': 1, 'frames': 24, 'max_frames': 32, 'width': 64, 'height': 36}
POSES = {'subjects': 3, 'sequences': 5, 'frames': 40, 'cameras': 1}
TWO_HANDS = {'subjects': 4, 'sequences': 1, 'frames': 16}
SMALL_DATA = {
    'dexycb': IMAGES,
    'ho3d': IMAGES,
    'h2o': VIDEOS | {'actions': ACTIONS},
    'fpha': VIDEOS,
    'interhand': POSES,
    'reinterhand': POSES,
    'hanco': POSES,
    'assembly101': {'subjects': 4, 'repetitions': 1},
    'exo': TWO_HANDS | {'exo_width': 64, 'exo_height': 36},
    'ego': TWO_HANDS | {'ego_width': 64, 'ego_height': 48},
    'assemblyhands': TWO_HANDS | {'exo_width': 64, 'exo_height': 36, 'ego_width': 64, 'ego_height': 48},
}
LAYOUTS = [name for name in SMALL_DATA if name not in ('exo', 'ego')]


def data_words(layout: str) -> list[str]:
    """The options of `handpose make-data` for small data."""
    words = ['--workers', '1']
    for name, value in SMALL_DATA[layout].items():
        words += [f'--{name.replace("_", "-")}', *(value if isinstance(value, list) else [str(value)])]
    return words


def hands(path: Path) -> None:
    made = make_predictions(40, ('left', 'right'), missing=[(7, 0)], intrinsics=INTRINSICS, image_size=SIZE)
    save_predictions(path, made)


def truth(path: Path) -> None:
    save_predictions(path, make_predictions(40, ('left', 'right'), noise=0.0))


def video(path: Path) -> None:
    write_video(path, 40, SIZE)


def two_cameras() -> Calibration:
    """Side by side, the world is that of the first; hands and board are half a metre before them."""
    second = torch.eye(4, dtype=torch.float64)
    second[:3, :3], second[:3, 3] = rotvec_to_rotmat(torch.tensor([0.0, 0.3, 0.0])), torch.tensor([-0.18, 0, 0.03])
    lens = dict(
        image_size=(640, 480),
        intrinsics=torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]),
        model='radial_tangential',
        distortion=torch.tensor([-0.1, 0.03, 0, 0]),
    )
    poses = {'cam0': torch.eye(4, dtype=torch.float64), 'cam1': second}
    return Calibration([CameraCalibration(name=name, extrinsics=pose, **lens) for name, pose in poses.items()])


def board_videos(path: Path) -> None:
    """What the two cameras see of a moving board of 8 x 5 squares."""
    board = CalibrationBoard('charuco', 8, 5, 0.03)
    for camera in two_cameras():
        (path / camera.name).mkdir(parents=True)
        lens = camera.intrinsics.numpy(), camera.distortion.numpy()
        for k, pose in enumerate(board_poses(12)):
            image = render_board(board, *lens, camera.extrinsics.numpy() @ pose, camera.image_size)
            cv2.imwrite(str(path / camera.name / f'{k:03}.png'), image)


def recording_folder(path: Path) -> ScriptedCameras:
    """Videos of the two cameras; returns what plays the networks that look at them."""
    return scripted_recording(path, frames=16, calibration=two_cameras(), sides=(1,))


def landmarks(path: Path) -> None:
    np.savez(path, world_landmarks=hand_motion(40))


def built_in(layout: str) -> Callable[[Path], None]:
    """Built-in data in the layout of a dataset."""

    def make(path: Path) -> None:
        main('make-data', ['--layout', layout, '--root', str(path), *data_words(layout)])

    return make


def data_of(config: str, layout: str) -> Callable[[Path], None]:
    """The built-in data of a config, with fewer of everything."""

    def make(path: Path) -> None:
        main('make-data', ['--config', config, '--root', str(path), *data_words(layout)])

    return make


def motion(path: Path) -> None:
    """A motion file of built-in data."""
    with TemporaryDirectory() as folder:
        built_in('dexycb')(Path(folder) / 'data')
        main('dexycb-to-motion', [f'{folder}/data', '-o', str(path)])


INPUTS: dict[str, Callable[[Path], object]] = {
    'hands.npz': hands,
    'truth.npz': truth,
    'landmarks.npz': landmarks,
    'hands.mp4': video,
    'kitchen.mp4': video,
    'board_videos': board_videos,
    'REC': recording_folder,
    'data/synthetic_dexycb': built_in('dexycb'),
    'data/dexycb': built_in('dexycb'),
    'data/synthetic_h2o': built_in('h2o'),
    'data/h2o': built_in('h2o'),
    'data/synthetic_interhand': built_in('interhand'),
    'data/synthetic_assembly101': built_in('assembly101'),
    'data/assembly101': built_in('assembly101'),
    'data/synthetic_assemblyhands_exo': data_of('assemblyhands/synthetic_mvexonet', 'exo'),
    'data/synthetic_assemblyhands_ego': data_of('assemblyhands/synthetic_svegonet', 'ego'),
    'data/assemblyhands': built_in('assemblyhands'),
    'data/dexycb_motion.npz': motion,
    'motion.npz': motion,
    'a.npz': hands,
    'b.npz': hands,
    'video.mp4': video,
    'pour.mp4': video,
    'clip.mp4': video,
    'new.mp4': video,
}


class Inputs:
    """Makes each input once, and copies it to where a page needs it.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def provide(self, name: str, folder: Path) -> None:
        """Puts an input into the folder of a page, unless the page has made the file itself."""
        name = name.rstrip('/')
        target = folder / name
        if name not in INPUTS or target.exists():
            return
        made = self.folder / name
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            INPUTS[name](made)
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if made.is_dir() else shutil.copyfile)(made, target)
