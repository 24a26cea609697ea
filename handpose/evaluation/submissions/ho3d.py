"""HO3D's official submission file, and its scores by the official definitions.

Source: https://github.com/shreyashampali/ho3d (the dataset's page on submissions and how they are scored).
On disk: metres, OpenGL camera axes, HO3D's joint order, in the order of evaluation.txt.
"""

import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handpose.evaluation.alignment import FloatArray, align_pair
from handpose.evaluation.functional import auc, f_score, joint_mean, point_errors
from handpose.evaluation.hand_metric import AUC_RANGE
from handpose.evaluation.mesh import MPVPE, f_score_name, vertex_auc_name
from handpose.evaluation.pose import MPJPE, auc_name
from handpose.evaluation.submissions.result_files import SUBMITTED, ResultFile, only_member
from handpose.files.atomic import atomic_file
from handpose.files.npz import read_zip_member
from handpose.files.reading import FileError, parse_json, read_json, read_text
from handpose.hands import from_common, to_common
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError, sample_name

FLIP = np.array([1.0, -1.0, -1.0])  # between OpenCV's and OpenGL's axes
OFFICIAL_FRAMES = {2: 11_524, 3: 20_137}
MANO_VERTICES = 778
DECIMALS = 6  # of a metre
# {label: (name of the MPJPE, alignment)}
ALIGNMENTS = {
    'cam': (MPJPE['cam'].name, 'none'),
    'scale_translation': ('mpjpe_scale_translation_mm', 'wrist_bone_scaled'),
    'pa': (MPJPE['pa'].name, 'procrustes'),
}
F_SCORES = (5, 15)  # mm


