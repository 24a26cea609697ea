"""`handpose export-model`, and `--runtime` of the commands that run networks."""

import numpy as np
import onnx_parts
import pytest
from predicted_hands import make_predictions

from handpose.cli import main
from handpose.engine import load_config
from handpose.registry import MODELS
from handpose.runtime import ExportedModel
from handpose.structures import load_forecast, load_predictions, save_predictions
from handpose.zoo.publish import make_header, publish

FORECASTER = 'model = dict(type="GHTTPose", pose_block=dict(channels=16, num_layers=1, num_heads=2))\n'
CONFIG = "model = dict(type='DSTformer', frame_rate=30.0, num_frames=9, stride=4, channels=16, depth=1, num_heads=2)\n"
needs_onnx = pytest.mark.skipif(
    not onnx_parts.CAN_EXPORT,
    reason=onnx_parts.NEEDS,
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('HANDPOSE_CACHE', str(tmp_path / 'cache'))


@needs_onnx
@pytest.mark.timeout(300)
def test_a_network_of_the_zoo_is_exported(tmp_path, capsys):
    out = tmp_path / 'verbs.onnx'
    main('export-model', ['verbs_synthetic', '-o', str(out)])
    printed = capsys.readouterr().out
    assert 'input joints: float32 (batch, time, 2, 21, 3), ' in printed and 'licence of the weights: ' in printed
    assert f'written: {out}' in printed and 'compared with torch in onnxruntime: largest difference' in printed
    assert b'.py' not in out.read_bytes()  # torch records lines of source code, with the paths of this machine
    model = ExportedModel(out)
    assert model.metadata['weights'].startswith('verbs_synthetic') and len(model.metadata['weights_sha256']) == 64
    joints = np.random.default_rng(0).normal(0, 0.05, (1, 40, 2, 21, 3)).astype(np.float32)
    scores = model.run({'joints': joints})['action_scores']
    assert scores.shape == (1, len(model.metadata['classes']['actions']))
    np.testing.assert_allclose(scores.sum(), 1, atol=1e-5)


def published(folder, text):
    """Random weights of a config."""
    (folder / 'small.py').write_text(text)
    config = load_config(folder / 'small.py')
    estimator = MODELS.build(config.model)
    return publish(estimator, make_header(estimator, config, 'CC0'), folder / 'small.safetensors')[0]


@needs_onnx
@pytest.mark.timeout(300)
def test_refining_agrees_with_torch(tmp_path, capsys, motion_file):
    weights = published(tmp_path, CONFIG)
    results = {}
    for runtime in ('torch', 'onnxruntime'):
        out = tmp_path / f'{runtime}.npz'
        main('refine', [str(motion_file), '-o', str(out), '--checkpoint', str(weights), '--runtime', runtime])
        assert f'network computed by {runtime}, float32' in capsys.readouterr().out
        results[runtime] = load_predictions(out).joints
    given = load_predictions(motion_file).joints
    np.testing.assert_allclose(results['onnxruntime'], results['torch'], atol=1e-5)
    assert np.nanmax(np.abs(results['torch'] - given)) > 1e-4


@needs_onnx
@pytest.mark.timeout(300)
def test_forecasting_agrees_with_torch(tmp_path, capsys, motion_file):
    weights = published(tmp_path, FORECASTER)
    results = {}
    for runtime in (None, 'onnxruntime'):
        out = tmp_path / f'{runtime}.npz'
        chosen = ['--runtime', runtime] if runtime else []
        main(
            'forecast',
            [
                str(motion_file),
                '-o',
                str(out),
                '--seconds',
                '1',
                '--samples',
                '2',
                '--checkpoint',
                str(weights),
                *chosen,
            ],
        )
        assert f'network computed by {runtime or "torch"}, float32' in capsys.readouterr().out
        results[runtime] = load_forecast(out).joints
    scale = np.nanmax(np.abs(results[None]))  # metres: futures of a random network go far
    np.testing.assert_allclose(results['onnxruntime'], results[None], atol=1e-4 * scale)
    assert not np.array_equal(results[None][0], results[None][1])


@pytest.fixture
def motion_file(tmp_path):
    path = tmp_path / 'hands.npz'
    save_predictions(path, make_predictions(30, ('left', 'right'), missing=[4, 5, (9, 1)]))
    return path


@pytest.mark.parametrize(
    ('command', 'arguments', 'message'),
    [
        ('infer', ['x.mp4', '-o', 'y.npz', '--runtime', 'openvino'], 'go with the weights of --estimator or --refine'),
        ('infer', ['x.mp4', '-o', 'y.npz', '--refine', 'gaussian', '--precision', 'bfloat16'], 'go with the weights'),
        ('refine', ['x.npz', '-o', 'y.npz', '--filter', 'gaussian', '--runtime', 'torch'], 'a filter has no network'),
        ('refine', ['x.npz', '-o', 'y.npz', '--runtime', 'tensorrt'], "invalid choice: 'tensorrt'"),
        ('export-model', ['pdtm_synthetic', '-o', 'model.pt'], r'must end in .onnx'),
        (
            'export-model',
            ['pdtm_synthetic', '-o', 'm.onnx', '--cfg-options', 'a=1'],
            '--cfg-options goes with --config',
        ),
    ],
)
def test_wrong_usage(command, arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(command, arguments)
    assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['pdtm_synthetik', '-o', 'm.onnx'], "Did you mean 'pdtm_synthetic'"),
        (['verbs_synthetic', '-o', 'm.onnx', '--part', 'encode'], "VerbClassifier has no network part 'encode'"),
        (
            ['ghtt_synthetic', '-o', 'm.onnx'],
            'GHTT is no single network, since it computes between its networks what is no fixed graph: export its '
            'parts one by one (--part), which are encode, decode, encode_actions, decode_actions',
        ),
    ],
)
def test_what_cannot_be_exported(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main('export-model', arguments)
    assert message in str(end.value.code)
    assert not (tmp_path / 'm.onnx').exists()


@needs_onnx
@pytest.mark.timeout(300)
def test_a_file_that_differs_from_torch_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr('handpose.cli.export_model.largest_difference', lambda *given, seed: 1e-3)
    with pytest.raises(SystemExit) as end:
        main('export-model', ['verbs_synthetic', '-o', str(tmp_path / 'm.onnx')])
    assert 'differs from torch by 1.0e-03' in str(end.value.code) and 'was deleted' in str(end.value.code)
    assert not (tmp_path / 'm.onnx').exists()
