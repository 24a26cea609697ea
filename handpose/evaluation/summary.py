"""From scores of samples to reported numbers: overall, by hand side, by occlusion, by joint; and records of samples.

Legend: N samples, J joints (1 for numbers of a whole hand).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.alignment import BoolArray, FloatArray
from handpose.evaluation.functional import joint_mean
from handpose.evaluation.records import SAMPLE_KEY, Columns
from handpose.evaluation.spec import MetricSpec
from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.hands import SIDE_LABELS
from handpose.hands.joints import COMMON_JOINTS

OCCLUSION_BINS = ((0, 25), (25, 50), (50, 75), (75, 100))  # percent; the last three are Deformer's
# {breakdown: {group: title}}; a group follows the name of a number and a slash.
BREAKDOWNS = {
    'side': {side: f'{side} hands' for side in SIDE_LABELS},
    'occlusion': {f'occlusion_{low}_{high}': f'{low}-{high} % occluded' for low, high in OCCLUSION_BINS},
    'joint': {f'joint_{joint}': joint.replace('_', ' ') for joint in COMMON_JOINTS},
}


def with_breakdowns(specs: Iterable[MetricSpec], breakdowns: Iterable[str]) -> list[MetricSpec]:
    """Specs, each followed by those of its groups.

    Args:
        specs: of numbers over all samples.
        breakdowns: among `BREAKDOWNS`.
    """
    found = []
    for spec in specs:
        found.append(spec)
        for breakdown in breakdowns:
            shown = breakdown in spec.table_breakdowns
            found += [spec.of_group(group, title, shown) for group, title in BREAKDOWNS[breakdown].items()]
    return found


def summarise(
    columns: Columns, scores: Mapping[str, FloatArray], breakdowns: Sequence[str], counted: str
) -> dict[str, float]:
    """Averages scores over all samples and over each group.

    Args:
        columns: 'hand' (N,) 0 left, 1 right, and 'occlusion' (N,) share, NaN unknown.
        scores: {name: (N, J)}, NaN where a sample does not count; averaged by `joint_mean`.
        breakdowns: among `BREAKDOWNS`.
        counted: name of the number of samples.

    Returns:
        {name or 'name/group': number}; those without a sample are absent.
    """
    groups = {'': np.ones(len(columns['hand']), bool)}
    for group, rows in sample_groups(side_names(columns['hand']), columns['occlusion']).items():
        if any(group in BREAKDOWNS[breakdown] for breakdown in breakdowns):
            groups[f'/{group}'] = rows
    numbers = {
        f'{name}{group}': joint_mean(score[rows]) for group, rows in groups.items() for name, score in scores.items()
    }
    if 'joint' in breakdowns:
        numbers |= {
            f'{name}/{group}': joint_mean(score[:, i : i + 1])
            for name, score in scores.items()
            for i, group in enumerate(BREAKDOWNS['joint'])
        }
    numbers = {name: value for name, value in numbers.items() if not np.isnan(value)}
    return numbers | {f'{counted}{group}': float(rows.sum()) for group, rows in groups.items() if rows.any()}


def sample_groups(hand: NDArray[Any], occlusion: FloatArray) -> dict[str, BoolArray]:
    """The samples of each hand side and of each share of occlusion.

    Args:
        hand: (N,) 'left' or 'right'.
        occlusion: (N,) share from 0 to 1; NaN (unknown) is in no group.

    Returns:
        {group: (N,) bool}, groups as in `BREAKDOWNS`. Bins of occlusion include their lower end, the last one both.
    """
    percent = 100 * occlusion
    last = OCCLUSION_BINS[-1][1]
    groups = {side: hand == side for side in SIDE_LABELS}
    for (low, high), group in zip(OCCLUSION_BINS, BREAKDOWNS['occlusion'], strict=True):
        groups[group] = (percent >= low) & ((percent < high) | ((high == last) & (percent == last)))
    return groups


def side_names(hand: NDArray[Any]) -> NDArray[Any]:
    """Names of hand sides.

    Args:
        hand: (N,) 0 left, 1 right.

    Returns:
        (N,) 'left' or 'right'.
    """
    return np.array(SIDE_LABELS)[hand]


def sample_records(
    columns: Columns, scores: Mapping[str, FloatArray], with_joints: Iterable[str] = ()
) -> dict[str, NDArray[Any]]:
    """The numbers of each sample, sorted by key, so that the records of two models can be paired row by row.

    Args:
        columns: of all samples, as `merge_columns` gives them.
        scores: {name: (N, J)}, NaN where a sample does not count.
        with_joints: names of scores of which the value of each joint is kept as '<name>/joints' (N, J) float32 too.

    Returns:
        {column: (N, ...)}: sequence, camera, frame, hand ('left' or 'right'), occlusion, and the mean of each score.
    """
    records = {name: columns[name] for name in (*SAMPLE_KEY, 'occlusion')}
    records['hand'] = side_names(columns['hand'])
    records |= {name: _row_means(score) for name, score in scores.items()}
    return records | {f'{name}/joints': scores[name].astype(np.float32) for name in with_joints if name in scores}


def save_records(path: str | Path, records: Mapping[str, NDArray[Any]]) -> None:
    """Writes records to an .npz file, without pickled objects, completely or not at all.

    Args:
        path: of the file.
        records: {column: (N, ...)}.
    """
    with atomic_file(path) as file:
        np.savez_compressed(file, **records)  # type: ignore[arg-type]  # numpy types the names of its own options


def load_records(path: str | Path) -> dict[str, NDArray[Any]]:
    """Reads records that `save_records` wrote.

    Args:
        path: of the file.

    Returns:
        {column: (N, ...)}.

    Raises:
        FileError: the file is damaged.
    """
    return read_npz(path, advice='test again with `handpose test`')


def _row_means(scores: FloatArray) -> FloatArray:
    present = ~np.isnan(scores)
    total, count = np.where(present, scores, 0.0).sum(1), present.sum(1)
    return np.divide(total, count, out=np.full(len(scores), np.nan), where=count > 0)
