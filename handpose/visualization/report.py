"""The pictures of a test, made from the records of its samples: curves, hands, and the worst tracks with their frames.

A record file holds numbers and no images, so that the frames of the few tracks that are drawn are read and predicted
again.
"""

import itertools
from collections import namedtuple
from pathlib import Path

import numpy as np
import torch

from handpose.engine.adapter import EstimatorAdapter, collate
from handpose.evaluation.functional import joint_mean
from handpose.evaluation.summary import SIDES, occlusion_groups
from handpose.visualization.action_figures import confusion_matrix
from handpose.visualization.draw import contact_sheet, side_by_side
from handpose.visualization.figures import error_by_occlusion_bar, error_per_joint_hand, pck_curve
from handpose.visualization.images import save_image
from handpose.visualization.overlays import draw_frames
from handpose.visualization.timeline import error_timeline

ERROR, ERROR_NAME = 'pa_mpjpe_mm', 'PA-MPJPE (mm)'
CURVES = {  # records whose PCK is drawn, and up to how many mm
    'pa_mpjpe_mm': ('after Procrustes alignment', 50),
    'mpjpe_ra_wrist_mm': ('relative to the wrist', 100),
    'mpjpe_ra_wrist_20_joints_mm': ('relative to the wrist', 50),
    'mpjpe_cam_mm': ('in camera coordinates', 100),
}
BY_HAND = ('mpjpe_cam_mm', 'mpjpe_ra_wrist_mm', 'mpjpe_ra_wrist_20_joints_mm')
NUM_MOMENTS = 6

Track = namedtuple('Track', 'sequence camera hand')


def draw_numbers(folder, records, say):
    """Draws `pck.png`, `error_per_joint.png` and, where the occlusion is known, `error_by_occlusion.png`.

    With both hands in the records also `pck_by_hand.png`: in camera coordinates and relative to the wrist.

    Args:
        folder: where they go. records: {row name: what `load_records` gave}, the model first.
        say: called with a sentence about each picture that cannot be drawn.
    """
    folder = Path(folder)
    records = {name.replace('_', ' '): record for name, record in records.items()}
    first = next(iter(records.values()))
    curves = [_curve(records, name) for name in CURVES if f'{name}/joints' in first]
    if curves:
        save_image(folder / 'pck.png', side_by_side(curves, pad=0))
        _draw_by_hand(folder / 'pck_by_hand.png', records)
    else:
        say('no PCK curve: the records hold no errors of single joints')
    if f'{ERROR}/joints' in first:
        save_image(folder / 'error_per_joint.png', _hands(records))
    if np.isnan(first['occlusion']).all():
        say('no error by occlusion: the dataset does not say how much of a hand is hidden')
    else:
        groups = {row: _by_occlusion(record) for row, record in records.items()}
        save_image(folder / 'error_by_occlusion.png', error_by_occlusion_bar(groups, ERROR_NAME))


def draw_actions(folder, records):
    """Draws `confusion.png`: which actions were taken for which.

    Args:
        folder: where it goes. records: what `load_records` gave of the records of `ActionMetric`.
    """
    matrix = confusion_matrix(records['label'], records['predicted'], records['actions'].tolist())
    save_image(Path(folder) / 'confusion.png', matrix)


def draw_worst_tracks(folder, records, estimator, dataset, count):
    """Draws `worst_<n>_<track>.png`: error over time of the sequences with the largest error, and their frames.

    Of each sequence the worst track (camera and hand) is drawn.

    Args:
        folder, records: as in `draw_numbers`; every row's samples are those of the first.
        estimator: predicts the frames again. dataset: a `VideoDataset`, the test split. count: how many sequences.
    """
    for n, track in enumerate(worst_tracks(next(iter(records.values())), count), start=1):
        image = _draw_track(track, records, estimator, dataset)
        name = '_'.join([track.sequence.replace('/', '_'), track.camera])
        save_image(Path(folder) / f'worst_{n}_{name}.png', image)


def worst_tracks(record, count):
    """The tracks with the largest mean error, at most one of a sequence, the worst first: list of `Track`."""
    keys = np.array([record['sequence'], record['camera'], record['hand']])
    tracks, index = np.unique(keys, axis=1, return_inverse=True)
    known = ~np.isnan(record[ERROR])
    index = index.reshape(-1)[known]
    total, size = (np.bincount(index, weights, tracks.shape[1]) for weights in (record[ERROR][known], None))
    mean = np.divide(total, size, out=np.full(len(size), -np.inf), where=size > 0)
    found = {}
    for i in np.argsort(-mean, kind='stable'):
        if np.isfinite(mean[i]):
            found.setdefault(tracks[0, i], Track(*map(str, tracks[:, i])))
    return list(found.values())[:count]


