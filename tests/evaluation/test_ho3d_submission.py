"""HO3D's submission file against files written by hand, and scores against a plain loop over scipy's Procrustes."""

import json
import zipfile

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.linalg import orthogonal_procrustes

from handpose.evaluation import HandPoseMetric, HO3DSubmission, read_ho3d_submission, score_ho3d_submission
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError

# Where HO3D's joints (wrist, index, middle, little, ring, thumb, five tips) lie among the common ones.
FROM_COMMON = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]


def write_list(root, lines):
    (root / 'evaluation.txt').write_text(''.join(f'{line}\n' for line in lines))


def clip(sequence, frames, lines, model='procedural-1', version=3, frame='camera', vertices=12, seed=0):
    """(prediction, target) of a track; frames outside of the list are not annotated."""
    rng = np.random.default_rng([seed, *sequence.encode()])
    count = len(frames)
    official = [lines.index(f'{sequence}/{f:04d}') if f'{sequence}/{f:04d}' in lines else -1 for f in frames]
    hand = torch.tensor(official)[:, None] >= 0
    meta = {'sequence': sequence, 'cameras': ['0'], 'frame_indices': frames, 'official_indices': official}
    meta |= {'hand_model': model, 'version': version, 'split': 'evaluation'}
    known = hand[..., None].repeat(1, 1, 21)
    known[..., 1:] = False
    wrist = torch.tensor([0.1, 0.2, 0.5])
    shared = dict(meta=meta, frame_valid=torch.ones(count, dtype=torch.bool), hand_side=torch.tensor([1]))
    target = HandSequence(
        **shared, hand_valid=hand, joints_3d=wrist.expand(count, 1, 21, 3).clone(), joints_valid=known
    )
    prediction = HandSequence(
        **shared,
        frame=frame,
        hand_valid=hand,
        joints_3d=torch.from_numpy(rng.normal(0, 0.03, (count, 1, 21, 3)) + (0, 0, 0.6)).float(),
        joints_valid=torch.ones(count, 1, 21, dtype=torch.bool),
        vertices=torch.from_numpy(rng.normal(0, 0.03, (count, 1, vertices, 3)) + (0, 0, 0.6)).float(),
    )
    return prediction, target


LINES = ['SM1/0000', 'SM1/0002', 'AP10/0001', 'AP10/0003']  # not in the order of the alphabet


def submit(metric, clips, size=2):
    metric.process(None, [dict(prediction=p, target=t) for p, t in clips])
    return metric.evaluate(size)


def expected(prediction, t, name='joints_3d'):
    points = getattr(prediction, name)[t, 0].numpy().astype(np.float64)
    points = points[FROM_COMMON] if name == 'joints_3d' else points
    return points * (1, -1, -1)


def test_file_order_axes_and_joint_order(tmp_path):
    write_list(tmp_path, LINES)
    clips = [clip('AP10', [1, 2, 3], LINES), clip('SM1', [0, 1, 2], LINES)]  # in another order than the list
    config = dict(type='HO3DSubmission', path=str(tmp_path / 'out' / 'pred.json'), version=3, data_root=str(tmp_path))
    assert submit(METRICS.build(config), clips) == {'submitted_frames': 4.0}
    content = json.loads((tmp_path / 'out' / 'pred.json').read_text())
    assert [np.shape(part) for part in content] == [(4, 21, 3), (4, 12, 3)]
    for row, (sequence, t) in enumerate([(1, 0), (1, 2), (0, 0), (0, 2)]):
        for part, name in enumerate(('joints_3d', 'vertices')):
            np.testing.assert_allclose(content[part][row], expected(clips[sequence][0], t, name), atol=6e-7)
    assert (np.array(content[0])[..., 2] < 0).all()  # OpenGL: in front of the camera is negative
    zipped = HO3DSubmission(tmp_path / 'pred.zip', 3, tmp_path)
    submit(zipped, clips)
    with zipfile.ZipFile(tmp_path / 'pred.zip') as archive:
        assert archive.namelist() == ['pred.json']  # flat, as the server wants it
        assert archive.read('pred.json') == (tmp_path / 'out' / 'pred.json').read_bytes()
    for file in ('out/pred.json', 'pred.zip'):
        joints, vertices = read_ho3d_submission(tmp_path / file)
        assert joints.tolist() == content[0] and vertices.tolist() == content[1]


