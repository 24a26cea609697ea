"""`handpose recognize` on a video of a user; and that a test of actions draws what it reports."""

import json
from pathlib import Path

import cv2
import h2o_files
import numpy as np
import pytest
import torch
from action_clips import give_plausible_hands

from handpose.cli import main
from handpose.engine import load_config
from handpose.registry import MODELS
from handpose.structures import load_predictions
from handpose.video import VideoReader, VideoWriter, save_clip_video
from handpose.zoo.publish import make_header, publish

ROOT = Path(__file__).parents[2]

BASES = {'runtime': '_base_/runtime.py', 'h2o': '_base_/h2o.py', 'htt': 'htt/_base_.py'}
CONFIG = """
_base_ = [{runtime!r}, {h2o!r}, {htt!r}]
data_root, image_size, batch_size, num_workers = {root!r}, (64, 36), 1, 0
num_frames, window, channels = 8, 4, 64
num_heads, feedforward_channels, num_layers = 2, 32, 1
model = dict(backbone=dict(base_channels=8))
action_metric = dict(pairs=[('open lotion', 'close lotion')])
epochs = 1
val_cfg, test_cfg = dict(), dict()
visualizer = dict(type='Visualizer', vis_backends=[])  # writing the config out takes longer than the test
"""


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command in this process, which is quicker than a new one: its exit status and its output."""

    def run_command(command, *arguments):
        monkeypatch.chdir(ROOT)
        code = 0
        try:
            main(command, [str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        said = f'{captured.out} {captured.err} {code if isinstance(code, str) else ""}'
        return code, ' '.join(said.split())  # the console wraps lines

    return run_command


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a small HTT of H2O's actions: its config, a checkpoint, published weights, and a video."""
    folder = tmp_path_factory.mktemp('recognize')
    bases = {name: str(ROOT / 'configs' / place) for name, place in BASES.items()}
    (folder / 'small.py').write_text(CONFIG.format(root=str(folder / 'h2o'), **bases))
    config = load_config(folder / 'small.py')
    torch.manual_seed(0)
    estimator = MODELS.build(config.model)
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, folder / 'untrained.pth')
    give_plausible_hands(estimator)
    torch.save({'state_dict': estimator.state_dict(), 'meta': {}}, folder / 'small.pth')
    publish(estimator, make_header(estimator, config, 'CC0'), folder / 'small.safetensors')
    save_clip_video(folder / 'pour.avi', [np.full((72, 128, 3), 5 * t, np.uint8) for t in range(20)], fps=30)
    return folder


def test_published_weights_need_nothing_else(run, trained, tmp_path):
    (weights,) = trained.glob('*.safetensors')
    drawn = tmp_path / 'pour.webm'
    video = [trained / 'pour.avi', '-o', tmp_path / 'out.npz']
    code, said = run('recognize', *video, '--checkpoint', weights, '--draw', drawn)
    assert code == 0, said
    assert 'a field of view of 90 degrees across is assumed' in said and 'HTT (small-' in said
    hands = load_predictions(tmp_path / 'out.npz')
    assert hands.joints.shape == (20, 2, 21, 3) and hands.valid.all() and list(hands.image_size) == [128, 72]
    assert hands.intrinsics[0, 0] == pytest.approx(64) and hands.source.startswith('pour.avi, by HTT')
    actions = json.loads((tmp_path / 'out_actions.json').read_text())
    assert len(actions['scores']) == 36 and actions['action'] is None and len(actions['running']) == 4
    assert (
        actions['best'] in said and 'action: uncertain: the best score' in said and 'scores are not calibrated' in said
    )
    assert 'presence of hands was not measured' in hands.source and 'left hand: plausible in 20 of 20 frames' in said
    capture = cv2.VideoCapture(str(drawn))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == 20
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30)


def test_a_checkpoint_of_training_with_the_camera_of_the_video(run, trained, tmp_path):
    (tmp_path / 'camera.txt').write_text('640 640 640 360 1280 720')
    options = ['--config', trained / 'small.py', '--checkpoint', trained / 'small.pth']
    video = [trained / 'pour.avi', '-o', tmp_path / 'out.npz']
    code, said = run('recognize', *video, *options, '--intrinsics', tmp_path / 'camera.txt')
    assert code == 0 and 'note:' not in said, said
    assert load_predictions(tmp_path / 'out.npz').intrinsics[0, 0] == pytest.approx(64)


def test_an_action_is_named_above_the_least_score_and_one_hand_where_asked(run, trained, tmp_path):
    options = ['--config', trained / 'small.py', '--checkpoint', trained / 'small.pth', '--hands', 'right']
    code, said = run('recognize', trained / 'pour.avi', '-o', tmp_path / 'out.npz', *options, '--min-score', 0)
    assert code == 0 and 'uncertain' not in said and 'caution: scores are not calibrated' in said, said
    actions = json.loads((tmp_path / 'out_actions.json').read_text())
    assert actions['action'] == actions['best'] and f'action: {actions["best"]}' in said
    assert actions['uncertain_because'] == []
    hands = load_predictions(tmp_path / 'out.npz')
    assert hands.valid[:, 1].all() and not hands.valid[:, 0].any() and 'hands: right' in hands.source


