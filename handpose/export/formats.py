"""Which writer makes which file."""

from collections.abc import Callable
from pathlib import Path

from handpose.export.bvh import write_bvh
from handpose.export.coco import write_coco
from handpose.export.episodes import write_hdf5, write_lerobot
from handpose.export.glb import write_glb
from handpose.export.mano_parameters import write_mano
from handpose.export.rerun_file import write_rerun
from handpose.export.retargeting import write_retargeting
from handpose.export.source import ExportError, ExportReport, ExportSource
from handpose.export.tables import write_csv
from handpose.hands import HandModel
from handpose.structures import Predictions
from handpose.structures.prediction_checks import UNITS
from handpose.text import did_you_mean

Writer = Callable[[Path, ExportSource], ExportReport]
WRITERS: dict[str, Writer] = {
    '.bvh': write_bvh,
    '.glb': write_glb,
    '.csv': write_csv,
    '.json': write_coco,
    '.rrd': write_rerun,
    '.npz': write_mano,
}
"""The ending of a file's name -> what writes it."""
TARGETS: dict[str, Writer] = {
    'dex-retargeting': write_retargeting,
    'lerobot': write_lerobot,
    'hdf5': write_hdf5,
}
"""What the name of a file does not tell -> what writes it."""


def export(
    predictions: Predictions,
    path: str | Path,
    *,
    target: str | None = None,
    hand_model: HandModel | None = None,
    unit: str = 'metre',
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Writes predictions in the format that the name of the file tells.

    Args:
        predictions: the predictions.
        path: the file, ending in a key of `WRITERS`; with `target` what that needs.
        target: a key of `TARGETS`, where the ending does not tell the format.
        hand_model: what is fitted to the joints where the format has a hand model; default `ProceduralHand`.
        unit: unit of lengths in BVH and CSV files: a key of `UNITS`.
        progress: called with the number of fitted frames and their total.

    Returns:
        The files that were written, and what the user should know about them.

    Raises:
        ExportError: an unknown format, target or unit, or predictions that lack what the format needs.
        OSError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    if unit not in UNITS:
        raise ExportError(f'unit must be one of {", ".join(UNITS)}, got {unit!r}.{did_you_mean(unit, UNITS)}')
    table, key = (WRITERS, path.suffix.lower()) if target is None else (TARGETS, target)
    if key not in table:
        what = f'{path}: the name of an export must end in' if target is None else 'the target of an export must be'
        raise ExportError(f'{what} one of {", ".join(table)}, got {key!r}.{did_you_mean(key, table)}')
    predictions.check()
    return table[key](path, ExportSource(predictions, hand_model, unit, path.stem, progress))