def choose_moments(errors, num=NUM_MOMENTS):
    """Indices of moments to show: the worst one, and others spread evenly over the track, in order."""
    known = np.flatnonzero(~np.isnan(errors))
    if len(known) <= num:
        return known
    chosen = known[np.linspace(0, len(known) - 1, num).round().astype(int)]
    worst = known[np.argmax(errors[known])]
    chosen[np.abs(chosen - worst).argmin()] = worst
    return np.unique(chosen)


def _draw_track(track, records, estimator, dataset):
    rows = {name: _rows(record, track) for name, record in records.items()}
    times, errors, occlusion = (next(iter(rows.values()))[name] for name in ('frame', ERROR, 'occlusion'))
    moments = choose_moments(errors)
    pictures, label = _pictures(track, times[moments], estimator, dataset)
    place = f'{track.sequence}, camera {track.camera}, {track.hand} hand'
    return error_timeline(
        times,
        {name.replace('_', ' '): row[ERROR] for name, row in rows.items()},
        None if np.isnan(occlusion).all() else occlusion,
        [(i, *pictures[times[i]]) for i in moments],
        f'{place}: mean {np.nanmean(errors):.1f} mm',
        ERROR_NAME,
        (label, 'true'),
    )


def _pictures(track, frames, estimator, dataset):
    """{frame number: (prediction, truth)} of some frames of a track, read and predicted again, and a label."""
    hand_model = estimator.gives.hand_model
    faces = None if hand_model is None else hand_model.faces
    wanted, pictures = set(frames.tolist()), {}
    for index in range(len(dataset)):
        meta = dataset.read(index).meta
        if (str(meta['sequence']), '+'.join(map(str, meta['cameras']))) != track[:2]:
            continue
        if not wanted & set(meta['frame_indices']):
            continue
        pair = _predict(estimator, dataset[index])
        numbers = pair['target'].meta['frame_indices']
        hand = pair['target'].hand_side.tolist().index(SIDES.index(track.hand))
        predicted = pair['prediction'].joints_valid[:, hand].any(-1)
        places = {numbers[t]: t for t in range(len(numbers)) if numbers[t] in wanted and predicted[t]}
        drawn = draw_frames(pair['prediction'], pair['target'], list(places.values()), faces)
        pictures |= dict(zip(places, drawn, strict=True))
        wanted -= set(places)
        if not wanted:
            return pictures, 'predicted' + ', at true wrist' * (pair['prediction'].frame == 'wrist')
    raise ValueError(f'the dataset has no frames {sorted(wanted)} of {track}; the records are of another test split')


def _predict(estimator, clip):
    device = next((p.device for p in estimator.parameters()), torch.device('cpu'))
    batch = collate([clip])['batch'].to(device)
    return EstimatorAdapter(estimator).eval()(batch, mode='predict')[0]


def _rows(record, track):
    """The records of one track in the order of time."""
    chosen = np.flatnonzero(
        (record['sequence'] == track.sequence) & (record['camera'] == track.camera) & (record['hand'] == track.hand)
    )
    chosen = chosen[np.argsort(record['frame'][chosen])]
    return {name: record[name][chosen] for name in ('frame', 'occlusion', ERROR)}


def _draw_by_hand(path, records):
    first = next(iter(records.values()))
    sides = [side for side in SIDES if (first['hand'] == side).any()]
    names = [name for name in BY_HAND if f'{name}/joints' in first]
    if len(sides) < 2 or not names:
        return
    panels = [_curve(records, name, side) for name, side in itertools.product(names, sides)]
    save_image(path, contact_sheet(panels, columns=len(sides), pad=0))


def _curve(records, name, side=None):
    """The PCK of one number, of all hands or those of one side."""
    title, high = CURVES[name]
    errors = {row: r.get(f'{name}/joints') for row, r in records.items()}
    if side:
        errors = {row: None if e is None else e[records[row]['hand'] == side] for row, e in errors.items()}
    return pck_curve(errors, high=high, title=f'PCK {title}' + (f', {side} hand' if side else ''))


def _hands(records):
    joints = {name: np.array([joint_mean(e[:, None]) for e in r[f'{ERROR}/joints'].T]) for name, r in records.items()}
    top = max(np.nanmax(errors, initial=1e-9) for errors in joints.values())
    hands = [error_per_joint_hand(errors, f'{name}: {ERROR_NAME}', top) for name, errors in joints.items()]
    return contact_sheet(hands, columns=2, pad=0)


def _by_occlusion(record):
    """{'25-50 %': mean error, or None where no hand is so hidden}, with the number of hands in the name."""
    groups = {}
    for name, rows in occlusion_groups(record['occlusion']).items():
        low, high = name.split('_')[1:]
        values = record[ERROR][rows & ~np.isnan(record[ERROR])]
        groups[f'{low}-{high} %\n{len(values):,} hands'] = values.mean() if len(values) else None
    return groups
