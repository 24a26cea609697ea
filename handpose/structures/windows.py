"""Which frames of a track make up each window: the index algebra shared by datasets and models.

Legend: N windows, W frames a window, T frames in the track.
"""

import numpy as np


def strided_windows(num_frames, window, gap, usable=None, stride=None):
    """Covers a track with windows whose frames are `gap` apart, for testing; each frame is predicted by one window.

    Frames `p, p + gap, p + 2 gap, ...` of each phase `p < gap`, from the first usable one to the last, are covered by
    windows of exactly `window` frames, which may share frames. Only a phase that has fewer frames gives a window that
    is not full: it repeats the last frame, marked invalid.

    Args:
        num_frames: T, at least 1.
        window: W, at least 1.
        gap: frames from one window position to the next, at least 1.
        usable: (T,) bool, frames that a model can be given; None = all.
        stride: positions from the start of one window to that of the next; None: as few windows as cover a phase,
            evenly spread.

    Returns:
        index (N, W) int64; valid (N, W) bool, False for repeated and unusable frames; and predicted (N, W) bool, the
        places whose predictions are kept: each usable frame once, in the window where it is nearest to the centre.
        N is 0 where no frame is usable.
    """
    _check(num_frames, window, gap)
    usable = np.ones(num_frames, bool) if usable is None else np.asarray(usable, bool)
    none = np.zeros((0, window), bool)
    rows, masks, chosen = [none.astype(np.int64)], [none], [none]
    for phase in range(min(gap, num_frames)):
        frames = np.arange(phase, num_frames, gap)
        known = np.flatnonzero(usable[frames])
        if not len(known):
            continue
        frames = frames[known[0] : known[-1] + 1]
        starts = _window_starts(len(frames), window, stride)
        places = starts[:, None] + np.arange(window)
        inside, places = places < len(frames), np.minimum(places, len(frames) - 1)
        # Half way between two starts, frames go over from the earlier window to the later.
        borders = (starts[:-1] + starts[1:] + window - 1) / 2
        nearest = np.searchsorted(borders, np.arange(len(frames)))
        rows.append(frames[places])
        masks.append(inside & usable[rows[-1]])
        chosen.append(masks[-1] & (nearest[places] == np.arange(len(starts))[:, None]))
    return np.concatenate(rows), np.concatenate(masks), np.concatenate(chosen)


def _window_starts(num_frames, window, stride):
    last = max(num_frames - window, 0)
    if stride is None:
        return np.linspace(0, last, -(-num_frames // window)).round().astype(np.int64)
    if not 1 <= stride <= window:
        raise ValueError(f'stride must be from 1 to the {window} frames of a window, got {stride}')
    starts = np.arange(0, last + 1, stride)
    return starts if starts[-1] == last else np.append(starts, last)


def interleaved_clips(num_frames, clip, spacing):
    """Cuts a video into clips as HTT tests it (its Fig. 3); every frame belongs to exactly one clip.

    Frames `p, p + spacing, p + 2 spacing, ...` of each phase `p < spacing` are cut into runs of exactly `clip` frames;
    the last run of a phase may be shorter and then repeats its last frame, marked invalid.

    Args:
        num_frames: T, at least 1.
        clip: W, at least 1.
        spacing: frames from one clip position to the next, at least 1.

    Returns:
        index (N, W) int64 and valid (N, W) bool, phase after phase; each number below T occurs once among the valid
        entries.
    """
    _check(num_frames, clip, spacing)
    rows, masks = [], []
    for phase in range(min(spacing, num_frames)):
        frames = np.arange(phase, num_frames, spacing)
        missing = -len(frames) % clip
        rows.append(np.pad(frames, (0, missing), mode='edge').reshape(-1, clip))
        masks.append((np.arange(len(frames) + missing) < len(frames)).reshape(-1, clip))
    return np.concatenate(rows), np.concatenate(masks)


def centred_windows(num_frames, window, gap, usable=None, centres=None, resume=False):
    """One window around each centre; in place of an unusable frame, the last usable one is repeated, marked invalid.

    Args:
        num_frames: T. window: W, odd. gap: frames between window positions.
        usable: (T,) bool, frames that may enter a window (default all).
        centres: frame numbers to centre on (default: every usable frame).
        resume: False: from the first unusable frame outward nothing else enters, as published with Deformer for
            DexYCB; True: a usable frame farther out does, as published for HO3D, whose frames have gaps.

    Returns:
        index (N, W) int64 and valid (N, W) bool; column W // 2 of index equals `centres`.
    """
    _check(num_frames, window, gap)
    if window % 2 == 0:
        raise ValueError(f'a centred window needs an odd number of frames, got {window}')
    usable = np.ones(num_frames, bool) if usable is None else np.asarray(usable, bool)
    centres = np.flatnonzero(usable) if centres is None else np.asarray(centres, np.int64)
    half = window // 2
    index = np.repeat(centres[:, None], window, axis=1)
    valid = np.zeros(index.shape, bool)
    valid[:, half] = usable[centres]
    for direction in (-1, 1):
        for step in range(1, half + 1):
            frames = centres + direction * step * gap
            inside = (frames >= 0) & (frames < num_frames)
            here, before = half + direction * step, half + direction * (step - 1)
            entering = inside & usable[np.clip(frames, 0, num_frames - 1)]
            valid[:, here] = entering if resume else entering & valid[:, before]
            index[:, here] = np.where(valid[:, here], frames, index[:, before])
    return index, valid


def overlapping_windows(num_frames, window, stride):
    """Covers a track with runs of neighbouring frames that overlap, so that what they say can be averaged.

    Windows start at 0, stride, 2 stride, ...; if the last of them ends before the track does, one more ends with it. A
    track shorter than a window gives one window, which repeats the last frame, marked invalid.

    Args:
        num_frames: T, at least 1.
        window: W, at least 1.
        stride: frames from the start of one window to that of the next, 1 to W.

    Returns:
        index (N, W) int64 and valid (N, W) bool.
    """
    _check(num_frames, window, stride)
    if stride > window:
        raise ValueError(f'windows of {window} frames that start every {stride} frames would leave frames out')
    starts = np.arange(0, max(num_frames - window, 0) + 1, stride)
    if starts[-1] + window < num_frames:
        starts = np.append(starts, num_frames - window)
    index = starts[:, None] + np.arange(window)
    return np.minimum(index, num_frames - 1), index < num_frames


def _check(num_frames, window, gap):
    if min(num_frames, window, gap) < 1:
        raise ValueError(f'num_frames, window and gap or stride must be at least 1, got {num_frames}, {window}, {gap}')
