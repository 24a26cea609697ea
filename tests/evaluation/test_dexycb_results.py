"""DexYCB's result file against files written by hand, and scores against a plain loop over scipy's Procrustes."""

import numpy as np
import pytest
import torch
from samplings import centred
from scipy.integrate import trapezoid
from scipy.linalg import orthogonal_procrustes

from handpose.datasets import DexYCB
from handpose.evaluation import DexYCBResults, read_dexycb_results, score_dexycb_results
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError


def track(joints, first_index, sequence='a', frames=None, hands=None, occlusion=None):
    """A labelled track (T, 21, 3) of a right hand whose frames follow each other in the official order."""
    num_frames = len(joints)
    frames = list(range(num_frames)) if frames is None else frames
    hand = torch.ones(num_frames, 1, dtype=torch.bool) if hands is None else torch.tensor(hands)[:, None]
    meta = {'sequence': sequence, 'cameras': ['1'], 'frame_indices': frames, 'hand_model': 'mano'}
    return HandSequence(
        meta={**meta, 'official_indices': [first_index + f for f in frames]},
        frame_valid=torch.ones(num_frames, dtype=torch.bool),
        hand_side=torch.tensor([1]),
        hand_valid=hand,
        joints_3d=torch.as_tensor(joints, dtype=torch.float32)[:, None],
        joints_valid=hand[..., None].expand(-1, -1, 21),
        occlusion=None if occlusion is None else torch.tensor(occlusion)[:, None, None],
    )


def hands(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.04, (count, 21, 3)) + (0, 0, 0.6)


def run(metric, pairs, size=None):
    metric.process(None, [dict(prediction=p, target=t) for p, t in pairs])
    return metric.evaluate(len(pairs) if size is None else size)


def predicted(target, joints, frame='camera'):
    joints = torch.as_tensor(joints, dtype=torch.float32)[:, None]
    return target.replace(joints_3d=joints, joints_valid=target.joints_valid.clone(), frame=frame)


def test_file_written_by_hand(tmp_path):
    """Known numbers in, the very text out: millimetres, the official index first, only frames with a hand."""
    joints = np.zeros((3, 21, 3))
    joints[0, 0] = (0.001, -0.0025, 0.5)
    joints[2, 20] = (0.1, 0.2, 0.30004)
    target = track(np.zeros((3, 21, 3)), 40, hands=[True, False, True])
    other = track(np.zeros((1, 21, 3)), 7, sequence='b')
    metric = METRICS.build(dict(type='DexYCBResults', path=str(tmp_path / 'new' / 'results.txt')))
    assert run(metric, [(predicted(target, joints), target), (predicted(other, joints[:1]), other)]) == {
        'submitted_frames': 3.0
    }
    zeros = ['0.0000'] * 60
    first = ','.join(['40', '1.0000', '-2.5000', '500.0000', *zeros])
    third = ','.join(['42', *zeros, '100.0000', '200.0000', '300.0400'])
    text = (tmp_path / 'new' / 'results.txt').read_text()
    assert text == '\n'.join([first.replace('40,', '7,', 1), first, third]) + '\n'
    assert all(len(line.split(',')) == 64 for line in text.splitlines())
    indices, read = read_dexycb_results(tmp_path / 'new' / 'results.txt')
    assert indices.tolist() == [7, 40, 42] and read[2, 20].tolist() == [100, 200, 300.04]


def official(predictions, truths):
    """The official evaluator's definitions (DexYCB's toolkit, after FreiHAND's), in a plain loop; millimetres."""
    thresholds = np.linspace(0, 50, 100)
    errors = {'cam': [], 'ra_wrist': [], 'pa': []}
    for prediction, truth in zip(predictions, truths, strict=True):
        centred = [x - x.mean(0) for x in (truth, prediction)]
        norms = [np.linalg.norm(x) + 1e-8 for x in centred]
        unit = [x / n for x, n in zip(centred, norms, strict=True)]
        rotation, scale = orthogonal_procrustes(*unit)
        aligned = unit[1] @ rotation.T * scale * norms[0] + truth.mean(0)
        pairs = {'cam': (prediction, truth), 'ra_wrist': (prediction - prediction[0], truth - truth[0])}
        for name, (a, b) in {**pairs, 'pa': (aligned, truth)}.items():
            errors[name].append([np.sqrt(((p - t) ** 2).sum()) for p, t in zip(a, b, strict=True)])
    result = {}
    for name, rows in errors.items():
        rows = np.array(rows)
        result['pa_mpjpe_mm' if name == 'pa' else f'mpjpe_{name}_mm'] = np.mean([column.mean() for column in rows.T])
        curves = [[(column <= t).mean() for t in thresholds] for column in rows.T]
        result[f'auc_{name}_0_50mm'] = np.mean([trapezoid(curve, thresholds) / 50 for curve in curves])
    return result


