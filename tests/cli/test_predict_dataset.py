"""`handpose predict-dataset`, and training on its files with `predictions=FOLDER`."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from dexycb_files import joints, pixels, write_root
from zoo_files import network_or_skip

from handpose.cli import main, predict_dataset
from handpose.engine import load_config
from handpose.engine.adapter import collate
from handpose.inference.session import Session
from handpose.inference.tracking.interfaces import EstimatorInfo, HandEstimate
from handpose.inference.tracking.landmark_estimator import LandmarkEstimator
from handpose.inference.tracking.palm_detector import PalmDetector
from handpose.inference.tracking.tracker import next_region
from handpose.models import TrainingStep
from handpose.registry import DATASETS, MODELS
from handpose.structures import load_predictions
from handpose.structures.predictions_file import track_file_name

REAL = Path(os.environ.get('HANDPOSE_REAL_DATA', '')) / 'dexycb_sample'
FRAMES = 6
CAMERA = '932122061900'
SHIFT = 3.0  # pixels by which the scripted joints are off


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """One person, five sequences, of which split s0 takes four for training and one for validation."""
    root = tmp_path_factory.mktemp('data')
    write_root(root, serials=(CAMERA,), frames=FRAMES)
    return root


class ShiftedHand:
    """Finds the labelled hand, a few pixels off, in the middle of the image; takes every hand for a right one."""

    info = EstimatorInfo('a scripted estimator', licence='CC0')

    def detect(self, image):
        return [next_region(self._joints(0))]

    def estimate(self, frame, regions):
        points = joints(frame.index)
        return [HandEstimate(self._joints(frame.index), points - points[:1], 0.9, 0.9) for _ in regions]

    def reset(self, intrinsics=None):
        pass

    def context_start(self, times):
        return len(times)

    def _joints(self, frame):
        return (pixels(joints(frame)) + [SHIFT, 0]).astype(np.float32)


def predict(monkeypatch, data, out, *words):
    """Runs the command with the scripted hand."""
    script = ShiftedHand()
    monkeypatch.setattr(predict_dataset, 'make_session', lambda networks: Session(script, script, name=networks))
    main(
        'predict-dataset',
        ['deformer/synthetic', '-o', str(out), *words, '--cfg-options', f'data_root={data}', 'hand_model=None'],
    )


def test_what_is_printed_and_written(monkeypatch, data, tmp_path, capsys):
    predict(monkeypatch, data, tmp_path, '--splits', 'train', 'val', '--every', '2')
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(('train', 'val'))]
    assert [row[:6] for row in rows] == [
        ['train', '2', '0', '12', 'of', '12'],
        ['val', '1', '0', '6', 'of', '6'],
    ]
    assert f'predictions={tmp_path}' in ''.join(text.split())
    assert len(list(tmp_path.glob('*.npz'))) == 3


def test_a_refiner_trains_on_the_files(monkeypatch, data, tmp_path):
    predict(monkeypatch, data, tmp_path, '--splits', 'train')
    sizes = {'model.channels': 32, 'model.depth': 1, 'model.num_heads': 2, 'model.groups': 4}
    options = {'data_root': str(data), 'predictions': str(tmp_path), 'labels': 'joints_only'}
    hand = {'hand_model': {'type': 'ProceduralHand', '_delete_': True}}
    config = load_config('pdtm/dexycb', {**options, **hand, **sizes})
    dataset = DATASETS.build({**config.train_dataset, 'pipeline': config.test_pipeline})
    assert len(dataset.tracks) == 4
    clip = dataset[3].validate()
    found = load_predictions(tmp_path / track_file_name(clip.meta))
    assert found.hand_side.tolist() == clip.hand_side.tolist()
    frames = np.array(clip.meta['frame_indices'])
    shown = clip.frame_valid.numpy()
    assert clip.input_valid[shown].all() and not clip.input_valid[~shown].any()
    np.testing.assert_array_equal(clip.input_joints_3d[shown], found.joints[frames[shown]])
    torch.manual_seed(0)
    dataset = DATASETS.build(config.train_dataset)
    losses = MODELS.build(config.model).loss(collate([dataset[i] for i in (0, 3)])['batch'], TrainingStep())
    assert torch.stack(list(losses.values())).isfinite().all()


@pytest.mark.parametrize('name', ['dexycb', 'dexycb_motion', 'hanco', 'interhand', 'reinterhand', 'synthetic'])
def test_the_option_reaches_every_split(name):
    config = load_config(f'pdtm/{name}', {'predictions': 'somewhere'})
    assert {config[f'{split}_dataset'].predictions for split in ('train', 'val', 'test')} == {'somewhere'}
    assert load_config(f'pdtm/{name}').train_dataset.predictions is None


def test_wrong_arguments_are_refused(monkeypatch, data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict(monkeypatch, data, tmp_path, '--every', '0')
    assert '--every must be at least 1' in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        words = ['pdtm/dexycb_motion', '-o', str(tmp_path), '--splits', 'val']
        main('predict-dataset', words)
    assert 'has no data for val' in str(end.value.code)


@pytest.mark.skipif(not REAL.is_dir(), reason='needs HANDPOSE_REAL_DATA with dexycb_sample/')
def test_the_networks_on_a_frame_of_dexycb(monkeypatch, tmp_path, capsys):
    """The hand is found; its joints are a tenth of its size away from the labels, as docs/guides/infer.md says."""
    session = Session(
        PalmDetector(network_or_skip('mediapipe_palm_full')), LandmarkEstimator(network_or_skip('mediapipe_hand_full'))
    )
    monkeypatch.setattr(predict_dataset, 'make_session', lambda networks: session)
    options = [f'data_root={REAL}', 'setup=all', 'partial=True', 'labels=joints_only', 'hand_model=None']
    main('predict-dataset', ['deformer/dexycb', '-o', str(tmp_path), '--splits', 'test', '--cfg-options', *options])
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith('test'))
    assert row[1:6] == ['1', '0', '1', 'of', '1'] and 5 < float(row[8]) < 15, row
