"""Rerun recordings (.rrd), for the Rerun viewer. Needs the package rerun-sdk: pip install 'handpose[rerun]'."""

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.export.source import ExportReport, ExportSource
from handpose.files.atomic import TEMPORARY
from handpose.hands import BONES, SIDE_LABELS
from handpose.structures import Predictions

_COLOURS = ((80, 120, 220), (230, 140, 60))  # of left and right hands


def write_rerun(path: Path, source: ExportSource) -> ExportReport:
    """Writes joints and bones in 3D and, where known, in 2D, on the time lines 'time' and 'frame'.

    Args:
        path: the file.
        source: what is exported.

    Returns:
        The file and notes.

    Raises:
        ModuleNotFoundError: rerun-sdk is not installed.
    """
    import rerun

    predictions = source.predictions
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'{TEMPORARY}{path.name}.{secrets.token_hex(4)}'
    try:
        with rerun.RecordingStream('handpose') as stream:
            stream.save(temporary)
            _log(rerun, stream, predictions)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    notes = ['lengths are in metres, axes those of the camera (x right, y down, z forward); open it with `rerun FILE`']
    return ExportReport([path], [*notes, *source.scale_notes()])


def _log(rerun: Any, stream: Any, predictions: Predictions) -> None:
    stream.log('hands', rerun.ViewCoordinates.RDF, static=True)
    matrix, size = predictions.intrinsics, predictions.image_size
    has_camera = matrix is not None and size is not None and predictions.frame == 'camera'
    image = 'hands/video' if has_camera else 'video'
    if has_camera:
        view = rerun.Pinhole(image_from_camera=matrix, resolution=size, camera_xyz=rerun.ViewCoordinates.RDF)
        stream.log(image, view, static=True)
    for t, time in enumerate(predictions.timestamps):
        stream.set_time('frame', sequence=t)
        stream.set_time('time', duration=float(time))
        for hand, side in enumerate(predictions.hand_side):
            values = [('hands', predictions.joints, rerun.Points3D, rerun.LineStrips3D)]
            if predictions.joints_2d is not None:
                values.append((image, predictions.joints_2d, rerun.Points2D, rerun.LineStrips2D))
            for root, joints, points, lines in values:
                entity = f'{root}/{SIDE_LABELS[side]}'
                _log_hand(rerun, stream, entity, joints[t, hand], points, lines, _COLOURS[side])


def _log_hand(
    rerun: Any, stream: Any, entity: str, joints: NDArray, points: Any, lines: Any, colour: tuple[int, int, int]
) -> None:
    """Logs one hand in one frame; a hand that is missing clears the one before."""
    known = np.isfinite(joints).all(-1)
    if not known.any():
        stream.log(entity, rerun.Clear(recursive=True))
        return
    stream.log(f'{entity}/joints', points(joints[known], colors=colour))
    strips = [joints[[a, b]] for a, b in BONES if known[a] and known[b]]
    stream.log(f'{entity}/bones', lines(strips, colors=colour))
