import numpy as np
import pytest
import torch

from handpose.evaluation import (
    HandMeshMetric,
    HandPoseMetric,
    load_records,
    metrics_table,
    mpjpe,
    mpvpe,
    point_errors,
    specs_of,
)
from handpose.hands.joints import COMMON_JOINTS
from handpose.registry import METRICS
from handpose.structures import HandSequence, SequenceError

NOWHERE = torch.zeros(1, 1, 21, dtype=torch.bool)
ONLY_CAMERA = ('mpvpe_cam', 'auc_vertices_cam', 'f_score_5', 'f_score_15')


def clip(frames, sequence='grasp', camera='c0', seed=0, hands=1, vertices=0, noise=0.01):
    """A pair whose numbers depend on the frame alone, so that clips that share frames agree on them."""
    joints = [np.random.default_rng([seed, f]).normal(size=(2, hands, 21, 3)) for f in frames]
    target = torch.tensor(np.array([0.05 * x[0] + [0, 0, 0.6] for x in joints]), dtype=torch.float32)
    predicted = target + torch.tensor(np.array([noise * x[1] for x in joints]), dtype=torch.float32)
    common = dict(
        meta=dict(sequence=sequence, cameras=[camera], frame_indices=list(frames)),
        frame_valid=torch.ones(len(frames), dtype=torch.bool),
        hand_side=torch.arange(2)[-hands:],
        joints_valid=torch.ones(target.shape[:3], dtype=torch.bool),
        hand_valid=torch.ones(target.shape[:2], dtype=torch.bool),
    )
    if vertices:
        extra = torch.randn(len(frames), hands, vertices, 3, generator=torch.Generator().manual_seed(seed)) * 0.04
        meshes = target[:, :, :1] + extra, predicted[:, :, :1] + 1.1 * extra
    else:
        meshes = None, None
    occlusion = torch.linspace(0, 1, len(frames))[:, None, None].expand(-1, 1, hands).contiguous()
    truth = HandSequence(joints_3d=target, occlusion=occlusion, vertices=meshes[0], **common).validate()
    return dict(prediction=HandSequence(joints_3d=predicted, vertices=meshes[1], **common).validate(), target=truth)


def in_wrist_frame(pair):
    prediction = pair['prediction']
    wrist = prediction.joints_3d[:, :, :1]
    vertices = None if prediction.vertices is None else prediction.vertices - wrist
    moved = prediction.replace(frame='wrist', joints_3d=prediction.joints_3d - wrist, vertices=vertices)
    return dict(pair, prediction=moved)


def evaluate(metric, *pairs):
    for pair in pairs:
        metric.process(None, [pair])
    return metric.evaluate(size=len(pairs))


def millimetres(pair):
    return [1000 * pair[name].joints_3d.double().numpy().reshape(-1, 21, 3) for name in ('prediction', 'target')]


def test_pose_numbers_equal_the_functions():
    pair = clip(range(5), hands=2)
    results = evaluate(METRICS.build(dict(type='HandPoseMetric')), pair)
    for name, alignment in {
        'mpjpe_cam_mm': 'none',
        'mpjpe_ra_wrist_mm': 'wrist',
        'mpjpe_ra_wrist_bone_scaled_mm': 'wrist_bone_scaled',
        'pa_mpjpe_mm': 'procrustes',
        'pa_mpjpe_rotation_mm': 'procrustes_rotation',
    }.items():
        errors = point_errors(*millimetres(pair), alignment=alignment)
        assert results[name] == pytest.approx(errors.mean(), rel=1e-5)
        assert results[f'{name}/left'] == pytest.approx(errors[::2].mean(), rel=1e-5)
        assert results[f'{name}/right'] == pytest.approx(errors[1::2].mean(), rel=1e-5)
        tip = errors[:, COMMON_JOINTS.index('index_tip')].mean()
        assert results[f'{name}/joint_index_tip'] == pytest.approx(tip, rel=1e-5)
        # occlusion runs 0, .25, .5, .75, 1: a bin holds its lower edge, and the last bin also 100 %
        assert results[f'{name}/occlusion_50_75'] == pytest.approx(errors[4:6].mean(), rel=1e-5)
        assert results[f'{name}/occlusion_75_100'] == pytest.approx(errors[6:].mean(), rel=1e-5)
    assert results['num_samples'] == 10 and results['num_samples/occlusion_75_100'] == 4
    assert results['num_missing'] == 0


