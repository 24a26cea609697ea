"""Recognizes hands, objects and the action of a video file.

    recognizer = load_action_recognizer('htt_synthetic')
    sequence = recognizer.predict('pour.mp4')           # a HandSequence: joints_3d, object_scores, action_scores

Legend: T frames, H hands, C channels, O objects, A actions, h w the video's size.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.datasets.h2o.layout import read_camera_file
from handpose.datasets.io.action_videos import configured_taxonomy, scale_camera
from handpose.engine import load_config, load_weights, read_header
from handpose.geometry import field_of_view_intrinsics, project_points
from handpose.inference.frame_assignment import FrameAssignment, assign_frames
from handpose.inference.hand_plausibility import plausible_hands
from handpose.inference.model_config import model_config
from handpose.models import EncodedFrames, VideoEstimator
from handpose.models.estimators.running_action import RunningAction, running_action
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import MODELS
from handpose.structures import HandSequence
from handpose.video import VideoReader, frame_period, letterbox
from handpose.video.reader import batches
from handpose.zoo.find import find_weights

FIELD_OF_VIEW = 90.0  # degrees from the left edge to the right one; H2O's head camera has 90.3, FPHA's 69.0
HANDS = {'left': (0,), 'right': (1,), 'both': (0, 1)}
MAX_PAUSE = 1.0  # seconds between two frames; longer ones are shortened to it
MAX_BATCH_FRAMES, MAX_BATCH_PIXELS = 16, 2**24
STATIC_LEVELS = 1.5  # grey levels: a video that changes less is a static image with the noise of compression


def load_action_recognizer(
    checkpoint: str | Path,
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: torch.device | str = 'cpu',
) -> 'ActionRecognizer':
    """Creates an `ActionRecognizer`.

    Args:
        checkpoint: weights: a file, or a name in the zoo. A published `.safetensors` file describes its model and its
            actions; a training checkpoint `.pth` needs `config`.
        config: path of the config that the checkpoint was trained with.
        options: {key: value} that override the config.
        device: of the model.

    Returns:
        The recognizer.

    Raises:
        ValueError: a checkpoint without its config, weights that recognize no actions, or actions without names.
    """
    checkpoint = find_weights(checkpoint)
    estimator = MODELS.build(model_config(checkpoint, config, options))
    if 'actions' not in estimator.gives.classes:
        raise ValueError(
            f'{checkpoint} contains weights of {type(estimator).__name__}, which recognizes no actions; '
            f'give weights of a model that recognizes actions'
        )
    if not isinstance(estimator, VideoEstimator):
        raise ValueError(
            f'{checkpoint} contains weights of {type(estimator).__name__}, which recognizes actions from the motion of '
            f'hands and reads no images: give it a predictions file (.npz), which `handpose infer VIDEO -o hands.npz` '
            f'makes'
        )
    if 'images' not in estimator.reads.fields:
        raise ValueError(
            f'{checkpoint} was trained on features and has no backbone; give weights of a model that processes images'
        )
    load_weights(estimator, checkpoint)
    classes = class_names(checkpoint, config, options)
    name = f'{type(estimator).__name__} ({Path(checkpoint).name})'
    return ActionRecognizer(prepare_for_prediction(estimator.to(device)), classes['actions'], classes['objects'], name)


def class_names(
    checkpoint: str | Path, config: str | Path | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """Finds the names of the classes that weights were trained on.

    Args:
        checkpoint: path of the weights.
        config: path of the config that the checkpoint was trained with; None means that the file names them itself.
        options: {key: value} that override the config.

    Returns:
        {'actions': names, 'objects': names}, and 'verbs'.

    Raises:
        ValueError: neither names the actions.
    """
    if config is not None:
        taxonomy = configured_taxonomy(load_config(config, options).get('test_dataset'))
        classes = None if taxonomy is None else taxonomy.metainfo()
    else:
        classes = read_header(checkpoint).get('classes')
    if classes is None:
        raise ValueError(f'{config or checkpoint} does not name the actions; give a config whose test_dataset does')
    return classes


@dataclass
class EncodedVideo:
    """The features of a video, one per frame, from which predictions are computed.

    Attributes:
        name: of the file.
        times: (T,) seconds from the first frame.
        size: (width, height), pixels.
        features: (T, C).
        intrinsics: (3, 3), of the video.
        model_intrinsics: (3, 3), of the images that the model received.
        assignment: which frames the model processes, one after the other.
        static: no image differs visibly from the first one.
        reader: the library that read the file: 'PyAV' or 'OpenCV'.
        notes: assumptions, one message each.
    """

    name: str
    times: NDArray[np.float64]
    size: tuple[int, int]
    features: Tensor
    intrinsics: Tensor
    model_intrinsics: Tensor
    assignment: FrameAssignment
    static: bool
    reader: str
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def fps(self) -> float | None:
        """Typical frames per second, or None for a single frame."""
        period = frame_period(self.times)
        return None if period is None else 1 / period


class ActionRecognizer:
    """Recognizes one action in a video: hands and object of each frame, and the action of the whole video.

    A video is read a few frames at a time; only one feature per frame is kept. It is split into clips as in testing
    (paper Fig. 3). The model processes frames at the frame rate that it was trained at, by their times: a video of
    twice that rate is treated as two that alternate, and in a slower one the nearest frame replaces a missing one. A
    video of another aspect ratio than the model's images gets black borders (`letterbox`).

    HTT predicts both hands, an object and an action for every video. It has no output for the presence of a hand, so
    `hand_valid` marks plausible hands (see `plausible_hands`) and does not verify that they are present; and its scores
    are not calibrated for videos that show none of its actions.

    Args:
        estimator: one that predicts hands, objects and actions, e.g. `HTT`.
        actions: names of the action classes.
        objects: names of the object classes.
        name: that the source of the predictions states.

    Raises:
        ValueError: the number of names is not that of the model's classes.
    """

    def __init__(
        self, estimator: VideoEstimator, actions: Sequence[str], objects: Sequence[str], name: str | None = None
    ) -> None:
        self.estimator = estimator.eval()
        self.actions, self.objects = list(actions), list(objects)
        self.name = name or type(estimator).__name__
        self.size = estimator.reads.image_size
        for kind, names in (('actions', actions), ('objects', objects)):
            count = estimator.gives.classes[kind]
            if count != len(names):
                raise ValueError(
                    f'{self.name} distinguishes {count} {kind}, but {len(names)} are named; give the config that it '
                    f'was trained with'
                )

    def predict(
        self,
        video: 'str | Path | EncodedVideo',
        camera: str | Path | None = None,
        field_of_view: float | None = None,
        hands: str = 'both',
    ) -> HandSequence:
        """Recognizes hands, objects and the action of a whole video.

        Args:
            video: path of the file, or the output of `encode`.
            camera: of a file, see `encode`.
            field_of_view: of a file, see `encode`.
            hands: which hands the video shows: 'left', 'right' or 'both'. The other one is never valid.

        Returns:
            A clip without images, in the 'camera' frame, with all frames: joints_3d, joints_2d (pixels of the video),
            object_scores (probabilities); and action_scores, which sum to 1. `hand_valid` and `joints_valid` are True
            where a hand is requested and plausible. `meta` contains the names `actions` and `objects`, `notes`,
            `static` and `reader`.

        Raises:
            ValueError: see `encode`; unknown `hands`, or one that the model does not predict.
        """
        sides = range(2 - self.estimator.reads.num_hands, 2)
        if hands not in HANDS or not set(HANDS[hands]) & set(sides):
            predicted = 'both' if len(sides) == 2 else 'right'
            raise ValueError(
                f'hands must be one of {", ".join(HANDS)}, got {hands!r}; {self.name} predicts {predicted}'
            )
        encoded = video if isinstance(video, EncodedVideo) else self.encode(video, camera, field_of_view)
        count, device = len(encoded), encoded.features.device
        outputs: dict[str, Tensor] = {}
        action = torch.zeros(())
        for frames, assigned in zip(encoded.assignment.frames, encoded.assignment.assigned, strict=True):
            features = encoded.features[torch.as_tensor(frames, device=device)]
            intrinsics = encoded.model_intrinsics.to(device).expand(len(features), 3, 3)
            track = self.estimator.decode_track(EncodedFrames(features), intrinsics=intrinsics)
            for name, values in (('joints', track.joints_3d), ('objects', track.object_scores)):
                values = values.float().cpu()
                output = outputs.setdefault(name, values.new_zeros(count, *values.shape[1:]))
                output[frames[assigned]] = values[assigned]
            action = action + assigned.sum() / count * track.action_scores.float().cpu()
        return self._sequence(encoded, outputs['joints'], outputs['objects'], action, hands)

    def running_action(self, encoded: EncodedVideo, every: int = 8) -> RunningAction:
        """Recognizes the action after every few frames, from the frames of one clip length before.

        Args:
            encoded: output of `encode`.
            every: frames from one prediction to the next.

        Returns:
            Frames of the video, and the action scores after each of them.
        """
        frames, period = encoded.assignment.frames[0], encoded.assignment.period
        features = encoded.features[torch.as_tensor(frames, device=encoded.features.device)]
        intrinsics = encoded.model_intrinsics.to(features.device).expand(len(features), 3, 3)
        slots = round(every * (frame_period(encoded.times) or period) / period)
        found = running_action(self.estimator, EncodedFrames(features), intrinsics, every=max(1, slots))
        unique, first = np.unique(frames[found.frames.numpy()], return_index=True)  # a frame may be in several slots
        return RunningAction(torch.from_numpy(unique), found.scores[torch.from_numpy(first)])

    def encode(
        self,
        path: str | Path,
        camera: str | Path | None = None,
        field_of_view: float | None = None,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> EncodedVideo:
        """Reads a video file and computes its features, which is the slow step.

        Args:
            path: the file.
            camera: path of a text file `fx fy cx cy width height` (pixels), the camera of the video; it may be for
                another size of the same aspect ratio.
            field_of_view: instead of a camera: degrees from the left edge to the right one, of a camera whose principal
                point is the centre of the image. Default `FIELD_OF_VIEW`, with a note.
            progress: called with (seconds so far, seconds in all as the file states them or None).

        Returns:
            The encoded video.

        Raises:
            ValueError: the file does not exist, is not a video, or contains no frame; an invalid camera.
        """
        reader = VideoReader(path)
        device = next(self.estimator.parameters()).device
        frames = iter(reader)
        features, times, change = [], [], 0.0
        first = next(frames)
        height, width = first.image.shape[:2]
        intrinsics, notes = _intrinsics((width, height), camera, field_of_view, path)
        image, warp = letterbox(first.image, self.size)
        first_image = _as_tensor([image]).float()
        batch_size = max(1, min(MAX_BATCH_FRAMES, MAX_BATCH_PIXELS // (width * height)))
        for batch in batches(itertools.chain([first], frames), batch_size):
            images = _as_tensor([letterbox(frame.image, self.size)[0] for frame in batch])
            change = max(change, float((images.float() - first_image).abs().mean((1, 2, 3)).max()))
            features.append(self.estimator.encode_frames(images.to(device)).features)
            times += [frame.time for frame in batch]
            if progress is not None:
                progress(times[-1], reader.duration)
        assignment = assign_frames(times, self.estimator.reads.frame_rate, MAX_PAUSE)
        return EncodedVideo(
            name=Path(path).name,
            times=np.array(times),
            size=(width, height),
            features=torch.cat(features),
            intrinsics=intrinsics,
            model_intrinsics=warp.intrinsics(intrinsics),
            assignment=assignment,
            static=change < STATIC_LEVELS,
            reader=reader.backend,
            notes=notes + reader.notes + self._notes(np.array(times), assignment),
        )

    def _notes(self, times: NDArray[np.float64], assignment: FrameAssignment) -> list[str]:
        """What was assumed about the frame rate."""
        notes, reads, assigned = [], self.estimator.reads, assignment.assigned
        rate = reads.frame_rate
        period = frame_period(times)
        fps = rate if period is None else 1 / period
        if len(assigned) > 1 and assigned[1].mean() > 0.5:
            notes.append(
                f'it has {fps:.4g} frames per second and the model was trained at {rate:g}: it is treated '
                f'as {len(assigned)} videos that alternate'
            )
        if assigned[0].mean() < 0.9:
            notes.append(
                f'its frames are fewer or less regular ({fps:.4g} per second, typically) than the {rate:g} per '
                f'second that the model was trained at: the nearest frame replaces those that are missing'
            )
        pauses = int((np.diff(times) > MAX_PAUSE).sum())
        if pauses:
            notes.append(f'pauses without a frame, shortened to {MAX_PAUSE:g} s for the model: {pauses}')
        needed = reads.min_frames * reads.frame_step
        num_frames = assigned.shape[1]
        if num_frames < needed:
            notes.append(
                f'it has {num_frames} frames at the frame rate of the model, fewer than the {needed} of one window: '
                f'the action is based on little'
            )
        return notes

    def _sequence(
        self, encoded: EncodedVideo, joints: Tensor, objects: Tensor, action: Tensor, hands: str
    ) -> HandSequence:
        """The predictions as a clip: joints (T, H, 21, 3), object scores (T, O), action scores (A,)."""
        frames, num_hands = joints.shape[:2]
        intrinsics = encoded.intrinsics.expand(frames, 1, 3, 3).clone()
        pixels = project_points(joints, intrinsics)
        sides = torch.arange(2 - num_hands, 2)
        requested = torch.tensor([side in HANDS[hands] for side in sides.tolist()])
        valid = plausible_hands(joints, pixels, encoded.size) & requested
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
                static=encoded.static,
                reader=encoded.reader,
            ),
            frame='camera',
            frame_valid=torch.ones(frames, dtype=torch.bool),
            timestamps=torch.from_numpy(encoded.times.copy()),
            hand_side=sides,
            hand_valid=valid,
            intrinsics=intrinsics,
            extrinsics=torch.eye(4).expand(frames, 1, 4, 4).clone(),
            joints_3d=joints,
            joints_valid=joints_valid,
            joints_2d=torch.where(joints_valid[..., None], pixels, 0)[:, None],
            joints_2d_valid=joints_valid[:, None],
            object_scores=objects,
            action_scores=action,
        ).validate()


def _as_tensor(images: Sequence[NDArray]) -> Tensor:
    """Images (h, w, 3) as a batch (N, 3, h, w)."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _intrinsics(
    size: tuple[int, int], camera: str | Path | None, field_of_view: float | None, path: str | Path
) -> tuple[Tensor, list[str]]:
    """Intrinsics (3, 3) of a video of `size` (w, h), and notes."""
    if camera is not None and field_of_view is not None:
        raise ValueError('give a camera or a field of view, not both')
    if camera is not None:
        scaled = scale_camera(*read_camera_file(camera), size, path)
        return torch.as_tensor(scaled, dtype=torch.float32), []
    angle = FIELD_OF_VIEW if field_of_view is None else field_of_view
    matrix = field_of_view_intrinsics(size, angle)
    note = f'no camera was given: a field of view of {angle:g} degrees across is assumed, on which all distances depend'
    return matrix, [note] if field_of_view is None else []