def test_hands_that_cannot_be_any_are_not_written(run, trained, tmp_path):
    """Untrained weights: a metre from the wrist to the fingertips."""
    options = ['--config', trained / 'small.py', '--checkpoint', trained / 'untrained.pth', '--min-score', 0]
    code, said = run('recognize', trained / 'pour.avi', '-o', tmp_path / 'out.npz', *options)
    assert 'has a plausible hand' in code and 'action: uncertain: no frame has a plausible hand' in said
    assert json.loads((tmp_path / 'out_actions.json').read_text())['action'] is None
    assert not (tmp_path / 'out.npz').exists()


def test_times_are_those_of_the_container(run, trained, tmp_path):
    """A video that goes from 30 to 15 frames per second: its hands and what is drawn have its times."""
    pytest.importorskip('av')
    times = np.concatenate([np.arange(10) / 30, 1 / 3 + np.arange(10) / 15])
    with VideoWriter(tmp_path / 'vfr.webm', 30) as writer:
        for t, time in enumerate(times):
            writer.write(np.full((72, 128, 3), 8 * t, np.uint8), time)
    options = ['--config', trained / 'small.py', '--checkpoint', trained / 'small.pth', '--draw', tmp_path / 'd.webm']
    code, said = run('recognize', tmp_path / 'vfr.webm', '-o', tmp_path / 'out.npz', *options)
    assert code == 0 and 'missing or damaged' not in said, said
    np.testing.assert_allclose(load_predictions(tmp_path / 'out.npz').timestamps, times, atol=0.001)
    np.testing.assert_allclose([frame.time for frame in VideoReader(tmp_path / 'd.webm')], times, atol=0.0021)
    ends = json.loads((tmp_path / 'out_actions.json').read_text())
    assert ends['running'][-1]['time'] == pytest.approx(times[-1], abs=0.001) and ends['frames'] == 20


@pytest.mark.parametrize(
    'arguments, words',
    [
        ([], 'give --checkpoint'),
        (['--config', 'small.py', '--checkpoint', 'none.pth'], 'there is no file with this path'),
        (['--config', 'configs/htt/h2o.py', '--cfg-options', 'data_rot=x'], "Did you mean 'data_root'"),
        (['--checkpoint', 'a.pth', '--intrinsics', 'x', '--field-of-view', '60'], 'not both'),
        (['--checkpoint', 'a.pth', '--draw', 'a.gif'], 'the name of a video must end in'),
        (['--checkpoint', 'a.pth', '--min-score', '50'], 'must be from 0 to 1'),
        (['--config', 'small.py', '--checkpoint', 'small.pth', '--field-of-view', '600'], 'between 5 and 170'),
        (['--config', 'configs/htt/synthetic_features.py', '--checkpoint', 'small.pth'], 'has no backbone'),
    ],
)
def test_a_sentence_says_what_is_wrong(run, trained, tmp_path, arguments, words):
    arguments = [str(trained / a) if a.startswith(('small', 'none')) else a for a in arguments]
    code, said = run('recognize', trained / 'pour.avi', '-o', tmp_path / 'out.npz', *arguments)
    assert code != 0 and words in said, said
    assert not list(tmp_path.iterdir())


def test_bad_files(run, trained, tmp_path):
    options = ['--config', trained / 'small.py', '--checkpoint', trained / 'small.pth']
    (tmp_path / 'text.mp4').write_text('text')
    for video, out, words in (
        (tmp_path / 'text.mp4', 'out.npz', 'cannot be read as a video'),
        (tmp_path / 'none.mp4', 'out.npz', 'none.mp4 does not exist'),
        (trained / 'pour.avi', 'out.json', 'must end in .npz'),
    ):
        code, said = run('recognize', video, '-o', tmp_path / out, *options)
        assert code != 0 and words in said, said
    assert [p.name for p in tmp_path.iterdir()] == ['text.mp4']


def test_testing_actions_draws_them_and_writes_the_submission(run, trained, tmp_path, monkeypatch):
    """`handpose test` from end to end: the validation part has labels; the test part has none and is submitted."""
    monkeypatch.setattr(h2o_files, 'VAL', tuple((f'subject3/k2/{i}', 17 + 3 * i, 0, 9) for i in range(2)))
    h2o_files.write_root(trained / 'h2o')
    arguments = [trained / 'small.py', trained / 'small.pth', '--work-dir', tmp_path / 'work']
    code, said = run('test', *arguments, '--draw', 1, '--compare', '--cfg-options', 'test_dataset.split=val')
    assert code == 0, said
    assert '| action_accuracy |' in said and '| pair_accuracy |' in said and 'mpjpe_cam_mm/left' in said
    numbers = json.loads((tmp_path / 'work' / 'metrics.json').read_text())
    assert numbers['model']['num_videos'] == 2 and 'action_accuracy' not in numbers['mean_hand']
    drawn = {path.name for path in (tmp_path / 'work' / 'images').iterdir()}
    clip = 'subject3_k2_0_000000-000009_cam4'
    assert {'confusion.png', 'pck_by_hand.png', f'{clip}.webm', f'{clip}_attention.png'} <= drawn
    code, said = run('test', *arguments, '--draw', 0, '--results', tmp_path / 'answer.zip')
    assert code == 0, said
    assert 'none of the 1 videos has an action label' in said and 'the server will not accept it' in said
    assert (tmp_path / 'answer.zip').is_file()