@METRICS.register_module()
class HO3DSubmission(ResultFile):
    """Writes the predictions of HO3D's evaluation split as `pred.json`: [joints, vertices] of each listed frame.

    Predictions relative to the wrist are moved to the wrist of the evaluation split, which HO3D publishes. Reports
    `submitted_frames`.

    Args:
        path: of the file; a name that ends in '.zip' gives the archive that the server takes, with `pred.json` in it.
        version: 2 or 3.
        data_root: HO3D's folder, for `evaluation.txt`.
        collect_device: 'cpu' or 'gpu', how processes exchange their results.

    Raises:
        ValueError: evaluation.txt does not exist, or the version or the file's ending is another.
        SequenceError: while testing, the clip's version is another, `vertices` are missing or are not MANO's, or the
            list is not the official one (the last two only for labels of MANO); in the end, a listed frame has no
            prediction (named).
    """

    fields = ('joints_3d', 'vertices')
    arrays = ('joints', 'vertices')

    def __init__(self, path: str | Path, version: int, data_root: str | Path, collect_device: str = 'cpu') -> None:
        super().__init__(path, collect_device)
        if version not in OFFICIAL_FRAMES:
            raise ValueError(f'version must be 2 or 3, got {version!r}')
        if Path(path).suffix not in ('.json', '.zip'):
            raise ValueError(f'a submission to HO3D is a .json or .zip file, got {str(path)!r}')
        self.version, self.list_path = version, Path(data_root) / 'evaluation.txt'
        if not self.list_path.exists():
            raise ValueError(f'{self.list_path}, the list of frames to submit, does not exist; download it with HO3D')
        self.listed = read_text(self.list_path, advice='download it with HO3D').split()

    def values(self, prediction: HandSequence, target: HandSequence) -> dict[str, NDArray[np.float32]]:
        """See `ResultFile.values`: joints (T, 21, 3) and vertices (T, V, 3) as the file has them."""
        where = sample_name(target.meta)
        if target.meta.get('version') != self.version or target.meta.get('split') != 'evaluation':
            raise SequenceError(
                f'{where} is of version {target.meta.get("version")}, split {target.meta.get("split")!r}, but a '
                f'submission is of the evaluation split of version {self.version}'
            )
        if prediction.vertices is None:
            raise SequenceError(f'{where}: the submission holds meshes, and the prediction has no vertices')
        if target.meta['hand_model'] == 'mano':
            self._check_official(where, prediction.vertices.shape[-2])
        joints, vertices = prediction.require('joints_3d')[:, 0].cpu(), prediction.vertices[:, 0].cpu()
        if prediction.frame not in ('wrist', 'camera') or target.frame != 'camera':
            raise SequenceError(f"{where}: a submission is in the camera's frame; read the data with frame='camera'")
        if prediction.frame == 'wrist':
            wrist = target.require('joints_3d')[:, 0, :1].cpu()
            joints, vertices = joints + wrist, vertices + wrist
        joints = from_common(joints, 'ho3d')[0]
        return {'joints': _flipped(joints), 'vertices': _flipped(vertices)}

    def _check_official(self, where: str, vertices: int) -> None:
        """The server takes only MANO's meshes of the official list."""
        if vertices != MANO_VERTICES:
            raise SequenceError(
                f'{where}: the submission holds the {MANO_VERTICES} vertices of MANO, and the prediction has '
                f"{vertices}; train with hand_model=dict(type='MANO', ...)"
            )
        if len(self.listed) != OFFICIAL_FRAMES[self.version]:
            raise SequenceError(
                f'{self.list_path} lists {len(self.listed)} frames, but HO3D version {self.version} has '
                f'{OFFICIAL_FRAMES[self.version]}; download the list again, so that the server takes the submission'
            )

    def reduce(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Checks that no line of evaluation.txt is missing, and writes the file.

        Args:
            results: rows of all clips.
        """
        listed = self.listed
        rows = self.merge(results)
        missing = sorted(set(range(len(listed))) - set(rows['index'].tolist()))
        if missing:
            named = ', '.join(listed[i] for i in missing[:5]) + (', ...' if len(missing) > 5 else '')
            raise SequenceError(
                f'{len(missing)} of the {len(listed)} frames of {self.list_path} have no prediction '
                f'({named}), so {self.path} is not written'
            )
        with atomic_file(self.path) as file:
            if Path(self.path).suffix == '.zip':
                with only_member(file, 'pred.json') as member:
                    _write_json(member, rows)
            else:
                _write_json(file, rows)
        return {SUBMITTED.name: float(len(listed))}


def _flipped(points: Tensor) -> NDArray[np.float32]:
    return (points.double().numpy() * FLIP).astype(np.float32)


def _write_json(file: IO[bytes], rows: dict[str, Any]) -> None:
    """[[N x (21, 3)], [N x (V, 3)]], frame by frame: the text is half a gigabyte."""
    for opening, name, closing in (('[[', 'joints', '], ['), ('', 'vertices', ']]\n')):
        file.write(opening.encode())
        for number, row in enumerate(rows[name]):
            text = json.dumps(np.round(row.astype(np.float64), DECIMALS).tolist())
            file.write((', ' * (number > 0) + text).encode())
        file.write(closing.encode())


def read_ho3d_submission(path: str | Path) -> tuple[FloatArray, FloatArray]:
    """Reads a submission.

    Args:
        path: of the .json or .zip file.

    Returns:
        joints (N, 21, 3) and vertices (N, V, 3) float64, as the file has them: metres, OpenGL axes, HO3D's order.

    Raises:
        FileError: it is no pair of lists of such arrays, with as many meshes as hands.
    """
    advice = 'a submission to HO3D is a JSON pair of joints and vertices, or a .zip of it as pred.json'
    if Path(path).suffix == '.zip':
        content = parse_json(read_zip_member(path, 'pred.json', advice=advice), path, list, advice=advice)
    else:
        content = read_json(path, list, advice=advice)
    if len(content) != 2:
        raise FileError(f'{path} must hold two lists, of joints and of vertices, but holds {len(content)}; {advice}')
    joints, vertices = (_points(part, path) for part in content)
    if joints.shape[1:] != (21, 3) or vertices.ndim != 3 or vertices.shape[2] != 3 or len(vertices) != len(joints):
        raise FileError(
            f'{path} must hold N x 21 x 3 joints and N x V x 3 vertices, got {joints.shape} and {vertices.shape}'
        )
    return joints, vertices


def _points(part: list[Any], path: str | Path) -> FloatArray:
    try:
        points = np.asarray(part, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise FileError(f'{path} must hold lists of numbers of equal lengths, of three numbers a point') from error
    if not np.isfinite(points).all():
        raise FileError(f'{path} holds null or numbers that are not finite')
    return points


def score_ho3d_submission(
    path: str | Path, xyz_file: str | Path, verts_file: str | Path | None = None
) -> dict[str, float]:
    """Scores a submission as HO3D's evaluator does, against the annotations that HO3D released in November 2024.

    Args:
        path: of the submission.
        xyz_file: `evaluation_xyz.json`.
        verts_file: `evaluation_verts.json`; None scores no meshes.

    Returns:
        {name: number}, named as in `HandPoseMetric` and `HandMeshMetric`: MPJPE and AUC from 0 to 50 mm, `cam` (as they
        are), `scale_translation` (wrist on wrist, the bone from wrist to middle knuckle of the true length) and `pa`
        (Procrustes, reflection allowed); MPVPE, AUC of vertices and F-scores at 5 and 15 mm, `cam` and `pa` (fitted on
        the vertices). Errors in mm, where HO3D prints centimetres; AUC and F-scores from 0 to 1.

    Raises:
        ValueError: the annotations have another number of frames or vertices.
    """
    joints, vertices = read_ho3d_submission(path)
    truth = _truth(xyz_file, len(joints), joints.shape[1])
    scores = {}
    found, true = (to_common(torch.from_numpy(1000 * points), 'ho3d')[0].numpy() for points in (joints, truth))
    for label, (name, alignment) in ALIGNMENTS.items():
        errors = point_errors(found, true, alignment=alignment)
        scores[name] = joint_mean(errors)
        scores[auc_name(label, *AUC_RANGE[:2])] = auc(errors, *AUC_RANGE)
    if verts_file is not None:
        scores |= _mesh_scores(1000 * vertices, 1000 * _truth(verts_file, len(joints), vertices.shape[1]))
    return scores


def _truth(path: str | Path, count: int, points: int) -> FloatArray:
    """The annotated points (count, points, 3) of a JSON file."""
    truth = _points(read_json(path, list, advice='HO3D links it beside the dataset: download it again'), path)
    if truth.shape != (count, points, 3):
        raise ValueError(f'the submission has {count} frames of {points} points, but {path} holds {truth.shape}')
    return truth


def _mesh_scores(prediction: FloatArray, target: FloatArray) -> dict[str, float]:
    """{name: number} of meshes (N, V, 3) in millimetres."""
    scores = {}
    for label, alignment in (('cam', 'none'), ('pa', 'procrustes')):
        aligned, _, _ = align_pair(prediction, target, alignment=alignment)
        errors = np.linalg.norm(aligned - target, axis=-1)
        scores[MPVPE[label].name] = joint_mean(errors)
        scores[vertex_auc_name(label, *AUC_RANGE[:2])] = auc(errors, *AUC_RANGE)
        matched = np.mean([f_score(*pair, F_SCORES) for pair in zip(aligned, target, strict=True)], axis=0)
        scores |= {f_score_name(label, t): float(share) for t, share in zip(F_SCORES, matched, strict=True)}
    return scores
