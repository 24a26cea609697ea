"""ONNX Runtime reports to its maker unless a variable forbids it before it is imported."""

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from handpose.runtime.errors import RuntimeFileError
from handpose.runtime.sessions import open_session
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == 'onnxruntime.capi':
            print(os.environ.get('ORT_DISABLE_TELEMETRY'))
sys.meta_path.insert(0, Watch())
try:
    open_session('missing.onnx', 'onnxruntime')
except RuntimeFileError:
    print('loaded')
"""


@pytest.mark.parametrize('chosen, expected', [(None, '1'), ('0', '0')])
def test_telemetry_is_off_unless_it_is_chosen(tmp_path, chosen, expected):
    pytest.importorskip('onnxruntime', reason="needs the extra 'runtime'")
    environment = {name: value for name, value in os.environ.items() if name != 'ORT_DISABLE_TELEMETRY'}
    environment |= {} if chosen is None else {'ORT_DISABLE_TELEMETRY': chosen}
    environment['HOME'] = str(tmp_path)
    done = subprocess.run([sys.executable, '-c', CODE], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [expected, 'loaded'], done.stderr
