"""The images of a test, drawn from the records of its samples: curves, hands, and the worst tracks with their frames.

Records hold numbers and no images, so the frames of the few tracks that are drawn are read and predicted again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from handpose.datasets.base import VideoDataset
from handpose.evaluation import ActionMetric, Metric, MetricSpec, joint_mean
from handpose.evaluation.summary import BREAKDOWNS, sample_groups
from handpose.files.names import file_stem
from handpose.hands import SIDE_LABELS
from handpose.models.estimators.base import Estimator
from handpose.structures import HandSequence, with_true_vertices
from handpose.visualization.action_figures import confusion_matrix
from handpose.visualization.draw import contact_sheet, side_by_side
from handpose.visualization.figures import error_by_occlusion_bar, error_per_joint_hand, pck_curve
from handpose.visualization.images import save_image
from handpose.visualization.overlays import draw_frames
from handpose.visualization.timeline import error_timeline

NUM_MOMENTS = 6
Records = Mapping[str, NDArray[Any]]


class TestedTrack(NamedTuple):
    """One hand of one recording, as records name it."""

    sequence: str
    camera: str
    hand: str


def draw_test(
    folder: str | Path,
    metrics: Mapping[str, Sequence[Metric]],
    estimator: Estimator,
    dataset: VideoDataset,
    count: int,
    say: Callable[[str], None],
) -> None:
    """Draws what the metrics of a test kept of its samples: errors of joints, worst tracks, confusion of actions.

    Args:
        folder: where the images go.
        metrics: {row: its metrics after the test}, the model first.
        estimator: the model, which predicts the frames of the worst tracks again.
        dataset: the test split.
        count: how many of the worst sequences to draw.
        say: called with a message about each image that cannot be drawn.
    """
    drawn = False
    for metric in next(iter(metrics.values())):
        curves = [spec for spec in metric.specs if spec.curve_max is not None]
        if isinstance(metric, ActionMetric) and metric.records:
            draw_actions(folder, metric.records)
        elif curves and metric.records:
            records = {row: m.records for row, found in metrics.items() for m in found if type(m) is type(metric)}
            draw_numbers(folder, records, curves, say)
            compared = {row: record for row, record in records.items() if row != 'untrained'}
            draw_worst_tracks(folder, compared, curves[0], estimator, dataset, count)
            drawn = True
    if not drawn:
        say('no plots of errors: no metric of test_evaluator keeps the errors of single joints')


def draw_numbers(
    folder: str | Path, records: Mapping[str, Records], specs: Sequence[MetricSpec], say: Callable[[str], None]
) -> None:
    """Draws `pck.png`, `error_per_joint.png` and, where the occlusion is known, `error_by_occlusion.png`.

    With both hands in the records also `pck_by_hand.png`. All images but the PCK curves are of the first number.

    Args:
        folder: where they go.
        records: {row: records of its samples}, the model first.
        specs: of the numbers to draw, with `curve_max`.
        say: called with a message about each image that cannot be drawn.
    """
    folder = Path(folder)
    records = {name.replace('_', ' '): record for name, record in records.items()}
    first, error = next(iter(records.values())), specs[0]
    specs = [spec for spec in specs if f'{spec.name}/joints' in first]
    if specs:
        save_image(folder / 'pck.png', side_by_side([_curve(records, spec) for spec in specs], pad=0))
        _draw_by_hand(folder / 'pck_by_hand.png', records, specs)
        save_image(folder / 'error_per_joint.png', _hands(records, specs[0]))
    else:
        say('no PCK curve: the records hold no errors of single joints')
    if np.isnan(first['occlusion']).all():
        say('no error by occlusion: the dataset does not say how much of a hand is hidden')
    else:
        groups = {row: _by_occlusion(record, error) for row, record in records.items()}
        save_image(folder / 'error_by_occlusion.png', error_by_occlusion_bar(groups, error.label))


def draw_actions(folder: str | Path, records: Records) -> None:
    """Draws `confusion.png`: which actions were mistaken for which.

    Args:
        folder: where it goes.
        records: of `ActionMetric`.
    """
    matrix = confusion_matrix(records['label'], records['predicted'], records['actions'].tolist())
    save_image(Path(folder) / 'confusion.png', matrix)


def draw_worst_tracks(
    folder: str | Path,
    records: Mapping[str, Records],
    error: MetricSpec,
    estimator: Estimator,
    dataset: VideoDataset,
    count: int,
) -> None:
    """Draws `worst_<n>_<track>.png`: error over time of the sequences with the largest error, and their frames.

    Of each sequence the worst track (camera and hand) is drawn.

    Args:
        folder: where they go.
        records: {row: records of its samples}, the model first; all of the same samples.
        error: the error to draw.
        estimator: predicts the frames again.
        dataset: the test split.
        count: how many sequences.
    """
    for n, track in enumerate(worst_tracks(next(iter(records.values())), error.name, count), start=1):
        image = _draw_track(track, records, error, estimator, dataset)
        name = file_stem(f'{track.sequence}_{track.camera}')
        save_image(Path(folder) / f'worst_{n}_{name}.png', image)


def worst_tracks(record: Records, name: str, count: int) -> list[TestedTrack]:
    """The tracks with the largest mean error, at most one of each sequence, the worst first.

    Args:
        record: records of samples.
        name: of the error.
        count: how many.
    """
    keys = np.array([record['sequence'], record['camera'], record['hand']])
    tracks, index = np.unique(keys, axis=1, return_inverse=True)
    present = ~np.isnan(record[name])
    index = index.reshape(-1)[present]
    total, size = (np.bincount(index, weights, tracks.shape[1]) for weights in (record[name][present], None))
    mean = np.divide(total, size, out=np.full(len(size), -np.inf), where=size > 0)
    found: dict[str, TestedTrack] = {}
    for i in np.argsort(-mean, kind='stable'):
        if np.isfinite(mean[i]):
            found.setdefault(tracks[0, i], TestedTrack(*map(str, tracks[:, i])))
    return list(found.values())[:count]


def choose_moments(errors: NDArray[np.floating], num: int = NUM_MOMENTS) -> NDArray[np.intp]:
    """Indices of moments to show, in order: the worst one, and others spread evenly over the track.

    Args:
        errors: (T,), NaN where there is none.
        num: how many.
    """
    present = np.flatnonzero(~np.isnan(errors))
    if len(present) <= num:
        return present
    chosen = present[np.linspace(0, len(present) - 1, num).round().astype(int)]
    worst = present[np.argmax(errors[present])]
    chosen[np.abs(chosen - worst).argmin()] = worst
    return np.unique(chosen)


def _draw_track(
    track: TestedTrack, records: Mapping[str, Records], error: MetricSpec, estimator: Estimator, dataset: VideoDataset
) -> NDArray[np.uint8]:
    rows = {name: _rows(record, track, error.name) for name, record in records.items()}
    times, errors, occlusion = (next(iter(rows.values()))[name] for name in ('frame', error.name, 'occlusion'))
    moments = choose_moments(errors)
    images, label = _frame_images(track, times[moments], estimator, dataset)
    title = f'{track.sequence}, camera {track.camera}, {track.hand} hand'
    return error_timeline(
        times,
        {name.replace('_', ' '): row[error.name] for name, row in rows.items()},
        None if np.isnan(occlusion).all() else occlusion,
        [(i, *images[times[i]]) for i in moments],
        f'{title}: mean {np.nanmean(errors):.1f} {error.unit}',
        error.label,
        (label, 'true'),
    )


def _frame_images(
    track: TestedTrack, frames: NDArray[np.integer], estimator: Estimator, dataset: VideoDataset
) -> tuple[dict[int, Any], str]:
    """{frame number: (prediction, truth)} of some frames of a track, read and predicted again, and a label."""
    hand_model = estimator.gives.hand_model
    faces = None if hand_model is None else hand_model.faces
    wanted: set[int] = set(frames.tolist())
    images: dict[int, Any] = {}
    for index in range(len(dataset)):
        meta = dataset.read(index).meta
        if (str(meta['sequence']), '+'.join(map(str, meta['cameras']))) != track[:2]:
            continue
        if not wanted & set(meta['frame_indices']):
            continue
        pair = _predict(estimator, dataset[index])
        numbers = pair['target'].meta['frame_indices']
        hand = pair['target'].require('hand_side').tolist().index(SIDE_LABELS.index(track.hand))
        predicted = pair['prediction'].require('joints_valid')[:, hand].any(-1)
        places = {numbers[t]: t for t in range(len(numbers)) if numbers[t] in wanted and predicted[t]}
        drawn = draw_frames(pair['prediction'], pair['target'], list(places.values()), faces)
        images |= dict(zip(places, drawn, strict=True))
        wanted -= set(places)
        if not wanted:
            return images, 'predicted' + ', at true wrist' * (pair['prediction'].frame == 'wrist')
    raise ValueError(f'the dataset has no frames {sorted(wanted)} of {track}; the records are of another test split')


@torch.no_grad()
def _predict(estimator: Estimator, clip: HandSequence) -> dict[str, HandSequence]:
    device = next((p.device for p in estimator.parameters()), torch.device('cpu'))
    batch = HandSequence.stack([clip]).to(device)
    prediction, target = estimator.eval().predict(batch), with_true_vertices(batch, estimator.gives.hand_model)
    return {'prediction': prediction.to('cpu').unstack()[0], 'target': target.to('cpu').unstack()[0]}


def _rows(record: Records, track: TestedTrack, name: str) -> dict[str, NDArray[Any]]:
    """The records of one track in the order of time."""
    chosen = np.flatnonzero(
        (record['sequence'] == track.sequence) & (record['camera'] == track.camera) & (record['hand'] == track.hand)
    )
    chosen = chosen[np.argsort(record['frame'][chosen])]
    return {column: record[column][chosen] for column in ('frame', 'occlusion', name)}


def _draw_by_hand(path: Path, records: Mapping[str, Records], specs: Sequence[MetricSpec]) -> None:
    first = next(iter(records.values()))
    sides = [side for side in SIDE_LABELS if (first['hand'] == side).any()]
    if len(sides) > 1:
        panels = [_curve(records, spec, side) for spec in specs for side in sides]
        save_image(path, contact_sheet(panels, columns=len(sides), pad=0))


def _curve(records: Mapping[str, Records], spec: MetricSpec, side: str | None = None) -> NDArray[np.uint8]:
    """The PCK of one number, of all hands or those of one side."""
    errors = {row: record.get(f'{spec.name}/joints') for row, record in records.items()}
    if side:
        errors = {row: None if e is None else e[records[row]['hand'] == side] for row, e in errors.items()}
    assert spec.curve_max is not None, 'only numbers with a curve are drawn'
    return pck_curve(errors, high=spec.curve_max, title=f'PCK, {spec.title}' + (f', {side} hand' if side else ''))


def _hands(records: Mapping[str, Records], spec: MetricSpec) -> NDArray[np.uint8]:
    joints = {
        row: np.array([joint_mean(errors[:, None]) for errors in record[f'{spec.name}/joints'].T])
        for row, record in records.items()
    }
    top = max(np.nanmax(errors, initial=1e-9) for errors in joints.values())
    hands = [error_per_joint_hand(errors, f'{row}: {spec.label}', top) for row, errors in joints.items()]
    return contact_sheet(hands, columns=2, pad=0)


def _by_occlusion(record: Records, spec: MetricSpec) -> dict[str, float | None]:
    """{title of the group: mean error, or None where no hand is so hidden}, with the number of hands in the title."""
    groups: dict[str, float | None] = {}
    rows = sample_groups(record['hand'], record['occlusion'])
    for group, title in BREAKDOWNS['occlusion'].items():
        values = record[spec.name][rows[group] & ~np.isnan(record[spec.name])]
        groups[f'{title.removesuffix(" occluded")}\n{len(values):,} hands'] = values.mean() if len(values) else None
    return groups