def test_wrist_predictions_have_no_camera_numbers_and_the_same_others():
    pair = clip(range(4))
    camera = evaluate(HandPoseMetric(), pair)
    wrist = evaluate(HandPoseMetric(), in_wrist_frame(pair))
    assert wrist == pytest.approx({k: v for k, v in camera.items() if '_cam_' not in k}, rel=1e-3)
    assert 'accel_error_cam_mm_per_frame2' in camera


def test_windows_are_put_together_into_tracks():
    whole = evaluate(HandPoseMetric(), clip(range(9)), clip(range(20, 23), seed=1))
    parts = [clip([f, f + 3, f + 6]) for f in range(3)] + [clip(range(20, 23), seed=1)]
    for pair in parts:  # the share of occlusion of clip() depends on the window
        pair['target'] = pair['target'].replace(occlusion=None)
    strided = evaluate(HandPoseMetric(), *parts)
    assert strided == pytest.approx({k: v for k, v in whole.items() if 'occlusion' not in k})
    alone = evaluate(HandPoseMetric(), clip([0, 3, 6]))
    assert not [name for name in alone if name.startswith('accel')]


def test_cameras_and_hands_are_tracks_of_their_own():
    one = evaluate(HandPoseMetric(), clip(range(6)))
    two = evaluate(HandPoseMetric(), clip(range(6), camera='c1'), clip(range(6), camera='c2'))
    assert two['num_samples'] == 12
    assert two['accel_error_cam_mm_per_frame2'] == pytest.approx(one['accel_error_cam_mm_per_frame2'])


def two_cameras(pair):
    """The same hands as a clip of two cameras, which see different shares of them; the second does not know its own."""
    target = pair['target']
    both = dict(target.meta, cameras=['c0', 'c1'])
    unknown = torch.full_like(target.occlusion, torch.nan)
    occlusion = torch.cat([target.occlusion, unknown], 1)
    return dict(prediction=pair['prediction'].replace(meta=both), target=target.replace(meta=both, occlusion=occlusion))


@pytest.mark.parametrize('metric', [HandPoseMetric, HandMeshMetric])
def test_a_hand_that_several_cameras_see_counts_once(metric):
    """The key of a multi-view hand names all cameras of its clip, and its occlusion is that of those that know it."""
    pair = clip(range(6), hands=2, vertices=9)
    made = metric()
    numbers = evaluate(made, two_cameras(pair))
    assert numbers == evaluate(metric(), pair) and numbers[made.counted.name] == 12
    assert set(made.records['camera']) == {'c0+c1'}


def test_two_predictions_of_a_hand_that_several_cameras_see_are_refused():
    with pytest.raises(SequenceError, match=r'camera c0\+c1 frame 2 left hand was predicted twice'):
        evaluate(HandPoseMetric(), two_cameras(clip(range(6), hands=2)), two_cameras(clip([2], hands=2, noise=0.1)))


def test_identical_repeats_count_once_and_others_are_refused():
    once = evaluate(HandPoseMetric(), clip(range(4)), clip(range(4, 8)))
    twice = evaluate(HandPoseMetric(), clip(range(4)), clip(range(4, 8)), clip(range(4)))
    assert twice == once
    with pytest.raises(SequenceError, match='grasp camera c0 frame 2 right hand was predicted twice'):
        evaluate(HandPoseMetric(), clip(range(4)), clip([2, 9], noise=0.1))


