"""The files that commands and code of the documentation read, small, as their readers would have them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from annotated_recordings import make_recording
from mano_files import write_plain
from motions import NAMES, make_motion
from predicted_hands import hand_motion, make_predictions
from rendered_boards import board_poses, render_board
from scripted_cameras import ScriptedCameras, scripted_recording
from scripted_hands import write_video
from snippet_pages import ROOT

import handpose
from handpose.cli import main
from handpose.datasets.motion.motion_file import write_motion
from handpose.engine import load_config
from handpose.geometry import rotvec_to_rotmat
from handpose.geometry.boards import CalibrationBoard
from handpose.hands import from_common
from handpose.registry import MODELS
from handpose.structures import Calibration, CameraCalibration, save_predictions
from handpose.structures.recording_file import save_annotated_recording
from handpose.video import VideoWriter
from handpose.zoo.find import find_weights

SIZE = (112, 64)  # of the videos of numbered images
INTRINSICS = np.array([[100.0, 0, 56], [0, 100, 32], [0, 0, 1]])

# Options of built-in data of each layout.
IMAGES = {'subjects': 3, 'sequences': 5, 'frames': 24, 'cameras': 1, 'size': 64}
ACTIONS = ['grab milk', 'place milk']
VIDEOS = {'subjects': 4, 'videos': 2, 'test_videos': 1, 'frames': 16, 'max_frames': 16, 'width': 64, 'height': 36}
POSES = {'subjects': 3, 'sequences': 5, 'frames': 40, 'cameras': 1}
TWO_HANDS = {'subjects': 4, 'sequences': 1, 'frames': 16}
SMALL_DATA = {
    'dexycb': IMAGES,
    'ho3d': IMAGES,
    'h2o': VIDEOS | {'actions': ACTIONS},
    'fpha': VIDEOS | {'subjects': 2, 'actions': ['open_milk', 'close_milk']},
    'interhand': POSES,
    'assembly101': {'subjects': 4, 'repetitions': 1},
    'exo': TWO_HANDS | {'exo_width': 64, 'exo_height': 36},
    'ego': TWO_HANDS | {'ego_width': 64, 'ego_height': 48},
    'assemblyhands': TWO_HANDS | {'exo_width': 64, 'exo_height': 36, 'ego_width': 64, 'ego_height': 48},
}


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


def motion(frames: int) -> Callable[[Path], None]:
    """A motion file of ten recordings of DexYCB's third subject."""
    others = ['20200709-subject-01/20200709_100000', '20200813-subject-02/20200813_100000']
    changes = dict(absent=(), all_sequence_names=[*others, *NAMES])
    return lambda path: write_motion(path, make_motion(sequences=range(10), frames=frames, **changes))


def nyu_estimators(path: Path) -> None:
    """What real estimators gave for the joints of NYU, and the truth."""
    draw = np.random.default_rng(0)
    truth = draw.normal(0, 0.04, (14, 3)) + (0, 0, 0.7) + np.zeros((70, 1, 1))
    predictions = truth + draw.normal(0, 0.003, (2, 70, 14, 3))
    names = np.arange(14).astype(str)
    np.savez(path, truth=truth, predictions=predictions, joint_names=names, estimators=['a', 'b'], fps=30.0)


def seconds_of_hands(noise: float) -> Callable[[Path], None]:
    return lambda path: save_predictions(path, make_predictions(90, noise=noise))


def camera_text(path: Path) -> None:
    path.write_text('100 100 56 32 112 64')  # as the page of one's own actions describes it


def camera_json(path: Path) -> None:
    path.write_text(json.dumps({'intrinsics': INTRINSICS.tolist(), 'image_size': SIZE}))


def anipose_cameras(path: Path) -> None:
    """In millimetres, which the file does not say."""
    text = ''
    for camera, name in zip(two_cameras(), ('left', 'right'), strict=True):
        rotvec = cv2.Rodrigues(camera.extrinsics[:3, :3].numpy())[0][:, 0]
        values = {
            'name': name,
            'size': [1280, 720],
            'matrix': [[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]],
            'distortions': [*camera.distortion.tolist(), 0.0],
            'rotation': rotvec.tolist(),
            'translation': (1000 * camera.extrinsics[:3, 3]).tolist(),
        }
        text += f'[cam_{name}]\n' + ''.join(f'{key} = {json.dumps(value)}\n' for key, value in values.items())
    path.write_text(text)


def rectified_cameras(path: Path) -> None:
    """As AssemblyHands has them beside its videos, without the image size."""
    lines = []
    for camera in two_cameras():
        pose = camera.extrinsics[:3].clone()
        pose[:, 3] *= 1000  # millimetres
        rows = [[1500, 0, 960], [0, 1500, 540], [0, 0, 1], [0, 0], *pose.tolist()]
        lines += [camera.name, *(' '.join(map(str, row)) for row in rows), '']
    path.write_text('\n'.join(lines))


def board_video(path: Path) -> None:
    """What the camera on this side sees of the board."""
    camera = two_cameras().cameras[path.stem == 'right']
    board, lens = CalibrationBoard('charuco', 8, 5, 0.03), (camera.intrinsics.numpy(), camera.distortion.numpy())
    with VideoWriter(path, 30.0) as writer:
        for pose in board_poses(12):
            image = render_board(board, *lens, camera.extrinsics.numpy() @ pose, camera.image_size)
            writer.write(np.repeat(image[..., None], 3, -1))


def weights(name: str) -> Callable[[Path], object]:
    return lambda path: shutil.copyfile(find_weights(name), path)


