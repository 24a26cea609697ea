"""Calibrating the cameras of a recording that shows a printed board: `handpose calibrate`.

docs/guides/calibration.md describes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.geometry.board_calibration import Lens, calibrate_lens, calibrate_poses
from handpose.geometry.boards import BoardError, CalibrationBoard
from handpose.inference.sources import open_source
from handpose.structures import Calibration, CameraCalibration

FOCAL_UNCERTAINTY = 0.01  # as a fraction; above it the board was not tilted enough


@dataclass(frozen=True, eq=False)
class CalibratedRecording:
    """What calibrating a recording gives.

    Args:
        calibration: the cameras; the first one's frame is the world.
        num_frames: frames of each camera that were searched for the board.
        num_views: {camera: those of them in which the board was found}.
        num_shared: {camera: frames that it shares with another camera and that placed it}.
        lens_errors: {camera: root mean square of the lens's reprojection errors, pixels}.
        pose_errors: {camera: median reprojection error with all cameras together, pixels}.
        notes: what may be wrong, one message each.
    """

    calibration: Calibration
    num_frames: int
    num_views: Mapping[str, int]
    num_shared: Mapping[str, int]
    lens_errors: Mapping[str, float]
    pose_errors: Mapping[str, float]
    notes: Sequence[str]


def calibrate_recording(
    sources: Mapping[str, Path], board: CalibrationBoard, every: int = 1, progress: Callable[[str], None] | None = None
) -> CalibratedRecording:
    """Calibrates cameras that see a board at the same moments.

    Args:
        sources: {name of a camera: its video or folder of images}; frames of one number show the same moment.
        board: what was printed.
        every: of how many frames one is searched for the board.
        progress: called with the name of a camera for each frame that was searched.

    Returns:
        The calibration and how good it is.

    Raises:
        BoardError: too few views of the board, or cameras that never see it together.
        VideoError: a source cannot be read.
    """
    sizes: dict[str, tuple[int, int]] = {}
    found: dict[str, list[NDArray[np.float64]]] = {}
    lengths: dict[str, int] = {}
    for name, path in sources.items():
        found[name] = []
        for frame in open_source(path, fps=1.0):
            lengths[name] = frame.index + 1
            sizes[name] = frame.image.shape[1], frame.image.shape[0]
            if frame.index % every == 0:
                found[name].append(board.detect(frame.image))
                if progress is not None:
                    progress(name)
    num_frames = min(map(len, found.values()))
    corners = np.stack([np.stack(found[name][:num_frames]) for name in sources])
    lenses = [_lens(name, board, np.stack(found[name]), sizes[name]) for name in sources]
    poses = calibrate_poses(board.points, corners, lenses)
    cameras = [
        CameraCalibration(
            name,
            sizes[name],
            torch.from_numpy(lens.intrinsics),
            'radial_tangential',
            torch.from_numpy(lens.distortion),
            torch.from_numpy(poses.extrinsics[v]),
        )
        for v, (name, lens) in enumerate(zip(sources, lenses, strict=True))
    ]
    used = np.isfinite(poses.residuals)
    return CalibratedRecording(
        calibration=Calibration(cameras),
        num_frames=num_frames,
        num_views={name: int(np.isfinite(corners[v]).all(-1).any(-1).sum()) for v, name in enumerate(sources)},
        num_shared={name: int(used[v].any(-1).sum()) for v, name in enumerate(sources)},
        lens_errors={name: lens.error for name, lens in zip(sources, lenses, strict=True)},
        pose_errors={name: float(np.median(poses.residuals[v][used[v]])) for v, name in enumerate(sources)},
        notes=_notes(lengths, dict(zip(sources, lenses, strict=True))),
    )


def _lens(name: str, board: CalibrationBoard, corners: NDArray[np.float64], size: tuple[int, int]) -> Lens:
    try:
        return calibrate_lens(board.points, corners, size)
    except BoardError as error:
        raise BoardError(f'camera {name!r}: {error}') from error


def _notes(lengths: Mapping[str, int], lenses: Mapping[str, Lens]) -> list[str]:
    notes = []
    if len(set(lengths.values())) > 1:
        listed = ', '.join(f'{name} {length}' for name, length in lengths.items())
        notes.append(f'the cameras have different numbers of frames ({listed}); they must begin at the same moment')
    notes += [
        f'the focal length of {name} is uncertain by {100 * lens.focal_uncertainty:.1f} %: tilt the board more, and '
        f'show it in all corners of the image'
        for name, lens in lenses.items()
        if lens.focal_uncertainty > FOCAL_UNCERTAINTY
    ]
    return notes
