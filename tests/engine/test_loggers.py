"""What arrives where a training reports to. W&B and MLflow are tried without a network, where they are installed."""

import json
import re
import struct

import cv2
import numpy as np
import pytest
import run_random_clips
from mmengine.hooks import Hook

from handpose.cli import main
from handpose.engine import load_config, loggers
from handpose.registry import HOOKS

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


@HOOKS.register_module()
class ShowImage(Hook):
    """Reports an image after the second iteration."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            runner.visualizer.add_image('clip', IMAGE, runner.iter + 1)


def train(folder, backend):
    """One epoch of four iterations and what scalars.json says of them, [{name: number}]."""
    options = {
        'visualizer': dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), backend]),
        'default_hooks.logger.interval': 1,
        'custom_hooks': [dict(type='ShowImage')],
    }
    run_random_clips.train(folder / 'run', 1, options)
    (path,) = folder.glob('run/*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboard', reason="needs the extra 'train'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = train(tmp_path, dict(type='TensorboardVisBackend'))
    (events,) = tmp_path.glob('run/*/vis_data/events*')
    found = EventAccumulator(str(events)).Reload()
    assert [(e.step, e.value) for e in found.Scalars('loss')] == [
        (r['step'], pytest.approx(r['loss'], rel=1e-5)) for r in records
    ]
    assert found.Tags()['images'] == ['clip'] and 'run_random_clips' not in str(found.Tags()['tensors'])
    assert b'max_epochs' in found.Tensors(found.Tags()['tensors'][0])[0].tensor_proto.string_val[0]


def wandb_records(data):
    """The records of an offline run: a log of LevelDB, of blocks of 32 KiB, after a header of 7 bytes."""
    place, record = 7, b''
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack_from('<HB', data, place + 4)
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b''


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip('wandb', reason="needs the extra 'wandb'")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv('WANDB_MODE', 'offline')
    records = train(tmp_path, dict(type='WandbLog', project='hands'))
    assert wandb.run is None
    wandb.teardown()  # ends the process that writes the file
    (path,) = tmp_path.glob('run/*/vis_data/wandb/offline-run-*/*.wandb')
    history, run, files = [], None, []
    for data in wandb_records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof('record_type')
        if kind == 'history':
            pairs = ((item.key or '/'.join(item.nested_key), item.value_json) for item in record.history.item)
            history.append({key: json.loads(value) for key, value in pairs})
        elif kind == 'run' and run is None:
            run = record.run
        elif kind == 'files':
            files += [file.path for file in record.files.files]
    losses = [(row['iter'], row['loss']) for row in history if 'loss' in row]
    assert losses == [(r['iter'], pytest.approx(r['loss'])) for r in records]
    assert (run.project, run.display_name) == ('hands', 'run')
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config['train_cfg']['max_epochs'] == 1
    (shown,) = (row for row in history if 'clip/_type' in row)
    assert [shown[key] for key in ('clip/_type', 'clip/width', 'clip/height', 'iter')] == ['image-file', 4, 4, 2]
    (image,) = path.parent.glob('files/media/images/clip*.png')
    np.testing.assert_array_equal(cv2.imread(str(image))[..., ::-1], IMAGE)
    assert not [name for name in files if name.endswith(('.py', '.pth', '.patch'))], files


def test_mlflow_in_a_file(tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow', reason="needs the extra 'mlflow'")
    pytest.importorskip('sqlalchemy', reason="needs the extra 'mlflow'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    records = train(tmp_path, dict(type='MlflowLog', experiment='hands'))
    client = mlflow.MlflowClient(f'sqlite:///{tmp_path}/mlflow.db')
    (run,) = client.search_runs([client.get_experiment_by_name('hands').experiment_id])
    losses = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, 'loss')]
    assert losses == [(r['iter'], pytest.approx(r['loss'])) for r in records]
    assert (run.info.run_name, run.info.status) == ('run', 'FINISHED') and run.data.params['launcher'] == 'none'
    folder = tmp_path / 'mlartifacts' / run.info.run_id / 'artifacts'
    assert re.search(r'max_epochs ?= ?1', (folder / 'config.py').read_text())
    assert len(list((folder / 'images').glob('clip*step*2*.png'))) == 1, list(folder.rglob('*'))


def test_scalars_are_numbers_on_the_axis_of_iterations():
    class Log(loggers._RunLog):
        _package = 'json'

        def _log(self, values):
            sent.append((self._iteration, values))

    sent, log = [], Log('x')
    log.add_scalars({'loss': np.float32(1.5), 'iter': 20, 'epoch': 1, 'step': 20, 'best': 'none'}, step=20)
    log.add_scalars({'pa_mpjpe_mm': 17.3}, step=1)
    log.add_scalar('x', np.array([2.0]))
    assert sent == [(20, {'loss': 1.5, 'epoch': 1}), (20, {'pa_mpjpe_mm': 17.3}), (20, {'x': 2.0})]


@pytest.mark.parametrize('name, types', [('none', []), ('tensorboard', ['TensorboardVisBackend'])])
def test_a_chosen_logger(name, types):
    config = load_config('deformer/synthetic')
    loggers.choose_logger(config, name)
    assert [backend.type for backend in config.visualizer.vis_backends] == ['LocalVisBackend', *types]


@pytest.mark.parametrize('name', ['wandb', 'mlflow', 'tensorboard'])
def test_a_logger_that_is_not_installed(monkeypatch, name):
    monkeypatch.setattr('importlib.util.find_spec', lambda package: None)
    extra = 'train' if name == 'tensorboard' else name
    with pytest.raises(SystemExit, match=rf"needs the Python package {name}: pip install 'handpose\[{extra}\]'"):
        main('train', ['deformer/synthetic', '--logger', name])


def test_the_default_works_without_tensorboard(tmp_path, monkeypatch):
    find_spec = loggers.importlib.util.find_spec
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None if name == 'tensorboard' else find_spec(name))
    with pytest.warns(UserWarning):
        kept = loggers.installed_visualizer(load_config('deformer/synthetic'))
    assert [backend['type'] for backend in kept['vis_backends']] == ['LocalVisBackend']
    with pytest.warns(UserWarning, match=r"no curves for TensorBoard.*pip install 'handpose\[train\]'"):
        assert train(tmp_path, dict(type='TensorboardVisBackend'))
    assert list(tmp_path.glob('run/*/vis_data/events*')) == []
    assert loggers.installed_visualizer({'visualizer': None}) is None