def test_context_frames_give_way_and_missing_ones_are_counted():
    centres = []
    for centre in (1, 2, 3):
        pair = clip([centre - 1, centre, centre + 1], noise=0.02)
        only = torch.zeros_like(pair['prediction'].joints_valid)
        only[1] = True
        centres.append(dict(pair, prediction=pair['prediction'].replace(joints_valid=only)))
    results = evaluate(HandPoseMetric(), *centres)
    assert results['num_samples'] == 3 and results['num_missing'] == 2
    assert results['mpjpe_cam_mm'] == pytest.approx(mpjpe(*millimetres(clip([1, 2, 3], noise=0.02))), rel=1e-5)


@pytest.mark.parametrize('field', ['frame_valid', 'hand_valid', 'joints_valid'])
def test_unannotated_frames_do_not_count_nor_make_triples(field):
    pair = clip(range(7))
    mask = getattr(pair['target'], field).clone()
    mask[3] = False
    garbage = pair['target'].joints_3d.clone()
    garbage[3] = float('nan')
    results = evaluate(HandPoseMetric(), dict(pair, target=pair['target'].replace(joints_3d=garbage, **{field: mask})))
    kept = evaluate(HandPoseMetric(), clip([0, 1, 2]), clip([4, 5, 6]))
    expected = {k: v for k, v in kept.items() if 'occlusion' not in k}
    assert {k: v for k, v in results.items() if 'occlusion' not in k} == pytest.approx(expected)


def test_padding_of_a_batch_is_ignored():
    batch = HandSequence.stack([clip(range(5))['target'], clip(range(10, 12))['target']])
    predicted = HandSequence.stack([clip(range(5))['prediction'], clip(range(10, 12))['prediction']])
    pairs = [dict(prediction=p, target=t) for p, t in zip(predicted.unstack(), batch.unstack(), strict=True)]
    assert evaluate(HandPoseMetric(), *pairs)['num_samples'] == 7


def test_protocol_of_twenty_joints():
    pair = clip(range(3))
    counted, uncounted = evaluate(HandPoseMetric(), pair), evaluate(HandPoseMetric(count_wrist=False), pair)
    assert uncounted['mpjpe_ra_wrist_20_joints_mm'] == pytest.approx(counted['mpjpe_ra_wrist_mm'] * 21 / 20)
    assert uncounted['pa_mpjpe_mm'] == counted['pa_mpjpe_mm']
    assert 'mpjpe_ra_wrist_mm' not in uncounted


def test_records_can_be_paired(tmp_path):
    path = tmp_path / 'new' / 'records.npz'
    metric = HandPoseMetric(keep_records=path, breakdowns=())
    results = evaluate(metric, clip([5, 4]), clip([3], sequence='a'))
    keys = [metric.records[name].tolist() for name in ('sequence', 'frame', 'hand')]
    assert keys == [['a', 'grasp', 'grasp'], [3, 4, 5], ['right'] * 3]
    records = load_records(path)
    assert records.keys() == metric.records.keys()
    for name, column in records.items():
        np.testing.assert_array_equal(column, metric.records[name])
    assert list(records['frame']) == [3, 4, 5]
    assert records['pa_mpjpe_mm'].mean() == pytest.approx(results['pa_mpjpe_mm'])
    assert [p.name for p in path.parent.iterdir()] == ['records.npz']
    assert not [name for name in results if '/' in name]


def broken(pair, name, **changes):
    return dict(pair, **{name: pair[name].replace(**changes)})


@pytest.mark.parametrize(
    'pair, sentence',
    [
        (broken(clip([1]), 'prediction', joints_3d=None), 'the prediction needs joints_3d'),
        (broken(clip([1]), 'prediction', frame='world'), "in frame 'world'; it must be in 'wrist' or"),
        (broken(clip([1]), 'prediction', joints_3d=torch.full((1, 1, 21, 3), torch.nan)), 'NaN or infinite'),
        (broken(clip([1]), 'target', hand_side=None), 'lacks hand_side'),
        (dict(clip([1]), prediction=clip([2])['prediction']), 'of another frame_indices'),
        (dict(clip([1]), prediction=clip([1, 2])['prediction']), 'differ in shape'),
        (
            broken(clip([1]), 'prediction', joints_valid=NOWHERE),
            'no annotated hand was predicted',
        ),
        (broken(clip([1]), 'target', joints_valid=NOWHERE), 'nothing to evaluate'),
    ],
)
def test_what_cannot_be_compared_is_refused(pair, sentence):
    with pytest.raises(SequenceError, match=sentence):
        evaluate(HandPoseMetric(), pair)


