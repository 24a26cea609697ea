"""Which frames of a track make up each window: the index algebra shared by datasets and models.

Legend: N windows, W frames a window, T frames in the track.
"""

import numpy as np


def strided_windows(num_frames, window, gap):
    """Covers a track so that every frame belongs to exactly one window (all-frame testing).

    Frames `p, p + gap, p + 2 gap, ...` of each phase `p < gap` are cut into runs of nearly equal length, none
    longer than `window`; a short run repeats its last frame, marked invalid.

    Args:
        num_frames: T, at least 1.
        window: W, at least 1.
        gap: frames from one window position to the next, at least 1.

    Returns:
        index (N, W) int64 and valid (N, W) bool; each number below T occurs once among the valid entries.
    """
    _check(num_frames, window, gap)
    rows, masks = [], []
    for phase in range(min(gap, num_frames)):
        frames = np.arange(phase, num_frames, gap)
        for run in np.array_split(frames, -(-len(frames) // window)):
            rows.append(np.pad(run, (0, window - len(run)), mode='edge'))
            masks.append(np.arange(window) < len(run))
    return np.stack(rows), np.stack(masks)


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