def forecast(path: Path) -> None:
    with TemporaryDirectory() as folder:
        hands(Path(folder) / 'hands.npz')
        main('forecast', [f'{folder}/hands.npz', '-o', str(path), '--samples', '4', '--seconds', '0.5'])


def long_recording(path: Path) -> None:
    save_annotated_recording(path, make_recording(frames=250, cameras=2, sides=(1,)))


def nyu(path: Path) -> None:
    joints, _ = from_common(torch.from_numpy(hand_motion(40)), 'nyu')
    np.save(path, joints.numpy())


def hamer(path: Path) -> None:
    """Rows of detected hands, as HaMeR and WiLoR-mini give them."""
    right = hand_motion(20)
    rows = dict(keypoints_3d=right - right[:, :1], cam_t=right[:, 0] + [0, 0, 20], is_right=np.ones(20))
    np.savez(path, **rows, frame_index=np.arange(20), image_size=[640, 480])


def mano(path: Path) -> None:
    shape = (4, 2, 16, 3)
    np.savez(path, hand_pose=np.zeros(shape), hand_shape=np.zeros((2, 10)), hand_transl=np.ones((4, 2, 3)))


def hand_model_files(path: Path) -> None:
    path.mkdir()
    write_plain(path)


def interhand(path: Path) -> None:
    np.savez(path, joints=1000 * np.concatenate([hand_motion(20)] * 2, 1), valid=np.ones((20, 42)))


def checkpoint(name: str) -> Callable[[Path], None]:
    """What training would write that ends with these weights of the model zoo, or the one of a config at its start."""

    def make(path: Path) -> None:
        estimator = MODELS.build(load_config(name).model) if '/' in name else handpose.load(name)
        state = {f'estimator.{key}': value for key, value in estimator.state_dict().items()}
        torch.save({'state_dict': state, 'meta': {'hand_model': 'procedural-1', 'epoch': 2}}, path)

    return make


def own_recordings(path: Path) -> None:
    """Recordings of the actions of the reader's own list, with images and as predictions files."""
    built_in('h2o')(path)
    for file in path.glob('label_split/action_*.txt'):
        header, *rows = (row.split() for row in file.read_text().splitlines())
        for number, row in enumerate(rows):
            row[2] = str(1 + number % 4)
        file.write_text('\n'.join(' '.join(row) for row in [header, *rows]) + '\n')
    shutil.copyfile(path / 'label_split' / 'action_train.txt', path / 'label_split' / 'action_val.txt')
    (path / 'bert').mkdir()
    for seed, name in enumerate(('anna_kitchen_1', 'anna_kitchen_2', 'bert/kitchen_1')):
        save_predictions(path / f'{name}.npz', make_predictions(200, ('left', 'right'), noise=0.001 * (1 + seed)))


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
    'data/dexycb_motion.npz': motion(frames=24),
    'docs/data/noise_model.md:data/dexycb_motion.npz': motion(frames=90),
    'motion.npz': motion(frames=24),
    'a.npz': hands,
    'b.npz': hands,
    'video.mp4': video,
    'pour.mp4': video,
    'clip.mp4': video,
    'new.mp4': video,
    'camera.txt': camera_text,
    'K.json': camera_json,
    'calib.txt': rectified_cameras,
    'calibration.toml': anipose_cameras,
    'left.mp4': board_video,
    'right.mp4': board_video,
    'refiner.safetensors': weights('pdtm_synthetic'),
    'mine.safetensors': weights('deformer_synthetic'),
    'my_weights.safetensors': weights('deformer_synthetic'),
    'refined.npz': hands,
    'future.npz': forecast,
    'recording.npz': long_recording,
    'nyu.npy': nyu,
    'names.txt': lambda path: path.write_text('open jar\nclose jar\n'),
    'data/mine': own_recordings,
    'work_dirs/deformer_synthetic/epoch_2.pth': checkpoint('deformer_synthetic'),
    'work_dirs/deformer_synthetic_paper/epoch_11.pth': checkpoint('deformer/synthetic_paper'),
    'work_dirs/deformer_synthetic/metrics.json': lambda path: path.write_text('{"model": {"pa_mpjpe_mm": 9.0}}'),
    'docs/guides/forecast.md:pour.mp4': lambda path: write_video(path, 330, SIZE),
    'hamer.npz': hamer,
    'wilor.npz': hamer,
    'mano.npz': mano,
    **{f'seed_{seed}.pth': checkpoint('ghtt_synthetic') for seed in range(3)},
    'scaling.json': lambda path: shutil.copyfile(ROOT / 'docs' / 'images' / 'scaling.json', path),
    'data/mano': hand_model_files,
    'joints.npz': interhand,
    'docs/guides/other_estimators.md:hamer.npz': hands,
    'detector.npz': lambda path: np.savez(path, joints=hand_motion(90)),
    'nyu_subject1.npz': nyu_estimators,
    **{f'{name}.npz': seconds_of_hands(0.003) for name in ('cam0', 'cam1')},
    **{f'{name}_truth.npz': seconds_of_hands(0.0) for name in ('cam0', 'cam1')},
}


class Inputs:
    """Makes each input once, and copies it to where a page needs it.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def provide(self, name: str, page: str, folder: Path) -> None:
        """Puts an input into the folder of a page, unless the page has made the file itself."""
        name = name.rstrip('/')
        key = f'{page}:{name}' if f'{page}:{name}' in INPUTS else name
        target = folder / name
        if key not in INPUTS or target.exists():
            return
        made = self.folder / key.replace(':', '/')
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            INPUTS[key](made)
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if made.is_dir() else shutil.copyfile)(made, target)
