"""A package of another project adds a component, a reader, a metric, a system and a config; nothing here changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

HELPERS = Path(__file__).parents[1] / 'helpers'
MODULES = {'component': 'outside_component', 'reader': 'outside_reader', 'estimator': 'outside_estimator'}
METRIC = """
import numpy as np

from handpose.evaluation import Metric, MetricSpec
from handpose.registry import METRICS

LENGTH = MetricSpec('palm_error_mm', 'palm length error', 'mm', lower_is_better=True, headline=True)


@METRICS.register_module()
class PalmLengthError(Metric):
    \"\"\"Error of the distance from the wrist to the middle knuckle, over frames.\"\"\"

    specs = (LENGTH,)

    def process_clip(self, prediction, target):
        lengths = [(clip.joints_3d[:, 0, 9] - clip.joints_3d[:, 0, 0]).norm(dim=-1) for clip in (prediction, target)]
        return 1000 * (lengths[0] - lengths[1]).abs()[target.hand_valid[:, 0]].numpy()

    def reduce(self, results):
        return {LENGTH.name: float(np.concatenate(results).mean())}
"""
CONFIG = """
_base_ = ['handpose::_base_/runtime.py']
custom_imports = dict(imports=['their_hands'])
model = dict(type='TinyPoseNet', encoder=dict(type='TinyEncoder', channels=8), channels=8)
data = dict(type='TinyHands', data_root='data', pipeline=[dict(type='LoadImages')])
train_dataset = dict(
    _include_='$data', split='train', sampling=dict(type='ClipSampling', num_frames=2, frame_step=1, clip_step=2)
)
test_dataset = dict(_include_='$data', split='test')
train_dataloader = dict(dataset='$train_dataset', batch_size=2)
val_dataloader = dict(dataset='$test_dataset', batch_size=1)
test_dataloader = dict(dataset='$test_dataset', batch_size=1)
val_evaluator = [dict(type='PalmLengthError')]
test_evaluator = [dict(type='PalmLengthError'), dict(type='HandPoseMetric')]
default_hooks = dict(checkpoint=dict(save_best='headline'))
epochs = 2
train_cfg = dict(max_epochs='$epochs', val_interval=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
"""
TABLE = """
title: Widths of the encoder
config: tiny.py
seeds: [0]
compare_to: 8 channels
constant_hands: false
rows:
  - name: 8 channels
  - name: 4 channels
    options: {model.encoder.channels: 4, model.channels: 4}
metrics: [palm_error_mm]
"""


@pytest.fixture
def project(tmp_path):
    """The folder of the other project: its package, config, table and data."""
    package = tmp_path / 'their_hands'
    package.mkdir()
    for name, source in MODULES.items():
        (package / f'{name}.py').write_text((HELPERS / f'{source}.py').read_text())
    (package / 'metric.py').write_text(METRIC)
    (package / '__init__.py').write_text('from . import component, estimator, metric, reader\n')
    (tmp_path / 'tiny.py').write_text(CONFIG)
    (tmp_path / 'table.yml').write_text(TABLE)
    rng = np.random.default_rng(0)
    for split, name in (('train', 'a'), ('train', 'b'), ('test', 'c')):
        folder = tmp_path / 'data' / split / name
        folder.mkdir(parents=True)
        joints = rng.normal(0, 0.05, (6, 21, 3)).astype(np.float32) + np.float32([0, 0, 0.5])
        np.save(folder / 'joints.npy', joints)
        np.save(folder / 'camera.npy', np.float64([[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1]]))
        for frame in range(6):
            cv2.imwrite(str(folder / f'{frame:04d}.png'), rng.integers(0, 255, (48, 64, 3), np.uint8))
    return tmp_path


def handpose(project, *words):
    """Runs the installed command in the project's folder."""
    command = Path(sys.executable).with_name('handpose')
    assert command.exists(), f'{command} is missing: install the package with pip'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(project)}
    done = subprocess.run([command, *words], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_trains_tests_and_makes_tables_with_the_command(project):
    assert 'palm length error' in handpose(project, 'train', 'tiny.py')
    assert (project / 'work_dirs' / f'{project.name}_tiny' / 'best.pth').is_file()
    table = handpose(project, 'test', 'tiny.py', '--draw', '0')
    assert '| palm_error_mm' in table and '| pa_mpjpe_mm' in table
    handpose(project, 'ablate', 'table.yml')
    report = (project / 'table.md').read_text()
    assert 'palm length error (mm)' in report and '| 4 channels |' in report
    rows = json.loads((project / 'table.json').read_text())
    assert 'palm_error_mm' in json.dumps(rows)