def test_scores_equal_the_official_definitions(tmp_path):
    truth = hands(12)
    prediction = truth + hands(12, 1) * 0.2 - (0, 0, 0.11)
    prediction[3] = prediction[3] * (-1, 1, 1)  # a mirrored hand: the official fit allows the reflection
    occlusion = [0.1, 0.24, 0.25, 0.3, 0.49, 0.5, 0.6, 0.74, 0.75, 0.9, 1.0, float('nan')]
    target = track(truth, 100, occlusion=occlusion)
    run(DexYCBResults(tmp_path / 'r.txt'), [(predicted(target, prediction), target)])
    found = score_dexycb_results(tmp_path / 'r.txt', [target])
    expected = official(prediction * 1000, truth * 1000)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=2e-4)
    assert found['num_samples'] == 12
    for name, rows in {'0_25': slice(0, 2), '25_50': slice(2, 5), '50_75': slice(5, 8), '75_100': slice(8, 11)}.items():
        part = official(prediction[rows] * 1000, truth[rows] * 1000)
        assert found[f'pa_mpjpe_mm/occlusion_{name}'] == pytest.approx(part['pa_mpjpe_mm'], abs=2e-4), name
        assert found[f'num_samples/occlusion_{name}'] == rows.stop - rows.start


def test_a_constant_offset_and_extra_lines(tmp_path):
    truth = hands(4)
    lines = [[i, *(1000 * (joints + (0, 0.003, 0.004))).ravel()] for i, joints in enumerate(truth)]
    lines = [*lines[::-1], [99, *np.zeros(63)]]  # any order; index 99 has no hand
    path = tmp_path / 'r.txt'
    path.write_text('\n'.join(','.join(map(str, line)) for line in lines))
    found = score_dexycb_results(path, [track(truth[:3], 0), track(truth[3:], 3, 'b')])
    assert found['mpjpe_cam_mm'] == pytest.approx(5, abs=1e-3) and found['mpjpe_ra_wrist_mm'] < 1e-3
    # All errors are 5 mm, which lies between thresholds 9 and 10 of 99: the curve steps from 0 to 1 there.
    assert found['auc_cam_0_50mm'] == pytest.approx((99 - 9.5) / 99) and found['pa_mpjpe_mm'] < 1e-3
    with pytest.raises(ValueError, match=r'lacks index 4 \(b camera 1 frame 1\)'):
        score_dexycb_results(path, [track(truth[2:], 3, 'b')])
    unnumbered = track(truth[:3], 0).replace(meta={'sequence': 'a', 'cameras': ['1']})
    with pytest.raises(ValueError, match='has no official_indices'):
        score_dexycb_results(path, [unnumbered])


def test_official_index_counts_every_frame_of_the_split(tmp_path):
    """Subject, sequence, camera in the published order, frame; cameras left out and frames without a hand count too."""
    import dexycb_files as files

    serials = ('932122062010', '932122061900')  # meta.yml's order is not the published one
    root = files.write_root(tmp_path, subjects=(1, 3), serials=serials, frames=4, no_hand=(0,))
    tracks = DexYCB(root, split='test', setup='s0')
    found = {(t.meta['sequence'], t.meta['cameras'][0]): t.meta['official_indices'] for t in tracks}
    name = '20200709-subject-03/20200709_100004'  # the only test sequence: number 4 of the third subject
    assert found == {(name, '932122061900'): [1, 2, 3], (name, '932122062010'): [5, 6, 7]}
    one = DexYCB(root, setup='all', cameras=['932122062010'])[6]
    assert one.meta['official_indices'] == [6 * 8 + 4 + f for f in (1, 2, 3)]
    clip = DexYCB(root, split='test', setup='s0', sampling=centred(3))[0]
    assert clip.meta['frame_indices'] == [1, 1, 2] and clip.meta['official_indices'] == [5, 5, 6]


def test_nothing_is_written_when_something_is_missing(tmp_path):
    path = tmp_path / 'r.txt'
    path.write_text('old')
    target = track(hands(3), 0)
    whole = predicted(target, hands(3, 1))
    lost = whole.replace(joints_valid=target.joints_valid.clone())
    lost.joints_valid[1, 0, 4] = False
    gap = track(hands(2), 0, frames=[0, 2])
    wild = whole.replace(joints_3d=whole.joints_3d * float('nan'))
    world = target.replace(frame='world')
    for pairs, size, sentence in (
        ([(lost, target)], 1, 'a camera 1 frame 0: frame 1 is annotated, but has no complete prediction'),
        ([(whole, target)], 2, '1 of 2 tracks were predicted'),
        ([(predicted(gap, hands(2, 1)), gap)], 1, 'a camera 1 was tested without frame 1'),
        ([(whole, target), (predicted(target, hands(3, 2)), target)], 1, 'frame 0 was predicted twice'),
        ([(wild, target)], 1, 'predicted joints are NaN'),
        ([(whole, world)], 1, "in the camera's frame"),
        (
            [(whole, target.replace(meta={'sequence': 'a'}))],
            1,
            r'gives no official_indices \(the split is not complete on disk\)',
        ),
    ):
        with pytest.raises(SequenceError, match=sentence):
            run(DexYCBResults(path), pairs, size)
    assert path.read_text() == 'old' and [p.name for p in tmp_path.iterdir()] == ['r.txt']
    repeated = [(whole, target), (whole, target)]  # a sampler that pads the last batch
    assert run(DexYCBResults(path), repeated, 1) == {'submitted_frames': 3.0}


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('', 'is empty'),
        ('1,2,3', 'line 1: expected an index and 63 numbers'),
        (','.join(['1.5', *['0'] * 63]), 'line 1: expected an index'),
        (','.join(['1', *['0'] * 62, 'nan']), 'line 1: expected an index'),
        ('\n'.join([','.join(['1', *['0'] * 63])] * 2), 'line 2: index 1 is repeated'),
    ],
)
def test_files_that_are_no_result_files(tmp_path, text, sentence):
    (tmp_path / 'r.txt').write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_dexycb_results(tmp_path / 'r.txt')
