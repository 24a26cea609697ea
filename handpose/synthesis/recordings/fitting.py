"""Adds hand-model parameters to recorded motion: the procedural hand, fitted to the recorded joints."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.motion.motion_file import RecordedMotion
from handpose.hands import ProceduralHand, fit_hand
from handpose.synthesis.processes import run_jobs, single_threaded


def fit_motion(
    motion: RecordedMotion, workers: int = 1, on_progress: Callable[[int], None] | None = None
) -> tuple[RecordedMotion, NDArray]:
    """Fits `ProceduralHand` to every sequence: one shape a sequence, a pose and a translation a frame.

    Args:
        motion: the recorded joints.
        workers: processes; 0 means one per CPU core.
        on_progress: called with the number of frames of each sequence as it is done.

    Returns:
        the motion with `hand_pose`, `hand_shape`, `hand_transl` and `hand_model`, its joints as they were, and the
        distance (N, 21) metres of the model's joints from the recorded ones, NaN in frames without a hand.
    """
    frames, sequences = len(motion.joints), len(motion.sequence_names)
    pose, transl = np.zeros((frames, 16, 3), np.float32), np.zeros((frames, 3), np.float32)
    shape, error = np.zeros((sequences, 10), np.float32), np.full((frames, 21), np.nan, np.float32)
    jobs = [
        (sequence, motion.joints[rows], motion.frame_valid[rows], int(motion.hand_side[sequence]))
        for sequence in range(sequences)
        for rows in [motion.frames_of(sequence)]
    ]
    for sequence, fitted in run_jobs(_fit, jobs, workers):
        rows = motion.frames_of(sequence)
        pose[rows], shape[sequence], transl[rows], error[rows] = fitted
        if on_progress is not None:
            on_progress(rows.stop - rows.start)
    name = ProceduralHand().name
    return replace(motion, hand_pose=pose, hand_shape=shape, hand_transl=transl, hand_model=name), error


def _fit(job: tuple[int, NDArray, NDArray, int]) -> tuple[int, tuple[NDArray, ...]]:
    sequence, joints, valid, side = job
    with single_threaded():
        fit = fit_hand(ProceduralHand(), torch.from_numpy(joints), torch.from_numpy(valid), side)
    found = (fit.hand_pose, fit.hand_shape, fit.hand_transl, fit.error)
    return sequence, tuple(value.numpy().astype(np.float32) for value in found)
