"""Hands, objects and the action of a video file.

    recognizer = load_action_recognizer('htt.safetensors')
    sequence = recognizer.predict('pour.mp4')           # a HandSequence: joints_3d, object_scores, action_scores

Legend: T frames, H hands, C channels, O objects, A actions, h w the video's size.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from handpose.datasets.action_videos import scale_camera
from handpose.datasets.h2o_layout import read_camera_file
from handpose.datasets.taxonomies import configured_taxonomy
from handpose.datasets.transforms.frame import ResizeFrames
from handpose.engine import load_config, load_weights, read_header
from handpose.geometry import project_points
from handpose.inference.weights import model_config
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.visualization.video_frames import open_video

FIELD_OF_VIEW = 90.0  # degrees from the left edge to the right one; H2O's head camera sees 90.3, FPHA's 69.0
MODEL_FPS = 30.0  # of the data that the models know
FRAMES_AT_ONCE = 16
_MISSING_AT_END = 3  # frames; containers often count some too many


def load_action_recognizer(checkpoint, config=None, options=None, device='cpu'):
    """Makes an `ActionRecognizer`.

    Args:
        checkpoint: weights. A published `.safetensors` file knows its own model and its actions; a training checkpoint
            `.pth` needs `config`.
        config: path of the config that the checkpoint was trained with. options: {key: value} overrides of it.
        device: where the model runs.

    Raises:
        ValueError: a checkpoint without its config, weights that recognise no actions, or actions without names.
    """
    estimator = MODELS.build(model_config(checkpoint, config, options))
    if not hasattr(estimator, 'decode_video'):
        raise ValueError(
            f'{checkpoint} holds {type(estimator).__name__}, which recognises no actions; give weights of HTT'
        )
    if estimator.backbone is None:
        raise ValueError(f'{checkpoint} was trained on features and has no backbone; give weights that see images')
    load_weights(estimator, checkpoint)
    if config is not None:
        taxonomy = configured_taxonomy(load_config(config, options).get('test_dataset'))
        classes = None if taxonomy is None else taxonomy.metainfo()
    else:
        classes = read_header(checkpoint).get('classes')
    if classes is None:
        raise ValueError(f'{config or checkpoint} does not name the actions; give a config whose test_dataset does')
    name = f'{type(estimator).__name__} ({Path(checkpoint).name})'
    return ActionRecognizer(estimator.to(device), classes['actions'], classes['objects'], name)


@dataclass
class EncodedVideo:
    """What a model keeps of a video: one feature a frame. `notes` are sentences about what was assumed."""

    name: str
    fps: float
    size: tuple  # (w, h), pixels
    features: torch.Tensor  # (T, C)
    camera: torch.Tensor  # (3, 3), of the video
    model_camera: torch.Tensor  # (3, 3), of the pictures that the model saw
    step: int = 1  # the model sees every so manyth frame as its neighbour
    notes: list = field(default_factory=list)

    def __len__(self):
        return len(self.features)


class ActionRecognizer:
    """Reads a video of one action: hands and object of each frame, and the action of the whole.

    A video is read a few frames at a time; only features are kept, so its length is no matter. It is cut into clips as
    in testing (paper Fig. 3). A video of twice the models' 30 frames per second (or three times, ...) is taken as two
    that alternate. One of another shape than the model's pictures gets black borders.

    Args:
        estimator: `HTT`.
        actions, objects: names of the classes.
        name: what the predictions say they were made by.

    Raises:
        ValueError: as many names are needed as the model has classes.
    """

    def __init__(self, estimator, actions, objects, name=None):
        self.estimator = estimator.eval()
        self.actions, self.objects = list(actions), list(objects)
        self.name = name or type(estimator).__name__
        width, height = estimator.pose_head.image_size
        self.size = (width, height)
        device = next(estimator.parameters()).device
        features = estimator.encode_video(torch.zeros(1, 3, height, width, device=device))
        answer = estimator.decode_video(features, torch.eye(3, device=device)[None])
        for kind, names, scores in (('actions', actions, answer.action), ('objects', objects, answer.objects)):
            if scores.shape[-1] != len(names):
                raise ValueError(
                    f'{self.name} tells {scores.shape[-1]} {kind} apart, but {len(names)} are named; give the config '
                    f'that it was trained with'
                )

    def predict(self, video, camera=None, field_of_view=None):
        """The answer of a whole video.

        Args:
            video: path of the file, or what `encode` made of it.
            camera, field_of_view: of a file, see `encode`.

        Returns:
            `HandSequence` (a clip) without images, in the 'camera' frame, of every frame: joints_3d, joints_2d (pixels
            of the video), object_scores (probabilities); and action_scores, which sum to 1. `meta` names `actions` and
            `objects`, and holds `notes`.

        Raises:
            ValueError: see `encode`.
        """
        encoded = video if isinstance(video, EncodedVideo) else self.encode(video, camera, field_of_view)
        frames, device = len(encoded), encoded.features.device
        whole, action, votes = {}, 0, 0
        for phase in range(min(encoded.step, frames)):
            part = slice(phase, frames, encoded.step)
            features = encoded.features[part]
            intrinsics = encoded.model_camera.to(device).expand(len(features), 3, 3)
            output = self.estimator.decode_video(features, intrinsics)
            for name in ('joints', 'objects'):
                values = getattr(output, name).float().cpu()
                whole.setdefault(name, values.new_zeros(frames, *values.shape[1:]))[part] = values
            action, votes = action + len(features) * output.action.float().cpu(), votes + len(features)
        return self._sequence(encoded, whole['joints'], whole['objects'], action / votes)

    def running(self, encoded, every=8):
        """The action as it looks after every so many frames of an encoded video: `RunningAction`."""
        features = encoded.features[:: encoded.step]
        intrinsics = encoded.model_camera.to(features.device).expand(len(features), 3, 3)
        found = running_action(self.estimator, features, intrinsics, every=max(1, round(every / encoded.step)))
        return RunningAction(found.frames * encoded.step, found.scores)

    def encode(self, path, camera=None, field_of_view=None, progress=None):
        """Reads a video file, which is what takes the time: `EncodedVideo`.

        Args:
            path: the file.
            camera: path of a text file `fx fy cx cy width height` (pixels), the camera that made it; it may be of
                another size of the same shape. field_of_view: in its place, degrees from the left edge to the right
                one, of a camera that looks through the middle of the picture. Default `FIELD_OF_VIEW`, with a note.
            progress: called with (frames so far, frames in all, 0 unknown).

        Raises:
            ValueError: the file is not there, is no video, holds no frame; a camera that cannot be.
        """
        capture, fps, count = open_video(path)
        size = tuple(int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        matrix, notes = _camera(size, camera, field_of_view, path)
        parts, done = [], 0
        model_camera = None
        for pictures in _batches(capture, size):
            seen = self._seen(pictures, matrix)
            model_camera = seen.intrinsics[0, 0]
            device = next(self.estimator.parameters()).device
            parts.append(self.estimator.encode_video(seen.images[:, 0].to(device)))
            done += len(pictures)
            if progress is not None:
                progress(done, count)
        if not parts:
            raise ValueError(f'{path} holds no frame that can be read')
        step = max(1, round(fps / MODEL_FPS))
        notes += self._notes(done, count, fps, step)
        return EncodedVideo(Path(path).name, fps, size, torch.cat(parts), matrix, model_camera, step, notes)

    def _seen(self, pictures, matrix):
        """Frames (N, h, w, 3) and their camera (3, 3) as the model is shown them: a clip with images and intrinsics."""
        height, width = pictures.shape[1:3]
        across = max(0, round(height * self.size[0] / self.size[1]) - width)
        down = max(0, round(width * self.size[1] / self.size[0]) - height)
        left, top = across // 2, down // 2
        if across > 1 or down > 1:  # a pixel is a rounding
            pictures = np.pad(pictures, ((0, 0), (top, down - top), (left, across - left), (0, 0)))
            matrix = matrix + matrix.new_tensor([[0, 0, left], [0, 0, top], [0, 0, 0]])
        clip = HandSequence(
            images=torch.from_numpy(pictures).permute(0, 3, 1, 2)[:, None],
            intrinsics=matrix.expand(len(pictures), 1, 3, 3),
        )
        return ResizeFrames(self.size)(clip, None)

    def _notes(self, frames, count, fps, step):
        notes = []
        if count - frames > _MISSING_AT_END:
            notes.append(f'the file ends after {frames} of {count} frames: the rest of it is missing or damaged')
        speed = MODEL_FPS * step / fps
        if step > 1:
            notes.append(
                f'it has {fps:g} frames per second and the model was trained at {MODEL_FPS:g}: it is taken as {step} '
                f'videos that alternate'
            )
        if not 0.8 < speed < 1.25:
            notes.append(f'at {fps:g} frames per second, motion looks {speed:.2g} times as fast to the model as it is')
        block = self.estimator.pose_block
        needed = (1 if block is None else block.window or self.estimator.num_frames) * self.estimator.spacing * step
        if frames < needed:
            notes.append(f'it has {frames} frames, fewer than the {needed} of one window: the action rests on little')
        return notes

    def _sequence(self, encoded, joints, objects, action):
        frames, hands = joints.shape[:2]
        camera = encoded.camera.expand(frames, 1, 3, 3).clone()
        valid = joints.isfinite().all(-1)
        in_front = valid & (joints[..., 2] > 0)
        pixels = project_points(joints, camera)
        return HandSequence(
            meta=dict(
                dataset='video',
                sequence=Path(encoded.name).stem,
                cameras=['video'],
                frame_indices=list(range(frames)),
                fps=encoded.fps,
                image_size=encoded.size,
                hand_model=None,
                actions=self.actions,
                objects=self.objects,
                notes=list(encoded.notes),
            ),
            frame='camera',
            frame_valid=torch.ones(frames, dtype=torch.bool),
            timestamps=torch.arange(frames, dtype=torch.float64) / encoded.fps,
            hand_side=torch.arange(2 - hands, 2),
            hand_valid=valid.any(-1),
            intrinsics=camera,
            extrinsics=torch.eye(4).expand(frames, 1, 4, 4).clone(),
            joints_3d=joints,
            joints_valid=valid,
            joints_2d=torch.where(in_front[..., None], pixels, 0)[:, None],
            joints_2d_valid=in_front[:, None],
            object_scores=objects,
            action_scores=action,
        ).validate()


def _batches(capture, size):
    """Yields frames (N, h, w, 3) uint8 RGB of a video, a few at a time."""
    frames, there = [], True
    while there:
        there, image = capture.read()
        if there:
            frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        if frames and (len(frames) == FRAMES_AT_ONCE or not there):
            yield np.stack(frames)
            frames = []


def _camera(size, camera, field_of_view, path):
    """Intrinsics (3, 3) of a video of `size` (w, h), and notes."""
    if camera is not None and field_of_view is not None:
        raise ValueError('give a camera or a field of view, not both')
    if camera is not None:
        matrix = scale_camera(*read_camera_file(camera), size, path)
        return torch.as_tensor(matrix, dtype=torch.float32), []
    angle = FIELD_OF_VIEW if field_of_view is None else field_of_view
    if not 5 <= angle <= 170:
        raise ValueError(f'a field of view must lie between 5 and 170 degrees, got {angle:g}')
    focal = size[0] / 2 / np.tan(np.radians(angle) / 2)
    middle = [(length - 1) / 2 for length in size]
    matrix = torch.tensor([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]], dtype=torch.float32)
    note = f'no camera was given: a field of view of {angle:g} degrees across is assumed, on which all distances depend'
    return matrix, [note] if field_of_view is None else []
