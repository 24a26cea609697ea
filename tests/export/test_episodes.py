import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from predicted_hands import make_predictions

from handpose.export import ExportError, export
from handpose.hands import COMMON_JOINTS
from handpose.structures import Predictions


def test_hdf5(tmp_path):
    h5py = pytest.importorskip('h5py')
    predictions = make_predictions(10, ('left', 'right'), missing=[4, 5], frame='wrist', scale='relative', source='net')
    report = export(predictions, tmp_path / 'x.hdf5', target='hdf5')
    assert any('2 of 10 frames' in note for note in report.notes) and any('not metric' in n for n in report.notes)
    with h5py.File(tmp_path / 'x.hdf5') as file:
        demo = file['data/demo_0']
        assert demo.attrs['num_samples'] == file['data'].attrs['total'] == 10
        assert demo.attrs['fps'] == pytest.approx(30) and demo.attrs['scale'] == 'relative'
        assert list(demo.attrs['hands']) == ['left', 'right'] and list(demo.attrs['joints']) == list(COMMON_JOINTS)
        joints, valid = demo['obs/joints'][:], demo['obs/hand_valid'][:]
        np.testing.assert_array_equal(joints[valid], predictions.joints[predictions.valid])
        np.testing.assert_array_equal(joints[4:6, 0], joints[[3, 3], 0])
        assert valid[:, 0].tolist() == [t not in (4, 5) for t in range(10)]
        actions = demo['actions'][:]
        np.testing.assert_array_equal(actions[:-1], joints.reshape(10, -1)[1:])
        np.testing.assert_array_equal(actions[-1], joints.reshape(10, -1)[-1])
        np.testing.assert_allclose(demo['obs/timestamps'][:], predictions.timestamps)


def test_lerobot(tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    predictions = make_predictions(9, ('right',), missing=[4], source='a cup is lifted')
    report = export(predictions, tmp_path / 'set', target='lerobot')
    names = ['data/chunk-000/file-000.parquet', 'meta/episodes/chunk-000/file-000.parquet']
    names += ['meta/info.json', 'meta/stats.json', 'meta/tasks.parquet']
    assert [str(file.relative_to(tmp_path / 'set')) for file in report.files] == names
    info = json.loads((tmp_path / 'set/meta/info.json').read_text())
    assert info['codebase_version'] == 'v3.0' and info['fps'] == 30 and info['total_frames'] == 9
    data = parquet.read_table(tmp_path / 'set' / info['data_path'].format(chunk_index=0, file_index=0))
    assert set(data.column_names) == set(info['features'])
    for key, feature in info['features'].items():
        column = np.array(data[key].to_pylist())
        assert column.dtype.kind == np.dtype(feature['dtype']).kind and feature['shape'] == list(
            column.shape[1:] or [1]
        )
    state = np.array(data['observation.state'].to_pylist(), np.float32)
    np.testing.assert_array_equal(state[5], predictions.joints[5, 0].reshape(-1))
    np.testing.assert_array_equal(state[4], state[3])
    np.testing.assert_allclose(data['timestamp'].to_numpy(), np.arange(9) / 30, atol=1e-6)
    assert info['features']['action']['names'][3] == 'right_thumb_cmc_x'
    episode = parquet.read_table(tmp_path / 'set' / names[1]).to_pylist()[0]
    assert episode['tasks'] == ['a cup is lifted'] and (episode['dataset_from_index'], episode['dataset_to_index']) == (
        0,
        9,
    )
    np.testing.assert_allclose(episode['stats/action/mean'], state[[1, 2, 3, 4, 5, 6, 7, 8, 8]].mean(0), atol=1e-6)
    with pytest.raises(ExportError, match='is a new folder'):
        export(predictions, tmp_path / 'set', target='lerobot')


def test_a_joint_that_is_never_there(tmp_path):
    whole = make_predictions(3)
    known = np.ones((3, 1, 21), bool)
    known[..., 7] = False
    arrays = (whole.joints, whole.valid, whole.timestamps, whole.hand_side, 'camera')
    with pytest.raises(ExportError, match='right index_dip is in no frame'):
        export(Predictions(*arrays, joints_valid=known), tmp_path / 'set', target='lerobot')
    assert not list(tmp_path.iterdir())


def test_rerun(tmp_path):
    pytest.importorskip('rerun', reason='rerun-sdk is an extra')
    camera = dict(intrinsics=[[300, 0, 160], [0, 300, 120], [0, 0, 1]], image_size=[320, 240])
    predictions = make_predictions(6, ('left', 'right'), missing=[2], **camera)
    report = export(predictions, tmp_path / 'x.rrd')
    assert 'rerun FILE' in report.notes[0] and [f.name for f in tmp_path.iterdir()] == ['x.rrd']
    command, home = [sys.executable, '-m', 'rerun', 'rrd'], {**os.environ, 'HOME': str(tmp_path)}
    checked = subprocess.run([*command, 'verify', tmp_path / 'x.rrd'], env=home, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    printed = subprocess.run([*command, 'print', tmp_path / 'x.rrd'], env=home, capture_output=True, text=True)
    found = re.findall(r'with (\d+) rows .* - (/hands/\S+) - ', printed.stdout)
    rows = {path: int(count) for count, path in found}
    assert rows['/hands/left/joints'] == 5 and rows['/hands/right/bones'] == 6
    assert rows['/hands/left'] == 1 and rows['/hands/video'] == 1  # cleared where it is missing; the camera
