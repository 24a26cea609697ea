"""The files that commands and code of the documentation read, small, as their readers would have them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from predicted_hands import hand_motion, make_predictions
from rendered_boards import board_poses, render_board
from scripted_cameras import scripted_recording
from scripted_hands import write_video

from handpose.geometry.boards import CalibrationBoard
from handpose.structures import save_predictions

SIZE = (112, 64)  # of the videos of numbered images
INTRINSICS = np.array([[100.0, 0, 56], [0, 100, 32], [0, 0, 1]])
CAMERAS = dict(frames=16, cameras=2, sides=(1,))


def hands(path: Path) -> None:
    made = make_predictions(40, ('left', 'right'), missing=[(7, 0)], intrinsics=INTRINSICS, image_size=SIZE)
    save_predictions(path, made)


def truth(path: Path) -> None:
    save_predictions(path, make_predictions(40, ('left', 'right'), noise=0.0))


def video(path: Path) -> None:
    write_video(path, 40, SIZE)


def board_videos(path: Path) -> None:
    """Two cameras that see a board of 8 x 5 squares."""
    board, second = CalibrationBoard('charuco', 8, 5, 0.03), np.eye(4)
    second[:3, :3], second[:3, 3] = cv2.Rodrigues(np.array([0.0, 0.3, 0.0]))[0], [-0.18, 0, 0.03]
    lens = np.array([[420.0, 0, 241], [0, 418, 177], [0, 0, 1]]), np.array([-0.1, 0.03, 0, 0])
    for name, camera in (('cam0', np.eye(4)), ('cam1', second)):
        (path / name).mkdir(parents=True)
        for k, pose in enumerate(board_poses(12)):
            cv2.imwrite(str(path / name / f'{k:03}.png'), render_board(board, *lens, camera @ pose, (480, 360)))


def recording_folder(path: Path) -> None:
    scripted_recording(path, **CAMERAS)


def landmarks(path: Path) -> None:
    np.savez(path, world_landmarks=hand_motion(40))


INPUTS: dict[str, Callable[[Path], None]] = {
    'hands.npz': hands,
    'truth.npz': truth,
    'landmarks.npz': landmarks,
    'hands.mp4': video,
    'kitchen.mp4': video,
    'board_videos': board_videos,
    'REC': recording_folder,
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
