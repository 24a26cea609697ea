"""`handpose extract-features`, from a trained config to a training on its features."""

from pathlib import Path

import h2o_files
import pytest
import torch

from handpose.cli import main
from handpose.engine import load_config
from handpose.models import TrainingStep
from handpose.registry import DATASETS, MODELS
from handpose.structures import HandSequence

ROOT = Path(__file__).parents[2]

pytest.importorskip('mmcv')
IMAGES, FEATURES = 'configs/htt/synthetic.py', 'configs/htt/synthetic_features.py'
BACKBONE = {'model.backbone.base_channels': 4}
REST = {'channels': 32, 'num_frames': 4, 'window': 2, 'image_size': (64, 36)}


@pytest.fixture
def options(tmp_path, monkeypatch):
    """Those of a small HTT on a root in H2O's layout."""
    monkeypatch.chdir(ROOT)
    root = h2o_files.write_root(tmp_path / 'h2o')
    return {**REST, 'data_root': f'{root}/../h2o'}  # not the shortest way to write it


@pytest.fixture
def trained(options, tmp_path):
    """A small HTT, and the file of its weights."""
    estimator = MODELS.build(load_config(IMAGES, {**options, **BACKBONE}).model)
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, tmp_path / 'small.pth')
    return estimator.eval(), tmp_path / 'small.pth'


def extract(config, out, weights, options):
    words = [f'{name}={value}'.replace(' ', '') for name, value in options.items()]
    main('extract-features', [config, '-o', str(out), '--checkpoint', str(weights), '--cfg-options', *words])


def test_features_are_those_of_the_images(options, trained, tmp_path, capsys):
    (estimator, weights), out = trained, tmp_path / 'features.npz'
    extract(IMAGES, out, weights, {**options, **BACKBONE})
    # Segments of 10 + 18 + 5 frames for training, 5 for validation and 7 for testing.
    assert f'{out}: 45 images' in ' '.join(capsys.readouterr().out.split())
    config = load_config(FEATURES, {**options, 'features': str(out)})
    images = load_config(IMAGES, {**options, **BACKBONE}).test_dataloader.dataset
    video, seen = DATASETS.build(config.test_dataloader.dataset)[0], DATASETS.build(images)[0]
    with torch.no_grad():
        expected = estimator.encode(seen.images[None, :, 0])[0]
    torch.testing.assert_close(video.features[:, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(video.intrinsics, seen.intrinsics)
    clips = DATASETS.build(config.train_dataloader.dataset)
    losses = MODELS.build(config.model).loss(HandSequence.stack([clips[0], clips[1]]), TrainingStep())
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_models_without_a_backbone(options, trained):
    with pytest.raises(SystemExit, match=r'HTT of configs/htt/synthetic_features\.py has no backbone'):
        extract(FEATURES, 'x.npz', trained[1], options)


def test_htt_on_all_that_the_image_estimator_says(options, tmp_path, monkeypatch):
    """G-HTT's baseline: the image feature with the hands and the object of F."""
    images, features = 'configs/ghtt/synthetic_image.py', 'configs/ghtt/synthetic_htt.py'
    small = {**BACKBONE, **options, 'num_frames': 1, 'window': 1}
    estimator = MODELS.build(load_config(images, small).model).eval()
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, tmp_path / 'f.pth')
    extract(images, tmp_path / 'features.npz', tmp_path / 'f.pth', small)
    config = load_config(
        features, {**options, 'features': str(tmp_path / 'features.npz'), 'feature_size': 32 + 126 + 512}
    )
    video = DATASETS.build(config.test_dataloader.dataset)[0]
    seen = DATASETS.build(load_config(images, small).test_dataloader.dataset)[0]
    expected = estimator.encode_frames(seen.images[:, 0]).features
    torch.testing.assert_close(video.features[:, 0], expected, atol=1e-4, rtol=1e-4)
    model = MODELS.build(config.model)
    sum(model.loss(HandSequence.stack([video]), TrainingStep()).values()).backward()
    assert model.feature_projection[0].weight.grad.any()
    assert model.eval().predict(HandSequence.stack([video])).joints_3d.isfinite().all()
