"""Exported networks run where torch cannot be imported."""

import importlib.util
import subprocess
import sys

import numpy as np
import onnx_parts
import pytest
import torch

from handpose.export.network import export_network, is_torch_new_enough

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'mmengine', 'onnx', 'onnxscript'):
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocked())
"""


def run(code, *arguments):
    done = subprocess.run([sys.executable, '-c', BLOCKED + code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_and_the_runtime_are_imported():
    assert run('import handpose, handpose.runtime; print(handpose.runtime.RUNTIMES[0])') == 'onnxruntime'


def test_the_blocking_works():
    code = BLOCKED + 'import torch'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 1


@pytest.mark.timeout(300)
@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_arrays_in_and_out(runtime, tmp_path):
    needed = ('onnx', 'onnxscript', runtime)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f'needs {", ".join(missing)}')
    if not is_torch_new_enough():
        pytest.skip('needs torch 2.7 or later')
    estimator = onnx_parts.build('DSTformer')
    export_network(estimator, tmp_path / 'model.onnx')
    (part,) = estimator.network_parts()
    joints, frame_valid = part.examples({'batch': 3, 'time': 7}, seed=1)
    np.save(tmp_path / 'joints.npy', joints.numpy())
    np.save(tmp_path / 'valid.npy', frame_valid.numpy())
    code = """
import numpy as np
from handpose.runtime import ExportedModel

folder, runtime = sys.argv[1:]
model = ExportedModel(f'{folder}/model.onnx', runtime)
found = model.run({'joints': np.load(f'{folder}/joints.npy'), 'frame_valid': np.load(f'{folder}/valid.npy')})
np.save(f'{folder}/refined.npy', found['refined_joints'])
print(model.metadata['frame_rate'], model.metadata['joint_order'][0], 'torch' in sys.modules)
"""
    assert run(code, tmp_path, runtime) == '30.0 wrist False'
    with torch.no_grad():
        expected = part.function(joints, frame_valid)[0]
    found = torch.from_numpy(np.load(tmp_path / 'refined.npy'))
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