@pytest.mark.parametrize(
    'options, sentence',
    [
        (dict(breakdowns=('finger',)), "got 'finger'"),
        (dict(auc_ranges=dict(root=(0, 50, 100))), "got 'root'"),
        (dict(auc_ranges=dict(pa=(50, 0, 100))), 'high > low'),
        (dict(keep_records='records.csv'), 'path of an .npz file'),
    ],
)
def test_wrong_options_are_refused_at_build(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        HandPoseMetric(**options)


def test_mesh_numbers_equal_the_functions():
    pair = clip(range(4), vertices=60, hands=2)
    results = evaluate(METRICS.build(dict(type='HandMeshMetric')), pair)
    meshes = [1000 * pair[name].vertices.double().numpy().reshape(-1, 60, 3) for name in ('prediction', 'target')]
    joints = millimetres(pair)
    assert results['mpvpe_cam_mm'] == pytest.approx(mpvpe(*meshes))
    assert results['mpvpe_ra_wrist_mm'] == pytest.approx(mpvpe(*meshes, 'wrist', *joints))
    scaled = mpvpe(*meshes, 'wrist_bone_scaled', *joints)
    assert results['mpvpe_ra_wrist_bone_scaled_mm'] == pytest.approx(scaled)
    assert abs(scaled - results['mpvpe_ra_wrist_mm']) > 1
    assert results['pa_mpvpe_mm'] == pytest.approx(mpvpe(*meshes, 'procrustes'), abs=1e-4)
    assert results['pa_f_score_5mm'] == 1.0 and results['f_score_5mm'] < results['f_score_15mm']
    assert results['num_mesh_samples/left'] == 4
    wrist = evaluate(HandMeshMetric(), in_wrist_frame(pair))
    shared = {k: v for k, v in results.items() if not k.startswith(ONLY_CAMERA)}
    assert wrist == pytest.approx(shared, rel=1e-3, abs=1e-4)


def test_a_hand_without_a_true_mesh_is_no_sample_of_meshes():
    """What the hand model makes of parameters that nobody annotated is no truth, though the joints are."""
    pair = clip(range(4), vertices=60)
    known = torch.tensor([[True], [True], [False], [True]])
    garbage = pair['target'].vertices.clone()
    garbage[2] = 5.0
    annotated = broken(pair, 'target', vertices=garbage, hand_pose_valid=known)
    results = evaluate(HandMeshMetric(), annotated)
    kept = evaluate(HandMeshMetric(), clip(range(4), vertices=60))
    rows = [0, 1, 3]
    meshes = [1000 * pair[name].vertices.double().numpy()[rows, 0] for name in ('prediction', 'target')]
    assert results['num_mesh_samples'] == 3 and kept['num_mesh_samples'] == 4
    assert results['mpvpe_cam_mm'] == pytest.approx(mpvpe(*meshes))
    assert evaluate(HandPoseMetric(), annotated)['num_samples'] == 4


@pytest.mark.parametrize('name, what', [('prediction', 'the predicted'), ('target', 'the annotated')])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_joint_that_is_no_number_is_named(name, what, value):
    pair = clip(range(3, 8), hands=2)
    joints = pair[name].joints_3d.clone()
    joints[2, 1, 7] = value
    with pytest.raises(SequenceError, match=f'grasp camera c0 frame 5 right hand: {what} joints_3d is NaN or infinite'):
        evaluate(HandPoseMetric(), broken(pair, name, joints_3d=joints))
    mask = torch.ones_like(pair[name].joints_valid)
    mask[2, 1, 7] = False
    results = evaluate(HandPoseMetric(), broken(pair, name, joints_3d=joints, joints_valid=mask))
    assert results['num_samples'] == 10 and results['num_missing_joints'] == (name == 'prediction')


@pytest.mark.parametrize('name, what', [('prediction', 'the predicted'), ('target', 'the true')])
def test_a_vertex_that_is_no_number_is_named(name, what):
    pair = clip(range(3), vertices=9)
    vertices = pair[name].vertices.clone()
    vertices[1, 0, 4] = float('nan')
    with pytest.raises(SequenceError, match=f'grasp camera c0 frame 1 right hand: {what} vertices is NaN'):
        evaluate(HandMeshMetric(), broken(pair, name, vertices=vertices))


def test_a_clip_without_any_predicted_mesh_is_missing_not_wrong():
    pair, context = clip([1, 2], vertices=9), clip([5], vertices=9)
    results = evaluate(HandMeshMetric(), pair, broken(context, 'prediction', joints_valid=NOWHERE))
    assert results['num_mesh_samples'] == 2 and results['num_mesh_missing'] == 1


def test_meshes_must_be_there_and_alike():
    with pytest.raises(SequenceError, match='the prediction has none'):
        evaluate(HandMeshMetric(), broken(clip([1], vertices=9), 'prediction', vertices=None))
    with pytest.raises(SequenceError, match='different hand models'):
        evaluate(HandMeshMetric(), dict(clip([1], vertices=9), prediction=clip([1], vertices=8)['prediction']))


def test_table_shows_models_side_by_side():
    specs = specs_of([HandPoseMetric()])
    results = {
        'smoother': {'num_samples': 12.0, 'pa_mpjpe_mm/left': 5.0, 'pa_mpjpe_mm': 5.221, 'auc_pa_0_50mm': 0.89612},
        'Deformer': {'pa_mpjpe_mm': 14.0, 'mpjpe_cam_mm': 80.634, 'pck_pa_20mm': 0.7, 'mpjpe_cam_mm/joint_wrist': 3.0},
    }
    assert metrics_table(results, specs).splitlines() == [
        '| metric           |   | smoother | Deformer |',
        '| ---------------- | - | -------: | -------: |',
        '| pa_mpjpe_mm      | ↓ |     5.22 |    14.00 |',
        '| mpjpe_cam_mm     | ↓ |        - |    80.63 |',
        '| auc_pa_0_50mm    | ↑ |   0.8961 |        - |',
        '| pa_mpjpe_mm/left | ↓ |     5.00 |        - |',
        '| num_samples      |   |       12 |        - |',
    ]
    with pytest.raises(ValueError, match='none of the numbers that belong in a table'):
        metrics_table({'a': {}}, specs)


def _evaluate_in_process(rank, address, folder):
    torch.distributed.init_process_group('gloo', init_method=f'file://{address}', rank=rank, world_size=2)
    metric = HandPoseMetric()
    # Unequal numbers of clips, and one that both processes have, as a sampler that pads makes it.
    for start in ([0, 6, 12], [0])[rank]:
        metric.process(None, [clip(range(start, start + 3))])
    results = metric.evaluate(size=3)
    np.save(f'{folder}/{rank}.npy', [results['num_samples'], results['mpjpe_cam_mm']])
    torch.distributed.destroy_process_group()


def test_processes_give_the_same_numbers_as_one(tmp_path):
    torch.multiprocessing.spawn(_evaluate_in_process, (tmp_path / 'meeting', tmp_path), nprocs=2)
    one = evaluate(HandPoseMetric(), *(clip(range(start, start + 3)) for start in (0, 6, 12)))
    for rank in range(2):
        assert np.load(tmp_path / f'{rank}.npy') == pytest.approx([one['num_samples'], one['mpjpe_cam_mm']])