def test_predictions_relative_to_the_wrist_are_put_on_the_given_wrist(tmp_path):
    write_list(tmp_path, ['SM1/0000'])
    prediction, target = clip('SM1', [0], ['SM1/0000'], frame='wrist')
    submit(HO3DSubmission(tmp_path / 'pred.json', 3, tmp_path), [(prediction, target)])
    joints, vertices = read_ho3d_submission(tmp_path / 'pred.json')
    np.testing.assert_allclose(joints[0], expected(prediction, 0) + (0.1, -0.2, -0.5), atol=6e-7)
    np.testing.assert_allclose(vertices[0], expected(prediction, 0, 'vertices') + (0.1, -0.2, -0.5), atol=6e-7)


def test_all_processes_are_gathered_and_repeats_count_once(tmp_path, monkeypatch):
    """Two processes, one of which got a padded sample that the other has too."""
    write_list(tmp_path, LINES)
    first, second = clip('SM1', [0, 2], LINES), clip('AP10', [1, 3], LINES)
    other = HO3DSubmission(tmp_path / 'x.json', 3, tmp_path)
    other.process(None, [dict(prediction=p, target=t) for p, t in (second, first)])

    def gather(results, size, device, tmpdir=None):
        return [*results, other.results][:size]

    monkeypatch.setattr('mmengine.evaluator.metric.collect_results', gather)
    metric = HO3DSubmission(tmp_path / 'pred.json', 3, tmp_path)
    assert submit(metric, [first]) == {'submitted_frames': 4.0}
    assert len(read_ho3d_submission(tmp_path / 'pred.json')[0]) == 4


def test_nothing_is_written_when_something_is_wrong(tmp_path):
    write_list(tmp_path, LINES)
    first, second = clip('SM1', [0, 2], LINES), clip('AP10', [1, 3], LINES)
    path = tmp_path / 'pred.json'
    path.write_text('old')
    partly = second[0].replace(joints_valid=second[0].joints_valid.clone())
    partly.joints_valid[1, 0, 7] = False
    mano = [
        clip(name, frames, LINES, model='mano', vertices=778) for name, frames in (('SM1', [0, 2]), ('AP10', [1, 3]))
    ]
    for clips, version, sentence in (
        ([first], 3, r'2 of the 4 frames .*have no prediction \(AP10/0001, AP10/0003\)'),
        ([first, (partly, second[1])], 3, 'AP10 .*frame 3 is annotated, but has no complete prediction'),
        ([first, second], 2, "of version 3, split 'evaluation', but .* evaluation split of version 2"),
        ([(first[0].replace(vertices=None), first[1])], 3, 'holds meshes, and the prediction has no vertices'),
        ([clip('SM1', [0], LINES, model='mano')], 3, 'the 778 vertices of MANO, and the prediction has 12'),
        (mano, 3, 'evaluation.txt lists 4 frames, but HO3D version 3 has 20137'),
        ([first, second, clip('AP10', [1], LINES, seed=1)], 3, 'AP10 camera 0 frame 1 was predicted twice'),
    ):
        with pytest.raises(SequenceError, match=sentence):
            submit(HO3DSubmission(path, version, tmp_path), clips)
    assert path.read_text() == 'old' and sorted(p.name for p in tmp_path.iterdir()) == ['evaluation.txt', 'pred.json']
    for arguments, sentence in (
        ((path, 4, tmp_path), 'version must be 2 or 3'),
        (('a.txt', 2, tmp_path), '.json or .zip'),
        ((path, 2, tmp_path / 'nowhere'), 'nowhere/evaluation.txt, the list of frames to submit, does not exist'),
    ):
        with pytest.raises(ValueError, match=sentence):
            HO3DSubmission(*arguments)


@pytest.mark.parametrize(('version', 'count'), [(2, 11_524), (3, 20_137)])
def test_the_official_lists(tmp_path, monkeypatch, version, count):
    monkeypatch.setattr('handpose.evaluation.submissions.ho3d.MANO_VERTICES', 1)  # a mesh of one point: a small file
    lines = [f'SM1/{frame:04d}' for frame in range(count)]
    write_list(tmp_path, lines)
    frames = list(range(len(lines)))
    pair = [
        x.select_frames([0] * len(lines)).replace(meta={**x.meta, 'frame_indices': frames, 'official_indices': frames})
        for x in clip('SM1', [0], lines, model='mano', version=version, vertices=1)
    ]
    assert submit(HO3DSubmission(tmp_path / 'pred.json', version, tmp_path), [pair]) == {'submitted_frames': count}
    joints, vertices = read_ho3d_submission(tmp_path / 'pred.json')
    assert joints.shape == (count, 21, 3) and vertices.shape == (count, 1, 3)


