"""Predictions files of a simulated estimator: their errors, their camera, and the way back to the actions."""

import numpy as np
import pytest
import three_datasets
import torch

from handpose.cli import main
from handpose.datasets import DatasetError
from handpose.datasets.transforms import EstimatorNoise
from handpose.engine import load_config
from handpose.experiments.simulated_predictions import (
    mean_errors,
    recordings_of,
    simulate_predictions,
    wrist_relative_errors,
)
from handpose.registry import DATASETS
from handpose.structures import load_predictions

OPTIONS = {'verbs': None, 'repeats': None, 'num_verbs': 2, 'num_workers': 0, 'synthetic_data': None}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return three_datasets.write_roots(tmp_path_factory.mktemp('data'))['assembly101_root']


@pytest.fixture(scope='module')
def recording(root):
    config = load_config('assemblyhands/synthetic_verbs', {**OPTIONS, 'data_root': root})
    dataset = recordings_of(config.train_dataloader.dataset)
    assert dataset.segments == 'untrimmed' and not dataset.pipeline
    return dataset.read(0)


def test_an_estimator_without_errors_gives_the_truth(recording):
    silent = EstimatorNoise('silent')
    found = simulate_predictions(recording, silent, (0.4, 0.8), seed=0)
    assert found.frame == 'camera' and len(found) == len(recording.timestamps)
    pose = found.extrinsics[0]
    given = found.given_joints()
    np.testing.assert_array_equal(given, recording.joints_valid)
    world = (found.joints - pose[:3, 3]) @ pose[:3, :3]
    np.testing.assert_allclose(world[given], recording.joints_3d.numpy()[given], atol=1e-5)
    errors = wrist_relative_errors(found, recording)
    assert errors.mpjpe_mm < 1e-2 and errors.valid == 1


def test_errors_are_those_of_the_joints_and_grow_with_the_strength(recording):
    found = [simulate_predictions(recording, EstimatorNoise(strength=s), (0.4, 0.8), seed=0) for s in (1, 3)]
    errors = [wrist_relative_errors(predictions, recording) for predictions in found]
    assert 2 < errors[1].mpjpe_mm / errors[0].mpjpe_mm < 4
    rotmat = found[0].extrinsics[0, :3, :3]
    truth = torch.einsum('ij,thkj->thki', torch.from_numpy(rotmat), recording.joints_3d.double())
    estimate = torch.from_numpy(found[0].joints).double()
    distance = ((estimate - estimate[:, :, :1]) - (truth - truth[:, :, :1])).norm(dim=-1)
    known = torch.from_numpy(found[0].given_joints()) & recording.joints_valid
    assert errors[0].mpjpe_mm == pytest.approx(1000 * float(distance[known].mean()), rel=1e-6)
    again = simulate_predictions(recording, EstimatorNoise(), (0.4, 0.8), seed=0)
    other = simulate_predictions(recording, EstimatorNoise(), (0.4, 0.8), seed=1)
    np.testing.assert_array_equal(again.joints, found[0].joints)
    assert not np.allclose(other.extrinsics, again.extrinsics)
    both = mean_errors(errors)
    assert errors[0].mpjpe_mm < both.mpjpe_mm < errors[1].mpjpe_mm and both.num_hands == sum(
        e.num_hands for e in errors
    )


def test_the_command_writes_what_the_config_reads(root, tmp_path, capsys):
    options = [f'{key}={value}' for key, value in {**OPTIONS, 'data_root': root}.items()]
    words = ['assemblyhands/synthetic_verbs', '-o', str(tmp_path), '--strength', '0', '--cfg-options', *options]
    main('simulate-predictions', words)
    out = ' '.join(capsys.readouterr().out.split())  # lines are broken where the terminal ends
    assert 'wrist-relative MPJPE' in out
    files = sorted(tmp_path.glob('*.npz'))
    assert f'{len(files)} recordings' in out and load_predictions(files[0]).source.startswith('simulated errors')
    read = {'train_pipeline': '$estimated', 'test_pipeline': '$estimated', 'predictions': str(tmp_path)}
    config = load_config('assemblyhands/synthetic_verbs', {**OPTIONS, 'data_root': root, **read})
    clip = DATASETS.build(config.train_dataloader.dataset)[0].validate()
    seen = clip.input_valid[..., None] & clip.joints_valid
    assert seen.any() and clip.frame == 'world'
    # Occluded fingers are still drawn to a relaxed pose; the wrists have no error left.
    wrists = seen[:, :, 0]
    assert (clip.input_joints_3d[:, :, 0] - clip.joints_3d[:, :, 0])[wrists].abs().max() < 1e-4


def test_datasets_without_recordings_are_refused():
    with pytest.raises(DatasetError, match='DexYCB has no recordings of poses'):
        recordings_of(dict(type='DexYCB', data_root='x'))
    with pytest.raises(SystemExit):
        main('simulate-predictions', ['assemblyhands/synthetic_verbs', '-o', 'x', '--camera-distance', '2', '1'])
