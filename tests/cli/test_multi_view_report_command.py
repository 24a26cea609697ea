"""`handpose multi-view-report` on built-in recordings, with an untrained network."""

import json

import pytest
import torch

from handpose.cli import main
from handpose.engine import load_config
from handpose.experiments import multi_view_report
from handpose.registry import METRICS, MODELS
from handpose.synthesis import AssemblyHandsOptions, write_dataset

CONFIG = 'assemblyhands/synthetic_mvexonet'
SMALL = {
    'crop_size': 32,
    'resolution': 8,
    'volume_network.in_channels': 8,
    'volume_network.channels': (8, 8),
    'model.backbone.variant': (0.25, 0.4),
    'model.backbone.strides': (4, 8),
    'num_rounds': 2,
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp('exo')
    options = dict(subjects=3, sequences=1, frames=16, exo_cameras=8, ego_cameras=0, exo_width=160, exo_height=90)
    write_dataset(AssemblyHandsOptions(root=str(path), annotation_error=0.0, workers=1, **options))
    return path


def test_rows_by_the_number_of_views(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = load_config(CONFIG, SMALL)
    torch.save({'state_dict': MODELS.build(config.model).state_dict()}, 'untrained.pth')
    settings = {**SMALL, 'data_root': root, 'synthetic_data': None}
    options = [f'{key}={value}' for key, value in settings.items()]
    words = [CONFIG, 'untrained.pth', '-o', 'report.json', '--views', '2', '8', '--frame-step', '5']
    main('multi-view-report', [*words, '--cfg-options', *options])
    found = json.loads((tmp_path / 'report.json').read_text())['untrained.pth']
    assert set(found) == {'1', '2', '8'} and set(found['1']) == {multi_view_report.ONE_VIEW}
    rows = {'triangulation', 'constant hand', 'R1', 'R2', 'R1 from the truth'}
    assert set(found['8']) == rows
    counted = {row: numbers['num_samples'] + numbers['num_missing'] for row, numbers in found['8'].items()}
    assert set(counted.values()) == {8.0}  # 4 frames of both hands
    assert found['8']['triangulation']['num_samples'] == found['8']['R2']['num_samples'] > 0
    # An untrained network is worse than what it starts from, and a true start better than a detected one.
    assert found['8']['triangulation']['mpjpe_cam_mm'] < found['8']['R1']['mpjpe_cam_mm']
    assert (tmp_path / 'report.png').stat().st_size > 10_000
    table = capsys.readouterr().out
    assert 'MPJPE (mm) by the number of views' in table and 'R1 from the truth' in table


def test_exact_detections_leave_no_error(root):
    """Triangulation is exact, the constant hand is right at the middle MCP, and a wrong pipeline is refused."""
    exact = dict(type='SimulatedDetections', joint_error=0, hand_error=0, lost=0, lost_hidden=0, swapped=0)
    config = load_config(CONFIG, {**SMALL, 'data_root': str(root), 'detections': exact})
    samples, detect = multi_view_report.read_samples(config.test_dataset, 8)
    first, second = (sample.meta['frame_indices'][0] for sample in samples)  # of 16
    assert second - first == 8 and all(sample.images.shape[:2] == (1, 8) for sample in samples)
    constant = multi_view_report.mean_hands(config.train_dataset)
    assert constant.shape == (2, 21, 3) and not constant[:, 9].any() and 0.05 < constant[1, 0].norm() < 0.15
    metric = METRICS.build(dict(type='HandPoseMetric'))
    model = MODELS.build(config.model).eval()
    numbers = multi_view_report.measure_views(model, samples, detect, dict(type='HandPoseMetric'), 8, constant)
    assert numbers['triangulation']['mpjpe_cam_mm'] < 0.5 and metric.num_samples == 0
    assert numbers['constant hand']['mpjpe_cam_mm/joint_middle_mcp'] < 0.5
    assert 5 < numbers['constant hand']['mpjpe_cam_mm'] < 100
    bare = {**config.test_dataset, 'pipeline': [dict(type='LoadImages')]}
    with pytest.raises(multi_view_report.ReportError, match='end with SimulatedDetections or LoadDetections'):
        multi_view_report.read_samples(bare, 1)
