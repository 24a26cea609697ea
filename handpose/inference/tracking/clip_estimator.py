"""`ClipEstimator`: systems that see several frames of a video, such as Deformer and HTT, on hands that are tracked.

Legend: T frames of a window, H hands of the model, J the 21 common joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.geometry import field_of_view_intrinsics, project_points
from handpose.hands.sides import Side
from handpose.inference.runtimes import use_runtime
from handpose.inference.tracking.frame_memory import FrameMemory, memory_length, window_length
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate, HandRegion, missing_hand, tracked_hand
from handpose.inference.tracking.model_view import ModelView
from handpose.models import VideoEstimator
from handpose.models.estimators.base import IN_TORCH
from handpose.models.prediction import prepare_for_prediction
from handpose.registry import FRAME_ESTIMATORS
from handpose.structures import HandSequence
from handpose.video import VideoFrame
from handpose.zoo.estimators import load_estimator
from handpose.zoo.find import find_weights
from handpose.zoo.load import read_header

FIELD_OF_VIEW = 90.0  # degrees from the left edge to the right one


@dataclass
class _Track:
    side: Side
    memory: FrameMemory


@FRAME_ESTIMATORS.register_module()
class ClipEstimator:
    """Gives the joints of a `VideoEstimator` in the newest frame, from the frames before it.

    A model that reads boxes sees the crop of each tracked hand, and remembers each track by itself. Any other sees
    whole images, all of them; its hands count only where the tracker has found a hand of that side. Windows are those
    of the model: `reads.num_frames` frames that are `reads.frame_step` apart, at `reads.frame_rate` if it states one,
    else in frames of the video. At the beginning of a track they are shorter.

    It needs regions with sides and joints, as `Session(estimator=...)` gives them; it cannot follow hands itself.
    The scale is 'relative': the size of a hand is what the model has learned to assume.

    Args:
        weights: a name of the model zoo, or a `.safetensors` file that `handpose publish` wrote.
        device: of the model.
        hand_model: see `load_estimator`.
        field_of_view: degrees from the left edge to the right one, for models that need the camera of a video for
            which none is known.
        runtime: what computes the networks, see `use_runtime`; None takes the fastest.
        precision: in which they compute.

    Raises:
        ValueError: weights that cannot be loaded, or of a model that does not estimate hands in images of a video.
    """

    def __init__(
        self,
        weights: str | Path,
        device: torch.device | str = 'cpu',
        hand_model: Mapping[str, Any] | None = None,
        field_of_view: float = FIELD_OF_VIEW,
        runtime: str | None = 'torch',
        precision: str = 'float32',
    ) -> None:
        path = find_weights(weights)
        estimator = prepare_for_prediction(load_estimator(path, device, hand_model))
        name = f'{type(estimator).__name__} ({weights if str(weights) != str(path) else path.name})'
        if not isinstance(estimator, VideoEstimator):
            raise ValueError(f'{path} holds {name}, which estimates no hands in images; to refine joints: --refine')
        if estimator.gives.frame not in ('camera', 'wrist'):
            raise ValueError(f'{name} gives joints in frame {estimator.gives.frame!r}; expected camera or wrist')
        header = read_header(path)
        self.estimator, self._device, self._field_of_view = estimator, torch.device(device), field_of_view
        self._name, self._licence, self._data = name, str(header['licence'] or ''), header.get('data')
        use_runtime(estimator, runtime, precision)
        self._reads = estimator.reads
        self._window = window_length(self._reads)
        self._view = ModelView(self._reads, header, path)
        self.reset()

    @property
    def info(self) -> EstimatorInfo:
        """See `FrameEstimator`."""
        notes = [
            f'joints are those of {self._name}, which was made for images like those of {self._data or "its data"}; on '
            f'others they can be wrong in every frame (docs/guides/other_estimators.md)'
        ]
        if self.estimator.computed_by != IN_TORCH:
            notes.append(f'the networks of {self._name} are computed by {self.estimator.computed_by}')
        if 'intrinsics' in self._reads.fields and self._intrinsics is None:
            notes.append(
                f'no camera was given: a field of view of {self._field_of_view:g} degrees across is assumed, on which '
                f'the 3D joints of {self._name} depend'
            )
        return EstimatorInfo(self._name, 'relative', self._licence, notes)

    def reset(self, intrinsics: NDArray[np.float64] | None = None) -> None:
        """See `FrameEstimator`."""
        self._intrinsics = None if intrinsics is None else torch.as_tensor(intrinsics, dtype=torch.float32)
        self._tracks: dict[int, _Track] = {}
        self._whole = FrameMemory(self._reads)
        self._count = 0

    def context_start(self, times: NDArray[np.float64]) -> int:
        """See `FrameEstimator`."""
        length = memory_length(self._window, self._reads.frame_step)
        if self._reads.frame_rate is None:
            return max(0, len(times) - int(length))
        return int(np.searchsorted(times, times[-1] - length / self._reads.frame_rate)) if len(times) else 0

    @torch.no_grad()
    def estimate(self, frame: VideoFrame, regions: Sequence[HandRegion]) -> list[HandEstimate]:
        """See `FrameEstimator`."""
        rate = self._reads.frame_rate
        position = float(self._count) if rate is None else frame.time * rate
        self._count += 1
        tracked = [tracked_hand(region) for region in regions]
        hands = [(side, torch.as_tensor(points, dtype=torch.float32)) for side, points in tracked]
        if self._view.crops:
            return self._in_crops(frame.image, position, regions, hands)
        return self._in_whole_image(frame.image, position, hands)

    def _in_crops(
        self,
        image: NDArray[np.uint8],
        position: float,
        regions: Sequence[HandRegion],
        hands: Sequence[tuple[Side, Tensor]],
    ) -> list[HandEstimate]:
        found = []
        for region, (side, points) in zip(regions, hands, strict=True):
            track = self._tracks.get(region.track_id)
            if track is None or track.side is not side:  # what was seen as the other hand is of no use
                track = self._tracks[region.track_id] = _Track(side, FrameMemory(self._reads))
            box = torch.cat([points.amin(0), points.amax(0)])
            view, warp = self._view.hand(image, box)
            in_view, sides = warp.boxes(box[None])[None].to(self._device), self._sides(side)
            track.memory.add(position, self.estimator.encode_frames(view.to(self._device), in_view, sides))
            # Every crop is a camera of its own; only models of whole images read intrinsics.
            output = self._decode(track.memory, sides, None)
            joints_2d = warp.source_points(output.require('joints_2d')[-1, 0, 0].float().cpu())
            found.append(_hand(output, 0, joints_2d, side))
        for track in self._tracks.values():
            track.memory.forget(position)
        self._tracks = {track_id: track for track_id, track in self._tracks.items() if len(track.memory)}
        return found

    def _in_whole_image(
        self, image: NDArray[np.uint8], position: float, hands: Sequence[tuple[Side, Tensor]]
    ) -> list[HandEstimate]:
        view, warp = self._view.whole(image)
        self._whole.add(position, self.estimator.encode_frames(view.to(self._device)))
        if not hands:
            return []
        size = image.shape[1], image.shape[0]
        camera = self._intrinsics
        camera = field_of_view_intrinsics(size, self._field_of_view) if camera is None else camera
        output = self._decode(self._whole, self._sides(*Side), warp.intrinsics(camera))
        if output.frame == 'camera':
            pixels = project_points(output.require('joints_3d')[-1].float().cpu(), camera)
        else:
            pixels = warp.source_points(output.require('joints_2d')[-1, 0].float().cpu())
        found = [missing_hand(side is Side.RIGHT) for side, _ in hands]
        for row, side in enumerate(output.require('hand_side').tolist()):
            # The model has one hand of each side: of several tracks, the nearest one shows it.
            tracks = [n for n, (tracked, _) in enumerate(hands) if tracked == side]
            distances = [float((hands[n][1] - pixels[row]).norm(dim=-1).nan_to_num(torch.inf).mean()) for n in tracks]
            if tracks:
                nearest = tracks[int(np.argmin(distances))]
                found[nearest] = _hand(output, row, pixels[row], hands[nearest][0])
        return found

    def _decode(self, memory: FrameMemory, sides: Tensor, intrinsics: Tensor | None) -> HandSequence:
        encoded, valid = memory.window()
        if intrinsics is not None:
            intrinsics = intrinsics.to(self._device).expand(len(valid), 3, 3)
        return self.estimator.decode_track(
            encoded, frame_valid=valid.to(self._device), hand_side=sides, intrinsics=intrinsics
        )

    def _sides(self, *sides: Side) -> Tensor:
        """(H,) of the model's hands: with one hand, a model of whole images has the right one."""
        count = self._reads.num_hands or len(sides)
        return torch.tensor([int(side) for side in sides][-count:], device=self._device)


def _hand(output: HandSequence, row: int, joints_2d: Tensor, side: Side) -> HandEstimate:
    """One hand (J, ...) in the newest frame of a clip."""
    joints = output.require('joints_3d')[-1, row].float().cpu()
    valid = output.require('joints_valid')[-1, row].cpu() & joints.isfinite().all(-1) & joints_2d.isfinite().all(-1)
    if output.frame == 'camera':
        valid = valid & (joints[:, 2] > 0)
    if not valid[0]:  # nothing to be relative to
        return missing_hand(side is Side.RIGHT)
    return HandEstimate(
        joints_2d=torch.where(valid[:, None], joints_2d, torch.nan).numpy().astype(np.float32),
        joints_3d=torch.where(valid[:, None], joints - joints[:1], torch.nan).numpy().astype(np.float32),
        presence=1.0,  # whether there is a hand is not what such models estimate
        right=float(side is Side.RIGHT),
        joints_valid=valid.numpy(),
    )
