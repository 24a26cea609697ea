"""Choosing an estimator by the name that a user gives: weights, or a file of results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handpose.inference.tracking.clip_estimator import ClipEstimator
from handpose.inference.tracking.interfaces import FrameEstimator
from handpose.inference.tracking.results_estimator import ResultsEstimator
from handpose.zoo.find import find_weights


def open_estimator(
    name: str | Path,
    hand_model: Mapping[str, Any] | None = None,
    runtime: str | None = 'torch',
    precision: str = 'float32',
) -> FrameEstimator:
    """Opens an estimator whose joints replace those by which hands are followed.

    Args:
        name: a predictions file (.npz) of the video, weights that `handpose publish` wrote (.safetensors), or the name
            of weights in the model zoo.
        hand_model: config of the hand model, for weights whose hand model needs files of the user's.
        runtime: what computes the networks of weights, see `use_runtime`.
        precision: in which they compute.

    Returns:
        The estimator.

    Raises:
        ValueError: it cannot be opened.
    """
    if Path(name).suffix == '.npz':
        return ResultsEstimator(name)
    return ClipEstimator(name, hand_model=hand_model, runtime=runtime, precision=precision)


def estimator_file(name: str | Path) -> Path:
    """Finds the file that an estimator comes from.

    Args:
        name: see `open_estimator`.

    Returns:
        Its path; a file of the zoo is verified.

    Raises:
        ValueError: there is no such file.
    """
    return Path(name) if Path(name).suffix == '.npz' else find_weights(name)
