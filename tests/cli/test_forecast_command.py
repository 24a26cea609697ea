"""`handpose forecast` and `handpose recognize` on predictions files, and taking a sample to view and export."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from predicted_hands import make_predictions
from scripted_forecasters import DriftingHands  # noqa: F401 - registers the forecasters

from handpose.cli import main
from handpose.structures import load_forecast, save_predictions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a command in this process: its exit status and its output."""

    def run_command(command, *arguments):
        monkeypatch.chdir(tmp_path)
        code = 0
        try:
            main(command, [str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        said = f'{captured.out} {captured.err} {code if isinstance(code, str) else ""}'
        return code, ' '.join(said.split())

    return run_command


@pytest.fixture
def hands(tmp_path):
    save_predictions(tmp_path / 'hands.npz', make_predictions(40, ('left', 'right')))
    return 'hands.npz'


@pytest.fixture
def weights(tmp_path):
    for name, state in (('DriftingHands', {'width': torch.tensor(1.0)}), ('ImageActions', {'bias': torch.zeros(3)})):
        (tmp_path / f'{name}.py').write_text(f"model = dict(type='{name}')\n")
        torch.save({'state_dict': state, 'meta': {}}, tmp_path / f'{name}.pth')
    return ['--checkpoint', 'DriftingHands.pth', '--config', 'DriftingHands.py']


def test_forecast(run, hands, weights, tmp_path):
    code, said = run('forecast', hands, '-o', 'future.npz', '--samples', 4, '--seconds', 1, *weights, '--seed', 3)
    assert code == 0, said
    forecast = load_forecast(tmp_path / 'future.npz')
    assert forecast.joints.shape == (4, 30, 2, 21, 3) and forecast.seed == 3
    assert forecast.model == 'DriftingHands (DriftingHands.pth)'
    for words in ('observed: 0.00 to 1.30 s, 40 of 40 frames', 'recognized action: ', 'no object was given',
                  '4 samples, seed 3 of 30 frames', '0.25 s', '1.00 s', 'caution: samples', 'future.npz'):  # fmt: skip
        assert words in said, (words, said)
    assert '2.00 s' not in said


def test_drawing(run, hands, weights, tmp_path):
    pytest.importorskip('matplotlib', reason="needs the extra 'train'")
    code, said = run('forecast', hands, '-o', 'future.npz', '--samples', 2, '--seconds', 0.5, *weights, '--draw')
    assert code == 0 and 'drawn: future.png' in said, said
    image = cv2.imread(str(tmp_path / 'future.png'))
    assert image.shape[1] > 2 * image.shape[0] and image.std() > 5
    code, said = run('forecast', hands, '-o', 'f.npz', '--mean', '--seconds', 0.2, *weights, '--draw', 'fan.webm')
    assert code == 0 and 'drawn: fan.webm' in said, said
    capture = cv2.VideoCapture(str(tmp_path / 'fan.webm'))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == 31 + 6 + 24


def test_the_mean_future_of_an_action(run, hands, weights, tmp_path):
    options = ['--mean', '--action', 'pour milk', '--object', 'milk', '--hands', 'right']
    code, said = run('forecast', hands, '-o', 'future.npz', *weights, *options)
    assert code == 0 and 'the mean future of 60 frames' in said and 'lie apart' not in said, said
    forecast = load_forecast(tmp_path / 'future.npz')
    assert forecast.seed is None and forecast.action == 'pour milk' and forecast.object == 'milk'
    assert forecast.joints.shape == (1, 60, 1, 21, 3)


@pytest.mark.parametrize(
    'arguments, code, words',
    [
        (['hands.npz', '-o', 'f.npz', '--samples', '0'], 1, 'the number of samples must be at least 1, got 0'),
        (['hands.npz', '-o', 'f.npz', '--samples', '3', '--mean'], 2, 'give --samples or --mean, not both'),
        (['hands.npz', '-o', 'f.npz', '--seconds', '60'], 1, 'at most 10, got 60'),
        (['hands.npz', '-o', 'f.npz', '--action', 'pur milk'], 1, "Did you mean 'pour milk'?"),
        (['hands.npz', '-o', 'f.npz', '--object', 'jars'], 1, "Did you mean 'jar'?"),
        (['hands.npz', '-o', 'f.npz', '--seed', '-1'], 2, '--seed must be at least 0'),
        (['hands.npz', '-o', 'f.npz', '--draw', 'f.gif'], 2, 'the name must end in .png, .mp4, .webm, .avi'),
        (['hands.npz', '-o', 'f.json'], 2, 'a forecast file must end in .npz'),
        (['none.npz', '-o', 'f.npz'], 1, 'there is no predictions file none.npz'),
        (['text.npz', '-o', 'f.npz'], 1, 'is damaged, or is not a zip file'),
        (['short.npz', '-o', 'f.npz'], 1, 'needs at least 16 observed frames at 30 per second (0.53 s), and there are'),
    ],
)
def test_what_is_wrong_is_an_error_message(run, hands, weights, tmp_path, arguments, code, words):
    (tmp_path / 'text.npz').write_text('text')
    save_predictions(tmp_path / 'short.npz', make_predictions(12))
    found, said = run('forecast', *arguments, *weights)
    assert words in said, said
    assert (2 if code == 2 else str) == (found if code == 2 else type(found))
    assert not (tmp_path / 'f.npz').exists() and 'Traceback' not in said


def test_options_of_a_config(run, hands, weights, tmp_path):
    code, said = run('forecast', hands, '-o', 'f.npz', *weights[:2], '--cfg-options', 'model.width=2')
    assert code == 2 and '--cfg-options goes with --config' in said
    code, said = run('forecast', hands, '-o', 'f.npz', *weights, '--cfg-options', '+model.width=2')
    assert code == 0, said


def test_the_newest_checkpoint_of_a_config(run, hands, weights, tmp_path):
    _, said = run('forecast', hands, '-o', 'f.npz', '--config', 'DriftingHands.py')
    assert 'no checkpoint in' in said and 'handpose train DriftingHands.py' in said, said


def test_weights_that_are_no_forecaster(run, hands, weights):
    _, said = run('forecast', hands, '-o', 'f.npz', '--checkpoint', 'pdtm_synthetic')
    assert 'PDTM, which forecasts no motion; give weights of a forecaster' in said, said
    _, said = run('forecast', hands, '-o', 'f.npz', '--checkpoint', 'ghtt_sintetic')
    assert 'no weights ghtt_sintetic' in said, said


def test_a_sample_is_exported(run, hands, weights, tmp_path):
    assert run('forecast', hands, '-o', 'future.npz', '--samples', 2, *weights)[0] == 0
    code, said = run('export', 'future.npz', '--sample', 1, '-o', 'sample.csv')
    assert code == 0, said
    assert len((tmp_path / 'sample.csv').read_text().splitlines()) == 1 + 2 * (40 + 60)
    code, said = run('export', 'future.npz', '--sample', 2, '-o', 'sample.csv')
    assert 'numbered from 0 to 1; there is no sample 2' in said
    code, said = run('export', 'future.npz', '-o', 'sample.csv')
    assert 'it is a forecast file, which holds several futures: take one of them with --sample NUMBER' in said
    code, said = run('export', hands, '--sample', 1, '-o', 'sample.csv')
    assert "format is 'handpose-predictions', and that of a forecast file is 'handpose-forecast'" in said


def test_view_takes_a_sample(run, hands, weights):
    pytest.importorskip('viser', reason="needs the extra 'view'")
    assert run('forecast', hands, '-o', 'future.npz', '--samples', 2, *weights)[0] == 0
    _, said = run('view', 'future.npz', '--sample', 5, '--no-browser')
    assert 'there is no sample 5' in said


def test_recognize(run, hands, weights, tmp_path):
    code, said = run('recognize', hands, *weights, '--min-score', 0.2)
    assert code == 0, said
    record = json.loads((tmp_path / 'hands_actions.json').read_text())
    assert record['action'] == record['best'] and f'action: {record["best"]}' in said and ' 0.' in said
    assert len(record['running']) == 3 and record['video'] == 'hands' and record['reader'] == 'predictions file'
    assert 'scores are not calibrated' in said and 'actions: hands_actions.json' in said and ' to ' not in said
    code, said = run('recognize', hands, *weights, '--object', 'milk', '-o', 'milk.json', '--hands', 'left')
    assert code == 0 and json.loads((tmp_path / 'milk.json').read_text())['best'] == 'pour milk', said


def test_a_long_recording_is_recognized_over_time(run, weights, tmp_path):
    predictions = make_predictions(600, noise=0)
    predictions.joints[..., 0] += (0.001 * (300 - np.abs(np.arange(600) - 300)))[:, None, None]
    save_predictions(tmp_path / 'long.npz', predictions)
    code, said = run('recognize', 'long.npz', *weights, '--min-score', 0.2)
    assert code == 0 and '0.50 to ' in said and 's: open jar' in said and '19.97 s: close jar' in said, said


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['hands.npz', '--draw', 'a.mp4'], '--draw go with a video'),
        (['hands.npz', '--field-of-view', '60'], '--field-of-view and --draw go with a video'),
        (['hands.npz', '-o', 'hands2.npz'], 'the actions file of a predictions file must end in .json'),
        (['hands.npz', '--object', 'jug'], "'jug' is not an object"),
        (['hands.npz', '--checkpoint', 'ImageActions.pth', '--config', 'ImageActions.py'], 'give it the video itself'),
        (['hands.npz', '--checkpoint', 'pdtm_synthetic', '--cfg-options', 'a=1'], 'recognizes no actions'),
        (['video.mp4'], 'give -o OUT.npz'),
        (['video.mp4', '-o', 'a.npz', '--object', 'jar'], '--object goes with a predictions file'),
        (['video.mp4', '-o', 'a.npz'], 'give it a predictions file (.npz), which `handpose infer VIDEO -o hands.npz`'),
        (['none.npz'], 'there is no predictions file none.npz'),
    ],
)
def test_recognize_says_what_is_wrong(run, hands, weights, tmp_path, arguments, words):
    options = weights if '--checkpoint' not in arguments else []
    code, said = run('recognize', *arguments, *options)
    assert code != 0 and words in said and 'Traceback' not in said, said
    assert not list(tmp_path.glob('*.json'))
