"""The spectrum of hand motion and of its errors, as numbers and as a figure."""

from collections.abc import Mapping, Sequence

import numpy as np

from handpose.visualization.figures import figure_image, figure_with_axes

SEGMENT = 48  # frames: a frequency step of 0.6 Hz at 30 frames per second, and most recordings are long enough


def motion_spectrum(tracks: Sequence[np.ndarray], fps: float, segment: int = SEGMENT) -> tuple[np.ndarray, np.ndarray]:
    """Power spectral density of wrist-relative joint coordinates (Welch, Hann windows, half overlapping).

    Args:
        tracks: arrays (T, 21, 3) metres without gaps; those shorter than `segment` frames are left out.
        fps: frames per second.

    Returns:
        frequencies (F,) Hz above zero, and densities (F,) mm^2 / Hz: the mean over joints (but for the wrist),
        coordinates and tracks, each track weighted by its frames.

    Raises:
        ValueError: no track is long enough.
    """
    from scipy.signal import welch

    total = np.zeros(1)
    frames = 0
    for joints in tracks:
        if len(joints) < segment:
            continue
        relative = 1000 * (joints - joints[:, :1])[:, 1:].reshape(len(joints), -1).astype(np.float64)
        frequencies, density = welch(relative, fps, nperseg=segment, axis=0)
        total, frames = total + len(joints) * density.mean(1), frames + len(joints)
    if not frames:
        raise ValueError(f'a spectrum needs a track of at least {segment} frames without gaps')
    return frequencies[1:], total[1:] / frames


def spectrum_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str = 'spectrum of joints about the wrist'
) -> np.ndarray:
    """Densities over frequency, both logarithmic.

    Args:
        curves: {name: (frequencies (F,) Hz, densities (F,) mm^2 / Hz)}.
        title: above the plot.
    """
    figure, axes = figure_with_axes(title)
    for name, (frequencies, density) in curves.items():
        axes.loglog(frequencies, density, label=name, lw=2)
    axes.set(xlabel='frequency (Hz)', ylabel='power spectral density (mm²/Hz)')
    figure.legend(loc='outside lower center', ncols=2, frameon=False)
    return figure_image(figure)
