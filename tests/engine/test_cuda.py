"""The same on a GPU as on the CPU: numbers, mixed precision, resume and compile. Skipped where there is none."""

import pytest
import torch
from random_clips import RandomClips
from run_random_clips import CONFIG, clips, train

from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.engine.training import prepare_estimator, training_options
from handpose.models import TrainingStep
from handpose.registry import MODELS

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device, and there is none'),
]


@pytest.fixture
def exact(monkeypatch):
    """Convolutions and products in whole float32, by algorithms that give the same bits each time."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    yield
    torch.set_float32_matmul_precision(precision)


def estimator_and_batch(device, **options):
    config = load_config(CONFIG)
    config.training.update(options)
    torch.manual_seed(0)
    estimator = MODELS.build(config.model)
    prepare_estimator(estimator, training_options(config))
    dataset = RandomClips(length=2, size=64)
    return estimator.to(device), collate([dataset[0], dataset[1]])['batch'].to(device)


def test_parity_with_the_cpu(exact):
    """Losses in training mode, and predictions in evaluation mode."""
    results = []
    for device in ('cpu', 'cuda'):
        estimator, batch = estimator_and_batch(device)
        losses = {name: value.item() for name, value in estimator.train().loss(batch, TrainingStep()).items()}
        results.append((losses, estimator.eval().predict(batch).joints_3d.cpu()))
    (losses, joints), (cuda_losses, cuda_joints) = results
    assert cuda_losses == pytest.approx(losses, rel=1e-3)
    torch.testing.assert_close(cuda_joints, joints, rtol=0, atol=1e-4)


@pytest.mark.parametrize('amp', [True, 'float16', 'bfloat16'])
def test_mixed_precision_trains(tmp_path, amp):
    runner = train(tmp_path, 1, {'epochs': 1, 'training.amp': amp, 'training.accumulate': 2})
    assert next(runner.model.parameters()).is_cuda
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


@pytest.mark.parametrize('amp', [False, 'float16'])
def test_resumes_to_the_unbroken_run(tmp_path, exact, amp):
    """Close, not equal: some of CUDA's sums have no fixed order."""
    options = {'epochs': 2, 'training.amp': amp, 'env_cfg.cudnn_benchmark': False, **clips(8)}
    whole = train(tmp_path / 'whole', 2, dict(options)).model.state_dict()
    train(tmp_path / 'parts', 1, {**options, **clips(8)})
    parts = train(tmp_path / 'parts', 2, {**options, **clips(8)}).model.state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.parametrize('options', [dict(compile=True), dict(channels_last=True), dict(activation_checkpointing=True)])
def test_options_change_no_loss(exact, options):
    plain, batch = estimator_and_batch('cuda')
    expected = {name: value.item() for name, value in plain.train().loss(batch, TrainingStep()).items()}
    optioned, _ = estimator_and_batch('cuda', **options)
    losses = optioned.train().loss(batch, TrainingStep())
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-3)
