"""Predictions whose networks another runtime computes."""

import copy
import errno
import importlib
import importlib.util
import logging
import os
import pickle

import onnx_parts
import pytest
import torch

from handpose.export.network import ExportFailed
from handpose.inference import export_cache, runtimes
from handpose.inference.runtimes import exported_file, fastest_runtime, use_runtime
from handpose.models.prediction import prepare_for_prediction
from handpose.runtime import RuntimeFileError, RuntimeUnavailable, sessions

HAS_ONNX = onnx_parts.CAN_EXPORT
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason=onnx_parts.NEEDS)
FIELDS = ('joints_3d', 'joints_2d', 'hand_pose', 'action_scores', 'object_scores', 'hand_scores')
PREDICTED = sorted({name for name, _ in onnx_parts.PARTS})


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache that the tests of one run share."""
    folder = tmp_path_factory.getbasetemp() / 'exported_networks'
    monkeypatch.setenv('HANDPOSE_CACHE', str(folder))
    return folder / 'exported'


@needs_onnx
@pytest.mark.timeout(300)
@pytest.mark.parametrize('name', PREDICTED)
def test_predictions_agree_with_torch(name):
    estimator, batch = onnx_parts.build(name), onnx_parts.batch_of(name)
    expected = estimator.predict(batch).present()
    assert use_runtime(estimator, 'onnxruntime') == estimator.computed_by == 'onnxruntime, float32'
    found = estimator.predict(batch).validate().present()
    assert set(found) == set(expected)
    for field in set(FIELDS) & set(expected):
        scale = expected[field].abs().max().clamp_min(1e-6)
        assert (found[field] - expected[field]).abs().max() < 1e-4 * scale, field
    use_runtime(estimator, 'torch')
    assert torch.equal(estimator.predict(batch).joints_3d, expected['joints_3d'])


@needs_onnx
@pytest.mark.timeout(300)
@pytest.mark.parametrize('name', ['FlatMotionVAE', 'GHTT', 'GHTTPose', 'PoseGPT'])
def test_sampled_futures_agree_with_torch(name):
    """Several clips of the future, each decoded from the one before."""
    estimator, batch = onnx_parts.build(name), onnx_parts.batch_of(name)

    def forecast(seed):
        generator = torch.Generator().manual_seed(seed)
        return estimator.forecast(batch, 40, num_samples=3, generator=generator).joints_3d

    expected = forecast(5)
    use_runtime(estimator, 'onnxruntime')
    found = forecast(5)
    assert found.shape == expected.shape and (expected - forecast(6)).abs().max() > 1e-3
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@needs_onnx
@pytest.mark.parametrize(('name', 'field'), [('SmoothNet', 'input_valid'), ('FrameHandObject', 'frame_valid')])
def test_nothing_to_compute_is_as_in_torch(name, field):
    estimator, batch = onnx_parts.build(name), onnx_parts.batch_of(name)
    empty = batch.replace(**{field: torch.zeros_like(batch.require(field))})
    expected = estimator.predict(empty).present()
    use_runtime(estimator, 'onnxruntime')
    found = estimator.predict(empty).present()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-4, equal_nan=True)


@needs_onnx
def test_networks_are_exported_once_for_the_same_weights(cache):
    estimator = onnx_parts.build('SmoothNet')
    (part,) = estimator.network_parts()
    path = exported_file(estimator, part)
    written = path.stat().st_mtime_ns
    assert path.parent == cache and path.stat().st_size > 1000
    use_runtime(estimator, 'onnxruntime')
    assert exported_file(estimator, part) == path and path.stat().st_mtime_ns == written
    with torch.no_grad():
        next(estimator.parameters()).add_(1.0)
    assert exported_file(estimator, part) != path


@needs_onnx
def test_lists_and_code_outside_the_library_are_part_of_the_name(tmp_path, monkeypatch):
    estimator = onnx_parts.build('SmoothNet')
    (part,) = estimator.network_parts()
    names = []
    monkeypatch.setattr(runtimes, 'export_network', lambda *arguments, part: None)

    def is_new():
        names.append(exported_file(estimator, part))
        return names[-1] not in names[:-1]

    assert is_new() and not is_new()
    estimator.list_of_options = [1, [2, None]]
    assert is_new()
    estimator.list_of_options[1][0] = 3
    assert is_new()
    source = tmp_path / 'users_component.py'
    source.write_text('from torch import nn\nclass UsersComponent(nn.Identity): pass\n', encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    estimator.own = importlib.import_module('users_component').UsersComponent()
    assert is_new() and not is_new()
    source.write_text(source.read_text(encoding='utf-8') + 'SCALE = 2\n', encoding='utf-8')
    assert is_new()


@needs_onnx
def test_a_damaged_file_of_the_cache_is_named():
    estimator = onnx_parts.build('SmoothNet')
    torch.nn.init.ones_(next(estimator.parameters()))  # no file that other tests use
    (part,) = estimator.network_parts()
    path = exported_file(estimator, part)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RuntimeFileError, match=f'{path.name}.* delete it, and it is exported again'):
        use_runtime(estimator, 'onnxruntime')


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """A cache that cannot be written: its place is taken by a file."""
    (tmp_path / 'file').write_bytes(b'')
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'file'))


@needs_onnx
def test_without_a_cache_the_default_is_torch(no_cache, monkeypatch, caplog):
    estimator, batch = onnx_parts.build('SmoothNet'), onnx_parts.batch_of('SmoothNet')
    expected = estimator.predict(batch).joints_3d
    monkeypatch.setattr(runtimes, 'fastest_runtime', lambda *arguments: 'onnxruntime')
    assert use_runtime(estimator) == 'torch, float32'
    assert 'the folder of exported networks, ' in caplog.text and 'SmoothNet predicts in torch' in caplog.text
    assert torch.equal(estimator.predict(batch).joints_3d, expected)


@needs_onnx
def test_without_a_cache_a_chosen_runtime_has_a_temporary_file(no_cache, caplog):
    estimator, batch = onnx_parts.build('SmoothNet'), onnx_parts.batch_of('SmoothNet')
    expected = estimator.predict(batch).joints_3d
    assert use_runtime(estimator, 'onnxruntime') == 'onnxruntime, float32'
    assert 'SmoothNet is exported to a temporary folder, and in the next run again' in caplog.text
    assert (estimator.predict(batch).joints_3d - expected).abs().max() < 1e-4 * expected.abs().max()


@needs_onnx
def test_a_full_disk_is_named(monkeypatch, caplog):
    def full(*arguments, part):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runtimes, 'export_network', full)
    estimator = onnx_parts.build('SmoothNet')
    torch.nn.init.zeros_(next(estimator.parameters()))  # no file that other tests have made
    with pytest.raises(ExportFailed, match=r'exported networks, .* nor can a temporary folder .* the runtime torch'):
        use_runtime(estimator, 'onnxruntime')
    monkeypatch.setattr(runtimes, 'fastest_runtime', lambda *arguments: 'onnxruntime')
    assert use_runtime(estimator) == 'torch, float32' and 'No space left' in caplog.text


def test_the_files_that_were_not_used_for_longest_are_deleted(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path))
    monkeypatch.setattr(export_cache, 'LARGEST', 250)
    folder = tmp_path / 'exported'
    folder.mkdir()
    (folder / 'notes.txt').write_bytes(bytes(1000))  # not one of ours

    def kept(name, accessed):
        path = export_cache.kept_export(name, lambda path: path.write_bytes(bytes(100)))
        os.utime(path, (accessed, path.stat().st_mtime))
        return path

    first, second = kept('a.onnx', 1), kept('b.onnx', 2)
    changed = first.stat().st_mtime_ns
    assert export_cache.kept_export('a.onnx', None) == first  # used again, so `second` is now the oldest
    assert first.stat().st_atime > 2 and first.stat().st_mtime_ns == changed
    third = kept('c.onnx', 3)
    assert first.exists() and third.exists() and not second.exists()
    assert f'{second} was deleted' in caplog.text
    large = export_cache.kept_export('d.onnx', lambda path: path.write_bytes(bytes(1000)))
    assert sorted(folder.iterdir()) == [large, folder / 'notes.txt']


@needs_onnx
@pytest.mark.timeout(300)
@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_predict_in_torch(duplicate):
    for name in ('SmoothNet', 'DSTformer'):
        estimator, batch = onnx_parts.build(name), onnx_parts.batch_of(name)
        expected = estimator.predict(batch).joints_3d
        use_runtime(estimator, 'onnxruntime')
        copied = duplicate(prepare_for_prediction(estimator))
        assert copied.computed_by == 'torch, float32' and estimator.computed_by == 'onnxruntime, float32'
        torch.testing.assert_close(copied.predict(batch).joints_3d, expected)
        use_runtime(copied, 'onnxruntime')
        torch.testing.assert_close(copied.predict(batch).joints_3d, expected, rtol=1e-4, atol=1e-5)


def test_what_an_export_lacks_is_named(monkeypatch):
    estimator = onnx_parts.build('SmoothNet')
    monkeypatch.setattr(runtimes, 'check_runtime', lambda *arguments: None)
    monkeypatch.setattr(runtimes, 'missing_exporters', lambda: ['onnxscript'])
    with pytest.raises(
        ExportFailed, match=r"needs onnxscript: pip install 'handpose\[runtime\]', or choose the runtime"
    ):
        use_runtime(estimator, 'onnxruntime')


@needs_onnx
def test_training_and_new_weights_go_back_to_torch():
    estimator, batch = onnx_parts.build('SmoothNet'), onnx_parts.batch_of('SmoothNet')
    use_runtime(estimator, 'onnxruntime')
    with torch.no_grad():
        for parameter in estimator.train().parameters():
            parameter.mul_(1.1)
    assert estimator.eval().computed_by == 'torch, float32'
    changed = estimator.predict(batch).joints_3d
    use_runtime(estimator, 'onnxruntime')
    torch.testing.assert_close(estimator.predict(batch).joints_3d, changed, rtol=1e-4, atol=1e-5)
    estimator.load_state_dict(onnx_parts.build('SmoothNet').state_dict())
    assert estimator.computed_by == 'torch, float32'
    assert not torch.allclose(estimator.predict(batch).joints_3d, changed)


def test_bfloat16_in_torch_is_close():
    if not runtimes._is_bfloat16_supported():
        pytest.skip('this CPU has no bfloat16')
    estimator, batch = onnx_parts.build('DSTformer'), onnx_parts.batch_of('DSTformer')
    expected = estimator.predict(batch).joints_3d
    assert use_runtime(estimator, 'torch', 'bfloat16') == 'torch, bfloat16'
    found = estimator.predict(batch).joints_3d
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.skipif(importlib.util.find_spec('openvino') is None or not HAS_ONNX, reason='needs openvino and onnx')
@pytest.mark.timeout(300)
def test_openvino_computes_in_both_precisions():
    estimator, batch = onnx_parts.build('SmoothNet'), onnx_parts.batch_of('SmoothNet')
    expected = estimator.predict(batch).joints_3d
    assert use_runtime(estimator, 'openvino') == 'openvino, float32'
    assert (estimator.predict(batch).joints_3d - expected).abs().max() < 1e-4 * expected.abs().max()
    try:
        use_runtime(estimator, 'openvino', 'bfloat16')
    except RuntimeUnavailable as error:
        assert 'avx512_bf16' in str(error)
        return
    found = estimator.predict(batch).joints_3d
    assert not torch.equal(found, expected)
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_what_cannot_be_had_is_refused(monkeypatch):
    estimator = onnx_parts.build('SmoothNet')
    with pytest.raises(RuntimeUnavailable, match=r"got 'openvin'\. Did you mean 'openvino'"):
        use_runtime(estimator, 'openvin')
    with pytest.raises(RuntimeUnavailable, match="precision must be one of float32, bfloat16, got 'float16'"):
        use_runtime(estimator, 'torch', 'float16')
    with pytest.raises(RuntimeUnavailable, match='GaussianFilter has no network that onnxruntime could compute'):
        use_runtime(onnx_parts.build('GaussianFilter'), 'onnxruntime')
    monkeypatch.setattr(sessions.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(RuntimeUnavailable, match=r"openvino is not installed: pip install 'handpose\[openvino\]'"):
        use_runtime(estimator, 'openvino')


@needs_onnx
def test_onnxruntime_has_no_bfloat16():
    with pytest.raises(RuntimeUnavailable, match='onnxruntime has no bfloat16 on CPUs'):
        use_runtime(onnx_parts.build('SmoothNet'), 'onnxruntime', 'bfloat16')


@pytest.mark.skipif(importlib.util.find_spec('openvino') is None, reason='needs openvino')
def test_a_cpu_without_bfloat16_is_named(monkeypatch):
    monkeypatch.setattr(sessions, '_openvino_capabilities', lambda: ['FP32'])
    with pytest.raises(RuntimeUnavailable, match='this CPU does not compute in bfloat16'):
        use_runtime(onnx_parts.build('SmoothNet'), 'openvino', 'bfloat16')


def test_the_default_is_the_fastest_that_is_installed(monkeypatch):
    monkeypatch.delenv(runtimes.VARIABLE)
    monkeypatch.setattr(runtimes, 'missing_exporters', list)
    small, large = onnx_parts.build('DSTformer'), onnx_parts.build('DSTformer')
    large.weights_of_a_large_network = torch.nn.Parameter(torch.zeros(runtimes.SMALLEST))
    for installed, expected in (
        ((), 'torch'),
        (('onnxruntime',), 'onnxruntime'),
        (('onnxruntime', 'openvino'), 'openvino'),
    ):
        monkeypatch.setattr(runtimes, 'installed_runtimes', lambda installed=installed: installed)
        assert fastest_runtime(large) == expected
        assert fastest_runtime(small) == 'torch'
    assert fastest_runtime(large, 'bfloat16') == 'openvino'
    monkeypatch.setattr(runtimes, 'missing_exporters', lambda: ['onnxscript'])
    assert fastest_runtime(large) == 'torch'
    monkeypatch.setattr(runtimes, 'missing_exporters', list)
    monkeypatch.setattr(runtimes, 'is_torch_new_enough', lambda: False)
    assert fastest_runtime(large) == 'torch'
    monkeypatch.setenv(runtimes.VARIABLE, 'onnxruntime')
    assert fastest_runtime(large) == 'onnxruntime'
    assert fastest_runtime(onnx_parts.build('GaussianFilter')) == 'torch'
    monkeypatch.setenv(runtimes.VARIABLE, 'openvin')
    with pytest.raises(RuntimeUnavailable, match='HANDPOSE_RUNTIME must be one of torch, onnxruntime, openvino, got'):
        fastest_runtime(large)


@needs_onnx
@pytest.mark.timeout(300)
def test_prepared_estimators_are_exported():
    """With folded batch normalization and channels-last convolutions, as the commands load them."""
    estimator, batch = onnx_parts.build('HTT'), onnx_parts.batch_of('HTT')
    expected = estimator.predict(batch).joints_3d
    use_runtime(prepare_for_prediction(estimator), 'onnxruntime')
    assert (estimator.predict(batch).joints_3d - expected).abs().max() < 1e-4 * expected.abs().max()
