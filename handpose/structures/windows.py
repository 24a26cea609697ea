"""Which frames of a track make up each window: the index algebra shared by datasets and models.

Legend: N windows, W frames a window, T frames in the track.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def strided_windows(
    track_length: int,
    num_frames: int,
    frame_step: int,
    usable: ArrayLike | None = None,
    clip_step: int | None = None,
) -> tuple[NDArray, NDArray, NDArray]:
    """Covers a track with windows of frames `frame_step` apart, for testing; each frame is predicted by one window.

    Frames `p, p + frame_step, p + 2 frame_step, ...` of each phase `p < frame_step`, from the first usable one to the
    last, are covered by windows of exactly `num_frames` frames, which may share frames. Only a phase that has fewer
    frames gives a window that is not full: it repeats the last frame, marked invalid.

    Args:
        track_length: T, at least 1.
        num_frames: W, at least 1.
        frame_step: frames from one window position to the next, at least 1.
        usable: (T,) bool, frames that a model can be given; None = all.
        clip_step: positions from the start of one window to that of the next; None means as few windows as cover a
            phase, evenly spread.

    Returns:
        index (N, W) int64; valid (N, W) bool, False for repeated and unusable frames; and predicted (N, W) bool, the
        positions whose predictions are kept: each usable frame once, in the window where it is nearest to the centre.
        N is 0 where no frame is usable.

    Raises:
        ValueError: a number below 1, or a clip_step above num_frames.
    """
    _check(track_length, num_frames, frame_step, 'frame_step')
    usable = np.ones(track_length, bool) if usable is None else np.asarray(usable, bool)
    none = np.zeros((0, num_frames), bool)
    rows, masks, chosen = [none.astype(np.int64)], [none], [none]
    for phase in range(min(frame_step, track_length)):
        frames = np.arange(phase, track_length, frame_step)
        usable_positions = np.flatnonzero(usable[frames])
        if not len(usable_positions):
            continue
        frames = frames[usable_positions[0] : usable_positions[-1] + 1]
        starts = _window_starts(len(frames), num_frames, clip_step)
        positions = starts[:, None] + np.arange(num_frames)
        inside, positions = positions < len(frames), np.minimum(positions, len(frames) - 1)
        # Half way between two starts, frames go over from the earlier window to the later.
        borders = (starts[:-1] + starts[1:] + num_frames - 1) / 2
        nearest = np.searchsorted(borders, np.arange(len(frames)))
        rows.append(frames[positions])
        masks.append(inside & usable[rows[-1]])
        chosen.append(masks[-1] & (nearest[positions] == np.arange(len(starts))[:, None]))
    return np.concatenate(rows), np.concatenate(masks), np.concatenate(chosen)


def _window_starts(length: int, num_frames: int, clip_step: int | None) -> NDArray:
    last = max(length - num_frames, 0)
    if clip_step is None:
        return np.linspace(0, last, -(-length // num_frames)).round().astype(np.int64)
    if not 1 <= clip_step <= num_frames:
        raise ValueError(f'clip_step must be from 1 to the {num_frames} frames of a window, got {clip_step}')
    starts = np.arange(0, last + 1, clip_step)
    return starts if starts[-1] == last else np.append(starts, last)


def interleaved_clips(track_length: int, num_frames: int, frame_step: int) -> tuple[NDArray, NDArray]:
    """Cuts a video into clips as HTT tests it (its Fig. 3); every frame belongs to exactly one clip.

    Frames `p, p + frame_step, p + 2 frame_step, ...` of each phase `p < frame_step` are cut into runs of exactly
    `num_frames` frames; the last run of a phase may be shorter and then repeats its last frame, marked invalid.

    Args:
        track_length: T, at least 1.
        num_frames: W, at least 1.
        frame_step: frames from one clip position to the next, at least 1.

    Returns:
        index (N, W) int64 and valid (N, W) bool, phase after phase; each number below T occurs once among the valid
        entries.

    Raises:
        ValueError: a number below 1.
    """
    _check(track_length, num_frames, frame_step, 'frame_step')
    rows, masks = [], []
    for phase in range(min(frame_step, track_length)):
        frames = np.arange(phase, track_length, frame_step)
        missing = -len(frames) % num_frames
        rows.append(np.pad(frames, (0, missing), mode='edge').reshape(-1, num_frames))
        masks.append((np.arange(len(frames) + missing) < len(frames)).reshape(-1, num_frames))
    return np.concatenate(rows), np.concatenate(masks)


def centred_windows(
    track_length: int,
    num_frames: int,
    frame_step: int,
    usable: ArrayLike | None = None,
    centres: ArrayLike | None = None,
    across_gaps: bool = False,
) -> tuple[NDArray, NDArray]:
    """Makes a window around each centre.

    In place of an unusable frame, the last usable one is repeated, marked invalid.

    Args:
        track_length: T, at least 1.
        num_frames: W, odd.
        frame_step: frames from one window position to the next, at least 1.
        usable: (T,) bool, frames that may enter a window; None = all.
        centres: frame numbers to centre on; None = every usable frame.
        across_gaps: False: from the first unusable frame outward nothing else enters, as published with Deformer for
            DexYCB; True means a usable frame farther out does, as published for HO3D, whose frames have gaps.

    Returns:
        index (N, W) int64 and valid (N, W) bool; column W // 2 of index equals `centres`.

    Raises:
        ValueError: a number below 1, or an even num_frames.
    """
    _check(track_length, num_frames, frame_step, 'frame_step')
    if num_frames % 2 == 0:
        raise ValueError(f'a centred window needs an odd number of frames, got {num_frames}')
    usable = np.ones(track_length, bool) if usable is None else np.asarray(usable, bool)
    centres = np.flatnonzero(usable) if centres is None else np.asarray(centres, np.int64)
    half = num_frames // 2
    index = np.repeat(centres[:, None], num_frames, axis=1)
    valid = np.zeros(index.shape, bool)
    valid[:, half] = usable[centres]
    for direction in (-1, 1):
        for step in range(1, half + 1):
            frames = centres + direction * step * frame_step
            inside = (frames >= 0) & (frames < track_length)
            here, before = half + direction * step, half + direction * (step - 1)
            entering = inside & usable[np.clip(frames, 0, track_length - 1)]
            valid[:, here] = entering if across_gaps else entering & valid[:, before]
            index[:, here] = np.where(valid[:, here], frames, index[:, before])
    return index, valid


def overlapping_windows(track_length: int, num_frames: int, clip_step: int) -> tuple[NDArray, NDArray]:
    """Covers a track with runs of neighbouring frames that overlap, so that predictions can be averaged.

    Windows start at 0, clip_step, 2 clip_step, ...; if the last of them ends before the track does, one more ends with
    it. A track shorter than a window gives one window, which repeats the last frame, marked invalid.

    Args:
        track_length: T, at least 1.
        num_frames: W, at least 1.
        clip_step: frames from the start of one window to that of the next, 1 to W.

    Returns:
        index (N, W) int64 and valid (N, W) bool.

    Raises:
        ValueError: a number below 1, or a clip_step above num_frames.
    """
    _check(track_length, num_frames, clip_step, 'clip_step')
    starts = _window_starts(track_length, num_frames, clip_step)
    index = starts[:, None] + np.arange(num_frames)
    return np.minimum(index, track_length - 1), index < track_length


def _check(track_length: int, num_frames: int, step: int, step_name: str) -> None:
    for name, value in (('track_length', track_length), ('num_frames', num_frames), (step_name, step)):
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
