"""Refiners without parameters: classical filters, and what any refiner must beat.

Each works on the whole track. Settings are in seconds and hertz, so that a filter does the same to a motion at any
frame rate; `unit='frames'` counts frames instead, as the code published with SmoothNet (Zeng et al., ECCV 2022) does.
Frames in which the hand is missing are no neighbours: they are interpolated after filtering.
Legend: N hands, T frames, J = 21 joints, C = 63 coordinates.
"""

from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.models.layers.hand_motion import joints_to_motion, motion_to_joints
from handpose.models.layers.local_polynomials import local_polynomials
from handpose.models.layers.missing_frames import fill_missing
from handpose.registry import HAND_MODELS, MODELS

UNITS = ('seconds', 'frames')


class MotionFilter(MotionRefiner, abstract=True):
    """A refiner made of a function of numpy arrays (T, C), one hand at a time.

    Args:
        unit: of the settings, 'seconds' or 'frames'.
        fitted_hand: config of a hand model that `predict` fits to the refined joints, see `fit_meshes`; None means
            joints alone.
    """

    partial_skeletons = True
    look_ahead = 0.0  # how far after a frame the filter looks, in its unit
    look_around = 0.0  # how much of a track decides a frame, at its ends too

    def __init__(self, unit: str = 'seconds', fitted_hand: dict | None = None) -> None:
        super().__init__(num_frames=None, mirror_left_hands=False)
        if unit not in UNITS:
            raise ValueError(f"unit must be 'seconds' or 'frames', got {unit!r}")
        self.unit = unit
        self.hand_model = None if fitted_hand is None else HAND_MODELS.build(fitted_hand)

    def forward(
        self,
        motion: Tensor,
        frame_valid: Tensor | None = None,
        joints_valid: Tensor | None = None,
        times: Tensor | None = None,
    ) -> RefinedMotion:
        """Filters motions.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: (N, T) bool, frames to use; others stay as they are. None means all.
            joints_valid: ignored; `refine` filters each joint where it is given.
            times: (T,) seconds; a filter whose unit is frames does not need them.

        Returns:
            `RefinedMotion` with joints (N, T, J, 3).
        """
        refined = motion.clone()
        for n, hand in enumerate(motion):
            used = torch.ones(len(hand), dtype=torch.bool) if frame_valid is None else frame_valid[n].cpu()
            if not used.any():
                continue
            track = hand[used.to(hand.device)].flatten(1).double().cpu().numpy()
            smooth = self.smooth(track, self._times(used.numpy(), times))
            refined[n, used.to(hand.device)] = torch.from_numpy(smooth).to(motion).unflatten(1, motion.shape[2:])
        return RefinedMotion(refined)

    @torch.no_grad()
    def refine(
        self,
        joints: Tensor,
        given: Tensor,
        hand_side: Tensor,
        frame_valid: Tensor | None = None,
        wrist_at_origin: bool = False,
        times: Tensor | None = None,
    ) -> RefinedMotion:
        """See `MotionRefiner.refine`; frames that are not given are interpolated between refined ones."""
        if given.ndim == 3 and (given == given[..., :1]).all():
            given = given[..., 0]
        if given.ndim == 3:
            return self._refine_each_joint(joints, given, frame_valid, wrist_at_origin, times)
        length = len(joints) if frame_valid is None else int(frame_valid.sum())
        seen = given[:length].T  # (H, T)
        where = None if times is None else times[:length]
        filled = fill_missing(joints[:length].transpose(0, 1), seen, where)
        motion, origin = joints_to_motion(filled, seen)
        refined = fill_missing(self(motion, seen, times=where).joints, seen, where)
        if wrist_at_origin:
            refined = refined - refined[..., :1, :]
        result = joints.new_zeros(joints.shape)
        result[:length] = (motion_to_joints(refined, origin) * seen.any(1)[:, None, None, None]).transpose(0, 1)
        return RefinedMotion(result)

    def _refine_each_joint(
        self, joints: Tensor, given: Tensor, frame_valid: Tensor | None, wrist_at_origin: bool, times: Tensor | None
    ) -> RefinedMotion:
        """Refines joints (T, H, J, 3), given (T, H, J), as if each were a hand of one joint."""
        points, sides = joints.flatten(1, 2)[:, :, None], given.new_zeros(given[0].numel(), dtype=torch.long)
        refined = self.refine(points, given.flatten(1), sides, frame_valid, times=times).joints.view(joints.shape)
        return RefinedMotion(refined - refined[..., :1, :] * given.any(0)[..., None] if wrist_at_origin else refined)

    def smooth(self, track: NDArray[np.float64], times: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Filters one hand.

        Args:
            track: (T, C) float64, the frames in which the hand is seen.
            times: (T,) growing, in the filter's unit; None means frames that follow each other, where the unit is
                frames.

        Returns:
            (T, C) float64.
        """
        if times is None:
            times = self._times(np.ones(len(track), bool), None)
        return self._smooth(track, np.asarray(times, np.float64))

    def idle_above(self) -> float:
        """The longest frame period, in the filter's unit, with which the filter still changes anything."""
        return np.inf

    @abstractmethod
    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Filters one hand, (T, C) at (T,) in the filter's unit."""

    def _times(self, used: NDArray[np.bool_], times: Tensor | None) -> NDArray[np.float64]:
        if self.unit == 'frames':
            return np.flatnonzero(used).astype(np.float64)
        if times is None:
            raise ValueError(
                f"the settings of {type(self).__name__} are in seconds, so it needs the frames' timestamps; give them, "
                f"or a filter with unit='frames'"
            )
        return torch.as_tensor(times).double().cpu().numpy()[used]


@MODELS.register_module()
class InputMotion(MotionFilter):
    """Leaves the motion as it is, missing frames interpolated: the row 'input' of every table."""

    def __init__(self, fitted_hand: dict | None = None) -> None:
        super().__init__('seconds', fitted_hand)

    def forward(
        self,
        motion: Tensor,
        frame_valid: Tensor | None = None,
        joints_valid: Tensor | None = None,
        times: Tensor | None = None,
    ) -> RefinedMotion:
        """Copies motions.

        Args:
            motion: (N, T, J, 3) metres.
            frame_valid: ignored.
            joints_valid: ignored.
            times: ignored.

        Returns:
            `RefinedMotion` with joints (N, T, J, 3).
        """
        return RefinedMotion(motion.clone())

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        return track


@MODELS.register_module()
class StillHand(MotionFilter):
    """A hand that never moves: the mean over the track. It shows what an acceleration error alone is worth."""

    def __init__(self, fitted_hand: dict | None = None) -> None:
        super().__init__('frames', fitted_hand)

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.tile(track.mean(0), (len(track), 1))


@MODELS.register_module()
class SavitzkyGolayFilter(MotionFilter):
    """Least-squares polynomials over a sliding window (Savitzky and Golay, 1964), at true times.

    A window that holds at most order + 1 frames leaves its frame as it is, so at a low frame rate the filter does
    nothing. At the ends of the track, and in a track shorter than the window, the whole window around the end is
    fitted. With `unit='frames'` regular tracks are filtered as by the code published with SmoothNet (window 31,
    order 2).

    Args:
        window: length of the window, from its first to its last instant; in frames their number, of which an even one
            becomes the next smaller odd one, as published.
        order: of the polynomials; in frames below the window.
        unit: of the window, 'seconds' or 'frames'.
        fitted_hand: see `fit_meshes`.
    """

    def __init__(
        self, window: float = 1 / 3, order: int = 3, unit: str = 'seconds', fitted_hand: dict | None = None
    ) -> None:
        super().__init__(unit, fitted_hand)
        if not 0 < window < np.inf or order < 0:
            raise ValueError(f'window must be positive and order at least 0, got {window} and {order}')
        if unit == 'frames' and (window <= order or window != int(window)):
            raise ValueError(f'window must be a whole number of frames larger than order, got {window} and {order}')
        self.window, self.order = window, order
        self.half_width = window / 2 if unit == 'seconds' else (int(window) - 1) // 2
        self.look_ahead, self.look_around = self.half_width, 2 * self.half_width

    def idle_above(self) -> float:
        """See `MotionFilter.idle_above`."""
        return self.half_width / (self.order // 2 + 1)

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.half_width == 0 or len(track) < 2:
            return track
        return local_polynomials(track, times, self.half_width, self.order, np.ones_like, shift_at_ends=True)


@MODELS.register_module()
class GaussianFilter(MotionFilter):
    """Gaussian weights over time, at true times.

    Args:
        sigma: of the weights, which end at four sigmas; default 0.08 s, or in frames the published 3.
        order: of the polynomial that is fitted with these weights. 1 is the plain weighted mean, which pulls a curved
            path inwards by acceleration * sigma^2 / 2; 3 (the default) follows the curvature, and takes a larger sigma
            for the same noise.
        unit: of sigma and window: 'seconds', or 'frames', which is the only one that `chunked` takes.
        chunked: what the code published with SmoothNet does: the track is cut into pieces of `window` frames (in a
            shorter track, its length), each is filtered alone with the plain mean and its ends reflected, and the rest
            at the track's end stays as it is.
        window: frames of such a piece; an even number becomes the next smaller odd one, as published.
        fitted_hand: see `fit_meshes`.
    """

    def __init__(
        self,
        sigma: float | None = None,
        order: int = 3,
        unit: str | None = None,
        chunked: bool = False,
        window: int = 31,
        fitted_hand: dict | None = None,
    ) -> None:
        unit = unit or ('frames' if chunked else 'seconds')
        super().__init__(unit, fitted_hand)
        sigma = sigma if sigma is not None else 0.08 if unit == 'seconds' else 3.0
        if not 0 < sigma < np.inf or order < 0 or window < 1:
            raise ValueError(
                f'sigma and window must be positive and order at least 0, got {sigma}, {window} and {order}'
            )
        if chunked and unit != 'frames':
            raise ValueError("chunked=True is the published filter, which counts frames: give unit='frames'")
        self.sigma, self.order, self.chunked = sigma, order, chunked
        self.window = window - 1 + window % 2 if window > 1 else 1
        self.look_ahead = self.window if chunked else 4 * sigma
        self.look_around = self.look_ahead

    def idle_above(self) -> float:
        """See `MotionFilter.idle_above`."""
        return 4 * self.sigma / (self.order // 2 + 1)

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.chunked:
            return self._in_pieces(track)
        if len(track) < 2:
            return track
        return local_polynomials(track, times, 4 * self.sigma, self.order, lambda x: np.exp(-8 * x**2))

    def _in_pieces(self, track: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.ndimage import gaussian_filter1d

        length = min(self.window, len(track))
        whole = len(track) // length * length
        pieces = track[:whole].reshape(-1, length, track.shape[1])
        filtered = gaussian_filter1d(pieces, self.sigma, axis=1, mode='reflect', truncate=4.0)
        return np.concatenate([filtered.reshape(whole, -1), track[whole:]])


@MODELS.register_module()
class OneEuroFilter(MotionFilter):
    """A low-pass filter that lets more through the faster a coordinate moves (Casiez et al., CHI 2012). Causal.

    Args:
        min_cutoff: cut-off frequency of a coordinate at rest, hertz; with `unit='frames'` cycles per frame (published
            with SmoothNet: 0.04).
        beta: how much the cut-off rises with the speed times `scale`: hertz per metre per second, which is the same
            number in cycles per frame and metres per frame (published: 0.7).
        derivative_cutoff: cut-off of the speed's own filter, in the unit of `min_cutoff` (published: 1).
        scale: what a metre is multiplied with before `beta` sees it.
        unit: 'seconds' or 'frames'.
        fitted_hand: see `fit_meshes`.
    """

    def __init__(
        self,
        min_cutoff: float = 5.0,
        beta: float = 300.0,
        derivative_cutoff: float = 5.0,
        scale: float = 1.0,
        unit: str = 'seconds',
        fitted_hand: dict | None = None,
    ) -> None:
        super().__init__(unit, fitted_hand)
        if min(min_cutoff, derivative_cutoff, scale) <= 0 or beta < 0:
            raise ValueError('min_cutoff, derivative_cutoff and scale must be positive and beta not negative')
        self.min_cutoff, self.beta, self.derivative_cutoff, self.scale = min_cutoff, beta, derivative_cutoff, scale
        # After so many time constants nothing is left of older frames.
        self.look_around = 20 / (2 * np.pi * min(min_cutoff, derivative_cutoff))

    def _smooth(self, track: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
        refined, speed = [track[0]], np.zeros_like(track[0])
        for now, step in zip(track[1:], np.diff(times), strict=True):
            # The speed compares the new value with the last answer, as the paper's algorithm does.
            share = _share(self.derivative_cutoff * step)
            speed = share * (now - refined[-1]) / step * self.scale + (1 - share) * speed
            share = _share((self.min_cutoff + self.beta * np.abs(speed)) * step)
            refined.append(share * now + (1 - share) * refined[-1])
        return np.stack(refined)


def _share(cycles: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Weight of the newest value in a first-order low-pass filter; its cut-off in cycles per step."""
    turn = 2 * np.pi * cycles
    return turn / (turn + 1)
