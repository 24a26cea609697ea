"""The whole path on files in HO3D's layout: written, read, trained on, predicted, submitted, scored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from handpose.datasets import DatasetError
from handpose.engine import load_config
from handpose.evaluation import score_ho3d_submission
from handpose.hands.mano_file import MANOFileError
from handpose.models import TrainingStep
from handpose.registry import DATASETS, METRICS, MODELS
from handpose.structures import HandSequence
from handpose.synthesis import MultiViewOptions, write_dataset

CONFIGS = Path(__file__).parents[2] / 'configs' / 'deformer'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('synthetic') / 'ho3d'
    write_dataset(
        MultiViewOptions(str(root), subjects=1, sequences=5, frames=24, cameras=1, size=64, workers=1, layout='ho3d')
    )
    return root


def small_on_ho3d(root):
    """The small network of the quick start with the data of configs/deformer/ho3d.py."""
    real = load_config(CONFIGS / 'ho3d.py')
    names = ('train_dataset', 'val_dataset', 'test_dataset')
    options = {f'{name}': {**real[name], '_delete_': True} for name in names}
    for name in names:
        options[name] |= {'data_root': str(root), 'version': 3, 'pipeline': '$test_pipeline'}
    for name in names[:2]:
        options[name] |= {'held_out': ['P01S00'], 'hand_model': '$hand_model'}
    options['+results_file'] = {**real['results_file'], 'data_root': str(root), 'version': 3}
    options['clip_step'] = 10
    return load_config(CONFIGS / 'synthetic.py', options)


def test_the_small_network_learns_and_submits(root, tmp_path):
    config = small_on_ho3d(root)
    model = MODELS.build(config.model)
    train = DATASETS.build(config.train_dataset)
    batch = HandSequence.stack([train[i] for i in (0, 4)]).validate()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(6):
        losses = {name: value for name, value in model.loss(batch, TrainingStep()).items() if name.startswith('loss')}
        assert all(value.isfinite() for value in losses.values())
        totals.append(sum(losses.values()))
        optimizer.zero_grad()
        totals[-1].backward()
        optimizer.step()
    assert min(totals[1:]) < totals[0]
    model.eval()
    validation = DATASETS.build(config.val_dataset)
    assert [validation.sample_name(i) for i in range(len(validation))] == ['P01S000']
    test = DATASETS.build(config.test_dataset)
    metric = METRICS.build({**config.results_file, 'path': str(tmp_path / 'pred.json')})
    for index in range(len(test)):
        target = HandSequence.stack([test[index]])
        prediction = model.predict(target)
        pairs = zip(prediction.unstack(), target.unstack(), strict=True)
        metric.process(None, [dict(prediction=p, target=t) for p, t in pairs])
    frames = len((root / 'evaluation.txt').read_text().split())
    assert metric.evaluate(len(test)) == {'submitted_frames': frames}
    scores = score_ho3d_submission(tmp_path / 'pred.json', root / 'evaluation_xyz.json', root / 'evaluation_verts.json')
    assert 0 < scores['pa_mpjpe_mm'] < scores['mpjpe_cam_mm'] < 1000 and 0 < scores['pa_mpvpe_mm'] < 100
    truth = np.array(json.loads((root / 'evaluation_xyz.json').read_text()))
    found = np.array(json.loads((tmp_path / 'pred.json').read_text())[0])
    np.testing.assert_allclose(found[:, 0], truth[:, 0], atol=3e-6)  # HO3D gives the wrist


def test_the_config_of_the_paper_builds(root, tmp_path):
    """With the built-in hand in MANO's place; with MANO, but without its files, it says what is missing."""
    nowhere = {'hand_model.model_path': str(tmp_path / 'mano'), 'data_root': str(tmp_path / 'ho3d_v2')}
    config = load_config(CONFIGS / 'ho3d.py', nowhere)
    with pytest.raises(MANOFileError, match=r'MANO_LEFT.pkl does not exist.*mano.is.tue.mpg.de'):
        MODELS.build(config.model)
    with pytest.raises(DatasetError, match=r'ho3d_v2, which does not exist.*github.com/shreyashampali/ho3d'):
        DATASETS.build(config.train_dataset)
    hand_model = {'type': 'ProceduralHand', '_delete_': True}
    options = {'hand_model': hand_model, 'data_root': str(root), 'version': 3, 'held_out': ['P01S00']}
    config = load_config(CONFIGS / 'ho3d.py', options)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    parts = sum(p.numel() for n, p in model.named_parameters() if 'discriminator' not in n)
    assert 30e6 < parts < 34e6  # the paper: 31 M
    clip = DATASETS.build(config.train_dataset)[0]
    assert clip.images.shape == (7, 1, 3, 512, 512) and clip.meta['split'] == 'train'
    clip = DATASETS.build({**config.test_dataset, 'sampling': config.train_dataset.sampling})[0]
    assert clip.meta['split'] == 'evaluation'
