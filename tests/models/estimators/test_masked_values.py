"""NaN and infinity where masks say that there is no data change nothing; where there is data, they are refused."""

import action_clips
import egocentric
import motion_clips
import multi_view
import pytest
import test_deformer
import torch

from handpose.models import TrainingStep
from handpose.registry import MODELS
from handpose.structures import SPECS, HandSequence, SequenceError


def deformer(**options):
    model = test_deformer.build(options)
    torch.nn.init.normal_(model.head.pose.weight, std=0.1)  # so that features matter
    return model, test_deformer.make_batch(frames=5)


def htt(**options):
    return action_clips.build(**options), action_clips.make_batch(frames=5)


def htt_on_features():
    model, batch = htt(backbone=None)
    return model, batch.replace(images=None, features=torch.randn(2, 5, 1, 32))


def refiner(name, **options):
    clips = [motion_clips.clip(9, 2, (0, 1), seed=1), motion_clips.clip(7, 1, (1,), seed=2)]
    return motion_clips.build(name, **options), HandSequence.stack(clips)


def smoothnet():
    model = MODELS.build(dict(type='SmoothNet', frame_rate=30.0, num_frames=9, stride=4, loss=motion_clips.LOSS))
    return model, refiner('DSTformer')[1]


def mvexonet():
    return MODELS.build(multi_view.small_config()), multi_view.multi_view_batch(frames=5, cameras=3)


def svegonet(**options):
    return MODELS.build(egocentric.small_config(min_joints=1, **options)), egocentric.egocentric_batch(frames=5)


CASES = {
    'Deformer': deformer,
    'Deformer with fusion by occlusion': lambda: deformer(**{'model.head.mode': 'occlusion'}),
    'HTT': htt,
    'HTT side by side': lambda: htt(cascaded=False, tokenizer=None),
    'HTT on features': htt_on_features,
    'PDTM': lambda: refiner('PDTM'),
    'DSTformer': lambda: refiner('DSTformer'),
    'SmoothNet': smoothnet,
    'MVExoNet': mvexonet,
    'SVEgoNet': svegonet,
    'SVEgoNet with given wrists': lambda: svegonet(wrist_depth='input_joints'),
}


def make_case(name):
    """The estimator, and a batch with padding, a frame without a hand, and joints and poses that are not annotated."""
    if name.startswith(('Deformer', 'HTT', 'SVEgoNet')):
        pytest.importorskip('mmcv')
    torch.manual_seed(0)
    model, batch = CASES[name]()
    batch = batch.replace(
        meta=[{'dataset': 'test', 'sequence': f'clip {b}', 'frame_indices': list(range(9)), 'fps': 30.0} for b in '01'],
        **{name: value.clone() for name, value in batch.present().items()},
    )
    batch.frame_valid[0, -1] = False
    batch.hand_valid[1, 1] = False
    masks = {SPECS[name].mask for name in batch.present()} - {None}
    for mask in (getattr(batch, name) for name in masks):
        mask[0, -1] = mask[1, 1] = False
    batch.joints_valid[0, 0, :, 7] = False
    if batch.hand_pose is not None:
        batch.hand_pose_valid[0, 1] = batch.hand_pose_valid[1] = False
    return model, batch


def with_masked(batch, number):
    """The batch with a number in every place that is padding or masked."""
    changes = {}
    for name, value in batch.present().items():
        if not value.is_floating_point():
            continue
        value, spec = value.clone(), SPECS[name]
        if spec.shape[0] == 'T':
            value[~batch.frame_valid] = number
        if name == 'hand_shape':
            value[~batch.hand_pose_valid.any(1)] = number
        elif name == 'joints_2d':
            value[~batch.joints_2d_valid] = number
        elif spec.mask:
            value[~getattr(batch, spec.mask)] = number
        elif 'H' in spec.shape:  # boxes and occlusion (B, T, K, H, ...)
            value.movedim(3, 2)[~batch.hand_valid] = number
        changes[name] = value
    return batch.replace(**changes)


def step(model, batch):
    """Losses and gradients of a step whose random draws are always the same."""
    torch.manual_seed(1)
    model.train().zero_grad()
    losses = model.loss(batch, TrainingStep())
    motion_clips.summed(losses).backward()
    return {**losses, **{name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize('name', CASES)
def test_masked_numbers_change_neither_losses_nor_gradients(name):
    model, batch = make_case(name)
    expected = step(model, with_masked(batch, 0.0))
    assert any(value.abs().sum() > 0 for key, value in expected.items() if key.startswith('loss_'))
    for number in (torch.nan, torch.inf):
        found = step(model, with_masked(batch, number))
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert value.isfinite().all(), key
            assert torch.equal(value, expected[key]), key


@pytest.mark.parametrize('name', CASES)
def test_masked_numbers_do_not_reach_predictions(name):
    model, batch = make_case(name)
    model.eval()
    expected = model.predict(with_masked(batch, 0.0))
    for number in (torch.nan, torch.inf):
        found = model.predict(with_masked(batch, number)).validate()
        assert found.hand_valid.any()
        for key, value in found.present().items():
            if value.is_floating_point():
                assert value.isfinite().all(), key
            assert torch.equal(value, getattr(expected, key)), key


@pytest.mark.parametrize('name', CASES)
def test_numbers_that_are_not_finite_in_data_are_refused(name):
    model, batch = make_case(name)
    fields = [key for key, value in batch.present().items() if value.is_floating_point() and key != 'occlusion']
    assert fields
    for field in fields:
        value = getattr(batch, field).clone()
        value[(0,) if field == 'hand_shape' else (0, 2)] = torch.nan
        for run in (lambda sequence: model.loss(sequence, TrainingStep()), model.predict):
            with pytest.raises(SequenceError, match=rf"^test clip 0 .*field '{field}' is NaN or infinite.* [02] "):
                run(batch.replace(**{field: value}))


def test_a_camera_without_focal_length_is_refused():
    model, batch = make_case('HTT on features')
    batch.intrinsics[1, 3, 0, 0, 0] = 0
    for run in (lambda sequence: model.loss(sequence, TrainingStep()), model.predict):
        with pytest.raises(SequenceError, match=r"test clip 1 .*'intrinsics'.*without focal length.* in frame 3"):
            run(batch)
