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
