"""tools/convert/extract_features.py, from a trained config to a training on its features."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / 'tests' / 'datasets'))
sys.path.append(str(ROOT / 'tools' / 'convert'))

import extract_features as tool  # noqa: E402
import h2o_files  # noqa: E402

from handpose.engine import load_config  # noqa: E402
from handpose.registry import DATASETS, MODELS  # noqa: E402
from handpose.structures import HandSequence  # noqa: E402

pytest.importorskip('mmcv')
CONFIG = 'configs/htt/synthetic.py'
SMALL = {'model.backbone.base_channels': 4, 'channels': 32, 'num_frames': 4, 'window': 2, 'image_size': '(64, 36)'}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A root in H2O's layout, and the options and weights of a small HTT."""
    monkeypatch.chdir(ROOT)
    options = {**SMALL, 'data_root': str(h2o_files.write_root(tmp_path / 'h2o'))}
    estimator = MODELS.build(load_config(CONFIG, {**options, 'image_size': (64, 36)}).model)
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, tmp_path / 'small.pth')
    return options, estimator.eval(), tmp_path / 'small.pth'


def words(options):
    return ['--cfg-options', *(f'{name}={value}' for name, value in options.items())]


def test_features_are_those_of_the_images(trained, tmp_path, capsys):
    options, estimator, weights = trained
    out = tmp_path / 'features.npz'
    tool.main([CONFIG, '-o', str(out), '--checkpoint', str(weights), *words(options)])
    # Segments of 10 + 18 + 5 frames for training, 5 for validation and 7 for testing.
    assert f'{out}: 45 images' in ' '.join(capsys.readouterr().out.split())
    config = load_config(
        'configs/htt/synthetic_features.py', {**options, 'image_size': (64, 36), 'features': str(out)}
    )
    images = load_config(CONFIG, {**options, 'image_size': (64, 36)}).test_dataloader.dataset
    video, seen = DATASETS.build(config.test_dataloader.dataset)[0], DATASETS.build(images)[0]
    with torch.no_grad():
        expected = estimator.encode(seen.images[None, :, 0])[0]
    torch.testing.assert_close(video.features[:, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(video.intrinsics, seen.intrinsics)
    clips = DATASETS.build(config.train_dataloader.dataset)
    losses = MODELS.build(config.model).loss(HandSequence.stack([clips[0], clips[1]]))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_models_without_features_of_images(trained, tmp_path, capsys):
    options, _, weights = trained
    with pytest.raises(SystemExit, match='HTT of configs/htt/synthetic_features.py has no backbone'):
        tool.main(
            ['configs/htt/synthetic_features.py', '-o', 'x.npz', '--checkpoint', str(weights), *words(options)]
        )
