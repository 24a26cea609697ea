"""From scores of samples to reported numbers: overall, per hand side, per share of occlusion, per joint."""

import numpy as np

from handpose.evaluation.functional import joint_mean
from handpose.evaluation.records import SIDES
from handpose.files.atomic import atomic_file
from handpose.files.npz import read_npz
from handpose.hands.joints import COMMON_JOINTS

BREAKDOWNS = ('side', 'occlusion', 'joint')
OCCLUSION_BINS = ((0, 25), (25, 50), (50, 75), (75, 100))  # percent; the last three are Deformer's
JOINT_ERRORS = ('pa_mpjpe_mm', 'mpjpe_ra_wrist_mm', 'mpjpe_ra_wrist_20_joints_mm', 'mpjpe_cam_mm')


def summarise(columns, scores, breakdowns, counted):
    """Averages scores over all samples and over each group: {name or 'name/group': float}; empty ones are absent.

    Args:
        columns: dict with 'hand' (N,) 0 left, 1 right and 'occlusion' (N,) share, NaN unknown.
        scores: {name: (N, J) or (N, 1)} with NaN where a sample adds nothing; averaged by `joint_mean`.
        breakdowns: among `BREAKDOWNS`; bins of occlusion are closed below and open above, the last one closed.
        counted: the name of the number of samples.
    """
    groups = {'': np.ones(len(columns['hand']), bool)}
    if 'side' in breakdowns:
        groups |= {f'/{side}': columns['hand'] == i for i, side in enumerate(SIDES)}
    if 'occlusion' in breakdowns:
        groups |= occlusion_groups(columns['occlusion'])
    numbers = {
        f'{name}{group}': joint_mean(score[rows]) for group, rows in groups.items() for name, score in scores.items()
    }
    if 'joint' in breakdowns:
        numbers |= {
            f'{name}/joint_{joint}': joint_mean(score[:, i : i + 1])
            for name, score in scores.items()
            for i, joint in enumerate(COMMON_JOINTS)
        }
    numbers = {name: value for name, value in numbers.items() if not np.isnan(value)}
    return numbers | {f'{counted}{group}': float(rows.sum()) for group, rows in groups.items() if rows.any()}


def occlusion_groups(occlusion):
    """{'/occlusion_<low>_<high>': (N,) bool} for shares (N,) from 0 to 1; an unknown share (NaN) is in no group."""
    percent = 100 * occlusion
    last = OCCLUSION_BINS[-1][1]
    return {
        f'/occlusion_{low}_{high}': (percent >= low) & ((percent < high) | ((high == last) & (percent == last)))
        for low, high in OCCLUSION_BINS
    }


def per_frame_records(columns, scores):
    """One dict a sample: sequence, camera, frame, hand ('left' or 'right'), occlusion, and the mean of each score.

    Sorted by key, so that the records of two models on one test set can be paired row by row.
    """
    table = {
        'sequence': columns['sequence'].tolist(),
        'camera': columns['camera'].tolist(),
        'frame': columns['frame'].tolist(),
        'hand': [SIDES[hand] for hand in columns['hand']],
        'occlusion': columns['occlusion'].tolist(),
    }
    table |= {name: _row_means(score).tolist() for name, score in scores.items()}
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def joint_errors(scores):
    """{'<name>/joints': (N, 21) float32 mm} of those scores of which curves over all keypoints are drawn."""
    return {f'{name}/joints': scores[name].astype(np.float32) for name in JOINT_ERRORS if name in scores}


def save_records(path, records, arrays=None):
    """Writes records to an .npz file, one array a name, without pickled objects; whole or not at all.

    Args:
        path: the file. records: what `per_frame_records` gave. arrays: {name: (N, ...)} to be kept with them.
    """
    columns = {name: np.array([record[name] for record in records]) for name in records[0]}
    save_columns(path, {**columns, **(arrays or {})})


def save_columns(path, columns):
    """Writes {name: (N, ...) array} to an .npz file, without pickled objects; whole or not at all."""
    with atomic_file(path) as file:
        np.savez_compressed(file, **columns)


def load_records(path):
    """Reads what `save_records` or `save_columns` wrote: {name: (N, ...) array}."""
    return read_npz(path, advice='test again with `handpose test`')


def _row_means(scores):
    present = ~np.isnan(scores)
    total, count = np.where(present, scores, 0.0).sum(1), present.sum(1)
    return np.divide(total, count, out=np.full(len(scores), np.nan), where=count > 0)
