"""Refiners without parameters: classical filters, and what any refiner must beat.

Each works on the whole track. The settings of SmoothNet's comparison (Zeng et al., ECCV 2022) are the defaults, so that
its tables and PDTM's can be repeated. Legend: N hands, T frames, J = 21 joints.
"""

import numpy as np
import torch

from handpose.models.estimators.motion_refiner import MotionRefiner, RefinedMotion
from handpose.registry import HAND_MODELS, MODELS


class _Filter(MotionRefiner):
    """A refiner made of a function of numpy arrays (T, 63), one hand at a time.

    Args:
        fitted_hand: config of a hand model that `predict` fits to the refined joints, see `fit_meshes`; None: joints
            alone.
    """

    def __init__(self, fitted_hand: dict | None = None):
        super().__init__(num_frames=None, mirror_left_hands=False)
        self.hand_model = None if fitted_hand is None else HAND_MODELS.build(fitted_hand)

    def forward(self, motion, frame_valid=None):
        """(N, T, J, 3) -> `RefinedMotion` with joints (N, T, J, 3); frames that are padding stay as they are."""
        refined = motion.clone()
        for n, hand in enumerate(motion):
            real = slice(None) if frame_valid is None else frame_valid[n]
            track = hand[real].flatten(1).double().cpu().numpy()
            refined[n, real] = torch.from_numpy(self.smooth(track)).to(motion).unflatten(1, motion.shape[2:])
        return RefinedMotion(refined)

    def smooth(self, track):
        """(T, C) float64 -> (T, C)."""
        raise NotImplementedError


@MODELS.register_module()
class InputMotion(_Filter):
    """Leaves the motion as it is, missing frames interpolated: the row 'input' of every table."""

    def smooth(self, track):
        """See `_Filter.smooth`."""
        return track


@MODELS.register_module()
class StillHand(_Filter):
    """A hand that never moves: the mean over the track. It shows what an acceleration error alone is worth."""

    def smooth(self, track):
        """See `_Filter.smooth`."""
        return np.tile(track.mean(0), (len(track), 1))


@MODELS.register_module()
class SavitzkyGolayFilter(_Filter):
    """Least-squares polynomials over a sliding window (Savitzky and Golay, 1964), by `scipy.signal.savgol_filter`.

    Args:
        window: frames; an even one becomes the next smaller odd one, as published with SmoothNet. A longer window than
            the track becomes the track's length.
        order: of the polynomials, below the window. fitted_hand: see `fit_meshes`.
    """

    def __init__(self, window: int = 31, order: int = 2, fitted_hand: dict | None = None):
        super().__init__(fitted_hand)
        if window <= order or order < 0:
            raise ValueError(f'window must be larger than order, got {window} and {order}')
        self.window, self.order = window, order

    def smooth(self, track):
        """See `_Filter.smooth`; a track of at most `order` frames stays as it is."""
        from scipy.signal import savgol_filter

        window = min(self.window, len(track))
        window -= 1 - window % 2
        return track if window <= self.order else savgol_filter(track, window, self.order, axis=0)


@MODELS.register_module()
class GaussianFilter(_Filter):
    """Gaussian weights over time, by `scipy.ndimage.gaussian_filter1d` (edges repeat the nearest frame).

    Args:
        sigma: frames. window: frames of the kernel, odd.
        chunked: cuts the track into pieces of `window` frames, each filtered alone, and leaves the rest at its end as
            it is: what SmoothNet's comparison does. False filters the whole track at once.
        fitted_hand: see `fit_meshes`.
    """

    def __init__(self, sigma: float = 3.0, window: int = 31, chunked: bool = False, fitted_hand: dict | None = None):
        super().__init__(fitted_hand)
        if not sigma > 0 or window < 1 or window % 2 == 0:
            raise ValueError(f'sigma must be positive and window odd, got {sigma} and {window}')
        self.sigma, self.window, self.chunked = sigma, window, chunked

    def smooth(self, track):
        """See `_Filter.smooth`."""
        if not self.chunked:
            return self._filter(track)
        whole = len(track) // self.window * self.window
        pieces = [self._filter(piece) for piece in track[:whole].reshape(-1, self.window, track.shape[1])]
        return np.concatenate([*pieces, track[whole:]])

    def _filter(self, track):
        from scipy.ndimage import gaussian_filter1d

        return gaussian_filter1d(track, self.sigma, axis=0, mode='nearest', radius=self.window // 2)


@MODELS.register_module()
class OneEuroFilter(_Filter):
    """A low-pass filter that lets more through the faster a coordinate moves (Casiez et al., CHI 2012). Causal.

    Frequencies are per frame, as in SmoothNet's comparison, so that the defaults do not depend on the frame rate.

    Args:
        min_cutoff: cut-off frequency of a coordinate at rest, cycles per frame.
        beta: how much the cut-off rises with the speed, per metre per frame times `scale`.
        derivative_cutoff: cut-off of the speed's own filter, cycles per frame.
        scale: what a metre is multiplied with before `beta` sees it. fitted_hand: see `fit_meshes`.
    """

    def __init__(
        self,
        min_cutoff: float = 0.04,
        beta: float = 0.7,
        derivative_cutoff: float = 1.0,
        scale: float = 1.0,
        fitted_hand: dict | None = None,
    ):
        super().__init__(fitted_hand)
        if min(min_cutoff, derivative_cutoff, scale) <= 0 or beta < 0:
            raise ValueError('min_cutoff, derivative_cutoff and scale must be positive and beta not negative')
        self.min_cutoff, self.beta, self.derivative_cutoff, self.scale = min_cutoff, beta, derivative_cutoff, scale

    def smooth(self, track):
        """See `_Filter.smooth`."""
        refined, speed = [track[0]], np.zeros_like(track[0])
        for now in track[1:]:
            # The speed compares the new value with the last answer, as the paper's algorithm does.
            share = _share(self.derivative_cutoff)
            speed = share * (now - refined[-1]) * self.scale + (1 - share) * speed
            share = _share(self.min_cutoff + self.beta * np.abs(speed))
            refined.append(share * now + (1 - share) * refined[-1])
        return np.stack(refined)


def _share(cutoff):
    """Weight of the newest value in a first-order low-pass filter with this cut-off, one frame a step."""
    step = 2 * np.pi * cutoff
    return step / (step + 1)
