"""Hands, objects and the action of a video file.

    recognizer = load_action_recognizer('htt.safetensors')
    sequence = recognizer.predict('pour.mp4')           # a HandSequence: joints_3d, object_scores, action_scores

Legend: T frames, H hands, C channels, O objects, A actions, h w the video's size.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from handpose.datasets.h2o.layout import read_camera_file
from handpose.datasets.io.action_videos import configured_taxonomy, scale_camera
from handpose.datasets.transforms.frame import ResizeFrames
from handpose.engine import load_config, load_weights, read_header
from handpose.geometry import project_points
from handpose.inference.frame_slots import FrameSlots, frame_slots
from handpose.inference.plausibility import plausible_hands
from handpose.inference.weights import model_config
from handpose.models import EncodedFrames, VideoEstimator
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.video import VideoReader, frame_period
from handpose.video.reader import batches

FIELD_OF_VIEW = 90.0  # degrees from the left edge to the right one; H2O's head camera sees 90.3, FPHA's 69.0
HANDS = {'left': (0,), 'right': (1,), 'both': (0, 1)}
LONGEST_PAUSE = 1.0  # seconds between two frames; longer ones are shortened to it
FRAMES_AT_ONCE, PIXELS_AT_ONCE = 16, 2**24
STILL = 1.5  # grey levels: an image sequence that changes less is a still picture with the noise of compression


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
    if not isinstance(estimator, VideoEstimator) or 'actions' not in estimator.gives.classes:
        raise ValueError(
            f'{checkpoint} holds {type(estimator).__name__}, which recognises no actions; give weights of HTT'
        )
    if 'images' not in estimator.reads.fields:
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
    """What a model keeps of a video: one feature a frame, and the frames' times. `notes` say what was assumed."""

    name: str
    times: np.ndarray  # (T,), seconds from the first frame
    size: tuple  # (w, h), pixels
    features: torch.Tensor  # (T, C)
    camera: torch.Tensor  # (3, 3), of the video
    model_camera: torch.Tensor  # (3, 3), of the images that the model saw
    slots: FrameSlots  # which frames the model sees one after the other
    still: bool  # no image differs visibly from the first one
    reader: str  # the library that read it: 'PyAV' or 'OpenCV'
    notes: list = field(default_factory=list)

    def __len__(self):
        return len(self.features)

    @property
    def fps(self) -> float | None:
        """Typical frames per second, or None of a single frame."""
        period = frame_period(self.times)
        return None if period is None else 1 / period


