"""DexYCB's official result file of hand poses, and its scores by the official definitions.

One line for each frame with a hand: its number in the split, then x, y, z of 21 joints in the common order, millimetres
in the camera's frame, 64 numbers separated by commas. Source: Chao et al., CVPR 2021, and the dataset's toolkit.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handpose.evaluation.alignment import FloatArray
from handpose.evaluation.functional import auc_scores, point_errors
from handpose.evaluation.hand_metric import AUC_RANGE, MILLIMETRES
from handpose.evaluation.pose import HAND_COUNT, MPJPE, POSE_ALIGNMENTS, auc_name
from handpose.evaluation.submissions.result_files import SAME_WITHIN, SUBMITTED, ResultFile
from handpose.evaluation.summary import summarise
from handpose.files.atomic import atomic_write
from handpose.files.reading import read_text
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name

LABELS = ('cam', 'ra_wrist', 'pa')


@METRICS.register_module()
class DexYCBResults(ResultFile):
    """Writes the predictions of a split of DexYCB as the text file that its evaluator reads.

    Predictions relative to the wrist are written as they are, so the evaluator's absolute error means nothing for
    them. Reports `submitted_frames`.

    Args:
        path: the text file.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        SequenceError: while testing, an annotated frame has no prediction (named), or frames of a track or whole tracks
            are missing.
    """

    tolerance = MILLIMETRES * SAME_WITHIN

    def values(self, prediction: HandSequence, target: HandSequence) -> dict[str, NDArray[np.float32]]:
        """See `ResultFile.values`: joints (T, 21, 3) millimetres."""
        if prediction.frame not in ('wrist', 'camera') or target.frame != 'camera':
            raise SequenceError(
                f"{sample_name(target.meta)}: a result file is in the camera's frame; read the data with frame='camera'"
            )
        joints = prediction.require('joints_3d')[:, 0].detach().cpu().double()
        return {'joints': (MILLIMETRES * joints).numpy().astype(np.float32)}

    def reduce(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Checks that nothing is missing, and writes the file.

        Args:
            results: rows of all clips.
        """
        rows = self.merge(results)
        self._check_tracks(results)
        lines = [
            ','.join([str(index), *(f'{number:.4f}' for number in joints.ravel().tolist())])
            for index, joints in zip(rows['index'].tolist(), rows['joints'], strict=True)
        ]
        atomic_write(self.path, '\n'.join(lines) + '\n')
        return {SUBMITTED.name: float(len(lines))}

    def _check_tracks(self, clips: list[dict[str, Any]]) -> None:
        """The official evaluator refuses a file that lacks a frame with a hand."""
        tracks = {clip['track']: clip['frames'] for clip in clips}
        for track, frames in tracks.items():
            gaps = np.setdiff1d(np.arange(frames.min(), frames.max() + 1), frames)
            if len(gaps):
                raise SequenceError(f'{track} was tested without frame {gaps[0]}, so {self.path} is not written')
        if len(tracks) != self.num_samples:
            raise SequenceError(
                f'{len(tracks)} of {self.num_samples} tracks were predicted, so {self.path} is not written; test whole '
                f"tracks (sampling=dict(type='Tracks')) with on_broken='error'"
            )


def read_dexycb_results(path: str | Path) -> tuple[NDArray[np.int64], FloatArray]:
    """Reads a result file.

    Args:
        path: of the file.

    Returns:
        indices (N,) int64 and joints (N, 21, 3) float64, millimetres, common order, in the order of the file.

    Raises:
        ValueError: a line does not hold 64 finite numbers, or repeats an index (the line is named).
    """
    indices: list[int] = []
    joints: list[list[float]] = []
    seen: set[float] = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            values = [float(token) for token in line.split(',')]
        except ValueError:
            values = []
        if len(values) != 64 or not np.isfinite(values).all() or values[0] != int(values[0]):
            raise ValueError(
                f'{path}, line {number}: expected an index and 63 numbers separated by commas, got {line[:60]!r}'
            )
        if values[0] in seen:
            raise ValueError(f'{path}, line {number}: index {int(values[0])} is repeated')
        seen.add(values[0])
        indices.append(int(values[0]))
        joints.append(values[1:])
    if not indices:
        raise ValueError(f'{path} is empty')
    return np.array(indices), np.array(joints).reshape(-1, 21, 3)


def score_dexycb_results(path: str | Path, clips: Iterable[HandSequence]) -> dict[str, float]:
    """Scores a result file as DexYCB's evaluator does.

    Args:
        path: of the file. It may hold other frames too, which are ignored.
        clips: annotated clips of the split in the camera's frame whose `meta['official_indices']` number their frames,
            e.g. a `DexYCB` dataset of whole tracks without transforms.

    Returns:
        {name: number} as of `HandPoseMetric`: MPJPE and AUC from 0 to 50 mm in camera space, wrist-aligned and after
        Procrustes alignment with reflection, over all frames with a hand, and their number; each also for the shares of
        occlusion that Deformer reports.

    Raises:
        ValueError: a frame with a hand is not in the file (named), or a clip has no official numbers.
    """
    indices, joints = read_dexycb_results(path)
    place = {index: row for row, index in enumerate(indices.tolist())}
    rows: list[int] = []
    truth: list[FloatArray] = []
    hidden: list[NDArray[Any]] = []
    hands: list[NDArray[Any]] = []
    for clip in clips:
        frames = np.flatnonzero((clip.require('hand_valid')[:, 0] & clip.require('frame_valid')).numpy())
        if 'official_indices' not in clip.meta:
            raise ValueError(f'{sample_name(clip.meta)} has no official_indices (the split is not complete on disk)')
        wanted = [clip.meta['official_indices'][t] for t in frames]
        for index, t in zip(wanted, frames, strict=True):
            if index not in place:
                name = f'{clip.meta["sequence"]} camera {clip.meta["cameras"][0]} frame {clip.meta["frame_indices"][t]}'
                raise ValueError(f'{path} lacks index {index} ({name}); every frame with a hand must be present')
        rows += [place[index] for index in wanted]
        truth.append(MILLIMETRES * clip.require('joints_3d')[frames, 0].double().numpy())
        unknown = np.full(len(frames), np.nan)
        hidden.append(unknown if clip.occlusion is None else clip.occlusion[frames, 0, 0].numpy())
        hands.append(np.full(len(frames), int(clip.require('hand_side')[0])))
    if not rows:
        raise ValueError(f'the clips to score {path} with hold no frame with a hand')
    scores = {}
    for label in LABELS:
        errors = point_errors(joints[rows], np.concatenate(truth), alignment=POSE_ALIGNMENTS[label])
        scores[MPJPE[label].name] = errors
        scores[auc_name(label, *AUC_RANGE[:2])] = auc_scores(errors, *AUC_RANGE)
    columns = {'occlusion': np.concatenate(hidden), 'hand': np.concatenate(hands)}
    return summarise(columns, scores, ('occlusion',), HAND_COUNT.name)
