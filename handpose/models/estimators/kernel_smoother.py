"""`KernelSmoother`: a small network that chooses how far to smooth each joint in each frame.

Each refined joint is the value of a parabola fitted to the joint's own input in nearby frames. The network chooses the
weights of these frames, and how far the fit may follow slope and bend: from their weighted mean, for a hand that hardly
moves, to the whole parabola, for one that moves fast. So a hand at rest stays where it is, a constant error stays as it
is (no temporal method can know it), and a correction is bounded by what the estimator gave around that frame, see
`local_parabola`. The network sees only distances between frames and the frame rate, not positions, directions or the
skeleton: it has no hand to pull the input towards, and takes any set of joints. It is trained on recorded motion with
the errors of many estimators (docs/data/noise_model.md).

Legend: N hands, T frames, J = 21 joints, W frames before and after a frame, K = 2 W + 1, C channels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handpose.geometry.tracing import is_exporting
from handpose.models.estimators.base import TrainingStep
from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.precision import without_autocast
from handpose.models.layers.temporal_kernels import (
    gaussian_mean,
    gaussian_slope,
    local_parabola,
    neighbours,
    parabola_residuals,
    weighted_mean,
)
from handpose.registry import HAND_MODELS, MODELS

MILLIMETRES = 1e3  # per metre
FLOOR = 0.1  # millimetres: smaller distances do not matter
MEAN_SIGMAS = (1.0, 2.0, 4.0, 7.0)  # frames
SLOPE_SIGMAS = (1.5, 4.0)
USUAL_RATE = 30.0  # frames per second
OUTLIER_CHANNELS = 8
FRAMES_AT_ONCE = 512
START_SIGMA = 2.0  # frames, of the Gaussian filter that the network starts from
START_RIDGE, SMALLEST_RIDGE = 1.0, -5.0  # logarithms


@MODELS.register_module()
class KernelSmoother(MotionRefiner):
    """Predicts a kernel over time for each joint and frame.

    Args:
        half_width: W.
        channels: C.
        frame_rates: the lowest and the highest frame rate that it is trained on. Between them a track is refined at
            its own rate; others are resampled to the nearer of the two.
        future_limits: share of the training clips in which it sees only a few later frames, so that it can be used
            online with any latency.
        seed: of that draw.
        fitted_hand: config of a hand model that `predict` fits to the joints, see `fit_meshes`; None means joints
            alone.
        loss: config of the loss; None for inference alone.

    Raises:
        ValueError: frame rates that are not positive and in order, or a share out of 0 to 1.
    """

    interpolates_gaps = False
    partial_skeletons = True

    def __init__(
        self,
        half_width: int = 15,
        channels: int = 64,
        frame_rates: Sequence[float] = (10.0, 60.0),
        future_limits: float = 0.0,
        seed: int = 0,
        fitted_hand: dict | None = None,
        loss: dict | None = None,
    ) -> None:
        super().__init__(num_frames=None, mirror_left_hands=False)
        lowest, highest = frame_rates
        if not 0 < lowest <= highest < float('inf'):
            raise ValueError(f'frame_rates must be the lowest and the highest rate, both positive, got {frame_rates}')
        if not 0 <= future_limits <= 1:
            raise ValueError(f'future_limits must be from 0 to 1, got {future_limits}')
        self.half_width, self.future_limits, self.seed = half_width, future_limits, seed
        self.frame_rates = (float(lowest), float(highest))
        self.look_around = half_width / lowest
        width = 2 * half_width + 1
        features = 3 * width - 3 + len(MEAN_SIGMAS) + len(SLOPE_SIGMAS) + 1
        self.embedding = nn.Linear(features, channels)
        self.hand = nn.Linear(2 * channels, channels)  # a joint beside the mean over the hand's joints
        self.block = nn.Linear(channels, channels)
        self.kernel = nn.Linear(channels, width)
        self.ridges = nn.Linear(channels, 2)  # logarithms, of slope and bend
        # Its distance from a first fit changes the weight of a frame.
        self.outlier, self.context = nn.Linear(1, OUTLIER_CHANNELS), nn.Linear(channels, OUTLIER_CHANNELS)
        self.trust = nn.Linear(OUTLIER_CHANNELS, 1, bias=False)
        nn.init.zeros_(self.trust.weight)
        nn.init.zeros_(self.kernel.weight)
        nn.init.zeros_(self.ridges.weight)
        with torch.no_grad():
            self.ridges.bias.fill_(START_RIDGE)
            self.kernel.bias.copy_(-(((torch.arange(width) - half_width) / START_SIGMA) ** 2) / 2)
        self.hand_model = None if fitted_hand is None else HAND_MODELS.build(fitted_hand)
        self.loss_function = None if loss is None else MODELS.build(loss)

    def working_rate(self, times: Tensor) -> float | None:
        """See `MotionRefiner.working_rate`: the track's own rate, within those of the training."""
        lowest, highest = self.frame_rates
        return min(max(1 / float(times.diff().median()), lowest), highest) if len(times) > 1 else None

    def frames_ahead(self, fps: float) -> int:
        """See `MotionRefiner.frames_ahead`."""
        return int(self.half_width * max(1.0, fps / self.frame_rates[1]) + 0.99)

    def forward(
        self,
        motion: Tensor,
        frame_valid: Tensor | None = None,
        joints_valid: Tensor | None = None,
        frame_rate: Tensor | None = None,
        max_ahead: int | None = None,
    ) -> RefinedMotion:
        """Smooths motions.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: (N, T) bool, False where a frame is padding; None means all are valid.
            joints_valid: (N, T, J) bool, False where a joint was not given and is interpolated, or is not there at
                all; None means all are given.
            frame_rate: (N,) frames per second; None, or NaN, means 30.
            max_ahead: the most frames after a frame that its output depends on; None means W.

        Returns:
            `RefinedMotion` with joints (N, T, J, 3). A joint without any given frame nearby stays as it is.
        """
        seen = torch.ones(motion.shape[:3], dtype=torch.bool, device=motion.device)
        seen = seen if joints_valid is None else seen & joints_valid
        seen = seen if frame_valid is None else seen & frame_valid[..., None]
        rate = motion.new_full((len(motion),), USUAL_RATE) if frame_rate is None else frame_rate.to(motion)
        rate = torch.nan_to_num(rate, nan=USUAL_RATE)
        if is_exporting():  # a graph has no loop over pieces
            return RefinedMotion(self._smooth(motion, seen, rate, max_ahead))
        with without_autocast(motion):
            parts = [
                self._smooth(motion[:, begin:end], seen[:, begin:end], rate, max_ahead)[:, skip : skip + FRAMES_AT_ONCE]
                for begin, end, skip in self._pieces(motion.shape[1])
            ]
        return RefinedMotion(torch.cat(parts, 1))

    def _pieces(self, num_frames: int) -> list[tuple[int, int, int]]:
        """Begin and end of pieces with the frames around them, and how many of these are before the piece."""
        starts = range(0, num_frames, FRAMES_AT_ONCE)
        begins = [max(0, start - self.half_width) for start in starts]
        ends = [min(num_frames, start + FRAMES_AT_ONCE + self.half_width) for start in starts]
        return [(begin, end, start - begin) for begin, end, start in zip(begins, ends, starts, strict=True)]

    def run(
        self,
        motion: Tensor,
        frame_valid: Tensor | None,
        joints_valid: Tensor | None,
        frame_rate: Tensor | None,
        step: TrainingStep | None = None,
    ) -> RefinedMotion:
        """See `MotionRefiner.run`."""
        max_ahead = None
        if step is not None:
            rng = np.random.default_rng([self.seed, step.iteration])
            # Short latencies are the most useful ones, and the hardest.
            limited, ahead = rng.random() < self.future_limits, int(self.half_width * rng.random() ** 3)
            max_ahead = ahead if limited else None
        return self(motion, frame_valid, joints_valid, frame_rate, max_ahead)

    def _smooth(self, motion: Tensor, seen: Tensor, rate: Tensor, max_ahead: int | None) -> Tensor:
        """(N, T, J, 3), (N, T, J), (N,) -> (N, T, J, 3)."""
        around = neighbours(motion, self.half_width)  # (N, T, J, K, 3)
        usable = F.pad(seen, (0, 0, self.half_width, self.half_width)).unfold(1, around.shape[3], 1)  # (N, T, J, K)
        if max_ahead is not None:
            last = self.half_width + max_ahead
            number = torch.arange(around.shape[3], device=seen.device)
            usable, around = usable & (number <= last), around[:, :, :, number.clamp(max=last)]
        given = usable.any(-1, keepdim=True)  # (N, T, J, 1)
        rates = (rate / USUAL_RATE).log()[:, None, None, None].expand(-1, *motion.shape[1:3], -1)
        x = torch.cat([_features(motion, around, usable), rates], -1)
        x = F.gelu(self.embedding(x))  # (N, T, J, C)
        hand = (x * given).sum(2, keepdim=True) / given.sum(2, keepdim=True).clamp_min(1)
        x = F.gelu(self.hand(torch.cat([x, hand.expand_as(x)], -1)))
        x = x + F.gelu(self.block(x))
        # A joint without a frame to use would divide zero by zero.
        logits = self.kernel(x).masked_fill(~usable & given, -torch.inf)
        ridges = self.ridges(x).clamp(SMALLEST_RIDGE, -2 * SMALLEST_RIDGE).exp()
        fit = ridges[..., :1], ridges[..., 1:], START_SIGMA
        residuals = parabola_residuals(around, logits.softmax(-1), *fit)
        distance = _logarithm(residuals * usable)[..., None]  # (N, T, J, K, 1)
        trust = self.trust(F.gelu(self.outlier(distance) + self.context(x)[..., None, :]))
        kernel = local_parabola((logits + trust[..., 0]).softmax(-1), *fit)
        return torch.where(given, weighted_mean(around, kernel), motion)


def _logarithm(distance: Tensor) -> Tensor:
    return (MILLIMETRES * distance + FLOOR).log() / 2 - 0.5


def _features(motion: Tensor, around: Tensor, usable: Tensor) -> Tensor:
    """Logarithms of distances (N, T, J, F) of the frames (N, T, J, 3) and those around (N, T, J, K, 3) each."""
    steps = around.diff(dim=-2)
    means = [gaussian_mean(around, usable, sigma) - motion for sigma in MEAN_SIGMAS]
    slopes = [2 * gaussian_slope(around, sigma) for sigma in SLOPE_SIGMAS]
    distances = [
        torch.linalg.vector_norm(around - motion[..., None, :], dim=-1) * usable,
        torch.linalg.vector_norm(steps, dim=-1),
        torch.linalg.vector_norm(steps.diff(dim=-2), dim=-1),
        torch.linalg.vector_norm(torch.stack([*means, *slopes], -2), dim=-1),
    ]
    return _logarithm(torch.cat(distances, -1))
