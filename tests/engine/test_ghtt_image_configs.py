"""The configs of G-HTT's image estimator F and of what stands on it: training, predictions files, HTT."""

import json

import h2o_files
import pytest
import torch
from htt_at_paper_size import FROM_SCRATCH, two_steps

from handpose.cli import main
from handpose.datasets.h2o.labels import OBJECTS
from handpose.datasets.transforms import LoadPredictions
from handpose.engine import load_config
from handpose.registry import DATASETS, METRICS, MODELS
from handpose.structures import load_predictions

pytest.importorskip('mmcv')
SMALL = 'configs/ghtt/synthetic_image.py'
TINY = {
    'model.backbone.base_channels': 4,
    'channels': 32,
    'image_size': '(64,36)',
    'batch_size': 4,
    'epochs': 1,
    'frame_step': 8,
    'training.channels_last': False,
}


def options(root, **more):
    return [f'{name}={value}' for name, value in {**TINY, 'data_root': root, **more}.items()]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return h2o_files.write_root(tmp_path_factory.mktemp('data') / 'h2o')


@pytest.fixture(scope='module')
def trained(root, tmp_path_factory):
    """The work directory of one epoch of F."""
    folder = tmp_path_factory.mktemp('f')
    main('train', [SMALL, '--work-dir', str(folder), '--cfg-options', *options(root)])
    return folder


def test_two_steps_at_the_size_of_the_paper(tmp_path):
    """ResNet-18 and 480 x 270: 12.3 M parameters, each with a gradient."""
    root = h2o_files.write_root(tmp_path / 'h2o', size=(480, 270))
    settings = {'data_root': str(root), 'model.backbone.pretrained': FROM_SCRATCH['model.backbone.pretrained']}
    config = load_config('configs/ghtt/image.py', {**settings, 'objects': 'action', 'optim_wrapper.optimizer.lr': 1e-4})
    count, _ = two_steps(config)
    assert count == 12_291_774
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build(config[f'{split}_dataset'])
        assert list(dataset.metainfo['objects']) == list(OBJECTS) == config.object_names
    assert [type(METRICS.build(m)).__name__ for m in config.test_evaluator] == ['HandPoseMetric', 'ActionMetric']


def test_an_epoch_sees_other_frames_of_each_block(root):
    """One of `frame_step` successive frames, drawn anew."""
    settings = {'data_root': str(root), 'frame_step': 4, 'image_size': (64, 36)}
    dataset = DATASETS.build(load_config(SMALL, settings).train_dataset)
    epochs = []
    for epoch in range(6):
        dataset.set_epoch(epoch)
        epochs.append([dataset[i].meta['frame_indices'] for i in range(len(dataset))])
    assert all(len(frames) == 1 for frames in epochs[0])
    assert len(dataset) == 3 + 5 + 2  # segments of 10, 18 and 5 frames
    assert len({str(frames) for frames in epochs}) > 1


def test_predictions_of_a_trained_estimator_are_the_input_of_others(root, trained, tmp_path, capsys):
    out = tmp_path / 'predictions'
    words = options(root)
    main('test', [SMALL, '--work-dir', str(trained), '--draw', '0', '--results', str(out), '--cfg-options', *words])
    assert f'results: {out}' in capsys.readouterr().out
    assert json.loads((trained / 'metrics.json').read_text())['model']['written_files'] == 1
    dataset = DATASETS.build(load_config(SMALL, {'data_root': str(root), 'image_size': (64, 36)}).test_dataset)
    video = LoadPredictions(out)(dataset[0], None).validate()
    assert video.input_valid.all() and video.object_features.shape == (7, 512)
    (path,) = out.iterdir()
    assert load_predictions(path).object_names.tolist() == list(OBJECTS)


def test_htt_on_its_features_is_as_large_as_the_features_ask():
    config = load_config('configs/ghtt/synthetic_htt.py')
    f = MODELS.build(load_config(SMALL).model).eval()
    width, height = f.reads.image_size
    rows = f.encode_frames(torch.zeros(1, 3, height, width)).features
    assert config.feature_size == rows.shape[1] == MODELS.build(config.model).feature_projection[0].in_features
    assert rows.isfinite().all()
