import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from zoo_server import make_entry, write_index

import handpose
from handpose.engine import load_config
from handpose.registry import MODELS
from handpose.zoo import estimators
from handpose.zoo.estimators import load_estimator
from handpose.zoo.load import HEADER_KEY
from handpose.zoo.publish import make_header, publish

CONFIG = 'pdtm/synthetic'


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A refiner with random weights, and its published file."""
    torch.manual_seed(3)
    config = load_config(CONFIG)
    estimator = MODELS.build(config.model)
    path, _ = publish(
        estimator, make_header(estimator, config, 'Apache-2.0'), tmp_path_factory.mktemp('a') / 'a.safetensors'
    )
    return estimator, path


@pytest.fixture
def zoo(tmp_path, monkeypatch, published):
    """An index with the file as it ships with a package, and a network."""
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('HANDPOSE_ZOO', raising=False)
    file = tmp_path / 'weights' / published[1].name
    file.parent.mkdir()
    shutil.copy(published[1], file)
    values = make_entry(file.read_bytes(), [f'package:weights/{file.name}'], file=file.name, kind='estimator')
    return write_index(tmp_path, small_pdtm=values, net=make_entry(b'x', ['package:net.tflite'])), file


def assert_same(loaded, estimator):
    own = {key: value for key, value in estimator.state_dict().items() if not key.startswith('loss_function.')}
    found = loaded.state_dict()
    assert not loaded.training and type(loaded) is type(estimator)
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in own.items())


def test_by_path_and_by_name(zoo, published):
    index, _ = zoo
    estimator, path = published
    assert_same(handpose.load(path), estimator)
    assert_same(handpose.load(str(path), device='cpu'), estimator)
    assert_same(load_estimator('small_pdtm', index=index), estimator)


def test_half_precision_gives_float32(published, tmp_path):
    estimator, path = published
    with safetensors.safe_open(str(path), 'pt') as file:
        header = json.loads(file.metadata()[HEADER_KEY])
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    parameters = {name for name, _ in estimator.named_parameters()}
    half = {key: value.half() if key in parameters else value for key, value in state.items()}
    (tmp_path / 'half.safetensors').write_bytes(safetensors.torch.save(half, {HEADER_KEY: json.dumps(header)}))
    loaded = handpose.load(tmp_path / 'half.safetensors')
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    for name, value in loaded.named_parameters():
        assert name not in half or torch.equal(value, half[name].float())


@pytest.mark.parametrize(
    'name, message',
    [
        ('small_pdtn', "no estimator with this name .*small_pdtm.*Did you mean 'small_pdtm'"),
        ('net', r"no weights net: .*, but a network file: .handpose.zoo.fetch.get\('net'\)"),
        ('nowhere.safetensors', 'no weights nowhere.safetensors: there is no file with this path'),
    ],
)
def test_wrong_names(zoo, name, message):
    with pytest.raises(ValueError, match=message):
        load_estimator(name, index=zoo[0])


def test_a_checkpoint_describes_no_model(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth does not describe the model of its weights.*handpose publish'):
        handpose.load(tmp_path / 'a.pth')


def test_the_hash_is_checked_before_the_file_is_read(zoo, monkeypatch, caplog):
    index, file = zoo
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(estimators, 'load_weights', lambda *arguments: pytest.fail('read'))
    with pytest.raises(ValueError, match='small_pdtm ships with the package, but its file is missing or damaged'):
        load_estimator('small_pdtm', index=index)
    assert hashlib.sha256(data).hexdigest() in caplog.text


def test_importing_the_package_loads_nothing():
    code = 'import sys, handpose; handpose.load; print([m for m in sys.modules if m.startswith("handpose.")])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
    code = 'import sys, handpose.zoo.fetch; print([m for m in ("torch", "mmengine", "numpy") if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]', 'fetching files must not wait for torch'