class ActionRecognizer:
    """Reads a video of one action: hands and object of each frame, and the action of the whole.

    A video is read a few frames at a time; only one feature a frame is kept. It is cut into clips as in testing (paper
    Fig. 3). Frames are shown to the model at the rate that it was trained at, by their times: a video of twice the rate
    is taken as two that alternate, and in a slower one the nearest frame stands for a missing one. A video of another
    shape than the model's images gets black borders.

    HTT gives both hands, an object and an action of every video. It has no output that says whether a hand is there, so
    `hand_valid` marks hands that can be visible ones (see `plausible_hands`) and does not verify that they are; and its
    scores are not calibrated for videos that show none of its actions.

    Args:
        estimator: one that gives hands, objects and actions, e.g. `HTT`.
        actions, objects: names of the classes.
        name: what the predictions say they were made by.

    Raises:
        ValueError: as many names are needed as the model has classes.
    """

    def __init__(self, estimator, actions, objects, name=None):
        self.estimator = estimator.eval()
        self.actions, self.objects = list(actions), list(objects)
        self.name = name or type(estimator).__name__
        self.size = estimator.reads.image_size
        for kind, names in (('actions', actions), ('objects', objects)):
            count = estimator.gives.classes[kind]
            if count != len(names):
                raise ValueError(
                    f'{self.name} tells {count} {kind} apart, but {len(names)} are named; give the config '
                    f'that it was trained with'
                )

    def predict(
        self,
        video: 'str | Path | EncodedVideo',
        camera: str | None = None,
        field_of_view: float | None = None,
        hands: str = 'both',
    ) -> HandSequence:
        """The answer of a whole video.

        Args:
            video: path of the file, or what `encode` made of it.
            camera, field_of_view: of a file, see `encode`.
            hands: which hands the video shows: 'left', 'right' or 'both'. The other one is never valid.

        Returns:
            `HandSequence` (a clip) without images, in the 'camera' frame, of every frame: joints_3d, joints_2d (pixels
            of the video), object_scores (probabilities); and action_scores, which sum to 1. `hand_valid` and
            `joints_valid` are True where a hand is asked for and plausible. `meta` names `actions` and `objects`, and
            holds `notes`, `still` and `reader`.

        Raises:
            ValueError: see `encode`; unknown `hands`, or one that the model does not give.
        """
        sides = range(2 - self.estimator.reads.num_hands, 2)
        if hands not in HANDS or not set(HANDS[hands]) & set(sides):
            given = 'both' if len(sides) == 2 else 'right'
            raise ValueError(f'hands must be one of {", ".join(HANDS)}, got {hands!r}; {self.name} gives {given}')
        encoded = video if isinstance(video, EncodedVideo) else self.encode(video, camera, field_of_view)
        count, device = len(encoded), encoded.features.device
        whole, action = {}, 0
        for frames, own in zip(encoded.slots.frames, encoded.slots.own, strict=True):
            features = encoded.features[torch.as_tensor(frames, device=device)]
            intrinsics = encoded.model_camera.to(device).expand(len(features), 3, 3)
            track = self.estimator.decode_track(EncodedFrames(features), intrinsics=intrinsics)
            for name, values in (('joints', track.joints_3d), ('objects', track.object_scores)):
                values = values.float().cpu()
                whole.setdefault(name, values.new_zeros(count, *values.shape[1:]))[frames[own]] = values[own]
            action = action + own.sum() / count * track.action_scores.float().cpu()
        return self._sequence(encoded, whole['joints'], whole['objects'], action, hands)

    def running(self, encoded: EncodedVideo, every: int = 8) -> RunningAction:
        """The action as it looks after every so many frames of an encoded video: `RunningAction`."""
        frames, period = encoded.slots.frames[0], encoded.slots.period
        features = encoded.features[torch.as_tensor(frames, device=encoded.features.device)]
        intrinsics = encoded.model_camera.to(features.device).expand(len(features), 3, 3)
        slots = round(every * (frame_period(encoded.times) or period) / period)
        found = running_action(self.estimator, EncodedFrames(features), intrinsics, every=max(1, slots))
        places, first = np.unique(frames[found.frames.numpy()], return_index=True)  # a frame may stand in many slots
        return RunningAction(torch.from_numpy(places), found.scores[torch.from_numpy(first)])

    def encode(
        self,
        path: str | Path,
        camera: str | None = None,
        field_of_view: float | None = None,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> EncodedVideo:
        """Reads a video file, which is what takes the time: `EncodedVideo`.

        Args:
            path: the file.
            camera: path of a text file `fx fy cx cy width height` (pixels), the camera that made it; it may be of
                another size of the same shape. field_of_view: in its place, degrees from the left edge to the right
                one, of a camera that looks through the middle of the image. Default `FIELD_OF_VIEW`, with a note.
            progress: called with (seconds so far, seconds in all as the file states them or None).

        Raises:
            ValueError: the file is not there, is no video, holds no frame; a camera that cannot be.
        """
        reader = VideoReader(path)
        device = next(self.estimator.parameters()).device
        frames = iter(reader)
        parts, times, change, first = [], [], 0.0, None
        start = next(frames)
        size = start.image.shape[1::-1]
        matrix, notes = _camera(size, camera, field_of_view, path)
        at_once = max(1, min(FRAMES_AT_ONCE, PIXELS_AT_ONCE // (size[0] * size[1])))
        for batch in batches(itertools.chain([start], frames), at_once):
            seen = self._seen(np.stack([frame.image for frame in batch]), matrix)
            images = seen.images[:, 0]
            first = images[:1].float() if first is None else first
            change = max(change, float((images.float() - first).abs().mean((1, 2, 3)).max()))
            parts.append(self.estimator.encode_frames(images.to(device)).features)
            times += [frame.time for frame in batch]
            if progress is not None:
                progress(times[-1], reader.duration)
        slots = frame_slots(times, self.estimator.reads.frame_rate, LONGEST_PAUSE)
        notes += reader.notes + self._notes(np.array(times), slots)
        still = change < STILL
        features, model_camera = torch.cat(parts), seen.intrinsics[0, 0]
        return EncodedVideo(
            Path(path).name, np.array(times), size, features, matrix, model_camera, slots, still, reader.backend, notes
        )

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

    def _notes(self, times, slots):
        notes, reads = [], self.estimator.reads
        rate = reads.frame_rate
        period = frame_period(times)
        fps = rate if period is None else 1 / period
        if len(slots.own) > 1 and slots.own[1].mean() > 0.5:
            notes.append(
                f'it has {fps:.4g} frames per second and the model was trained at {rate:g}: it is taken as '
                f'{len(slots.own)} videos that alternate'
            )
        if slots.own[0].mean() < 0.9:
            notes.append(
                f'its frames are fewer or less regular ({fps:.4g} per second, typically) than the {rate:g} per '
                f'second that the model was trained at: the nearest frame stands for those that are missing'
            )
        pauses = int((np.diff(times) > LONGEST_PAUSE).sum())
        if pauses:
            notes.append(f'pauses without a frame, shortened to {LONGEST_PAUSE:g} s for the model: {pauses}')
        needed = reads.min_frames * reads.frame_step
        seen = slots.own.shape[1]
        if seen < needed:
            notes.append(
                f'it has {seen} frames at the rate of the model, fewer than the {needed} of one window: the action '
                f'rests on little'
            )
        return notes

    def _sequence(self, encoded, joints, objects, action, chosen):
        frames, hands = joints.shape[:2]
        camera = encoded.camera.expand(frames, 1, 3, 3).clone()
        pixels = project_points(joints, camera)
        sides = torch.arange(2 - hands, 2)
        asked = torch.tensor([side in HANDS[chosen] for side in sides.tolist()])
        valid = plausible_hands(joints, pixels, encoded.size) & asked
        joints_valid = valid[..., None].expand(joints.shape[:-1]).clone()
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
                still=encoded.still,
                reader=encoded.reader,
            ),
            frame='camera',
            frame_valid=torch.ones(frames, dtype=torch.bool),
            timestamps=torch.from_numpy(encoded.times.copy()),
            hand_side=sides,
            hand_valid=valid,
            intrinsics=camera,
            extrinsics=torch.eye(4).expand(frames, 1, 4, 4).clone(),
            joints_3d=joints,
            joints_valid=joints_valid,
            joints_2d=torch.where(joints_valid[..., None], pixels, 0)[:, None],
            joints_2d_valid=joints_valid[:, None],
            object_scores=objects,
            action_scores=action,
        ).validate()


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