def reference(predicted, truth, aligned_as):
    """One alignment of HO3D's evaluator, in a plain loop over frames; points in metres as the file has them."""
    rows = []
    for p, t in zip(predicted, truth, strict=True):
        if aligned_as == 'scale_translation':  # joint 4 of HO3D's order is the middle knuckle
            p = p / np.sqrt(((p[4] - p[0]) ** 2).sum()) * np.sqrt(((t[4] - t[0]) ** 2).sum())
            p = p - p[0] + t[0]
        if aligned_as == 'pa':
            pc, tc = p - p.mean(0), t - t.mean(0)
            rotation, scale = orthogonal_procrustes(tc / np.linalg.norm(tc), pc / np.linalg.norm(pc))
            p = pc / np.linalg.norm(pc) @ rotation.T * scale * np.linalg.norm(tc) + t.mean(0)
        rows.append(p)
    return np.array(rows)


def mean_and_auc(predicted, truth):
    errors = np.linalg.norm(predicted - truth, axis=-1)
    thresholds = np.linspace(0, 0.05, 100)
    curve = np.mean([[(column <= t).mean() for t in thresholds] for column in errors.T], axis=0)
    return 1000 * errors.mean(), trapezoid(curve, thresholds) / 0.05


def f_scores(predicted, truth, threshold):
    scores = []
    for p, t in zip(predicted, truth, strict=True):
        distance = np.linalg.norm(p[:, None] - t[None], axis=-1)
        precision, recall = (distance.min(1) < threshold).mean(), (distance.min(0) < threshold).mean()
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.mean(scores)


def test_scores_equal_the_official_definitions(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.04, (6, 21, 3)) - (0, 0, 0.5)
    mesh = rng.normal(0, 0.04, (6, 40, 3)) - (0, 0, 0.5)
    predicted, predicted_mesh = truth * 1.1 + rng.normal(0, 0.006, truth.shape), mesh + rng.normal(0, 0.008, mesh.shape)
    predicted[2] *= (-1, 1, 1)
    for name, content in (('pred', [predicted, predicted_mesh]), ('xyz', truth), ('verts', mesh)):
        content = [part.tolist() for part in content]
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    found = score_ho3d_submission(tmp_path / 'pred.json', tmp_path / 'xyz.json', tmp_path / 'verts.json')
    for label in ('cam', 'scale_translation', 'pa'):
        error, area = mean_and_auc(reference(predicted, truth, label), truth)
        assert found['pa_mpjpe_mm' if label == 'pa' else f'mpjpe_{label}_mm'] == pytest.approx(error, rel=1e-5)
        assert found[f'auc_{label}_0_50mm'] == pytest.approx(area, abs=1e-6)
    for label, prefix in (('cam', ''), ('pa', 'pa_')):
        aligned = reference(predicted_mesh, mesh, label)
        error, area = mean_and_auc(aligned, mesh)
        assert found['pa_mpvpe_mm' if label == 'pa' else 'mpvpe_cam_mm'] == pytest.approx(error, rel=1e-5)
        assert found[f'auc_vertices_{label}_0_50mm'] == pytest.approx(area, abs=1e-6)
        for threshold in (5, 15):
            assert found[f'{prefix}f_score_{threshold}mm'] == pytest.approx(f_scores(aligned, mesh, threshold / 1000))
    assert 0 < found['f_score_5mm'] < found['f_score_15mm'] < 1
    alone = score_ho3d_submission(tmp_path / 'pred.json', tmp_path / 'xyz.json')
    assert alone == {name: found[name] for name in alone} and len(alone) == 6
    with pytest.raises(ValueError, match=r'6 frames of 21 points, but .*verts.json holds'):
        score_ho3d_submission(tmp_path / 'pred.json', tmp_path / 'verts.json')
    with pytest.raises(ValueError, match='must hold two lists, of joints and of vertices'):
        read_ho3d_submission(tmp_path / 'xyz.json')


def test_a_wrist_alone_gives_no_numbers():
    """The evaluation part knows the wrist alone; aligned on itself it must not count as an error of zero."""
    prediction, target = clip('SM1', [0, 1, 2], LINES, frame='wrist')  # frame 1 is not in the list
    metric = HandPoseMetric()
    metric.process(None, [dict(prediction=prediction, target=target)])
    counts = {'num_samples': 2.0, 'num_samples/right': 2.0, 'num_missing': 0.0, 'num_missing_joints': 0.0}
    assert metric.evaluate(1) == counts
